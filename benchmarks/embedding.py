"""Embedding: windows per second of a recorder-day, beside the bare forward pass of the same network.

Ours is ``embed_day`` as the command calls it: model read, windows of 128 x 256 read from a spectrogram
store, normalised, embedded, kept in half precision, published, with a receipt. The floor is the forward
pass alone, over and over on one batch that is normalised already, at whatever batch is fastest. The peer
is the loop that one writes in an evening: batches from the same store, one after the other, through
the same network, collected and saved with numpy. For ViT-Ti and ViT-S, with one worker on one core and
with two on two; sides in turns, the best of the rounds counts.

Then: two processes instead of two workers; and what half precision changes of a real output space, if
one is given with ``--stores`` (a folder of embeddings that are kept in float32).

Run ``python benchmarks/embedding.py [--quick] [--stores FOLDER] [--precision bf16] [--save FILE]``; on the
GPU if there is one, else on the CPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dawnchorus.config import Settings, validate
from dawnchorus.embedding.day import embed_day
from dawnchorus.learning.backbone import (
    ModelMetadata,
    features,
    load_model,
    model_input,
    save_model,
)
from dawnchorus.results import RecorderDay, Results, publishing, write_receipt
from dawnchorus.spectrograms.spectrograph import Spectra
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.writer import SpectrogramWriter
from dawnchorus.vectors import VectorStore
from spectrograms import heading

PACKAGES = ("dawnchorus", "torch", "timm", "numpy", "zarr", "zarrs")
SIZES = ("vit_tiny", "vit_small")
DAY = RecorderDay("REC01", "2021-05-24")
MELS, FRAMES = 128, 256
BATCH = 256
BARE_BATCHES = {"cpu": (16, 64, 256), "cuda": (256, 1024)}
WINDOWS = {
    "cpu": {"vit_tiny": 1024, "vit_small": 512},
    "cuda": {"vit_tiny": 65_536, "vit_small": 65_536},
}
Rates = tuple[float, float]
"""Windows per second by the clock, and per second of the process's CPU time."""
QUICK = {"cpu": {"vit_tiny": 128, "vit_small": 48}, "cuda": {"vit_tiny": 8192, "vit_small": 8192}}


def settings_of(root: Path, precision: str) -> Settings:
    experiments = {size: {"backbone": size, "method": "untrained"} for size in SIZES}
    embedding = {"batch_size": BATCH, "precision": precision}
    return validate({"results": str(root), "experiments": experiments, "embedding": embedding})


def write_day(settings: Settings, results: Results, windows: int) -> None:
    """A recorder-day of noise whose level wanders, as spectrograms compress it."""
    generator = np.random.default_rng(0)
    still = np.zeros(windows)
    with (
        publishing(results.spectrograms(DAY)) as sibling,
        SpectrogramWriter(sibling, settings.spectrogram, windows) as writer,
    ):
        for first in range(0, windows, 1024):
            count = min(1024, windows - first)
            level = generator.normal(60, 20, (count, MELS, 1))
            noise = generator.normal(0, 12, (count, MELS, FRAMES)).astype(np.float32)
            codes = np.clip(level + noise, 0, 255).astype(np.uint8)
            rows = slice(first, first + count)
            flat = still[rows].astype(np.float32)
            start = np.datetime64(f"{DAY.date}T04:00:00", "us")
            writer.append(
                Spectra(codes, flat, flat, 0, 0, 0, *[still[rows]] * 3),
                recording=0,
                offset=np.arange(first, first + count, dtype=np.int64) * 132_300,
                time=start + np.arange(first, first + count) * np.timedelta64(3, "s"),
            )
        content = writer.finish({"recordings": ["REC01/day.wav"], "parameters_fingerprint": "p"})
    receipt = {"verdict": "ok", "reason": None, "windows": windows, "parameters": "p"}
    write_receipt(results.spectrograms_receipt(DAY), {**receipt, "fingerprint": content})


def write_model(results: Results, size: str) -> None:
    metadata = ModelMetadata(size, 16, MELS, FRAMES, "cls", -90.0, 12.0, -120.0, 0.5)
    torch.manual_seed(0)
    save_model(results.experiment(size).model, metadata.build().state_dict(), metadata)


def forget(results: Results, size: str) -> None:
    shutil.rmtree(results.experiment(size).root / "embeddings", ignore_errors=True)


