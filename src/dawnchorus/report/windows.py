"""Spectrograms of single windows, for pictures.

In: a frame that names windows (recorder, date, recording, offset). Out: decibels per window and the
hertz and seconds of their edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore


@dataclass(frozen=True)
class Pictures:
    """Decibels (n, mels, frames), float32, and what the axes mean."""

    decibels: NDArray[np.float32]
    band_frequency: NDArray[np.floating]
    seconds: float

    def hertz_ticks(self, wanted: tuple[float, ...] = (500, 1000, 2000, 4000, 8000)) -> tuple[
        list[float], list[str]
    ]:  # fmt: skip
        """Return mel rows and labels for round frequencies that the bands cover."""
        inside = [f for f in wanted if self.band_frequency[0] <= f <= self.band_frequency[-1]]
        rows = np.interp(inside, self.band_frequency, np.arange(len(self.band_frequency)))
        return list(rows), [f"{f / 1000:g}k" if f >= 1000 else f"{f:g}" for f in inside]


def read_pictures(results: Results, windows: pl.DataFrame) -> Pictures:
    """Read the spectrograms of ``windows`` in their order, each store opened once.

    A window whose recording is gone by now is a picture of the lowest level.
    """
    numbered = windows.with_row_index("row")
    decibels: NDArray[np.float32] | None = None
    band_frequency: NDArray[np.floating] = np.zeros(0)
    seconds = 0.0
    for (recorder, date), group in numbered.group_by(["recorder", "date"], maintain_order=True):
        path = results.spectrograms(RecorderDay(str(recorder), str(date)))
        if not path.exists():
            continue
        store = SpectrogramStore.open(path)
        places = store.find(group["recording"].to_list(), group["offset"].to_numpy())
        found = places >= 0
        codes = store.take(places[found])
        if decibels is None:
            decibels = np.full(
                (windows.height, *codes.shape[1:]), store.db(np.zeros(1, np.uint8))[0], np.float32
            )
            band_frequency = np.asarray(store.band_frequency)
            seconds = float(store.frame_time[-1] + store.frame_time[0])
        decibels[group["row"].to_numpy()[found]] = store.db(codes)
    if decibels is None:
        decibels = np.zeros((windows.height, 1, 1), np.float32)
        band_frequency, seconds = np.ones(1), 1.0
    return Pictures(decibels, band_frequency, seconds)


def contrast(decibels: NDArray[np.floating]) -> tuple[float, float]:
    """Return the levels shown darkest and brightest: the 5th percentile and at least 35 dB above."""
    low, high = np.percentile(decibels, (5, 99.8))
    return float(low), float(max(high, low + 35))
