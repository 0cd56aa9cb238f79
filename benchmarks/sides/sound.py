"""Cards to measure with: the simulator's mornings, as long as wanted."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile

from sides import DAY, RATE

BLOCK_SECONDS = 600
HISS = 4
"""Least significant bits of the noise that keeps repeated minutes from being equal."""


def simulated(seconds: int, recordings: int = 1) -> list[np.ndarray]:
    """Recordings of one simulated recorder-day, int16, the same on every machine."""
    from dawnchorus.simulate.plan import make_plan
    from dawnchorus.simulate.season import simulate

    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(recorders=1, days=1, recordings=recordings, seconds=seconds)
        simulate(Path(folder), plan)
        files = sorted((Path(folder) / "cards").rglob("*.WAV"))
        return [soundfile.read(file, dtype="int16")[0] for file in files]


def make_card(
    root: Path, recorder: str, minutes: float, recordings: int = 1, seed: int = 2021
) -> Path:
    """Write one 16-bit mono WAV of a recorder's day: recordings of ten simulated minutes again and
    again, each time from another place of the ten minutes and under fresh noise."""
    path = root / "cards" / recorder / f"{recorder}_{DAY.replace('-', '')}_050000.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    blocks = simulated(BLOCK_SECONDS, recordings)
    left, number = round(minutes * 60 * RATE), 0
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
        while left:
            block = blocks[number % len(blocks)]
            turned = np.roll(block, int(random.integers(len(block))))[:left]
            hiss = random.integers(-HISS, HISS + 1, len(turned), dtype=np.int8)
            file.write(turned + hiss)
            left, number = left - len(turned), number + 1
    return path
