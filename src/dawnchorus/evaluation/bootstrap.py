"""Intervals by resampling whole groups.

In: counts per group (a group is a recording, a recorder-day or a recorder: windows of one group are
alike and do not count as independent). Out: the 95 % interval of a figure that is computed from the
summed counts.

Everything here works on sums over groups, so a resample costs one matrix product and no pass over
the windows (the cluster bootstrap of Davison & Hinkley 1997, section 3.8, percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
FEWEST_GROUPS = 2
"""With one group there is nothing to resample."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a 95 % interval; NaN if there are too few groups."""

    low: float
    high: float


NONE = Interval(float("nan"), float("nan"))


def weights(groups: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """Draw how often each group is in each resample.

    Returns
    -------
    float64 array (resamples, groups)
        Rows sum to ``groups``.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(float)


def per_group(group: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the rows of ``values`` per group.

    Parameters
    ----------
    group : int64 array (n,)
        Number of each row's group, 0 to the largest.
    values : float64 array (n, ...)

    Returns
    -------
    float64 array (groups, ...)
    """
    sums = np.zeros((int(group.max()) + 1 if len(group) else 0, *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums


def interval(
    sums: NDArray[np.float64],
    figures: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    resamples: int,
    seed: int,
) -> list[Interval]:
    """Return the 95 % percentile intervals of figures.

    Parameters
    ----------
    sums : float64 array (groups, ...)
        What each group contributes.
    figures : callable
        Computes the figures, shape (m,), from sums over groups, shape (...).
    resamples : int
    seed : int

    Returns
    -------
    list of Interval
        One per figure; :data:`NONE` for each if there are fewer than two groups.
    """
    count = len(sums)
    if count < FEWEST_GROUPS:
        return [NONE] * len(figures(sums.sum(axis=0)))
    drawn = np.stack(
        [figures(np.tensordot(row, sums, axes=1)) for row in weights(count, resamples, seed)]
    )
    bounds = []
    for column in drawn.T:
        seen = column[np.isfinite(column)]
        if len(seen) == 0:
            bounds.append(NONE)
            continue
        low, high = np.quantile(seen, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        bounds.append(Interval(float(low), float(high)))
    return bounds
