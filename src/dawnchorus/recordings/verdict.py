"""What becomes of a file: name, header, samples and deployments put together.

In: a file on a card, the time in its name and what one opening of it told. Out: its row of
``recordings.parquet`` with the worst that is wrong with it, and a line of ``faults.tsv`` for everything that
is; what is so for all files of a recorder is one line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from dawnchorus.config import Audio
from dawnchorus.recordings.cards import Entry, Stray
from dawnchorus.recordings.clock import Start, start_of
from dawnchorus.recordings.deployments import Deployments
from dawnchorus.recordings.faults import ASIDE, FAULTS, FaultLine, Status
from dawnchorus.recordings.look import CLIPPED, OFFSET, STRETCH, STRETCHES
from dawnchorus.recordings.names import NameFault, Stamp
from dawnchorus.recordings.reading import Content
from dawnchorus.recordings.summary import Summary
from dawnchorus.recordings.table import Recording

MINUTE = timedelta(minutes=1)
WORST: tuple[Status, ...] = ("set aside", "partial", "ok")

OF_SONG_METERS = {"OE004": "WA001", "OE005": "WA002"}
"""The same fault has its own code where the maker is known."""
OF_ALL = frozenset({"FL004", "OA003"})
"""What a recorder does to all its names: one line for all of them."""


@dataclass
class _Habit:
    """Something that is so for many recordings of a recorder."""

    recordings: int = 0
    first: str = ""
    """Path of the first of them."""
    dates: set[str] = field(default_factory=set)

    def add(self, row: Recording) -> None:
        self.recordings += 1
        self.first = min(self.first or row.recording, row.recording)
        if row.date is not None:
            self.dates.add(row.date)

    def __str__(self) -> str:
        many = f"{self.recordings:,} recording{'s' * (self.recordings != 1)}"
        when = f", {min(self.dates)} to {max(self.dates)}" if len(self.dates) > 1 else ""
        return f"{many}{when}, such as {self.first}"


class Judge:
    """Gives every file its row, and collects what is wrong.

    Parameters
    ----------
    audio : Audio
        ``channel`` is used.
    deployments : Deployments
    summaries : mapping
        Of Song Meters, by recorder.
    """

    def __init__(
        self, audio: Audio, deployments: Deployments, summaries: Mapping[str, Summary]
    ) -> None:
        self._audio, self._deployments, self._summaries = audio, deployments, summaries
        self.rows: list[Recording] = []
        """Of all files that were added."""
        self._lines: list[FaultLine] = []
        self._habits: dict[tuple[str, str, str, str | None], _Habit] = defaultdict(_Habit)

    def add(
        self,
        entry: Entry,
        stamp: Stamp | NameFault | None,
        content: Content,
        content_xxh3: str | None,
    ) -> None:
        """Put together what is known of one file.

        Parameters
        ----------
        entry : Entry
        stamp : Stamp or NameFault or None
            What the name says; None where nobody asks when it was.
        content : Content
            What the file says.
        content_xxh3 : str or None
            Digest of all its bytes, if an earlier scan needed it.
        """
        start = None
        if stamp is not None:
            start = start_of(entry.recorder, stamp, content.header, self._deployments)
        convention = start.convention if isinstance(start, Start) else None
        fault = content.fault
        if fault is not None and convention == "song-meter":
            code = OF_SONG_METERS.get(fault[0], fault[0])
            fault = (code, fault[1].replace(FAULTS[fault[0]].meaning, FAULTS[code].meaning))
        faults = self._faults(content, fault, start)
        faults.sort(key=lambda one: WORST.index(self._status(one[0], content)))
        # What is wrong besides does not matter to a file that is set aside.
        status: Status = self._status(faults[0][0], content) if faults else "ok"
        worst = faults[0] if faults else (None, None)
        row = self._row(entry, start, content, status, worst, content_xxh3)
        if isinstance(stamp, Stamp) and stamp.channel is not None:
            row = row._replace(name_channel=stamp.channel)
        overriding = ASIDE if status == "set aside" else None
        for one in faults:
            self._lines.append(FaultLine.of(entry.path, entry.recorder, row.date, *one, overriding))
        has_habits = isinstance(start, Start) and self._note_habits(row, start)
        self.rows.append(row._replace(is_noted=True) if faults or has_habits else row)

    @staticmethod
    def _status(code: str, content: Content) -> Status:
        """Status by the table; of a file of which nothing is left, there are no good samples."""
        status = FAULTS[code].status
        return "set aside" if status == "partial" and not content.frames else status

    def _faults(
        self, content: Content, fault: tuple[str, str] | None, start: Start | NameFault | None
    ) -> list[tuple[str, str]]:
        """Code and reason of everything that is wrong with one file alone."""
        faults = [] if fault is None else [fault]
        channel = self._audio.channel
        if isinstance(channel, int) and 1 < content.channels <= channel:
            told = f"{channel}, it has {content.channels}"
            faults.append(("DC015", f"{FAULTS['DC015'].meaning}: {told}"))
        # Of a file with nothing in it, the clock is of no interest.
        if fault is None or self._status(fault[0], content) != "set aside":
            if isinstance(start, NameFault):
                faults.append((start.code, f"{FAULTS[start.code].meaning}: {start.particulars}"))
            elif start is not None:
                faults.extend(
                    (code, FAULTS[code].meaning) for code in start.codes if code not in OF_ALL
                )
        faults.extend(_heard(content))
        return faults

    def _row(
        self,
        entry: Entry,
        start: Start | NameFault | None,
        content: Content,
        status: Status,
        worst: tuple[str, str] | tuple[None, None],
        content_xxh3: str | None,
    ) -> Recording:
        began = start if isinstance(start, Start) else None
        deployment = began.deployment if began is not None else None
        told = content.metadata
        summary = self._summaries.get(entry.recorder)
        state = None
        if summary is not None and began is not None:
            state = summary.at((began.utc + began.offset).replace(tzinfo=None))
        place = (began.place if began is not None else None) or told.place
        if place is None and state is not None:
            place = state.place
        battery, temperature = told.battery_v, told.temperature_c
        if state is not None:
            battery = state.battery_v if battery is None else battery
            temperature = state.temperature_c if temperature is None else temperature
        latitude, longitude = place or (None, None)
        header_latitude, header_longitude = told.place or (None, None)
        return Recording(
            recording=entry.path,
            recorder=entry.recorder,
            date=began.date if began is not None else None,
            start_utc=began.utc if began is not None else None,
            utc_offset_minutes=round(began.offset / MINUTE) if began is not None else None,
            duration_s=content.frames / content.sample_rate if content.sample_rate else 0.0,
            frames=content.frames,
            promised_frames=content.promised_frames,
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
            code=worst[0],
            reason=worst[1],
            device=told.device,
            battery_v=battery,
            temperature_c=temperature,
            clipped_share=content.clipped_share,
            constant_offset=content.constant_offset,
            content_code=content.fault[0] if content.fault is not None else None,
            content_reason=content.fault[1] if content.fault is not None else None,
            content_xxh3=content_xxh3,
            look_xxh3=content.look_xxh3,
            quiet_share=content.quiet_share,
            header_clock=told.clock,
            header_offset_minutes=None if told.offset is None else round(told.offset / MINUTE),
            header_latitude=header_latitude,
            header_longitude=header_longitude,
            header_battery_v=told.battery_v,
            header_temperature_c=told.temperature_c,
            header_low_battery=told.is_low_battery,
        )

    def _note_habits(self, row: Recording, start: Start) -> bool:
        """Note what a recorder does with many recordings; tell whether there was anything."""
        habits: list[tuple[str, str, str | None]] = [
            (code, "", None) for code in start.codes if code in OF_ALL
        ]
        if start.zone_offset is not None:
            zone = self._deployments.timezone
            if start.deployment is not None:
                zone = start.deployment.timezone
            told = f"{_hours(start.offset)}, {zone} has {_hours(start.zone_offset)}"
            habits.append(("DC013", told, None))
        if len(self._deployments) and start.deployment is None:
            is_known = bool(self._deployments.of(row.recorder))
            told = "its deployments leave out this day" if is_known else "not in the table"
            habits.append(("DC011", told, row.date if is_known else None))
        for habit in habits:
            self._habits[(row.recorder, *habit)].add(row)
        return bool(habits)

    def lines(self, rows: Iterable[Recording]) -> list[FaultLine]:
        """Return the lines of ``faults.tsv`` for the files, and for the recorders' habits.

        Parameters
        ----------
        rows : iterable of Recording
            As they stand in the end; of what was set aside since, only that is told.
        """
        later = {row.recording for row in rows if row.code == "DC016"}
        lines = [line for line in self._lines if line.path not in later]
        for (recorder, code, told, date), habit in self._habits.items():
            reason = ": ".join(filter(None, [FAULTS[code].meaning, told])) + f"; {habit}"
            lines.append(FaultLine.of(recorder, recorder, date, code, reason))
        return lines


def _heard(content: Content) -> list[tuple[str, str]]:
    """Name what a look at the samples showed."""
    found = []
    seen = f"of {min(content.frames, STRETCH * STRETCHES):,} samples looked at"
    if (content.clipped_share or 0.0) >= CLIPPED:
        told = f"{100 * (content.clipped_share or 0.0):.2g} % {seen}"
        found.append(("DC020", f"{FAULTS['DC020'].meaning}: {told}"))
    if abs(content.constant_offset or 0.0) >= OFFSET:
        told = f"{content.constant_offset:+.4f} of full scale, the mean {seen}"
        found.append(("DC021", f"{FAULTS['DC021'].meaning}: {told}"))
    if content.quiet_share:
        told = f"{round(content.quiet_share * STRETCHES)} of {STRETCHES} stretches looked at"
        found.append(("FL002", f"{FAULTS['FL002'].meaning}: {told}"))
    return found


def _hours(offset: timedelta) -> str:
    minutes = round(offset / MINUTE)
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def stray_line(stray: Stray) -> FaultLine:
    """Name a file that is no recording."""
    reason = f"{FAULTS[stray.code].meaning}: {stray.particulars}"
    return FaultLine.of(stray.path, stray.recorder, None, stray.code, reason)


def lines_of_clicks(rows: Iterable[Recording]) -> list[FaultLine]:
    """Name the recorder-days on which the memory card clicks (OA001)."""
    lines = []
    for row in rows:
        if row.clicks_per_second:
            told = f"{row.clicks_per_second:.3g} per second"
            reason = f"{FAULTS['OA001'].meaning}: {told}"
            lines.append(FaultLine.of(row.recording, row.recorder, row.date, "OA001", reason))
    return lines
