"""What there is to say of each cluster: one row per cluster, for pages and reports.

In: the members of the fit, the assignment of recorder-days, the inventory (for local hours) and, where
there are any, BirdNET's detections. Out: ``clusters/cards.parquet``, with nested columns. One
recorder-day is read at a time; memory is that of the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import tracked
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    publishing,
    read_receipt,
)

CENTRAL_WINDOWS = 12
"""Windows nearest to the centroid that a card names."""
BORDER_WINDOWS = 6
"""Windows farthest from it."""
TOP_SPECIES = 5
HOURS = 24
DIGITS = 6
"""Means are rounded: the last bits of a sum depend on how many cores added it up."""

WINDOW = pl.Struct(
    {
        "recorder": pl.String,
        "date": pl.String,
        "recording": pl.String,
        "offset": pl.Int64,
        "time": pl.Datetime("us"),
        "distance": pl.Float32,
    }
)
CARDS: dict[str, Any] = {
    "cluster": pl.Int32,
    "size": pl.Int64,
    "members": pl.Int64,
    "mean_distance": pl.Float64,
    "central": pl.List(WINDOW),
    "border": pl.List(WINDOW),
    "recorders": pl.List(pl.Struct({"recorder": pl.String, "windows": pl.Int64})),
    "hours": pl.List(pl.Int64),
    "dates": pl.List(pl.Struct({"date": pl.String, "windows": pl.Int64})),
    "heard": pl.Int64,
    "detected": pl.Int64,
    "species": pl.List(
        pl.Struct(
            {
                "species": pl.String,
                "common_name": pl.String,
                "windows": pl.Int64,
                "share": pl.Float64,
                "mean_confidence": pl.Float64,
            }
        )
    ),
}
"""Columns of ``cards.parquet``.

``size`` counts the windows assigned on the given recorder-days, ``members`` those of the fit.
``central`` and ``border`` are the members nearest to and farthest from the centroid. ``hours`` has 24
counts by local hour, ``dates`` counts by local date. ``heard`` counts the windows of recorder-days that
BirdNET listened to, ``detected`` those of them in which it found a species; a species' ``share`` is of
``heard``."""


def cards(
    settings: Settings, results: Results, experiment: str, days: Sequence[RecorderDay]
) -> pl.DataFrame:
    """Describe the clusters of an experiment over some recorder-days and write the table.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    days : sequence of RecorderDay
        Those set aside are passed over.

    Returns
    -------
    DataFrame
        Columns :data:`CARDS`, one row per cluster, in the order of the clusters.

    Raises
    ------
    DawnChorusError
        If the clusters were not fitted, or a recorder-day was not assigned, or to other clusters.
    """
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    fitted = read_receipt(paths.clusters_receipt)
    ordered = sorted(set(days))
    parts: dict[str, list[pl.DataFrame]] = {}
    for day in tracked(ordered, f"cards {experiment}", len(ordered), "days"):
        receipt = read_receipt(paths.assignment_receipt(day))
        if receipt["clusters"] != fitted["fingerprint"]:
            raise DawnChorusError(
                "was assigned to other clusters than there are now",
                paths.assignment(day),
                f"run `dawnchorus assign --experiment {experiment}` again",
            )
        if receipt["verdict"] != SET_ASIDE:
            for name, counts in _counts(results, experiment, day).items():
                parts.setdefault(name, []).append(counts)
    table = _table(int(fitted["k"]), pl.read_parquet(paths.members), parts)
    with publishing(paths.root / "clusters" / "cards.parquet") as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    return table


def _counts(results: Results, experiment: str, day: RecorderDay) -> dict[str, pl.DataFrame]:
    """Count a recorder-day's windows per cluster in every way that a card shows."""
    offsets = (
        pl.scan_parquet(results.recordings)
        .filter((pl.col("recorder") == day.recorder) & (pl.col("date") == day.date))
        .select("recording", "utc_offset_minutes")
        .collect()
    )
    assigned = (
        pl.read_parquet(results.experiment(experiment).assignment(day))
        .join(offsets, on="recording", how="left")
        .with_columns(
            pl.lit(day.recorder).alias("recorder"),
            # A recording that left the inventory since counts by UTC.
            (
                pl.col("time")
                + pl.duration(minutes=pl.col("utc_offset_minutes").fill_null(0).cast(pl.Int64))
            ).alias("local"),
        )
        .with_columns(
            pl.col("local").dt.hour().cast(pl.Int64).alias("hour"),
            pl.col("local").dt.strftime("%Y-%m-%d").alias("day"),
        )
    )
    counts = {
        "size": assigned.group_by("cluster").agg(
            pl.len().cast(pl.Int64).alias("windows"),
            pl.col("distance").cast(pl.Float64).sum().alias("distance"),
        ),
        "recorders": _windows(assigned, "recorder"),
        "hours": _windows(assigned, "hour"),
        "dates": _windows(assigned, "day"),
    }
    if results.detections(day).exists():
        counts["heard"] = assigned.group_by("cluster").agg(pl.len().cast(pl.Int64).alias("windows"))
        detected = pl.read_parquet(results.detections(day)).join(
            assigned.select("recording", "offset", "cluster"), on=["recording", "offset"]
        )
        counts["detected"] = (
            detected.unique(["recording", "offset"])
            .group_by("cluster")
            .agg(pl.len().cast(pl.Int64).alias("windows"))
        )
        counts["species"] = detected.group_by("cluster", "species", "common_name").agg(
            pl.len().cast(pl.Int64).alias("windows"),
            pl.col("confidence").cast(pl.Float64).sum().alias("confidence"),
        )
    return counts


