"""Intervals by resampling whole groups.

In: counts per group (a group is a recording, a recorder-day or a recorder: windows of one group are
alike and do not count as independent). Out: the 95 % interval of a figure that is computed from the
summed counts.

Everything here works on sums over groups, so a resample costs one matrix product and no pass over
the windows:

- :func:`interval`, for means: the cluster bootstrap (Davison & Hinkley 1997, section 3.8),
  percentile interval;
- :func:`half_sample_interval`, for scores of agreement. A bootstrap draws groups twice, and a
  window drawn twice agrees with itself: it shifts AMI so far that the interval may miss the score.
  Halves of the groups, drawn without replacement, hold nothing twice; their spread is the score's
  (the delete-d jackknife of Shao & Wu 1989, doi:10.1214/aos/1176347263).
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
    return [_quantiles(column) for column in drawn.T]


def half_sample_interval(
    sums: NDArray[np.float64],
    figures: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    resamples: int,
    seed: int,
) -> list[Interval]:
    """Return 95 % intervals of figures that must not see a window twice.

    With m of n groups drawn, the spread of a figure over the draws is sqrt((n - m) / m) times its
    standard error, so deviations are scaled by the inverse and set around the figure itself.

    Parameters and return value as for :func:`interval`.
    """
    count, values = len(sums), figures(sums.sum(axis=0))
    if count < FEWEST_GROUPS:
        return [NONE] * len(values)
    generator = np.random.default_rng(seed)
    half = count // 2
    drawn = np.stack(
        [
            figures(sums[np.sort(generator.permutation(count)[:half])].sum(axis=0))
            for _ in range(resamples)
        ]
    )
    scale = np.sqrt(half / (count - half))
    return [
        _quantiles(value + (column - np.nanmean(column)) * scale)
        if np.isfinite(column).any()
        else NONE
        for value, column in zip(values, drawn.T, strict=True)
    ]


def _quantiles(column: NDArray[np.float64]) -> Interval:
    seen = column[np.isfinite(column)]
    if len(seen) == 0:
        return NONE
    low, high = np.quantile(seen, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
