"""Spherical k-means in the full dimension of the output space.

In: embeddings of the training set's recorder-days. Out: ``clusters/centroids.safetensors`` (unit
vectors, the largest cluster first), ``clusters/members.parquet`` (the windows of the fit with their
cluster and distance) and the receipt ``clusters/clusters.json``.

The poster's protocol: k = 100 on a random 50,000 windows. The fit is done in the full dimension,
not on a 2-D projection. scikit-learn's KMeans on unit vectors finds the start; then the spherical
iteration (Dhillon & Modha 2001, doi:10.1023/A:1007612920971) runs until nothing changes: assign by
largest cosine, take each cluster's mean direction. So every window belongs to the centroid nearest
to it, and every centroid is the mean direction of its windows.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.clustering import passes, season_fit
from dawnchorus.clustering.fit_sample import draw, embedded_days, embeddings_fingerprint
from dawnchorus.clustering.sphere import cluster_sums, directions, nearest, one_core, unit
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.training_set import pool
from dawnchorus.progress import say
from dawnchorus.results import Results, fingerprint, publishing, read_receipt, write_receipt

ITERATIONS = 300
"""Most iterations of either stage; both stop before, when nothing changes any more."""

START_WINDOWS = 50_000
"""Windows whose fit the passes over all windows start from: the default of ``clustering.fit_windows``."""

METADATA_KEY = "dawnchorus"


def spherical_kmeans(
    vectors: NDArray[np.float32], k: int, *, seed: int, restarts: int = 5
) -> NDArray[np.float32]:
    """Cluster unit vectors by direction.

    Parameters
    ----------
    vectors : float32 array (n, d)
        Unit vectors; at least ``k`` different ones.
    k : int
        Clusters.
    seed : int
        Of the k-means++ starts.
    restarts : int
        Starts; the one with the least inertia is kept.

    Returns
    -------
    float32 array (k, d)
        Unit centroids, the largest cluster first; equally large ones by their first window.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with one_core(), warnings.catch_warnings():
        # What it would warn of, fewer different vectors than clusters, is the caller's to rule out.
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = KMeans(
            n_clusters=k, init="k-means++", n_init=restarts, max_iter=ITERATIONS, random_state=seed
        ).fit(vectors)
        centroids = unit(start.cluster_centers_)
        cluster, _ = nearest(vectors, centroids)
        for _ in range(ITERATIONS):
            centroids = _mean_directions(vectors, cluster, centroids)
            before = cluster
            cluster, _ = nearest(vectors, centroids)
            if np.array_equal(cluster, before):
                break
    sizes = np.bincount(cluster, minlength=k)
    first = np.full(k, len(vectors))
    np.minimum.at(first, cluster, np.arange(len(vectors)))
    return centroids[np.lexsort((first, -sizes))]


