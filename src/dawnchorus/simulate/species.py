"""The catalogue: sixteen invented species, each with its own kind of song.

In: an individual's traits and a random stream. Out: the notes of one rendition. The names are
descriptions on purpose: no song here is meant to pass for a real bird's, and BirdNET's opinion of
them is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dawnchorus.simulate.songs import Note


@dataclass(frozen=True)
class Voice:
    """What stays the same in all songs of one individual.

    Parameters
    ----------
    pitch, tempo : float
        Factors on all frequencies and on all speeds.
    repeats : int
        Added to the species' number of repeats.
    accent : float
        -1 to 1: bends the contours.
    loudness_db : float
        Re the species' mean.
    """

    pitch: float
    tempo: float
    repeats: int
    accent: float
    loudness_db: float


def draw_voice(random: np.random.Generator) -> Voice:
    """Draw an individual: pitch varies by 4 %, tempo by 6 %."""
    return Voice(
        pitch=float(np.clip(random.normal(1, 0.04), 0.9, 1.1)),
        tempo=float(np.clip(random.normal(1, 0.06), 0.88, 1.12)),
        repeats=int(random.integers(-1, 2)),
        accent=float(random.uniform(-1, 1)),
        loudness_db=float(random.normal(0, 2)),
    )


class Rendition:
    """One singing of a song: the individual's traits, varied a little."""

    def __init__(self, voice: Voice, random: np.random.Generator) -> None:
        self.random = random
        self.accent = voice.accent
        self.repeats = voice.repeats + (1 if random.random() < 0.25 else 0)
        self._pitch = voice.pitch * float(random.normal(1, 0.008))
        self._stretch = float(np.clip(random.normal(1, 0.025), 0.94, 1.06)) / voice.tempo
        self.notes: list[Note] = []

    def count(self, usual: int, least: int = 1) -> int:
        """Number of repeats of this rendition."""
        return max(least, usual + self.repeats)

    def sing(
        self,
        onset: float,
        duration: float,
        hertz: tuple[float, ...],
        level: float = 1.0,
        harmonics: tuple[float, ...] = (1.0,),
        tremolo: tuple[float, float] = (0.0, 0.0),
        vibrato: tuple[float, float] = (0.0, 0.0),
        flanks: tuple[float, float] = (0.15, 0.25),
    ) -> None:
        """Add a note; frequencies and times are the species', the individual's are made of them."""
        jitter = float(self.random.normal(1, 0.006))
        self.notes.append(
            Note(
                onset * self._stretch,
                duration * self._stretch,
                tuple(f * self._pitch * jitter for f in hertz),
                level * float(np.exp(self.random.normal(0, 0.1))),
                harmonics,
                (tremolo[0] / self._stretch, tremolo[1]),
                (vibrato[0] / self._stretch, vibrato[1]),
                *flanks,
            )
        )


def _plain_whistle(song: Rendition) -> None:
    """Two high and three lower pure whistles."""
    onset = 0.0
    for position in range(song.count(4, 3)):
        hertz = 3900.0 if position < 2 else 3150.0 + 120 * song.accent
        song.sing(onset, 0.34, (hertz, hertz * 0.995), flanks=(0.2, 0.2))
        onset += 0.41


def _rising_sweep(song: Rendition) -> None:
    """Long upward slurs that get steeper."""
    for position in range(song.count(2)):
        bend = 2900 + 500 * song.accent
        song.sing(0.62 * position, 0.5, (2100, bend, 4300, 6100), harmonics=(1, 0.12))


def _falling_sweep(song: Rendition) -> None:
    """Short, loud, downward slurs from high up."""
    for position in range(song.count(4, 3)):
        song.sing(0.3 * position, 0.22, (7600, 5600 + 300 * song.accent, 3600), 1 - 0.08 * position)


