"""Mini-batch k-means over every window of the fit's recorder-days, each read once.

In: the centroids of a start on a sample, and unit vectors in blocks. Out: unit centroids.

scikit-learn's MiniBatchKMeans (Sculley 2010, doi:10.1145/1772690.1772862) takes the recorder-days in a random
order, and the windows of each block in a random order, both by the seed alone. One batch follows on the other, so
no number of workers enters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.fit_sample import Embedded, Selection
from dawnchorus.clustering.kmeans import by_size
from dawnchorus.clustering.sphere import nearest, one_core, unit
from dawnchorus.progress import tracked


def minibatch_kmeans(
    blocks: Iterator[NDArray[np.floating]],
    start: NDArray[np.float32],
    *,
    batch: int,
    seed: int,
) -> NDArray[np.float32]:
    """Move centroids by every batch of some blocks of vectors.

    Parameters
    ----------
    blocks : iterator of arrays (n, d)
        Vectors of any length.
    start : float32 array (k, d)
        Unit centroids.
    batch : int
        Windows per step.
    seed : int
        Of the order within a block, and of scikit-learn's own draws.

    Returns
    -------
    float32 array (k, d)
        Unit centroids, in the order of ``start``.
    """
    from sklearn.cluster import MiniBatchKMeans

    generator = np.random.default_rng(seed)
    model = MiniBatchKMeans(
        n_clusters=len(start), init=start, n_init=1, batch_size=batch, random_state=seed
    )
    with one_core(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for vectors in blocks:
            rows = unit(vectors)
            rows = rows[generator.permutation(len(rows))]
            for first in range(0, len(rows), batch):
                part = rows[first : first + batch]
                # A remainder smaller than the number of clusters could not begin.
                if hasattr(model, "cluster_centers_") or len(part) >= len(start):
                    model.partial_fit(part)
    return unit(getattr(model, "cluster_centers_", start))


def of_all_windows(
    selection: Selection,
    days: Sequence[Embedded],
    start: NDArray[np.float32],
    sample: NDArray[np.float32],
    *,
    batch: int,
    seed: int,
) -> NDArray[np.float32]:
    """Do :func:`minibatch_kmeans` over recorder-days; the clusters largest in ``sample`` (n, d) come first."""
    order = np.random.default_rng(seed).permutation(len(days))
    shuffled = [days[number] for number in order]

    def blocks() -> Iterator[NDArray[np.floating]]:
        for one in tracked(shuffled, "mini-batches", len(shuffled), "days"):
            for _, vectors in selection.blocks(one):
                yield vectors

    centroids = minibatch_kmeans(blocks(), start, batch=batch, seed=seed)
    with one_core():
        cluster, _ = nearest(sample, centroids)
    return centroids[by_size(cluster, len(centroids))]
