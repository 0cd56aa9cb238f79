"""Windows of samples become codes, level and activity: the fast path.

In: blocks of windows as float32. Out: :class:`Spectra`. It computes what
:mod:`dawnchorus.spectrograms.mel` defines, several thousand times faster than real time on one core:

- the Fourier transform reads the overlapping frames where they lie, eight at a time, and leaves its
  result in the cache with the frames last (``fourier``; where ``n_fft`` is no power of two,
  ``scipy.fft``, a window at a time);
- the Hann window is applied to the spectrum, to the bins that are needed;
- each bin adds to the two triangles it lies under, instead of a dense matrix product;
- logarithm, rounding and clipping are one loop without a call.

No BLAS takes part, every transform has the same shape whatever the block, and nothing depends on the
number of threads; an instance may be used by several threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dawnchorus.config import Spectrogram
from dawnchorus.recordings.look import FULL_SCALE
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.activity import activity
from dawnchorus.spectrograms.fourier import (
    band_powers_of_window,
    spectra_of_window,
    transformable,
    twiddles,
)
from dawnchorus.spectrograms.index_kernels import fill_amplitudes
from dawnchorus.spectrograms.kernels import LOG2_COEFFICIENTS, band_powers, encode, moments
from dawnchorus.spectrograms.lanes import LANES

LEVEL_FLOOR_DB = -200.0
"""Level of digital silence; the softest 16-bit window that is not silent has -139 dB."""
TRANSFORM_SAMPLES = 1 << 18
"""Samples transformed at once: a window of 256 frames of 1024; larger spectra would leave the cache."""
LOUDEST = 1e6
"""What broken float samples are limited to (2 ** 23 is where 24-bit integers kept as floats end)."""


@dataclass(frozen=True)
class Spectra:
    """What is kept of a block of windows.

    Attributes
    ----------
    codes : uint8 (n, mels, frames)
    level : float32 (n,)
        Mean square of the whole window in dB relative to a full-scale sine.
    activity : float32 (n,)
        See :mod:`dawnchorus.spectrograms.activity`.
    clipped_low, clipped_high : int
        Cells that lay below code 0 and above code 255.
    broken : int
        Windows with samples that are not finite (or absurd); these counted as zero (were limited).
    mean : float64 (n,)
        Of the samples: the constant offset.
    peak : float32 (n,)
        Largest magnitude; full scale is 1.
    at_full_scale : int64 (n,)
        Samples at or beyond full scale.
    """

    codes: NDArray[np.uint8]
    level: NDArray[np.float32]
    activity: NDArray[np.float32]
    clipped_low: int
    clipped_high: int
    broken: int
    mean: NDArray[np.float64]
    peak: NDArray[np.float32]
    at_full_scale: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)


class Spectrograph:
    """Computes spectra with the parameters of the settings.

    Parameters
    ----------
    spectrogram : Spectrogram
    sample_rate : int, optional
        Hertz of the samples; default: the configured rate. See :class:`~dawnchorus.spectrograms.mel.Framing`.
    """

    def __init__(self, spectrogram: Spectrogram, sample_rate: int | None = None) -> None:
        self.settings = spectrogram
        self.framing = mel.Framing.of(spectrogram, sample_rate)
        corner, frequency = mel.corners(spectrogram), self.framing.bin_frequencies
        # A bin on the first or last corner has no weight, so bin 0 is never used. The Nyquist bin would
        # be where a recording's own rate is kept and ends below the bands: it has half a bin's width.
        inside = (frequency > corner[0]) & (frequency < corner[-1])
        used = np.flatnonzero(inside[:-1])
        self._first_bin = int(used[0]) if len(used) else 1
        segment = np.searchsorted(corner, frequency[used], side="right") - 1
        rising = (frequency[used] - corner[segment]) / (corner[segment + 1] - corner[segment])
        self._segment = segment.astype(np.int32)
        self._rising = rising.astype(np.float32)
        self._falling = (1.0 - rising).astype(np.float32)
        coding = mel.Codes.of(spectrogram)
        n_fft = self.framing.n_fft
        self._codes_per_octave = np.float32(10.0 * np.log10(2.0) / coding.step)
        scale_db = 10.0 * np.log10(mel.power_scale(n_fft))
        self._code_of_one = np.float32((scale_db - coding.minimum) / coding.step)
        is_even = self.framing.hop is not None and transformable(n_fft)
        self._circle = twiddles(n_fft) if is_even else None
        self._group = max(1, min(spectrogram.frames, TRANSFORM_SAMPLES // n_fft))

    def __call__(self, samples: NDArray[np.float32]) -> Spectra:
        """Compute a block.

        Parameters
        ----------
        samples : float32 (n, framing.window_samples)
            At ``framing.sample_rate``; full scale is 1.0.

        Raises
        ------
        ValueError
            If the shape or type is another.
        """
        return self._compute(samples, None)

    def with_amplitudes(
        self, samples: NDArray[np.float32]
    ) -> tuple[Spectra, NDArray[np.float32], NDArray[np.float32]]:
        """Compute a block, and hand out the amplitudes of its frames from the same transforms.

        Parameters
        ----------
        samples : float32 (n, framing.window_samples)

        Returns
        -------
        spectra : Spectra
            The same as without.
        amplitudes : float32 (n_fft / 2 + 1, n * frames)
            Square root of the power at all bins; see
            :func:`dawnchorus.spectrograms.index_kernels.fill_amplitudes`.
        samples : float32 (n, framing.window_samples)
            As they were taken: finite.
        """
        width = len(samples) * self.settings.frames
        amplitudes = np.empty((self.framing.n_fft // 2 + 1, width), np.float32)
        spectra = self._compute(samples, amplitudes)
        return spectra, amplitudes, _mended(samples) if spectra.broken else samples

    def _compute(
        self, samples: NDArray[np.float32], amplitudes: NDArray[np.float32] | None
    ) -> Spectra:
        settings = self.settings
        length = self.framing.window_samples
        if samples.dtype != np.float32 or samples.shape[1:] != (length,):
            raise ValueError(f"needs float32 (n, {length}), got {samples.dtype} {samples.shape}")
        count = len(samples)
        codes = np.empty((count, settings.mels, settings.frames), np.uint8)
        level, active = np.empty(count, np.float32), np.empty(count, np.float32)
        mean, peak = np.empty(count, np.float64), np.empty(count, np.float32)
        full = np.zeros(count, np.int64)
        low = high = broken = 0
        for window in range(count):
            sound = np.ascontiguousarray(samples[window])
            square, mean[window], peak[window] = moments(sound, sound.view(np.int32))
            if not np.isfinite(square):
                sound = _mended(sound)
                square, mean[window], peak[window] = moments(sound, sound.view(np.int32))
                broken += 1
            if peak[window] >= FULL_SCALE:
                full[window] = np.count_nonzero(np.abs(sound) >= FULL_SCALE)
            level[window] = level_db(square)
            if amplitudes is None:
                bands = self._bands(sound)
            else:
                start = window * settings.frames
                bands = self._bands_and_amplitudes(sound, amplitudes, start)
            window_low, window_high = self._encode(bands, codes[window])
            low += window_low
            high += window_high
            active[window] = activity(codes[window], settings.db_step)
        return Spectra(codes, level, active, low, high, broken, mean, peak, full)

    def _encode(self, bands: NDArray[np.float32], codes: NDArray[np.uint8]) -> tuple[int, int]:
        """Fill the codes of one window; return how many were clipped below and above."""
        return encode(
            bands,
            bands.view(np.int32),
            self._codes_per_octave,
            self._code_of_one,
            LOG2_COEFFICIENTS,
            codes,
        )

    def _bands_and_amplitudes(
        self, sound: NDArray[np.float32], amplitudes: NDArray[np.float32], start: int
    ) -> NDArray[np.float32]:
        """Return the band powers of one window, and fill its amplitudes from frame ``start`` on."""
        settings, n_fft = self.settings, self.framing.n_fft
        if self._circle is not None:
            spectrum = np.empty((n_fft // 2 + 1, 2 * settings.frames), np.float32)
            hop = self.framing.hop or 0
            spectra_of_window(sound, hop, settings.frames, self._circle, spectrum)
        else:
            frames = self.framing.frames_of(sound)
            spectrum = scipy.fft.rfft(frames.T, axis=0, workers=1).view(np.float32)
        bands = np.empty((settings.mels, settings.frames), np.float32)
        band_powers(spectrum, self._first_bin, self._segment, self._rising, self._falling, bands)
        fill_amplitudes(spectrum, mel.power_scale(n_fft), amplitudes, start)
        return bands

    def _bands(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the band powers of one window, (mels, at least frames)."""
        settings = self.settings
        triangles = self._first_bin, self._segment, self._rising, self._falling
        if self._circle is not None:
            width = -(-settings.frames // LANES) * LANES
            bands = np.empty((settings.mels, width), np.float32)
            hop = self.framing.hop or 0
            band_powers_of_window(sound, hop, settings.frames, self._circle, *triangles, bands)
            return bands
        bands = np.empty((settings.mels, settings.frames), np.float32)
        frames = self.framing.frames_of(sound)
        for start in range(0, settings.frames, self._group):
            group = frames[start : start + self._group]
            spectrum = scipy.fft.rfft(group.T, axis=0, workers=1).view(np.float32)
            part = np.empty((settings.mels, len(group)), np.float32)
            band_powers(spectrum, *triangles, part)
            bands[:, start : start + self._group] = part
        return bands


def level_db(mean_square_value: float) -> float:
    """Return a mean square in dB relative to a full-scale sine, at least :data:`LEVEL_FLOOR_DB`."""
    if mean_square_value <= 0.0:
        return LEVEL_FLOOR_DB
    return max(LEVEL_FLOOR_DB, 10.0 * float(np.log10(mean_square_value / mel.FULL_SCALE_POWER)))


def _mended(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    whole = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(whole, -LOUDEST, LOUDEST)
