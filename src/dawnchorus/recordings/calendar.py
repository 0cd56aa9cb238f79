"""The coverage calendar: one page that shows what the season holds and where it has holes.

In: the rows of ``recordings.parquet`` and the lines of ``faults.tsv``. Out: ``calendar.html``, a grid of
recorder by day with the hours recorded as colour, what was lost marked in red, what is merely odd in
amber, short days underlined and gaps hatched; one file without scripts or anything to fetch, so that it opens
from a card in the field. A season of more than :data:`ROOMY_DAYS` days has narrow columns, to be seen at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib import resources
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from dawnchorus.recordings.faults import FAULTS, FaultLine
from dawnchorus.recordings.table import Recording
from dawnchorus.results import write_text

MOST_DAYS = 1500
"""Longest span drawn as a grid; a recorder whose clock was never set must not make a page of 50 years."""
MOST_LINES = 500
"""Faults listed on the page; ``faults.tsv`` has all."""
ROOMY_DAYS = 45
"""With more days than this, columns are narrow and have no numbers."""
SHORT_DAY, COPY = "DC019", "DC016"
PALE, DEEP = (214, 236, 222), (6, 78, 74)
"""Colours (sRGB) of the shortest and the longest day; one hue, so that it prints in grey."""


@dataclass
class Cell:
    """One recorder on one day."""

    hours: float = 0.0
    recordings: int = 0
    starts: list[str] = field(default_factory=list)
    """Local start of each recording, HH:MM."""
    faults: list[str] = field(default_factory=list)
    """Codes, one per line of ``faults.tsv``."""
    is_gap: bool = False
    """Nothing usable on a day between the recorder's first and last."""
    mark: str = ""
    """CSS classes: ``faulty`` where something is lost, else ``noted``; ``short`` for less than usual."""
    title: str = ""
    colour: str = ""
    is_deep: bool = False
    """The text on it must be light."""


@dataclass
class Line:
    """One recorder."""

    recorder: str
    cells: list[Cell]
    hours: float
    days: int
    """With usable sound."""
    gaps: int
    short: int
    """Days on which less than usual was recorded."""
    faults: int
    undated: int
    """Recordings without a date, and so without a cell."""


