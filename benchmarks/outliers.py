"""Are planted rarities among the first of the outliers?

A season is simulated with five calls of a species that is otherwise not there, and one recorder-day with a muffled
microphone (``dawnchorus simulate --rarities``). Ours is the list of ``dawnchorus outliers``, in the space of a small
network trained on that season and in that of log-mel statistics. The peers rank the same vectors: scikit-learn's local
outlier factor, its isolation forest, and the mean distance to the 20 nearest, each as it comes. A call's rank is that of
its best window; the floor is chance. Precision at 50 counts windows of the calls and of the muffled recorder-day.

Run ``python benchmarks/outliers.py [--quick] [--experiments vicreg_micro] [--save FILE]``.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.assignment import assign_all
from dawnchorus.clustering.crowding import nearest_others
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.outliers import find_outliers
from dawnchorus.clustering.sphere import one_core
from dawnchorus.config import Settings, load
from dawnchorus.embedding.day import embed_day
from dawnchorus.evaluation.spaces import statistics
from dawnchorus.learning.training_set import sample
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.simulate.plan import make_plan
from dawnchorus.simulate.rarities import RARE_SPECIES
from dawnchorus.simulate.season import simulate
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import VectorStore, WindowTable, write_vectors
from spectrograms import heading

REPOSITORY = Path(__file__).parents[1]
STATISTICS = "log_mel_statistics"
SEASON = 8_690_000
"""Windows of the reference season."""
EARS_S = 0.3
"""A window counts for a call if it holds so much of it."""


@dataclass
class Planted:
    """All windows of the season, in the order of the stores, and what was planted in which."""

    windows: pl.DataFrame
    call: NDArray[np.int64]
    """Number of the call from 1 that a window holds, or 0."""
    muffled: NDArray[np.bool_]
    day: RecorderDay


def planted_in(root: Path, results: Results, days: list[RecorderDay], seconds: float) -> Planted:
    truth = pl.read_parquet(root / "truth.parquet")
    rates = pl.read_parquet(results.recordings).select("recording", "sample_rate")
    parts = []
    for day in days:
        store = SpectrogramStore.open(results.spectrograms(day))
        names = np.array(store.recordings, dtype=object)[store.recording].tolist()
        parts.append(pl.DataFrame({"recording": names, "offset": store.offset, "day": str(day)}))
    windows = pl.concat(parts).join(rates, on="recording", maintain_order="left")
    second = (windows["offset"] / windows["sample_rate"]).to_numpy()
    call = np.zeros(windows.height, np.int64)
    calls = truth.filter(pl.col("species") == RARE_SPECIES)
    for number, row in enumerate(calls.iter_rows(named=True), start=1):
        held = np.minimum(second + seconds, row["end_s"]) - np.maximum(second, row["start_s"])
        call[(windows["recording"] == row["recording"]).to_numpy() & (held > EARS_S)] = number
    faulty = truth.filter(pl.col("kind") == "fault")["recording"].unique()
    muffled = windows["recording"].is_in(faulty.to_list()).to_numpy()
    day = windows["day"].to_numpy()[muffled][0].rpartition("/")
    return Planted(windows, call, muffled, RecorderDay(day[0], day[2]))


def ranks_of(order: NDArray[np.int64]) -> NDArray[np.int64]:
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def told_of(planted: Planted, ranks: NDArray[np.int64]) -> tuple[list[int], int, float]:
    """Return each call's best rank, the muffled day's best, and the precision at 50."""
    calls = [int(ranks[planted.call == n].min()) for n in range(1, int(planted.call.max()) + 1)]
    hit = (planted.call > 0) | planted.muffled
    return calls, int(ranks[planted.muffled].min()), float(hit[ranks <= 50].mean())


def judge(
    settings: Settings, results: Results, name: str, planted: Planted, show: Callable[[str], None]
) -> dict[str, float]:
    """Cluster, list, and compare with the peers; return the shares of calls in the first 1 %."""
    days = results.days_with_receipts()
    fit(settings, results, name)
    assign_all(settings, results, name)
    started = time.perf_counter()
    find_outliers(settings, results, name, days)
    seconds = time.perf_counter() - started
    paths = results.experiment(name)
    total = planted.windows.height
    first = total // 100
    listed = pl.read_parquet(paths.outliers("windows")).filter(pl.col("rank").is_not_null())
    placed = planted.windows.join(
        listed.select("recording", "offset", "rank"),
        on=["recording", "offset"], how="left", maintain_order="left",
    )  # fmt: skip
    # What the list leaves out stands behind it.
    in_list = placed["rank"].fill_null(total).to_numpy()
    scores = np.concatenate([pl.read_parquet(paths.outlier_scores(day))["score"] for day in days])
    vectors = np.concatenate([VectorStore.open(paths.embeddings(day)).read() for day in days])
    days_listed = pl.read_parquet(paths.outliers("days"))
    of_day = days_listed.filter(
        (pl.col("recorder") == planted.day.recorder) & (pl.col("date") == planted.day.date)
    ).row(0, named=True)
    sides = {"ours: the list": in_list, "ours: all windows by score": ranks_of(np.argsort(-scores))}
    for peer, ranks in _peers(vectors).items():
        sides[peer] = ranks
    shares = {}
    for side, ranks in sides.items():
        calls, muffled, precision = told_of(planted, ranks)
        shares[side] = sum(rank <= first for rank in calls) / len(calls)
        show(
            f"{name:20} {side:27} calls {', '.join(f'{r:,}' for r in sorted(calls)):27} "
            f"muffled {muffled:5,}   precision at 50 {precision:.2f}"
        )
    show(
        f"{name:20} the muffled recorder-day is number {of_day['rank']} of {days_listed.height} "
        f"(score {of_day['score']:.1f}); {total:,} windows, first 1 %: {first}; {seconds:.1f} s"
    )
    return shares


def _peers(vectors: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

    factor = LocalOutlierFactor(n_neighbors=20).fit(vectors).negative_outlier_factor_
    forest = IsolationForest(random_state=0).fit(vectors).score_samples(vectors)
    distance, _ = NearestNeighbors(n_neighbors=20).fit(vectors).kneighbors()
    return {
        "LocalOutlierFactor": ranks_of(np.argsort(factor)),
        "IsolationForest": ranks_of(np.argsort(forest)),
        "NearestNeighbors, mean of 20": ranks_of(np.argsort(-distance.mean(axis=1))),
    }


def make_statistics(results: Results, days: list[RecorderDay]) -> None:
    """Embed the season by the standardised mean and deviation of each mel band."""
    stores = [SpectrogramStore.open(results.spectrograms(day)) for day in days]
    found = [statistics(store.db(store.codes()))[0] for store in stores]
    whole = np.concatenate(found)
    centre, spread = whole.mean(axis=0), whole.std(axis=0) + 1e-6
    paths = results.experiment(STATISTICS)
    for day, store, rows in zip(days, stores, found, strict=True):
        table = WindowTable(store.recordings, store.recording, store.offset, store.time)
        vectors = ((rows - centre) / spread).astype(np.float32)
        dimension = vectors.shape[1]
        content = write_vectors(
            paths.embeddings(day), [vectors], dimension=dimension, windows=table, attributes={}
        )
        receipt = {"verdict": "ok", "windows": len(vectors), "dimension": dimension}
        write_receipt(
            paths.embeddings_receipt(day), {**receipt, "model": "none", "fingerprint": content}
        )


def train(settings: Settings, results: Results, name: str, overrides: list[str]) -> None:
    command = [sys.executable, "-m", "dawnchorus", "train", "--experiment", name]
    command += ["--config", str(REPOSITORY / "config" / "demo.yaml")]
    command += [part for override in overrides for part in ("--set", override)]
    subprocess.run(command, check=True, capture_output=True)
    for day in results.days_with_receipts():
        embed_day(settings, results, name, day, workers=os.cpu_count() or 1)


def cost() -> str:
    """Measure what comparing windows with a full reference takes; return a line."""
    random = np.random.default_rng(0)
    others = random.standard_normal((20_000, 128), np.float32)
    vectors = random.standard_normal((2048, 128), np.float32)
    started = time.process_time()
    with one_core():
        nearest_others(vectors, np.full(2048, -1), others, np.arange(20_000), 20)
    hours = (time.process_time() - started) * SEASON / len(vectors) / 3600
    return (
        f"comparing {len(vectors):,} windows with 20,000 in 128 whitened dimensions, in proportion "
        f"for {SEASON:,}: {hours:.1f} core-hours, once"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small season, statistics only")
    parser.add_argument(
        "--experiments", default="vicreg_micro,dino_micro", help="of config/demo.yaml"
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    size = {"recorders": 4, "days": 5, "recordings": 8, "seconds": 90.0}
    if options.quick:
        size = {"recorders": 2, "days": 4, "recordings": 6, "seconds": 45.0}
    names = [] if options.quick else options.experiments.split(",")
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "scikit-learn", "torch")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        told = " ".join(f"--{key} {value:g}" for key, value in size.items())
        show(f"dawnchorus simulate OUT {told} --seed {options.seed} --rarities")
        simulate(
            root, make_plan(**size, seed=options.seed, rarities=True), workers=os.cpu_count() or 1
        )
        overrides = [
            f"results={root}/results",
            f"audio.root={root}/cards",
            f"audio.deployments={root}/deployments.csv",
            f"evaluation.annotations={root}/truth.parquet",
        ]
        settings = load([REPOSITORY / "config" / "demo.yaml"], overrides, [])
        results = Results(settings.results)
        scan(settings, results)
        found = pl.read_parquet(results.recordings).select("recorder", "date").unique()
        days = sorted(RecorderDay(*row) for row in found.iter_rows())
        for day in days:
            make_day(settings, results, day, workers=os.cpu_count() or 1)
        sample(settings, results, days)
        planted = planted_in(root, results, days, settings.spectrogram.window_seconds)
        make_statistics(results, days)
        # The list of settings names an experiment; the statistics stand in for one.
        values = settings.model_dump(mode="json")
        values["experiments"][STATISTICS] = {"backbone": "vit_nano"}
        shown = Settings.model_validate(values)
        shares = {STATISTICS: judge(shown, results, STATISTICS, planted, show)}
        for name in names:
            train(settings, results, name, overrides)
            shares[name] = judge(shown, results, name, planted, show)
    show(cost())
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    space = names[0] if names else STATISTICS
    ours = shares[space]["ours: the list"]
    peers = {side: value for side, value in shares[space].items() if not side.startswith("ours")}
    best = max(peers.values())
    summary = {
        "benchmark": "outliers",
        "ours": ours,
        "unit": f"share of five planted calls among the first 1 % of the windows, in {space}",
        "peers": peers,
        "floor": 0.01,
        "ratio_to_fastest_peer": round(ours / best, 3) if best else None,
        "ratio_to_floor": round(ours / 0.01, 1),
        "spaces": {name: value["ours: the list"] for name, value in shares.items()},
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
