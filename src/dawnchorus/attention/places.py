"""Where windows lie: seconds in their recording, and the cells of their maps in hertz and seconds.

In: a table of windows and the spectrogram stores. Out: the grid of a map's cells, and rows of
``boxes.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from dawnchorus.attention import output
from dawnchorus.attention.masks import PatchGrid, WindowBox
from dawnchorus.config import Patch
from dawnchorus.results import RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore


def days_of(windows: pl.DataFrame) -> list[RecorderDay]:
    """Recorder-days of windows, sorted."""
    return sorted(RecorderDay(*day) for day in set(windows.select("recorder", "date").iter_rows()))


def native_rates(results: Results, windows: pl.DataFrame) -> dict[str, int]:
    """Sample rate of each recording of the windows' days, in which offsets count."""
    rates: dict[str, int] = {}
    for day in days_of(windows):
        receipt = read_receipt(results.spectrograms_receipt(day))
        rates |= {one["recording"]: int(one["sample_rate"]) for one in receipt["recordings"]}
    return rates


def grid_of(results: Results, windows: pl.DataFrame, cell: Patch, finer: int = 1) -> PatchGrid:
    """Lay cells over a window. One training, one set of parameters: they lie alike in all windows."""
    store = SpectrogramStore.open(results.spectrograms(days_of(windows)[0]))
    hop = float(store.frame_time[1] - store.frame_time[0])
    return PatchGrid.of(store.band_low, store.band_high, store.frame_time, hop, cell, finer)


def box_rows(
    window: dict[str, Any], rate: int, head: int, source: str, boxes: Iterable[WindowBox]
) -> Iterator[dict[str, Any]]:
    """Yield a row of :data:`~dawnchorus.attention.output.BOXES` per box.

    Parameters
    ----------
    window : dict
        Row of ``windows.parquet``.
    rate : int
        Of its recording.
    head : int
        -1 for the merged map.
    source : str
        What the map is made of.
    boxes : iterable of WindowBox
        In seconds of the window.
    """
    begin = window["offset"] / rate
    for box in boxes:
        yield {
            **{name: window[name] for name in output.WINDOW_NAMES},
            "head": head,
            "source": source,
            "start_s": begin + box.start_s,
            "end_s": begin + box.end_s,
            # A clip without a date has no time.
            "time": None
            if window["time"] is None
            else window["time"] + output.seconds(box.start_s),
            "low_hz": box.low_hz,
            "high_hz": box.high_hz,
            "mass": box.mass,
        }
