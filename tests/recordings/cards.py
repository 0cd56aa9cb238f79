"""Recordings and cards made by hand, byte by byte where it matters."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path

import numpy as np

from dawnchorus.config import Audio, Settings
from dawnchorus.results import Results

RATE = 8000


def chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def info(comment: str) -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"ICMT", comment.encode() + b"\0"))


def audiomoth(start: datetime, zone: str = "UTC") -> str:
    return (
        f"Recorded at {start:%H:%M:%S %d/%m/%Y} ({zone}) by AudioMoth 24F3190361CC4A5B at medium gain "
        "while battery was 4.6V and temperature was 17.7C."
    )


def wav(
    samples: np.ndarray,
    rate: int = RATE,
    *,
    before: bytes = b"",
    after: bytes = b"",
    data_size: int | None = None,
) -> bytes:
    """A 16-bit WAVE file; ``data_size`` is what the header claims."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    payload = samples.astype("<i2").tobytes()
    claimed = len(payload) if data_size is None else data_size
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    data = b"data" + struct.pack("<I", claimed) + payload + b"\0" * (len(payload) % 2)
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + data + after
    return b"RIFF" + struct.pack("<I", len(body) + claimed - len(payload)) + body


def noise(seconds: float, rate: int = RATE, seed: int = 0, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels) if channels > 1 else round(seconds * rate)
    return np.random.default_rng(seed).integers(-9000, 9000, shape).astype(np.int16)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def settings_of(root: Path, **audio: object) -> Settings:
    return Settings(audio=Audio(root=root, **audio))  # type: ignore[arg-type]


def results_of(folder: Path) -> Results:
    return Results(folder / "results")
