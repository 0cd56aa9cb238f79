"""What others would write: torchaudio with the same store, librosa on blocks, librosa per window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from sides import F_MAX, F_MIN, FRAMES, HOP, MELS, N_FFT, RATE, SPAN, WINDOW

BATCH = 8
"""Windows per batch of torchaudio: of 1, 2, 4, ... 64 none is faster."""
LOOPED_SECONDS = 600
"""What the loop per window does of a longer file: it takes minutes."""
TOLD = {
    "torchaudio, store": (
        "soundfile.read + torchaudio.transforms.MelSpectrogram(44100, 1024, hop_length=512, "
        "f_min=150, f_max=15000, n_mels=128, center=False) on 8 windows at a time + decibels and "
        "codes in place; a shard at a time into zarr (zarrs pipeline, 1 thread, zstd 1), coordinates "
        "(without activity), os.rename; without hashes and checks of the file"
    ),
    "librosa, picture": (
        "soundfile.read of 60 s + librosa.feature.melspectrogram(sr=44100, n_fft=1024, "
        "hop_length=512, n_mels=128, fmin=150, fmax=15000, htk=True, norm=None, center=False) + "
        "power_to_db; nothing is stored"
    ),
    "librosa, loop": (
        "per window: librosa.load(path, sr=None, offset=, duration=3) + melspectrogram + "
        f"power_to_db; nothing is stored (the first {LOOPED_SECONDS} s of the file)"
    ),
}
LIBROSA = {
    "sr": RATE,
    "n_fft": N_FFT,
    "hop_length": HOP,
    "n_mels": MELS,
    "fmin": F_MIN,
    "fmax": F_MAX,
    "htk": True,
    "norm": None,
    "center": False,
}


def looped_seconds(path: Path) -> int:
    """Seconds of a file that the loop per window does."""
    return min(LOOPED_SECONDS, int(soundfile.info(path).duration))


def store(root: Path) -> Path:
    """Where torchaudio's store lies."""
    return root / "torchaudio.zarr"


def prepare_torchaudio(root: Path, path: Path) -> Callable[[], None]:  # noqa: PLR0915 - as a script
    import torch
    import torchaudio
    import zarr
    from zarr.codecs import ZstdCodec

    torch.set_num_threads(1)
    transform = torchaudio.transforms.MelSpectrogram(
        RATE, N_FFT, hop_length=HOP, f_min=F_MIN, f_max=F_MAX, n_mels=MELS, center=False
    )
    # One-sided power relative to a full-scale sine, then half decibels above -120 dB.
    scale = 4.0 / (N_FFT * 3.0 / 8.0 * N_FFT)
    code_of_one = 2 * (10 * np.log10(scale) + 120)
    chunk, most = 4, 1024
    started = np.datetime64("2021-05-24T05:00:00", "us").astype(np.int64)

    def codes_of(samples: torch.Tensor) -> torch.Tensor:
        power = transform(samples[:, :SPAN]).clamp_min_(1e-30)
        return power.log10_().mul_(20).add_(code_of_one).round_().clamp_(0, 255).to(torch.uint8)

    def coordinate(group: zarr.Group, name: str, values: np.ndarray, dimension: str) -> None:
        group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=ZstdCodec(level=1, checksum=True),
            dimension_names=(dimension,),
        )[:] = values

    def run() -> None:
        partial = store(root).with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(store(root), ignore_errors=True)
        with torch.inference_mode(), soundfile.SoundFile(path) as file:
            total = file.frames // WINDOW
            shards = -(-total // most)
            shard = -(-total // (shards * chunk)) * chunk
            group = zarr.open_group(partial, mode="w-", zarr_format=3)
            pipeline = {
                "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
                "threading.max_workers": 1,
            }
            with zarr.config.set(pipeline):
                codes = group.create_array(
                    "spectrogram",
                    shape=(total, MELS, FRAMES),
                    dtype="uint8",
                    chunks=(chunk, MELS, FRAMES),
                    shards=(shard, MELS, FRAMES),
                    compressors=ZstdCodec(level=1, checksum=True),
                    fill_value=0,
                    dimension_names=("window", "mel", "frame"),
                )
            held = np.empty((shard, MELS, FRAMES), np.uint8)
            samples = np.empty((BATCH, WINDOW), np.float32)
            level = np.empty(total, np.float32)
            for first in range(0, total, shard):
                last = min(first + shard, total)
                for at in range(first, last, BATCH):
                    count = min(BATCH, last - at)
                    file.read(out=samples[:count].reshape(-1))
                    of_batch = torch.from_numpy(samples[:count])
                    held[at - first : at - first + count] = codes_of(of_batch).numpy()
                    square = of_batch.square().mean(1).clamp_min_(1e-20)
                    level[at : at + count] = square.mul_(2).log10_().mul_(10).numpy()
                codes[first:last] = held[: last - first]
            offset = np.arange(total, dtype=np.int64) * WINDOW
            corner = np.linspace(
                *(2595 * np.log10(1 + np.array([F_MIN, F_MAX]) / 700)), MELS + 2, dtype=np.float64
            )
            hertz = 700 * (10 ** (corner / 2595) - 1)
            coordinate(group, "time", started + offset * 1_000_000 // RATE, "window")
            coordinate(group, "recording", np.zeros(total, np.int32), "window")
            coordinate(group, "offset", offset, "window")
            coordinate(group, "level", level, "window")
            coordinate(group, "mel_frequency", hertz[1:-1], "mel")
            coordinate(group, "mel_low", hertz[:-2], "mel")
            coordinate(group, "mel_high", hertz[2:], "mel")
            middle = (np.arange(FRAMES) * HOP + N_FFT / 2) / RATE
            coordinate(group, "frame_time", middle, "frame")
        zarr.consolidate_metadata(partial)
        os.rename(partial, store(root))  # noqa: PTH104 - as users write it

    return run


def prepare_librosa(_: Path, path: Path) -> Callable[[], None]:
    import librosa

    def run() -> None:
        for samples in soundfile.blocks(path, 60 * RATE, dtype="float32"):
            power = librosa.feature.melspectrogram(y=samples, **LIBROSA)
            librosa.power_to_db(power, ref=1.0, top_db=None)

    return run


def prepare_loop(_: Path, path: Path) -> Callable[[], None]:
    import librosa

    def run() -> None:
        for start in range(0, looped_seconds(path), 3):
            samples, _ = librosa.load(path, sr=None, offset=start, duration=3)
            power = librosa.feature.melspectrogram(y=samples, **LIBROSA)
            librosa.power_to_db(power)

    return run


PREPARE = {
    "torchaudio, store": prepare_torchaudio,
    "librosa, picture": prepare_librosa,
    "librosa, loop": prepare_loop,
}
