"""A season on disk with planted songs, embeddings, clusters, detections and truth.

Cards are real WAV files that the real ``scan`` and ``spectrograms`` read; what networks would make is
planted, so that every figure has a known answer.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from dawnchorus.birdnet.detections import COLUMNS
from dawnchorus.config import Settings, validate
from dawnchorus.learning.backbone import ModelMetadata, build, save_model
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import OK, RecorderDay, Results, write_receipt
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import WindowTable, write_vectors

RATE = 8000
SECONDS = 30
WINDOWS = SECONDS // 3
SPECIES = {"Turdus merula": 800.0, "Parus major": 1600.0, "Strix aluco": 2900.0}
PLAN: tuple[str | None, ...] = (
    "Turdus merula",
    "Parus major",
    "Strix aluco",
    None,
    "Turdus merula",
    "Parus major",
    "Strix aluco",
    None,
    "Parus major",
    "Turdus merula",
)
"""What sings in each window of every recording."""
DIMENSION = 12
EXPERIMENT = "toy"


@dataclass
class Season:
    """Paths and settings of the season, and its planted truth per window."""

    root: Path
    recorders: int = 2
    days: int = 3
    changes: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        return Results(self.root / "results")

    @property
    def all_days(self) -> list[RecorderDay]:
        return [
            RecorderDay(f"R{recorder}", f"2021-05-{24 + day}")
            for recorder in range(self.recorders)
            for day in range(self.days)
        ]

    @property
    def settings(self) -> Settings:
        values: dict[str, dict[str, object]] = {
            "audio": {"root": str(self.root / "cards"), "timezone": "America/Chicago"},
            "spectrogram": {
                "sample_rate": RATE,
                "n_fft": 512,
                "hop_length": 256,
                "mels": 32,
                "frames": 64,
                "f_min": 150,
                "f_max": 3900,
                "shard_windows": 64,
            },
            "experiments": {EXPERIMENT: {"backbone": "vit_nano", "patch": 16}},
            "clustering": {"k": 4, "restarts": 2},
            "evaluation": {
                "bootstrap": 10,
                "folds": 3,
                "annotations": str(self.truth),
                "confidences": [0.1, 0.25, 0.5],
                "groups": ["recorder_day"],
                "shots": [],
                "attentive_windows": 0,
            },
        }
        for name, change in self.changes.items():
            values[name] = {**values.get(name, {}), **change}
        return validate({"results": str(self.results.root), **values})

    @property
    def truth(self) -> Path:
        return self.root / "truth.parquet"

    def make(self) -> Season:
        self.write_cards()
        scan(self.settings, self.results)
        for day in self.all_days:
            make_day(self.settings, self.results, day)
            self.plant(day)
        self.write_truth()
        path = self.results.experiment(EXPERIMENT).model
        metadata = ModelMetadata("vit_nano", 16, 32, 64, "cls", -80.0, 10.0, -120.0, 0.5)
        save_model(path, build("vit_nano", 16, 32, 64).state_dict(), metadata)
        return self

    def name(self, day: RecorderDay) -> str:
        return f"{day.recorder}/Data/{day.recorder}_{day.date.replace('-', '')}_051500.wav"

    def write_cards(self) -> None:
        for number, day in enumerate(self.all_days):
            generator = np.random.default_rng(number)
            time = np.arange(SECONDS * RATE) / RATE
            # Each recorder has its own hum and floor: that is what leaks.
            sound = 0.003 * generator.normal(size=len(time))
            sound += 0.01 * np.sin(2 * np.pi * (300 + 90 * int(day.recorder[1:])) * time)
            for window, species in enumerate(PLAN):
                if species is not None:
                    span = slice((window * 3 + 1) * RATE, (window * 3 + 2) * RATE)
                    sound[span] += 0.2 * np.sin(2 * np.pi * SPECIES[species] * time[span])
            path = self.root / "cards" / self.name(day)
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes((sound * 32767).astype("<i2").tobytes())

    def plant(self, day: RecorderDay) -> None:
        """Plant embeddings that know the species, clusters that follow them, and detections."""
        store = SpectrogramStore.open(self.results.spectrograms(day))
        table = WindowTable(store.recordings, store.recording, store.offset, store.time)
        generator = np.random.default_rng([7, int(day.date[-2:]), int(day.recorder[1:])])
        names = [*SPECIES, None]
        planted = np.array([names.index(PLAN[at // (3 * RATE)]) for at in store.offset])
        vectors = 0.1 * generator.normal(size=(len(table), DIMENSION))
        vectors[np.arange(len(table)), planted] += 1.0
        paths = self.results.experiment(EXPERIMENT)
        write_vectors(
            paths.embeddings(day),
            [vectors.astype(np.float32)],
            dimension=DIMENSION,
            windows=table,
            attributes={},
        )
        receipt = {"verdict": OK, "windows": len(table), "fingerprint": str(day)}
        write_receipt(paths.embeddings_receipt(day), receipt)
        path = paths.assignment(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(
            {
                "recording": [store.recordings[one] for one in store.recording],
                "offset": store.offset,
                "time": store.time,
                "cluster": planted.astype(np.int32),
                "distance": np.zeros(len(table), np.float32),
            }
        ).write_parquet(path)
        write_receipt(paths.assignment_receipt(day), receipt)
        self.plant_birdnet(day, table)

    def plant_birdnet(self, day: RecorderDay, table: WindowTable) -> None:
        """BirdNET is right of every second song, at confidence 0.3 (blackbird) or 0.8."""
        rows = []
        for at, time in zip(table.offset, table.time, strict=True):
            window = int(at) // (3 * RATE)
            species = PLAN[window]
            if species is not None and window < 5:
                sure = 0.3 if species == "Turdus merula" else 0.8
                rows.append([day.recorder, day.date, self.name(day), int(at), time.item()])
                rows[-1] += [species, species.lower(), sure]
        path = self.results.detections(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(path)
        generator = np.random.default_rng(3)
        write_vectors(
            self.results.birdnet_embeddings(day),
            [generator.normal(size=(len(table), 1024)).astype(np.float32)],
            dimension=1024,
            windows=table,
            attributes={},
        )
        recording = {"recording": self.name(day), "sample_rate": RATE, "windows": len(table)}
        write_receipt(
            self.results.detections_receipt(day),
            {
                "verdict": OK,
                "recordings": [recording],
                "fingerprint": f"birdnet {day}",
                "windows": len(table),
            },
        )

    def write_truth(self) -> None:
        rows = [
            {
                "recording": self.name(day),
                "start_s": window * 3 + 1.0,
                "end_s": window * 3 + 2.0,
                "low_hz": SPECIES[species] - 200,
                "high_hz": SPECIES[species] + 200,
                "species": species,
                "kind": "song",
                "snr_db": 20.0,
            }
            for day in self.all_days
            for window, species in enumerate(PLAN)
            if species is not None
        ]
        rain = {**rows[0], "start_s": 0.0, "end_s": 30.0, "species": "rain", "kind": "noise"}
        pl.DataFrame([*rows, rain]).write_parquet(self.truth)
