"""Average precision of boxes: how far down a list of boxes, the surest first, songs are found.

In: boxes of windows with a score each, and annotated boxes in the same windows. Out: per window which of its boxes find
a song (:func:`matched`), and over all windows the average precision (:func:`average_precision`): the mean, over all
songs, of the precision of the list down to the box that finds the song; a song that no box finds counts as 0
(Everingham et al. 2010, doi:10.1007/s11263-009-0275-4, without interpolation).

A box finds a song if their intersection over union is at least :data:`~dawnchorus.evaluation.found.FOUND`; each song is
found once, and what meets it again is wrong, as is what meets none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.found import FOUND, Boxes, overlaps


def matched(boxes: Boxes, scores: NDArray[np.floating], songs: Boxes) -> NDArray[np.bool_]:
    """Tell which boxes of a window find a song.

    Parameters
    ----------
    boxes : float array (n, 4)
    scores : float array (n,)
        The highest first takes the free song that it fits best; of equals, the first.
    songs : float array (m, 4)

    Returns
    -------
    bool array (n,)
    """
    found = np.zeros(len(boxes), dtype=bool)
    if not len(songs) or not len(boxes):
        return found
    fit = overlaps(boxes, songs)
    for box in np.argsort(-scores, kind="stable"):
        song = int(fit[box].argmax())
        if fit[box, song] >= FOUND:
            found[box] = True
            fit[:, song] = 0.0
    return found


def average_precision(
    scores: NDArray[np.floating],
    found: NDArray[np.bool_],
    weight: NDArray[np.floating],
    songs: float,
) -> float:
    """Return the average precision of boxes.

    Parameters
    ----------
    scores : float array (n,)
        Boxes of equal score stand or fall together: precision is that of the list down to the last of them.
    found : bool array (n,)
        Whether a box finds a song.
    weight : float array (n,)
        How often a box counts: in a resample of groups, as often as its group.
    songs : float
        How many there are to find, counted likewise.

    Returns
    -------
    float
        0 to 1; NaN if there is no song.
    """
    if not songs:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum((found * weight)[order])
    taken = np.cumsum(weight[order])
    # The last of equals stands for all of them.
    level = scores[order]
    last = np.append(level[1:] != level[:-1], True)[: len(level)]
    hits, taken = hits[last], taken[last]
    gained = np.diff(hits, prepend=0.0)
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return float((gained * precision).sum() / songs)
