"""The Fourier transform of eight frames at a time, and the power in the mel bands.

In: a window of samples. Out: its band powers, frames last. ``scipy.fft`` is as good an algorithm, but
what is distributed of it treats four numbers at a time, and its result for a whole window does not fit
into a core's cache; here the spectra of eight frames are made, used and forgotten in 64 KiB.

The transform of n = 4 m samples is put together from those of the four quarters' every fourth samples
(decimation in time, real numbers throughout), again and again; a step by two comes last where n is
no power of four. It adds and multiplies in the order of FFTPACK (Swarztrauber 1982), as ``scipy.fft``
does: the spectra are equal bit by bit. A spectrum of length n is kept as n real rows: the constant,
then real and imaginary parts of the other bins, then the Nyquist bin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dawnchorus.spectrograms.kernels import compiled
from dawnchorus.spectrograms.lanes import LANES, all_of, load, store, store_transposed

_HALF_ROOT = np.float32(np.sqrt(0.5))


def transformable(n_fft: int) -> bool:
    """Say whether :func:`band_powers_of_window` can do it: powers of two."""
    return n_fft >= LANES and n_fft & (n_fft - 1) == 0


def twiddles(n_fft: int) -> NDArray[np.float32]:
    """Return cosine and sine of all whole parts of the circle, float32 (n_fft, 2)."""
    angle = 2.0 * np.pi * np.arange(n_fft) / n_fft
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@compiled
def _by_four(
    parts: NDArray[np.float32],
    whole: NDArray[np.float32],
    size: int,
    count: int,
    circle: NDArray[np.float32],
) -> None:
    """Make ``count`` transforms of 4 ``size`` samples out of four of ``size`` each.

    Parameters
    ----------
    parts : float32 (4 * count * size * LANES,)
        Spectrum p of transform k begins at row (p * count + k) * size.
    whole : float32, as long
        Filled; transform k begins at row k * 4 * size.
    size, count : int
    circle : float32 (n, 2)
        :func:`twiddles`, n a multiple of 4 * size.
    """
    step = len(circle) // (4 * size)
    row, part = LANES, LANES * count * size
    root, minus_root = all_of(_HALF_ROOT), all_of(-_HALF_ROOT)
    for k in range(count):
        at, to = LANES * k * size, LANES * k * 4 * size
        # The constants of the parts.
        a, b = load(parts, at), load(parts, at + part)
        c, d = load(parts, at + 2 * part), load(parts, at + 3 * part)
        odd, even = d + b, a + c
        store(whole, to, even + odd)
        store(whole, to + (2 * size - 1) * row, a - c)
        store(whole, to + 2 * size * row, d - b)
        store(whole, to + (4 * size - 1) * row, even - odd)
        if size == 1:
            continue
        for i in range(1, size // 2):
            here = at + (2 * i - 1) * row
            w1, w2, w3 = i * step, 2 * i * step, 3 * i * step
            cosine, sine = all_of(circle[w1, 0]), all_of(circle[w1, 1])
            re, im = load(parts, here + part), load(parts, here + part + row)
            b_re, b_im = cosine * re + sine * im, cosine * im - sine * re
            cosine, sine = all_of(circle[w2, 0]), all_of(circle[w2, 1])
            re, im = load(parts, here + 2 * part), load(parts, here + 2 * part + row)
            c_re, c_im = cosine * re + sine * im, cosine * im - sine * re
            cosine, sine = all_of(circle[w3, 0]), all_of(circle[w3, 1])
            re, im = load(parts, here + 3 * part), load(parts, here + 3 * part + row)
            d_re, d_im = cosine * re + sine * im, cosine * im - sine * re
            a_re, a_im = load(parts, here), load(parts, here + row)
            odd_re, turned_im = d_re + b_re, d_re - b_re
            odd_im, turned_re = b_im + d_im, b_im - d_im
            even_re, rest_re = a_re + c_re, a_re - c_re
            even_im, rest_im = a_im + c_im, a_im - c_im
            # Bins i, 2 size - i, i + size and size - i.
            up, down = to + (2 * i - 1) * row, to + (2 * (size - i) - 1) * row
            store(whole, up, even_re + odd_re)
            store(whole, up + row, odd_im + even_im)
            store(whole, down + 2 * size * row, even_re - odd_re)
            store(whole, down + (2 * size + 1) * row, odd_im - even_im)
            store(whole, up + 2 * size * row, rest_re + turned_re)
            store(whole, up + (2 * size + 1) * row, turned_im + rest_im)
            store(whole, down, rest_re - turned_re)
            store(whole, down + row, turned_im - rest_im)
        # The Nyquist bins of the parts, an eighth of a turn on.
        last = at + (size - 1) * row
        a, b = load(parts, last), load(parts, last + part)
        c, d = load(parts, last + 2 * part), load(parts, last + 3 * part)
        im, re = minus_root * (b + d), root * (b - d)
        store(whole, to + (size - 1) * row, a + re)
        store(whole, to + size * row, im - c)
        store(whole, to + (3 * size - 1) * row, a - re)
        store(whole, to + 3 * size * row, im + c)


@compiled
def _by_two(
    parts: NDArray[np.float32], whole: NDArray[np.float32], circle: NDArray[np.float32]
) -> None:
    """Make one transform out of two of half its size; arrays as for :func:`_by_four`."""
    size, row = len(circle) // 2, LANES
    part, minus = size * row, all_of(np.float32(-1))
    a, b = load(parts, 0), load(parts, part)
    store(whole, 0, a + b)
    store(whole, (2 * size - 1) * row, a - b)
    for i in range(1, size // 2):
        here, down = (2 * i - 1) * row, (2 * (size - i) - 1) * row
        cosine, sine = all_of(circle[i, 0]), all_of(circle[i, 1])
        re, im = load(parts, here + part), load(parts, here + part + row)
        b_re, b_im = cosine * re + sine * im, cosine * im - sine * re
        a_re, a_im = load(parts, here), load(parts, here + row)
        store(whole, here, a_re + b_re)
        store(whole, here + row, b_im + a_im)
        store(whole, down, a_re - b_re)
        store(whole, down + row, b_im - a_im)
    store(whole, (size - 1) * row, load(parts, (size - 1) * row))
    store(whole, size * row, minus * load(parts, (2 * size - 1) * row))


@compiled
def _transform(
    frames: NDArray[np.float32], spare: NDArray[np.float32], circle: NDArray[np.float32]
) -> bool:
    """Transform eight frames, sample by sample; tell whether the spectra are in ``spare``."""
    n_fft, size, swapped = len(circle), 1, False
    while 4 * size <= n_fft:
        parts, whole = (spare, frames) if swapped else (frames, spare)
        _by_four(parts, whole, size, n_fft // (4 * size), circle)
        size, swapped = 4 * size, not swapped
    if size < n_fft:
        parts, whole = (spare, frames) if swapped else (frames, spare)
        _by_two(parts, whole, circle)
        swapped = not swapped
    return swapped


@compiled
def _transform_from(
    samples: NDArray[np.float32],
    first: int,
    last: int,
    hop: int,
    frames: NDArray[np.float32],
    spare: NDArray[np.float32],
    circle: NDArray[np.float32],
) -> bool:
    """Transform the eight frames of a window from ``first`` on; behind the ``last``, that one again.

    ``frames`` and ``spare`` hold ``n_fft * LANES`` numbers; see :func:`_transform`.
    """
    starts = (
        first * hop,
        min(first + 1, last) * hop,
        min(first + 2, last) * hop,
        min(first + 3, last) * hop,
        min(first + 4, last) * hop,
        min(first + 5, last) * hop,
        min(first + 6, last) * hop,
        min(first + 7, last) * hop,
    )
    for column in range(0, len(circle), LANES):
        store_transposed(samples, starts, column, frames, column * LANES)
    return _transform(frames, spare, circle)


@compiled
def _under_triangles(
    spectrum: NDArray[np.float32],
    first_bin: int,
    segment: NDArray[np.int32],
    rising: NDArray[np.float32],
    falling: NDArray[np.float32],
    bands: NDArray[np.float32],
    mels: int,
    stride: int,
    column: int,
) -> None:
    """Sum the power of eight spectra, Hann window applied, under each triangle.

    See :func:`dawnchorus.spectrograms.kernels.band_powers`; the sums have the same order.
    """
    half, quarter = all_of(np.float32(0.5)), all_of(np.float32(0.25))
    zero = all_of(np.float32(0))
    row = LANES
    rows = len(spectrum) // LANES
    below_im = zero
    if first_bin == 1:
        below_re = load(spectrum, 0)
    else:
        below_re = load(spectrum, (2 * first_bin - 3) * row)
        below_im = load(spectrum, (2 * first_bin - 2) * row)
    re = load(spectrum, (2 * first_bin - 1) * row)
    im = load(spectrum, 2 * first_bin * row)
    # A bin rises in its segment's band and falls in the one before; a band is whole two segments on.
    up, down = zero, zero
    current = 0
    for used in range(len(segment)):
        above = 2 * (first_bin + used + 1) - 1
        above_re, above_im = load(spectrum, above * row), zero
        if above + 1 < rows:
            above_im = load(spectrum, (above + 1) * row)
        while current < segment[used]:
            if current > 0:
                store(bands, (current - 1) * stride + column, down)
            up, down = zero, up
            current += 1
        y_re = half * re - quarter * (below_re + above_re)
        y_im = half * im - quarter * (below_im + above_im)
        power = y_re * y_re + y_im * y_im
        up = up + all_of(rising[used]) * power
        down = down + all_of(falling[used]) * power
        below_re, below_im, re, im = re, im, above_re, above_im
    while current <= mels:
        if current > 0:
            store(bands, (current - 1) * stride + column, down)
        up, down = zero, up
        current += 1


@compiled
def band_powers_of_window(
    samples: NDArray[np.float32],
    hop: int,
    frames: int,
    circle: NDArray[np.float32],
    first_bin: int,
    segment: NDArray[np.int32],
    rising: NDArray[np.float32],
    falling: NDArray[np.float32],
    bands: NDArray[np.float32],
) -> None:
    """Turn a window into power under each triangle and the Hann window.

    Parameters
    ----------
    samples : float32 (window_samples,)
    hop, frames : int
        Samples from a frame to the next, and how many frames.
    circle : float32 (n_fft, 2)
        :func:`twiddles`.
    first_bin : int
    segment : int32 (used bins,)
    rising, falling : float32 (used bins,)
        As :func:`dawnchorus.spectrograms.kernels.band_powers` takes them.
    bands : float32 (mels, at least frames, rounded up to a multiple of LANES)
        Filled; columns behind the last frame repeat it.
    """
    n_fft = len(circle)
    mels, stride = bands.shape
    flat = bands.reshape(mels * stride)
    one, other = np.empty(n_fft * LANES, np.float32), np.empty(n_fft * LANES, np.float32)
    for first in range(0, frames, LANES):
        swapped = _transform_from(samples, first, frames - 1, hop, one, other, circle)
        spectrum = other if swapped else one
        _under_triangles(spectrum, first_bin, segment, rising, falling, flat, mels, stride, first)


@compiled
def spectra_of_window(
    samples: NDArray[np.float32],
    hop: int,
    frames: int,
    circle: NDArray[np.float32],
    spectrum: NDArray[np.float32],
) -> None:
    """Transform the frames of a window, where their spectra are wanted themselves.

    Parameters
    ----------
    samples, hop, frames, circle
        As :func:`band_powers_of_window` takes them.
    spectrum : float32 (n_fft / 2 + 1, 2 * frames)
        Filled with real and imaginary parts side by side, frames last.
    """
    n_fft = len(circle)
    one, other = np.empty(n_fft * LANES, np.float32), np.empty(n_fft * LANES, np.float32)
    for first in range(0, frames, LANES):
        swapped = _transform_from(samples, first, frames - 1, hop, one, other, circle)
        rows = other if swapped else one
        for lane in range(min(LANES, frames - first)):
            re = 2 * (first + lane)
            spectrum[0, re], spectrum[0, re + 1] = rows[lane], np.float32(0)
            for k in range(1, n_fft // 2):
                spectrum[k, re] = rows[(2 * k - 1) * LANES + lane]
                spectrum[k, re + 1] = rows[2 * k * LANES + lane]
            spectrum[n_fft // 2, re] = rows[(n_fft - 1) * LANES + lane]
            spectrum[n_fft // 2, re + 1] = np.float32(0)
