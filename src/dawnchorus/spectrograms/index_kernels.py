"""The compiled inner loops of the acoustic indices.

In: the spectrum that the spectrograph has computed anyway, then the amplitudes of a minute, frames
last. Out: arrays, in place. As in :mod:`dawnchorus.spectrograms.kernels` no sum is reassociated by the
compiler: sums run in 64 lanes of float32 that are added up in float64, so a result does not depend on
the machine's vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.spectrograms.kernels import compiled

CLASSES = 192
"""Classes of 1 dB that the background is looked for in."""
LOWEST_CLASS_DB = -160.0
"""Lower end of the first class; the softest bin of 16-bit noise lies near -125 dB."""
SMOOTHING = 2
"""Classes on either side that are added before the fullest one is taken."""

_LANES = 64


@compiled
def fill_amplitudes(
    spectrum: NDArray[np.float32],
    scale: float,
    amplitudes: NDArray[np.float32],
    start: int,
) -> None:
    """Turn the spectrum of unwindowed frames into amplitudes under the Hann window, at all bins.

    The periodic Hann window is a convolution of three bins, Y[k] = X[k]/2 - (X[k-1] + X[k+1])/4; the
    neighbour below bin 0 is the conjugate of bin 1, that above the last bin the conjugate of the last
    but one. The mean of each frame is removed before the window, which is to say that X[0] counts as
    zero: a recorder's constant offset is not sound. The amplitude is sqrt(P), P as
    :mod:`dawnchorus.spectrograms.mel` defines it, halved at the first and last bin.

    Parameters
    ----------
    spectrum : float32 (bins, 2 * frames)
        Real and imaginary parts side by side, frames last; bins = n_fft / 2 + 1.
    scale : float
        What |Y|^2 is multiplied with to be P: :func:`dawnchorus.spectrograms.mel.power_scale`.
    amplitudes : float32 (bins, all frames)
        Filled from frame ``start`` on.
    start : int
        Where the first frame goes.
    """
    bins, frames = spectrum.shape[0], spectrum.shape[1] // 2
    half, quarter, nothing = np.float32(0.5), np.float32(0.25), np.float32(0)
    root = np.float32(np.sqrt(scale))
    root_of_ends = np.float32(np.sqrt(scale / 2.0))
    second, last, last_but_one = spectrum[1], spectrum[bins - 1], spectrum[bins - 2]
    lowest, highest = amplitudes[0], amplitudes[bins - 1]
    for j in range(frames):
        lowest[start + j] = root_of_ends * abs(half * second[2 * j])
        highest[start + j] = root_of_ends * abs(half * (last[2 * j] - last_but_one[2 * j]))
    for bin_number in range(1, bins - 1):
        below, here = spectrum[bin_number - 1], spectrum[bin_number]
        above, row = spectrum[bin_number + 1], amplitudes[bin_number]
        # No copy of X[0] is made: its share is one factor.
        share = nothing if bin_number == 1 else quarter
        for j in range(frames):
            re = half * here[2 * j] - share * below[2 * j] - quarter * above[2 * j]
            im = half * here[2 * j + 1] - share * below[2 * j + 1] - quarter * above[2 * j + 1]
            row[start + j] = root * np.sqrt(re * re + im * im)


@compiled
def _sum(values: NDArray[np.float32]) -> float:
    """Return the sum of a row."""
    lanes = np.zeros(_LANES, np.float32)
    whole = values.size - values.size % _LANES
    for at in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += values[at + lane]
    total = 0.0
    for lane in range(_LANES):
        total += np.float64(lanes[lane])
    for at in range(whole, values.size):
        total += np.float64(values[at])
    return total


@compiled
def _largest(values: NDArray[np.float32]) -> np.float32:
    """Return the largest magnitude of a row."""
    lanes = np.zeros(_LANES, np.float32)
    whole = values.size - values.size % _LANES
    for at in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] = max(lanes[lane], abs(values[at + lane]))
    highest = np.float32(0)
    for lane in range(_LANES):
        highest = max(highest, lanes[lane])
    for at in range(whole, values.size):
        highest = max(highest, abs(values[at]))
    return highest


@compiled
def _fullest(histogram: NDArray[np.int32]) -> int:
    """Return the class that holds most together with its neighbours; the lowest if several do."""
    best, most = 0, -1
    for middle in range(histogram.size):
        count = 0
        for near in range(max(0, middle - SMOOTHING), min(histogram.size, middle + SMOOTHING + 1)):
            count += histogram[near]
        if count > most:
            best, most = middle, count
    return best


@compiled
def describe_bins(
    amplitudes: NDArray[np.float32],
    frames_per_window: int,
    margin_db: float,
    polynomial: NDArray[np.float32],
    sums: NDArray[np.float64],
    loudest: NDArray[np.float32],
    background: NDArray[np.float32],
    cover: NDArray[np.float32],
) -> None:
    """Describe each bin over the frames of a minute.

    Parameters
    ----------
    amplitudes : float32 (bins, frames)
        The frames of the windows side by side.
    frames_per_window : int
        Between one such stretch and the next lies a gap, over which no difference is taken.
    margin_db : float
        Decibels above the background from which a frame counts as covered.
    polynomial : float32 (8,)
        :data:`dawnchorus.spectrograms.kernels.LOG2_COEFFICIENTS`.
    sums : float64 (4, bins)
        Filled: of the amplitude a, of |a[j + 1] - a[j]|, of P = a^2 and of P log2 P.
    loudest : float32 (bins,)
        Filled: the largest amplitude.
    background : float32 (bins,)
        Filled: middle of the fullest class of 1 dB, :data:`LOWEST_CLASS_DB` where all is silent.
    cover : float32 (bins,)
        Filled: share of the frames that exceed the background by the margin.
    """
    bins, frames = amplitudes.shape
    c0, c1, c2, c3 = polynomial[0], polynomial[1], polynomial[2], polynomial[3]
    c4, c5, c6, c7 = polynomial[4], polynomial[5], polynomial[6], polynomial[7]
    mantissa_mask, one_bits = np.int32(0x007FFFFF), np.int32(0x3F800000)
    bias, mantissa_bits = np.int32(127), np.int32(23)
    db_per_octave, lowest_db = np.float32(20.0 * np.log10(2.0)), np.float32(LOWEST_CLASS_DB)
    first, last = np.float32(0), np.float32(CLASSES - 1)
    mantissa_of = np.empty(frames, np.int32)
    mantissa = mantissa_of.view(np.float32)
    exponent = np.empty(frames, np.float32)
    changes = np.zeros(frames, np.float32)
    power, weighted = np.empty(frames, np.float32), np.empty(frames, np.float32)
    class_of = np.empty(frames, np.int32)
    histogram = np.empty(CLASSES, np.int32)
    for number in range(bins):
        row = amplitudes[number]
        bits = row.view(np.int32)
        for j in range(frames):
            exponent[j] = np.float32((bits[j] >> mantissa_bits) - bias)
            mantissa_of[j] = (bits[j] & mantissa_mask) | one_bits
        for j in range(frames):
            x = mantissa[j]
            log2 = exponent[j] + (
                c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * (c5 + x * (c6 + x * c7))))))
            )
            here = row[j] * row[j]
            power[j] = here
            weighted[j] = here * (log2 + log2)
            place = log2 * db_per_octave - lowest_db
            place = first if place < first else place
            place = last if place > last else place
            class_of[j] = np.int32(place)
        for j in range(frames - 1):
            changes[j] = abs(row[j + 1] - row[j])
        for gap in range(frames_per_window - 1, frames, frames_per_window):
            changes[gap] = np.float32(0)
        sums[0, number], sums[1, number] = _sum(row), _sum(changes)
        sums[2, number], sums[3, number] = _sum(power), _sum(weighted)
        highest = _largest(row)
        loudest[number] = highest
        if highest == np.float32(0):
            background[number], cover[number] = lowest_db, np.float32(0)
            continue
        histogram[:] = 0
        for j in range(frames):
            histogram[class_of[j]] += 1
        level = LOWEST_CLASS_DB + _fullest(histogram) + 0.5
        background[number] = np.float32(level)
        threshold = np.float32(10.0 ** ((level + margin_db) / 20.0))
        covered = 0
        for j in range(frames):
            covered += row[j] >= threshold
        cover[number] = np.float32(covered / frames)


@compiled
def count_from(
    amplitudes: NDArray[np.float32], threshold: float, counts: NDArray[np.int64]
) -> None:
    """Count the frames of each bin whose amplitude is the threshold or more.

    Parameters
    ----------
    amplitudes : float32 (bins, frames)
    threshold : float
    counts : int64 (counted bins,)
        Filled, for the first bins.
    """
    limit = np.float32(threshold)
    for number in range(counts.size):
        row, count = amplitudes[number], 0
        for j in range(row.size):
            count += row[j] >= limit
        counts[number] = count


@compiled
def fill_envelope(samples: NDArray[np.float32], width: int, envelope: NDArray[np.float32]) -> None:
    """Take the largest magnitude of each stretch of samples.

    Parameters
    ----------
    samples : float32 (n,)
    width : int
        Samples of a stretch.
    envelope : float32 (n // width,)
        Filled; what is left at the end is not looked at.
    """
    for stretch in range(envelope.size):
        envelope[stretch] = _largest(samples[stretch * width : (stretch + 1) * width])
