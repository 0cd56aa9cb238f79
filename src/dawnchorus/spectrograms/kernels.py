"""The compiled inner loops of the spectrograph.

In: arrays whose last axis is the frame, so that one instruction treats eight frames. Out: arrays, in
place. No sum is reassociated (no ``fastmath``), so a result does not depend on how it was vectorised.

Numba compiles them at the first call and keeps the machine code beside this file (or in the user's
cache folder). They let go of the interpreter lock, so threads run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from dawnchorus.spectrograms.lanes import LANES, all_of, load, store

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_AT_ONCE = 4 * LANES
_STRIDE = 4096

LOG2_COEFFICIENTS = (
    np.polynomial.Chebyshev.interpolate(np.log2, 7, domain=[1, 2])
    .convert(kind=np.polynomial.Polynomial)
    .coef.astype(np.float32)
)
"""Polynomial of degree 7 for log2 on [1, 2]; off by less than 4e-7, that is 1.2e-6 dB."""


def compiled(function: Kernel) -> Kernel:
    """Compile with Numba; keep the machine code on disk where a place for it can be written."""
    try:
        return cast(Kernel, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return cast(Kernel, numba.njit(nogil=True)(function))


@compiled
def band_powers(
    spectrum: NDArray[np.float32],
    first_bin: int,
    segment: NDArray[np.int32],
    rising: NDArray[np.float32],
    falling: NDArray[np.float32],
    bands: NDArray[np.float32],
) -> None:
    """Turn the spectrum of unwindowed frames into power under each triangle and the Hann window.

    The periodic Hann window is a convolution of three bins, Y[k] = X[k]/2 - (X[k-1] + X[k+1])/4, so
    the frames need not be copied and multiplied before the Fourier transform.

    Parameters
    ----------
    spectrum : float32 (bins, 2 * frames)
        Real and imaginary parts side by side, frames last.
    first_bin : int
        The first bin inside a triangle; at least 1, and the last one at most bins - 2.
    segment : int32 (used bins,)
        Between which corners the bin lies: it rises in band ``segment`` and falls in the one before.
    rising, falling : float32 (used bins,)
        Weights of the bin in the two bands.
    bands : float32 (mels, frames)
        Filled with the sums of |Y|^2 times weight.
    """
    mels, frames = bands.shape
    half, quarter = np.float32(0.5), np.float32(0.25)
    power = np.empty(frames, np.float32)
    bands[:] = np.float32(0)
    for used in range(segment.size):
        below = spectrum[first_bin + used - 1]
        here = spectrum[first_bin + used]
        above = spectrum[first_bin + used + 1]
        for j in range(frames):
            re = half * here[2 * j] - quarter * (below[2 * j] + above[2 * j])
            im = half * here[2 * j + 1] - quarter * (below[2 * j + 1] + above[2 * j + 1])
            power[j] = re * re + im * im
        band = segment[used]
        if band < mels:
            weight, row = rising[used], bands[band]
            for j in range(frames):
                row[j] += weight * power[j]
        if band > 0:
            weight, row = falling[used], bands[band - 1]
            for j in range(frames):
                row[j] += weight * power[j]


@compiled
def encode(
    bands: NDArray[np.float32],
    bits: NDArray[np.int32],
    codes_per_octave: np.float32,
    code_of_one: np.float32,
    polynomial: NDArray[np.float32],
    codes: NDArray[np.uint8],
) -> tuple[int, int]:
    """Turn band powers into codes: round(code_of_one + codes_per_octave * log2(power)), clipped.

    log2 is the float's exponent plus a polynomial of its mantissa. Zero counts as 2^-127 and infinity
    and NaN as more than 2^128, so every bit pattern has a code and none wraps.

    Parameters
    ----------
    bands : float32 (mels, at least frames)
    bits : int32, as large
        The same memory as ``bands``.
    codes_per_octave, code_of_one : float
        Codes per doubling of the power, and the (fractional) code of power 1.
    polynomial : float32 (8,)
        :data:`LOG2_COEFFICIENTS`.
    codes : uint8 (mels, frames)
        Filled.

    Returns
    -------
    tuple of int
        How many lay so low, and so high, that they were clipped.
    """
    mels, frames = codes.shape
    c0, c1, c2, c3 = polynomial[0], polynomial[1], polynomial[2], polynomial[3]
    c4, c5, c6, c7 = polynomial[4], polynomial[5], polynomial[6], polynomial[7]
    magnitude_mask, mantissa_mask = np.int32(0x7FFFFFFF), np.int32(0x007FFFFF)
    one_bits, bias, mantissa_bits = np.int32(0x3F800000), np.int32(127), np.int32(23)
    zero, limit = np.float32(0), np.float32(256)
    rounding = code_of_one + np.float32(0.5)
    mantissa_of = np.empty(frames, np.int32)
    mantissa = mantissa_of.view(np.float32)
    exponent = np.empty(frames, np.float32)
    whole = np.empty(frames, np.int32)
    # Counted frame by frame, as wide as the values: one running sum would halve the pace.
    low, high = np.zeros(frames, np.int32), np.zeros(frames, np.int32)
    for band in range(mels):
        for j in range(frames):
            pattern = bits[band, j] & magnitude_mask
            exponent[j] = np.float32((pattern >> mantissa_bits) - bias)
            mantissa_of[j] = (pattern & mantissa_mask) | one_bits
        for j in range(frames):
            x = mantissa[j]
            log2 = exponent[j] + (
                c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * (c5 + x * (c6 + x * c7))))))
            )
            value = log2 * codes_per_octave + rounding
            low[j] += np.int32(value < zero)
            high[j] += np.int32(value >= limit)
            value = zero if value < zero else value
            value = limit if value > limit else value
            whole[j] = min(np.int32(value), np.int32(255))
        for j in range(frames):
            codes[band, j] = np.uint8(whole[j])
    return low.sum(), high.sum()


@compiled
def moments(samples: NDArray[np.float32], bits: NDArray[np.int32]) -> tuple[float, float, float]:
    """Return mean square, mean and largest magnitude of a window.

    Sums are float32 within stretches of 4096 samples and float64 over them.

    Parameters
    ----------
    samples : float32 (n,)
    bits : int32 (n,)
        The same memory: magnitudes are compared as integers, which is as wide as adding.
    """
    squares, total = 0.0, 0.0
    size = samples.size
    whole = size - size % _AT_ONCE
    zero = all_of(np.float32(0))
    sums = np.empty(2 * _AT_ONCE, np.float32)
    largest = np.int32(0)
    for start in range(0, whole, _STRIDE):
        stop = min(start + _STRIDE, whole)
        a, b, c, d = zero, zero, zero, zero
        e, f, g, h = zero, zero, zero, zero
        for at in range(start, stop, _AT_ONCE):
            w, x = load(samples, at), load(samples, at + LANES)
            y, z = load(samples, at + 2 * LANES), load(samples, at + 3 * LANES)
            a, b, c, d = a + w * w, b + x * x, c + y * y, d + z * z
            e, f, g, h = e + w, f + x, g + y, h + z
        store(sums, 0, a)
        store(sums, LANES, b)
        store(sums, 2 * LANES, c)
        store(sums, 3 * LANES, d)
        store(sums, 4 * LANES, e)
        store(sums, 5 * LANES, f)
        store(sums, 6 * LANES, g)
        store(sums, 7 * LANES, h)
        for number in sums[:_AT_ONCE]:
            squares += np.float64(number)
        for number in sums[_AT_ONCE:]:
            total += np.float64(number)
        for at in range(start, stop):
            largest = max(largest, bits[at] & np.int32(0x7FFFFFFF))
    for at in range(whole, size):
        squares += np.float64(samples[at]) * np.float64(samples[at])
        total += np.float64(samples[at])
        largest = max(largest, bits[at] & np.int32(0x7FFFFFFF))
    last = np.empty(1, np.int32)
    last[0] = largest
    return squares / size, total / size, np.float64(last.view(np.float32)[0])


def mean_square(samples: NDArray[np.float32]) -> float:
    """Return the mean of the squares of contiguous float32 samples; see :func:`moments`."""
    return moments(samples, samples.view(np.int32))[0]
