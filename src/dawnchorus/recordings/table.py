"""``recordings.parquet``: one row per recording on the cards.

In: :class:`Recording` rows. Out: a Parquet file sorted by recorder, date, start and path, in row groups
small enough that the recordings of one day are found without reading the season; and the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.faults import Status
from dawnchorus.results import RecorderDay, publishing

ROWS_PER_GROUP = 2048
"""Some 40 recorder-days: a day is read from one or two groups, and a season has few groups."""

EDITION, EDITION_KEY = 3, "dawnchorus.recordings.edition"
"""Raise the edition when headers come to be read otherwise: rows of another are not reused."""


@dataclass(frozen=True)
class Recording:
    """One audio file on a card: a row of ``recordings.parquet``."""

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

    @property
    def is_usable(self) -> bool:
        """True if there are samples and a date."""
        return self.status in ("ok", "partial")

    @property
    def day(self) -> RecorderDay | None:
        """The recorder-day it belongs to."""
        return None if self.date is None else RecorderDay(self.recorder, self.date)


_TYPES: dict[str, Any] = {
    "str": pl.String,
    "str | None": pl.String,
    "Status": pl.String,
    "float": pl.Float64,
    "float | None": pl.Float64,
    "int": pl.Int64,
    "int | None": pl.Int32,
    "bool": pl.Boolean,
    "datetime | None": pl.Datetime("us"),
}
_SPECIAL: dict[str, Any] = {
    "start_utc": pl.Datetime("us", "UTC"),
    "sample_rate": pl.Int32,
    "channels": pl.Int16,
}
SCHEMA: dict[str, Any] = {
    field.name: _SPECIAL.get(field.name, _TYPES[str(field.type)]) for field in fields(Recording)
}
"""Columns and types of the table; the fields of :class:`Recording` in their order."""

ORDER = ["recorder", "date", "start_utc", "recording"]


def write_recordings(table: Path, recordings: Iterable[Recording]) -> None:
    """Publish ``recordings.parquet``; the same recordings in any order give the same bytes."""
    # attrgetter: dataclasses.astuple copies every value, which takes seconds for a season.
    values = attrgetter(*SCHEMA)
    columns = zip(*map(values, recordings), strict=True)
    frame = pl.DataFrame(
        [
            pl.Series(name, column, dtype=kind, strict=True)
            for (name, kind), column in zip(SCHEMA.items(), columns, strict=False)
        ]
        or SCHEMA
    )
    frame = frame.sort(ORDER, nulls_last=True)
    metadata = {EDITION_KEY: str(EDITION)}
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
    return [Recording(*row) for row in _collect(table, query.select(list(SCHEMA)))]


def read_recordings(table: Path) -> list[Recording]:
    """Read the whole table in its order.

    Raises
    ------
    DawnChorusError
        If it is missing or is not such a table.
    """
    return _read(table, pl.scan_parquet(table))


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
    found = _read(table, pl.scan_parquet(table).filter(wanted))
    return sorted(found, key=lambda row: (row.start_utc, row.recording))


def days_of(table: Path) -> list[RecorderDay]:
    """Return all recorder-days that have a dated recording, usable or not, sorted.

    Raises
    ------
    DawnChorusError
        If the table is missing or is not such a table.
    """
    query = pl.scan_parquet(table).select("recorder", "date").drop_nulls().unique()
    return sorted(RecorderDay(*day) for day in _collect(table, query))


def known_recordings(table: Path | None) -> dict[str, Recording]:
    """Return the rows of an earlier scan by path; none if there is no such table or it is outdated."""
    if table is None or not table.is_file():
        return {}
    try:
        if pl.read_parquet_metadata(table).get(EDITION_KEY) != str(EDITION):
            return {}
        return {row.recording: row for row in read_recordings(table)}
    except (DawnChorusError, pl.exceptions.PolarsError, OSError):
        # It only spares work: the scan reads everything anew and replaces it.
        return {}
