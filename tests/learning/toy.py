"""Toy windows with known classes, as codes; and a frozen set that needs no stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.results import Results

CLASSES = 6


def song_windows(
    windows: int, seed: int, mels: int = 128, frames: int = 256, noise_db: float = 4.0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Windows of noise, each with a song of one of :data:`CLASSES` kinds at a random time.

    Kinds 0 to 2 are tones of different pitch, 3 rises, 4 falls, 5 is a trill. The level of the
    noise, that of the song, its time and its exact pitch vary within a kind.
    """
    generator = np.random.default_rng(seed)
    kind = generator.integers(0, CLASSES, windows)
    decibels = generator.normal(-80.0, 3.0, (windows, mels, frames))
    decibels += generator.normal(0.0, noise_db, (windows, 1, 1))
    mel, frame = np.arange(mels)[:, None], np.arange(frames)[None, :]
    pitches = (0.25, 0.5, 0.75, 0.5, 0.5, 0.5)
    slopes = (0.0, 0.0, 0.0, 0.5, -0.5, 0.0)
    for row in range(windows):
        start, length = generator.integers(0, frames // 2), frames / 2.5
        pitch = (pitches[kind[row]] + generator.normal(0.0, 0.04)) * mels
        level = generator.uniform(15.0, 35.0)
        along = (frame - start) / length
        track = pitch + slopes[kind[row]] * mels * (along - 0.5)
        on = (along >= 0) & (along < 1)
        if kind[row] == 5:
            on = on & ((frame - start) % (frames // 16) < frames // 32)
        width = mels / 64
        song = -80.0 + level - 0.5 * (np.where(on, mel - track, 1e3) / width) ** 2
        decibels[row] = np.maximum(decibels[row], song)
    return np.clip(np.rint((decibels + 120) / 0.5), 0, 255).astype(np.uint8), kind


@dataclass(frozen=True)
class ToyFrozen:
    """Stands for :class:`dawnchorus.learning.frozen.FrozenSet`."""

    codes: NDArray[np.uint8]
    spectrograms: str = "toy"
    appearance: str = "toy's pictures"
    db_min: float = -120.0
    db_step: float = 0.5
    lost: int = 0
    results: Results = field(default_factory=lambda: Results(Path("nowhere")))

    @property
    def table(self) -> pl.DataFrame:
        """Two recorders, a window every four seconds; the toy songs are all equally active."""
        row = np.arange(self.codes.shape[0])
        return pl.DataFrame(
            {
                "recorder": np.where(row < len(row) // 2, "AM01", "AM02"),
                "date": ["2021-05-24"] * len(row),
                "recording": ["04.wav"] * len(row),
                "time": np.datetime64("2021-05-24T04:00", "us") + row * np.timedelta64(4, "s"),
                "activity": row.astype(np.float32),
            },
            schema_overrides={"recorder": pl.Categorical, "date": pl.Categorical},
        )

    @property
    def fingerprint(self) -> str:
        return f"toy-{self.codes.shape[0]}"

    @property
    def day(self) -> NDArray[np.int32]:
        return np.arange(self.codes.shape[0], dtype=np.int32) // 10

    def fill(self, codes: NDArray[np.uint8], part: int = 0, parts: int = 1) -> None:
        first, end = (len(codes) * number // parts for number in (part, part + 1))
        codes[first:end] = self.codes[first:end]

    def read(
        self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        return np.take(self.codes, rows, axis=0, out=out)


def nearest_neighbour_accuracy(
    train: NDArray[np.float32],
    train_kind: NDArray[np.int64],
    test: NDArray[np.float32],
    test_kind: NDArray[np.int64],
) -> float:
    """Share of test windows whose 5 nearest training windows (cosine) vote for their kind."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(5, metric="cosine").fit(train, train_kind)
    return float(model.score(test, test_kind))
