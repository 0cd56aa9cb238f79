"""Windows that lie far from everything else, and recorder-days that lie away from their recorder's others.

In: embeddings and assignments of recorder-days, and the reference (:mod:`~dawnchorus.clustering.reference`). Out: per
recorder-day ``outliers/{recorder}/{date}.parquet`` with the scores of every window, and its receipt; for the
season ``outliers/windows.parquet`` and ``days.parquet`` (and ``.tsv``), and ``outliers.json``.

A recorder-day's scores depend on its own embeddings and the reference only. They carry the fingerprints of both: what
is there already is not computed again. Memory is that of a block and of the lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from dawnchorus.clustering import passes
from dawnchorus.clustering.fit_sample import embedded_day, store_of
from dawnchorus.clustering.fitted import load_clusters
from dawnchorus.clustering.outlier_lists import recorder_days, season_lists, write_lists
from dawnchorus.clustering.reference import (
    MEASURES,
    Reference,
    group_names,
    load_reference,
    make_reference,
)
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import read_parquet
from dawnchorus.results import (
    OK,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.store import SpectrogramStore

SCORES: dict[str, Any] = {
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us"),
    "cluster": pl.Int32,
    **dict.fromkeys(MEASURES, pl.Float32),
    "score": pl.Float32,
}
"""Columns of a recorder-day's table, one row per window in the store's order."""
DIGITS = 6


def score_day(
    day: RecorderDay, results: Results, experiment: str, reference: Reference
) -> dict[str, Any]:
    """Score every window of a recorder-day.

    Parameters
    ----------
    day : RecorderDay
    results : Results
    experiment : str
    reference : Reference

    Returns
    -------
    dict
        The receipt: ``windows``, ``typical_score`` (their median), ``typical_level`` (in decibels; None if the
        spectrograms are gone), ``mean`` (of their vectors) and ``spread`` (root of the mean squared distance to it).
        ``set aside`` if the recorder-day has no embeddings.

    Raises
    ------
    DawnChorusError
        If the recorder-day was not embedded or not assigned, or by other models.
    """
    paths = results.experiment(experiment)
    path, receipt_path = paths.outlier_scores(day), paths.outlier_scores_receipt(day)
    embedded = embedded_day(results, experiment, day)
    if embedded is None:
        withdraw(path)
        receipt: dict[str, Any] = {"verdict": SET_ASIDE, "windows": 0, "fingerprint": None}
        write_receipt(receipt_path, receipt)
        return receipt
    if embedded.model != reference.model:
        raise DawnChorusError(
            "was embedded by another model than the clusters were fitted on",
            paths.embeddings(day),
            f"run `dawnchorus cluster --experiment {experiment}` again",
        )
    assigned = read_receipt(paths.assignment_receipt(day))
    source = fingerprint([embedded.fingerprint, assigned["fingerprint"], reference.fingerprint])
    if path.exists() and receipt_path.exists():
        standing = read_receipt(receipt_path)
        if standing.get("fingerprint") == source:
            return standing
    clusters = read_parquet(paths.assignment(day))
    store = store_of(results, experiment, embedded)
    if clusters.height != len(store):
        raise DawnChorusError(
            f"holds {clusters.height} windows, the embeddings {len(store)}",
            paths.assignment(day),
            f"run `dawnchorus assign --experiment {experiment}` again",
        )
    group = reference.numbers(group_names(day, clusters, reference.level))
    measures = np.empty((len(store), len(MEASURES)))
    total, squares = np.zeros(store.dimension), 0.0
    for start, block in store.blocks():
        part = slice(start, start + len(block))
        distance = clusters["distance"][part].to_numpy()
        measures[part] = reference.measures(block, group[part], distance)
        exact = block.astype(np.float64)
        total += exact.sum(axis=0)
        squares += float((exact**2).sum())
    score = reference.score(measures)
    mean = total / len(store)
    spread = np.sqrt(max(0.0, squares / len(store) - float(mean @ mean)))
    table = clusters.select("recording", "offset", "time", "cluster").with_columns(
        *(pl.Series(name, measures[:, number]) for number, name in enumerate(MEASURES)),
        pl.Series("score", score),
    )
    receipt_path.unlink(missing_ok=True)
    with publishing(path) as partial:
        table.cast(SCORES).write_parquet(  # type: ignore[arg-type]
            partial, compression="zstd", statistics=True
        )
    receipt = {
        "verdict": OK,
        "windows": len(store),
        "typical_score": round(float(np.median(score)), DIGITS),
        "typical_level": _typical_level(results, day),
        "mean": [float(f"{value:.7g}") for value in mean],
        "spread": float(f"{spread:.7g}"),
        "fingerprint": source,
    }
    write_receipt(receipt_path, receipt)
    return receipt


def _typical_level(results: Results, day: RecorderDay) -> float | None:
    path = results.spectrograms(day)
    if not path.exists():
        return None
    return round(float(np.median(SpectrogramStore.open(path).level)), 2)


def scored_day(
    day: RecorderDay, results: Results, experiment: str, per_day: int
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Do :func:`score_day` on a worker; return the receipt and the recorder-day's most outlying windows."""
    reference = load_reference(results.experiment(experiment).outlier_reference)
    receipt = score_day(day, results, experiment, reference)
    if receipt["verdict"] == SET_ASIDE:
        return receipt, pl.DataFrame(schema=SCORES)
    table = read_parquet(results.experiment(experiment).outlier_scores(day))
    return receipt, table.sort("score", descending=True, maintain_order=True).head(per_day)


def find_outliers(
    settings: Settings,
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    *,
    workers: int = 1,
) -> dict[str, Any]:
    """Score recorder-days and list the season's outliers.

    Parameters
    ----------
    settings : Settings
        Uses ``outliers`` and ``dask``.
    results : Results
    experiment : str
        Name in the config.
    days : sequence of RecorderDay
        Those that were set aside are passed over.
    workers : int
        Threads, where they are local; the result is the same.

    Returns
    -------
    dict
        The receipt.

    Raises
    ------
    DawnChorusError
        As :func:`score_day`, and if nothing was clustered.
    """
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    clusters = load_clusters(paths.centroids)
    reference = make_reference(settings, results, experiment, clusters)
    ordered = sorted(set(days))
    receipts: dict[RecorderDay, dict[str, Any]] = {}
    tops: dict[RecorderDay, pl.DataFrame] = {}
    wanted = settings.outliers
    with passes.workers(settings.dask, workers) as client:
        found = passes.each(
            client,
            scored_day,
            ordered,
            results,
            experiment,
            wanted.per_day,
            doing=f"outliers {experiment}",
        )
        for day, (receipt, top) in zip(ordered, found, strict=True):
            receipts[day] = receipt
            tops[day] = top
    scored = {day: receipt for day, receipt in receipts.items() if receipt["windows"]}
    of_days = recorder_days(scored)
    listed = season_lists(
        results, of_days, tops, wanted.listed, settings.spectrogram.window_seconds
    )
    write_lists(paths, listed, of_days)
    receipt = {
        "verdict": OK,
        "windows": sum(one["windows"] for one in scored.values()),
        "listed": listed.height,
        "reference": reference.fingerprint,
        "reference_windows": len(reference.vectors),
        "neighbours": reference.neighbours,
        "company": f"windows of another {reference.level.replace('_', '-')}",
        "days": {str(day): one["fingerprint"] for day, one in receipts.items()},
    }
    receipt["fingerprint"] = fingerprint(
        [receipt, wanted.model_dump(mode="json"), [list(row) for row in listed.iter_rows()]]
    )
    write_receipt(paths.outliers_receipt, receipt)
    return receipt
