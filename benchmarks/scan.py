"""How fast the cards of a season are listed: 43,632 recordings, the first time and the next.

Ours is the command, its start included: walk, headers, a look at the samples, faults, neighbours, table and
calendar. The peer is what a short script does, ``soundfile.info`` for every file; the floor walks the folders and
asks for sizes and times. All after one another, the files in the page cache.

Run ``python benchmarks/scan.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spectrograms import heading

PEER = """
import sys
from pathlib import Path
import soundfile
print(sum(soundfile.info(path).frames for path in Path(sys.argv[1]).rglob("*") if path.suffix.lower() == ".wav"))
"""
FLOOR = """
import os, sys
total = 0
for folder, _, names in os.walk(sys.argv[1]):
    total += sum(os.stat(f"{folder}/{name}").st_size for name in names)
print(total)
"""


def timed(command: list[str]) -> float:
    """Wall seconds of a command, its start included."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a season of 99 recorder-days")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    days, rounds = (11, 2) if options.quick else (101, 3)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "polars", "soundfile")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dawnchorus = [sys.executable, "-m", "dawnchorus"]
        season = [*dawnchorus, "simulate", str(root / "season"), "--recorders", "9", "--tiny"]
        timed([*season, "--days", str(days), "--recordings", "48", "--seconds", "3.5"])
        cards, results = root / "season" / "cards", root / "results"
        recordings = sum(path.suffix.lower() == ".wav" for path in cards.rglob("*"))
        show(f"season: {recordings:,} recordings of 0.1 s, {9 * days} recorder-days")
        scan = [*dawnchorus, "scan", "--set", f"audio.root={cards}", "--set", f"results={results}"]
        deployments = root / "season" / "deployments.csv"
        scan += ["--set", f"audio.deployments={deployments}"]
        scan += ["--set", "audio.timezone=America/Chicago"]
        seconds: dict[str, list[float]] = {}
        table = results / "inventory" / "recordings.parquet"
        for _ in range(rounds):
            table.unlink(missing_ok=True)
            seconds.setdefault("first scan", []).append(timed(scan))
            seconds.setdefault("second scan", []).append(timed(scan))
            peer = [sys.executable, "-c", PEER, str(cards)]
            seconds.setdefault("soundfile.info", []).append(timed(peer))
            floor = [sys.executable, "-c", FLOOR, str(cards)]
            seconds.setdefault("walk and stat", []).append(timed(floor))
    best = {name: min(of) for name, of in seconds.items()}
    told = {
        "first scan": "dawnchorus scan, no earlier table",
        "second scan": "dawnchorus scan, nothing new",
        "soundfile.info": "soundfile.info(path) for every file, one process",
        "walk and stat": "os.walk and os.stat",
    }
    for name, of in seconds.items():
        all_of = ", ".join(f"{value:.2f}" for value in of)
        show(f"{name:15} {best[name]:6.2f} s (rounds: {all_of}): {told[name]}")
    rate = {name: round(recordings / value, 1) for name, value in best.items()}
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    show(
        json.dumps(
            {
                "benchmark": "scan",
                "ours": rate["first scan"],
                "unit": "recordings per second, first scan",
                "peers": {"soundfile.info": rate["soundfile.info"]},
                "floor": rate["walk and stat"],
                "ratio_to_fastest_peer": round(rate["first scan"] / rate["soundfile.info"], 3),
                "ratio_to_floor": round(rate["first scan"] / rate["walk and stat"], 4),
                "first_scan_s": round(best["first scan"], 2),
                "second_scan_s": round(best["second scan"], 2),
                "recordings": recordings,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
