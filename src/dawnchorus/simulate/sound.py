"""One recording, from its scene to its samples, in blocks of ten seconds.

In: a scene, the recorder it plays in front of. Out: 16-bit samples, block after block, and what was
really heard: each song's box and its signal-to-noise ratio against all else that sounds there.
Memory is bounded by the block, whatever the recording's length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.simulate.noise import (
    AIRCRAFT,
    CICADAS,
    CRICKETS,
    HOP,
    RAIN,
    WIND,
    Bank,
    Banks,
)
from dawnchorus.simulate.plan import SAMPLE_RATE
from dawnchorus.simulate.propagation import (
    LONGEST_SAMPLES,
    Arrival,
    SoundPath,
    boxed,
    signal_to_noise_db,
)
from dawnchorus.simulate.recorders import Recorder
from dawnchorus.simulate.scene import Scene, Song, Stretch
from dawnchorus.simulate.songs import render

BLOCK_ROWS = 862
"""Envelope rows (of 512 samples) per block: 10.0 s."""
LEAD_ROWS = -(-LONGEST_SAMPLES // HOP)
"""A song that starts within a block ends at most so many rows behind it."""
SHORTEST_SAMPLES = round(0.15 * SAMPLE_RATE)
"""A song of which the recording holds less is left out."""
LEAVES_DB = -17.0
"""Rustling of leaves re the wind's rumble at the microphone."""

BANK_OF = {RAIN: "rain", CRICKETS: "crickets", CICADAS: "cicadas", AIRCRAFT: "aircraft"}


@dataclass(frozen=True)
class Heard:
    """A song as it is in the recording: the truth.

    Parameters
    ----------
    song : Song
        What was to be sung.
    start_s, end_s, low_hz, high_hz : float
        Its box; seconds from the recording's start.
    snr_db : float
        Power of the song over power of everything else, within the box.
    """

    song: Song
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    snr_db: float


@dataclass
class _Placed:
    song: Song
    first: int
    arrival: Arrival


