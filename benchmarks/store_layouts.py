"""How a day of codes lies best on the disk: compressors, windows per chunk, windows per shard.

The codes are the simulator's sound through our own spectrograph. Every layout is written, read whole
and read window by window, through the zarrs pipeline with one thread and once through Zarr's own; CPU
seconds, the best of the rounds, everything in the page cache. A codec that zarrs lacks runs through
Zarr's own pipeline and is marked with a star.

Run ``python benchmarks/store_layouts.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from sides import FRAMES, MELS, RATE, WINDOW
from sides.clock import THREAD_VARIABLES, cores
from sides.sound import make_card
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.codecs.numcodecs import Delta

from spectrograms import heading

PIPELINES = {
    "zarrs": {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1},
    "zarr": {"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"},
}


def blosc(name: str, level: int, shuffle: str) -> dict[str, Any]:
    return {
        "compressors": BloscCodec(cname=name, clevel=level, shuffle=shuffle, typesize=1),
    }


def delta() -> Delta:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the specification of Zarr v3 does not know it
        return Delta(dtype="u1")


COMPRESSORS: dict[str, dict[str, Any]] = {
    "none": {"compressors": None},
    "lz4 (blosc)": blosc("lz4", 5, "noshuffle"),
    "lz4 (blosc), bits shuffled": blosc("lz4", 5, "bitshuffle"),
    "zstd 1": {"compressors": ZstdCodec(level=1, checksum=True)},
    "zstd 1, no checksum": {"compressors": ZstdCodec(level=1)},
    "zstd 3": {"compressors": ZstdCodec(level=3, checksum=True)},
    "zstd 9": {"compressors": ZstdCodec(level=9, checksum=True)},
    "zstd 1 (blosc)": blosc("zstd", 1, "noshuffle"),
    "zstd 1 (blosc), bits shuffled": blosc("zstd", 1, "bitshuffle"),
    "gzip 1": {"compressors": GzipCodec(level=1)},
    "* delta along frames, zstd 1": {
        "compressors": ZstdCodec(level=1, checksum=True),
        "filters": [delta()],
    },
    "* frames outside bands, zstd 1": {
        "compressors": ZstdCodec(level=1, checksum=True),
        "filters": [TransposeCodec(order=(0, 2, 1))],
    },
}
SLOW = ("* delta along frames, zstd 1", "* frames outside bands, zstd 1", "gzip 1", "zstd 9")
"""Measured at one chunk size only."""
CHUNKS, SHARDS = (1, 4, 16, 64), (256, 1024, 4096)
SINGLES = 200
"""Windows read one by one."""
RANDOM = np.random.default_rng(5)


@dataclass
class Layout:
    """One way to lay out a day, and what came of it."""

    compressor: str
    chunk: int
    shard: int | None
    pipeline: str = "zarrs"
    write: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    size: int = 0
    files: int = 0

    @property
    def name(self) -> str:
        shard = "no shards" if self.shard is None else f"shards of {self.shard}"
        return f"{self.compressor}, chunks of {self.chunk}, {shard}, {self.pipeline}"

    def measure(self, codes: np.ndarray, path: Path) -> None:
        """Write, read and read again; one round."""
        shutil.rmtree(path, ignore_errors=True)
        picture = codes.shape[1:]
        # Equal shards, none larger than asked for, as our writer cuts a day; each is written at once.
        # Without shards, as much is written at once.
        most = self.shard or 1024
        shards = -(-len(codes) // most)
        step = -(-len(codes) // (shards * self.chunk)) * self.chunk
        with zarr.config.set(PIPELINES[self.pipeline]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what zarrs lacks, Zarr does
            array = zarr.create_array(
                path,
                shape=codes.shape,
                dtype="uint8",
                chunks=(self.chunk, *picture),
                shards=None if self.shard is None else (step, *picture),
                fill_value=0,
                zarr_format=3,
                **COMPRESSORS[self.compressor],
            )
            started = time.process_time()
            for first in range(0, len(codes), step):
                array[first : first + step] = codes[first : first + step]
            self.write.append(time.process_time() - started)
            array = zarr.open_array(path, mode="r")
            started = time.process_time()
            for first in range(0, len(codes), step):
                array[first : first + step]
            self.read.append(time.process_time() - started)
            wanted = RANDOM.integers(0, len(codes), SINGLES)
            started = time.process_time()
            for number in wanted:
                array[int(number)]
            self.single.append((time.process_time() - started) / SINGLES)
        last = int(wanted[-1])
        assert np.array_equal(array[last], codes[last])
        files = [file for file in path.rglob("*") if file.is_file()]
        self.size, self.files = sum(file.stat().st_size for file in files), len(files)
        shutil.rmtree(path)


def layouts() -> list[Layout]:
    """All that are measured; the default of the configuration is among them."""
    found = [
        Layout(compressor, chunk, 1024)
        for compressor in COMPRESSORS
        for chunk in ((4,) if compressor in SLOW else (1, 4, 16))
    ]
    known = {layout.name for layout in found}
    grid = [Layout("zstd 1", chunk, shard) for shard in SHARDS for chunk in CHUNKS]
    grid += [Layout("zstd 1", 4, 1024, "zarr"), Layout("zstd 1", 4, None)]
    return found + [layout for layout in grid if layout.name not in known]


def make_codes(root: Path, minutes: int) -> np.ndarray:
    """Codes of the simulator's sound, uint8 (windows, mels, frames)."""
    from dawnchorus.config import Spectrogram
    from dawnchorus.recordings.audio import windows
    from dawnchorus.spectrograms.spectrograph import Spectrograph

    path = make_card(root, "REC01", minutes, recordings=6 if minutes > 60 else 2)
    spectrograph = Spectrograph(Spectrogram())
    blocks = windows(path, sample_rate=RATE, window_seconds=WINDOW / RATE)
    return np.concatenate([spectrograph(block.samples).codes for block in blocks])