def _mean_directions(
    vectors: NDArray[np.float32], cluster: NDArray[np.int32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean direction of each cluster; one that is empty keeps its centroid."""
    return directions(cluster_sums(vectors, cluster, len(centroids)), centroids)


def fit(
    settings: Settings, results: Results, experiment: str, *, workers: int = 1
) -> dict[str, Any]:
    """Fit the clusters of an experiment on windows of the training set's recorder-days.

    Recorder-days that arrived after the training set was drawn are not looked at: the fit stands
    when the season grows.

    Parameters
    ----------
    settings : Settings
        Uses ``clustering`` and ``dask``.
    results : Results
    experiment : str
        Name in the config.
    workers : int
        Threads for passes over all embeddings, where they are local; the result is the same.

    Returns
    -------
    dict
        The receipt; ``sizes`` counts the windows of the fit per cluster.

    Raises
    ------
    DawnChorusError
        If there are fewer windows than clusters, or a recorder-day was not embedded yet.
    """
    wanted = settings.clustering
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    days = embedded_days(results, experiment, pool(results))
    inputs = {
        "parameters": wanted.model_dump(),
        "model": days[0].model,
        "embeddings": embeddings_fingerprint(days),
    }
    standing = _standing(paths.clusters_receipt, (paths.centroids, paths.members), inputs)
    if standing is not None:
        say(f"{paths.centroids}: fitted already, on the same embeddings with the same settings")
        return standing

    everything = wanted.fit_windows == "all"
    windows = START_WINDOWS if wanted.fit_windows == "all" else wanted.fit_windows
    sample = draw(results, experiment, days, windows, wanted.seed)
    _check_enough(sample.vectors, wanted.k, sample.available)
    say(f"clustering {len(sample.vectors):,} of {sample.available:,} windows into {wanted.k}")
    centroids = spherical_kmeans(
        sample.vectors, wanted.k, seed=wanted.seed, restarts=wanted.restarts
    )
    if everything:
        with passes.workers(settings.dask, workers) as client:
            found = season_fit.of_all_windows(client, results, experiment, days, centroids)
        centroids, members = found.centroids, found.members
    else:
        with one_core():
            cluster, distance = nearest(sample.vectors, centroids)
        members = sample.windows.with_columns(
            pl.Series("cluster", cluster, dtype=pl.Int32),
            pl.Series("distance", distance, dtype=pl.Float32),
        )

    mark = fingerprint([inputs, xxhash.xxh3_128_hexdigest(centroids.tobytes())])
    paths.clusters_receipt.unlink(missing_ok=True)
    with publishing(paths.centroids) as partial:
        save_file(
            {"centroids": np.ascontiguousarray(centroids)},
            partial,
            metadata={METADATA_KEY: json.dumps({"fingerprint": mark, "model": days[0].model})},
        )
    with publishing(paths.members) as partial:
        members.write_parquet(partial, compression="zstd", statistics=True)
    receipt = {
        "verdict": "ok",
        "k": wanted.k,
        "windows": members.height,
        "available": sample.available,
        "dimension": centroids.shape[1],
        "mean_distance": round(float(members["distance"].cast(pl.Float64).mean()), 6),  # type: ignore[arg-type]
        "sizes": np.bincount(members["cluster"].to_numpy(), minlength=wanted.k).tolist(),
        "pool": [[one.day.recorder, one.day.date] for one in days],
        **inputs,
        "fingerprint": mark,
    }
    write_receipt(paths.clusters_receipt, receipt)
    return receipt


def _check_enough(vectors: NDArray[np.float32], k: int, available: int) -> None:
    if len(vectors) < k:
        raise DawnChorusError(
            f"{k} clusters cannot be made of {len(vectors)} windows",
            "clustering.k",
            f"set it to {len(vectors)} or less, or raise clustering.fit_windows"
            if len(vectors) < available
            else f"set it to {len(vectors)} or less",
        )
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * 4))).ravel()
    different = len(np.unique(rows))
    if different < k:
        raise DawnChorusError(
            f"{k} clusters cannot be made of {different} different windows ({len(vectors)} in all)",
            "clustering.k",
            f"set it to {different} or less",
        )


def _standing(
    receipt_path: Path, files: tuple[Path, ...], inputs: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the receipt of an earlier fit if it is what this one would be."""
    if not (receipt_path.exists() and all(path.exists() for path in files)):
        return None
    standing = read_receipt(receipt_path)
    return standing if all(standing.get(key) == value for key, value in inputs.items()) else None


@dataclass(frozen=True)
class Clusters:
    """Fitted clusters: unit centroids (k, d), their fingerprint, and the model's."""

    centroids: NDArray[np.float32]
    fingerprint: str
    model: str


def load_clusters(path: Path) -> Clusters:
    """Read ``centroids.safetensors``.

    Raises
    ------
    DawnChorusError
        If it is missing or something else.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            held = json.loads((handle.metadata() or {})[METADATA_KEY])
            return Clusters(
                np.asarray(handle.get_tensor("centroids")), held["fingerprint"], held["model"]
            )
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus cluster` first") from None
    except (SafetensorError, KeyError, json.JSONDecodeError):
        raise DawnChorusError(
            "holds no centroids", path, "delete it and run `dawnchorus cluster` again"
        ) from None
