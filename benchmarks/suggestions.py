"""How often a cluster card's suggested description is right, on a season whose truth is known.

A season is simulated with a seed of its own, cut into spectrograms, and clustered (spherical k-means on log-mel means
and deviations, so that no network has to be trained); the cards describe the clusters, and the truth says what is in
their windows. A suggestion is right if what it names is in at least half of the cluster's windows. The peer names every
cluster the same, in the best possible way. With --config and --experiment a finished season is looked at instead
(``make demo`` makes one).

Run ``python benchmarks/suggestions.py [--quick] [--save FILE] [--config FILE --experiment NAME]``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from dawnchorus.clustering.assignment import assign_day
from dawnchorus.clustering.cards import cards
from dawnchorus.clustering.fit import fit
from dawnchorus.config import Settings, load, validate
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import OK, RecorderDay, Results, write_receipt
from dawnchorus.simulate.season import make_plan, simulate
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import WindowTable, write_vectors
from spectrograms import heading

EXPERIMENT = "statistics"
LEAST_OVERLAP = 0.5
"""Share of a window that a noise must fill to be in it."""
LEAST_SNR_DB, LEAST_SONG_S = 6.0, 0.2
HOLDS = 0.5
MEANS = {
    "silence": {"silence", "nothing"},
    "quiet": {"silence", "nothing"},
    "rain": {"rain"},
    "broadband": {"rain", "wind"},
    "wind": {"wind"},
    "machine": {"aircraft"},
    "rumble": {"wind", "aircraft"},
    "insects": {"crickets", "cicadas"},
    "song": {"song"},
    "species": {"song"},
}
"""What must be in a window for a suggestion to hold of it."""


def make_season(root: Path, *, seed: int, quick: bool) -> tuple[Settings, Results]:
    """Simulate, scan, cut, and write log-mel statistics as if they were embeddings."""
    plan = make_plan(
        recorders=3, days=1 if quick else 4, recordings=8 if quick else 16, seconds=60, seed=seed
    )
    simulate(root, plan, workers=1)
    settings = validate(
        {
            "results": str(root / "results"),
            "audio": {
                "root": str(root / "cards"),
                "deployments": str(root / "deployments.csv"),
                "timezone": plan.timezone,
            },
            "spectrogram": {"n_fft": 2048, "hop_length": 1024, "mels": 64, "frames": 128},
            "experiments": {EXPERIMENT: {"backbone": "vit_nano"}},
            "clustering": {"k": 12 if quick else 20, "fit_windows": 2000, "seed": seed},
            "evaluation": {"annotations": str(root / "truth.parquet")},
        }
    )
    results = Results(settings.results)
    scan(settings, results)
    days = [
        RecorderDay(*key)
        for key in pl.read_parquet(results.recordings)
        .select("recorder", "date")
        .unique()
        .sort("recorder", "date")
        .iter_rows()
    ]
    stores = []
    for day in days:
        make_day(settings, results, day)
        stores.append(SpectrogramStore.open(results.spectrograms(day)))
    vectors = [statistics(store.db(store.codes())) for store in stores]
    every = np.concatenate(vectors)
    middle, spread = every.mean(axis=0), every.std(axis=0) + 1e-6
    paths = results.experiment(EXPERIMENT)
    for day, store, rows in zip(days, stores, vectors, strict=True):
        content = write_vectors(
            paths.embeddings(day),
            [((rows - middle) / spread).astype(np.float32)],
            dimension=rows.shape[1],
            windows=WindowTable(store.recordings, store.recording, store.offset, store.time),
            attributes={},
        )
        write_receipt(
            paths.embeddings_receipt(day),
            {"verdict": OK, "windows": len(store), "dimension": rows.shape[1], "model": "statistics", "fingerprint": content},
        )  # fmt: skip
    write_receipt(
        results.training_receipt, {"edition": 1, "pool": [[day.recorder, day.date] for day in days]}
    )
    fit(settings, results, EXPERIMENT)
    for day in days:
        assign_day(settings, results, EXPERIMENT, day)
    return settings, results


def statistics(decibels: np.ndarray) -> np.ndarray:
    """Return mean and deviation per band."""
    return np.concatenate([decibels.mean(axis=2), decibels.std(axis=2)], axis=1)


def truth_of(results: Results, experiment: str, days: list[RecorderDay], truth: Path, seconds: float) -> pl.DataFrame:  # fmt: skip
    """Return cluster and what the truth says is in it (a list of names), for every window."""
    rates = pl.read_parquet(results.recordings).select("recording", "sample_rate")
    paths = results.experiment(experiment)
    windows = pl.concat(
        pl.read_parquet(paths.assignment(day)).select("recording", "offset", "cluster")
        for day in days
        if paths.assignment(day).exists()
    ).join(rates, on="recording")
    windows = windows.with_row_index("window").with_columns(
        start=pl.col("offset") / pl.col("sample_rate")
    )
    there = (
        pl.read_parquet(truth)
        .join(windows.select("window", "recording", "start"), on="recording")
        .with_columns(
            common=pl.min_horizontal("end_s", pl.col("start") + seconds)
            - pl.max_horizontal("start_s", "start")
        )
        .filter(
            pl.when(pl.col("kind") == "song")
            .then((pl.col("snr_db") >= LEAST_SNR_DB) & (pl.col("common") >= LEAST_SONG_S))
            .otherwise(pl.col("common") >= LEAST_OVERLAP * seconds)
        )
        .with_columns(
            name=pl.when(pl.col("kind") == "song").then(pl.lit("song")).otherwise("species")
        )
        .group_by("window")
        .agg(pl.col("name").unique())
    )
    return windows.join(there, on="window", how="left").with_columns(
        pl.col("name").fill_null(["nothing"])
    )


def judged(table: pl.DataFrame, truth: pl.DataFrame) -> list[dict]:
    """Return per cluster: suggestion, for which share of its windows it holds, and what is most in it."""
    rows = []
    for card in table.filter(pl.col("size") > 0).iter_rows(named=True):
        own = [set(names) for names in truth.filter(pl.col("cluster") == card["cluster"])["name"]]
        holds = {
            kind: sum(bool(names & meant) for names in own) / len(own)
            for kind, meant in MEANS.items()
        }
        named = {name for names in own for name in names}
        most = sorted(named, key=lambda name: -sum(name in names for names in own))[:2]
        rows.append(
            {
                "cluster": card["cluster"],
                "windows": len(own),
                "suggestion": card["suggestion"],
                "kind": card["kind"],
                "holds": holds.get(card["kind"], 0.0),
                "of_all": holds,
                "truth": ", ".join(
                    f"{name} {sum(name in names for names in own) / len(own):.0%}" for name in most
                ),
                "evidence": "; ".join(card["evidence"]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one day, 12 clusters")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    parser.add_argument("--seed", type=int, default=83, help="of the season and of the clusters")
    parser.add_argument("--config", type=Path, help="a finished season with truth instead")
    parser.add_argument("--experiment", help="of that season")
    options = parser.parse_args()
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "scikit-learn", "polars")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        if options.config:
            settings, experiment = load([options.config], []), options.experiment
            results = Results(settings.results)
        else:
            settings, results = make_season(Path(folder), seed=options.seed, quick=options.quick)
            experiment = EXPERIMENT
        days = results.days_with_receipts()
        table = cards(settings, results, experiment, days)
        seconds = settings.spectrogram.window_seconds
        truth = truth_of(results, experiment, days, settings.evaluation.annotations, seconds)
        rows = judged(table, truth)
    for row in rows:
        mark = "right" if row["holds"] >= HOLDS else "wrong"
        show(
            f"{row['cluster']:3d} {row['windows']:5d} {mark} {row['holds']:4.0%}  "
            f"{row['suggestion']:26s} | {row['truth']:28s} | {row['evidence']}"
        )
    right = np.array([row["holds"] >= HOLDS for row in rows])
    size = np.array([row["windows"] for row in rows])
    peers = {kind: float(np.mean([row["of_all"][kind] >= HOLDS for row in rows])) for kind in MEANS}
    best = max(peers, key=lambda kind: peers[kind])
    show(f"right for {right.sum()} of {len(rows)} clusters, which hold {size[right].sum() / size.sum():.0%} of the windows")  # fmt: skip
    show(f"peer: every cluster is called {best!r}: right for {peers[best]:.0%} of the clusters")
    summary = {
        "benchmark": "suggestions",
        "ours": round(float(right.mean()), 4),
        "unit": "share of clusters whose suggestion holds for at least half of their windows",
        "peers": {f"always {best}": round(peers[best], 4)},
        "floor": None,
        "ratio_to_fastest_peer": round(float(right.mean()) / peers[best], 3),
        "ratio_to_floor": None,
        "clusters": len(rows),
        "windows": int(size.sum()),
        "share_of_windows": round(float(size[right].sum() / size.sum()), 4),
        "seed": options.seed,
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
