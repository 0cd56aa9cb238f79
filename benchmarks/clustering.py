"""Clusters of a season's windows: the fit on 50,000, and the assignment of all, in bounded memory.

A season of embeddings is generated: 909 recorder-days of 9,560 windows and 384 dimensions, 8.69 million, in half
precision where the stores can hold it. Ours is what `dawnchorus cluster` and `dawnchorus assign` do: clusters and
distances of every window, a table and a receipt per recorder-day. Beside it: the floor, which reads the same
embeddings and multiplies them by the centroids, and does nothing with the result; the bytes alone; scikit-learn's
`KMeans.predict` on the same blocks (labels, no distances, no table). Each side runs in a process of its own on one
thread, in turns; the best of the rounds counts, and the peak of each process's memory.

Run ``python benchmarks/clustering.py [--quick] [--save FILE] [--folder FOLDER]``; it takes 7 GB in half precision,
14 GB else, and removes them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectrograms import heading

RECORDERS, DAYS, WINDOWS, DIMENSION, CLUSTERS = 9, 101, 9560, 384, 100
RECORDINGS = 48
SAMPLE = 50_000
EXPERIMENT = "season"
PACKAGES = ("dawnchorus", "numpy", "scikit-learn", "polars", "zarr", "dask")
FIRST = dt.date(2021, 5, 24)


def settings_of(root: Path, sample: int):
    from dawnchorus.config import validate

    return validate(
        {
            "results": str(root),
            "experiments": {EXPERIMENT: {}},
            "clustering": {"k": CLUSTERS, "fit_windows": sample, "restarts": 1, "stability": 0},
        }
    )


def make_season(root: Path, recorders: int, days: int) -> str:
    """Write embeddings and receipts as `embed` does; return what they are kept as."""
    from dawnchorus.results import OK, RecorderDay, Results, write_receipt
    from dawnchorus.vectors import WindowTable, write_vectors

    half = "kept" in inspect.signature(write_vectors).parameters
    options = {"kept": "float16"} if half else {}
    results = Results(root)
    paths = results.experiment(EXPERIMENT)
    generator = np.random.default_rng(2021)
    kinds = generator.standard_normal((CLUSTERS, DIMENSION), dtype=np.float32)
    index = np.repeat(np.arange(RECORDINGS, dtype=np.int32), -(-WINDOWS // RECORDINGS))[:WINDOWS]
    within = np.arange(WINDOWS) - np.searchsorted(index, index)
    pool = []
    for recorder in range(recorders):
        for number in range(days):
            day = RecorderDay(f"SM{recorder}", f"{FIRST + dt.timedelta(days=number)}")
            vectors = generator.standard_normal((WINDOWS, DIMENSION), dtype=np.float32)
            vectors += kinds[generator.integers(0, CLUSTERS, WINDOWS)]
            start = np.datetime64(f"{day.date}T00:00:00", "us") + index * np.timedelta64(30, "m")
            table = WindowTable(
                [f"{day.recorder}/Data/{day.date}_{one:02d}.wav" for one in range(RECORDINGS)],
                index,
                (within * 132_300).astype(np.int64),
                start + within * np.timedelta64(3, "s"),
            )
            content = write_vectors(
                paths.embeddings(day), [vectors], dimension=DIMENSION, windows=table,
                attributes={}, **options,
            )  # fmt: skip
            write_receipt(
                paths.embeddings_receipt(day),
                {
                    "verdict": OK, "windows": WINDOWS, "dimension": DIMENSION,
                    "model": "generated", "fingerprint": content,
                },
            )  # fmt: skip
            pool.append([day.recorder, day.date])
    write_receipt(results.training_receipt, {"edition": 1, "pool": pool})
    return "float16" if half else "float32"


def blocks(root: Path) -> Iterator[NDArray[np.float32]]:
    """The embeddings, a recorder-day at a time, as float32."""
    from dawnchorus.clustering.fit_sample import days_with_embeddings
    from dawnchorus.results import Results
    from dawnchorus.vectors import VectorStore

    results = Results(root)
    for day in days_with_embeddings(results, EXPERIMENT):
        for _, vectors in VectorStore.open(results.experiment(EXPERIMENT).embeddings(day)).blocks():
            yield vectors


def centroids(root: Path) -> NDArray[np.float32]:
    from dawnchorus.clustering.fitted import load_clusters
    from dawnchorus.results import Results

    return load_clusters(Results(root).experiment(EXPERIMENT).centroids).centroids


def fit_side(root: Path, sample: int) -> None:
    from dawnchorus.clustering.fit import fit
    from dawnchorus.results import Results

    fit(settings_of(root, sample), Results(root), EXPERIMENT)


def ours(root: Path, sample: int) -> None:
    from dawnchorus.clustering.assignment import assign_all
    from dawnchorus.results import Results

    assign_all(settings_of(root, sample), Results(root), EXPERIMENT)


def floor(root: Path, sample: int) -> None:
    turned = np.ascontiguousarray(centroids(root).T)
    for vectors in blocks(root):
        np.matmul(vectors, turned)


def file_bytes(root: Path, sample: int) -> None:
    for path in sorted((root / EXPERIMENT / "embeddings").glob("*/*.zarr/embedding/c/*/*")):
        with path.open("rb") as handle:
            while handle.read(1 << 22):
                pass


def predict(root: Path, sample: int) -> None:
    from sklearn.cluster import KMeans

    centres = centroids(root)
    model = KMeans(n_clusters=len(centres), init=centres, n_init=1, max_iter=1).fit(centres)
    model.cluster_centers_ = centres
    for vectors in blocks(root):
        model.predict(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


SIDES: dict[str, Callable[[Path, int], None]] = {
    "fit": fit_side,
    "ours": ours,
    "floor": floor,
    "bytes": file_bytes,
    "predict": predict,
}
TOLD = {
    "fit": "fit on the sample: reading it, k-means with one start",
    "ours": "assignment of all: clusters, distances, tables, receipts",
    "floor": "floor: reading as float32, and the matrix product",
    "bytes": "the bytes of the files alone",
    "predict": "scikit-learn's KMeans.predict on unit vectors: labels",
}


def one_side(name: str, root: Path, sample: int) -> None:
    """Run a side; print seconds, seconds of processor, and peak memory as JSON."""
    import distributed  # noqa: F401
    from threadpoolctl import threadpool_limits

    import dawnchorus.clustering.assignment
    import dawnchorus.clustering.fit  # noqa: F401 - imports are no part of it

    with threadpool_limits(limits=1):
        started, processor = time.perf_counter(), time.process_time()
        SIDES[name](root, sample)
        told = {
            "seconds": time.perf_counter() - started,
            "processor": time.process_time() - processor,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    print(json.dumps(told))


def call(name: str, root: Path, sample: int) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--side",
        name,
        "--folder",
        str(root),
        "--sample",
        str(sample),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, env=environment,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return json.loads(ended.stdout.splitlines()[-1])


def forget_assignment(root: Path) -> None:
    for path in (root / EXPERIMENT / "clusters").glob("*/*"):
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 recorder-days, 5,000 for the fit")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    parser.add_argument("--folder", type=Path, help="where the season is generated")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_side(options.side, options.folder, options.sample)
        return
    recorders, days, sample = (2, 10, 5_000) if options.quick else (RECORDERS, DAYS, SAMPLE)
    rounds = 3
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(PACKAGES):
        show(line)
    root = Path(tempfile.mkdtemp(dir=options.folder, prefix="season-"))
    try:
        kept = make_season(root, recorders, days)
        windows = recorders * days * WINDOWS
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        show(
            f"season: {recorders * days} recorder-days, {windows:,} windows x {DIMENSION}, {kept}, "
            f"{size / 1e9:.2f} GB; 1/{RECORDERS * DAYS / (recorders * days):.4g} of the reference season; "
            f"k = {CLUSTERS}, fit on {sample:,}"
        )
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        costs["bytes"].append(call("bytes", root, sample))
        costs["fit"].append(call("fit", root, sample))
        for _ in range(rounds):
            for name in ("floor", "ours", "predict", "bytes"):
                if name == "ours":
                    forget_assignment(root)
                costs[name].append(call(name, root, sample))
    finally:
        shutil.rmtree(root)

    best = {
        name: {key: min(one[key] for one in found) for key in ("seconds", "processor")}
        | {"peak_mb": max(one["peak_mb"] for one in found)}
        for name, found in costs.items()
    }
    for name, told in TOLD.items():
        of = ", ".join(f"{one['seconds']:.2f}" for one in costs[name])
        cost = best[name]
        show(
            f"{told:58} {cost['seconds']:8.2f} s ({of}), {cost['processor']:8.2f} s of processor, "
            f"{cost['peak_mb']:5.0f} MB"
        )
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    wall = best["ours"]["seconds"] / best["floor"]["seconds"]
    processor = best["ours"]["processor"] / best["floor"]["processor"]
    show(
        f"assignment takes {wall:.2f} x the floor ({processor:.2f} x its processor time); wanted: at most 1.5, "
        f"and at most 3,072 MB"
    )
    summary = {
        "benchmark": "clustering",
        "ours": round(windows / best["ours"]["seconds"]),
        "unit": "windows per second, assigned with distances and written, one thread",
        "peers": {"scikit-learn predict on slices": round(windows / best["predict"]["seconds"])},
        "floor": round(windows / best["floor"]["seconds"]),
        "ratio_to_fastest_peer": round(best["predict"]["seconds"] / best["ours"]["seconds"], 3),
        "ratio_to_floor": round(1 / wall, 3),
        "ratio_to_floor_of_processor_time": round(1 / processor, 3),
        "windows": windows,
        "kept": kept,
        "scale": round(recorders * days / (RECORDERS * DAYS), 4),
        "seconds": {name: round(cost["seconds"], 2) for name, cost in best.items()},
        "peak_mb": {name: round(cost["peak_mb"]) for name, cost in best.items()},
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
