"""What is on the cards: the inventory.

In: the cards below ``audio.root`` and the deployments. Out: ``recordings.parquet`` (every recording),
``faults.tsv`` (everything that is wrong, and what was done about it) and ``calendar.html`` (coverage);
and, for the workflow's parsing, the recorder-days with their fingerprints (:func:`index`).

:func:`index` and :func:`scan` read clocks by the same rules (:mod:`~dawnchorus.recordings.clock`), so they
agree on which recording belongs to which recorder-day; :func:`index` opens a file only where its
name alone cannot say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dawnchorus import progress
from dawnchorus.config import Audio, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.calendar import write_calendar
from dawnchorus.recordings.cards import SUFFIXES, Cards, Entry, Stray, walk
from dawnchorus.recordings.clock import HEADER, HeaderClock, Start, needs_header, start_of
from dawnchorus.recordings.deployments import Deployments, read_deployments
from dawnchorus.recordings.faults import FAULTS, FaultLine, Status, write_faults
from dawnchorus.recordings.names import NameFault, Stamp, parse
from dawnchorus.recordings.reading import (
    Content,
    clock_of,
    in_threads,
    is_same,
    is_settled,
    known_content,
    read_clock,
    read_content,
)
from dawnchorus.recordings.table import (
    Recording,
    days_of,
    known_recordings,
    recordings_of_day,
    write_recordings,
)
from dawnchorus.results import RecorderDay, Results, fingerprint

__all__ = [
    "IndexedDay",
    "Recording",
    "ScanSummary",
    "days_of",
    "index",
    "recordings_of_day",
    "scan",
]

MINUTE = timedelta(minutes=1)
WORST: tuple[Status, ...] = ("set aside", "partial", "ok")


@dataclass(frozen=True)
class IndexedDay:
    """A recorder-day as the names tell it."""

    day: RecorderDay
    fingerprint: str
    """Changes with paths, sizes, times of modification (if configured), clocks and deployment."""
    recordings: int
    """How many there are, usable or not."""
    place: tuple[float, float] | None
    """Latitude and longitude in degrees of the day's first recording that has them."""


@dataclass(frozen=True)
class ScanSummary:
    """What a scan found."""

    recordings: int
    usable: int
    """Recordings with a date and samples."""
    hours: float
    """Of usable sound."""
    recorders: int
    recorder_days: int
    faults: int
    """Lines of ``faults.tsv``."""
    opened: int
    """Files whose header was read; the others were known."""
    pending: int
    """Recordings still being copied."""

    def __str__(self) -> str:
        line = (
            f"{self.recordings:,} recordings, {self.hours:,.1f} hours usable, {self.recorder_days:,} "
            f"recorder-days of {self.recorders} recorder{'s' * (self.recorders != 1)}; "
            f"{self.faults:,} line{'s' * (self.faults != 1)} in faults.tsv"
        )
        return f"{line}; {self.pending:,} still being copied" if self.pending else line


def index(audio: Audio, known: Path | None = None) -> list[IndexedDay]:
    """List the recorder-days on the cards in one pass, writing nothing.

    Parameters
    ----------
    audio : Audio
        Section of the config.
    known : Path, optional
        An earlier ``recordings.parquet``: headers of files it knows (path, size and time of modification)
        are not opened again.

    Returns
    -------
    list of IndexedDay
        Sorted; the same whatever the order on disk and the folders' times of modification.

    Raises
    ------
    DawnChorusError
        If the root is missing, the deployments are wrong, or no recordings are found.
    """
    cards = _walk(audio)
    deployments = read_deployments(audio.deployments, audio.timezone)
    stamps = [parse(entry.name, audio.pattern) for entry in cards.entries]
    clocks: list[HeaderClock | None] = [None] * len(stamps)
    unread: list[int] = []
    earlier = known_recordings(known) if any(map(needs_header, stamps)) else {}
    for number, (entry, stamp) in enumerate(zip(cards.entries, stamps, strict=True)):
        if needs_header(stamp):
            row = earlier.get(entry.path)
            if row is not None and is_same(row, entry) and row.convention != HEADER:
                clocks[number] = clock_of(row, stamp)
            else:
                unread.append(number)
    root = audio.root.as_posix()
    paths = [f"{root}/{cards.entries[number].path}" for number in unread]
    for number, clock in zip(unread, in_threads(read_clock, paths), strict=True):
        clocks[number] = clock

    days: dict[RecorderDay, list[tuple[Entry, Start]]] = {}
    for entry, stamp, clock in zip(cards.entries, stamps, clocks, strict=True):
        start = start_of(entry.recorder, stamp, clock, deployments)
        if isinstance(start, Start):
            days.setdefault(RecorderDay(entry.recorder, start.date), []).append((entry, start))
    if not days:
        raise _nothing(audio, cards, f"{len(cards.entries):,} recordings, but none with a date")
    return [_indexed(day, days[day], audio) for day in sorted(days)]


