"""The fit of the clusters of an experiment, or of a named pass.

In: embeddings of the training set's recorder-days; for a pass, also their assignment to the first clusters. Out, below
``clusters/`` or ``passes/{name}/``: ``centroids.safetensors``, ``members.parquet`` (the windows of the fit with their
cluster and distance; of HDBSCAN also its own label) and the receipt ``clusters.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus.clustering import minibatch, passes, season_fit
from dawnchorus.clustering.density import hdbscan
from dawnchorus.clustering.exclusion import exclusion
from dawnchorus.clustering.fit_sample import (
    Embedded,
    FitSample,
    Selection,
    draw,
    embedded_days,
    embeddings_fingerprint,
)
from dawnchorus.clustering.fitted import NOISE, Clusters, save_clusters
from dawnchorus.clustering.kmeans import spherical_kmeans
from dawnchorus.clustering.sphere import one_core
from dawnchorus.clustering.stability import over_seeds
from dawnchorus.config import Clustering, Pass, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.training_set import pool
from dawnchorus.progress import say
from dawnchorus.results import Results, fingerprint, publishing, read_receipt, write_receipt

START_WINDOWS = 50_000
"""Windows whose fit the passes over all windows start from: the default of ``clustering.fit_windows``."""
DIGITS = 6


@dataclass(frozen=True)
class Fitted:
    """Clusters, their windows with cluster and distance, and what the receipt tells beside."""

    clusters: Clusters
    members: pl.DataFrame
    told: dict[str, Any]


def pass_of(settings: Settings, named: str) -> Pass:
    """Return a pass by name, or say which there are.

    Raises
    ------
    DawnChorusError
        If the config has no such pass.
    """
    try:
        return settings.passes[named]
    except KeyError:
        raise DawnChorusError(
            f"there is no pass {named!r}",
            "passes",
            f"the config has {', '.join(settings.passes) or 'none'}",
        ) from None


def fit(
    settings: Settings,
    results: Results,
    experiment: str,
    *,
    named: str | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Fit the clusters of an experiment on windows of the training set's recorder-days.

    Recorder-days that arrived after the training set was drawn are not looked at: the fit stands
    when the season grows.

    Parameters
    ----------
    settings : Settings
        Uses ``clustering``, ``passes`` and ``dask``.
    results : Results
    experiment : str
        Name in the config.
    named : str, optional
        A pass of the config: its exclusions are left out.
    workers : int
        Threads for passes over all embeddings, where they are local; the result is the same.

    Returns
    -------
    dict
        The receipt; ``sizes`` counts the windows of the fit per cluster, ``noise`` those in none, ``stability`` tells
        how far fits with other seeds agree.

    Raises
    ------
    DawnChorusError
        If there are fewer windows than clusters, or a recorder-day was not embedded yet.
    """
    wanted = settings.clustering
    settings.experiment(experiment)
    paths = results.experiment(experiment).clustering(named)
    days = embedded_days(results, experiment, pool(results))
    inputs: dict[str, Any] = {
        "parameters": wanted.model_dump(),
        "model": days[0].model,
        "embeddings": embeddings_fingerprint(days),
    }
    selection, left_out = Selection(results, experiment), {}
    if named is not None:
        of_pass = pass_of(settings, named)
        wanted = wanted.model_copy(update={"k": of_pass.k or wanted.k})
        seconds = settings.spectrogram.window_seconds
        out = exclusion(results, experiment, days, of_pass, seconds)
        selection = Selection(results, experiment, out.clusters)
        inputs |= {
            "pass": of_pass.model_dump(mode="json"),
            "first": _first(results, experiment, days[0].model),
            "excluded": list(out.clusters),
        }
        left_out = {"facts": out.facts}
    standing = _standing(paths.receipt, (paths.centroids, paths.members), inputs)
    if standing is not None:
        say(f"{paths.centroids}: fitted already, on the same embeddings with the same settings")
        return standing

    windows = START_WINDOWS if wanted.fit_windows == "all" else wanted.fit_windows
    sample = draw(selection, days, windows, wanted.seed)
    _check_enough(sample, wanted)
    say(f"clustering {len(sample.vectors):,} of {sample.available:,} windows by {wanted.method}")
    found = _fitted(settings, wanted, sample, selection, days, workers)
    k = len(found.clusters.centroids)
    stability = over_seeds(sample.vectors, wanted, k)
    if stability is not None:
        ari = stability["ari"]
        say(
            f"{stability['seeds']} fits of {stability['windows']:,} windows with other seeds agree at an adjusted "
            f"Rand index of {ari['mean']:.2f} ({ari['min']:.2f} to {ari['max']:.2f})"
        )

    mark = fingerprint([inputs, _content(found.clusters)])
    clusters = replace(found.clusters, fingerprint=mark, model=days[0].model)
    paths.receipt.unlink(missing_ok=True)
    save_clusters(paths.centroids, clusters)
    with publishing(paths.members) as partial:
        found.members.write_parquet(partial, compression="zstd", statistics=True)
    cluster = found.members["cluster"].to_numpy()
    receipt = {
        "verdict": "ok",
        "method": wanted.method,
        "k": k,
        "windows": found.members.height,
        "available": sample.available,
        "dimension": clusters.centroids.shape[1],
        "mean_distance": round(
            float(found.members["distance"].cast(pl.Float64).mean()),  # type: ignore[arg-type]
            DIGITS,
        ),
        "sizes": np.bincount(cluster[cluster >= 0], minlength=k).tolist(),
        "noise": int((cluster == NOISE).sum()),
        "stability": stability,
        "pool": [[one.day.recorder, one.day.date] for one in days],
        **found.told,
        **left_out,
        **inputs,
        "fingerprint": mark,
    }
    write_receipt(paths.receipt, receipt)
    return receipt