def colour_of(share: float) -> str:
    """Colour of a day that has so much of the longest day's hours (0 to 1), as ``#rrggbb``."""
    share = min(max(share, 0.0), 1.0)
    mixed = (round(pale + (deep - pale) * share) for pale, deep in zip(PALE, DEEP, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def write_calendar(
    page: Path,
    recordings: Sequence[Recording],
    faults: Iterable[FaultLine],
    recorders: Iterable[str] = (),
) -> None:
    """Publish ``calendar.html``.

    Parameters
    ----------
    page : Path
        Where to.
    recordings : sequence of Recording
        All rows of the inventory.
    faults : iterable of FaultLine
        All lines of ``faults.tsv``.
    recorders : iterable of str
        Recorders to show even if they have no recording (an empty card is a finding).
    """
    listed = sorted(faults)
    days, beyond = _days(recordings)
    lines = _lines(recordings, listed, days, set(recorders))
    template = resources.files(__package__).joinpath("calendar.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    longest = max((cell.hours for line in lines for cell in line.cells), default=0.0)
    usable = [row for row in recordings if row.is_usable]
    counts: dict[str, int] = defaultdict(int)
    for fault in listed:
        counts[fault.code] += 1
    text = environment.from_string(template).render(
        days=days,
        is_dense=len(days) > ROOMY_DAYS,
        months=_months(days),
        lines=lines,
        totals=[sum(line.cells[at].hours for line in lines) for at in range(len(days))],
        hours=sum(row.duration_s for row in usable) / 3600,
        usable=len(usable),
        recordings=len(recordings),
        recorder_days=len({row.day for row in usable}),
        longest=longest,
        scale=[colour_of(step / 6) for step in range(7)],
        beyond=beyond,
        counts=[(FAULTS[code], count) for code, count in sorted(counts.items())],
        faults=listed[:MOST_LINES],
        fault_lines=len(listed),
    )
    write_text(page, text)


def _days(recordings: Sequence[Recording]) -> tuple[list[date], int]:
    """All days from the first to the last, and how many recorder-days lie beyond what can be drawn."""
    dated = sorted({row.date for row in recordings if row.date is not None})
    if not dated:
        return [], 0
    found = [date.fromisoformat(day) for day in dated]
    last = found[-1]
    # Clocks that were never set begin in 1970 or 2000: the latest days are the season.
    first = next(day for day in found if (last - day).days < MOST_DAYS)
    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    return days, sum(day < first for day in found)


def _months(days: Sequence[date]) -> list[tuple[str, int]]:
    """Name of each month and how many days of it are shown."""
    grouped = groupby(days, key=lambda day: (day.year, day.month))
    return [(f"{date(year, month, 1):%B %Y}", len(list(of))) for (year, month), of in grouped]


def _lines(
    recordings: Sequence[Recording],
    faults: Sequence[FaultLine],
    days: Sequence[date],
    recorders: set[str],
) -> list[Line]:
    at = {day.isoformat(): number for number, day in enumerate(days)}
    names = sorted(recorders | {row.recorder for row in recordings})
    grid = {name: [Cell() for _ in days] for name in names}
    undated: dict[str, int] = defaultdict(int)
    for row in recordings:
        if row.date is None:
            undated[row.recorder] += 1
        if row.date not in at or not row.is_usable:
            continue
        cell = grid[row.recorder][at[row.date]]
        cell.hours += row.duration_s / 3600
        cell.recordings += 1
        if row.start_utc is not None:
            local = row.start_utc + timedelta(minutes=row.utc_offset_minutes or 0)
            cell.starts.append(f"{local:%H:%M}")
    marked: dict[str, int] = defaultdict(int)
    for fault in faults:
        marked[fault.recorder] += 1
        if fault.recorder in grid and fault.date in at:
            grid[fault.recorder][at[fault.date]].faults.append(fault.code)
    longest = max((cell.hours for cells in grid.values() for cell in cells), default=0.0)
    lines = []
    for name in names:
        cells = grid[name]
        filled = [number for number, cell in enumerate(cells) if cell.recordings]
        for number, cell in enumerate(cells):
            cell.is_gap = bool(filled) and not cell.recordings and filled[0] < number < filled[-1]
            cell.mark = _mark(cell)
            share = cell.hours / longest if longest else 0.0
            cell.colour, cell.is_deep = colour_of(share), share > 0.5
            cell.title = _title(name, days[number], cell)
        lines.append(
            Line(
                recorder=name,
                cells=cells,
                hours=sum(cell.hours for cell in cells),
                days=len(filled),
                gaps=sum(cell.is_gap for cell in cells),
                short=sum("short" in cell.mark for cell in cells),
                faults=marked[name],
                undated=undated[name],
            )
        )
    return lines


def _mark(cell: Cell) -> str:
    others = [code for code in cell.faults if code != SHORT_DAY]
    # Of a copy that is set aside, the other one is used.
    is_lost = any(
        FAULTS[code].status in ("set aside", "partial") for code in others if code != COPY
    )
    marks = ["faulty" if is_lost else "noted"] if others else []
    if SHORT_DAY in cell.faults and cell.recordings:
        marks.append("short")
    return " ".join(marks)


def _title(recorder: str, day: date, cell: Cell) -> str:
    said = f"{recorder}, {day:%A} {day.isoformat()}"
    if cell.recordings:
        starts = sorted(cell.starts)
        many = "recordings" if cell.recordings > 1 else "recording"
        said += f": {cell.hours:.2f} h in {cell.recordings} {many}, "
        said += f"starts {starts[0]} to {starts[-1]}" if len(starts) > 1 else f"start {starts[0]}"
    elif cell.is_gap:
        said += ": nothing recorded"
    if cell.faults:
        counted = {code: cell.faults.count(code) for code in sorted(set(cell.faults))}
        told = (f"{count} × {FAULTS[code].meaning}" for code, count in counted.items())
        said += "; faults: " + ", ".join(told)
    return said
