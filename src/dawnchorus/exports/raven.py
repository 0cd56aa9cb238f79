"""Raven selection tables: boxes in seconds and hertz as tab-separated text.

In: :class:`Selection` objects or a table that Raven, BirdNET or a person wrote. Out: the other.

Raven knows no quoting: a tab or a line break inside an annotation cannot be written and becomes a
space. Times are written with 9 decimals, frequencies with 3, as Raven Pro does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.cells import one_cell, read_text, to_bytes
from dawnchorus.results import publishing

BEGIN, END = "Begin Time (s)", "End Time (s)"
LOW, HIGH = "Low Freq (Hz)", "High Freq (Hz)"
CORE = ("Selection", "View", "Channel", BEGIN, END, LOW, HIGH)
"""Columns that Raven itself keeps, in its order."""


@dataclass(frozen=True)
class Selection:
    """One box of a selection table.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the recording's start.
    low_hz, high_hz : float
        Hertz.
    annotations : mapping of str to str
        Further columns by their heading, for example ``{"Species": "song sparrow"}``.
    channel : int
        Counted from 1.
    """

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    annotations: Mapping[str, str] = field(default_factory=dict)
    channel: int = 1


def format_table(selections: Iterable[Selection], columns: Sequence[str] = ()) -> str:
    """Return the text of a selection table.

    Parameters
    ----------
    selections : iterable of Selection
        Numbered from 1 in the order given.
    columns : sequence of str
        Headings of annotation columns that stand first and also when no selection has them;
        headings that only selections name follow, sorted.

    Raises
    ------
    ValueError
        If an annotation has the heading of one of Raven's own columns.
    """
    rows = list(selections)
    further = {heading for row in rows for heading in row.annotations} - set(columns)
    headings = [*columns, *sorted(further)]
    if taken := set(headings) & set(CORE):
        raise ValueError(f"{', '.join(sorted(taken))}: these columns are Raven's own")
    lines = ["\t".join([*CORE, *map(one_cell, headings)])]
    for number, row in enumerate(rows, start=1):
        core = (
            str(number),
            "Spectrogram 1",
            str(row.channel),
            f"{row.start_s:.9f}",
            f"{row.end_s:.9f}",
            f"{row.low_hz:.3f}",
            f"{row.high_hz:.3f}",
        )
        cells = (one_cell(row.annotations.get(heading, "")) for heading in headings)
        lines.append("\t".join((*core, *cells)))
    return "\n".join(lines) + "\n"


def write_selections(
    path: Path, selections: Iterable[Selection], columns: Sequence[str] = ()
) -> None:
    """Write a selection table (UTF-8, ``\\n``); see :func:`format_table`.

    What UTF-8 cannot say (a file name in another encoding) is written as ``\\udcff``.
    """
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_table(selections, columns)))


def read_selections(path: Path) -> list[Selection]:
    """Read a selection table.

    Raven writes a selection once per view (waveform and spectrogram); it is returned once. Columns
    may stand in any order; all but Raven's own come back as annotations.

    Raises
    ------
    DawnChorusError
        If the file cannot be read, a needed column is missing, or a cell is not a number.
    """
    lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
    headings = lines[0].split("\t")
    missing = [heading for heading in (BEGIN, END, LOW, HIGH) if heading not in headings]
    if missing:
        raise DawnChorusError(
            f"lacks the columns {', '.join(missing)}", path, "export a Raven selection table"
        )
    selections: list[Selection] = []
    seen: set[str] = set()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) > len(headings):
            raise DawnChorusError(
                f"line {number} has {len(cells)} cells, the heading {len(headings)}", path
            )
        row = dict(zip(headings, cells, strict=False))
        identity = row.get("Selection", str(number))
        if identity in seen:
            continue  # the same selection in a further view
        seen.add(identity)
        selections.append(
            Selection(
                _number(row, BEGIN, path, number),
                _number(row, END, path, number),
                _number(row, LOW, path, number),
                _number(row, HIGH, path, number),
                {name: row.get(name, "") for name in headings if name not in CORE},
                round(_number(row, "Channel", path, number)) if "Channel" in row else 1,
            )
        )
    return selections


def _number(row: Mapping[str, str], heading: str, path: Path, line: int) -> float:
    text = row.get(heading, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DawnChorusError(f"line {line}: {heading} is no number (got {text!r})", path)
    return value