def _fitted(
    settings: Settings,
    wanted: Clustering,
    sample: FitSample,
    selection: Selection,
    days: list[Embedded],
    workers: int,
) -> Fitted:
    """Fit by the wanted method."""
    if wanted.method == "hdbscan":
        return _dense(sample, wanted)
    centroids = spherical_kmeans(
        sample.vectors, wanted.k, seed=wanted.seed, restarts=wanted.restarts
    )
    if wanted.method == "kmeans" and wanted.fit_windows == "all":
        with passes.workers(settings.dask, workers) as client:
            found = season_fit.of_all_windows(client, selection, days, centroids)
        return Fitted(Clusters(found.centroids), found.members, {})
    if wanted.method == "minibatch":
        centroids = minibatch.of_all_windows(
            selection, days, centroids, sample.vectors, batch=wanted.batch, seed=wanted.seed
        )
    clusters = Clusters(centroids)
    return Fitted(clusters, _members(sample, clusters), {})


def _dense(sample: FitSample, wanted: Clustering) -> Fitted:
    """Fit by HDBSCAN and tell how well its clusters are represented."""
    from sklearn.metrics import adjusted_rand_score

    labels, clusters = hdbscan(sample.vectors, wanted, seed=wanted.seed)
    members = _members(sample, clusters).with_columns(pl.Series("hdbscan", labels, pl.Int32))
    cluster = members["cluster"].to_numpy()
    told = {
        "hdbscan_noise": int((labels == NOISE).sum()),
        "same_as_hdbscan": round(float((labels == cluster).mean()), DIGITS),
        "ari_with_hdbscan": round(float(adjusted_rand_score(labels, cluster)), DIGITS),
        "prototypes": len(clusters.prototypes.owner) if clusters.prototypes is not None else 0,
    }
    return Fitted(clusters, members, told)


def _members(sample: FitSample, clusters: Clusters) -> pl.DataFrame:
    with one_core():
        cluster, distance = clusters.of(sample.vectors)
    return sample.windows.with_columns(
        pl.Series("cluster", cluster, dtype=pl.Int32),
        pl.Series("distance", distance, dtype=pl.Float32),
    )


def _first(results: Results, experiment: str, model: str) -> str:
    """Return the fingerprint of the first clusters, which a pass is made from."""
    path = results.experiment(experiment).clusters_receipt
    receipt = read_receipt(path)
    if receipt.get("model") != model:
        raise DawnChorusError(
            "was fitted on another model's embeddings",
            path,
            f"run `dawnchorus cluster --experiment {experiment}` again",
        )
    return str(receipt["fingerprint"])


def _content(clusters: Clusters) -> list[str]:
    """Return the digests of everything that decides a window's cluster."""
    parts: list[NDArray[Any]] = [clusters.centroids]
    if clusters.prototypes is not None:
        held = clusters.prototypes
        parts += [held.vectors, held.owner, held.radius]
    return [xxhash.xxh3_128_hexdigest(np.ascontiguousarray(part)) for part in parts]


def _check_enough(sample: FitSample, wanted: Clustering) -> None:
    vectors, k = sample.vectors, wanted.k
    if wanted.method == "hdbscan":
        k = 2 * wanted.reduced_dimension
        if len(vectors) < k:
            raise DawnChorusError(
                f"{len(vectors)} windows are too few for {wanted.reduced_dimension} dimensions",
                "clustering.reduced_dimension",
                "lower it, or raise clustering.fit_windows",
            )
        return
    if len(vectors) < k:
        raise DawnChorusError(
            f"{k} clusters cannot be made of {len(vectors)} windows",
            "clustering.k",
            f"set it to {len(vectors)} or less, or raise clustering.fit_windows"
            if len(vectors) < sample.available
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
