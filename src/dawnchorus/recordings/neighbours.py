"""What only shows beside other recordings: copies, overlaps, gaps, batteries that ran down.

In: the rows of the inventory, as their own files tell them. Out: the rows of a recorder-day's copies set
aside, and lines for ``faults.tsv``. Whatever is found here changes nothing outside the recorder-day that a
recording belongs to, so that a late file makes no other day run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import xxhash

from dawnchorus.recordings.faults import FAULTS, FaultLine
from dawnchorus.recordings.reading import in_threads
from dawnchorus.recordings.table import Recording

TOLERATED_OVERLAP = 1.0
"""Seconds; names tell whole seconds."""
HASHED_AT_ONCE = 1 << 20

NEIGHBOURHOOD = 7
"""Days before and after that say what is usual."""
FEWEST_DAYS = 4
"""Days of the neighbourhood that must have recordings before anything is usual."""
MISSING = 0.1
"""Share of the usual hours that may be missing before a day is named."""
MINUTES = 24 * 60
"""Of a day."""
SAME_SLOT = 3
"""Minutes by which the start of a scheduled recording may wander."""

LOW_BATTERY_V = 3.5
"""Three alkaline cells below this are spent (AudioMoth stops at about 3.3 V)."""
SHORT = 0.9
"""Share of the recorder's usual length below which a recording is short."""


