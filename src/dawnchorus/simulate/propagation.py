"""From the bird's beak to the file: distance, leaves, echo, microphone.

In: a song as sung and its distance. Out: the song as recorded, and the box in time and frequency
that holds 99 % of its energy each way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dawnchorus.simulate.plan import SAMPLE_RATE
from dawnchorus.simulate.recorders import Recorder

SIZES = (2**15, 3 * 2**14, 2**16, 3 * 2**15, 2**17, 5 * 2**15)
"""Lengths of transform that songs are filled up to: few, so that filters are computed once each."""
TAIL_SAMPLES = round(0.25 * SAMPLE_RATE)
"""Room for the echo behind a song."""
LONGEST_SAMPLES = SIZES[-1]
"""Longest song with its echo: 3.7 s."""
OUTSIDE = 0.005
"""Share of the energy left out at either end of a box, in time and in frequency."""
TIME_MARGIN_S, BAND_MARGIN_HZ = 0.01, 50.0
NEAR_M = 10.0
"""Distance at which a species' level is given."""


@dataclass(frozen=True)
class Arrival:
    """A song as it is in the file.

    Parameters
    ----------
    samples : ndarray of float32
        Full scale 1.
    start_s, end_s : float
        Where in ``samples`` it is, seconds.
    low_hz, high_hz : float
        Where it is in frequency.
    """

    samples: NDArray[np.float32]
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float


def band_power(
    samples: NDArray[np.float32], low_hz: float, high_hz: float, rate: int = SAMPLE_RATE
) -> NDArray[np.float64]:
    """Return the mean square of ``samples`` (along the last axis) between two frequencies.

    Parseval's sum over the bins of one transform, no taper: the box's edges cut the sound as they
    would cut it by ear.
    """
    count = samples.shape[-1]
    size = scipy.fft.next_fast_len(count, real=True)
    first = int(np.ceil(low_hz * size / rate))
    last = int(np.floor(high_hz * size / rate)) + 1
    bins = scipy.fft.rfft(samples, size)[..., first : max(last, first + 1)]
    power = bins.real.astype(np.float64) ** 2
    power += bins.imag.astype(np.float64) ** 2
    return 2 * power.sum(axis=-1) / size / count


def signal_to_noise_db(
    song: NDArray[np.float32],
    background: NDArray[np.float32],
    low_hz: float,
    high_hz: float,
    rate: int = SAMPLE_RATE,
) -> float:
    """Return the ratio of two sounds of equal length within a band, in decibels."""
    signal, noise = band_power(np.stack([song, background]), low_hz, high_hz, rate)
    return float(10 * np.log10(max(signal, 1e-20) / max(noise, 1e-20)))


def absorption_db_per_m(
    hertz: NDArray[np.float32], vegetation_db_per_m: float
) -> NDArray[np.float32]:
    """Return what a metre of air and leaves takes, beyond spherical spreading.

    Air: about 5, 9, 23 and 80 dB/km at 1, 2, 4 and 8 kHz (20 C, 50 % humidity, ISO 9613-1),
    approximated by a constant and a square; vegetation: growing with frequency ** 0.7.
    """
    kilohertz = hertz / np.float32(1000)
    air = 0.004 + 0.0012 * kilohertz**2
    return (air + vegetation_db_per_m * kilohertz**0.7).astype(np.float32)


class SoundPath:
    """The way from any bird to one recorder; holds the filters per transform length."""

    def __init__(self, recorder: Recorder, random: np.random.Generator) -> None:
        self.recorder = recorder
        habitat = recorder.habitat
        count = min(TAIL_SAMPLES, round(habitat.reverberation_s * SAMPLE_RATE))
        moments = np.arange(count) / SAMPLE_RATE
        echo = random.standard_normal(count) * np.exp(-6.9 * moments / habitat.reverberation_s)
        echo[: round(0.006 * SAMPLE_RATE)] = 0  # the first reflection comes from 2 m away
        self._echo = (echo / np.sqrt(np.sum(echo**2))).astype(np.float32)
        self._filters: dict[int, tuple[NDArray, NDArray, NDArray]] = {}

    def _filters_of(self, size: int) -> tuple[NDArray, NDArray, NDArray]:
        """Response and absorption (natural logarithms of amplitude), echo's spectrum."""
        if size not in self._filters:
            hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE).astype(np.float32)
            neper = np.float32(np.log(10) / 20)
            response = neper * (
                self.recorder.response_db(hertz) + np.float32(self.recorder.gain_db)
            )
            lost = neper * absorption_db_per_m(hertz, self.recorder.habitat.absorption)
            echo = scipy.fft.rfft(self._echo, size)
            self._filters[size] = (response.astype(np.float32), lost.astype(np.float32), echo)
        return self._filters[size]

    def arrive(self, song: NDArray[np.float32], level_db: float, distance_m: float) -> Arrival:
        """Return a song as the file holds it.

        Parameters
        ----------
        song : ndarray of float32
            As sung, RMS 1 over its notes.
        level_db : float
            Level at 10 m, dB re full scale (RMS 1) before the recorder's gain.
        distance_m : float
            From bird to recorder.
        """
        length = len(song) + TAIL_SAMPLES
        size = next(size for size in SIZES if size >= length)
        response, lost, echo = self._filters_of(size)
        spectrum = scipy.fft.rfft(song, size)
        spreading = np.log(10) / 20 * (level_db - 20 * np.log10(max(distance_m, 1.0) / NEAR_M))
        gain = response - np.float32(max(distance_m - NEAR_M, 0.0)) * lost
        gain += np.float32(spreading)
        np.exp(gain, out=gain)
        spectrum *= gain
        wet = 10 ** (self.recorder.habitat.echo_db / 20) * np.sqrt(distance_m / 100)
        spectrum += np.complex64(wet) * spectrum * echo
        samples = scipy.fft.irfft(spectrum, size)[:length]
        return boxed(samples, spectrum, size)


def boxed(
    samples: NDArray[np.float32],
    spectrum: NDArray[np.complex64] | None = None,
    size: int | None = None,
) -> Arrival:
    """Put the box around a sound that stands alone."""
    if spectrum is None or size is None:
        size = scipy.fft.next_fast_len(len(samples), real=True)
        spectrum = scipy.fft.rfft(samples, size)
    by_bin = np.cumsum(spectrum.real**2 + spectrum.imag**2, dtype=np.float64)
    by_sample = np.cumsum(samples * samples, dtype=np.float64)
    low, high = np.searchsorted(by_bin, by_bin[-1] * np.array([OUTSIDE, 1 - OUTSIDE]))
    start, end = np.searchsorted(by_sample, by_sample[-1] * np.array([OUTSIDE, 1 - OUTSIDE]))
    hertz_per_bin = SAMPLE_RATE / size
    return Arrival(
        samples,
        max(0.0, start / SAMPLE_RATE - TIME_MARGIN_S),
        min(len(samples) / SAMPLE_RATE, (end + 1) / SAMPLE_RATE + TIME_MARGIN_S),
        max(0.0, low * hertz_per_bin - BAND_MARGIN_HZ),
        min(SAMPLE_RATE / 2, (high + 1) * hertz_per_bin + BAND_MARGIN_HZ),
    )
