"""Opening many files, and not opening those that an earlier scan knows.

In: the cards' entries and the rows of an earlier ``recordings.parquet``. Out: what each file's header
and a look at its samples say, as a :class:`Content`; the same whether it was read now or is remembered.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

from dawnchorus import progress
from dawnchorus.recordings.cards import Entry
from dawnchorus.recordings.clock import HeaderClock, header_clock
from dawnchorus.recordings.headers import read_riff
from dawnchorus.recordings.look import clicks_per_second, look
from dawnchorus.recordings.metadata import SILENT, Metadata, metadata_of
from dawnchorus.recordings.sound import AudioFault, inspect
from dawnchorus.recordings.table import KnownClock, Recording

THREADS = 16
"""Headers read at once: waiting for the disk or the network, hardly computing."""
BATCH = 128
"""Files per task of a thread or process."""
MANY = 4096
"""Files from which on processes are worth their start."""
MOST_PROCESSES = 16
UNREADABLE = "DC006"
"""A file that could not be opened may open the next time: it is not remembered."""
MINUTE = timedelta(minutes=1)

T = TypeVar("T")
U = TypeVar("U")


class Content(NamedTuple):
    """What one opening of a file tells."""

    frames: int = 0
    promised_frames: int = 0
    sample_rate: int = 0
    channels: int = 0
    format: str = ""
    fault: tuple[str, str] | None = None
    """Code and reason."""
    metadata: Metadata = SILENT
    clipped_share: float | None = None
    constant_offset: float | None = None
    quiet_share: float | None = None
    look_xxh3: str | None = None

    @property
    def header(self) -> HeaderClock | None:
        """What it says about the clock."""
        return header_clock(self.metadata)


def is_same(row: Recording | KnownClock, entry: Entry) -> bool:
    """Tell whether a row is about this very file: path, size and time of modification."""
    return row.size_bytes == entry.size_bytes and row.mtime_ns == entry.mtime_ns


def is_settled(row: Recording | KnownClock) -> bool:
    """Tell whether a row holds all that opening the file again would tell."""
    return row.content_code != UNREADABLE


def known_clock(row: Recording | KnownClock) -> HeaderClock | None:
    """What the header said of the clock, from the row of an earlier scan."""
    if row.header_clock is None:
        return None
    minutes = row.header_offset_minutes
    return HeaderClock(row.header_clock, None if minutes is None else minutes * MINUTE)


def known_content(row: Recording) -> Content:
    """Return what the file said when it was last opened."""
    clock = known_clock(row)
    place = None
    if row.header_latitude is not None and row.header_longitude is not None:
        place = (row.header_latitude, row.header_longitude)
    return Content(
        frames=row.frames,
        promised_frames=row.promised_frames,
        sample_rate=row.sample_rate,
        channels=row.channels,
        format=row.format,
        fault=None if row.content_code is None else (row.content_code, row.content_reason or ""),
        metadata=Metadata(
            clock=None if clock is None else clock.clock,
            offset=None if clock is None else clock.offset,
            device=row.device,
            place=place,
            battery_v=row.header_battery_v,
            temperature_c=row.header_temperature_c,
            is_low_battery=row.header_low_battery,
        ),
        clipped_share=row.clipped_share,
        constant_offset=row.constant_offset,
        quiet_share=row.quiet_share,
        look_xxh3=row.look_xxh3,
    )


def read_metadata(path: Path | str) -> Metadata:
    """Read only what the recorder says of itself in the header."""
    try:
        return metadata_of(read_riff(path))
    except OSError:
        return SILENT  # scan names it (DC006); the name alone is believed


def read_clock(path: Path | str) -> HeaderClock | None:
    """Read only what the header says about the clock."""
    return header_clock(read_metadata(path))


def read_content(path: Path) -> Content:
    """Open a file and say all that is in it; never raises for a bad file."""
    try:
        sound = inspect(path)
    except AudioFault as fault:
        return Content(fault=(fault.code, fault.reason), metadata=read_metadata(path))
    noted = None if sound.fault is None else (sound.fault[0], AudioFault(*sound.fault).reason)
    told = metadata_of(sound.riff)
    common = {
        "frames": sound.frames,
        "promised_frames": max(sound.frames, sound.promised_frames),
        "sample_rate": sound.sample_rate,
        "channels": sound.channels,
        "format": sound.format,
        "metadata": told,
    }
    try:
        seen = look(path, sound)
    except AudioFault as fault:
        return Content(**common, fault=(fault.code, fault.reason))  # type: ignore[arg-type]
    return Content(
        **common,  # type: ignore[arg-type]
        fault=noted,
        clipped_share=seen.clipped_share,
        constant_offset=seen.constant_offset,
        quiet_share=seen.quiet_share,
        look_xxh3=seen.digest,
    )


def read_contents(paths: Sequence[Path], advance: progress.Advance | None = None) -> list[Content]:
    """Open many files, in order.

    A look at the samples holds the interpreter while it computes, so a season's are shared by processes:
    two per core, since some of them wait for the disk.
    """
    if len(paths) < MANY:
        return in_threads(read_content, paths, advance)
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    processes = min(MOST_PROCESSES, 2 * len(os.sched_getaffinity(0)))
    done: list[Content] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for some in pool.map(_read_batch, batches):
            done.extend(some)
            if advance is not None:
                advance(len(some))
    return done


def _read_batch(paths: Sequence[Path]) -> list[Content]:
    return [read_content(path) for path in paths]


def listen_for_clicks(path: Path) -> float:
    """Return how often a recording clicks; 0 also where it cannot be read any more."""
    try:
        return clicks_per_second(path, inspect(path))
    except AudioFault:
        return 0.0


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
