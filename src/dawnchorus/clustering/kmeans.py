"""Spherical k-means in the full dimension of the output space.

In: unit vectors. Out: unit centroids, the largest cluster first.

The poster's protocol: k = 100 on a random 50,000 windows. The fit is done in the full dimension,
not on a 2-D projection. scikit-learn's KMeans on unit vectors finds the start; then the spherical
iteration (Dhillon & Modha 2001, doi:10.1023/A:1007612920971) runs until nothing changes: assign by
largest cosine, take each cluster's mean direction. So every window belongs to the centroid nearest
to it, and every centroid is the mean direction of its windows.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.sphere import cluster_sums, directions, nearest, one_core, unit

ITERATIONS = 300
"""Most iterations of either stage; both stop before, when nothing changes any more."""


def by_size(cluster: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """Return the numbers of ``k`` clusters, the largest first; equally large ones by their first window."""
    sizes = np.bincount(cluster[cluster >= 0], minlength=k)
    first = np.full(k, len(cluster))
    here = cluster >= 0
    np.minimum.at(first, cluster[here], np.flatnonzero(here))
    return np.lexsort((first, -sizes))


def spherical_kmeans(
    vectors: NDArray[np.float32], k: int, *, seed: int, restarts: int = 5
) -> NDArray[np.float32]:
    """Cluster unit vectors by direction.

    Parameters
    ----------
    vectors : float32 array (n, d)
        Unit vectors; at least ``k`` different ones.
    k : int
        Clusters.
    seed : int
        Of the k-means++ starts.
    restarts : int
        Starts; the one with the least inertia is kept.

    Returns
    -------
    float32 array (k, d)
        Unit centroids, the largest cluster first; equally large ones by their first window.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with one_core(), warnings.catch_warnings():
        # What it would warn of, fewer different vectors than clusters, is the caller's to rule out.
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = KMeans(
            n_clusters=k, init="k-means++", n_init=restarts, max_iter=ITERATIONS, random_state=seed
        ).fit(vectors)
        centroids = unit(start.cluster_centers_)
        cluster, _ = nearest(vectors, centroids)
        for _ in range(ITERATIONS):
            centroids = _mean_directions(vectors, cluster, centroids)
            before = cluster
            cluster, _ = nearest(vectors, centroids)
            if np.array_equal(cluster, before):
                break
    return centroids[by_size(cluster, k)]


def _mean_directions(
    vectors: NDArray[np.float32], cluster: NDArray[np.int32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean direction of each cluster; one that is empty keeps its centroid."""
    return directions(cluster_sums(vectors, cluster, len(centroids)), centroids)