class Recording:
    """Plays a scene in front of a recorder.

    Parameters
    ----------
    recorder : Recorder
        Whose gain, response and floor.
    scene : Scene
        What happens.
    frames : int
        Length of the recording.
    banks : Banks
        The day's noise.
    path : SoundPath
        The way of the songs to this recorder.
    random : numpy.random.Generator
        For the fresh part of the hiss and the places in the banks.
    """

    def __init__(
        self,
        recorder: Recorder,
        scene: Scene,
        frames: int,
        banks: Banks,
        path: SoundPath,
        random: np.random.Generator,
    ) -> None:
        self.recorder, self.scene, self.frames = recorder, scene, frames
        self.heard: list[Heard] = []
        """Filled while :meth:`blocks` runs; complete when it ends."""
        self._banks, self._path, self._random = banks, path, random
        self._rows = -(-frames // HOP)
        self._floor_place, self._ambience_place = map(int, random.integers(0, 2**31, 2))

    def blocks(self) -> Iterator[NDArray[np.int16]]:
        """Yield the samples, ten seconds at a time."""
        mix = np.zeros(0, np.float32)
        made = 0  # rows of noise made so far
        waiting: list[_Placed] = []  # placed, not yet measured
        songs = iter(self.scene.songs)
        song = next(songs, None)
        for first_row in range(0, self._rows, BLOCK_ROWS):
            last_row = min(first_row + BLOCK_ROWS, self._rows)
            until = min(last_row + 2 * LEAD_ROWS, self._rows)
            if until > made:
                fresh = self._noise(made, until - made)
                mix = np.concatenate([mix, fresh]) if len(mix) else fresh
                made = until
            origin = first_row * HOP
            # Whoever starts up to one longest song behind the block can overlap a song that starts
            # in it, and must sound before that one's background is measured.
            horizon = (last_row + LEAD_ROWS) * HOP
            while song is not None and round(song.start_s * SAMPLE_RATE) < horizon:
                placed = self._place(song)
                if placed is not None:
                    samples = placed.arrival.samples
                    start = placed.first - origin
                    mix[start : start + len(samples)] += samples
                    waiting.append(placed)
                song = next(songs, None)
            end = last_row * HOP
            for placed in [placed for placed in waiting if placed.first < end]:
                self.heard.append(self._measure(placed, mix, origin))
                waiting.remove(placed)
            block = mix[: end - origin]
            yield to_int16(block[: self.frames - origin])
            mix = mix[end - origin :]

    def _place(self, song: Song) -> _Placed | None:
        """Sing a song and let it arrive; None if the recording ends too early for it."""
        first = round(song.start_s * SAMPLE_RATE)
        room = self.frames - first
        if room < SHORTEST_SAMPLES:
            return None
        bird = song.individual
        random = np.random.Generator(np.random.SFC64(song.seed))
        sung = render(bird.species.notes(bird.voice, random))
        level = bird.species.level_db + bird.voice.loudness_db
        arrival = self._path.arrive(sung, level, song.distance_m)
        if len(arrival.samples) > room:
            arrival = boxed(arrival.samples[:room])
        return _Placed(song, first, arrival)

    def _measure(self, placed: _Placed, mix: NDArray[np.float32], origin: int) -> Heard:
        arrival = placed.arrival
        start, end = round(arrival.start_s * SAMPLE_RATE), round(arrival.end_s * SAMPLE_RATE)
        alone = arrival.samples[start:end]
        offset = placed.first - origin
        all_there = mix[offset + start : offset + end]
        snr_db = signal_to_noise_db(alone, all_there - alone, arrival.low_hz, arrival.high_hz)
        began = placed.first / SAMPLE_RATE
        return Heard(
            placed.song,
            began + arrival.start_s,
            began + arrival.end_s,
            arrival.low_hz,
            arrival.high_hz,
            snr_db,
        )

    def _noise(self, first_row: int, rows: int) -> NDArray[np.float32]:
        """Make ``rows`` rows of everything that is not a bird."""
        floor = np.float32(10 ** (self.recorder.floor_db / 20) * math.sqrt(0.5))
        out = self._random.standard_normal(rows * HOP, dtype=np.float32)
        out *= floor
        moments = np.arange(first_row, first_row + rows + 1, dtype=np.float64) * (HOP / SAMPLE_RATE)
        steady = np.full(rows + 1, floor, np.float32)
        self._add(out, "floor", self._floor_place, first_row, steady)
        length = self.frames / SAMPLE_RATE
        ambience = self._envelope(moments, 0.0, length, self.scene.ambience_db, hold=True)
        self._add(out, "ambience", self._ambience_place, first_row, ambience)
        for noise in self.scene.noises:
            if noise.end_s > moments[0] and noise.start_s < moments[-1]:
                self._add_stretch(out, noise, moments, first_row)
        return out

    def _add_stretch(
        self, out: NDArray[np.float32], noise: Stretch, moments: NDArray, first_row: int
    ) -> None:
        envelope = self._envelope(moments, noise.start_s, noise.end_s, noise.level_db)
        if noise.kind is WIND:
            self._add(out, "wind", noise.place, first_row, envelope)
            envelope = envelope * np.float32(10 ** (LEAVES_DB / 20))
            self._add(out, "leaves", noise.place, first_row, envelope)
        elif noise.kind in BANK_OF:
            self._add(out, BANK_OF[noise.kind], noise.place, first_row, envelope)

    def _add(
        self,
        out: NDArray[np.float32],
        bank: str,
        place: int,
        first_row: int,
        envelope: NDArray[np.float32],
    ) -> None:
        loop: Bank = self._banks[bank]
        loop.add_to(out, place + first_row * HOP, envelope)

    def _envelope(
        self,
        moments: NDArray[np.float64],
        start_s: float,
        end_s: float,
        level_db: NDArray[np.float32],
        hold: bool = False,
    ) -> NDArray[np.float32]:
        """Amplitudes at ``moments``; nothing outside of start and end unless held."""
        gain = np.float32(self.recorder.gain_db)
        amplitude = 10 ** ((level_db + gain) / 20)
        points = np.linspace(start_s, end_s, len(level_db))
        outside = None if hold else 0.0
        return np.interp(moments, points, amplitude, outside, outside).astype(np.float32)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round to 16 bits; what is louder than full scale is clipped, as a recorder does."""
    scaled = samples * np.float32(32_768)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32_768, 32_767, out=scaled)
    return scaled.astype("<i2")