class Stopwatch:
    """Times a block that works through so many windows."""

    rates: Rates

    def __init__(self, windows: int) -> None:
        self._windows = windows

    def __enter__(self) -> Stopwatch:
        self._begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        now = time.perf_counter(), time.process_time()
        wall, cpu = (after - before for after, before in zip(now, self._begun, strict=True))
        self.rates = self._windows / wall, self._windows / cpu


class Bare:
    """The forward pass alone, on threads of one core each."""

    def __init__(self, path: Path, device: str, precision: str) -> None:
        self.module, self.metadata = load_model(path)
        self.module.to(device)
        self.device, self.precision = device, precision

    def rate(self, batch: int, windows: int, threads: int) -> Rates:
        codes = np.random.default_rng(1).integers(0, 120, (batch, MELS, FRAMES), np.uint8)
        x = model_input(torch.from_numpy(codes).to(self.device), self.metadata)
        passes = max(1, windows // batch // threads)

        def run(_: int) -> None:
            bf16 = self.device == "cuda" and self.precision == "bf16"
            with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
                for _ in range(passes):
                    features(self.module, x, "cls")
            if self.device == "cuda":
                torch.cuda.synchronize()

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(threads)))  # warm
            with Stopwatch(passes * batch * threads) as watch:
                list(pool.map(run, range(threads)))
        torch.set_num_threads(before)
        return watch.rates


def evening(results: Results, size: str, device: str, threads: int) -> Rates:
    """The peer: a plain loop."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    store = SpectrogramStore.open(results.spectrograms(DAY))
    with Stopwatch(len(store)) as watch:
        plain_loop(store, results, size, device)
    torch.set_num_threads(before)
    return watch.rates


def plain_loop(store: SpectrogramStore, results: Results, size: str, device: str) -> None:
    module, metadata = load_model(results.experiment(size).model)
    module.to(device)
    found = []
    with torch.inference_mode():
        for start in range(0, len(store), BATCH):
            codes = torch.from_numpy(store.codes(start, min(start + BATCH, len(store))))
            x = model_input(codes.to(device), metadata)
            found.append(features(module, x, "cls").cpu().numpy())
    np.save(results.root / "evening.npy", np.concatenate(found))


def ours(settings: Settings, results: Results, size: str, device: str, **how: int) -> Rates:
    """``embed_day``, all of it."""
    forget(results, size)
    windows = len(SpectrogramStore.open(results.spectrograms(DAY)))
    with Stopwatch(windows) as watch:
        embed_day(settings, results, size, DAY, device=device, **how)
    return watch.rates


def sides_of(
    settings: Settings,
    results: Results,
    size: str,
    device: str,
    workers: int,
    bare: Bare,
    windows: int,
    quick: bool,
) -> dict[str, Callable[[], Rates]]:
    """The sides, each a call that gives windows per second."""
    # On a GPU a second thread copies while the first computes.
    threads = 2 if device == "cuda" else workers
    batches = BARE_BATCHES[device][:1] if quick else BARE_BATCHES[device]
    sides = {"ours": partial(ours, settings, results, size, device, workers=threads)}
    for batch in batches:
        sides[f"bare, batch {batch}"] = partial(bare.rate, batch, windows // 2, workers)
    sides["loop"] = partial(evening, results, size, device, workers)
    return sides


def best(rounds: int, sides: dict[str, Callable[[], Rates]]) -> dict[str, Rates]:
    """Let sides run in turns; keep each one's best, by the clock and by the processor."""
    found = dict.fromkeys(sides, (0.0, 0.0))
    for _ in range(rounds):
        for name, side in sides.items():
            (wall, cpu), (before, before_cpu) = side(), found[name]
            found[name] = max(wall, before), max(cpu, before_cpu)
    return found


