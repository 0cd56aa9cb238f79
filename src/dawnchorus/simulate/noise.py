"""What is not a bird: the recorder's own hiss, far rumble, wind, rain, insects, aircraft.

In: a recorder's frequency response and a random stream. Out: :class:`Bank` objects, seamless loops
of some seconds of one kind of noise, which a recording reads from random places and swells and
fades by an envelope. Making noise afresh for every second would cost more than everything else
together; the loops are made anew for every recorder-day, and part of the hiss is always fresh, so no
two windows are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dawnchorus.simulate.plan import SAMPLE_RATE

BANK_SAMPLES = 2**19
"""Length of a loop: 11.9 s."""
HOP = 512
"""Samples from one point of an envelope to the next."""

Floats = NDArray[np.float32]
Spectrum = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Kind:
    """A kind of noise as it stands in the truth.

    Parameters
    ----------
    name : str
        ``rain``, ``wind`` ...
    low_hz, high_hz : float
        Where most of it lies.
    """

    name: str
    low_hz: float
    high_hz: float


RAIN = Kind("rain", 400.0, 12_000.0)
WIND = Kind("wind", 20.0, 900.0)
CRICKETS = Kind("crickets", 3_000.0, 5_600.0)
CICADAS = Kind("cicadas", 5_000.0, 9_500.0)
AIRCRAFT = Kind("aircraft", 40.0, 1_500.0)
SILENCE = Kind("silence", 20.0, 20_000.0)


class Bank:
    """A seamless loop of noise, RMS 1 at the microphone (before its frequency response)."""

    def __init__(self, samples: Floats) -> None:
        self.samples = samples

    def add_to(self, out: Floats, position: int, envelope: Floats) -> None:
        """Add the loop from ``position`` on, times an envelope.

        Parameters
        ----------
        out : ndarray of float32, (rows * HOP,)
            Contiguous; changed in place.
        position : int
            Sample of the loop (any integer; it goes round).
        envelope : ndarray of float32, (rows + 1,)
            Amplitude at every :data:`HOP` samples; linear in between.
        """
        rows = len(envelope) - 1
        done = 0
        ramp = np.arange(HOP, dtype=np.float32) / np.float32(HOP)
        while done < rows:
            place = (position + done * HOP) % BANK_SAMPLES
            take = min(rows - done, (BANK_SAMPLES - place) // HOP)
            if take == 0:  # a row that goes round the loop's end
                row = np.concatenate(
                    [self.samples[place:], self.samples[: HOP - (BANK_SAMPLES - place)]]
                )[None, :]
                take = 1
            else:
                row = self.samples[place : place + take * HOP].reshape(take, HOP)
            start = envelope[done : done + take]
            rise = envelope[done + 1 : done + take + 1] - start
            part = out[done * HOP : (done + take) * HOP].reshape(take, HOP)
            if rise.any():
                gain = rise[:, None] * ramp
                gain += start[:, None]
                gain *= row
                part += gain
            elif start.any():
                part += start[:, None] * row
            done += take


def _frequencies() -> Floats:
    return np.fft.rfftfreq(BANK_SAMPLES, 1 / SAMPLE_RATE).astype(np.float32)


def _through(
    source: Floats,
    shape: Floats,
    response: Floats,
    modulation: Floats | None = None,
) -> Bank:
    """Filter ``source`` round the loop by ``shape``, scale to RMS 1, then by ``response``."""
    spectrum = scipy.fft.rfft(source) * shape
    if modulation is not None:
        wave = scipy.fft.irfft(spectrum, BANK_SAMPLES) * modulation
        spectrum = scipy.fft.rfft(wave)
    # Parseval for a real signal: the one-sided bins count twice.
    power = 2 * float(np.sum(np.abs(spectrum, dtype=np.float32) ** 2, dtype=np.float64))
    spectrum *= response / np.float32(np.sqrt(power) / BANK_SAMPLES)
    return Bank(scipy.fft.irfft(spectrum, BANK_SAMPLES).astype(np.float32))


def _band(hertz: Floats, low: float, high: float, order: int = 4) -> Floats:
    """Amplitude of a Butterworth band-pass."""
    f = np.maximum(hertz, 1.0).astype(np.float64)
    below = 1 / np.sqrt(1 + (low / f) ** (2 * order))
    above = 1 / np.sqrt(1 + (f / high) ** (2 * order))
    return (below * above).astype(np.float32)


def _white(random: np.random.Generator) -> Floats:
    return random.standard_normal(BANK_SAMPLES, dtype=np.float32)


def _impulses(places: NDArray[np.int64], sizes: NDArray[np.float64]) -> Floats:
    """One loop that is zero but at ``places``; sizes at the same place add up."""
    return np.bincount(places, sizes, BANK_SAMPLES).astype(np.float32)


class Banks:
    """The loops of one recorder-day, each made when it is first needed.

    Parameters
    ----------
    streams : callable
        Gives the random stream of a loop by its number: no loop depends on which others are used.
    response : callable
        Frequencies in hertz to amplitudes of the microphone.
    floor_corner_hz : float
        Below it the electronics' noise rises.
    insect_hz : float
        Carrier of the site's crickets.
    """

    ORDER = ("floor", "ambience", "wind", "leaves", "rain", "crickets", "cicadas", "aircraft")

    def __init__(
        self,
        streams: Callable[[int], np.random.Generator],
        response: Spectrum,
        floor_corner_hz: float,
        insect_hz: float,
    ) -> None:
        self._streams = streams
        self._f = _frequencies()
        self._response = response(self._f)
        self._floor_corner_hz = floor_corner_hz
        self._insect_hz = insect_hz
        self._made: dict[str, Bank] = {}

    def __getitem__(self, name: str) -> Bank:
        """Return a loop by name (one of :attr:`ORDER`)."""
        if name not in self._made:
            random = self._streams(self.ORDER.index(name))
            self._made[name] = getattr(self, f"_make_{name}")(random)
        return self._made[name]

    def _make_floor(self, random: np.random.Generator) -> Bank:
        """White, with 1/f noise below the corner; electronics: not through the microphone."""
        f = np.maximum(self._f, 20.0)
        shape = np.sqrt(1 + self._floor_corner_hz / f).astype(np.float32)
        return _through(_white(random), shape, np.ones_like(f))

    def _make_ambience(self, random: np.random.Generator) -> Bank:
        """Far traffic and moving air: power falls by 6 dB per octave from 60 Hz on."""
        shape = 1 / (1 + (self._f / 60.0) ** 1.0)
        return _through(_white(random), shape.astype(np.float32), self._response)

    def _make_wind(self, random: np.random.Generator) -> Bank:
        """Turbulence at the microphone: power falls by 12 dB per octave from 40 Hz on."""
        shape = 1 / (1 + (self._f / 40.0) ** 2)
        return _through(_white(random), shape.astype(np.float32), self._response)

    def _make_leaves(self, random: np.random.Generator) -> Bank:
        """Rustling: a broad hump around 3 kHz."""
        return _through(_white(random), _band(self._f, 900, 6000, 1), self._response)

    def _make_rain(self, random: np.random.Generator) -> Bank:
        """Drops of all sizes on leaves (each a short damped ring) in a hiss of far ones."""
        count = 12 * BANK_SAMPLES // SAMPLE_RATE
        moments = np.arange(1024, dtype=np.float32) / SAMPLE_RATE
        spectrum = np.zeros(BANK_SAMPLES // 2 + 1, np.complex64)
        for hertz in np.geomspace(600, 6500, 7) * random.uniform(0.9, 1.1, 7):
            sizes = random.lognormal(0.0, 0.9, count) * random.choice([-1.0, 1.0], count)
            drops = _impulses(random.integers(0, BANK_SAMPLES, count), sizes)
            # Three cycles, then silence: a leaf is no bell.
            ring = np.exp(-moments * hertz / 1.5) * np.sin(2 * np.pi * hertz * moments)
            ringing = scipy.fft.rfft(ring.astype(np.float32), BANK_SAMPLES)
            spectrum += scipy.fft.rfft(drops) * ringing
        wave = scipy.fft.irfft(spectrum, BANK_SAMPLES)
        wave /= np.sqrt(np.mean(wave * wave))
        hiss = scipy.fft.irfft(
            scipy.fft.rfft(_white(random)) * _band(self._f, 1200, 11_000, 1), BANK_SAMPLES
        )
        hiss /= np.sqrt(np.mean(hiss * hiss))
        return _through(
            (0.55 * wave + 0.83 * hiss).astype(np.float32), np.ones_like(self._f), self._response
        )

    def _make_crickets(self, random: np.random.Generator) -> Bank:
        """A few crickets: chirps of three or four pulses, two to three chirps a second each."""
        spectrum = np.zeros(BANK_SAMPLES // 2 + 1, np.complex64)
        for _ in range(int(random.integers(2, 5))):
            carrier = self._insect_hz * random.normal(1, 0.02)
            per_loop = round(random.uniform(1.8, 3.2) * BANK_SAMPLES / SAMPLE_RATE)
            pulses = int(random.integers(3, 5))
            gap = round(random.uniform(0.026, 0.034) * SAMPLE_RATE)
            length = round(0.6 * gap)
            moments = np.arange(length) / SAMPLE_RATE
            shape = np.sin(np.pi * np.arange(length) / length) ** 2
            pulse = (shape * np.sin(2 * np.pi * carrier * moments)).astype(np.float32)
            even = np.arange(per_loop) * (BANK_SAMPLES / per_loop)
            chirps = even + random.normal(0, 0.01 * SAMPLE_RATE, per_loop)
            starts = (chirps[:, None] + gap * np.arange(pulses)).astype(np.int64).ravel()
            loud = np.full(len(starts), random.uniform(0.3, 1.0))
            train = scipy.fft.rfft(_impulses(starts % BANK_SAMPLES, loud))
            spectrum += train * scipy.fft.rfft(pulse, BANK_SAMPLES)
        wave = scipy.fft.irfft(spectrum, BANK_SAMPLES).astype(np.float32)
        return _through(wave, np.ones_like(self._f), self._response)

    def _make_cicadas(self, random: np.random.Generator) -> Bank:
        """A band of noise around 7 kHz that shivers."""
        cycles = round(random.uniform(45, 75) * BANK_SAMPLES / SAMPLE_RATE)
        turns = np.arange(BANK_SAMPLES) * (cycles / BANK_SAMPLES)
        shiver = (1 + 0.7 * np.sin(2 * np.pi * turns)).astype(np.float32)
        centre = random.uniform(6200, 7800)
        band = _band(self._f, 0.87 * centre, 1.13 * centre, 12)
        return _through(_white(random), band, self._response, shiver)

    def _make_aircraft(self, random: np.random.Generator) -> Bank:
        """A propeller's drone (harmonics of 70 to 110 Hz) in a low roar."""
        roar = scipy.fft.rfft(_white(random)) * _band(self._f, 70, 350, 2)
        roar /= np.sqrt(np.sum(np.abs(roar) ** 2))
        drone = np.zeros_like(roar)
        pitch = random.uniform(70, 110)
        for order in range(1, 14):
            # Whole cycles per loop keep the loop seamless; a few neighbours blur the line.
            centre = round(order * pitch * BANK_SAMPLES / SAMPLE_RATE)
            phases = random.uniform(0, 2 * np.pi, 5)
            drone[centre - 2 : centre + 3] += order**-0.9 * np.exp(1j * phases)
        drone /= np.sqrt(np.sum(np.abs(drone) ** 2))
        wave = scipy.fft.irfft(roar + drone, BANK_SAMPLES).astype(np.float32)
        return _through(wave, np.ones_like(self._f), self._response)


def wander(random: np.random.Generator, count: int, smoothness: float, spread_db: float) -> Floats:
    """Return a slowly changing level in decibels, ``(count,)``: a first-order random walk.

    Parameters
    ----------
    count : int
        Number of points.
    smoothness : float
        Correlation from one point to the next (0 to 1).
    spread_db : float
        Standard deviation in the long run.
    """
    steps = random.standard_normal(count)
    steps[1:] *= np.sqrt(1 - smoothness**2)
    level = np.empty(count)
    value = 0.0
    for position, step in enumerate(steps):
        value = smoothness * value + step if position else step
        level[position] = value
    return (spread_db * level).astype(np.float32)
