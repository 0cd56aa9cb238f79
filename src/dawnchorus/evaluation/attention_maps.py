"""The maps of an experiment's central windows, taken through mask and boxes once more, side by side.

In: ``attention/`` of an experiment and the spectrogram stores. Out: per map (the configured one, every
source, every head, and the energy above the noise floor, which needs no network) the boxes and the mask of
each window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from dawnchorus.attention.energy import energy_map
from dawnchorus.attention.masks import PatchGrid, boxes_of
from dawnchorus.attention.output import EDGES
from dawnchorus.attention.places import days_of
from dawnchorus.config import Attention
from dawnchorus.learning.training_set import find, load_codes
from dawnchorus.parquet import read_parquet
from dawnchorus.results import Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore

ENERGY = "energy"
"""Name of the baseline: decibels above the window's own median per band."""


@dataclass(frozen=True)
class Seen:
    """One window under one map.

    Attributes
    ----------
    boxes : float array (n, 4)
        Start, end (seconds in the window), low, high (hertz).
    mass : float array (n,)
        Share of the map in each.
    mask : bool array (mels, frames)
        What is kept.
    """

    boxes: NDArray[np.float64]
    mass: NDArray[np.float64]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class CentralWindows:
    """What the attention step looked at.

    Attributes
    ----------
    table : DataFrame
        ``windows.parquet`` without the windows whose recording is gone.
    power : float32 array (n, mels, frames)
        Power of the spectrograms.
    band_frequency, frame_time : float arrays
        Of its rows, in hertz, and columns, in seconds.
    """

    table: pl.DataFrame
    power: NDArray[np.float32]
    band_frequency: NDArray[np.float64]
    frame_time: NDArray[np.float64]
    _maps: dict[str, NDArray[Any]]
    _grid: PatchGrid
    _wanted: Attention

    @property
    def names(self) -> list[str]:
        """Names of the maps: sources, heads, and the energy."""
        return list(self._maps)

    def seen(self, name: str) -> Iterator[Seen]:
        """Yield what a map makes of each window."""
        grid = self._grid.whole_cells() if name == ENERGY else self._grid
        for map_ in self._maps[name]:
            mask, boxes = boxes_of(map_, grid, self._wanted)
            edges = [[one.start_s, one.end_s, one.low_hz, one.high_hz] for one in boxes]
            cell = (self.power.shape[1] // mask.shape[0], self.power.shape[2] // mask.shape[1])
            yield Seen(
                np.array(edges, dtype=np.float64).reshape(-1, 4),
                np.array([one.mass for one in boxes]),
                np.kron(mask, np.ones(cell, dtype=bool)),
            )


def read_central(results: Results, experiment: str) -> CentralWindows:
    """Read the maps of an experiment and the spectrograms below them."""
    paths = results.experiment(experiment)
    table = read_parquet(paths.attention / "windows.parquet")
    there = find(results, table) >= 0
    table = table.filter(pl.Series(there))
    group: Any = zarr.open_group(paths.attention / "heads.zarr", mode="r")
    maps = {
        name.removeprefix("map_"): np.asarray(group[name][:])[there]
        for name in sorted(group.array_keys())
        if name.startswith("map_")
    }
    heads = np.asarray(group["attention"][:])[there]
    maps |= {f"head {head + 1}": heads[:, head] for head in range(heads.shape[1])}
    parameters = read_receipt(paths.attention_receipt)["parameters"]
    grid = PatchGrid(**{name: np.asarray(group[name][:]) for name in EDGES})
    if not table.height:
        nothing = np.zeros((0, 1, 1), np.float32)
        return CentralWindows(
            table, nothing, np.ones(1), np.ones(1), maps, grid, Attention(**parameters)
        )
    decibels, store = _decibels(results, table)
    cell = (decibels.shape[1] // heads.shape[2], decibels.shape[2] // heads.shape[3])
    maps[ENERGY] = energy_map(decibels, cell)
    return CentralWindows(
        table,
        np.power(10, decibels / 10, dtype=np.float32),
        store.band_frequency,
        store.frame_time,
        maps,
        grid,
        Attention(**parameters),
    )


def _decibels(
    results: Results, table: pl.DataFrame
) -> tuple[NDArray[np.float32], SpectrogramStore]:
    store = SpectrogramStore.open(results.spectrograms(days_of(table)[0]))
    return store.db(load_codes(results, table)), store
