"""A season with sound, spectrograms, clusters and detections, small enough to describe in a test.

The cards and stores are those of the explorer's tests: three recordings, ten windows each, a tone in every window.
Window k is in cluster k % 3, and what would be cluster 2 is in no cluster (-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from dawnchorus.clustering.assignment import SCHEMA
from dawnchorus.config import Settings
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from explorer.conftest import (
    DATE,
    EXPERIMENT,
    RECORDINGS,
    WINDOWS,
    make_season,
    write_detections,
)

DAYS = [RecorderDay("REC01", DATE), RecorderDay("REC02", DATE)]
PLACE = (41.88, -87.63)
HABITATS = {"REC01": "open grassland", "REC02": "canopy"}


@dataclass(frozen=True)
class Described:
    settings: Settings
    results: Results
    sounds: list[np.ndarray]

    @property
    def cards(self) -> Path:
        return self.settings.audio.root


def cluster_of(window: np.ndarray) -> np.ndarray:
    return np.where(window % 3 == 2, -1, window % 3)


def windows_of(recorder: str) -> pl.DataFrame:
    parts = []
    for number, (name, rate, start) in enumerate(RECORDINGS):
        if not name.startswith(recorder):
            continue
        window = np.arange(WINDOWS)
        parts.append(
            pl.DataFrame(
                {
                    "recording": [name] * WINDOWS,
                    "offset": window * 3 * rate,
                    "time": np.datetime64(start.replace(tzinfo=None), "us")
                    + window * np.timedelta64(3_000_000, "us"),
                    "cluster": cluster_of(window),
                    "distance": (window + 10 * number) / 100,
                },
                schema=SCHEMA,
            )
        )
    return pl.concat(parts)


def describe(root: Path) -> Described:
    made = make_season(root)
    paths = made.results.experiment(EXPERIMENT)
    stored = pl.read_parquet(made.results.recordings)
    rows = [
        Recording(**row)._replace(
            latitude=PLACE[0], longitude=PLACE[1], habitat=HABITATS[row["recorder"]]
        )
        for row in stored.to_dicts()
    ]
    write_recordings(made.results.recordings, rows)
    members = []
    for day in DAYS:
        table = windows_of(day.recorder)
        table.write_parquet(paths.assignment(day))
        write_receipt(paths.assignment_receipt(day), {"verdict": "ok", "clusters": "fit-1"})
        members.append(table.with_columns(recorder=pl.lit(day.recorder), date=pl.lit(day.date)))
    pl.concat(members).write_parquet(paths.members)
    write_receipt(paths.clusters_receipt, {"fingerprint": "fit-1", "k": 2})
    write_detections(made.results)
    return Described(made.settings, made.results, made.sounds)
