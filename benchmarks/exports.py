"""What it costs to hand a season on: every window's cluster as one table, and clips out of recordings.

Ours is ``dawnchorus export --what clusters --format parquet`` over a generated season (909 recorder-days,
8.69 million windows), and ``dawnchorus.recordings.excerpt`` for clips of 3 s at random places of a 30-minute
recording. The table's peer is what a person would write with pandas: read all tables, join the inventory,
write one; its floor copies the tables into one with pyarrow and computes nothing. The clips' peer opens the
recording with soundfile for each clip and writes a WAV; their floor copies the bytes out of the WAV file. Each
side runs in a process of its own on one core; peak memory is the process's own (``wait4``).

Run ``python benchmarks/exports.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from spectrograms import heading

RECORDINGS, PER_RECORDING, RATE, SECONDS = 48, 199, 44_100, 600
EXPERIMENT = "dino_vits16"

PANDAS = """
import pathlib, sys, pandas
root = pathlib.Path(sys.argv[1])
parts = []
for path in sorted((root / "dino_vits16/clusters").glob("*/*.parquet")):
    parts.append(pandas.read_parquet(path).assign(recorder=path.parent.name, date=path.stem))
rows = pandas.concat(parts, ignore_index=True)
known = pandas.read_parquet(root / "inventory/recordings.parquet")[["recording", "start_utc", "sample_rate"]]
rows = rows.merge(known, on="recording", how="left")
rows["start_s"] = rows["offset"] / rows["sample_rate"]
rows["end_s"] = rows["start_s"] + 3
rows["time"] = rows["start_utc"] + pandas.to_timedelta(rows["start_s"], unit="s")
rows.drop(columns=["start_utc", "sample_rate"]).to_parquet(sys.argv[2], compression="zstd")
"""
COPY = """
import pathlib, sys, pyarrow.parquet as pq
root = pathlib.Path(sys.argv[1])
paths = sorted((root / "dino_vits16/clusters").glob("*/*.parquet"))
with pq.ParquetWriter(sys.argv[2], pq.read_schema(paths[0]), compression="zstd") as writer:
    for path in paths:
        writer.write_table(pq.read_table(path))
"""
CLIPS = {
    "ours": """
import pathlib, sys, json
from dawnchorus.recordings.excerpt import excerpt, open_recording
cards, out, offsets = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3]), json.loads(sys.argv[4])
path, sound = open_recording(cards, sys.argv[2])
for offset in offsets:
    (out / f"{offset}.wav").write_bytes(excerpt(path, sound, offset, 132_300).wav())
""",
    "soundfile": """
import pathlib, sys, json, soundfile
path, out, offsets = pathlib.Path(sys.argv[1]) / sys.argv[2], pathlib.Path(sys.argv[3]), json.loads(sys.argv[4])
for offset in offsets:
    samples, rate = soundfile.read(path, start=offset, frames=132_300, dtype="int16")
    soundfile.write(out / f"{offset}.wav", samples, rate, subtype="PCM_16")
""",
    "bytes": """
import pathlib, sys, json
path, out, offsets = pathlib.Path(sys.argv[1]) / "a.wav", pathlib.Path(sys.argv[3]), json.loads(sys.argv[4])
with path.open("rb") as handle:
    for offset in offsets:
        handle.seek(44 + 2 * offset)
        (out / f"{offset}.wav").write_bytes(bytes(44) + handle.read(2 * 132_300))
