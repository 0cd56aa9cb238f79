"""Which of BirdNET's windows speaks for a window of ours.

In: begin and end of our windows, and how many windows BirdNET heard of their recordings. Out: pairs of
windows that share at least half of the shorter of the two. If both are 3 s long that is the same window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.birdnet.model import WINDOW_SECONDS

SHARED_SHARE = 0.5
"""Least share of the shorter window that two windows must have in common."""
TOLERANCE = 1e-6
"""Seconds; times are multiples of a sample, at least 2.6e-6 s."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of windows, sorted by ours, then by BirdNET's.

    Attributes
    ----------
    window : int64 array (m,)
        Number of ours.
    offset : int64 array (m,)
        First sample of BirdNET's, at the file's own rate.
    shared_s : float64 array (m,)
        Seconds in common.
    """

    window: NDArray[np.int64]
    offset: NDArray[np.int64]
    shared_s: NDArray[np.float64]

    def best(self) -> Pairs:
        """Keep of each of our windows the pair that shares most; the first of equals."""
        order = np.lexsort((self.offset, -self.shared_s, self.window))
        first = order[np.unique(self.window[order], return_index=True)[1]]
        return Pairs(self.window[first], self.offset[first], self.shared_s[first])


def overlapping(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    rate: NDArray[np.float64],
    count: NDArray[np.int64],
) -> Pairs:
    """Find the pairs.

    Parameters
    ----------
    start, end : float64 array (n,)
        Of each of our windows, in seconds of its recording.
    rate : float64 array (n,)
        Sample rate of its recording, in hertz.
    count : int64 array (n,)
        Windows that BirdNET heard of it, one after the other from its first sample on.
    """
    step = np.rint(WINDOW_SECONDS * rate).astype(np.int64)
    length = step / rate
    first = np.floor(start / length + TOLERANCE).astype(np.int64)
    reach = int(np.ceil(((end - start) / length).max(initial=0.0) - TOLERANCE)) + 1
    parts = []
    for ahead in range(reach):
        number = first + ahead
        begin = number * step / rate
        shared = np.minimum(end, begin + length) - np.maximum(start, begin)
        enough = shared >= SHARED_SHARE * np.minimum(end - start, length) - TOLERANCE
        valid = np.flatnonzero(enough & (number < count))
        parts.append((valid, (number * step)[valid], shared[valid]))
    window, offset, shared_s = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((offset, window))
    return Pairs(window[order], offset[order], shared_s[order])
