"""A generated output space of any size: as many points as a season has, without the season.

In: how many windows, a seed. Out: :class:`Generated`: an :class:`~dawnchorus.explorer.space.OutputSpace` and
the truth of every window. A sound is a blob in the map; a cluster is what lies nearest to a blob's middle, and
some windows lie in a foreign blob, so clusters and regions are not pure. Recorder-days, hours and recordings
are those of a season: nine recorders, an hour per recording, BirdNET on a fifth of the windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.explorer.space import NONE, OutputSpace
from dawnchorus.results import RecorderDay

RATE = 44_100
SECONDS = 3
RECORDERS = 9
PER_RECORDING = 1200
PER_DAY = 24 * PER_RECORDING
FIRST_DAY = date(2021, 5, 24)
SOUNDS = 100
ASTRAY = 0.04
"""Share of windows that lie in another sound's blob."""


@dataclass(frozen=True)
class Generated:
    """An output space, and what is to be heard in each window: index of a sound, uint16 (n,)."""

    space: OutputSpace
    truth: NDArray[np.uint16]


def generated(windows: int, seed: int = 0) -> Generated:
    """Make an output space of so many windows."""
    random = np.random.default_rng(seed)
    middle = random.uniform(-20, 20, (SOUNDS, 2))
    spread = random.uniform(0.3, 1.2, SOUNDS)
    weight = random.dirichlet(np.full(SOUNDS, 0.7))
    truth = random.choice(SOUNDS, windows, p=weight).astype(np.uint16)
    blob = truth.copy()
    astray = np.flatnonzero(random.random(windows) < ASTRAY)
    blob[astray] = random.integers(0, SOUNDS, len(astray))
    turn = random.uniform(0, 2 * np.pi, windows)
    radius = spread[blob] * np.sqrt(-2 * np.log1p(-random.random(windows)))
    x = (middle[blob, 0] + radius * np.cos(turn)).astype(np.float32)
    y = (middle[blob, 1] + radius * np.sin(turn)).astype(np.float32)
    row = np.arange(windows)
    number = row // PER_DAY
    days = [
        RecorderDay(f"REC{k % RECORDERS + 1:02}", str(FIRST_DAY + timedelta(days=k // RECORDERS)))
        for k in range(int(number[-1]) + 1)
    ]
    recording = (row // PER_RECORDING).astype(np.int32)
    dates = sorted({day.date for day in days})
    hour = (row % PER_DAY // PER_RECORDING).astype(np.uint16)
    heard = random.random(windows) < 0.2
    inventory = pl.DataFrame(
        {
            "recording": [
                f"{days[k // 24].recorder}/{days[k // 24].date}_{k % 24:02}0000.wav"
                for k in range(int(recording[-1]) + 1)
            ],
            "start_us": [
                int(datetime.combine(FIRST_DAY, datetime.min.time(), UTC).timestamp() * 1e6)
                + (k // 24 // RECORDERS * 24 + k % 24) * 3_600_000_000
                for k in range(int(recording[-1]) + 1)
            ],
            "sample_rate": RATE,
        }
    )
    space = OutputSpace(
        experiment="generated",
        map=f"generated-{windows}-{seed}",
        clusters="generated",
        window_seconds=float(SECONDS),
        days=days,
        inventory=inventory,
        recorders=[f"REC{k + 1:02}" for k in range(RECORDERS)],
        species_names=[(f"Avis {k:02}", f"Bird {k:02}") for k in range(SOUNDS)],
        habitats=["marsh", "meadow", "wood"],
        dates=dates,
        x=x,
        y=y,
        cluster=blob,
        recorder=(number % RECORDERS).astype(np.uint16),
        hour=hour,
        species=np.where(heard, truth, NONE).astype(np.uint16),
        confidence=np.where(heard, random.uniform(0.1, 1, windows), 0).astype(np.float32),
        habitat=(number % RECORDERS % 3).astype(np.uint16),
        date=(number // RECORDERS).astype(np.uint16),
        activity=random.gamma(2.0, 3.0, windows).astype(np.float32),
        distance=radius.astype(np.float32),
        recording=recording,
        offset=row % PER_RECORDING * SECONDS * RATE,
        day=number.astype(np.int32),
    )
    return Generated(space, truth)
