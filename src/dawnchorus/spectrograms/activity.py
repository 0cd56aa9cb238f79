"""How much stands out of the noise: a cheap score per window.

In: the codes of a window (mel, frame). Out: a number in dB, 0 for steady noise.

Two things are taken away before anything counts. What a band always has (insects, hum, the recorder's
own hiss) is the band's median over the window. What all bands have at once (rain drops, gusts,
clicks) is, for each frame, the median over the bands of what is left, if positive. Of the rest, what
exceeds a margin is averaged over all cells:

    rest[m, j] = dB[m, j] - median_j dB[m, j]
    activity   = mean_mj max(0, rest[m, j] - max(0, median_m rest[m, j]) - MARGIN_DB)

A song of 30 dB over its band's noise that fills 2 % of the picture scores 0.02 * (30 - 9) = 0.4 dB.
Noise alone scores below 0.05 dB: single bins of it are exponentially distributed and pass 9 dB over
their median once in 250 cells. What lasts longer than half the window in a band counts as steady, and
what fills more than half of the bands at once as broadband.

Medians are the lower ones; everything is counted in whole codes, so the score is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.spectrograms.kernels import compiled

MARGIN_DB = 9.0
"""Decibels above the medians that noise rarely reaches."""


_CELLS = 128
"""Cells whose count fits into a byte, so that counting is as wide as comparing."""


@compiled
def _median(row: NDArray[np.uint8]) -> int:
    """Return the lower median: halving finds the smallest value that half of the cells do not exceed."""
    low, high = 0, 255
    while low < high:
        middle = (low + high) >> 1
        bound, at_most = np.uint8(middle), 0
        for start in range(0, row.size, _CELLS):
            counted = np.uint8(0)
            for j in range(start, min(start + _CELLS, row.size)):
                counted = np.uint8(counted + np.uint8(row[j] <= bound))
            at_most += int(counted)
        if 2 * at_most >= row.size:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _broadband(rest: NDArray[np.uint8], broadband: NDArray[np.uint8]) -> None:
    """Fill each frame's lower median over the bands: the same halving, side by side.

    Parameters
    ----------
    rest : uint8 (mels, frames)
    broadband : uint8 (frames,)
        Filled.
    """
    mels, frames = rest.shape
    lower = np.zeros(frames, np.uint8)
    upper = broadband
    upper[:] = 255
    middle = np.empty(frames, np.uint8)
    counted = np.empty(frames, np.uint8)
    at_most = np.empty(frames, np.int32)
    for _ in range(8):
        for j in range(frames):
            middle[j] = np.uint8(lower[j] + ((upper[j] - lower[j]) >> 1))
            at_most[j] = 0
        for start in range(0, mels, _CELLS):
            counted[:] = 0
            for band in range(start, min(start + _CELLS, mels)):
                for j in range(frames):
                    counted[j] += np.uint8(rest[band, j] <= middle[j])
            for j in range(frames):
                at_most[j] += np.int32(counted[j])
        for j in range(frames):
            if 2 * at_most[j] >= mels:
                upper[j] = middle[j]
            else:
                lower[j] = min(np.uint8(middle[j] + 1), upper[j])


@compiled
def excess(codes: NDArray[np.uint8], margin: int) -> int:
    """Return the sum, over a window, of what exceeds the medians by more than a margin.

    Parameters
    ----------
    codes : uint8 (mels, frames)
    margin : int
        In codes, 0 to 256.

    Returns
    -------
    int
        In codes.
    """
    mels, frames = codes.shape
    # What lies below its band's median counts as 0: nothing below it can stand out, and a frame's
    # median only counts if positive.
    rest = np.empty((mels, frames), np.uint8)
    for band in range(mels):
        median = np.uint8(_median(codes[band]))
        for j in range(frames):
            code = codes[band, j]
            rest[band, j] = np.uint8(code - median) if code > median else np.uint8(0)
    broadband = np.empty(frames, np.uint8)
    _broadband(rest, broadband)
    threshold = np.empty(frames, np.int16)
    for j in range(frames):
        threshold[j] = np.int16(broadband[j]) + margin
    over = np.zeros(frames, np.int32)
    for band in range(mels):
        for j in range(frames):
            over[j] += np.int32(max(np.int16(rest[band, j]) - threshold[j], 0))
    total = 0
    for j in range(frames):
        total += over[j]
    return total


def activity(codes: NDArray[np.uint8], db_step: float) -> float:
    """Return the activity of a window in dB.

    Parameters
    ----------
    codes : uint8 (mels, frames)
    db_step : float
        Decibels per code; the margin is taken to the nearest code.
    """
    margin = min(round(MARGIN_DB / db_step), 256)  # codes differ by 255 at most
    return excess(codes, margin) * db_step / codes.size
