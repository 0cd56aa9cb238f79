"""``recordings.parquet``: one row per recording on the cards.

In: :class:`Recording` rows. Out: a Parquet file sorted by recorder, date, start and path, in row groups
small enough that the recordings of one day are found without reading the season; and the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

import polars as pl

from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import scan_parquet
from dawnchorus.recordings.faults import Status
from dawnchorus.results import RecorderDay, publishing

ROWS_PER_GROUP = 2048
"""Some 40 recorder-days: a day is read from one or two groups, and a season has few groups."""

CIRCUMSTANCES_KEY = "dawnchorus.recordings.circumstances"
"""Fingerprint of all besides the files that rows depend on: settings, deployments, summaries."""
EDITION, EDITION_KEY = 3, "dawnchorus.recordings.edition"
"""Raise the edition when headers come to be read otherwise: rows of another are not reused."""


class Recording(NamedTuple):
    """One audio file on a card: a row of ``recordings.parquet``.

    A tuple, since a season has 43,632 of them and a scan makes them all.
    """

    recording: str
    """Path relative to ``audio.root``, POSIX style."""
    recorder: str
    date: str | None
    """Local start date, ``YYYY-MM-DD``: the recorder-day; None if it cannot be read."""
    start_utc: datetime | None
    """First sample, aware."""
    utc_offset_minutes: int | None
    """Local time minus UTC."""
    duration_s: float
    """Of the good samples."""
    frames: int
    """Good samples per channel."""
    promised_frames: int
    """Samples per channel that the header promises; what exceeds ``frames`` is missing on the card."""
    sample_rate: int
    """Hertz; 0 if unreadable, as channels."""
    channels: int
    format: str
    """Container and encoding as libsndfile names them (``WAV PCM_16``); empty if unreadable."""
    convention: str | None
    """How its time was read, see :mod:`~dawnchorus.recordings.names`."""
    size_bytes: int
    mtime_ns: int
    """Time of modification in nanoseconds since 1970."""
    deployment: str | None = None
    location: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    """Degrees: of the deployment, else in the name, the header or the recorder's summary."""
    habitat: str | None = None
    timezone: str | None = None
    """IANA name by which the local date was found; None if the clock's own offset was."""
    status: Status = "ok"
    code: str | None = None
    """The worst that is wrong: key of :data:`~dawnchorus.recordings.faults.FAULTS`."""
    reason: str | None = None
    device: str | None = None
    """Serial number in the header."""
    battery_v: float | None = None
    """Volts, from the header or the recorder's summary."""
    temperature_c: float | None = None
    """Degrees Celsius, likewise."""
    clipped_share: float | None = None
    """Share of the samples looked at that stand at full scale (see
    :mod:`~dawnchorus.recordings.look`)."""
    constant_offset: float | None = None
    """Mean of the samples looked at, 0 if the sound explains it; full scale is 1."""
    clicks_per_second: float | None = None
    """Of the clicks of a memory card, in the first long recording of an AudioMoth's day; 0: none."""
    duplicate_of: str | None = None
    """Another recording with the same content."""
    content_code: str | None = None
    content_reason: str | None = None
    """What is wrong with the content alone, whatever name and neighbours say."""
    content_xxh3: str | None = None
    """XXH3-128 of all bytes, where another file looks the same."""
    look_xxh3: str | None = None
    """XXH3-128 of the samples looked at."""
    quiet_share: float | None = None
    """Share of the stretches looked at that are much quieter than the others."""
    header_clock: datetime | None = None
    """The header's clock reading, naive."""
    header_offset_minutes: int | None = None
    """Its offset from UTC."""
    header_latitude: float | None = None
    header_longitude: float | None = None
    header_battery_v: float | None = None
    header_temperature_c: float | None = None
    header_low_battery: bool = False
    name_channel: str | None = None
    """Channel in the name, of recorders that write a file for each."""
    is_noted: bool = False
    """Something about the file by itself stands in ``faults.tsv``."""

    @property
    def is_usable(self) -> bool:
        """True if there are samples and a date."""
        return self.status in ("ok", "partial")

    @property
    def is_audiomoth(self) -> bool:
        """True if an AudioMoth made it, by its name or header."""
        by_name = self.convention is not None and self.convention.startswith("audiomoth")
        return by_name or self.header_battery_v is not None

    @property
    def day(self) -> RecorderDay | None:
        """The recorder-day it belongs to."""
        return None if self.date is None else RecorderDay(self.recorder, self.date)


class KnownClock(NamedTuple):
    """Of a row, what tells whether a file is still the same and what its header said of the clock."""

    recording: str
    size_bytes: int
    mtime_ns: int
    content_code: str | None
    header_clock: datetime | None
    header_offset_minutes: int | None


