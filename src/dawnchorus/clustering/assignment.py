"""The cluster of every window of one recorder-day.

In: the recorder-day's embeddings and the fitted clusters, or those of a named pass. Out: a table (recording, offset,
time, cluster, distance), one row per window in the store's order, and a receipt. The centroids are not
touched, so a new recorder-day changes no other's assignment. Memory is bounded by a block of
windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus.clustering import passes
from dawnchorus.clustering.fit_sample import (
    Selection,
    days_with_embeddings,
    embedded_day,
    store_of,
)
from dawnchorus.clustering.fitted import NOISE, load_clusters
from dawnchorus.clustering.sphere import one_core
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say
from dawnchorus.results import (
    SET_ASIDE,
    ExperimentResults,
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
    settings: Settings,
    results: Results,
    experiment: str,
    day: RecorderDay,
    *,
    named: str | None = None,
) -> dict[str, Any]:
    """Assign every window of a recorder-day to its cluster, by the centroids alone.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    day : RecorderDay
    named : str, optional
        A pass: windows that the first clusters put into an excluded one have no row.

    Returns
    -------
    dict
        The receipt; ``noise`` counts windows in no cluster (-1). The verdict is ``set aside`` (0 windows, no table)
        if the recorder-day has no embeddings.

    Raises
    ------
    DawnChorusError
        If clusters or embeddings are missing or stem from different models; of a pass, if the recorder-day was not
        assigned to the first clusters that there are now.
    """
    with one_core():
        return _assign(settings, results, experiment, day, named)


def _assign(
    settings: Settings, results: Results, experiment: str, day: RecorderDay, named: str | None
) -> dict[str, Any]:
    """Do :func:`assign_day` on as many cores as there are; the bytes are only sure with one."""
    settings.experiment(experiment)
    of_experiment = results.experiment(experiment)
    paths = of_experiment.clustering(named)
    path, receipt_path = paths.assignment(day), paths.assignment_receipt(day)
    clusters = load_clusters(paths.centroids)
    embedded = embedded_day(results, experiment, day)
    if embedded is None:
        withdraw(path)
        receipt = {
            "verdict": SET_ASIDE,
            "reason": read_receipt(of_experiment.embeddings_receipt(day)).get("reason"),
            "windows": 0,
            "clusters": clusters.fingerprint,
            "fingerprint": fingerprint(clusters.fingerprint),
        }
        write_receipt(receipt_path, receipt)
        return receipt
    if embedded.model != clusters.model:
        raise DawnChorusError(
            "was embedded by another model than the clusters were fitted on",
            of_experiment.embeddings(day),
            f"run `dawnchorus cluster --experiment {experiment}` again",
        )
    inputs = {"clusters": clusters.fingerprint, "embeddings": embedded.fingerprint}
    selection = Selection(results, experiment)
    if named is not None:
        of_pass = read_receipt(paths.receipt)
        selection = Selection(results, experiment, tuple(of_pass["excluded"]))
        inputs["first"] = _first(of_experiment, day, of_pass["first"])
    if path.exists() and receipt_path.exists():
        standing = read_receipt(receipt_path)
        if all(standing.get(key) == value for key, value in inputs.items()):
            say(f"{path}: assigned already, from the same embeddings to the same clusters")
            return standing

    store = store_of(results, experiment, embedded)
    rows = selection.rows(day, len(store))
    cluster = np.empty(len(rows), dtype=np.int32)
    distance = np.empty(len(rows), dtype=np.float32)
    filled = 0
    # Which windows they are is read beside the arithmetic: a tenth of a recorder-day's time.
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        named_windows = reader.submit(_windows, store, rows)
        for some, vectors in selection.kept_blocks(embedded, store):
            part = slice(filled, filled + len(some))
            cluster[part], distance[part] = clusters.of(vectors)
            filled += len(some)
        table = pl.DataFrame(
            {**named_windows.result(), "cluster": cluster, "distance": distance}, schema=SCHEMA
        )
    receipt_path.unlink(missing_ok=True)
    with publishing(path) as partial:
        table.write_parquet(partial, compression="zstd", compression_level=1, statistics=True)
    embeddings_receipt = read_receipt(of_experiment.embeddings_receipt(day))
    receipt = {
        "verdict": embeddings_receipt["verdict"],
        "reason": embeddings_receipt.get("reason"),
        "windows": len(rows),
        "noise": int((cluster == NOISE).sum()),
        "mean_distance": round(float(distance.mean(dtype=np.float64)), 6) if len(rows) else None,
        **inputs,
        "fingerprint": _content([cluster, distance], inputs),
    }
    if named is not None:
        receipt["left_out"] = len(store) - len(rows)
    write_receipt(receipt_path, receipt)
    return receipt


def _windows(store: VectorStore, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return recording, offset and time of some windows of a store."""
    return {
        "recording": pl.Series(store.recordings, dtype=pl.String).gather(store.recording[rows]),
        "offset": store.offset[rows],
        "time": store.time[rows],
    }


def _first(of_experiment: ExperimentResults, day: RecorderDay, fit: str) -> str:
    """Return the fingerprint of a recorder-day's assignment to the first clusters, which a pass begins with."""
    receipt = read_receipt(of_experiment.assignment_receipt(day))
    if receipt["clusters"] != fit:
        raise DawnChorusError(
            "was assigned to other clusters than the pass was fitted after",
            of_experiment.assignment(day),
            "run `dawnchorus cluster` for the pass, or `dawnchorus assign` for the first clusters, again",
        )
    return str(receipt["fingerprint"])


def assign_all(
    settings: Settings,
    results: Results,
    experiment: str,
    *,
    named: str | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Assign every recorder-day that has embeddings, on Dask's workers.

    Parameters
    ----------
    settings : Settings
        Uses ``dask``.
    results : Results
    experiment : str
        Name in the config.
    named : str, optional
        A pass.
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
    days = days_with_embeddings(results, experiment)
    with passes.workers(settings.dask, workers) as client:
        receipts = list(
            passes.each(
                client, assigned_day, days, settings, results, experiment, named, doing="assigning"
            )
        )
    return {
        "recorder_days": len(days),
        "windows": sum(receipt["windows"] for receipt in receipts),
        "set_aside": sum(receipt["verdict"] == SET_ASIDE for receipt in receipts),
    }


def assigned_day(
    day: RecorderDay, settings: Settings, results: Results, experiment: str, named: str | None
) -> dict[str, Any]:
    """Do :func:`assign_day`, the recorder-day first; a worker has its one core already."""
    return _assign(settings, results, experiment, day, named)


def _content(columns: Sequence[NDArray[Any]], inputs: Mapping[str, str]) -> str:
    """Return the fingerprint of what the columns hold and what they were made from."""
    hasher = xxhash.xxh3_128(fingerprint(inputs).encode())
    for column in columns:
        hasher.update(np.ascontiguousarray(column))
    return hasher.hexdigest()
