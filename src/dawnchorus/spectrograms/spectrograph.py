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
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.activity import activity
from dawnchorus.spectrograms.fourier import band_powers_of_window, transformable, twiddles
from dawnchorus.spectrograms.kernels import LOG2_COEFFICIENTS, band_powers, encode, mean_square
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
    """

    codes: NDArray[np.uint8]
    level: NDArray[np.float32]
    activity: NDArray[np.float32]
    clipped_low: int
    clipped_high: int
    broken: int

    def __len__(self) -> int:
        return len(self.codes)


class Spectrograph:
    """Computes spectra with the parameters of the settings.

    Parameters
    ----------
    spectrogram : Spectrogram
    """

    def __init__(self, spectrogram: Spectrogram) -> None:
        self.settings = spectrogram
        corner, frequency = mel.corners(spectrogram), mel.bin_frequencies(spectrogram)
        # A bin on the first or last corner has no weight, so neither bin 0 nor the Nyquist bin is used.
        used = np.flatnonzero((frequency > corner[0]) & (frequency < corner[-1]))
        self._first_bin = int(used[0]) if len(used) else 1
        segment = np.searchsorted(corner, frequency[used], side="right") - 1
        rising = (frequency[used] - corner[segment]) / (corner[segment + 1] - corner[segment])
        self._segment = segment.astype(np.int32)
        self._rising = rising.astype(np.float32)
        self._falling = (1.0 - rising).astype(np.float32)
        coding = mel.Codes.of(spectrogram)
        self._codes_per_octave = np.float32(10.0 * np.log10(2.0) / coding.step)
        scale_db = 10.0 * np.log10(mel.power_scale(spectrogram.n_fft))
        self._code_of_one = np.float32((scale_db - coding.minimum) / coding.step)
        self._circle = twiddles(spectrogram.n_fft) if transformable(spectrogram.n_fft) else None
        self._group = max(1, min(spectrogram.frames, TRANSFORM_SAMPLES // spectrogram.n_fft))

    def __call__(self, samples: NDArray[np.float32]) -> Spectra:
        """Compute a block.

        Parameters
        ----------
        samples : float32 (n, window_samples)
            At ``settings.sample_rate``; full scale is 1.0.

        Raises
        ------
        ValueError
            If the shape or type is another.
        """
        settings = self.settings
        if samples.dtype != np.float32 or samples.shape[1:] != (settings.window_samples,):
            raise ValueError(
                f"needs float32 (n, {settings.window_samples}), got {samples.dtype} {samples.shape}"
            )
        count = len(samples)
        codes = np.empty((count, settings.mels, settings.frames), np.uint8)
        level, active = np.empty(count, np.float32), np.empty(count, np.float32)
        low = high = broken = 0
        for window in range(count):
            sound = np.ascontiguousarray(samples[window])
            square = mean_square(sound)
            if not np.isfinite(square):
                sound = _mended(sound)
                square = mean_square(sound)
                broken += 1
            level[window] = level_db(square)
            window_low, window_high = self._encode(sound, codes[window])
            low += window_low
            high += window_high
            active[window] = activity(codes[window], settings.db_step)
        return Spectra(codes, level, active, low, high, broken)

    def _encode(self, sound: NDArray[np.float32], codes: NDArray[np.uint8]) -> tuple[int, int]:
        """Fill the codes of one window; return how many were clipped below and above."""
        bands = self._bands(sound)
        return encode(
            bands,
            bands.view(np.int32),
            self._codes_per_octave,
            self._code_of_one,
            LOG2_COEFFICIENTS,
            codes,
        )

    def _bands(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the band powers of one window, (mels, at least frames)."""
        settings = self.settings
        triangles = self._first_bin, self._segment, self._rising, self._falling
        if self._circle is not None:
            width = -(-settings.frames // LANES) * LANES
            bands = np.empty((settings.mels, width), np.float32)
            band_powers_of_window(
                sound, settings.hop_length, settings.frames, self._circle, *triangles, bands
            )
            return bands
        bands = np.empty((settings.mels, settings.frames), np.float32)
        views = np.lib.stride_tricks.sliding_window_view(sound, settings.n_fft)
        frames = views[:: settings.hop_length][: settings.frames]
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