def with_copies(root: Path, rows: Sequence[Recording]) -> list[Recording]:
    """Find recordings with the same content, and set aside copies within a recorder-day.

    What looks the same (size and look) is read wholly before it is called the same; rows remember the
    result in ``content_xxh3``. Of a recorder-day's copies the first by path is used. Copies of other times
    or recorders are all used, and named: nobody can tell which name is right.

    Returns
    -------
    list of Recording
        In the same order, with ``content_xxh3``, ``duplicate_of`` and, for copies set aside, their status.
    """
    alike: dict[tuple[int, str | None], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.is_usable and row.look_xxh3 is not None:
            alike[(row.size_bytes, row.look_xxh3)].append(number)
    found = list(rows)
    suspects = [number for group in alike.values() if len(group) > 1 for number in group]
    of_suspects = set(suspects)
    unknown = [number for number in suspects if rows[number].content_xxh3 is None]
    hashes = in_threads(_hash, [root / rows[number].recording for number in unknown])
    for number, digest in zip(unknown, hashes, strict=True):
        found[number] = found[number]._replace(content_xxh3=digest)
    for number, row in enumerate(rows):
        # Whether a file was once compared must not show.
        if number not in of_suspects and row.content_xxh3 is not None:
            found[number] = row._replace(content_xxh3=None)
    same: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number in suspects:
        digest = found[number].content_xxh3
        if digest is not None:
            same[(found[number].size_bytes, digest)].append(number)
    for group in same.values():
        if len(group) > 1:
            _mark(found, sorted(group, key=lambda number: found[number].recording))
    return found


def _hash(path: Path) -> str | None:
    hasher = xxhash.xxh3_128()
    try:
        with path.open("rb") as handle:
            while piece := handle.read(HASHED_AT_ONCE):
                hasher.update(piece)
    except OSError:
        return None
    return hasher.hexdigest()


def _mark(rows: list[Recording], group: list[int]) -> None:
    """Mark a group of copies, given by path."""
    first_of: dict[object, int] = {}
    for number in group:
        row = rows[number]
        original = first_of.setdefault(row.day, number)
        if original != number:
            reason = f"{FAULTS['DC016'].meaning}: {rows[original].recording}"
            rows[number] = row._replace(
                status="set aside",
                code="DC016",
                reason=reason,
                duplicate_of=rows[original].recording,
            )
    kept = list(first_of.values())
    for number in kept[1:]:
        rows[number] = rows[number]._replace(duplicate_of=rows[kept[0]].recording)


def lines_of_copies(rows: Iterable[Recording]) -> list[FaultLine]:
    """Name every copy."""
    lines = []
    for row in rows:
        if row.duplicate_of is not None:
            code = "DC016" if row.code == "DC016" else "DC017"
            reason = f"{FAULTS[code].meaning}: {row.duplicate_of}"
            lines.append(FaultLine.of(row.recording, row.recorder, row.date, code, reason))
    return lines


def overlaps(rows: Iterable[Recording]) -> list[FaultLine]:
    """Name recordings that run on when the next one of the recorder has begun (WA003).

    A recorder that writes a file for each channel writes two at a time; they are no overlap.
    """
    tracks: dict[tuple[str, str | None], list[Recording]] = defaultdict(list)
    for row in rows:
        if row.is_usable and row.start_utc is not None:
            tracks[(row.recorder, row.name_channel)].append(row)
    lines = []
    for track in tracks.values():
        track.sort(key=lambda row: (row.start_utc, row.recording))
        begins = [row.start_utc.timestamp() for row in track if row.start_utc is not None]
        for number, row in enumerate(track[:-1]):
            over = begins[number] + row.duration_s - begins[number + 1]
            if over > TOLERATED_OVERLAP:
                following = track[number + 1].recording
                reason = f"{FAULTS['WA003'].meaning}: by {over:,.1f} s, {following}"
                lines.append(FaultLine.of(row.recording, row.recorder, row.date, "WA003", reason))
    return lines


@dataclass
class _Day:
    """What a recorder recorded on a day."""

    hours: float = 0.0
    minutes: list[int] = field(default_factory=list)
    """Of the local day, at which recordings began."""


def gaps(rows: Iterable[Recording]) -> list[FaultLine]:
    """Name days on which a recorder recorded less than it usually does around that time (DC019).

    Usual is the median of hours over the :data:`NEIGHBOURHOOD` days before and after, if at least
    :data:`FEWEST_DAYS` of them have recordings. The first and the last day of a recorder at a place are no
    gaps: it is set up and fetched on them. Where recordings keep to a schedule, the starts that are missing
    are told.
    """
    made: dict[tuple[str, str, str], _Day] = defaultdict(_Day)
    for row in rows:
        if row.is_usable and row.date is not None and row.start_utc is not None:
            day = made[(row.recorder, row.deployment or "", row.date)]
            day.hours += row.duration_s / 3600
            of_utc = 60 * row.start_utc.hour + row.start_utc.minute
            day.minutes.append((of_utc + (row.utc_offset_minutes or 0)) % MINUTES)
    stays: dict[tuple[str, str], dict[date, _Day]] = defaultdict(dict)
    for (recorder, deployment, local), day in made.items():
        stays[(recorder, deployment)][date.fromisoformat(local)] = day
    lines = []
    for (recorder, _), days in stays.items():
        first, last = min(days), max(days)
        whole = {day: of_day for day, of_day in days.items() if first < day < last}
        for ahead in range(1, (last - first).days):
            between = first + timedelta(days=ahead)
            reason = _less_than_usual(between, whole)
            if reason is not None:
                told = f"{FAULTS['DC019'].meaning}: {reason}"
                lines.append(FaultLine.of(recorder, recorder, between.isoformat(), "DC019", told))
    return lines


def _less_than_usual(day: date, days: Mapping[date, _Day]) -> str | None:
    around = [
        days[other]
        for ahead in range(-NEIGHBOURHOOD, NEIGHBOURHOOD + 1)
        if ahead and (other := day + timedelta(days=ahead)) in days
    ]
    if len(around) < FEWEST_DAYS:
        return None
    usual = median(other.hours for other in around)
    made = days.get(day, _Day())
    if made.hours >= (1 - MISSING) * usual:
        return None
    missing = [
        slot for slot in _slots(around) if not any(_near(slot, begun) for begun in made.minutes)
    ]
    starts = ", ".join(f"{slot // 60:02}:{slot % 60:02}" for slot in missing[:6])
    more = " ..." if len(missing) > 6 else ""
    absent = f"; missing {starts}{more}" if missing and made.minutes else ""
    return f"{made.hours:.2f} of usually {usual:.2f} hours{absent}"


def _slots(around: Sequence[_Day]) -> list[int]:
    """Minutes of the day at which, on most of the days, a recording began."""
    counts: dict[int, int] = defaultdict(int)
    for day in around:
        for minute in set(day.minutes):
            counts[minute] += 1
    return sorted(minute for minute, count in counts.items() if 2 * count > len(around))


def _near(minute: int, other: int) -> bool:
    apart = abs(minute - other)
    return min(apart, MINUTES - apart) <= SAME_SLOT


def low_batteries(rows: Iterable[Recording]) -> list[FaultLine]:
    """Name an AudioMoth's recordings that are short or empty because the battery was low (OA002)."""
    of_recorder: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        if row.is_audiomoth:
            of_recorder[row.recorder].append(row)
    lines = []
    for found in of_recorder.values():
        lengths = [row.duration_s for row in found if row.frames]
        usual = median(lengths) if lengths else 0.0
        for row in found:
            is_weak = row.battery_v is not None and row.battery_v <= LOW_BATTERY_V
            is_short = row.duration_s < SHORT * usual
            if row.header_low_battery or (is_weak and is_short):
                volts = "" if row.battery_v is None else f" at {row.battery_v:g} V"
                told = f"{row.duration_s:,.1f} of usually {usual:,.1f} s{volts}"
                reason = f"{FAULTS['OA002'].meaning}: {told}"
                action = FAULTS[row.code].action if row.code and row.status == "set aside" else None
                line = FaultLine.of(row.recording, row.recorder, row.date, "OA002", reason, action)
                lines.append(line)
    return lines


def first_of_each_day(rows: Iterable[Recording], seconds: float) -> list[Recording]:
    """Return the first usable recording of each recorder-day that lasts so long."""
    usable = [row for row in rows if row.is_usable and row.duration_s >= seconds]
    first: dict[object, Recording] = {}
    for row in sorted(usable, key=lambda row: (row.start_utc, row.recording)):
        first.setdefault(row.day, row)
    return list(first.values())
