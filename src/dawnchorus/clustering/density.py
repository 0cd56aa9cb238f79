"""Clusters as dense regions: HDBSCAN on a reduced space, represented in the full one.

In: unit vectors of a sample. Out: HDBSCAN's label of each, and :class:`~dawnchorus.clustering.fitted.Clusters`
that give any vector a cluster without a new fit.

HDBSCAN (Campello et al. 2013, doi:10.1007/978-3-642-37456-2_14) sees all distances of the sample at once and says
nothing of a window that was not there. So each of its clusters is represented by prototypes in the full dimension:
spherical k-means within the cluster, a prototype per :data:`PER_PROTOTYPE` windows and at least one, because a dense
region need not be round. A window belongs to the cluster of its nearest prototype, and is noise if it is farther
from it than a large share of the prototype's own windows. This approximates: where a dense region is long or bent, its
border runs between the prototypes' spheres, and noise within a sphere counts as cluster. How large the spheres are is
what agrees best with HDBSCAN on the sample; how often the two differ there stands in the receipt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.fitted import NOISE, Clusters, Prototypes
from dawnchorus.clustering.kmeans import by_size, spherical_kmeans
from dawnchorus.clustering.layout import umap_layout
from dawnchorus.clustering.sphere import cluster_sums, nearest, one_core, unit
from dawnchorus.config import Clustering
from dawnchorus.errors import DawnChorusError

QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Shares of a prototype's own windows within its radius; the one that agrees best with HDBSCAN is taken."""
PER_PROTOTYPE = 50
"""Windows of the sample that a prototype stands for, at the least."""


def reduced(vectors: NDArray[np.float32], wanted: Clustering, *, seed: int) -> NDArray[np.float32]:
    """Return the vectors in ``wanted.reduced_dimension`` dimensions, shape (n, r)."""
    dimension = min(wanted.reduced_dimension, vectors.shape[1], len(vectors) - 2)
    if wanted.reduction == "umap":
        return umap_layout(vectors, dimension=dimension, neighbours=30, min_distance=0.0, seed=seed)
    from sklearn.decomposition import PCA

    with one_core():
        found = PCA(n_components=dimension, svd_solver="full").fit_transform(vectors)
    return np.asarray(found, dtype=np.float32)


def dense_regions(points: NDArray[np.float32], wanted: Clustering) -> NDArray[np.int32]:
    """Return scikit-learn's HDBSCAN labels of points (n, r); -1 is noise."""
    from sklearn.cluster import HDBSCAN

    with one_core():
        found = HDBSCAN(
            min_cluster_size=min(wanted.min_cluster_size, len(points)),
            min_samples=wanted.min_samples,
            copy=True,
        ).fit(points)
    return found.labels_.astype(np.int32)


def hdbscan(
    vectors: NDArray[np.float32], wanted: Clustering, *, seed: int
) -> tuple[NDArray[np.int32], Clusters]:
    """Find dense regions among unit vectors and represent them.

    Parameters
    ----------
    vectors : float32 array (n, d)
    wanted : Clustering
        Section of the config.
    seed : int
        Of the reduction and the prototypes.

    Returns
    -------
    labels : int32 array (n,)
        HDBSCAN's own, numbered by size; -1 is noise.
    clusters : Clusters

    Raises
    ------
    DawnChorusError
        If no region is dense enough.
    """
    labels = dense_regions(reduced(vectors, wanted, seed=seed), wanted)
    k = int(labels.max()) + 1
    if k == 0:
        raise DawnChorusError(
            f"HDBSCAN finds no dense region among {len(vectors):,} windows",
            "clustering.min_cluster_size",
            "lower it, or min_samples",
        )
    rank = np.empty(k + 1, dtype=np.int32)
    rank[by_size(labels, k)] = np.arange(k)
    rank[NOISE] = NOISE
    labels = rank[labels]
    with one_core():
        centroids = unit(cluster_sums(vectors[labels >= 0], labels[labels >= 0], k))
        parts = [_represent(vectors[labels == cluster], wanted, seed=seed) for cluster in range(k)]
        places = np.concatenate(parts)
        owner = np.repeat(np.arange(k, dtype=np.int32), [len(part) for part in parts])
        found, distance = nearest(vectors, places)
    quantiles = QUANTILES if wanted.noise_quantile is None else (wanted.noise_quantile,)
    best, radius = -1.0, np.zeros(len(places), np.float32)
    for quantile in quantiles:
        tried = _radii(labels, owner, found, distance, quantile)
        given = np.where(distance > tried[found], NOISE, owner[found])
        same = float((given == labels).mean())
        if same > best:
            best, radius = same, tried
    return labels, Clusters(centroids, Prototypes(places, owner, radius))


def _represent(own: NDArray[np.float32], wanted: Clustering, *, seed: int) -> NDArray[np.float32]:
    """Return prototypes (p, d) of a cluster's unit vectors."""
    number = min(wanted.prototypes, max(1, len(own) // PER_PROTOTYPE))
    number = min(number, len(np.unique(own, axis=0)))
    if number > 1:
        return spherical_kmeans(own, number, seed=seed, restarts=1)
    return unit(own.astype(np.float64).sum(axis=0, keepdims=True))


def _radii(
    labels: NDArray[np.int32],
    owner: NDArray[np.int32],
    found: NDArray[np.int32],
    distance: NDArray[np.float32],
    quantile: float,
) -> NDArray[np.float32]:
    """Return the distance within which a share of each prototype's own windows lies, shape (p,).

    Own are windows of its cluster that are nearest to it; where there are none, all of the cluster.
    """
    radii = np.zeros(len(owner), dtype=np.float32)
    for number, cluster in enumerate(owner):
        inside = labels == cluster
        own = inside & (found == number)
        chosen = distance[own if own.any() else inside]
        radii[number] = np.quantile(chosen, quantile, method="higher")
    return radii
