"""From a recorder's day on disk to a committed spectrogram store, beside what others would write.

Ours is the whole step (read, hash, transform, score, compress, publish). The peers: torchaudio into
the same store, librosa on long blocks and librosa in a loop per window, both without a store. The
floors: the real Fourier transform of framed samples, alone and with a dense mel product, from memory
to memory. All run on one core with one thread, in turns, each in its own process; the best of the
rounds counts. Then: two days in two processes, memory, a cold page cache, the command itself.

Run ``python benchmarks/spectrograms.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from sides import MELS, floors, ours, peers
from sides.clock import PREPARE, TOLD, Side, Times, cores, evict, fill, peak_memory
from sides.sound import make_card

PACKAGES = (
    "dawnchorus",
    "numpy",
    "scipy",
    "numba",
    "zarr",
    "zarrs",
    "soundfile",
    "torch",
    "torchaudio",
    "librosa",
)
FLOOR = "FFT + mel"
"""How the names of the floors begin that ours is compared with."""


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def heading(packages: Sequence[str]) -> list[str]:
    """Where and with what is measured: machine, load, versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return [
        f"machine: {machine()}",
        f"load average at the start: {os.getloadavg()[0]:.2f}",
        f"versions: Python {platform.python_version()}, {versions}",
    ]


def race(root: Path, path: Path, short: Path, rounds: int) -> dict[str, list[Times]]:
    """Let all sides run in turns on one core; return their times per round."""
    times: dict[str, list[Times]] = {name: [] for name in PREPARE}
    with ExitStack() as stack:
        core = cores()[0]
        # One after the other, so that none is warmed up beside another.
        sides = {name: stack.enter_context(Side(name, root, path, short, core)) for name in PREPARE}
        for _ in range(rounds):
            fill(path)
            for name, side in sides.items():
                times[name].append(side.run())
    return times


def race_two(
    root: Path, paths: Sequence[Path], short: Path, rounds: int
) -> tuple[list[float], list[float]]:
    """Wall seconds per round: of one day in one process, and of two in two processes at once."""
    alone, together = [], []
    with ExitStack() as stack:
        sides = [
            stack.enter_context(Side("ours", root, path, short, core))
            for path, core in zip(paths, cores(), strict=False)
        ]
        for _ in range(rounds):
            for path in paths:
                fill(path)
            alone.append(sides[0].run()[0])
            started = time.perf_counter()
            for side in sides:
                side.start()
            for side in sides:
                side.times()
            together.append(time.perf_counter() - started)
    return alone, together


def race_cold(root: Path, path: Path, short: Path, rounds: int) -> tuple[list[Times], list[Times]]:
    """Times per round of ours with the file in the page cache, and with the file on the disk."""
    warm, cold = [], []
    with Side("ours", root, path, short, cores()[0]) as side:
        for _ in range(rounds):
            fill(path)
            warm.append(side.run())
            evict(path)
            cold.append(side.run())
    return warm, cold


