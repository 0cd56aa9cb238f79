"""Which of BirdNET's windows speaks for a window of ours.

In: begin and end of our windows, and how many windows BirdNET heard of their recordings. Out: pairs of
windows that share at least half of the shorter of the two. If both are 3 s long and do not overlap with
their neighbours, that is the same window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Listened:
    """Which windows BirdNET heard of a recorder-day, from its receipt.

    Parameters
    ----------
    recordings : mapping
        Per recording: sample rate in hertz, and number of windows.
    overlap_s : float
        What a window has in common with the next one, in seconds.
    """

    recordings: Mapping[str, tuple[int, int]]
    overlap_s: float = 0.0

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> Listened:
        """Read BirdNET's receipt of a recorder-day that was not set aside."""
        return cls(
            {
                one["recording"]: (int(one["sample_rate"]), int(one["windows"]))
                for one in receipt["recordings"]
            },
            # (Receipts from before windows could overlap say nothing.)
            float(receipt.get("parameters", {}).get("overlap", 0.0)),
        )

    def pairs(
        self,
        recording: NDArray[np.object_],
        start: NDArray[np.float64],
        end: NDArray[np.float64],
    ) -> Pairs:
        """Find the windows that speak for ours.

        Parameters
        ----------
        recording : object array (n,)
            Path of each of our windows' recording; none that BirdNET did not hear has a pair.
        start, end : float64 array (n,)
            In seconds of its recording.
        """
        facts = [self.recordings.get(name, (0, 0)) for name in recording]
        rate = np.array([fact[0] for fact in facts], dtype=np.float64)
        count = np.array([fact[1] for fact in facts], dtype=np.int64)
        heard = np.flatnonzero(count > 0)
        found = overlapping(start[heard], end[heard], rate[heard], count[heard], self.overlap_s)
        return Pairs(heard[found.window], found.offset, found.shared_s)


def overlapping(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    rate: NDArray[np.float64],
    count: NDArray[np.int64],
    overlap_s: float = 0.0,
) -> Pairs:
    """Find the pairs.

    Parameters
    ----------
    start, end : float64 array (n,)
        Of each of our windows, in seconds of its recording.
    rate : float64 array (n,)
        Sample rate of its recording, in hertz.
    count : int64 array (n,)
        Windows that BirdNET heard of it, from its first sample on.
    overlap_s : float
        What a window of BirdNET's has in common with the next one.
    """
    samples = np.rint(WINDOW_SECONDS * rate).astype(np.int64)
    step = np.maximum(1, samples - np.rint(overlap_s * rate).astype(np.int64))
    length, pace = samples / rate, step / rate
    # The first that ends behind our beginning.
    first = np.maximum(0, np.floor((start - length) / pace + TOLERANCE).astype(np.int64) + 1)
    reach = int(np.ceil(((end - start + length) / pace).max(initial=0.0) - TOLERANCE)) + 1
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