def least(codes: np.ndarray, path: Path) -> float:
    """CPU seconds to write the codes as one file, as they are."""
    started = time.process_time()
    codes.tofile(path)
    took = time.process_time() - started
    path.unlink()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="30 minutes of sound instead of 4 hours, 1 round"
    )
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    minutes, rounds = (30, 1) if options.quick else (240, 3)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    if cores()[0] is not None:
        os.sched_setaffinity(0, {cores()[0]})
    for line in heading(("dawnchorus", "numpy", "zarr", "zarrs", "numcodecs")):
        show(line)
    seconds, found = minutes * 60, layouts()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        codes = make_codes(root, minutes)
        megabytes = codes.nbytes / 1e6
        show(
            f"codes: {len(codes):,} windows of {MELS} x {FRAMES}, {megabytes:,.0f} MB, of "
            f"{minutes} simulated min"
        )
        show(f"one core, one thread, page cache; CPU seconds, best of {rounds} rounds in turns")
        show("")
        floor = seconds / min(least(codes, root / "plain") for _ in range(3))
        for _ in range(rounds):
            for layout in found:
                layout.measure(codes, root / "codes.zarr")

    show(
        "| compressor | windows per chunk | most windows per shard | pipeline | writes x real time | "
        "writes MB/s | reads MB/s | single windows/s | MB per hour of sound | files |"
    )
    show("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|")
    for layout in found:
        write, read, single = min(layout.write), min(layout.read), min(layout.single)
        show(
            f"| {layout.compressor} | {layout.chunk} | {layout.shard or 'none'} | "
            f"{layout.pipeline} | {seconds / write:,.0f} | {megabytes / write:,.0f} | "
            f"{megabytes / read:,.0f} | {1 / single:,.0f} | "
            f"{layout.size / 1e6 / minutes * 60:.2f} | {layout.files:,} |"
        )
    show("")
    default = default_layout(found)
    ours = seconds / min(default.write)
    others = {
        layout.name: round(seconds / min(layout.write), 1)
        for layout in found
        if layout is not default and (layout.chunk, layout.shard) == (default.chunk, default.shard)
    }
    show(f"the default: {default.name}")
    show(f"plain codes into one file: {floor:,.0f} x real time")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    show(
        json.dumps(
            {
                "benchmark": "store_layouts",
                "ours": round(ours, 1),
                "unit": "x real time written, per core",
                "peers": others,
                "floor": round(floor, 1),
                "ratio_to_fastest_peer": round(ours / max(others.values()), 3),
                "ratio_to_floor": round(ours / floor, 3),
                "reads_mb_per_s": round(megabytes / min(default.read)),
                "single_windows_per_s": round(1 / min(default.single)),
                "mb_per_hour": round(default.size / 1e6 / minutes * 60, 2),
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


def default_layout(found: list[Layout]) -> Layout:
    """The layout that the configuration asks for."""
    from dawnchorus.config import Spectrogram
    from dawnchorus.spectrograms.writer import ZSTD_LEVEL

    settings = Spectrogram()
    wanted = (f"zstd {ZSTD_LEVEL}", settings.chunk_windows, settings.shard_windows, "zarrs")
    return next(
        layout
        for layout in found
        if (layout.compressor, layout.chunk, layout.shard, layout.pipeline) == wanted
    )


if __name__ == "__main__":
    main()
