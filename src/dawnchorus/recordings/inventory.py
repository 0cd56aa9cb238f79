"""What is on the cards: the inventory.

In: the cards below ``audio.root`` and the deployments. Out: ``recordings.parquet`` (every recording),
``faults.tsv`` (everything that is wrong, and what was done about it) and ``calendar.html`` (coverage);
and, for the workflow's parsing, the recorder-days with their fingerprints (:func:`index_cards`).

:func:`index_cards` and :func:`scan` read clocks by the same rules (:mod:`~dawnchorus.recordings.clock`), so they
agree on which recording belongs to which recorder-day; :func:`index_cards` opens a file only where its
name alone cannot say.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dawnchorus import __version__, progress
from dawnchorus.config import Audio, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.calendar import write_calendar
from dawnchorus.recordings.cards import SUFFIXES, Cards, Entry, walk
from dawnchorus.recordings.clock import HeaderClock, Start, needs_header, start_of
from dawnchorus.recordings.deployments import Deployments, read_deployments
from dawnchorus.recordings.faults import FaultLine, write_faults
from dawnchorus.recordings.look import CLICK_SECONDS
from dawnchorus.recordings.names import parse
from dawnchorus.recordings.neighbours import (
    first_of_each_day,
    gaps,
    lines_of_copies,
    low_batteries,
    overlaps,
    with_copies,
)
from dawnchorus.recordings.reading import (
    in_threads,
    is_same,
    is_settled,
    known_clock,
    known_content,
    listen_for_clicks,
    read_clock,
    read_contents,
)
from dawnchorus.recordings.summary import Summary, SummaryLine, read_summary
from dawnchorus.recordings.table import (
    Recording,
    days_of,
    known_clocks,
    known_recordings,
    recordings_of_day,
    write_recordings,
)
from dawnchorus.recordings.verdict import Judge, lines_of_clicks, stray_line
from dawnchorus.results import RecorderDay, Results, fingerprint

__all__ = [
    "CardIndex",
    "IndexedDay",
    "Recording",
    "ScanSummary",
    "days_of",
    "index_cards",
    "recordings_of_day",
    "scan",
]


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
    size_bytes: int
    """Of its recordings."""


@dataclass(frozen=True)
class CardIndex:
    """What one pass over the cards tells."""

    days: list[IndexedDay]
    """Sorted."""
    pending: dict[RecorderDay, int]
    """How many recordings are still being copied, by recorder-day; the date is empty where the name alone
    does not tell it."""


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


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Spare the search for cycles while 100,000 small objects are made that have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collecting()
def index_cards(audio: Audio, known: Path | None = None) -> CardIndex:
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
    CardIndex
        The same whatever the order on disk and the folders' times of modification.

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
    earlier = known_clocks(known) if any(map(needs_header, stamps)) else {}
    for number, (entry, stamp) in enumerate(zip(cards.entries, stamps, strict=True)):
        if needs_header(stamp):
            row = earlier.get(entry.path)
            if row is not None and is_same(row, entry) and is_settled(row):
                clocks[number] = known_clock(row)
            else:
                unread.append(number)
    root = audio.root.as_posix()
    paths = [f"{root}/{cards.entries[number].path}" for number in unread]
    for number, clock in zip(unread, in_threads(read_clock, paths), strict=True):
        clocks[number] = clock

    days: dict[tuple[str, str], list[tuple[Entry, Start]]] = {}
    for entry, stamp, clock in zip(cards.entries, stamps, clocks, strict=True):
        start = start_of(entry.recorder, stamp, clock, deployments)
        if isinstance(start, Start):
            days.setdefault((entry.recorder, start.date), []).append((entry, start))
    if not days:
        raise _nothing(audio, cards, f"{len(cards.entries):,} recordings, but none with a date")
    indexed = [_indexed(RecorderDay(*day), days[day], audio) for day in sorted(days)]
    return CardIndex(indexed, _pending(cards, audio, deployments))


def _pending(cards: Cards, audio: Audio, deployments: Deployments) -> dict[RecorderDay, int]:
    """Count what is still being copied by the day that its name tells; no such file is opened."""
    pending: dict[RecorderDay, int] = {}
    for stray in cards.pending:
        stamp = parse(stray.path.rpartition("/")[2], audio.pattern)
        start = None
        if not needs_header(stamp):
            start = start_of(stray.recorder, stamp, None, deployments)
        day = RecorderDay(stray.recorder, start.date if isinstance(start, Start) else "")
        pending[day] = pending.get(day, 0) + 1
    return pending


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
    stood = {d.deployment: d for _, start in found if (d := start.deployment) is not None}
    facts = sorted((deployment.facts for deployment in stood.values()), key=str)
    placed = [pair for pair in found if pair[1].place is not None]
    first = min(placed, key=lambda pair: (pair[1].utc, pair[0].path), default=None)
    place = None if first is None else first[1].place
    size = sum(entry.size_bytes for entry, _ in found)
    return IndexedDay(day, fingerprint([files, facts]), len(files), place, size)


def scan(settings: Settings, results: Results) -> ScanSummary:
    """Read the cards and write ``recordings.parquet``, ``faults.tsv`` and ``calendar.html``.

    Files that the last scan knows by path, size and time of modification are not opened again. The
    output does not depend on the order on disk, nor on what the last scan knew.

    Raises
    ------
    DawnChorusError
        As :func:`index_cards`; except that recordings without a date are written as faults.
    """
    audio = settings.audio
    cards = _walk(audio)
    deployments = read_deployments(audio.deployments, audio.timezone)
    with _without_collecting():
        rows, lines, opened, circumstances = _rows(audio, cards, deployments, results)
    write_recordings(results.recordings, rows, circumstances)
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
        opened=opened,
        pending=len(cards.pending),
    )


def _rows(
    audio: Audio, cards: Cards, deployments: Deployments, results: Results
) -> tuple[list[Recording], list[FaultLine], int, str]:
    """All rows of the inventory, all lines of ``faults.tsv``, how many files were opened, and the
    fingerprint of the circumstances."""
    earlier, of_earlier = known_recordings(results.recordings)
    summaries = _summaries(audio.root, cards)
    circumstances = fingerprint(
        [
            __version__,
            audio.pattern,
            audio.timezone,
            audio.channel,
            deployments.facts,
            {recorder: summary.facts for recorder, summary in summaries.items()},
        ]
    )
    unchanged: list[Recording] = []
    known: list[tuple[Entry, Recording]] = []
    unread: list[Entry] = []
    for entry in cards.entries:
        row = earlier.get(entry.path)
        if row is None or not is_same(row, entry) or not is_settled(row):
            unread.append(entry)
        elif row.is_noted or of_earlier != circumstances or row.code is not None:
            known.append((entry, row))
        else:  # by itself it would become the same row again
            unchanged.append(
                row
                if row.duplicate_of is None and row.clicks_per_second is None
                else row._replace(duplicate_of=None, clicks_per_second=None)
            )

    judge = Judge(audio, deployments, summaries)
    for entry, row in known:
        judge.add(entry, parse(entry.name, audio.pattern), known_content(row), row.content_xxh3)
    with progress.counting("reading headers", len(unread), "files") as advance:
        paths = [audio.root / entry.path for entry in unread]
        contents = read_contents(paths, advance)
    for entry, content in zip(unread, contents, strict=True):
        judge.add(entry, parse(entry.name, audio.pattern), content, None)

    rows = with_copies(audio.root, [*unchanged, *judge.rows])
    fresh = {entry.path for entry in unread}
    known_clicks = {
        path: row.clicks_per_second
        for path, row in earlier.items()
        if row.clicks_per_second is not None and path not in fresh
    }
    rows = _with_clicks(audio.root, rows, known_clicks)
    lines = [stray_line(stray) for stray in (*cards.strays, *cards.pending)]
    lines += judge.lines(rows)
    lines += lines_of_copies(rows)
    lines += overlaps(rows)
    lines += gaps(rows)
    lines += low_batteries(rows)
    lines += lines_of_clicks(rows)
    return rows, lines, len(unread), circumstances


def _summaries(root: Path, cards: Cards) -> dict[str, Summary]:
    """What the Song Meters say of themselves, by recorder."""
    found: dict[str, list[SummaryLine]] = {}
    for recorder, path in cards.summaries:
        # What cannot be read tells nothing; the recordings beside it do without.
        with suppress(OSError):
            found.setdefault(recorder, []).extend(read_summary(root / path))
    return {recorder: Summary(lines) for recorder, lines in found.items()}


def _with_clicks(
    root: Path,
    rows: Sequence[Recording],
    known: Mapping[str, float | None],
) -> list[Recording]:
    """Listen for clicks in one recording of each AudioMoth's day; a card clicks all day or not at all."""
    moths = (row for row in rows if row.is_audiomoth)
    wanted = [row.recording for row in first_of_each_day(moths, CLICK_SECONDS)]
    rates = {path: rate for path in wanted if (rate := known.get(path)) is not None}
    unknown = [path for path in wanted if path not in rates]
    heard = in_threads(listen_for_clicks, [root / path for path in unknown])
    rates.update(zip(unknown, heard, strict=True))
    return [
        row if row.recording not in rates else row._replace(clicks_per_second=rates[row.recording])
        for row in rows
    ]


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
