"""Regions of the map, and which windows lie in them.

In: a closed curve in map coordinates, clusters, or windows by themselves; narrowed by a condition and by
exclusions. Out: the rows inside a curve or a cluster (:mod:`dawnchorus.explorer.members` does the rest).

A curve is filled by the even-odd rule: where a curve crosses itself, what is enclosed twice is
outside. The rows are sorted by y once, so that an edge looks only at the points between its ends: a
lasso of m edges around n points costs about as many steps as there are points between its lowest
and highest corner, times the edges that a horizontal line crosses (2 to 4), not n times m.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dawnchorus.explorer.conditions import Cluster, Condition

MAX_CORNERS = 10_000
"""Corners of a curve; a hand draws a few hundred."""

Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]


Windows = dict[str, tuple[Annotated[int, Field(ge=0, le=1 << 62)], ...]]
"""Windows by recording: their first samples, at the file's own rate. They name sounds, so they mean the same
in every map."""


class _Region(BaseModel):
    """What all regions have; keys that are not given are not written.

    Attributes
    ----------
    without : dict
        Windows that are left out of it, whatever the curve says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    without: Windows = Field(default_factory=dict)


class _Narrowed(_Region):
    where: Condition | None = None


class PolygonRegion(_Narrowed):
    """A closed curve in the map; the last corner is joined to the first."""

    kind: Literal["polygon"]
    points: Annotated[
        tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=MAX_CORNERS)
    ]


class ClusterRegion(_Narrowed):
    """All members of a cluster."""

    kind: Literal["cluster"]
    cluster: Cluster


class ClustersRegion(_Narrowed):
    """All members of several clusters."""

    kind: Literal["clusters"]
    clusters: Annotated[tuple[Cluster, ...], Field(min_length=1, max_length=10_000)]


class WindowsRegion(_Region):
    """Single windows. What is said of them beats what is said of a curve or a cluster."""

    kind: Literal["windows"]
    windows: Windows


AnyRegion = PolygonRegion | ClusterRegion | ClustersRegion | WindowsRegion
Region = Annotated[AnyRegion, Field(discriminator="kind")]


class Membership:
    """Finds the rows in a region.

    Parameters
    ----------
    x, y : float array (n,)
        Map coordinates; a point that is not finite lies in no curve.
    cluster : integer array (n,)
        Cluster of each row.
    """

    def __init__(
        self, x: NDArray[np.floating], y: NDArray[np.floating], cluster: NDArray[np.integer]
    ) -> None:
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        order = finite[np.argsort(y[finite], kind="stable")]
        self._rows = order.astype(np.uint32)
        self._x, self._y = x[order], y[order]
        self._cluster = cluster

    def of_clusters(self, *clusters: int) -> NDArray[np.int64]:
        """Return the rows whose cluster is one of these, ascending."""
        if len(clusters) == 1:
            return np.flatnonzero(self._cluster == clusters[0])
        return np.flatnonzero(np.isin(self._cluster, clusters))

    def inside(self, points: Sequence[tuple[float, float]]) -> NDArray[np.int64]:
        """Return the rows inside a closed curve, ascending.

        Parameters
        ----------
        points : sequence of (x, y)
            At least three corners.
        """
        corners = np.array(points, dtype=np.float64)
        low, high = np.searchsorted(self._y, [corners[:, 1].min(), corners[:, 1].max()])
        within_x, within_y = self._x[low:high], self._y[low:high].astype(np.float64)
        inside = np.zeros(high - low, dtype=bool)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y1 == y2:
                continue  # a horizontal line upward of the point crosses it nowhere
            # Half-open in y: a corner belongs to the edge above it only, so no crossing counts twice.
            first, last = np.searchsorted(within_y, [min(y1, y2), max(y1, y2)])
            crossing = x1 + (within_y[first:last] - y1) * ((x2 - x1) / (y2 - y1))
            inside[first:last] ^= within_x[first:last] < crossing
        return np.sort(self._rows[low:high][inside]).astype(np.int64)