def _slow_trill(song: Rendition) -> None:
    """A dozen notes a second, each a down-chirp of two kilohertz."""
    for position in range(song.count(18, 10)):
        song.sing(position / 12, 0.055, (5900, 4700 + 200 * song.accent, 3900), flanks=(0.2, 0.4))


def _fast_trill(song: Rendition) -> None:
    """Thirty notes a second in a narrow band."""
    notes = song.count(36, 24)
    for position in range(notes):
        swell = 0.35 + 0.65 * np.sin(np.pi * (position + 0.5) / notes)
        song.sing(position / 30, 0.022, (2850, 2500), float(swell), flanks=(0.3, 0.4))


def _high_buzz(song: Rendition) -> None:
    """An insect-like buzz at 7 kHz after a short tick."""
    song.sing(0.0, 0.03, (6200, 7600))
    rate = 150.0 + 15 * song.accent
    length = 0.85 + 0.08 * song.repeats
    song.sing(0.09, length, (6900, 7100), 1.0, (1.0,), (rate, 0.8), (rate, 0.09), (0.1, 0.1))


def _low_coo(song: Rendition) -> None:
    """Soft hoots around 1.1 kHz with a weak second harmonic."""
    onset = 0.0
    for position in range(song.count(3, 2)):
        top = 1180.0 if position == 1 else 1090.0
        song.sing(onset, 0.3, (1010, top, top, 1010), 1.0, (1, 0.1, 0.03), flanks=(0.3, 0.3))
        onset += 0.44


def _nasal_stack(song: Rendition) -> None:
    """Flat nasal calls: eight harmonics, strongest in the third."""
    stack = (0.25, 0.6, 1.0, 0.8, 0.5, 0.35, 0.2, 0.1)
    for position in range(song.count(3, 2)):
        song.sing(0.42 * position, 0.24, (720, 780 + 25 * song.accent, 700), 1.0, stack)


def _two_voices(song: Rendition) -> None:
    """Two unrelated voices at once, one flute-like, one shivering."""
    song.sing(0.0, 0.22, (2300, 2300))
    for position in range(song.count(2)):
        onset = 0.26 + 0.52 * position
        low, high = (2050, 2750) if position % 2 else (2400, 1900)
        song.sing(onset, 0.46, (low, high), 0.9, (1, 0.08))
        song.sing(onset + 0.03, 0.4, (4300 + 250 * song.accent, 4900), 0.7, vibrato=(38.0, 0.05))


def _motif(song: Rendition) -> None:
    """The same three notes, low-high-middle, again and again."""
    for position in range(song.count(3, 2)):
        onset = 0.46 * position
        song.sing(onset, 0.1, (2300, 2700), 0.8, (1, 0.25))
        song.sing(onset + 0.13, 0.12, (4700, 5000 + 200 * song.accent, 4100), 1.0, (1, 0.06))
        song.sing(onset + 0.28, 0.1, (3300, 2600), 0.85, (1, 0.2))


def _chips(song: Rendition) -> None:
    """Hard, short chips over half the spectrum, unevenly spaced."""
    onset = 0.0
    for _ in range(song.count(6, 4)):
        song.sing(onset, 0.028, (8800, 5900, 4200), flanks=(0.1, 0.6))
        onset += float(song.random.uniform(0.14, 0.3))


def _bouncing_whistle(song: Rendition) -> None:
    """Falling whistles that follow faster and faster, like a dropped ball."""
    onset, gap = 0.0, 0.4
    for _ in range(song.count(12, 9)):
        length = min(0.16, 0.55 * gap)
        song.sing(onset, length, (3700, 3300, 2950 + 80 * song.accent), 0.9, (1, 0.05))
        onset += gap
        gap = max(0.06, gap * 0.8)


def _high_lisp(song: Rendition) -> None:
    """Thin, drawn-out notes at the upper end."""
    for position in range(song.count(2)):
        hertz = 8150.0 + 150 * song.accent
        song.sing(0.6 * position, 0.45, (hertz, hertz * 1.02), flanks=(0.35, 0.35))


