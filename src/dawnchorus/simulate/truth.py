"""The truth of a season: Parquet for programs, Raven selection tables for eyes.

In: what was heard in each recording. Out: rows of the schema :data:`TRUTH` as one
table per recorder-day, and a selection table per recording.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.results import publishing
from dawnchorus.simulate.plan import SAMPLE_RATE
from dawnchorus.simulate.scene import Scene
from dawnchorus.simulate.sound import Heard

_FIELDS: list[Any] = [
    pa.field("recording", pa.string()),
    pa.field("recorder", pa.string()),
    pa.field("start_s", pa.float64()),
    pa.field("end_s", pa.float64()),
    pa.field("low_hz", pa.float64()),
    pa.field("high_hz", pa.float64()),
    pa.field("species", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("individual", pa.string()),
    pa.field("distance_m", pa.float32()),
    pa.field("snr_db", pa.float32()),
    pa.field("start_utc", pa.timestamp("us", tz="UTC")),
]
TRUTH = pa.schema(_FIELDS)
"""``start_s`` and ``end_s`` from the recording's start; ``start_utc`` is the row's own start.
``kind`` is ``song``, ``noise`` or ``fault``; noise and faults have their kind in ``species`` and no individual,
distance or signal-to-noise ratio. A fault lasts the whole recording, over all frequencies."""

RAVEN_COLUMNS = ("Species", "Kind", "Individual", "SNR (dB)")


def truth_of_day(out: Path, recorder: str, date: dt.date) -> Path:
    """Path of a recorder-day's truth."""
    return out / "truth" / recorder / f"{date.isoformat()}.parquet"


def selections_of(out: Path, recording: PurePosixPath) -> Path:
    """Path of a recording's selection table."""
    return out / "truth" / recording.with_suffix(".selections.txt")


def truth_rows(
    recording: str, recorder: str, start: dt.datetime, heard: Iterable[Heard], scene: Scene
) -> list[dict[str, Any]]:
    """Return the rows of one recording, sorted by start."""
    utc = start.astimezone(dt.UTC)

    def row(start_s: float, end_s: float, low_hz: float, high_hz: float, **more: Any) -> dict:
        return {
            "recording": recording,
            "recorder": recorder,
            "start_s": start_s,
            "end_s": end_s,
            "low_hz": low_hz,
            "high_hz": high_hz,
            "individual": None,
            "distance_m": None,
            "snr_db": None,
            "start_utc": utc + dt.timedelta(seconds=start_s),
            **more,
        }

    rows = [
        row(
            song.start_s,
            song.end_s,
            song.low_hz,
            song.high_hz,
            species=song.song.individual.species.name,
            kind="song",
            individual=song.song.individual.name,
            distance_m=song.song.distance_m,
            snr_db=song.snr_db,
        )
        for song in heard
    ]
    rows += [
        row(
            noise.start_s,
            noise.end_s,
            noise.kind.low_hz,
            noise.kind.high_hz,
            species=noise.kind.name,
            kind="noise",
        )
        for noise in scene.noises
    ]
    return sorted(rows, key=lambda row: (row["start_s"], row["kind"], row["individual"] or ""))


def fault_row(
    recording: str, recorder: str, start: dt.datetime, seconds: float, fault: str
) -> dict[str, Any]:
    """Return the row of a recording that was made with a fault of the recorder."""
    return {
        "recording": recording,
        "recorder": recorder,
        "start_s": 0.0,
        "end_s": seconds,
        "low_hz": 0.0,
        "high_hz": SAMPLE_RATE / 2,
        "species": fault,
        "kind": "fault",
        "individual": None,
        "distance_m": None,
        "snr_db": None,
        "start_utc": start.astimezone(dt.UTC),
    }


def write_selection_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one recording's truth for Raven."""
    selections = [
        Selection(
            row["start_s"],
            row["end_s"],
            row["low_hz"],
            row["high_hz"],
            {
                "Species": row["species"],
                "Kind": row["kind"],
                "Individual": row["individual"] or "",
                "SNR (dB)": "" if row["snr_db"] is None else f"{row['snr_db']:.1f}",
            },
        )
        for row in rows
    ]
    write_selections(path, selections, RAVEN_COLUMNS)


def write_truth(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one recorder-day's truth."""
    with publishing(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), TRUTH), partial, compression="zstd")