Row = TypeVar("Row", Recording, KnownClock)

_TYPES: dict[Any, Any] = {
    str: pl.String,
    str | None: pl.String,
    Status: pl.String,
    float: pl.Float64,
    float | None: pl.Float64,
    int: pl.Int64,
    int | None: pl.Int32,
    bool: pl.Boolean,
    datetime | None: pl.Datetime("us"),
}
_SPECIAL: dict[str, Any] = {
    "start_utc": pl.Datetime("us", "UTC"),
    "sample_rate": pl.Int32,
    "channels": pl.Int16,
}
SCHEMA: dict[str, Any] = {
    name: _SPECIAL.get(name, _TYPES[kind]) for name, kind in get_type_hints(Recording).items()
}
"""Columns and types of the table; the fields of :class:`Recording` in their order."""

ORDER = ["recorder", "date", "start_utc", "recording"]


def write_recordings(table: Path, recordings: Iterable[Recording], circumstances: str = "") -> None:
    """Publish ``recordings.parquet``; the same recordings in any order give the same bytes."""
    columns = zip(*recordings, strict=True)
    frame = pl.DataFrame(
        [
            pl.Series(name, column, dtype=kind, strict=True)
            for (name, kind), column in zip(SCHEMA.items(), columns, strict=False)
        ]
        or SCHEMA
    )
    frame = frame.sort(ORDER, nulls_last=True)
    metadata = {EDITION_KEY: str(EDITION), CIRCUMSTANCES_KEY: circumstances}
    with publishing(table) as partial:
        frame.write_parquet(
            partial, row_group_size=ROWS_PER_GROUP, statistics=True, metadata=metadata
        )


def _collect(table: Path, query: pl.LazyFrame) -> list[tuple[Any, ...]]:
    try:
        return query.collect().rows()
    except FileNotFoundError:
        raise DawnChorusError("is not there", table, "run 'dawnchorus scan' first") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0]
        raise DawnChorusError(
            f"is not a table of recordings: {first}", table, "run 'dawnchorus scan' again"
        ) from None


def _read(table: Path, query: pl.LazyFrame) -> list[Recording]:
    return list(map(Recording._make, _collect(table, query.select(list(SCHEMA)))))


def read_recordings(table: Path) -> list[Recording]:
    """Read the whole table in its order.

    Raises
    ------
    DawnChorusError
        If it is missing or is not such a table.
    """
    return _read(table, scan_parquet(table))


def recordings_of_day(table: Path, day: RecorderDay) -> list[Recording]:
    """Return the usable recordings (status ok or partial) of a recorder-day, by start and path.

    Parameters
    ----------
    table : Path
        ``recordings.parquet``.
    day : RecorderDay
        The day.

    Returns
    -------
    list of Recording
        Empty if the day has none.

    Raises
    ------
    DawnChorusError
        If the table is missing or is not such a table.
    """
    wanted = (
        (pl.col("recorder") == day.recorder)
        & (pl.col("date") == day.date)
        & pl.col("status").is_in(["ok", "partial"])
    )
    found = _read(table, scan_parquet(table).filter(wanted))
    return sorted(found, key=lambda row: (row.start_utc, row.recording))


def days_of(table: Path) -> list[RecorderDay]:
    """Return all recorder-days that have a dated recording, usable or not, sorted.

    Raises
    ------
    DawnChorusError
        If the table is missing or is not such a table.
    """
    query = scan_parquet(table).select("recorder", "date").drop_nulls().unique()
    return sorted(RecorderDay(*day) for day in _collect(table, query))


def known_recordings(table: Path | None) -> tuple[dict[str, Recording], str]:
    """Return the rows of an earlier scan by path, and under which circumstances they were made.

    Nothing, if there is no such table or it is outdated.
    """
    rows, circumstances = _known(table, Recording)
    return {row.recording: row for row in rows}, circumstances


def known_clocks(table: Path | None) -> dict[str, KnownClock]:
    """Return what an earlier scan knows of the headers' clocks, by path; a fifth of the time of all columns.

    Nothing, if there is no such table or it is outdated.
    """
    return {row.recording: row for row in _known(table, KnownClock)[0]}


def _known(table: Path | None, kind: type[Row]) -> tuple[list[Row], str]:
    if table is None or not table.is_file():
        return [], ""
    try:
        metadata = pl.read_parquet_metadata(table)
        if metadata.get(EDITION_KEY) != str(EDITION):
            return [], ""
        query = scan_parquet(table).select(kind._fields)
        return list(map(kind._make, _collect(table, query))), metadata.get(CIRCUMSTANCES_KEY, "")
    except (DawnChorusError, pl.exceptions.PolarsError, OSError):
        # It only spares work: the scan reads everything anew and replaces it.
        return [], ""
