"""What a band, a decibel and a code are: the definitions, in plain NumPy.

In: the settings of the spectrogram, samples with full scale 1.0. Out: mel edges in hertz, filters,
decibels as float64, and the way between decibels and uint8 codes. The fast path
(:mod:`dawnchorus.spectrograms.spectrograph`) computes the same and is tested against this.

A frame of N samples x, under the periodic Hann window w, has the one-sided power

    P[k] = 2 |X[k]|^2 / (N sum(w^2)),   X = DFT(w x),   P[0] and P[N/2] halved,

so that, after Parseval, the sum of P is the mean square of the frame (weighted by w^2). A band is the
sum of P under a triangle with peak 1; the triangles' centres are equally spaced in mel (HTK:
2595 log10(1 + f / 700), or in hertz on the linear scale) and neighbours sum to one between the first and
the last centre. Decibels are relative to the mean square of a full-scale sine (1/2): such a sine sums to 0 dB
over its bands.

Frames are neither centred nor padded: frame j covers the samples [j hop, j hop + N) of its window. Where
recordings of another rate are kept (``other_rates: keep``), N and hop last as long as at the configured rate:
N is rounded to an even number and the frames' starts to whole samples (:class:`Framing`); bands and decibels
are the same, and what lies above half of a recording's rate is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dawnchorus.config import Spectrogram

FULL_SCALE_POWER = 0.5
"""Mean square of a sine of amplitude 1: the reference of all decibels."""
TOP_CODE = 255


def mel_of(hertz: ArrayLike) -> NDArray[np.float64]:
    """Return HTK mel of a frequency in hertz (O'Shaughnessy 1987; Young et al., The HTK Book)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0), np.float64)


def hertz_of(mel: ArrayLike) -> NDArray[np.float64]:
    """Return the frequency in hertz of an HTK mel value."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0), np.float64)


def corners(spectrogram: Spectrogram) -> NDArray[np.float64]:
    """Return the corners of the triangles in hertz, ascending, shape (mels + 2,).

    Band m rises from corner m to its centre m + 1 and falls to corner m + 2.
    """
    if spectrogram.scale == "linear":
        return np.linspace(spectrogram.f_min, spectrogram.f_max, spectrogram.mels + 2)
    ends = mel_of([spectrogram.f_min, spectrogram.f_max])
    points = hertz_of(np.linspace(ends[0], ends[1], spectrogram.mels + 2))
    points[0], points[-1] = spectrogram.f_min, spectrogram.f_max
    return points


def filterbank(spectrogram: Spectrogram, framing: Framing | None = None) -> NDArray[np.float64]:
    """Return the triangles' weights at the bins, shape (mels, n_fft / 2 + 1).

    On the mel scale the same as ``librosa.filters.mel(htk=True, norm=None)``.
    """
    framing = framing or Framing.of(spectrogram)
    frequency, corner = framing.bin_frequencies, corners(spectrogram)
    low, centre, high = corner[:-2, None], corner[1:-1, None], corner[2:, None]
    rising = (frequency - low) / (centre - low)
    falling = (high - frequency) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def frame_times(spectrogram: Spectrogram) -> NDArray[np.float64]:
    """Return the middle of each frame in seconds from the window's start, shape (frames,)."""
    start = np.arange(spectrogram.frames) * spectrogram.hop_length
    return (start + spectrogram.n_fft / 2) / spectrogram.sample_rate


def hann(length: int) -> NDArray[np.float64]:
    """Return the periodic Hann window; the sum of its squares is 3/8 of its length."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)


def power_scale(n_fft: int) -> float:
    """Return what |X[k]|^2 is multiplied with to be P[k] relative to a full-scale sine."""
    return 2.0 / (n_fft * (3.0 / 8.0 * n_fft)) / FULL_SCALE_POWER


def band_names(scale: str) -> tuple[str, str, str, str]:
    """Return the names of the bands' dimension and of their centre, lower and upper end."""
    if scale == "linear":
        return "frequency", "frequency", "frequency_low", "frequency_high"
    return "mel", "mel_frequency", "mel_low", "mel_high"


@dataclass(frozen=True)
class Framing:
    """How the windows of recordings of one rate are cut into frames.

    Attributes
    ----------
    sample_rate : int
        Hertz.
    window_samples, n_fft : int
        Samples of a window and of a frame.
    starts : ndarray of int64 (frames,)
        First sample of each frame in its window.
    """

    sample_rate: int
    window_samples: int
    n_fft: int
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, spectrogram: Spectrogram, sample_rate: int | None = None) -> Framing:
        """Return the framing at a rate; None: the configured one."""
        configured = spectrogram.sample_rate
        steps = np.arange(spectrogram.frames, dtype=np.int64) * spectrogram.hop_length
        if sample_rate in (None, configured):
            return cls(configured, spectrogram.window_samples, spectrogram.n_fft, steps)
        length = round(spectrogram.window_seconds * sample_rate)
        n_fft = max(2, 2 * round(spectrogram.n_fft * sample_rate / (2 * configured)))
        starts = (2 * steps * sample_rate + configured) // (2 * configured)
        return cls(sample_rate, length, n_fft, np.clip(starts, 0, length - n_fft))

    @property
    def hop(self) -> int | None:
        """Samples from each frame to the next; None if they are not all the same."""
        steps = np.diff(self.starts)
        return int(steps[0]) if len(steps) and (steps == steps[0]).all() else None

    @property
    def bin_frequencies(self) -> NDArray[np.float64]:
        """Frequencies of the bins in hertz, shape (n_fft / 2 + 1,)."""
        bins = np.arange(self.n_fft // 2 + 1, dtype=np.float64)
        return bins * (self.sample_rate / self.n_fft)

    def frames_of(self, samples: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the overlapping frames of windows (..., window_samples): (..., frames, n_fft)."""
        views = np.lib.stride_tricks.sliding_window_view(samples, self.n_fft, axis=-1)
        if self.hop is not None:
            return views[..., :: self.hop, :][..., : len(self.starts), :]
        return views[..., self.starts, :]


def decibels(
    samples: NDArray[np.floating], spectrogram: Spectrogram, sample_rate: int | None = None
) -> NDArray[np.float64]:
    """Return mel decibels by the definition, without the limits and steps of the codes.

    Parameters
    ----------
    samples : ndarray, shape (n, samples of a window)
        Windows; full scale is 1.0.
    spectrogram : Spectrogram
    sample_rate : int, optional
        Hertz of the samples; default: the configured rate.

    Returns
    -------
    ndarray, shape (n, mels, frames)
        dB relative to a full-scale sine; ``-inf`` where there is no power at all.
    """
    framing = Framing.of(spectrogram, sample_rate)
    n_fft = framing.n_fft
    weights = filterbank(spectrogram, framing)
    weights[:, [0, -1]] *= 0.5
    levels = np.empty((len(samples), spectrogram.mels, spectrogram.frames))
    for window, of_window in enumerate(np.asarray(samples, np.float64)):
        frames = framing.frames_of(of_window)
        power = np.abs(np.fft.rfft(frames * hann(n_fft), axis=1)) ** 2 * power_scale(n_fft)
        with np.errstate(divide="ignore"):
            levels[window] = 10.0 * np.log10(weights @ power.T)
    return levels


@dataclass(frozen=True)
class Codes:
    """The way between decibels and codes: dB = code * step + minimum (CF packing).

    Parameters
    ----------
    minimum : float
        Decibels of code 0 (CF ``add_offset``).
    step : float
        Decibels per code (CF ``scale_factor``).
    """

    minimum: float
    step: float

    @classmethod
    def of(cls, spectrogram: Spectrogram) -> Codes:
        """Return the coding of the settings."""
        return cls(spectrogram.db_min, spectrogram.db_step)

    @property
    def maximum(self) -> float:
        """Decibels of the highest code."""
        return self.minimum + TOP_CODE * self.step

    def encode(self, levels: ArrayLike) -> NDArray[np.uint8]:
        """Return the nearest code of each level in dB; what lies outside is clipped, never wrapped.

        ``-inf`` is code 0, ``inf`` the highest.

        Raises
        ------
        ValueError
            If a level is NaN.
        """
        with np.errstate(over="ignore"):
            scaled = (np.asarray(levels, np.float64) - self.minimum) / self.step
        if np.isnan(scaled).any():
            raise ValueError("a level is not a number")
        return np.floor(np.clip(scaled, 0, TOP_CODE) + 0.5).astype(np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return dB, shape of ``codes``."""
        table = np.arange(TOP_CODE + 1) * self.step + self.minimum
        return table.astype(np.float32)[codes]
