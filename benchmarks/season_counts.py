"""How long the facts of all cluster cards and ecology's tables take, and how much memory.

A season is generated as tables: assignments to 100 clusters, levels and activity, BirdNET's detections, and an inventory
with positions; no sound. Ours is the whole count (:func:`dawnchorus.clustering.season_counts.count_season`) in a process
of its own. The floor reads the same assignments and detections with polars, and nothing else.

Run ``python benchmarks/season_counts.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import zarr

from dawnchorus.clustering.season_counts import count_season
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from spectrograms import heading

EXPERIMENT = "one"
RATE, WINDOW_SECONDS, CLUSTERS = 44_100, 3, 100
RECORDINGS, PER_RECORDING = 48, 199
"""48 recordings of ten minutes: 9,552 windows a day, 8.68 million in 909 recorder-days."""
START = dt.datetime(2021, 5, 24, 5, tzinfo=dt.UTC)


def make_season(root: Path, recorders: int, days: int) -> list[RecorderDay]:
    """Write what the count reads."""
    random = np.random.default_rng(0)
    results, rows, made = Results(root), [], []
    paths = results.experiment(EXPERIMENT)
    windows = RECORDINGS * PER_RECORDING
    offset = np.tile(np.arange(PER_RECORDING) * WINDOW_SECONDS * RATE, RECORDINGS)
    index = np.repeat(np.arange(RECORDINGS), PER_RECORDING)
    for number in range(recorders):
        for date in range(days):
            midnight = START + dt.timedelta(days=date)
            day = RecorderDay(f"REC{number + 1:02d}", midnight.date().isoformat())
            made.append(day)
            starts = [midnight + dt.timedelta(minutes=30 * place) for place in range(RECORDINGS)]
            names = [f"{day.recorder}/{day.date}_{place:02d}.wav" for place in range(RECORDINGS)]
            rows += [
                Recording(
                    recording=name, recorder=day.recorder, date=day.date, start_utc=start, utc_offset_minutes=-300,
                    duration_s=600.0, frames=600 * RATE, promised_frames=600 * RATE, sample_rate=RATE, channels=1,
                    format="WAV PCM_16", convention="made", size_bytes=1, mtime_ns=1, latitude=41.88,
                    longitude=-87.63, habitat=("open grassland", "canopy")[number % 2],
                )
                for name, start in zip(names, starts, strict=True)
            ]  # fmt: skip
            moment = np.array([start.replace(tzinfo=None) for start in starts], "datetime64[us]")
            time_of = moment[index] + (offset // RATE).astype("timedelta64[s]")
            # Clusters keep to hours, as real ones do.
            cluster = (index * CLUSTERS // RECORDINGS + random.geometric(0.1, windows)) % CLUSTERS
            recording = np.array(names)[index]
            table = pl.DataFrame(
                {
                    "recording": recording.tolist(), "offset": offset, "time": time_of,
                    "cluster": cluster.astype(np.int32), "distance": random.random(windows, np.float32),
                }
            )  # fmt: skip
            for path in (paths.assignment(day), results.detections(day)):
                path.parent.mkdir(parents=True, exist_ok=True)
            table.write_parquet(paths.assignment(day), compression="zstd")
            write_receipt(paths.assignment_receipt(day), {"verdict": "ok", "clusters": "fit"})
            some = np.sort(random.choice(windows, windows // 5, replace=False))
            species = random.integers(0, 60, len(some))
            pl.DataFrame(
                {
                    "recording": recording[some].tolist(), "offset": offset[some],
                    "species": [f"Species {one}" for one in species],
                    "common_name": [f"bird {one}" for one in species],
                    "confidence": random.uniform(0.1, 1, len(some)).astype(np.float32),
                }
            ).write_parquet(results.detections(day))  # fmt: skip
            group = zarr.open_group(results.spectrograms(day), mode="w", zarr_format=3)
            group.attrs["recordings"] = names
            # Without a chunk: the count never reads a spectrogram.
            group.create_array("spectrogram", shape=(windows, 128, 256), chunks=(4, 128, 256), dtype="uint8")  # fmt: skip
            for name, values in (
                ("recording", index.astype(np.int32)), ("offset", offset), ("time", time_of.astype(np.int64)),
                ("level", random.uniform(-90, -20, windows).astype(np.float32)),
                ("activity", random.exponential(0.1, windows).astype(np.float32)),
            ):  # fmt: skip
                group.create_array(name, data=values)
    write_receipt(paths.clusters_receipt, {"fingerprint": "fit", "k": CLUSTERS})
    results.recordings.parent.mkdir(parents=True)
    write_recordings(results.recordings, rows)
    return made


def counted(root: Path, days: list[RecorderDay], answer) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    counts = count_season(Results(root), EXPERIMENT, days, 3.0)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.send((wall, before / 1024, after / 1024, counts.hours.height))


def floor(root: Path, days: list[RecorderDay]) -> float:
    results, started = Results(root), time.perf_counter()
    for day in days:
        pl.read_parquet(results.experiment(EXPERIMENT).assignment(day))
        pl.read_parquet(results.detections(day))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="36 recorder-days instead of 909")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "polars", "zarr")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        days = make_season(root, 9, 4 if options.quick else 101)
        windows = len(days) * RECORDINGS * PER_RECORDING
        context = multiprocessing.get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=counted, args=(root, days, send))
        process.start()
        wall, before, after, rows = receive.recv()
        process.join()
        least = floor(root, days)
    show(
        f"ours    {wall:7.1f} s for {windows:,} windows of {len(days)} recorder-days: {windows / wall:,.0f} windows a "
        f"second; {after:,.0f} MiB at most, {before:,.0f} MiB of them before it began; {rows:,} rows of counts"
    )
    show(f"floor   {least:7.1f} s: polars.read_parquet of the same assignments and detections")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    summary = {
        "benchmark": "season_counts",
        "ours": round(windows / wall, 1),
        "unit": "windows per second",
        "peers": {},
        "floor": round(windows / least, 1),
        "ratio_to_fastest_peer": None,
        "ratio_to_floor": round(least / wall, 3),
        "recorder_days": len(days),
        "seconds": round(wall, 1),
        "peak_mib": round(after),
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
