"""How long a search by example takes among a million windows, and whether it finds what is planted.

Ours is :func:`dawnchorus.clustering.similar.most_similar` over real stores of 100 recorder-days, generated and
deleted here: from the stores as they are, from what ``dawnchorus search --prepare`` makes of them, and as the command
from its start to its end. The peers look through the same unit vectors held in memory: scikit-learn's brute
force and, on a slice, pynndescent's approximate index. The floor is the bare product of the matrix with the query.

A window is copied into another recorder-day with another length; it must come back first. Everything on one core.

Run ``python benchmarks/search.py [--quick] [--windows N] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

# Before anything that reads them.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.fit_sample import embedded_days
from dawnchorus.clustering.prepared import encode, prepare
from dawnchorus.clustering.similar import BLOCK, most_similar
from dawnchorus.clustering.sphere import unit
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.vectors import VectorStore, WindowTable, write_vectors
from spectrograms import heading

DIMENSION = 384
SEASON = 8_690_000
"""Windows of the reference season."""
EXPERIMENT = "dino_vits16"
RATE, WINDOW_S = 44_100, 3
COUNT = 20
SLICE = 50_000
"""Windows that pynndescent makes its index of; a million would take it the better part of an hour."""


def day_of(number: int) -> RecorderDay:
    return RecorderDay(f"SM{number % 10:02d}", f"2021-06-{1 + number // 10:02d}")


def vectors_of(number: int, windows: int) -> NDArray[np.float32]:
    """Vectors of a recorder-day: forty directions that all days share, and noise about them."""
    random = np.random.default_rng([1, number])
    kinds = np.random.default_rng(0).standard_normal((40, DIMENSION), np.float32)
    return kinds[random.integers(0, 40, windows)] + random.standard_normal(
        (windows, DIMENSION), np.float32
    )


def make_season(results: Results, days: int, windows: int) -> tuple[int, int, int]:
    """Write stores, receipts and inventory; return the planted pair: day, day and row."""
    asked, planted, row = days // 3, days - 2, windows // 2
    rows = []
    for number in range(days):
        day = day_of(number)
        vectors = vectors_of(number, windows)
        if number == planted:
            vectors[row] = 1.7 * vectors_of(asked, windows)[row]
        name = f"{day.recorder}/{day.date}.wav"
        start = datetime.fromisoformat(f"{day.date}T04:00:00+00:00").astimezone(UTC)
        offset = np.arange(windows, dtype=np.int64) * WINDOW_S * RATE
        moment = np.datetime64(start.replace(tzinfo=None), "us")
        step = np.timedelta64(WINDOW_S * 1_000_000, "us")
        table = WindowTable(
            [name], np.zeros(windows, np.int32), offset, moment + np.arange(windows) * step
        )
        paths = results.experiment(EXPERIMENT)
        content = write_vectors(
            paths.embeddings(day), [vectors], dimension=DIMENSION, windows=table, attributes={}
        )
        receipt = {"verdict": "ok", "windows": windows, "dimension": DIMENSION, "model": "none"}
        write_receipt(paths.embeddings_receipt(day), {**receipt, "fingerprint": content})
        frames = windows * WINDOW_S * RATE
        seconds, size = frames / RATE, 2 * frames
        facts = (seconds, frames, frames, RATE, 1, "WAV PCM_16", "test", size, 0)
        rows.append(Recording(name, day.recorder, day.date, start, 0, *facts))
    write_recordings(results.recordings, rows)
    return asked, planted, row


def best(action: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def reading(rows: NDArray[np.generic], query: NDArray[np.float32]) -> Callable[[], None]:
    """Return what reads rows of any type in blocks, as float32, and multiplies them with the query."""

    def read() -> None:
        buffer = np.empty((BLOCK, DIMENSION), np.float32)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            buffer[: len(block)] = block
            buffer[: len(block)] @ query

    return read


def main() -> None:  # noqa: PLR0915 - a benchmark reads from top to bottom
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60,000 windows, no approximate index")
    parser.add_argument("--windows", type=int, default=1_000_000, help="windows in all")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    days, total = (6, 60_000) if options.quick else (100, options.windows)
    windows, rounds = total // days, 2 if options.quick else 5
    total = windows * days
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "zarr", "scikit-learn", "pynndescent")):
        show(line)
    show(f"season: {total:,} windows x {DIMENSION}, {days} recorder-days, one core")
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder))
        asked, planted, row = make_season(results, days, windows)
        known = embedded_days(results, EXPERIMENT, [day_of(number) for number in range(days)])
        query = vectors_of(asked, windows)[[row]]

        def search() -> None:
            found = most_similar(results, EXPERIMENT, known, query, COUNT)
            first = found.head(2).select("recorder", "date", "offset", "similarity").rows()
            wanted = {(*_named(number), row * WINDOW_S * RATE) for number in (asked, planted)}
            assert {one[:3] for one in first} == wanted, first
            assert min(one[3] for one in first) > 1 - 1e-6, first

        seconds: dict[str, float] = {}
        seconds["stores as they are"] = best(search, rounds)
        started = time.perf_counter()
        prepare(results, EXPERIMENT, known)
        once = time.perf_counter() - started
        seconds["prepared"] = best(search, rounds)
        command = [
            sys.executable, "-m", "dawnchorus", "search", "--experiment", EXPERIMENT,
            "--set", f"results={folder}", "--recording", f"{day_of(asked).recorder}/{day_of(asked).date}.wav",
            "--offset", str(row * WINDOW_S * RATE), "--count", str(COUNT),
        ]  # fmt: skip
        told: list[str] = []

        def call() -> None:
            ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
            told[:] = ended.stdout.splitlines()

        seconds["the command, start to end"] = best(call, rounds)
        name = f"{day_of(planted).recorder}/{day_of(planted).date}.wav"
        assert told[1].split()[0] == "1" and told[1].endswith(name), told[:3]
        show("dawnchorus " + " ".join(command[3:]).replace(folder, "RESULTS"))
        for line in told[:4]:
            show(f"  {line}")

        matrix = np.empty((total, DIMENSION), np.float32)
        for number, one in enumerate(known):
            store = VectorStore.open(results.experiment(EXPERIMENT).embeddings(one.day))
            matrix[number * windows : (number + 1) * windows] = unit(store.read())
        looked_for = unit(query)[0]
        floor = best(lambda: matrix @ looked_for, rounds)
        part = matrix[:100_000]
        formats = {
            "16-bit fixed point": best(reading(encode(part)["code"], looked_for), rounds),
            "half precision": best(reading(part.astype(np.float16), looked_for), rounds),
        }
        peers = _peers(matrix, looked_for, rounds, quick=options.quick, show=show)
    for what, value in seconds.items():
        show(f"ours    {1000 * value:9.1f} ms  {what}")
    if not options.quick:
        scaled = seconds["prepared"] * SEASON / total
        show(f"ours    {scaled:9.1f} s   prepared, in proportion: {SEASON:,} windows")
    show(f"ours    {once:9.1f} s   preparing, once ({total / once:,.0f} windows per second)")
    for what, value in peers.items():
        show(f"peer    {1000 * value:9.1f} ms  {what}")
    show(f"floor   {1000 * floor:9.1f} ms  matrix @ query, float32 in memory")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    for what, value in formats.items():
        show(
            f"read    {1000 * value:9.1f} ms  {what}, to float32 and the product, {len(part):,} windows"
        )
    fastest = min(peers.values())
    summary = {
        "benchmark": "search",
        "ours": round(1 / seconds["prepared"], 2),
        "unit": f"queries per second among {total:,} windows",
        "peers": {what: round(1 / value, 2) for what, value in peers.items()},
        "floor": round(1 / floor, 2),
        "ratio_to_fastest_peer": round(fastest / seconds["prepared"], 3),
        "ratio_to_floor": round(floor / seconds["prepared"], 3),
        "seconds": {what: round(value, 4) for what, value in seconds.items()},
        "planted_duplicate_first": True,
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _named(number: int) -> tuple[str, str]:
    return day_of(number).recorder, day_of(number).date


def _peers(
    matrix: NDArray[np.float32],
    query: NDArray[np.float32],
    rounds: int,
    *,
    quick: bool,
    show: Callable[[str], None],
) -> dict[str, float]:
    from sklearn.neighbors import NearestNeighbors

    brute = NearestNeighbors(n_neighbors=COUNT, algorithm="brute").fit(matrix)
    show("scikit-learn: NearestNeighbors(n_neighbors=20, algorithm='brute').fit(unit vectors)")
    found = {"scikit-learn brute force": best(lambda: brute.kneighbors(query[None]), rounds)}
    if quick:
        return found
    from pynndescent import NNDescent

    part = matrix[:: len(matrix) // SLICE][:SLICE]
    started = time.perf_counter()
    index = NNDescent(part, metric="cosine", n_neighbors=30, random_state=0, n_jobs=1)
    index.prepare()
    built = time.perf_counter() - started
    index.query(query[None], k=COUNT)
    asked = matrix[:: len(matrix) // 200][:200]
    started = time.perf_counter()
    near, _ = index.query(asked, k=COUNT)
    each = (time.perf_counter() - started) / len(asked)
    exact = np.argsort(-(asked @ part.T), axis=1)[:, :COUNT]
    recall = np.mean(
        [len(set(one) & set(other)) / COUNT for one, other in zip(near, exact, strict=True)]
    )
    show(
        f"pynndescent on {SLICE:,} of them: index built in {built:.0f} s, {1000 * each:.1f} ms per query, "
        f"{100 * recall:.0f} % of the true {COUNT} nearest found"
    )
    return found


if __name__ == "__main__":
    main()
