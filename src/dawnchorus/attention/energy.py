"""Energy above the noise floor, on the same cells as the maps: the baseline without a network.

In: decibels of windows. Out: one map per window, not negative. What stands out of the window's own
median in its band is what a trained eye sees in a spectrogram; a map of the network has to find the
song better than this, or it is not worth its while.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def energy_map(
    decibels: NDArray[np.floating], cell: tuple[int, int], threshold_db: float = 0.0
) -> NDArray[np.float32]:
    """Return the mean of the decibels above the noise floor in each cell.

    Parameters
    ----------
    decibels : array (n, mels, frames)
    cell : tuple of int
        Mel rows and frames of a cell.
    threshold_db : float
        What is not more than this above the floor counts as nothing.

    Returns
    -------
    float32 array (n, rows, columns)
    """
    above = decibels - np.median(decibels, axis=2, keepdims=True)
    above = np.maximum(above - threshold_db, 0.0)
    count, mels, frames = above.shape
    rows, columns = mels // cell[0], frames // cell[1]
    return (
        above.reshape(count, rows, cell[0], columns, cell[1]).mean(axis=(2, 4)).astype(np.float32)
    )


def agreement(maps: NDArray[np.floating], energy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how well maps agree with the energy: Pearson's correlation, mean over windows.

    Parameters
    ----------
    maps : array (n, heads, rows, columns)
    energy : array (n, rows, columns)

    Returns
    -------
    float64 array (heads,)
        A window in which either is the same everywhere counts as 0.
    """
    count, heads = maps.shape[:2]
    x = maps.reshape(count, heads, -1).astype(np.float64)
    y = energy.reshape(count, 1, -1).astype(np.float64)
    x -= x.mean(axis=-1, keepdims=True)
    y -= y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    shared = (x * y).sum(-1)
    return np.divide(shared, scale, out=np.zeros_like(shared), where=scale > 0).mean(axis=0)
