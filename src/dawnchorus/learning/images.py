"""What can be said of a log-mel image without a network: its statistics, its principal components.

In: images in decibels. Out: vectors. They are what a trained space has to beat, and encoders of their
own (:mod:`dawnchorus.learning.prepare`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from sklearn.decomposition import PCA


def statistics(decibels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Summarise log-mel images over time.

    Parameters
    ----------
    decibels : float32 array (n, mels, frames)

    Returns
    -------
    as_is : float32 array (n, 2 mels)
        Mean and deviation per mel band.
    floor_subtracted : float32 array (n, 2 mels)
        The same with the median per mel band subtracted (the deviation does not change by it).
    """
    mean = decibels.mean(axis=2, dtype=np.float64)
    deviation = decibels.std(axis=2, dtype=np.float64)
    floor = np.median(decibels, axis=2)
    return (
        np.concatenate([mean, deviation], axis=1).astype(np.float32),
        np.concatenate([mean - floor, deviation], axis=1).astype(np.float32),
    )


def fitted_pca(images: NDArray[np.float32], components: int, seed: int) -> PCA:
    """Fit principal components, the same whatever the number of cores.

    Parameters
    ----------
    images : float32 array (n, pixels)
        At least two.
    components : int
        At most so many; there are no more than ``n - 1`` and ``pixels``.
    seed : int
        Of the randomised decomposition (Halko et al. 2011, arXiv:0909.4061).
    """
    from sklearn.decomposition import PCA

    most = min(components, len(images) - 1, images.shape[1])
    # Sums over several cores have an order of their own.
    with threadpool_limits(1):
        return PCA(most, svd_solver="randomized", random_state=seed).fit(images)
