"""The table of a recorder-day's detections, and what came of each recording.

In: scores of batches of windows. Out: the rows kept, as a table; the table of all windows; verdict
and reason of the day.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars
import xxhash
from numpy.typing import NDArray

from dawnchorus.birdnet.model import (
    OF_BIRDNET,
    PLACE_THRESHOLD,
    WINDOW_SECONDS,
    BirdNetModel,
)
from dawnchorus.config import BirdNet
from dawnchorus.recordings.inventory import Recording
from dawnchorus.results import OK, PARTIAL, SET_ASIDE, RecorderDay
from dawnchorus.vectors import WindowTable

COLUMNS: dict[str, Any] = {
    "recorder": polars.String,
    "date": polars.String,
    "recording": polars.String,
    "offset": polars.Int64,
    "time": polars.Datetime("us"),
    "species": polars.String,
    "common_name": polars.String,
    "confidence": polars.Float32,
}
"""Columns of the detections; ``species`` is the scientific name, ``offset`` the window's first
sample at the file's own rate, ``time`` its start in UTC."""


NO_PLACE = "not applied: the deployment has no place, and birdnet.latitude is not set"


@dataclass
class Heard:
    """What came of one recording."""

    recording: Recording
    windows: int = 0
    xxh3: str | None = None
    verdict: str = OK
    reason: str | None = None
    species_filter: str = "off"

    def entry(self) -> dict[str, Any]:
        """Return the recording's line of the receipt."""
        return {
            "recording": self.recording.recording,
            "frames": self.recording.frames,
            "sample_rate": self.recording.sample_rate,
            "windows": self.windows,
            "xxh3": self.xxh3,
            "verdict": self.verdict,
            "reason": self.reason,
            "species_filter": self.species_filter,
        }


@dataclass
class Detections:
    """The growing table of detections, as columns of numbers: 20 bytes a row."""

    recording: array[int] = field(default_factory=lambda: array("i"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    label: array[int] = field(default_factory=lambda: array("i"))
    confidence: array[float] = field(default_factory=lambda: array("f"))

    def __len__(self) -> int:
        return len(self.offset)

    def digest(self) -> str:
        """Return XXH3-128 of the rows."""
        hasher = xxhash.xxh3_128()
        for column in (self.recording, self.offset, self.label, self.confidence):
            hasher.update(column.tobytes())
        return hasher.hexdigest()


@dataclass(frozen=True)
class Batch:
    """Windows of one recording (its number in the day) that go through the model together."""

    recording: int
    offsets: NDArray[np.int64]
    samples: NDArray[np.float32]


def keep(
    detections: Detections, batch: Batch, score: NDArray[np.float32], parameters: BirdNet
) -> None:
    """Append a batch's detections: per window the ``top`` best that reach the confidence."""
    # As float32: 0.1 must count where the model says 0.1. (Sorting whole rows would take as long as a
    # twentieth of the model: few scores reach the confidence.)
    row, column = np.nonzero(score >= np.float32(parameters.min_confidence))
    found = score[row, column]
    # Of equal scores the first label first, as birdnetlib has them.
    order = np.lexsort((column, -found, row))
    row, column, found = row[order], column[order], found[order]
    best = np.arange(len(row)) - np.searchsorted(row, row) < parameters.top
    count = int(best.sum())
    detections.recording.extend([batch.recording] * count)
    detections.offset.extend(batch.offsets[row[best]].tolist())
    detections.label.extend(column[best].tolist())
    detections.confidence.extend(found[best].tolist())


def window_table(heard: list[Heard], offsets: list[NDArray[np.int64]]) -> WindowTable:
    """Return the table of the day's windows.

    Parameters
    ----------
    heard : list of Heard
    offsets : list of int64 arrays
        First samples of the windows, batch by batch, in the order of the recordings.
    """
    numbers = np.arange(len(heard), dtype=np.int32)
    recording = np.repeat(numbers, [one.windows for one in heard])
    offset = np.concatenate(offsets) if offsets else np.empty(0, np.int64)
    return WindowTable(
        [one.recording.recording for one in heard],
        recording,
        offset,
        _times(heard, recording, offset),
    )


def _times(
    heard: list[Heard], recording: NDArray[np.int32], offset: NDArray[np.int64]
) -> NDArray[np.datetime64]:
    """Return the UTC start of windows, datetime64[us]."""
    if not len(recording):
        return np.empty(0, "datetime64[us]")
    starts = np.array(
        [
            np.datetime64(one.recording.start_utc.replace(tzinfo=None), "us")
            if one.recording.start_utc is not None
            else np.datetime64("NaT", "us")
            for one in heard
        ]
    )
    rates = np.array([one.recording.sample_rate for one in heard], dtype=np.float64)
    after = np.rint(offset / rates[recording] * 1e6).astype("timedelta64[us]")
    return starts[recording] + after


def frame_of(
    day: RecorderDay, model: BirdNetModel, heard: list[Heard], detections: Detections
) -> polars.DataFrame:
    """Return the detections with names and times, in :data:`COLUMNS`."""
    recording = np.array(detections.recording, dtype=np.int32)
    offset = np.array(detections.offset, dtype=np.int64)
    label = np.array(detections.label, dtype=np.int32)
    names = polars.Series([one.recording.recording for one in heard], dtype=polars.String)
    species, common = (
        polars.Series([both[number] for both in model.labels], dtype=polars.String)
        for number in (0, 1)
    )
    return (
        polars.DataFrame(
            {
                "recording": names[recording],
                "offset": offset,
                "time": _times(heard, recording, offset),
                "species": species[label],
                "common_name": common[label],
                "confidence": np.array(detections.confidence, dtype=np.float32),
            }
        )
        .select(
            polars.lit(day.recorder).alias("recorder"),
            polars.lit(day.date).alias("date"),
            polars.all(),
        )
        .cast(polars.Schema(COLUMNS))
    )


def parquet_note(parameters: BirdNet) -> dict[str, str]:
    """Return what a Parquet file of detections says of itself, whoever passes it on."""
    return {
        **OF_BIRDNET,
        "window_seconds": str(WINDOW_SECONDS),
        "overlap_seconds": str(parameters.overlap),
        "sensitivity": str(parameters.sensitivity),
        "min_confidence": str(parameters.min_confidence),
    }


def verdict_of(heard: list[Heard], count: int) -> str:
    """Return the day's verdict; ``count`` is the number of its windows."""
    if not count:
        return SET_ASIDE
    return OK if all(one.verdict == OK for one in heard) else PARTIAL


def reason_of(heard: list[Heard], count: int) -> str | None:
    """Say why the day is not wholly there, in one line; None if it is."""
    faults = [f"{Path(one.recording.recording).name}: {one.reason}" for one in heard if one.reason]
    if faults:
        rest = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        return "; ".join(faults[:3]) + rest
    if not heard:
        return "no usable recording"
    return None if count else "no recording is as long as a window"


def filter_line(parameters: BirdNet, heard: list[Heard]) -> str:
    """Say whether the species list by place and week was applied."""
    if not parameters.use_place:
        return "not applied: birdnet.use_place is off"
    without = sum(one.species_filter == NO_PLACE for one in heard)
    if without == len(heard):
        return NO_PLACE
    rest = f"; {without} recordings without a place are not filtered" if without else ""
    return f"species expected at place and week (at least {PLACE_THRESHOLD}){rest}"
