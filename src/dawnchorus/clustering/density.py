"""Clusters as dense regions: HDBSCAN on a reduced space, represented in the full one.

In: unit vectors of a sample. Out: HDBSCAN's label of each, and :class:`~dawnchorus.clustering.fitted.Clusters`
that give any vector a cluster without a new fit.

HDBSCAN (Campello et al. 2013, doi:10.1007/978-3-642-37456-2_14) sees all distances of the sample at once and says
nothing of a window that was not there. So each of its clusters is represented by prototypes in the full dimension:
spherical k-means within the cluster, a prototype per :data:`PER_PROTOTYPE` windows and at least one, because a dense
region need not be round. A window belongs to the cluster of its nearest prototype, and is noise if it is farther
from it than nearly all of the prototype's own windows. This approximates: where a dense region is long or bent, its
border runs between the prototypes' spheres, and noise within a sphere counts as cluster. How often the two differ on
the sample stands in the receipt.
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
    prototypes = Prototypes(
        np.concatenate([places for places, _ in parts]),
        np.repeat(np.arange(k, dtype=np.int32), [len(places) for places, _ in parts]),
        np.concatenate([radii for _, radii in parts]),
    )
    return labels, Clusters(centroids, prototypes)


def _represent(
    own: NDArray[np.float32], wanted: Clustering, *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return prototypes (p, d) of a cluster's unit vectors, and the radius of each, shape (p,)."""
    number = min(wanted.prototypes, max(1, len(own) // PER_PROTOTYPE))
    number = min(number, len(np.unique(own, axis=0)))
    if number > 1:
        places = spherical_kmeans(own, number, seed=seed, restarts=1)
    else:
        places = unit(own.astype(np.float64).sum(axis=0, keepdims=True))
    found, distance = nearest(own, places)
    whole = np.quantile(distance, wanted.noise_quantile, method="higher")
    radii = np.array(
        [
            np.quantile(distance[found == one], wanted.noise_quantile, method="higher")
            if (found == one).any()
            else whole
            for one in range(number)
        ],
        dtype=np.float32,
    )
    return places, radii
