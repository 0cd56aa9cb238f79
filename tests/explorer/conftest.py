"""A small season in the pipeline's own schemas: every window holds a tone of its own.

REC01 has two recordings of 30.5 s at 44.1 kHz, REC02 one at 48 kHz, so 30 windows. In window k of a
recording there is a tone of 1000 + 500 k Hz. In the map, window k of recording r lies at (k, r); its
cluster is k % 3. BirdNET hears a wren in the windows 2 and 3 of the first recording.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from dawnchorus.config import Settings, validate
from dawnchorus.explorer.explore import Service, open_explorer
from dawnchorus.explorer.served import Explorer
from dawnchorus.learning.backbone import ModelMetadata, save_model
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.sharing.tables import export_tables
from dawnchorus.spectrograms.day import make_day

DATE = "2021-05-24"
WINDOWS = 10
RECORDINGS = [
    # name, rate, UTC start; local time is UTC - 5 h
    ("REC01/Data/REC01_20210524_045930.wav", 44_100, datetime(2021, 5, 24, 9, 59, 45, tzinfo=UTC)),
    ("REC01/Data/REC01_20210524_060000.wav", 44_100, datetime(2021, 5, 24, 11, 0, 0, tzinfo=UTC)),
    ("REC02/20210524_230000.WAV", 48_000, datetime(2021, 5, 25, 4, 0, 0, tzinfo=UTC)),
]
EXPERIMENT = "dino_nano"


def hertz(window: int) -> float:
    return 1000.0 + 500.0 * window


def sound(rate: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 30, round(30.5 * rate))
    length = 3 * rate
    for window in range(WINDOWS):
        time = np.arange(length) / rate
        tone = 8000 * np.sin(2 * np.pi * hertz(window) * time)
        samples[window * length : (window + 1) * length] += tone
    return np.rint(samples).astype(np.int16)


@dataclass(frozen=True)
class Season:
    root: Path
    settings: Settings
    results: Results
    sounds: list[np.ndarray]

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    @property
    def journal(self) -> Path:
        return self.results.root / "labels" / "journal.jsonl"

    def open(self) -> Explorer:
        def export(out: Path, form: str) -> object:
            return export_tables(self.settings, self.results, out, "labels", None, [form])

        return open_explorer(self.results, None, self.cards, self.settings, export)


def row(recording: int, window: int) -> int:
    return recording * WINDOWS + window


def write_map(results: Results, projection: str = "projection-1", clusters: str = "fit-1") -> None:
    """Points, assignments and receipts as the clustering room writes them."""
    paths = results.experiment(EXPERIMENT)
    days: dict[str, dict[str, object]] = {}
    for recorder in ("REC01", "REC02"):
        day = RecorderDay(recorder, DATE)
        parts = []
        for number, (name, rate, _) in enumerate(RECORDINGS):
            if name.startswith(recorder):
                window = np.arange(WINDOWS)
                parts.append(
                    pl.DataFrame(
                        {
                            "recording": [name] * WINDOWS,
                            "offset": window * 3 * rate,
                            "x": window.astype(np.float32),
                            "y": np.full(WINDOWS, number, np.float32),
                            "cluster": (window % 3).astype(np.int32),
                            "distance": (0.1 * window).astype(np.float32),
                        }
                    )
                )
        windows = pl.concat(parts)
        for path, columns in (
            (paths.points(day), ["recording", "offset", "x", "y"]),
            (paths.assignment(day), ["recording", "offset", "cluster", "distance"]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            # The join must not depend on the order of the assignments.
            (windows if "x" in columns else windows.reverse()).select(columns).write_parquet(path)
        days[str(day)] = {"windows": windows.height, "embeddings": "e"}
    days["REC03/2021-05-24"] = {"windows": 0, "embeddings": None}
    write_receipt(paths.map_receipt, {"projection": projection, "days": days})
    write_receipt(paths.clusters_receipt, {"fingerprint": clusters})


def write_detections(results: Results) -> None:
    day = RecorderDay("REC01", DATE)
    name, rate, start = RECORDINGS[0]
    heard = [
        (2, "Troglodytes aedon", "House Wren", 0.9),
        (2, "Spizella pusilla", "Field Sparrow", 0.4),
        (3, "Spizella pusilla", "Field Sparrow", 0.2),
        (3, "Troglodytes aedon", "House Wren", 0.7),
    ]
    path = results.detections(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "recorder": ["REC01"] * 4,
            "date": [DATE] * 4,
            "recording": [name] * 4,
            "offset": [window * 3 * rate for window, *_ in heard],
            "time": [start] * 4,
            "species": [species for _, species, _, _ in heard],
            "common_name": [common for _, _, common, _ in heard],
            "confidence": [confidence for *_, confidence in heard],
        },
        schema_overrides={"confidence": pl.Float32},
    ).write_parquet(path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Season:
    """The season that tests only read."""
    return make_season(tmp_path_factory.mktemp("season"))


@pytest.fixture
def season(tmp_path: Path, made: Season) -> Season:
    """The same season with a results folder of its own (the cards are shared)."""
    import shutil

    shutil.copytree(made.results.root, tmp_path / "results")
    return Season(made.root, made.settings, Results(tmp_path / "results"), made.sounds)


def make_season(root: Path) -> Season:
    settings = validate(
        {
            "results": str(root / "results"),
            "audio": {"root": str(root / "cards")},
            "experiments": {EXPERIMENT: {"backbone": "vit_nano"}},
        }
    )
    results = Results(settings.results)
    rows, sounds = [], []
    for number, (name, rate, start) in enumerate(RECORDINGS):
        path = root / "cards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = sound(rate, number)
        soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")
        sounds.append(samples)
        stat = path.stat()
        rows.append(
            Recording(
                recording=name,
                recorder=name.split("/")[0],
                date=DATE,
                start_utc=start,
                utc_offset_minutes=-300,
                duration_s=len(samples) / rate,
                frames=len(samples),
                promised_frames=len(samples),
                sample_rate=rate,
                channels=1,
                format="WAV PCM_16",
                convention="test",
                habitat="wood" if number < 2 else "marsh",
                size_bytes=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
            )
        )
    write_recordings(results.recordings, rows)
    for recorder in ("REC01", "REC02"):
        make_day(settings, results, RecorderDay(recorder, DATE))
    write_map(results)
    write_detections(results)
    metadata = ModelMetadata("vit_nano", 16, 128, 256, "cls", -80.0, 10.0, -120.0, 0.5)
    torch.manual_seed(0)
    save_model(results.experiment(EXPERIMENT).model, metadata.build().state_dict(), metadata)
    return Season(root, settings, results, sounds)


@pytest.fixture
def service(season: Season) -> Iterator[Service]:
    """The explorer as a real server."""
    bound = Service.bind(season.open())
    thread = threading.Thread(target=bound.run)
    thread.start()
    assert bound.ready.wait(30)
    yield bound
    bound.server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
