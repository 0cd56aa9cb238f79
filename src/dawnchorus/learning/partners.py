"""Which other window goes with each window of a batch: its companion.

In: the table of the training set, rows, the step. Out: as many rows. A pure function of the seed,
the step and the row: it depends neither on the number of processes nor on how windows are fed, and
a step that is done again has the same companions. A window without a companion is its own.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

GOLDEN, MIX, MIX_AGAIN = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class Partner(Protocol):
    """Chooses the companions of a step's windows."""

    def __call__(self, rows: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Return the row of each window's companion; its own row where it has none.

        Parameters
        ----------
        rows : int64, shape (n,)
            Rows of the table, of any part of the step's batch.
        step : int
        """


class Neighbours:
    """The window nearest in time of the same recorder and day, before or after.

    Where both are equally near, either one, drawn for the step.

    Parameters
    ----------
    table : DataFrame
        With recorder, date (as categories) and time.
    seconds : float
        Companions start at most so long before or after.
    seed : int
    """

    def __init__(self, table: pl.DataFrame, seconds: float, seed: int) -> None:
        time = table["time"].to_physical().to_numpy()
        recorder, date = (table[name].to_physical().to_numpy() for name in ("recorder", "date"))
        order = np.lexsort((time, date, recorder))
        size = len(order)
        self._seed, self._most = seed, int(seconds * 1e6)
        same = (recorder[order[1:]] == recorder[order[:-1]]) & (date[order[1:]] == date[order[:-1]])
        gap = np.diff(time[order])
        near = same & (gap <= self._most)
        # Windows are numbered by int32: 8 bytes a window for both neighbours, 8 for the gaps.
        self._row = np.tile(np.arange(size, dtype=np.int32), (2, 1))
        self._gap = np.full((2, size), np.iinfo(np.int32).max, dtype=np.int32)
        later, earlier = order[1:][near], order[:-1][near]
        for side, rows, others in ((0, later, earlier), (1, earlier, later)):
            self._row[side, rows] = others
            self._gap[side, rows] = np.minimum(gap[near] // 1000, np.iinfo(np.int32).max - 1)

    def __call__(self, rows: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Return the rows of the companions."""
        before, after = self._gap[0, rows], self._gap[1, rows]
        either = hashed(self._seed, step, rows) % np.uint64(2) == 1
        side = np.where(before == after, either, after < before).astype(np.int64)
        return self._row[side, rows].astype(np.int64)


def hashed(seed: int, step: int, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 64 random bits for each row (SplitMix64 of seed, step and row)."""
    state = np.zeros(rows.shape, dtype=np.uint64)
    for number in (np.uint64(seed), np.uint64(step), rows.astype(np.uint64)):
        state = state + number + GOLDEN
        state = (state ^ (state >> np.uint64(30))) * MIX
        state = (state ^ (state >> np.uint64(27))) * MIX_AGAIN
        state ^= state >> np.uint64(31)
    return state
