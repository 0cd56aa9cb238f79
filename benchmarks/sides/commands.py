"""The product's own commands, and the windows that they made: what the learning benchmarks share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.results import Results
from dawnchorus.spectrograms.store import SpectrogramStore
from sides import RATE


def dawnchorus(*arguments: object, threads: int = 1) -> float:
    """Run a command; return its seconds."""
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "dawnchorus", *map(str, arguments)],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - begin


def make_windows(configuration: Path, results: Results) -> None:
    """Scan the cards and make the spectrograms of every recorder-day."""
    dawnchorus("scan", "--config", configuration)
    table = pl.read_parquet(results.recordings)
    for recorder, date in sorted(set(table.select("recorder", "date").iter_rows())):
        dawnchorus(
            "spectrograms", "--config", configuration, "--recorder", recorder, "--date", date
        )


def read_windows(results: Results) -> tuple[NDArray[np.uint8], pl.DataFrame]:
    """All windows of a season, and where each comes from."""
    codes, parts = [], []
    for day in results.days_with_receipts():
        if not results.spectrograms(day).exists():
            continue  # nothing of the day was usable
        store = SpectrogramStore.open(results.spectrograms(day))
        codes.append(store.codes())
        names = np.array(store.recordings, dtype=object)[store.recording]
        parts.append(
            pl.DataFrame(
                {
                    "recorder": [day.recorder] * len(store),
                    "recording": names.tolist(),
                    "start": store.offset / RATE,
                }
            )
        )
    return np.concatenate(codes), pl.concat(parts).with_row_index("window")
