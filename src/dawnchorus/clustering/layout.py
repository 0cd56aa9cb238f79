"""A sample of the output space in few dimensions: UMAP, t-SNE, principal components.

In: unit vectors (n, d). Out: coordinates, the same bytes for the same seed on one machine; everything works on one
core. On unit vectors the squared Euclidean distance is twice the cosine distance.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.sphere import one_core


def umap_layout(
    vectors: NDArray[np.float32],
    *,
    neighbours: int,
    min_distance: float,
    seed: int,
    dimension: int = 2,
) -> NDArray[np.float32]:
    """Lay out unit vectors (n, d) by UMAP (arXiv:1802.03426); float32 (n, dimension)."""
    import umap

    with warnings.catch_warnings(), one_core():
        # It says that a seed means one thread, which is what we ask for.
        warnings.filterwarnings("ignore", message="n_jobs value")
        layout = umap.UMAP(
            n_components=dimension,
            n_neighbors=min(neighbours, len(vectors) - 1),
            min_dist=min_distance,
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            # UMAP's own start, the graph's spectrum, throws parts that hang together with no other far apart, and
            # they press the rest together. From the principal components they lie where the space has them.
            init="pca",
        ).fit_transform(vectors)
    return np.asarray(layout, dtype=np.float32)


def tsne_layout(
    vectors: NDArray[np.float32], *, perplexity: float, seed: int
) -> NDArray[np.float32]:
    """Lay out unit vectors (n, d) in the plane by t-SNE; float32 (n, 2).

    scikit-learn's Barnes-Hut t-SNE (van der Maaten 2014, JMLR 15), started from the principal components (Kobak &
    Berens 2019, doi:10.1038/s41467-019-13056-x). A perplexity beyond a third of the windows becomes that third.
    """
    from sklearn.manifold import TSNE

    with one_core():
        layout = TSNE(
            n_components=2,
            perplexity=min(perplexity, max(1.0, (len(vectors) - 1) / 3)),
            init="pca",
            learning_rate="auto",
            random_state=seed,
            n_jobs=1,
        ).fit_transform(vectors)
    return np.asarray(layout, dtype=np.float32)


def fit_pca(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean (d,) and the first two principal components (2, d) of vectors (n, d)."""
    from sklearn.decomposition import PCA

    with one_core():
        found = PCA(n_components=2, svd_solver="covariance_eigh").fit(vectors)
    return found.mean_.astype(np.float32), found.components_.astype(np.float32)