def _indexed(day: RecorderDay, found: Sequence[tuple[Entry, Start]], audio: Audio) -> IndexedDay:
    with_mtime = audio.fingerprint == "size+mtime"
    files = [
        [
            entry.path,
            entry.size_bytes,
            entry.mtime_ns if with_mtime else None,
            start.utc.isoformat(),
            start.offset.total_seconds(),
            start.deployment.deployment if start.deployment is not None else None,
        ]
        for entry, start in found
    ]
    stood = {d.deployment: d.facts for _, start in found if (d := start.deployment) is not None}
    in_time = sorted(found, key=lambda pair: (pair[1].utc, pair[0].path))
    place = next((start.place for _, start in in_time if start.place is not None), None)
    return IndexedDay(day, fingerprint([files, sorted(stood.values(), key=str)]), len(files), place)


def scan(settings: Settings, results: Results) -> ScanSummary:
    """Read the cards and write ``recordings.parquet``, ``faults.tsv`` and ``calendar.html``.

    Files that the last scan knows by path, size and time of modification are not opened again. The
    output does not depend on the order on disk, nor on what the last scan knew.

    Raises
    ------
    DawnChorusError
        As :func:`index`; except that recordings without a date are written as faults.
    """
    audio = settings.audio
    cards = _walk(audio)
    deployments = read_deployments(audio.deployments, audio.timezone)
    earlier = known_recordings(results.recordings)
    contents: dict[str, Content] = {}
    unread: list[Entry] = []
    stamps = {entry.path: parse(entry.name, audio.pattern) for entry in cards.entries}
    for entry in cards.entries:
        row = earlier.get(entry.path)
        if row is not None and is_same(row, entry) and is_settled(row):
            contents[entry.path] = known_content(row, stamps[entry.path])
        else:
            unread.append(entry)
    with progress.counting("reading headers", len(unread), "files") as advance:
        paths = [audio.root / entry.path for entry in unread]
        for entry, content in zip(unread, in_threads(read_content, paths, advance), strict=True):
            contents[entry.path] = content

    rows: list[Recording] = []
    lines = [_stray_line(stray) for stray in (*cards.strays, *cards.pending)]
    for entry in cards.entries:
        row, faults = _row(entry, stamps[entry.path], contents[entry.path], deployments)
        rows.append(row)
        lines.extend(faults)
    lines.extend(_uncovered(rows, deployments))
    write_recordings(results.recordings, rows)
    write_faults(results.faults, lines)
    write_calendar(results.calendar, rows, lines, cards.recorders)
    usable = [row for row in rows if row.is_usable]
    return ScanSummary(
        recordings=len(rows),
        usable=len(usable),
        hours=sum(row.duration_s for row in usable) / 3600,
        recorders=len({row.recorder for row in rows}),
        recorder_days=len({row.day for row in rows if row.day is not None}),
        faults=len(lines),
        opened=len(unread),
        pending=len(cards.pending),
    )


