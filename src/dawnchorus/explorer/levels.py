"""Levels of detail: millions of points reach the browser a seeded sample first, then by place.

In: map coordinates. Out: :class:`Levels`, which says which rows to send, and the rows' columns as bytes.

All rows are drawn in one seeded order. The first level is the first :data:`FIRST` of them, each further level
doubles what went before, so every level is an even sample of the whole map and so is every part of the map in
it. Within a level, rows lie by cells of a grid over the map: a page that looks at one corner asks for the cells
of that corner, level after level, until it has as many points as it can draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dawnchorus.explorer.space import OutputSpace

FIRST = 100_000
"""Points of the first level: 3 MB, on the screen at once."""
GRID = 32
"""Cells of the map per side."""
SEED = 0

COLUMNS = (
    ("row", "<u4"), ("x", "<f4"), ("y", "<f4"), ("confidence", "<f4"), ("activity", "<f4"),
    ("cluster", "<u2"), ("recorder", "<u2"), ("species", "<u2"), ("habitat", "<u2"), ("date", "<u2"),
    ("hour", "<u2"),
)  # fmt: skip
"""Name and type of the columns sent; those of 4 bytes first, so each begins at a multiple of its item size."""


class Levels:
    """Which rows belong to which level and cell.

    Parameters
    ----------
    space : OutputSpace
        A point that is not finite lies in no level.

    Attributes
    ----------
    bounds : tuple of float
        left, low, right, high of the map: the grid spans them.
    """

    def __init__(self, space: OutputSpace) -> None:
        self._space = space
        finite = np.flatnonzero(np.isfinite(space.x) & np.isfinite(space.y)).astype(np.uint32)
        order = np.random.default_rng(SEED).permutation(finite)
        x, y = space.x[order], space.y[order]
        self.bounds = _bounds(x, y)
        left, low, right, high = self.bounds
        cell = _cell(y, low, high) * GRID + _cell(x, left, right)
        ends = [min(FIRST, len(order))]
        while ends[-1] < len(order):
            ends.append(min(2 * ends[-1], len(order)))
        self._rows: list[NDArray[np.uint32]] = []
        self._starts: list[NDArray[np.int64]] = []
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            own = cell[first:last]
            self._rows.append(order[first:last][np.argsort(own, kind="stable")])
            counts = np.bincount(own, minlength=GRID * GRID)
            self._starts.append(np.concatenate([[0], np.cumsum(counts)]))

    def __len__(self) -> int:
        return len(self._rows)

    def counts(self, level: int) -> NDArray[np.int64]:
        """Points of a level in each cell, lowest row of cells first, shape (GRID * GRID,)."""
        return np.diff(self._starts[level])

    def rows(self, level: int, cells: Sequence[int] | None = None) -> NDArray[np.uint32]:
        """Return the rows of a level, or of some of its cells in the order given."""
        if cells is None:
            return self._rows[level]
        starts = self._starts[level]
        parts = [self._rows[level][starts[cell] : starts[cell + 1]] for cell in cells]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint32)

    def columns(self, rows: NDArray[np.uint32]) -> bytes:
        """Return :data:`COLUMNS` of these rows, little-endian, one behind the other."""
        parts = [np.asarray(rows, dtype="<u4").tobytes()]
        for name, dtype in COLUMNS[1:]:
            values: NDArray[np.generic] = getattr(self._space, name)[rows]
            parts.append(np.ascontiguousarray(values, dtype=dtype).tobytes())
        return b"".join(parts)


def _bounds(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Return left, low, right, high; never an empty span."""
    if not len(x):
        return (-1.0, -1.0, 1.0, 1.0)
    left, low, right, high = (float(end) for end in (x.min(), y.min(), x.max(), y.max()))
    if right <= left:
        left, right = left - 1, left + 1
    if high <= low:
        low, high = low - 1, low + 1
    return left, low, right, high


def _cell(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint16]:
    place = (values.astype(np.float64) - low) * (GRID / (high - low))
    return np.clip(place, 0, GRID - 1).astype(np.uint16)
