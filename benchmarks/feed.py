"""An epoch streamed from the stores of a season: every window once, memory, rate; beside other ways to read.

909 stores are written with the spectrogram writer, every window with its number in its codes. Ours is
the feed of the training, from the first read to the last batch, in blocks much smaller than the set.
The peers read windows in an entirely random order: one ``store.take`` for each, and PyTorch's
DataLoader with spawned workers. The floor is zarr alone, whole stores one after the other. Each side
runs in its own process, all after one another, with the stores in the page cache as far as it holds them.

Run ``python benchmarks/feed.py [--quick] [--windows N] [--save FILE]``; 9560 windows in a store are
the reference season's, and take 200 GB and an hour to write.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dawnchorus.config import Spectrogram, validate
from dawnchorus.learning import training_set
from dawnchorus.learning.feed import StreamFeed
from dawnchorus.learning.frozen import KEYS, read_compact, runs_of_days, table_fingerprint
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.spectrograms.spectrograph import Spectra
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.writer import SpectrogramWriter
from spectrograms import heading

MELS, FRAMES, BATCH = 128, 256, 512
SEASON_WINDOWS, SEASON_DAYS, READERS = 9_560, 909, 2
TOLD = {
    "ours": "feed.StreamFeed.batches over an epoch, one process, 2 reading threads",
    "one of 8": "the same as process 0 of 8: what each GPU's process reads and decodes",
    "store.take": "SpectrogramStore.take([row]) for random windows",
    "DataLoader": "torch DataLoader, shuffle, 2 spawned workers, batches of 512",
    "zarr": "zarr.Array[:] of whole stores, one after the other",
}


def resident() -> float:
    """MB in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def peak() -> float:
    """Most MB that were in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def days(count: int) -> list[RecorderDay]:
    first = np.datetime64("2021-05-24")
    return [RecorderDay(f"AM{n // 101:02d}", str(first + n % 101)) for n in range(count)]


def write_season(results: Results, stores: int, windows: int) -> None:
    """Stores of noise as codes have it (5.6 bits a cell), each window with its number in front."""
    noise = np.random.default_rng(0).normal(80, 12, (windows, MELS, FRAMES))
    codes = np.clip(noise, 0, 255).astype(np.uint8)
    shape, flat = Spectrogram(), np.zeros(windows)
    of_windows = flat.astype(np.float32)
    for number, day in enumerate(days(stores)):
        codes[:, 0, :4] = numbered(np.arange(windows) + number * windows)
        path = results.spectrograms(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        with SpectrogramWriter(path, shape, windows) as writer:
            start = np.datetime64(f"{day.date}T04:00:00", "us")
            writer.append(
                Spectra(codes, of_windows, of_windows, 0, 0, 0, flat, flat, flat),
                recording=0,
                offset=np.arange(windows, dtype=np.int64) * shape.window_samples,
                time=start + np.arange(windows) * np.timedelta64(3, "s"),
            )
            writer.finish({"recordings": [f"{day}.wav"], "parameters_fingerprint": "same"})
        receipt = {"verdict": "ok", "windows": windows, "parameters": "same"}
        write_receipt(results.spectrograms_receipt(day), receipt)
    training_set.sample(validate({"training_set": {"windows": stores * windows}}), results)


def numbered(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype("<i4")[:, None].view(np.uint8)


def numbers(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes[:, 0, :4]).view("<i4")[:, 0]


# -- the sides, each in its own process -------------------------------------------------------


def run_ours(results: Results, shuffle: int, world: int = 1) -> dict[str, object]:
    started = time.perf_counter()
    frozen = training_set.open_frozen(results)
    opened = time.perf_counter() - started
    sampler = EpochSampler(frozen.table.height, BATCH, 0, shuffle)
    ranks = Ranks(0, world, 0, torch.device("cpu"), world)
    feed = StreamFeed(frozen, (MELS, FRAMES), sampler, ranks, 10**9, READERS)
    times, during = np.zeros(sampler.windows, np.int64), []
    before, started, used = resident(), time.perf_counter(), time.process_time()
    for batch in feed.batches(0, sampler.steps_per_epoch):
        here = numbers(batch.codes.numpy())
        assert np.array_equal(here, batch.rows)
        times[here] += 1
        during.append(resident())
    wall, used = time.perf_counter() - started, time.process_time() - used
    delivered, thirds = int(times.sum()), np.array_split(during, 3)
    assert times.max() == 1 and delivered == sampler.steps_per_epoch * BATCH // world
    return {
        "windows": delivered,
        "left_out": sampler.windows % BATCH if world == 1 else None,
        "wall": wall,
        "cpu": used,
        "opened": opened,
        "held": feed.places()[1],
        "before_mb": before,
        "thirds_mb": [float(np.median(third)) for third in thirds],
        "peak_mb": peak(),
    }


class Windows(torch.utils.data.Dataset):
    """What a first draft of a training would do: open a store when it is needed, read one window."""

    def __init__(self, paths: list[Path], windows: int) -> None:
        self.paths, self.windows, self.stores = paths, windows, {}

    def __len__(self) -> int:
        return len(self.paths) * self.windows

    def __getitem__(self, row: int) -> torch.Tensor:
        store, place = divmod(int(row), self.windows)
        if store not in self.stores:
            self.stores[store] = SpectrogramStore.open(self.paths[store])
        return torch.from_numpy(self.stores[store].take([place])[0])


def run_take(results: Results, stores: int, windows: int, count: int) -> dict[str, object]:
    data = Windows([results.spectrograms(day) for day in days(stores)], windows)
    order = np.random.default_rng(0).permutation(len(data))
    for row in order[:count]:
        data[row]  # opens the stores
    started, used = time.perf_counter(), time.process_time()
    for row in order[:count]:
        assert numbers(data[row].numpy()[None])[0] == row
    return {
        "windows": count,
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - used,
    }


def run_loader(results: Results, stores: int, windows: int, count: int) -> dict[str, object]:
    data = Windows([results.spectrograms(day) for day in days(stores)], windows)
    loader = torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, num_workers=2, multiprocessing_context="spawn"
    )
    batches = iter(loader)
    for _ in range(2):
        next(batches)  # the workers start and open stores
    started, taken = time.perf_counter(), 0
    while taken < count:
        taken += len(next(batches))
    return {"windows": taken, "wall": time.perf_counter() - started}


def run_zarr(results: Results, stores: int, count: int) -> dict[str, object]:
    opened = [SpectrogramStore.open(results.spectrograms(day)) for day in days(stores)]
    started, used, taken = time.perf_counter(), time.process_time(), 0
    for store in opened:
        taken += len(store.codes())
        if taken >= count:
            break
    return {
        "windows": taken,
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - used,
    }


def run_table(folder: Path, stores: int) -> dict[str, object]:
    """The table of the whole season, as an eighth of a node has to hold it."""
    import polars as pl

    path, rows = folder / "season.parquet", stores * SEASON_WINDOWS
    if not path.exists():
        day = np.repeat(np.arange(stores), SEASON_WINDOWS)
        recording = np.tile(np.arange(SEASON_WINDOWS) * 48 // SEASON_WINDOWS, stores)
        known = days(stores)
        names = np.array([f"{d.recorder}/{d.date}_{n:02d}.wav" for d in known for n in range(48)])
        pl.DataFrame(
            {
                "recorder": np.array([d.recorder for d in known])[day],
                "date": np.array([d.date for d in known])[day],
                "recording": names[day * 48 + recording],
                "offset": np.tile(np.arange(SEASON_WINDOWS) % 200 * 132_300, stores),
                "time": (np.arange(rows) * 3_000_000).astype("datetime64[us]"),
            }
        ).write_parquet(path)
        return {}
    before, started = resident(), time.perf_counter()
    table = read_compact(path, [*KEYS, "time"])
    assert sum(1 for _ in runs_of_days(table)) == stores
    read = time.perf_counter() - started
    table_fingerprint(table, "same")
    marked = time.perf_counter() - started - read
    sampler = EpochSampler(rows, BATCH, 0)
    sampler.batch(sampler.steps_per_epoch * 3 + 9_000 % sampler.steps_per_epoch)
    ordered = time.perf_counter() - started - read - marked
    return {
        "rows": rows,
        "read_s": read,
        "fingerprint_s": marked,
        "order_s": ordered,
        "table_mb": table.estimated_size() / 1e6,
        "peak_mb": peak() - before,
    }


def side(name: str, options: argparse.Namespace) -> dict[str, object]:
    results, stores = Results(options.root), options.stores
    if name == "ours":
        return run_ours(results, options.shuffle)
    if name == "one of 8":
        return run_ours(results, options.shuffle, world=8)
    if name == "store.take":
        return run_take(results, stores, options.windows, options.count)
    if name == "DataLoader":
        return run_loader(results, stores, options.windows, 4 * options.count)
    if name == "zarr":
        return run_zarr(results, stores, 16 * options.count)
    return run_table(options.root, stores)


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", name, "--root", str(options.root)]
    for key in ("stores", "windows", "shuffle", "count"):
        command += [f"--{key}", str(getattr(options, key))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="49 stores of 64 windows")
    parser.add_argument("--windows", type=int, help="windows in a store (256)")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    for hidden in ("--side", "--root"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--stores", "--shuffle", "--count"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        options.root = Path(options.root)
        print(json.dumps(side(options.side, options)))
        return
    options.stores = 49 if options.quick else SEASON_DAYS
    options.windows = options.windows or (64 if options.quick else 256)
    total = options.stores * options.windows
    options.shuffle = 1_536 if options.quick else 49_152
    options.count = min(total, 250 if options.quick else 4_000)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "polars", "torch", "zarr", "zarrs")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        options.root = Path(folder)
        started = time.perf_counter()
        write_season(Results(options.root), options.stores, options.windows)
        size = sum(f.stat().st_size for f in options.root.rglob("*") if f.is_file()) / 1e9
        show(
            f"season: {options.stores} stores of {options.windows} windows of {MELS} x {FRAMES}: {total:,} windows, "
            f"{total * MELS * FRAMES / 1e9:.2f} GB, {size:.2f} GB on the disk; written and drawn in "
            f"{time.perf_counter() - started:.0f} s; shuffled in blocks of {options.shuffle:,}"
        )
        found = {name: in_a_process(name, options) for name in TOLD}
        in_a_process("table", options)  # writes it
        table = in_a_process("table", options)
    for name, told in TOLD.items():
        of = found[name]
        used = f", {of['windows'] / of['cpu']:,.0f} per CPU second" if "cpu" in of else ""
        show(f"{name:11} {of['windows'] / of['wall']:8,.0f} windows/s{used}: {told}")
    ours, one = found["ours"], found["one of 8"]
    low, middle, high = ours["thirds_mb"]
    show(
        f"an epoch: each of {ours['windows']:,} windows once, the {ours['left_out']} that fill no batch left out; "
        f"training set opened in {ours['opened']:.1f} s"
    )
    show(
        f"memory: {ours['before_mb']:,.0f} MB before, median {low:,.0f}, {middle:,.0f} and {high:,.0f} MB in the thirds "
        f"of the epoch, at most {ours['peak_mb']:,.0f}; {ours['held']:,} windows held are "
        f"{ours['held'] * MELS * FRAMES / 1e6:,.0f} MB; as one of 8 at most {one['peak_mb']:,.0f} MB"
    )
    show(
        f"table of {table['rows']:,} windows: read in {table['read_s']:.1f} s, {table['table_mb']:,.0f} MB, fingerprint "
        f"{table['fingerprint_s']:.1f} s, order at any step {table['order_s']:.2f} s; "
        f"at most {table['peak_mb']:,.0f} MB"
    )
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    rate = {name: round(of["windows"] / of["wall"], 1) for name, of in found.items()}
    peers = {name: rate[name] for name in ("store.take", "DataLoader")}
    show(
        json.dumps(
            {
                "benchmark": "feed",
                "ours": rate["ours"],
                "unit": "windows per second, streamed in shuffled order, one process",
                "peers": peers,
                "floor": rate["zarr"],
                "ratio_to_fastest_peer": round(rate["ours"] / max(peers.values()), 3),
                "ratio_to_floor": round(rate["ours"] / rate["zarr"], 4),
                "per_cpu_second": round(ours["windows"] / ours["cpu"], 1),
                "one_of_8": rate["one of 8"],
                "peak_mb": round(ours["peak_mb"]),
                "thirds_mb": [round(third) for third in ours["thirds_mb"]],
                "windows": total,
                "stores": options.stores,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
