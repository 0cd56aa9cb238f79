"""Opening many files, and not opening those that an earlier scan knows.

In: the cards' entries and the rows of an earlier ``recordings.parquet``. Out: what each file's header
says, as a :class:`Content`; the same whether it was read now or is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import TypeVar

from dawnchorus import progress
from dawnchorus.recordings.cards import Entry
from dawnchorus.recordings.clock import HEADER, HeaderClock, header_clock
from dawnchorus.recordings.headers import read_riff
from dawnchorus.recordings.names import NameFault, Stamp
from dawnchorus.recordings.sound import AudioFault, inspect
from dawnchorus.recordings.table import Recording

THREADS = 16
"""Headers read at once: waiting for the disk or the network, hardly computing."""
BATCH = 128
"""Files per task of a thread."""
NOTHING_THERE = frozenset({"OE004", "OE005", "FL001", "FL003", "WA004", "DC002", "DC005"})
"""Faults that stay as they are as long as the file does: it need not be opened again."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Content:
    """What one opening of a file tells."""

    frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    format: str = ""
    fault: tuple[str, str] | None = None
    """Code and reason."""
    header: HeaderClock | None = None


def is_same(row: Recording, entry: Entry) -> bool:
    """Tell whether a row is about this very file: path, size and time of modification."""
    return row.size_bytes == entry.size_bytes and row.mtime_ns == entry.mtime_ns


def is_settled(row: Recording) -> bool:
    """Tell whether a row holds all that opening the file again would tell."""
    if row.convention == HEADER:
        return False
    return row.code is None or row.code in NOTHING_THERE


def clock_of(row: Recording, stamp: Stamp | NameFault) -> HeaderClock | None:
    """What the header said of the clock, from the row of an earlier scan."""
    if isinstance(stamp, NameFault) or row.start_utc is None or stamp.convention != "audiomoth":
        return None
    offset = stamp.clock - row.start_utc.astimezone(UTC).replace(tzinfo=None)
    if row.convention != stamp.convention or abs(offset) > timedelta(hours=14):
        return None
    return HeaderClock(stamp.clock, offset)


def known_content(row: Recording, stamp: Stamp | NameFault) -> Content:
    """Return what the file said when it was last opened."""
    fault = None if row.code is None else (row.code, row.reason or "")
    clock = clock_of(row, stamp)
    return Content(row.frames, row.sample_rate, row.channels, row.format, fault, clock)


def read_clock(path: Path | str) -> HeaderClock | None:
    """Read only what the header says about the clock."""
    try:
        return header_clock(read_riff(path))
    except OSError:
        return None  # scan names it (DC006); the name alone is believed


def read_content(path: Path) -> Content:
    """Open a file and say all that is in it; never raises for a bad file."""
    try:
        sound = inspect(path)
    except AudioFault as fault:
        return Content(fault=(fault.code, fault.reason), header=read_clock(path))
    noted = None if sound.fault is None else (sound.fault[0], AudioFault(*sound.fault).reason)
    return Content(
        sound.frames,
        sound.sample_rate,
        sound.channels,
        sound.format,
        noted,
        header_clock(sound.riff),
    )


def in_threads(
    function: Callable[[T], U], items: Sequence[T], advance: progress.Advance | None = None
) -> list[U]:
    """Map in threads, in batches, in order."""

    def batch(start: int) -> list[U]:
        return [function(item) for item in items[start : start + BATCH]]

    done: list[U] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for some in pool.map(batch, range(0, len(items), BATCH)):
            done.extend(some)
            if advance is not None:
                advance(len(some))
    return done
