"""Regions of the map, and which windows lie in them.

In: a closed curve in map coordinates or the number of a cluster. Out: the rows of the windows inside.

A curve is filled by the even-odd rule: where a curve crosses itself, what is enclosed twice is
outside. The rows are sorted by y once, so that an edge looks only at the points between its ends: a
lasso of m edges around n points costs about as many steps as there are points between its lowest
and highest corner, times the edges that a horizontal line crosses (2 to 4), not n times m.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

MAX_CORNERS = 10_000
"""Corners of a curve; a hand draws a few hundred."""

Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e30, le=1e30)]


class PolygonRegion(BaseModel):
    """A closed curve in the map; the last corner is joined to the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["polygon"]
    points: Annotated[
        tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=MAX_CORNERS)
    ]


class ClusterRegion(BaseModel):
    """All members of a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["cluster"]
    cluster: Annotated[int, Field(ge=0, lt=65_535)]


Region = Annotated[PolygonRegion | ClusterRegion, Field(discriminator="kind")]


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

    def rows(self, region: PolygonRegion | ClusterRegion) -> NDArray[np.int64]:
        """Return the rows in ``region``, ascending."""
        if isinstance(region, ClusterRegion):
            return np.flatnonzero(self._cluster == region.cluster)
        return self._inside(np.array(region.points, dtype=np.float64))

    def _inside(self, corners: NDArray[np.float64]) -> NDArray[np.int64]:
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