def _night_churr(song: Rendition) -> None:
    """A long churr of low pulses, switching pitch halfway."""
    pulses = song.count(40, 34)
    for position in range(pulses):
        hertz = 1650.0 if position < pulses * 0.55 else 1950.0
        song.sing(
            position / 19, 0.034, (hertz, hertz * 1.05), 1.0, (1, 0.3, 0.1), flanks=(0.3, 0.4)
        )


def _see_saw(song: Rendition) -> None:
    """Up and down without a stop, high and thin."""
    swings = song.count(6, 4)
    contour = [5200.0]
    for _ in range(swings):
        contour += [7100.0 + 200 * song.accent, 5200.0]
    song.sing(0.0, 0.24 * swings, tuple(contour), tremolo=(1 / 0.24, 0.6), flanks=(0.05, 0.05))


def _rattle(song: Rendition) -> None:
    """A dry rattle: bursts of many harmonics, two dozen a second."""
    burst = (0.3, 0.6, 1.0, 0.9, 0.6, 0.4)
    for position in range(song.count(28, 20)):
        song.sing(position / 22, 0.03, (1250, 1100), 1.0, burst, flanks=(0.15, 0.5))


@dataclass(frozen=True)
class Species:
    """A species of the catalogue.

    Parameters
    ----------
    name : str
        As it stands in the truth.
    song : callable
        Adds the notes of one rendition.
    interval_s : float
        Usual time from one song's start to the next in a bout.
    level_db : float
        Loudness at 10 m, dB re full scale (RMS 1) before the recorder's gain.
    dawn, day, dusk, night : float
        How readily it sings then.
    """

    name: str
    song: Callable[[Rendition], None]
    interval_s: float
    level_db: float
    dawn: float
    day: float
    dusk: float
    night: float

    def notes(self, voice: Voice, random: np.random.Generator) -> list[Note]:
        """Return the notes of one rendition by one individual."""
        rendition = Rendition(voice, random)
        self.song(rendition)
        return rendition.notes


CATALOGUE = (
    Species("plain whistler", _plain_whistle, 7.0, -27.0, 1.0, 0.5, 0.5, 0.02),
    Species("slow triller", _slow_trill, 6.0, -29.0, 1.0, 0.8, 0.3, 0.0),
    Species("dry buzzer", _high_buzz, 5.0, -26.0, 0.7, 1.0, 0.4, 0.02),
    Species("nasal stacker", _nasal_stack, 5.5, -28.0, 0.6, 0.9, 0.3, 0.0),
    Species("two-voice fluter", _two_voices, 6.5, -27.0, 1.0, 0.2, 1.0, 0.05),
    Species("motif repeater", _motif, 6.0, -26.0, 1.0, 0.7, 0.6, 0.0),
    Species("falling slurrer", _falling_sweep, 5.0, -27.0, 0.9, 0.5, 0.4, 0.0),
    Species("low cooer", _low_coo, 8.0, -30.0, 0.8, 0.5, 0.7, 0.15),
    Species("night churrer", _night_churr, 5.5, -29.0, 0.1, 0.0, 0.4, 1.0),
    Species("rising slurrer", _rising_sweep, 6.0, -27.0, 1.0, 0.4, 0.6, 0.0),
    Species("hard chipper", _chips, 4.0, -27.0, 0.6, 0.8, 0.7, 0.03),
    Species("bouncing whistler", _bouncing_whistle, 8.0, -28.0, 0.9, 0.7, 0.4, 0.02),
    Species("fast triller", _fast_trill, 6.0, -28.0, 0.9, 0.6, 0.3, 0.0),
    Species("high lisper", _high_lisp, 5.0, -26.0, 0.7, 0.6, 0.3, 0.0),
    Species("see-saw squeaker", _see_saw, 6.0, -26.0, 0.9, 0.5, 0.3, 0.0),
    Species("rattler", _rattle, 7.0, -28.0, 0.6, 0.7, 0.6, 0.05),
)
