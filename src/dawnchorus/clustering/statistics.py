"""Statistics of the output space over all embeddings, and which recorder-days fit badly into its clusters.

In: embeddings and assignment of recorder-days, and the members of the fit. Out, below ``statistics/``: ``days.parquet``
and ``days.tsv`` (one row per recorder-day), ``drift.tsv`` (those that are flagged), and the receipt
``statistics.json`` with the season's mean length, lengths, spectrum and effective rank. Dask's workers take a
recorder-day each and remember its sums (:mod:`dawnchorus.clustering.moments`); the season is summed up in the order of
the recorder-days, so the bytes are the same with any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus.clustering import passes
from dawnchorus.clustering.drift import DIGITS, flagged, limits, sentence, share_beyond
from dawnchorus.clustering.fit_sample import Embedded, embedded_day
from dawnchorus.clustering.moments import Moments, effective_rank, moments_of_day
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import read_parquet
from dawnchorus.results import (
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    write_receipt,
)

DAYS: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "windows": pl.Int64,
    "in_fit": pl.Boolean,
    "length": pl.Float64,
    "variance": pl.Float64,
    "effective_rank": pl.Float64,
    "from_season": pl.Float64,
    "mean_distance": pl.Float64,
    "noise": pl.Float64,
    "beyond": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "flagged": pl.Boolean,
}
"""Columns of ``days.parquet``.

``in_fit``: the clusters were fitted on this recorder-day. ``length``: the middle (median) of its vectors' lengths;
``variance``: the sum of their variances over the dimensions; ``from_season``: how far its mean lies from the season's,
in units of the season's deviation (root of the variance); ``mean_distance``: cosine distance to the own centroid;
``noise``: share of windows in no cluster; ``beyond``, ``low``, ``high``, ``flagged``:
:mod:`dawnchorus.clustering.drift`. Null: no windows."""

LENGTHS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SIGNIFICANT = 8


def statistics(
    settings: Settings,
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    *,
    workers: int = 1,
) -> dict[str, Any]:
    """Measure the output space over recorder-days and write tables and receipt.

    Parameters
    ----------
    settings : Settings
        Uses ``drift`` and ``dask``.
    results : Results
    experiment : str
        Name in the config.
    days : sequence of RecorderDay
        They must be embedded and assigned; those set aside have empty rows.
    workers : int
        Threads, where they are local; the result is the same.

    Returns
    -------
    dict
        The receipt.

    Raises
    ------
    DawnChorusError
        If clusters, embeddings or an assignment are missing, or do not belong together.
    """
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    fitted = read_receipt(paths.clusters_receipt)
    of_fit = {RecorderDay(*day) for day in fitted["pool"]}
    ordered = sorted(set(days))
    found = [embedded_day(results, experiment, day) for day in ordered]
    usable = [one for one in found if one is not None and one.windows]
    if not usable:
        raise DawnChorusError(
            f"none of {len(ordered)} recorder-days has a window", paths.root / "embeddings"
        )
    limit = limits(read_parquet(paths.members), int(fitted["k"]), settings.drift.quantile)
    season = Moments.none(usable[0].dimension)
    rows: list[dict[str, Any]] = []
    means: list[NDArray[np.float64]] = []
    with passes.workers(settings.dask, workers) as client:
        measured = passes.each(
            client,
            measure_day,
            usable,
            results,
            experiment,
            limit,
            fitted["fingerprint"],
            doing="statistics",
        )
        for one, (moments, row) in zip(usable, measured, strict=True):
            season = season + moments
            means.append(moments.mean)
            rows.append(
                {
                    "recorder": one.day.recorder,
                    "date": one.day.date,
                    "in_fit": one.day in of_fit,
                    **row,
                }
            )
    spectrum = season.spectrum()
    deviation = float(np.sqrt(spectrum.sum()))
    for row, mean in zip(rows, means, strict=True):
        away = float(np.linalg.norm(mean - season.mean))
        row["from_season"] = _rounded(away / deviation) if deviation else 0.0
    there = {one.day for one in usable}
    rows += [
        {"recorder": day.recorder, "date": day.date, "windows": 0, "in_fit": day in of_fit}
        for day in ordered
        if day not in there
    ]
    empty = {name: pl.lit(None, kind).alias(name) for name, kind in DAYS.items()}
    table = pl.DataFrame(rows, schema_overrides={key: DAYS[key] for key in rows[0]})
    table = table.with_columns(empty[name] for name in DAYS if name not in table.columns)
    table, share = flagged(table.sort("recorder", "date"), settings.drift)
    table = table.select(pl.col(name).cast(kind) for name, kind in DAYS.items())
    return _write(settings, results, experiment, table, season, spectrum, share, fitted)


def measure_day(
    one: Embedded, results: Results, experiment: str, limit: NDArray[np.float64], clusters: str
) -> tuple[Moments, dict[str, Any]]:
    """Return a recorder-day's moments and its row, but for what needs the season."""
    paths = results.experiment(experiment)
    receipt = read_receipt(paths.assignment_receipt(one.day))
    if receipt.get("clusters") != clusters or receipt.get("embeddings") != one.fingerprint:
        raise DawnChorusError(
            "was assigned to other clusters, or from other embeddings, than there are now",
            paths.assignment(one.day),
            f"run `dawnchorus assign --experiment {experiment}` again",
        )
    moments = moments_of_day(one, results, experiment)
    table = read_parquet(paths.assignment(one.day), columns=["recording", "cluster", "distance"])
    seed = xxhash.xxh3_64_intdigest(str(one.day).encode())
    share = share_beyond(table, limit, [seed])
    spectrum = moments.spectrum()
    return moments, {
        "windows": one.windows,
        "length": _rounded(moments.length_at(0.5)),
        "variance": _rounded(float(spectrum.sum())),
        "effective_rank": _rounded(effective_rank(spectrum)),
        "mean_distance": round(float(table["distance"].cast(pl.Float64).mean()), DIGITS),  # type: ignore[arg-type]
        "noise": round(float((table["cluster"] < 0).mean()), DIGITS),  # type: ignore[arg-type]
        "beyond": round(share.beyond, DIGITS),
        "low": round(share.low, DIGITS),
        "high": round(share.high, DIGITS),
    }


