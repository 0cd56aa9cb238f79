"""How alone a vector is among others: distances to its nearest neighbours, and their density.

In: vectors, and vectors to compare them with, each of a group (a recorder-day, say). Out: the nearest of the
others that are of another group, the mean distance to them, and the local outlier factor of Breunig, Kriegel, Ng
and Sander (2000, doi:10.1145/335191.335388). Exact, in blocks; memory is that of a block.

Distances are Euclidean: unlike clusters, outliers are not looked for by direction alone. What is unusual about a sound is
often how much of it there is, and unit vectors have lost that.

A window's neighbours in time sound like it whatever it is, so a group never counts as its own company.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Vectors compared at a time: 200 MB with 20,000 others."""
SPARE = 16
"""A product of matrices finds so many more candidates than are wanted; the exact distance decides."""
TINY = 1e-10
"""Added to mean reachability as in scikit-learn, so that coinciding vectors have a density."""


@dataclass(frozen=True)
class Nearest:
    """The nearest others of each vector, the nearest first.

    Attributes
    ----------
    index : int64 array (n, k)
        Rows of the others.
    distance : float32 array (n, k)
        Euclidean.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float32]

    def mean(self) -> NDArray[np.float64]:
        """Return the mean distance to them, (n,)."""
        return self.distance.mean(axis=1, dtype=np.float64)


def nearest_others(
    vectors: NDArray[np.float32],
    group: NDArray[np.int64],
    others: NDArray[np.float32],
    other_group: NDArray[np.int64],
    neighbours: int,
    block: int = BLOCK,
) -> Nearest:
    """Find the nearest of ``others`` that are of another group.

    Parameters
    ----------
    vectors, others : float32 arrays (n, d), (m, d)
        Best with their common mean taken off: candidates are found in single precision.
    group, other_group : int64 arrays (n,), (m,)
        Numbers of the groups.
    neighbours : int
        How many; at least so many of ``others`` are of another group than any vector.
    block : int
        Vectors compared at a time; the result does not depend on it.

    Returns
    -------
    Nearest
        Equally near ones in the order of ``others``.
    """
    index = np.empty((len(vectors), neighbours), np.int64)
    distance = np.empty((len(vectors), neighbours), np.float32)
    held = min(len(others), neighbours + SPARE)
    half_squares = np.einsum("md,md->m", others, others) / 2
    for start in range(0, len(vectors), block):
        part = slice(start, min(start + block, len(vectors)))
        rows = vectors[part]
        # The squared distance, but for what is the same for all others: its half, with the sign turned.
        nearness = rows @ others.T - half_squares
        own = group[part, None] == other_group[None, :]
        np.putmask(nearness, own, -np.inf)
        found = np.argpartition(nearness, len(others) - held, axis=1)[:, len(others) - held :]
        found.sort(axis=1)
        difference = rows[:, None, :] - others[found]
        exact = np.sqrt(np.einsum("nkd,nkd->nk", difference, difference))
        exact[np.take_along_axis(own, found, axis=1)] = np.inf
        order = np.argsort(exact, axis=1, kind="stable")[:, :neighbours]
        index[part] = np.take_along_axis(found, order, axis=1)
        distance[part] = np.take_along_axis(exact, order, axis=1)
    return Nearest(index, distance)


def reachable_density(near: Nearest, reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the local reachability density (n,): 1 / mean of ``max(reach of the other, distance)``.

    Parameters
    ----------
    near : Nearest
    reach : float64 array (m,)
        Distance of each other to the last of its own neighbours.
    """
    mean = np.maximum(near.distance.astype(np.float64), reach[near.index]).mean(axis=1)
    return 1.0 / (mean + TINY)


def local_outlier_factor(
    near: Nearest, density: NDArray[np.float64], other_density: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much denser the neighbours lie than the vector, (n,): about 1 inside of a crowd."""
    return other_density[near.index].mean(axis=1) / density