""",
}


def generate(root: Path, days: int) -> int:
    """Write inventory, receipts and assignments of so many recorder-days; return the number of windows."""
    results = Results(root)
    rng = np.random.default_rng(0)
    rows, midnight = [], datetime(2021, 5, 24, 5, tzinfo=UTC)
    offset = np.tile(np.arange(PER_RECORDING) * 3 * RATE, RECORDINGS)
    for number in range(days):
        begin = midnight + timedelta(days=number // 9)
        day = RecorderDay(
            f"REC{number % 9 + 1:02d}", (begin - timedelta(hours=5)).date().isoformat()
        )
        names = []
        for half_hour in range(RECORDINGS):
            start = begin + timedelta(minutes=30 * half_hour)
            names.append(f"{day.recorder}/Data/{day.recorder}_{start:%Y%m%d_%H%M%S}.wav")
            rows.append(
                Recording(
                    recording=names[-1], recorder=day.recorder, date=day.date, start_utc=start,
                    utc_offset_minutes=-300, duration_s=SECONDS, frames=SECONDS * RATE,
                    promised_frames=SECONDS * RATE, sample_rate=RATE, channels=1, format="WAV PCM_16",
                    convention="song-meter", size_bytes=1, mtime_ns=1,
                )
            )  # fmt: skip
        count = len(offset)
        path = results.experiment(EXPERIMENT).assignment(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        start_us = np.datetime64(begin.replace(tzinfo=None), "us")
        pl.DataFrame(
            {
                "recording": np.repeat(names, PER_RECORDING).tolist(),
                "offset": offset,
                "time": start_us + (np.arange(count) * 3_000_000).astype("timedelta64[us]"),
                "cluster": rng.integers(0, 100, count).astype(np.int32),
                "distance": rng.uniform(0, 1, count).astype(np.float32),
            }
        ).write_parquet(path, compression="zstd")
        write_receipt(results.spectrograms_receipt(day), {"verdict": "ok"})
    write_recordings(results.recordings, rows)
    return days * len(offset)


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command on one core; return its seconds and its peak memory in GiB."""
    core = min(os.sched_getaffinity(0))
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    child = os.posix_spawn(
        "/usr/bin/env", ["env", "taskset", "-c", str(core), *command], environment
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} ... ended with {status}")
    return time.monotonic() - start, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute: 45 recorder-days")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    days, clips, rounds = (45, 200, 1) if options.quick else (909, 1000, 3)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "polars", "pandas", "pyarrow", "soundfile")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        windows = generate(root / "results", days)
        show(f"season: {days} recorder-days, {windows:,} windows with their cluster")
        export = [
            sys.executable, "-m", "dawnchorus", "export", str(root / "out"), "--what", "clusters",
            "--format", "parquet", "--set", f"results={root / 'results'}",
        ]  # fmt: skip
        sides = {
            "ours": export,
            "pandas": [
                sys.executable,
                "-c",
                PANDAS,
                str(root / "results"),
                str(root / "p.parquet"),
            ],
            "copy": [sys.executable, "-c", COPY, str(root / "results"), str(root / "c.parquet")],
        }
        best: dict[str, tuple[float, float]] = {}
        for _ in range(rounds):
            for name, command in sides.items():
                best[name] = min(best.get(name, (1e9, 0.0)), timed(command))
        for name, (seconds, memory) in best.items():
            show(f"table  {name:9} {seconds:7.2f} s, {memory:5.2f} GiB at most")

        cards = root / "cards"
        cards.mkdir()
        rng = np.random.default_rng(0)
        sound = rng.normal(0, 1000, 1800 * RATE).astype(np.int16)
        for name in ("a.wav", "a.flac"):
            soundfile.write(cards / name, sound, RATE, subtype="PCM_16")
        offsets = json.dumps(sorted(rng.integers(0, len(sound) - 3 * RATE, clips).tolist()))
        cutting: dict[str, float] = {}
        for side, code in CLIPS.items():
            for name in ("a.wav",) if side == "bytes" else ("a.wav", "a.flac"):
                out = root / f"clips-{side}-{name}"
                out.mkdir()
                call = [sys.executable, "-c", code, str(cards), name, str(out), offsets]
                seconds = min(timed(call)[0] for _ in range(rounds))
                cutting[f"{side} {name}"] = clips / seconds
                show(f"clips  {side:9} {name:7} {clips / seconds:7.0f} clips of 3 s per second")
    rate = {name: round(windows / seconds) for name, (seconds, _) in best.items()}
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    show(
        json.dumps(
            {
                "benchmark": "exports",
                "ours": rate["ours"],
                "unit": "windows per second into one Parquet",
                "peers": {"pandas": rate["pandas"]},
                "floor": rate["copy"],
                "ratio_to_fastest_peer": round(rate["ours"] / rate["pandas"], 3),
                "ratio_to_floor": round(rate["ours"] / rate["copy"], 3),
                "peak_gib": {name: round(memory, 2) for name, (_, memory) in best.items()},
                "clips_per_second": {name: round(value, 1) for name, value in cutting.items()},
                "windows": windows,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
