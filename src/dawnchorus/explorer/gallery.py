"""Which members of a region to hear before it is named: typical ones, any ones, doubtful ones.

In: a region and its rows. Out: row numbers, *central*, *random* and *border*.

For a cluster, central and border are the nearest to its centroid and the farthest from it, in the output
space. For a curve, central is the middle of the members (the median of their map coordinates), and border the
nearest to the line that was drawn; for other regions, the farthest from that middle. Of a large region a seeded sample stands for all: hearing is what takes time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.explorer.regions import AnyRegion, ClusterRegion, PolygonRegion
from dawnchorus.explorer.space import OutputSpace

SAMPLE = 20_000
"""Members that are measured."""
MAX_EDGES = 400
"""Edges of a curve that are measured; a hand's tremble adds nothing."""


def pick(
    space: OutputSpace,
    region: AnyRegion,
    rows: NDArray[np.int64],
    each: int,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Choose members of a region; none appears twice.

    Parameters
    ----------
    space : OutputSpace
    region : Region
    rows : int64 array (n,)
        Its members.
    each : int
        How many of each kind, at most.
    seed : int
        Of the random ones, and of the sample of a large region.

    Returns
    -------
    dict
        central, border (the most so first) and random, lists of row numbers.
    """
    random = np.random.default_rng(seed)
    sample = rows
    if len(rows) > SAMPLE:
        sample = np.sort(random.choice(rows, SAMPLE, replace=False))
    inner, outer = _measured(space, region, sample)
    each = min(each, max(1, len(sample) // 3)) if len(sample) else 0
    by_inner = np.argsort(inner, kind="stable")
    central = sample[by_inner[:each]]
    by_outer = sample[np.argsort(outer, kind="stable")]
    border = by_outer[~np.isin(by_outer, central)][:each]
    left = sample[~np.isin(sample, np.concatenate([central, border]))]
    drawn = random.choice(left, min(each, len(left)), replace=False)
    return {"central": central.tolist(), "random": drawn.tolist(), "border": border.tolist()}


def _measured(
    space: OutputSpace, region: AnyRegion, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far rows are from the middle, and how far from the border (smaller: nearer)."""
    if isinstance(region, ClusterRegion) and np.isfinite(space.distance[rows]).all():
        distance = space.distance[rows].astype(np.float64)
        return distance, -distance
    place = np.stack([space.x[rows], space.y[rows]], axis=1).astype(np.float64)
    if not len(place):
        return np.empty(0), np.empty(0)
    middle = np.hypot(*(place - np.median(place, axis=0)).T)
    if not isinstance(region, PolygonRegion):
        return middle, -middle
    return middle, _to_curve(place, np.array(region.points, dtype=np.float64))


def _to_curve(place: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of points (n, 2) to the nearest edge of a closed curve (m, 2), shape (n,)."""
    if len(corners) > MAX_EDGES:
        corners = corners[np.linspace(0, len(corners) - 1, MAX_EDGES).astype(np.int64)]
    nearest = np.full(len(place), np.inf)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge = end - start
        length = float(edge @ edge)
        along = (place - start) @ edge / length if length else np.zeros(len(place))
        foot = start + np.clip(along, 0, 1)[:, None] * edge
        np.minimum(nearest, np.hypot(*(place - foot).T), out=nearest)
    return nearest
