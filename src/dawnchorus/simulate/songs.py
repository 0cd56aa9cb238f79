"""From notes to sound: what a bird's throat does, as samples.

In: :class:`Note` objects (when, how long, which frequencies, which overtones). Out: float32 samples.
The catalogue of species that sing such notes is in :mod:`dawnchorus.simulate.species`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.simulate.plan import SAMPLE_RATE

TWO_PI = np.float32(2 * np.pi)
NYQUIST_MARGIN = 0.46
"""Overtones above this share of the sample rate are left out: they would fold back."""


@dataclass(frozen=True)
class Note:
    """One unbroken sound of one voice.

    Parameters
    ----------
    onset, duration : float
        Seconds from the song's start; seconds.
    hertz : tuple of float
        Frequency of the fundamental at equally spaced moments of the note, linear in between.
    level : float
        Amplitude re the song's loudest note.
    harmonics : tuple of float
        Amplitudes of the fundamental, the second harmonic, and so on.
    tremolo : (float, float)
        Rate in hertz and depth (0 to 1) of a rise and fall of the amplitude.
    vibrato : (float, float)
        Rate in hertz and depth (share of the frequency) of a rise and fall of the pitch.
    attack, release : float
        Shares of the note in which it swells and fades (cosine flanks).
    """

    onset: float
    duration: float
    hertz: tuple[float, ...]
    level: float = 1.0
    harmonics: tuple[float, ...] = (1.0,)
    tremolo: tuple[float, float] = (0.0, 0.0)
    vibrato: tuple[float, float] = (0.0, 0.0)
    attack: float = 0.15
    release: float = 0.25


def _flank(samples: int) -> NDArray[np.float32]:
    rise = np.sin(np.linspace(0, np.pi / 2, max(samples, 2), dtype=np.float32))
    return (rise * rise).astype(np.float32)


def render_note(note: Note, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Return one note's samples, ``(round(duration * rate),)`` float32."""
    count = max(8, round(note.duration * rate))
    hertz: NDArray[np.float64] | float
    if len(note.hertz) == 1:
        contour = np.full(count, note.hertz[0])
    elif len(note.hertz) == 2:
        contour = np.linspace(note.hertz[0], note.hertz[1], count)
    else:
        moments = np.linspace(0, len(note.hertz) - 1, count)
        contour = np.interp(moments, np.arange(len(note.hertz)), note.hertz)
    hertz = contour
    vibrato_rate, vibrato_depth = note.vibrato
    if vibrato_depth:
        turns = np.arange(count, dtype=np.float32) * np.float32(vibrato_rate / rate)
        turns -= np.floor(turns)
        hertz = contour * (1 + np.float32(vibrato_depth) * np.sin(TWO_PI * turns))
    # Cycles are summed in double precision and brought back to one turn, so that the sine can be
    # taken in single precision.
    cycles = np.cumsum(hertz)
    cycles /= rate
    cycles -= np.floor(cycles)
    angle = cycles.astype(np.float32)
    angle *= TWO_PI
    wave = np.sin(angle)
    if len(note.harmonics) > 1:
        wave = _with_overtones(wave, angle, note.harmonics, float(np.max(hertz)), rate)
    elif note.harmonics[0] != 1:
        wave *= np.float32(note.harmonics[0])
    attack = _flank(round(count * note.attack))
    release = _flank(round(count * note.release))[::-1]
    wave[: len(attack)] *= attack
    wave[count - len(release) :] *= release
    tremolo_rate, tremolo_depth = note.tremolo
    if tremolo_depth:
        turns = np.arange(count, dtype=np.float32) * np.float32(tremolo_rate / rate)
        turns -= np.floor(turns)
        depth = np.float32(tremolo_depth / 2)
        wave *= 1 - depth + depth * np.cos(TWO_PI * turns)
    wave *= np.float32(note.level)
    return wave


def _with_overtones(
    fundamental: NDArray[np.float32],
    angle: NDArray[np.float32],
    harmonics: Sequence[float],
    highest_hz: float,
    rate: int,
) -> NDArray[np.float32]:
    """Sum of harmonics by ``sin((k+1)x) = 2 cos x sin(kx) - sin((k-1)x)``."""
    twice_cosine = 2 * np.cos(angle)
    before, current = np.zeros_like(fundamental), fundamental
    wave = fundamental * np.float32(harmonics[0])
    for order, amplitude in enumerate(harmonics[1:], start=2):
        if order * highest_hz > NYQUIST_MARGIN * rate:
            break
        before, current = current, twice_cosine * current - before
        if amplitude:
            wave += np.float32(amplitude) * current
    return wave


def render(notes: Sequence[Note], rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Return a song's samples, scaled so that the mean square over its notes is 1.

    Notes may overlap (two voices). The first note starts at sample 0.
    """
    first = min(note.onset for note in notes)
    waves = [(round((note.onset - first) * rate), render_note(note, rate)) for note in notes]
    song = np.zeros(max(start + len(wave) for start, wave in waves), np.float32)
    sounding = 0
    for start, wave in waves:
        song[start : start + len(wave)] += wave
        sounding += len(wave)
    power = float(np.dot(song, song)) / min(sounding, len(song))
    song /= np.float32(np.sqrt(max(power, 1e-12)))
    return song