def rounding(folder: Path, most: int = 4000) -> dict[str, float]:
    """What half precision changes: cosine distances, nearest neighbours, clusters of k-means."""
    from dawnchorus.clustering.kmeans import spherical_kmeans
    from dawnchorus.clustering.sphere import nearest, unit

    stores = [VectorStore.open(path) for path in sorted(folder.glob("*/*.zarr"))]
    assert all(store.kept == "float32" for store in stores), "they are in half precision already"
    vectors = np.concatenate([store.read() for store in stores])
    some = np.random.default_rng(0).permutation(len(vectors))[:most]
    full = unit(vectors[some])
    half = unit(vectors[some].astype(np.float16))
    centres = spherical_kmeans(full, min(100, len(full) // 10), seed=0, restarts=1)
    clusters = [nearest(rows, centres)[0] for rows in (full, half)]
    # In double precision, so that only the rounding of the vectors is measured.
    similar = [rows.astype(np.float64) @ rows.astype(np.float64).T for rows in (full, half)]
    for matrix in similar:
        np.fill_diagonal(matrix, -1)
    neighbours = [matrix.argmax(axis=1) for matrix in similar]
    return {
        "windows": len(some),
        "largest_change_of_cosine": float(np.abs(similar[0] - similar[1]).max()),
        "same_nearest_neighbour": float((neighbours[0] == neighbours[1]).mean()),
        "same_cluster": float((clusters[0] == clusters[1]).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer windows, one round")
    parser.add_argument("--stores", type=Path, help="embeddings in float32, to round")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    windows = (QUICK if options.quick else WINDOWS)[device]
    rounds = 1 if options.quick else 2
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(PACKAGES):
        show(line)
    if device == "cuda":
        show(f"GPU: {torch.cuda.get_device_name()}, {options.precision}")
    show(f"noise of {MELS} x {FRAMES}; batches of {BATCH}; best of {rounds} rounds, in turns")
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = settings_of(root, options.precision)
        results = Results(root)
        for size in SIZES:
            write_day(settings, results, windows[size])
            write_model(results, size)
            bare = Bare(results.experiment(size).model, device, options.precision)
            show("")
            show(f"{size}: {windows[size]:,} windows")
            for workers in (1,) if device == "cuda" else (1, 2):
                sides = sides_of(
                    settings, results, size, device, workers, bare, windows[size], options.quick
                )
                told = best(rounds, sides)
                passes = [of for name, of in told.items() if name.startswith("bare")]
                floor, floor_cpu = (max(of[kind] for of in passes) for kind in (0, 1))
                for name, (rate, cpu) in told.items():
                    show(
                        f"  {workers} worker(s), {name:15} {rate:9,.1f} windows/s, "
                        f"{cpu:9,.1f} per CPU second"
                    )
                mine, mine_cpu = told["ours"]
                show(
                    f"  {workers} worker(s): ours to the fastest bare pass {mine / floor:.3f} by the "
                    f"clock, {mine_cpu / floor_cpu:.3f} by the processor; to the loop "
                    f"{mine / told['loop'][0]:.2f}"
                )
                found[f"{size}, {workers}"] = {
                    "ours": mine,
                    "loop": told["loop"][0],
                    "floor": floor,
                    "by_processor": mine_cpu / floor_cpu,
                }
        if not options.quick and device == "cpu":
            both = max(
                ours(settings, results, SIZES[0], device, processes=2)[0] for _ in range(rounds)
            )
            show("")
            show(f"{SIZES[0]}: two processes of one worker {both:,.1f} windows/s, with their start")
    rounded = None
    if options.stores is not None:
        rounded = rounding(options.stores)
        show("")
        show(
            f"half precision, {rounded['windows']:,} windows of a real space: cosines change by "
            f"{rounded['largest_change_of_cosine']:.1e} at most, the nearest neighbour of "
            f"{rounded['same_nearest_neighbour']:.2%} is the same, the cluster of "
            f"{rounded['same_cluster']:.2%}"
        )
    show("")
    first = found[f"{SIZES[1]}, 1"]
    ratios = {name: round(one["ours"] / one["floor"], 3) for name, one in found.items()}
    show(
        json.dumps(
            {
                "benchmark": "embedding",
                "ours": round(first["ours"], 1),
                "unit": "windows/s of ViT-S, one worker",
                "peers": {"plain loop": round(first["loop"], 1)},
                "floor": round(first["floor"], 1),
                "ratio_to_fastest_peer": round(first["ours"] / first["loop"], 3),
                "ratio_to_floor": ratios[f"{SIZES[1]}, 1"],
                "ratios_to_floor": ratios,
                "ratios_by_processor": {
                    name: round(one["by_processor"], 3) for name, one in found.items()
                },
                "half_precision": rounded,
                "device": device,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