def time_command(command: list[str], store: Path) -> float:
    """Wall seconds of the command itself, with the start of the interpreter."""
    shutil.rmtree(store, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def compare_stores(mine: Path, other: Path) -> str:
    """Say how far the peer's store holds the same."""
    import zarr

    left, right = zarr.open_group(mine, mode="r"), zarr.open_group(other, mode="r")
    stop = min(1024, left["spectrogram"].shape[0])
    assert left["spectrogram"].shape == right["spectrogram"].shape
    codes = left["spectrogram"][:stop].astype(np.int16)
    differs = np.abs(codes - right["spectrogram"][:stop])
    assert differs.max() <= 1
    assert np.allclose(left["level"][:], right["level"][:], atol=1e-3)
    return f"{np.count_nonzero(differs) / differs.size:.4%} of {differs.size:,} codes differ, by 1"


def main() -> None:  # noqa: PLR0915 - one line of the page after the other
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="10 minutes of sound instead of 8 hours, 2 rounds"
    )
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    minutes, rounds = (10, 2) if options.quick else (480, 3)
    seconds = minutes * 60
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    def times_real(wall: float, of: float = seconds) -> str:
        return f"{of / wall:7,.0f} x real time"

    for line in heading(PACKAGES):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path, short = make_card(root, "REC01", minutes), make_card(root, "REC03", 1)
        megabytes = path.stat().st_size / 1e6
        show(
            f"sound: one WAV of {minutes} min, 44.1 kHz, 16-bit mono ({megabytes:,.0f} MB): ten "
            "simulated minutes again and again under fresh noise"
        )
        show(f"one core, one thread; each in its own process, in turns; best of {rounds} rounds")
        show("")
        lasts = dict.fromkeys(PREPARE, seconds)
        lasts |= dict.fromkeys(floors.PREPARE, min(seconds, floors.SECONDS))
        lasts["librosa, loop"] = peers.looped_seconds(path)
        times = race(root, path, short, rounds)
        speed = {name: lasts[name] / min(wall for wall, _ in of) for name, of in times.items()}
        for name, of in times.items():
            wall, processor = min(of)[0], min(cpu for _, cpu in of)
            median = lasts[name] / statistics.median(wall for wall, _ in of)
            show(
                f"{name:17} {times_real(wall, lasts[name])} (median {median:,.0f}, per CPU second "
                f"{lasts[name] / processor:,.0f}): {lasts[name]:,} s of sound in {wall:.2f} s, "
                f"{processor:.2f} CPU s"
            )
            show(f"{'':17} {TOLD[name]}")
        store = ours.store(root, "REC01")
        stored = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        raw = seconds // 3 * MELS * 256
        show(f"store: {stored / 1e6:,.1f} MB, 1 : {raw / stored:.2f} of its codes")
        show(f"torchaudio's store: {compare_stores(store, peers.store(root))}")
        show("")

        found: dict[str, object] = {}
        command = ours.command(root, "REC01")
        repeats = 2 if options.quick else rounds
        took = min(time_command(command, store) for _ in range(repeats))
        show(
            f"as a command: {times_real(took).strip()}, {took:.1f} s, of which "
            f"{took - seconds / speed['ours']:.1f} s are its start: dawnchorus spectrograms "
            "--recorder REC01 --date 2021-05-24"
        )
        warm, cold = race_cold(root, path, short, rounds)
        cold_share = min(warm)[0] / min(cold)[0]
        show(
            f"file not in the page cache: {times_real(min(cold)[0]).strip()}, {cold_share:.2f} of "
            f"the {times_real(min(warm)[0]).strip()} with it ({megabytes / min(cold)[0]:,.0f} MB/s)"
        )
        found["cold"] = round(seconds / min(cold)[0], 1)
        shutil.rmtree(store)
        long = f"{minutes // 60}h" if minutes >= 60 else f"{minutes}min"
        peak = {long: peak_memory(command)}
        shutil.rmtree(ours.store(root, "REC03"))
        peak["60s"] = peak_memory(ours.command(root, "REC03"))
        show(
            "peak memory of the command in a fresh process: "
            + ", ".join(f"{value:,.0f} MiB for {name}" for name, value in peak.items())
        )
        found["peak_memory_mib"] = {name: round(value) for name, value in peak.items()}
        if options.quick:
            show("two processes: left out of --quick, for ten minutes are mostly fixed costs")
            found["two_processes"] = None
        elif len(cores()) < 2:
            show("two processes: this machine lends one core")
            found["two_processes"] = None
        else:
            second = root / "cards" / "REC02" / path.name.replace("REC01", "REC02")
            second.parent.mkdir()
            shutil.copyfile(path, second)
            alone, together = race_two(root, (path, second), short, rounds)
            factor = 2 * min(alone) / min(together)
            show(
                f"two processes, two such days: {2 * seconds / min(together):7,.0f} x real time, "
                f"{factor:.2f} times as fast as one ({min(together):.2f} s for two days, "
                f"{min(alone):.2f} s for one alone)"
            )
            found["two_processes"] = round(factor, 3)
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    show("")

    others = {name: round(speed[name], 1) for name in peers.PREPARE}
    floor = max(speed[name] for name in floors.PREPARE if name.startswith(FLOOR))
    transform = max(value for name, value in speed.items() if name.startswith("FFT,"))
    for name, value in others.items():
        show(f"ours to {name}: {speed['ours'] / value:.2f}")
    show(f"ours to the floor, FFT + dense mel product: {speed['ours'] / floor:.2f}")
    show(f"ours to the FFT alone: {speed['ours'] / transform:.2f}")
    show(
        json.dumps(
            {
                "benchmark": "spectrograms",
                "ours": round(speed["ours"], 1),
                "unit": "x real time per core",
                "peers": others,
                "floor": round(floor, 1),
                "floor_fft": round(transform, 1),
                "ratio_to_fastest_peer": round(speed["ours"] / max(others.values()), 3),
                "ratio_to_floor": round(speed["ours"] / floor, 3),
                "command": round(seconds / took, 1),
                **found,
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
