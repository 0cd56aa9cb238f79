"""What a Song Meter writes about itself beside its recordings: ``PREFIX_Summary.txt``.

In: the file at the root of a card, comma-separated, a line a minute or a recording; the columns differ by
model, but all have ``DATE`` (``2021-May-24``), ``TIME``, ``LAT``, ``LON`` (each followed by its
hemisphere), ``POWER(V)`` and ``TEMP(C)``; the heading stands again wherever the recorder started anew. Out:
:class:`Summary`, which knows battery, temperature and place at an instant of the recorder's clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

MOST_BYTES = 32 * 1024 * 1024
"""A line a minute for a year is 30 MB; what is larger is no summary."""
NEAR = timedelta(hours=24)
"""Battery and temperature of an earlier line are not those of a recording made later than this."""
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class SummaryLine:
    """The state of a recorder at an instant of its clock."""

    clock: datetime
    place: tuple[float, float] | None
    battery_v: float | None
    temperature_c: float | None


class Summary:
    """All lines of a recorder's summaries, from all its cards."""

    def __init__(self, lines: list[SummaryLine]) -> None:
        self._lines = sorted(lines, key=lambda line: (line.clock, str(line)))
        self._clocks = [line.clock for line in self._lines]

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def facts(self) -> str:
        """All that it knows, as one text."""
        return str(self._lines)

    def at(self, clock: datetime) -> SummaryLine | None:
        """Return the last line at or (as the recorder writes when it is done) a day before a clock reading.

        The first line serves for what was recorded up to a day before it.
        """
        place = bisect_right(self._clocks, clock) - 1
        found = self._lines[max(place, 0)] if self._lines else None
        return None if found is None or abs(found.clock - clock) > NEAR else found


def read_summary(path: Path) -> list[SummaryLine]:
    """Read a summary; lines that do not follow its form are passed over (half a line at the end, say).

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as handle:
        text = handle.read(MOST_BYTES).decode("utf-8", errors="replace").replace("\0", "")
    columns: list[str] = []
    lines: list[SummaryLine] = []
    for row in text.splitlines():
        cells = [cell.strip() for cell in row.split(",")]
        if cells[:2] == ["DATE", "TIME"]:
            columns = cells
            continue
        if len(cells) < len(columns):
            cells.pop()  # it broke off here: half a number is another number
        if columns and len(cells) >= 2:
            line = _line(columns, cells)
            if line is not None:
                lines.append(line)
    return lines


def _line(columns: list[str], cells: list[str]) -> SummaryLine | None:
    clock = _clock(cells[0], cells[1])
    if clock is None:
        return None
    latitude = _side(columns, cells, "LAT", "NS", 90)
    longitude = _side(columns, cells, "LON", "EW", 180)
    known = latitude is not None and longitude is not None
    is_real = known and (latitude, longitude) != (0.0, 0.0)  # before the first fix
    return SummaryLine(
        clock=clock,
        place=(latitude, longitude) if is_real else None,  # type: ignore[arg-type]
        battery_v=_value(columns, cells, "POWER(V)"),
        temperature_c=_value(columns, cells, "TEMP(C)"),
    )


def _clock(date: str, time: str) -> datetime | None:
    # strptime's month names follow the locale; the recorder's are English.
    parts = date.split("-")
    if len(parts) == 3 and parts[1].title() in MONTHS:
        date = f"{parts[0]}-{MONTHS.index(parts[1].title()) + 1:02}-{parts[2]}"
    try:
        moment = datetime.fromisoformat(f"{date} {time}")
    except ValueError:
        return None
    return moment.replace(tzinfo=None)


def _value(columns: list[str], cells: list[str], name: str) -> float | None:
    at = columns.index(name) if name in columns else len(cells)
    try:
        value = float(cells[at].rstrip("° ")) if at < len(cells) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _side(columns: list[str], cells: list[str], name: str, sides: str, most: float) -> float | None:
    """Degrees with the hemisphere that stands in the cell behind them."""
    degrees = _value(columns, cells, name)
    at = columns.index(name) + 1 if name in columns else len(cells)
    side = cells[at].upper() if at < len(cells) else ""
    if degrees is None or abs(degrees) > most or side not in tuple(sides):
        return None
    return -degrees if side == sides[1] else degrees
