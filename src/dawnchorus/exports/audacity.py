r"""Audacity label tracks: start, end and text, tab-separated, without a heading.

In: :class:`Label` objects, or a track that Audacity wrote (*File > Export Other > Export Labels*). Out: the
other, for *File > Import > Labels*. A label with a frequency range has
a second line, ``\``, low and high hertz, which Audacity shows in its spectrogram view
(https://manual.audacityteam.org/man/importing_and_exporting_labels.html).

Audacity knows no quoting: tabs and line breaks become spaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.cells import one_cell, read_text, to_bytes
from dawnchorus.results import publishing


@dataclass(frozen=True)
class Label:
    """One label of a track.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the recording's start.
    text : str
    hertz : tuple of (low, high) or None
        None: over all frequencies.
    """

    start_s: float
    end_s: float
    text: str
    hertz: tuple[float, float] | None = None


def format_labels(labels: Iterable[Label]) -> str:
    """Return the text of a label track; times with 6 decimals as Audacity writes them."""
    lines = []
    for label in labels:
        lines.append(f"{label.start_s:.6f}\t{label.end_s:.6f}\t{one_cell(label.text)}\n")
        if label.hertz is not None:
            lines.append(f"\\\t{label.hertz[0]:.6f}\t{label.hertz[1]:.6f}\n")
    return "".join(lines)


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Write a label track (UTF-8, ``\\n``); see :func:`format_labels`."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_labels(labels)))


def read_labels(path: Path) -> list[Label]:
    """Read a label track; an edge of the frequency range that is not set (Audacity writes -1) is none.

    Raises
    ------
    DawnChorusError
        If the file cannot be read, or a line is no label; it names the line.
    """
    labels: list[Label] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        is_range = cells[0].strip() == "\\"
        edges = _numbers(cells[1:3] if is_range else cells[:2], path, number)
        if not is_range:
            labels.append(Label(*edges, " ".join(cells[2:]).strip()))
        elif labels and min(edges) >= 0:
            labels[-1] = replace(labels[-1], hertz=edges)
    return labels


def _numbers(cells: Sequence[str], path: Path, line: int) -> tuple[float, float]:
    try:
        first, second = map(float, cells)
    except ValueError:
        first = second = math.nan
    if not (math.isfinite(first) and math.isfinite(second)):
        told = "\t".join(cells)
        raise DawnChorusError(
            f"line {line} is no label of a track (got {told!r})",
            path,
            "export it from Audacity again",
        )
    return first, second
