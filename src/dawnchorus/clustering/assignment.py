"""The cluster of every window of one recorder-day.

In: the recorder-day's embeddings and the fitted centroids. Out: a table (recording, offset, time,
cluster, distance), one row per window in the store's order, and a receipt. The centroids are not
touched, so a new recorder-day changes no other's assignment. Memory is bounded by a block of
windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus.clustering import passes
from dawnchorus.clustering.fit_sample import embedded_day
from dawnchorus.clustering.kmeans import load_clusters
from dawnchorus.clustering.sphere import nearest, one_core, unit
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.vectors import VectorStore

SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us"),
    "cluster": pl.Int32,
    "distance": pl.Float32,
}


def assign_day(
    settings: Settings, results: Results, experiment: str, day: RecorderDay
) -> dict[str, Any]:
    """Assign every window of a recorder-day to the cluster with the nearest centroid.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    day : RecorderDay

    Returns
    -------
    dict
        The receipt. ``mean_distance`` beside that of ``clusters.json`` shows a recorder-day that
        fits badly. The verdict is ``set aside`` (0 windows, no table) if it has no embeddings.

    Raises
    ------
    DawnChorusError
        If clusters or embeddings are missing or stem from different models.
    """
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    path, receipt_path = paths.assignment(day), paths.assignment_receipt(day)
    clusters = load_clusters(paths.centroids)
    embedded = embedded_day(results, experiment, day)
    if embedded is None:
        withdraw(path)
        receipt = {
            "verdict": SET_ASIDE,
            "reason": read_receipt(paths.embeddings_receipt(day)).get("reason"),
            "windows": 0,
            "clusters": clusters.fingerprint,
            "fingerprint": fingerprint(clusters.fingerprint),
        }
        write_receipt(receipt_path, receipt)
        return receipt
    if embedded.model != clusters.model:
        raise DawnChorusError(
            "was embedded by another model than the clusters were fitted on",
            paths.embeddings(day),
            f"run `dawnchorus cluster --experiment {experiment}` again",
        )
    inputs = {"clusters": clusters.fingerprint, "embeddings": embedded.fingerprint}
    if path.exists() and receipt_path.exists():
        standing = read_receipt(receipt_path)
        if all(standing.get(key) == value for key, value in inputs.items()):
            say(f"{path}: assigned already, from the same embeddings to the same clusters")
            return standing

    store = VectorStore.open(paths.embeddings(day))
    cluster = np.empty(len(store), dtype=np.int32)
    distance = np.empty(len(store), dtype=np.float32)
    with one_core():
        for start, vectors in store.blocks():
            part = slice(start, start + len(vectors))
            cluster[part], distance[part] = nearest(unit(vectors), clusters.centroids)
    table = pl.DataFrame(
        {
            "recording": store.windows.names().tolist(),
            "offset": store.offset,
            "time": store.time,
            "cluster": cluster,
            "distance": distance,
        },
        schema=SCHEMA,
    )
    receipt_path.unlink(missing_ok=True)
    with publishing(path) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    embeddings_receipt = read_receipt(paths.embeddings_receipt(day))
    receipt = {
        "verdict": embeddings_receipt["verdict"],
        "reason": embeddings_receipt.get("reason"),
        "windows": len(store),
        "mean_distance": round(float(distance.mean(dtype=np.float64)), 6),
        **inputs,
        "fingerprint": _content([cluster, distance], inputs),
    }
    write_receipt(receipt_path, receipt)
    return receipt


def assign_all(
    settings: Settings, results: Results, experiment: str, *, workers: int = 1
) -> dict[str, Any]:
    """Assign every recorder-day that has embeddings, on Dask's workers.

    Parameters
    ----------
    settings : Settings
        Uses ``dask``.
    results : Results
    experiment : str
        Name in the config.
    workers : int
        Threads, where they are local; the result is the same.

    Returns
    -------
    dict
        ``recorder_days``, ``windows``, and of those that were set aside ``set_aside``.

    Raises
    ------
    DawnChorusError
        As :func:`assign_day`; those that are done by then stay.
    """
    embeddings = results.experiment(experiment).root / "embeddings"
    days = sorted(RecorderDay(path.parent.name, path.stem) for path in embeddings.glob("*/*.json"))
    if not days:
        raise DawnChorusError(
            "holds no embeddings", embeddings, f"run `dawnchorus embed --experiment {experiment}`"
        )
    with passes.workers(settings.dask, workers) as client:
        receipts = list(
            passes.each(
                client, assigned_day, days, settings, results, experiment, doing="assigning"
            )
        )
    return {
        "recorder_days": len(days),
        "windows": sum(receipt["windows"] for receipt in receipts),
        "set_aside": sum(receipt["verdict"] == SET_ASIDE for receipt in receipts),
    }


def assigned_day(
    day: RecorderDay, settings: Settings, results: Results, experiment: str
) -> dict[str, Any]:
    """Do :func:`assign_day`, the recorder-day first."""
    return assign_day(settings, results, experiment, day)


def _content(columns: Sequence[NDArray[Any]], inputs: Mapping[str, str]) -> str:
    """Return the fingerprint of what the columns hold and what they were made from."""
    hasher = xxhash.xxh3_128(fingerprint(inputs).encode())
    for column in columns:
        hasher.update(np.ascontiguousarray(column))
    return hasher.hexdigest()
