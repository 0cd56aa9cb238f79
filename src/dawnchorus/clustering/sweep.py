"""How clusters depend on their number and on the seed: a table to choose ``clustering.k`` by.

In: a sample of the embeddings of the training set's recorder-days. Out: ``sweep/sweep.parquet`` and ``sweep.tsv``,
one row per number of clusters. Each fit is spherical k-means from one start. The mean distance always falls with
more clusters; where fits with other seeds still agree (adjusted Rand index) and windows lie nearer to their own
cluster than to the next (silhouette), the number is one that the space has, not one that was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering import passes
from dawnchorus.clustering.fit_sample import (
    Selection,
    draw,
    embedded_days,
    embeddings_fingerprint,
)
from dawnchorus.clustering.kmeans import spherical_kmeans
from dawnchorus.clustering.sphere import nearest
from dawnchorus.clustering.stability import least_mean_most, rand_indices
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.training_set import pool
from dawnchorus.results import Results, publishing

SWEEP: dict[str, Any] = {
    "k": pl.Int64,
    "windows": pl.Int64,
    "seeds": pl.Int64,
    "mean_distance": pl.Float64,
    "mean_distance_min": pl.Float64,
    "mean_distance_max": pl.Float64,
    "silhouette": pl.Float64,
    "silhouette_min": pl.Float64,
    "silhouette_max": pl.Float64,
    "ari": pl.Float64,
    "ari_min": pl.Float64,
    "ari_max": pl.Float64,
    "smallest": pl.Int64,
    "largest": pl.Int64,
}
"""Columns of ``sweep.parquet``: means over the seeds (``ari``: over pairs of them) with the least and the most.
``mean_distance`` is the mean cosine distance to the own centroid, which k-means makes small; ``silhouette`` that of
scikit-learn with the cosine distance; ``smallest`` and ``largest`` cluster of all fits, in windows."""


def sweep(
    settings: Settings, results: Results, experiment: str, *, workers: int = 1
) -> pl.DataFrame:
    """Fit each number of clusters with each seed and write the table.

    Parameters
    ----------
    settings : Settings
        Uses ``sweep``, ``clustering.seed`` and ``dask``.
    results : Results
    experiment : str
        Name in the config.
    workers : int
        Fits at a time, where the workers are local; the result is the same.

    Returns
    -------
    DataFrame
        Columns :data:`SWEEP`.

    Raises
    ------
    DawnChorusError
        If there are fewer different windows than clusters.
    """
    settings.experiment(experiment)
    wanted, seed = settings.sweep, settings.clustering.seed
    days = embedded_days(results, experiment, pool(results))
    sample = draw(Selection(results, experiment), days, wanted.windows, seed)
    different = len(np.unique(sample.vectors, axis=0))
    if not wanted.k or max(wanted.k) >= different:
        raise DawnChorusError(
            f"needs numbers below the {different} different windows that were drawn",
            "sweep.k",
            "lower the largest, or raise sweep.windows",
        )
    numbers = sorted(set(wanted.k))
    seeds = range(seed, seed + wanted.seeds)
    items = [(k, one) for k in numbers for one in seeds]
    shown = min(wanted.silhouette_windows, len(sample.vectors))
    some = np.sort(np.random.default_rng(seed).choice(len(sample.vectors), shown, replace=False))
    with passes.workers(settings.dask, workers) as client:
        found = dict(
            zip(
                items,
                passes.each(client, fit_once, items, sample.vectors, some, doing="fits"),
                strict=True,
            )
        )
    rows = [_row(k, [found[k, one] for one in seeds], len(sample.vectors)) for k in numbers]
    table = pl.DataFrame(rows, schema=SWEEP)
    path = results.experiment(experiment).sweep
    with publishing(path.with_suffix(".tsv")) as partial:
        table.write_csv(partial, separator="\t")
    source = {"embeddings": embeddings_fingerprint(days), "parameters": wanted.model_dump_json()}
    with publishing(path) as partial:
        table.write_parquet(partial, compression="zstd", metadata=source)
    return table


Fit = tuple[NDArray[np.int32], float, float]
"""Cluster of each window, mean cosine distance, silhouette of some windows (NaN if they are in one cluster)."""


def fit_once(item: tuple[int, int], vectors: NDArray[np.float32], some: NDArray[np.int64]) -> Fit:
    """Cluster unit vectors (n, d) into ``item[0]`` with the seed ``item[1]``."""
    from sklearn.metrics import silhouette_score

    k, seed = item
    cluster, distance = nearest(vectors, spherical_kmeans(vectors, k, seed=seed, restarts=1))
    held = cluster[some]
    several = 2 <= len(np.unique(held)) < len(held)
    silhouette = silhouette_score(vectors[some], held, metric="cosine") if several else np.nan
    return cluster, float(distance.mean(dtype=np.float64)), float(silhouette)


def _row(k: int, fits: list[Fit], windows: int) -> dict[str, Any]:
    sizes = [np.bincount(cluster, minlength=k) for cluster, _, _ in fits]
    row: dict[str, Any] = {
        "k": k,
        "windows": windows,
        "seeds": len(fits),
        "smallest": int(min(size.min() for size in sizes)),
        "largest": int(max(size.max() for size in sizes)),
    }
    measured = {
        "mean_distance": [distance for _, distance, _ in fits],
        "silhouette": [value for _, _, value in fits if np.isfinite(value)],
        "ari": rand_indices([cluster for cluster, _, _ in fits]),
    }
    for name, values in measured.items():
        told = least_mean_most(values) if values else {"mean": None, "min": None, "max": None}
        row |= {name: told["mean"], f"{name}_min": told["min"], f"{name}_max": told["max"]}
    return row
