"""A small season on disk, made by hand: spectrogram stores, training receipt, model, embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dawnchorus.config import Settings, validate
from dawnchorus.learning.backbone import ModelMetadata, save_model
from dawnchorus.results import (
    OK,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    write_receipt,
)
from dawnchorus.spectrograms.spectrograph import Spectra
from dawnchorus.spectrograms.writer import SpectrogramWriter
from dawnchorus.vectors import WindowTable, write_vectors

EXPERIMENT = "toy"
NATIVE_RATE = 48_000
WINDOW_SECONDS = 0.75
PARAMETERS = "spectrogram-parameters"
SMALL = {
    "experiments": {EXPERIMENT: {"backbone": "vit_nano", "patch": 16}},
    "spectrogram": {
        "sample_rate": 24_000,
        "window_seconds": WINDOW_SECONDS,
        "n_fft": 512,
        "hop_length": 256,
        "mels": 32,
        "frames": 64,
        "f_min": 150,
        "f_max": 11_000,
        "shard_windows": 64,
    },
    "embedding": {"batch_size": 8, "store": "float32"},
    "clustering": {"k": 4, "fit_windows": 500, "restarts": 2},
    "map": {"method": "pca", "fit_windows": 300, "neighbours": 10},
}


def silent(codes: NDArray[np.uint8], activity: NDArray[np.float32] | None = None) -> Spectra:
    """Codes whose sound nobody measured, but perhaps for its activity."""
    flat = np.zeros(len(codes), np.float32)
    heard = flat if activity is None else activity
    return Spectra(codes, flat, heard, 0, 0, 0, flat.astype(float), flat, flat.astype(int))


@dataclass
class Season:
    """Results of a small season and what they were made of."""

    root: Path
    changes: dict[str, dict[str, object]] = field(default_factory=dict)
    codes: dict[RecorderDay, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        return Results(self.root)

    @property
    def paths(self):
        return self.results.experiment(EXPERIMENT)

    @property
    def settings(self) -> Settings:
        values = {name: {**SMALL.get(name, {}), **self.changes.get(name, {})} for name in SMALL}
        for name, change in self.changes.items():
            values.setdefault(name, change)
        return validate({"results": str(self.root), **values})

    def windows(self, day: RecorderDay, windows: int, recordings: int = 2) -> WindowTable:
        index = np.sort(np.arange(windows) % recordings).astype(np.int32)
        within = np.arange(windows) - np.searchsorted(index, index)
        names = [f"{day.recorder}/Data/{day.date}_{number}.wav" for number in range(recordings)]
        start = np.datetime64(f"{day.date}T04:00:00", "us") + index * np.timedelta64(1, "h")
        step = np.timedelta64(round(WINDOW_SECONDS * 1e6), "us")
        offset = (within * round(WINDOW_SECONDS * NATIVE_RATE)).astype(np.int64)
        return WindowTable(names, index, offset, start + within * step)

    def add_spectrograms(
        self,
        day: RecorderDay,
        codes: NDArray[np.uint8],
        activity: NDArray[np.float32] | None = None,
    ) -> None:
        table = self.windows(day, len(codes))
        self.codes[day] = codes
        with (
            publishing(self.results.spectrograms(day)) as partial,
            SpectrogramWriter(partial, self.settings.spectrogram, len(codes)) as writer,
        ):
            for number in range(len(table.recordings)):
                rows = table.recording == number
                writer.append(
                    silent(codes[rows], None if activity is None else activity[rows]),
                    recording=number,
                    offset=table.offset[rows],
                    time=table.time[rows],
                )
            content = writer.finish(
                {"recordings": table.recordings, "parameters_fingerprint": PARAMETERS}
            )
        write_receipt(
            self.results.spectrograms_receipt(day),
            {
                "verdict": OK,
                "reason": None,
                "windows": len(codes),
                "recordings": [
                    {"recording": name, "sample_rate": NATIVE_RATE} for name in table.recordings
                ],
                "parameters": PARAMETERS,
                "fingerprint": content,
            },
        )

    def set_aside(self, day: RecorderDay) -> None:
        write_receipt(
            self.results.spectrograms_receipt(day),
            {
                "verdict": SET_ASIDE,
                "reason": "no recording could be read",
                "windows": 0,
                "recordings": [],
                "parameters": PARAMETERS,
                "fingerprint": fingerprint(str(day)),
            },
        )

    def add_model(self, *, seed: int = 0, pooling: str = "cls", **changes: object) -> ModelMetadata:
        wanted = self.settings.spectrogram
        values = {
            "backbone": "vit_nano",
            "patch": 16,
            "mels": wanted.mels,
            "frames": wanted.frames,
            "pooling": pooling,
            "mean": -70.0,
            "std": 12.0,
            "db_min": -120.0,
            "db_step": 0.5,
            "spectrograms": PARAMETERS,
        }
        metadata = ModelMetadata(**{**values, **changes})
        torch.manual_seed(seed)
        module = metadata.build()
        save_model(self.paths.model, module.state_dict(), metadata)
        return metadata

    def set_pool(self, days: list[RecorderDay]) -> None:
        pool = [[day.recorder, day.date] for day in sorted(days)]
        write_receipt(self.results.training_receipt, {"edition": 1, "pool": pool})

    def add_embeddings(
        self, day: RecorderDay, vectors: NDArray[np.float32], model: str = "model-1"
    ) -> None:
        """Embeddings as if a model had made them."""
        content = write_vectors(
            self.paths.embeddings(day),
            [vectors],
            dimension=vectors.shape[1],
            windows=self.windows(day, len(vectors)),
            attributes={},
        )
        write_receipt(
            self.paths.embeddings_receipt(day),
            {
                "verdict": OK,
                "windows": len(vectors),
                "dimension": vectors.shape[1],
                "model": model,
                "fingerprint": content,
            },
        )


def random_codes(
    windows: int, seed: int = 0, mels: int = 32, frames: int = 64
) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    level = generator.integers(40, 160, (windows, 1, 1))
    return np.clip(level + generator.normal(0, 25, (windows, mels, frames)), 0, 255).astype(
        np.uint8
    )


def blobs(
    windows: int, centres: int, dimension: int = 16, spread: float = 0.15, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Directions around well separated centres, with lengths that mean nothing."""
    generator = np.random.default_rng([7, seed])
    middle = np.linalg.qr(np.random.default_rng(1).normal(size=(dimension, dimension)))[0][:centres]
    kind = generator.integers(0, centres, windows)
    noise = generator.normal(0, spread / np.sqrt(dimension), (windows, dimension))
    length = generator.uniform(0.2, 9.0, (windows, 1))
    return ((middle[kind] + noise) * length).astype(np.float32), kind


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
