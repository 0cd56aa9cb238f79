"""How far clusters depend on the seed: the same windows, clustered again with others.

In: unit vectors of the fit's sample. Out: the adjusted Rand index of each two of some fits. 1: the same clusters;
0: as much in common as two random partitions (Hubert & Arabie 1985, doi:10.1007/BF01908075).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.density import hdbscan
from dawnchorus.clustering.kmeans import spherical_kmeans
from dawnchorus.clustering.minibatch import minibatch_kmeans
from dawnchorus.clustering.sphere import nearest, one_core
from dawnchorus.config import Clustering

MOST_WINDOWS = 10_000
DIGITS = 6


def labels_of(
    vectors: NDArray[np.float32], wanted: Clustering, *, k: int, seed: int
) -> NDArray[np.int32]:
    """Cluster unit vectors (n, d) by the wanted method, from one start; int32 (n,), -1 is noise."""
    if wanted.method == "hdbscan":
        labels, _ = hdbscan(vectors, wanted, seed=seed)
        return labels
    centroids = spherical_kmeans(vectors, k, seed=seed, restarts=1)
    if wanted.method == "minibatch":
        centroids = minibatch_kmeans(iter([vectors]), centroids, batch=wanted.batch, seed=seed)
    with one_core():
        return nearest(vectors, centroids)[0]


def rand_indices(fits: Sequence[NDArray[np.int32]]) -> list[float]:
    """Return the adjusted Rand index of every two labellings, scikit-learn's."""
    from sklearn.metrics import adjusted_rand_score

    return [float(adjusted_rand_score(one, other)) for one, other in combinations(fits, 2)]


def least_mean_most(values: Sequence[float]) -> dict[str, float]:
    """Return ``min``, ``mean`` and ``max``, rounded."""
    return {
        "min": round(min(values), DIGITS),
        "mean": round(float(np.mean(values)), DIGITS),
        "max": round(max(values), DIGITS),
    }


def over_seeds(vectors: NDArray[np.float32], wanted: Clustering, k: int) -> dict[str, Any] | None:
    """Fit again with ``wanted.stability`` + 1 seeds from ``wanted.seed`` on.

    Parameters
    ----------
    vectors : float32 array (n, d)
        Unit vectors; an even selection of at most :data:`MOST_WINDOWS` is taken.
    wanted : Clustering
    k : int
        Clusters, where the method asks for a number.

    Returns
    -------
    dict or None
        ``windows``, ``seeds`` and ``ari`` with ``min``, ``mean`` and ``max`` over pairs; None if not asked for,
        or if the selection has fewer windows than clusters.
    """
    if len(vectors) > MOST_WINDOWS:
        vectors = vectors[np.linspace(0, len(vectors) - 1, MOST_WINDOWS).astype(np.int64)]
    if not wanted.stability or len(np.unique(vectors, axis=0)) < k:
        return None
    seeds = range(wanted.seed, wanted.seed + wanted.stability + 1)
    fits = [labels_of(vectors, wanted, k=k, seed=seed) for seed in seeds]
    return {
        "windows": len(vectors),
        "seeds": len(seeds),
        "ari": least_mean_most(rand_indices(fits)),
    }
