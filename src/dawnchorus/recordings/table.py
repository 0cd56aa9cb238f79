"""``recordings.parquet``: one row per recording on the cards.

In: :class:`Recording` rows. Out: a Parquet file sorted by recorder, date, start and path, in row groups
small enough that the recordings of one day are found without reading the season; and the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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

EDITION, EDITION_KEY = 1, "dawnchorus.recordings.edition"
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
    habitat: str | None = None
    timezone: str | None = None
    """IANA name by which the local date was found; None if the clock's own offset was."""
    status: Status = "ok"
    code: str | None = None
    """Key of :data:`~dawnchorus.recordings.faults.FAULTS`."""
    reason: str | None = None

    @property
    def is_usable(self) -> bool:
        """True if there are samples and a date."""
        return self.status in ("ok", "partial")

    @property
    def day(self) -> RecorderDay | None:
        """The recorder-day it belongs to."""
        return None if self.date is None else RecorderDay(self.recorder, self.date)


SCHEMA: dict[str, Any] = {
    "recording": pl.String,
    "recorder": pl.String,
    "date": pl.String,
    "start_utc": pl.Datetime("us", "UTC"),
    "utc_offset_minutes": pl.Int16,
    "duration_s": pl.Float64,
    "frames": pl.Int64,
    "sample_rate": pl.Int32,
    "channels": pl.Int16,
    "format": pl.String,
    "convention": pl.String,
    "size_bytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "deployment": pl.String,
    "location": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "habitat": pl.String,
    "timezone": pl.String,
    "status": pl.String,
    "code": pl.String,
    "reason": pl.String,
}
"""Columns and types of the table; the fields of :class:`Recording` in their order."""

ORDER = ["recorder", "date", "start_utc", "recording"]


def write_recordings(table: Path, recordings: Iterable[Recording]) -> None:
    """Publish ``recordings.parquet``; the same recordings in any order give the same bytes."""
    # attrgetter: dataclasses.astuple copies every value, which takes seconds for a season.
    values = attrgetter(*SCHEMA)
    frame = pl.DataFrame([values(row) for row in recordings], schema=SCHEMA, orient="row")
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