def _walk(audio: Audio) -> Cards:
    cards = walk(audio.root, audio.min_age_hours)
    if not cards.entries:
        raise _nothing(audio, cards, "none")
    return cards


def _nothing(audio: Audio, cards: Cards, found: str) -> DawnChorusError:
    others = []
    if cards.pending:
        others.append(f"{len(cards.pending):,} younger than audio.min_age_hours")
    if cards.strays:
        first = cards.strays[0]
        others.append(f"{len(cards.strays):,} other files, such as {first.path}")
    beside = f" (and {', '.join(others)})" if others else ""
    return DawnChorusError(
        f"no recordings found: looked for <recorder>/.../*{{{','.join(sorted(SUFFIXES))}}} with a date "
        f"in the name, found {found}{beside}",
        audio.root,
        "set audio.root to the folder that holds one folder per recorder, and audio.pattern if the names "
        "follow another convention",
    )


def _row(
    entry: Entry, stamp: Stamp | NameFault, content: Content, deployments: Deployments
) -> tuple[Recording, list[FaultLine]]:
    """Put together what name, header and deployments say of one file."""
    start = start_of(entry.recorder, stamp, content.header, deployments)
    faults = [] if content.fault is None else [content.fault]
    # Of a file with nothing in it, the clock is of no interest.
    if content.fault is None or FAULTS[content.fault[0]].status != "set aside":
        if isinstance(start, NameFault):
            faults.append((start.code, f"{FAULTS[start.code].meaning}: {start.particulars}"))
        elif start.code is not None:
            faults.append((start.code, FAULTS[start.code].meaning))
    faults.sort(key=lambda fault: WORST.index(FAULTS[fault[0]].status))
    code, reason = faults[0] if faults else (None, None)
    # What is wrong besides does not matter to a file that is set aside.
    status: Status = "ok" if code is None else FAULTS[code].status
    overriding = FAULTS[code].action if code is not None and status == "set aside" else None
    began = start if isinstance(start, Start) else None
    deployment = began.deployment if began is not None else None
    latitude, longitude = (began.place if began is not None else None) or (None, None)
    row = Recording(
        recording=entry.path,
        recorder=entry.recorder,
        date=began.date if began is not None else None,
        start_utc=began.utc if began is not None else None,
        utc_offset_minutes=round(began.offset / MINUTE) if began is not None else None,
        duration_s=content.frames / content.sample_rate if content.sample_rate else 0.0,
        frames=content.frames,
        sample_rate=content.sample_rate,
        channels=content.channels,
        format=content.format,
        convention=began.convention if began is not None else None,
        size_bytes=entry.size_bytes,
        mtime_ns=entry.mtime_ns,
        deployment=deployment.deployment if deployment is not None else None,
        location=deployment.location if deployment is not None else None,
        latitude=latitude,
        longitude=longitude,
        habitat=deployment.habitat if deployment is not None else None,
        timezone=began.timezone if began is not None else None,
        status=status,
        code=code,
        reason=reason,
    )
    lines = [
        FaultLine.of(entry.path, entry.recorder, row.date, *fault, overriding) for fault in faults
    ]
    return row, lines


def _stray_line(stray: Stray) -> FaultLine:
    reason = f"{FAULTS[stray.code].meaning}: {stray.particulars}"
    return FaultLine.of(stray.path, stray.recorder, None, stray.code, reason)


def _uncovered(rows: Iterable[Recording], deployments: Deployments) -> list[FaultLine]:
    """One line per recorder that the deployments do not know, or per day that they do not cover."""
    if not len(deployments):
        return []
    lines = set()
    for row in rows:
        if row.date is not None and row.deployment is None:
            is_known = bool(deployments.of(row.recorder))
            reason = (
                "its deployments leave out this day" if is_known else "recorder not in the table"
            )
            date = row.date if is_known else None
            told = f"{FAULTS['DC011'].meaning}: {reason}"
            lines.add(FaultLine.of(row.recorder, row.recorder, date, "DC011", told))
    return list(lines)