def _rounded(value: float) -> float:
    """Keep the digits that do not depend on the machine's order of sums."""
    return float(f"{value:.{SIGNIFICANT - 2}g}")


def _write(
    settings: Settings,
    results: Results,
    experiment: str,
    table: pl.DataFrame,
    season: Moments,
    spectrum: NDArray[np.float64],
    share: float,
    fitted: dict[str, Any],
) -> dict[str, Any]:
    paths = results.experiment(experiment)
    paths.statistics_receipt.unlink(missing_ok=True)
    bad = table.filter("flagged")
    for path, rows in ((paths.statistics.with_suffix(".tsv"), table), (paths.drift, bad)):
        with publishing(path) as partial:
            rows.write_csv(partial, separator="\t")
    with publishing(paths.statistics) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    total = float(spectrum.sum())
    receipt = {
        "verdict": "ok",
        "recorder_days": table.height,
        "windows": season.windows,
        "dimension": len(season.mean),
        "mean_length": _rounded(float(np.linalg.norm(season.mean))),
        "lengths": {f"{quantile:g}": _rounded(season.length_at(quantile)) for quantile in LENGTHS},
        "variance": _rounded(total),
        "spectrum": [_rounded(float(value) / total) if total else 0.0 for value in spectrum],
        "effective_rank": _rounded(effective_rank(spectrum)),
        "drift": {
            **settings.drift.model_dump(),
            "flagged": [[row["recorder"], row["date"]] for row in bad.iter_rows(named=True)],
            "limit": share,
            "sentence": sentence(table, settings.drift.quantile),
        },
        "stability": fitted.get("stability"),
        "clusters": fitted["fingerprint"],
    }
    receipt["fingerprint"] = fingerprint([receipt, table.rows()])
    write_receipt(paths.statistics_receipt, receipt)
    return receipt
