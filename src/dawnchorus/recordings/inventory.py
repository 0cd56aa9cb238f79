"""Inventory of the cards (being written)."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Recording:
    """One audio file on a card: a row of ``recordings.parquet``."""

    recording: str
    recorder: str
    date: str | None
    start_utc: datetime | None
    utc_offset_minutes: int | None
    duration_s: float
    frames: int
    sample_rate: int
    channels: int
    format: str
    convention: str | None
    size_bytes: int
    mtime_ns: int
    deployment: str | None = None
    location: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    habitat: str | None = None
    timezone: str | None = None
    status: str = "ok"
    code: str | None = None
    reason: str | None = None
