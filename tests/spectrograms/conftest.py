"""A small card, scanned, and the settings that go with it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dawnchorus.config import Settings
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.store import SpectrogramStore

RATE = 44_100
DAY = RecorderDay("REC01", "2021-05-24")


@dataclass
class Card:
    """One recorder's card in a temporary folder."""

    root: Path
    settings: Settings
    day: RecorderDay = DAY

    @property
    def results(self) -> Results:
        return Results(self.settings.results)

    @property
    def store(self) -> Path:
        return self.results.spectrograms(self.day)

    def path(self, hour: int, suffix: str = "wav") -> Path:
        return self.root / "cards" / "REC01" / f"REC01_20210524_{hour:02d}0000.{suffix}"

    def add(self, hour: int, samples, rate: int = RATE, suffix: str = "wav", **kwargs) -> Path:
        path = self.path(hour, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **({"subtype": "PCM_16"} | kwargs))
        return path

    def scan(self) -> None:
        scan(self.settings, self.results)

    def make(self, workers: int = 1) -> dict:
        return make_day(self.settings, self.results, self.day, workers=workers)

    def open(self) -> SpectrogramStore:
        return SpectrogramStore.open(self.store)

    def elsewhere(self, name: str, **spectrogram) -> "Card":
        """The same card with other results (and perhaps parameters)."""
        changed = self.settings.model_copy(
            update={
                "results": self.root / name,
                "spectrogram": self.settings.spectrogram.model_copy(update=spectrogram),
            }
        )
        other = Card(self.root, changed, self.day)
        other.scan()
        return other


@pytest.fixture
def card(tmp_path) -> Card:
    settings = Settings.model_validate(
        {
            "results": str(tmp_path / "results"),
            "audio": {"root": str(tmp_path / "cards"), "timezone": "America/Chicago"},
            "spectrogram": {"shard_windows": 16, "chunk_windows": 4},
        }
    )
    return Card(tmp_path, settings)


def hashes(store: Path) -> dict[str, str]:
    """Name and hash of every file of a store."""
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def noise(seconds: float, seed: int = 0, level: float = 0.01, rate: int = RATE):
    return np.random.default_rng(seed).normal(0, level, round(seconds * rate))
