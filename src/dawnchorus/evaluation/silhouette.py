"""How far apart classes lie in a space: the silhouette.

In: unit vectors, and a class per window. Out: the mean over windows of (b - a) / max(a, b), a being a
window's mean cosine distance to its own class and b to the nearest other (Rousseeuw 1987,
doi:10.1016/0377-0427(87)90125-7); with an interval over groups of the windows' own values, and what
shuffled classes give. It grows with the square of the windows: a seeded part of them is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.bootstrap import NONE, Interval, interval, per_group

MOST_WINDOWS = 2_000


@dataclass(frozen=True)
class Silhouette:
    """A silhouette; ``value`` is NaN if there is none, and ``reason`` says why."""

    value: float
    shuffled: float
    interval: Interval
    windows: int
    reason: str


def part_of(windows: int, seed: int) -> NDArray[np.int64]:
    """Return the windows that silhouettes are taken from, in order."""
    if windows <= MOST_WINDOWS:
        return np.arange(windows)
    return np.sort(np.random.default_rng(seed).choice(windows, MOST_WINDOWS, replace=False))


def distances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine distances of unit vectors to each other, (n, n)."""
    found = np.clip(1 - vectors @ vectors.T, 0, None)
    np.fill_diagonal(found, 0)
    return np.asarray(found, dtype=np.float32)


def silhouette(
    apart: NDArray[np.float32],
    classes: NDArray[np.object_] | NDArray[np.int64],
    group: NDArray[np.object_],
    *,
    resamples: int,
    seed: int,
) -> Silhouette:
    """Return the silhouette of classes.

    Parameters
    ----------
    apart : float32 array (n, n)
        From :func:`distances`.
    classes, group : array (n,)
        A class with one window has silhouette 0, as in scikit-learn.
    resamples, seed : int
        Of the interval; the seed is also the shuffle's.
    """
    from sklearn.metrics import silhouette_samples

    names, label = np.unique(classes.astype(str), return_inverse=True)
    nothing = float("nan")
    if not 2 <= len(names) < len(label):
        reason = f"{len(names)} classes of {len(label)} windows: a silhouette takes two, and pairs"
        return Silhouette(nothing, nothing, NONE, len(label), reason)
    of_window = silhouette_samples(apart, label, metric="precomputed")
    mixed = np.random.default_rng(seed).permutation(label)
    _, member = np.unique(group.astype(str), return_inverse=True)
    sums = per_group(member, np.stack([of_window, np.ones(len(label))], axis=1).astype(np.float64))
    (bounds,) = interval(sums, lambda total: np.array([total[0] / total[1]]), resamples, seed)
    shuffled = silhouette_samples(apart, mixed, metric="precomputed").mean()
    return Silhouette(float(of_window.mean()), float(shuffled), bounds, len(label), "")