def _windows(assigned: pl.DataFrame, by: str) -> pl.DataFrame:
    return assigned.group_by("cluster", by).agg(pl.len().cast(pl.Int64).alias("windows"))


def _table(k: int, members: pl.DataFrame, parts: dict[str, list[pl.DataFrame]]) -> pl.DataFrame:
    """Put the counts of all recorder-days together."""
    order = ["distance", "recorder", "date", "recording", "offset"]
    by_cluster = {
        int(cluster): rows.sort(order)
        for (cluster,), rows in members.group_by(["cluster"], maintain_order=True)
    }
    size = _summed(parts.get("size"), ["windows", "distance"])
    heard = _summed(parts.get("heard"), ["windows"])
    detected = _summed(parts.get("detected"), ["windows"])
    recorders = _summed_by(parts.get("recorders"), "recorder")
    hours = _summed_by(parts.get("hours"), "hour")
    dates = _summed_by(parts.get("dates"), "day")
    species = _species(parts.get("species"))
    rows: list[dict[str, Any]] = []
    for cluster in range(k):
        own = by_cluster.get(cluster, members.clear())
        windows = int(size.get(cluster, {}).get("windows", 0))
        listened = int(heard.get(cluster, {}).get("windows", 0))
        by_hour = dict(hours.get(cluster, []))
        rows.append(
            {
                "cluster": cluster,
                "size": windows,
                "members": own.height,
                "mean_distance": (
                    round(size[cluster]["distance"] / windows, DIGITS) if windows else None
                ),
                "central": _named(own.head(CENTRAL_WINDOWS)),
                "border": _named(own.reverse().head(BORDER_WINDOWS)),
                "recorders": [
                    {"recorder": name, "windows": count}
                    for name, count in recorders.get(cluster, [])
                ],
                "hours": [int(by_hour.get(hour, 0)) for hour in range(HOURS)],
                "dates": [
                    {"date": name, "windows": count} for name, count in dates.get(cluster, [])
                ],
                "heard": listened,
                "detected": int(detected.get(cluster, {}).get("windows", 0)),
                "species": [
                    {
                        "species": row["species"],
                        "common_name": row["common_name"],
                        "windows": row["windows"],
                        "share": round(row["windows"] / listened, DIGITS),
                        "mean_confidence": round(row["confidence"] / row["windows"], DIGITS),
                    }
                    for row in species.get(cluster, [])
                ],
            }
        )
    return pl.DataFrame(rows, schema=CARDS)


def _named(windows: pl.DataFrame) -> list[dict[str, Any]]:
    return windows.select([field.name for field in WINDOW.fields]).to_dicts()


def _summed(parts: list[pl.DataFrame] | None, columns: list[str]) -> dict[int, dict[str, float]]:
    if not parts:
        return {}
    # The days stand in their order: sums of distances are the same in every run.
    table = pl.concat(parts).group_by("cluster", maintain_order=True).agg(pl.col(columns).sum())
    return {int(row["cluster"]): row for row in table.to_dicts()}


def _summed_by(parts: list[pl.DataFrame] | None, by: str) -> dict[int, list[tuple[Any, int]]]:
    found: dict[int, list[tuple[Any, int]]] = {}
    if not parts:
        return found
    table = pl.concat(parts).group_by("cluster", by).agg(pl.col("windows").sum())
    for cluster, value, windows in table.sort("cluster", by).iter_rows():
        found.setdefault(int(cluster), []).append((value, int(windows)))
    return found


def _species(parts: list[pl.DataFrame] | None) -> dict[int, list[dict[str, Any]]]:
    """Return the species found in most windows of each cluster, the most frequent first."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not parts:
        return found
    table = (
        pl.concat(parts)
        .group_by("cluster", "species", "common_name", maintain_order=True)
        .agg(pl.col("windows").sum(), pl.col("confidence").sum())
        .sort("cluster", "windows", "species", descending=[False, True, False])
    )
    for row in table.iter_rows(named=True):
        rows = found.setdefault(int(row["cluster"]), [])
        if len(rows) < TOP_SPECIES:
            rows.append(row)
    return found
