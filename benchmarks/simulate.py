"""How fast a season is simulated: sound on one core, and the tiny files of a full season.

Ours is the whole step (plan, songs, weather, propagation, WAV files, truth). The floor only draws
Gaussian noise and writes it as the same number of WAV files: what any simulator must at least do.

Run ``python benchmarks/simulate.py [--quick] [--save FILE]``.
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

import numpy as np
import soundfile

from spectrograms import heading

RATE = 44_100


def timed(command: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a command, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def floor(folder: Path, recordings: int, seconds: int) -> float:
    """CPU seconds to draw noise and write it."""
    random, started = np.random.default_rng(0), time.process_time()
    for number in range(recordings):
        noise = random.standard_normal(seconds * RATE, dtype=np.float32) * np.float32(0.01)
        soundfile.write(folder / f"{number}.wav", noise, RATE, subtype="PCM_16")
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="30 minutes of sound, a season of 99 recorder-days"
    )
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    recordings, length, days = (1, 600, 11) if options.quick else (4, 600, 101)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "scipy", "soundfile")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sound = 3 * recordings * length
        options_of_season = (
            f"--recorders 3 --days 1 --recordings {recordings} --seconds {length} --workers 1"
        )
        command = [sys.executable, "-m", "dawnchorus", "simulate", str(root / "sound")]
        wall, cpu = timed([*command, *options_of_season.split()])
        (root / "noise").mkdir()
        least = floor(root / "noise", 3 * recordings, length)
        show(
            f"sound   {sound / cpu:7,.0f} x real time per CPU second ({sound / wall:,.0f} by the "
            f"clock): dawnchorus simulate OUT {options_of_season}"
        )
        show(f"floor   {sound / least:7,.0f} x real time: Gaussian noise, soundfile.write PCM_16")
        tiny = f"--recorders 9 --days {days} --recordings 48 --tiny --workers 1"
        command[-1] = str(root / "tiny")
        tiny_wall, tiny_cpu = timed([*command, *tiny.split()])
        files = sum(1 for path in (root / "tiny" / "cards").rglob("*") if path.is_file())
        show(
            f"tiny    {files:,} files, {9 * days} recorder-days in {tiny_wall:.1f} s "
            f"({tiny_cpu:.1f} CPU s): dawnchorus simulate OUT {tiny}"
        )
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    summary = {
        "benchmark": "simulate",
        "ours": round(sound / cpu, 1),
        "unit": "x real time per core",
        "peers": {},
        "floor": round(sound / least, 1),
        "ratio_to_fastest_peer": None,
        "ratio_to_floor": round(least / cpu, 3),
        "tiny_files_per_second": round(files / tiny_wall, 1),
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
