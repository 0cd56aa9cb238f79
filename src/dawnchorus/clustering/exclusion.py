"""Which clusters of the first fit a named pass leaves out.

In: what the pass asks for, and, where it asks by facts, the assignment, BirdNET's detections and the spectrograms'
activity on the recorder-days of the fit. Out: the clusters, and the facts of each. Recorder-days that arrived later
are not looked at: the pass stands when the season grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dawnchorus.birdnet.speaking import HEARD, detections_of
from dawnchorus.clustering.fit_sample import Embedded
from dawnchorus.config import Pass
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore

DIGITS = 6


@dataclass(frozen=True)
class Exclusion:
    """Clusters that are left out, ascending, and what is known of each cluster.

    ``facts`` has ``cluster``, ``windows``, and what was asked for: ``detected`` (share of windows in which BirdNET
    found a species) and ``activity`` (mean, dB).
    """

    clusters: tuple[int, ...]
    facts: list[dict[str, Any]]


def exclusion(
    results: Results,
    experiment: str,
    days: Sequence[Embedded],
    wanted: Pass,
    window_seconds: float,
) -> Exclusion:
    """Find the clusters that a pass leaves out; a window lasts ``window_seconds``.

    Raises
    ------
    DawnChorusError
        If it names a cluster that there is not, or leaves all out, or what it asks by is not there.
    """
    first = results.experiment(experiment).clustering()
    receipt = read_receipt(first.receipt)
    k = int(receipt["k"])
    beyond = [cluster for cluster in wanted.exclude if cluster >= k]
    if beyond:
        raise DawnChorusError(
            f"there is no cluster {beyond[0]}; the fit has {k}, from 0", "passes.NAME.exclude"
        )
    by_facts = wanted.detected_below is not None or wanted.activity_below is not None
    facts = (
        _facts(results, experiment, [one.day for one in days], wanted, window_seconds)
        if by_facts
        else []
    )
    found = set(wanted.exclude)
    for row in facts:
        quiet = wanted.activity_below is not None and (
            row["activity"] is not None and row["activity"] < wanted.activity_below
        )
        unheard = wanted.detected_below is not None and (
            row["detected"] is not None and row["detected"] < wanted.detected_below
        )
        if quiet or unheard:
            found.add(row["cluster"])
    if set(range(k)) <= found:
        raise DawnChorusError(f"leaves out all {k} clusters", "passes", "exclude fewer")
    return Exclusion(tuple(sorted(found)), facts)


def _facts(
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    wanted: Pass,
    window_seconds: float,
) -> list[dict[str, Any]]:
    """Return the facts of each cluster over some recorder-days."""
    parts = []
    for day in tracked(days, "facts of the clusters", len(days), "days"):
        path = results.experiment(experiment).assignment(day)
        if not path.exists():
            raise DawnChorusError(
                "is not there", path, f"run `dawnchorus assign --experiment {experiment}`"
            )
        table = read_parquet(path, columns=["recording", "offset", "cluster"])
        if wanted.detected_below is not None:
            table = _heard(results, day, table, window_seconds)
        if wanted.activity_below is not None:
            store = SpectrogramStore.open(results.spectrograms(day))
            place = store.find(table["recording"].to_list(), table["offset"].to_numpy())
            activity = np.asarray(store.activity, dtype=np.float64)
            values = np.where(place >= 0, activity[place], np.nan)
            table = table.with_columns(pl.Series("activity", values).fill_nan(None))
        facts = [
            pl.col(name).sum().alias(name)
            for name in ("heard", "detected", "activity")
            if name in table.columns
        ]
        known = [pl.col("activity").count().alias("known")] if "activity" in table.columns else []
        parts.append(
            table.group_by("cluster", maintain_order=True).agg(
                pl.len().alias("windows"), *facts, *known
            )
        )
    total = pl.concat(parts, how="diagonal").group_by("cluster").agg(pl.all().sum()).sort("cluster")
    rows = []
    for row in total.to_dicts():
        heard, known_ = row.get("heard") or 0, row.get("known") or 0
        rows.append(
            {
                "cluster": int(row["cluster"]),
                "windows": int(row["windows"]),
                "detected": round(row["detected"] / heard, DIGITS) if heard else None,
                "activity": round(row["activity"] / known_, DIGITS) if known_ else None,
            }
        )
    return rows


def _heard(
    results: Results, day: RecorderDay, table: pl.DataFrame, window_seconds: float
) -> pl.DataFrame:
    """Say of each window whether BirdNET listened to it (``heard``), and found a species."""
    path = results.detections(day)
    if not path.exists():
        return table.with_columns(heard=pl.lit(0), detected=pl.lit(0))
    rates = read_parquet(results.recordings, columns=["recording", "sample_rate"])
    windows = table.join(rates, on="recording", how="left", maintain_order="left")
    found = (
        detections_of(windows, read_parquet(path, columns=list(HEARD)), window_seconds)
        .select("recording", "offset")
        .unique()
        .with_columns(detected=pl.lit(1))
    )
    return table.join(
        found, on=["recording", "offset"], how="left", maintain_order="left"
    ).with_columns(pl.col("detected").fill_null(0), heard=pl.lit(1))
