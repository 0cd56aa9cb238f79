"""The tables of the evaluation: tidy, one figure per row, as Parquet and as TSV.

In: rows as dicts. Out: ``evaluation/{name}.parquet`` and ``.tsv`` with fixed columns, the same
bytes for the same rows. A figure that could not be computed is null, and ``note`` says why; NaN is
never written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dawnchorus.evaluation.bootstrap import Interval
from dawnchorus.results import publishing

_SPACE = {"space": pl.String, "kind": pl.String, "dimension": pl.Int64}
_CLUSTERED = {**_SPACE, "clustering": pl.String, "labels": pl.String, "confidence": pl.Float64}
_FIGURE = {"metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}

COLUMNS: dict[str, dict[str, Any]] = {
    "agreement": {
        **_CLUSTERED,
        "unlabelled": pl.String,
        **_FIGURE,
        "shuffled": pl.Float64,
        "windows": pl.Int64,
        "coverage": pl.Float64,
        "classes": pl.Int64,
        "clusters": pl.Int64,
        "groups": pl.Int64,
        "note": pl.String,
    },
    "species": {
        **_CLUSTERED,
        "species": pl.String,
        "windows": pl.Int64,
        "cluster": pl.Int64,
        "precision": pl.Float64,
        "recall": pl.Float64,
        "f1": pl.Float64,
        "enrichment": pl.Float64,
        "shuffled": pl.Float64,
        "note": pl.String,
    },
    "clusters": {
        **_CLUSTERED,
        "cluster": pl.Int64,
        "windows": pl.Int64,
        "detection_rate": pl.Float64,
        "species": pl.String,
        "share": pl.Float64,
        "enrichment": pl.Float64,
        "shuffled": pl.Float64,
        "note": pl.String,
    },
    "probes": {
        **_SPACE,
        "target": pl.String,
        "probe": pl.String,
        "split": pl.String,
        "group": pl.String,
        "shots": pl.Int64,
        **_FIGURE,
        "shuffled": pl.Float64,
        "windows": pl.Int64,
        "classes": pl.Int64,
        "groups": pl.Int64,
        "folds": pl.Int64,
        "note": pl.String,
    },
    "confusion": {
        **_CLUSTERED,
        "cluster": pl.Int64,
        "species": pl.String,
        "windows": pl.Int64,
        "note": pl.String,
    },
    "calibration": {
        "labels": pl.String,
        "confidence_low": pl.Float64,
        "confidence_high": pl.Float64,
        "detections": pl.Int64,
        "mean_confidence": pl.Float64,
        "correct_share": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "note": pl.String,
    },
    "cost": {
        **_SPACE,
        "parameters": pl.Int64,
        "device": pl.String,
        "training_hours": pl.Float64,
        "gpu_hours": pl.Float64,
        "training_windows": pl.Int64,
        "windows_per_second": pl.Float64,
        "note": pl.String,
    },
    "attention": {
        "experiment": pl.String,
        "map": pl.String,
        **_FIGURE,
        "chance": pl.Float64,
        "windows": pl.Int64,
        "note": pl.String,
    },
    "coverage": {
        "what": pl.String,
        "name": pl.String,
        "confidence": pl.Float64,
        "windows": pl.Int64,
        "of": pl.Int64,
        "share": pl.Float64,
        "note": pl.String,
    },
}
"""Columns of each table. ``low`` and ``high`` bound the 95 % interval over groups. ``shuffled`` is the
same figure with shuffled labels, null where it was not computed: the score or the metric, a species'
``f1``, a cluster's ``detection_rate``. ``shots`` says how many windows per class a probe was trained on
(null: all), ``unlabelled`` whether windows without a label are a class of their own (``class``) or left
out (``left out``), ``clustering`` whether clusters are the season's (``assigned``), k-means on these
very windows (``fitted``), or the labels themselves (``labels``, of silhouettes)."""

LOST = {"recorder": pl.String, "date": pl.String, "recording": pl.String, "windows": pl.Int64}
DIGITS = 4
"""Decimals in the TSV; the Parquet holds all."""

Row = dict[str, Any]


def number(value: float | None) -> float | None:
    """Return a value for a table: null instead of NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def figure(metric: str, value: float | None, bounds: Interval) -> Row:
    """Return the columns of a figure."""
    return {
        "metric": metric,
        "value": number(value),
        "low": number(bounds.low),
        "high": number(bounds.high),
    }


def covered(what: str, name: str, count: int, of: int, note: str = "") -> Row:
    """Return a row of the table coverage: so many of so many."""
    share = count / of if of else None
    return {"what": what, "name": name, "windows": count, "of": of, "share": share, "note": note}


def write_tables(folder: Path, tables: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    """Write every table of :data:`COLUMNS`; return the number of rows of each."""
    counts = {}
    for name, columns in COLUMNS.items():
        rows = [
            {key: row.get(key) if row.get(key) != "" else None for key in columns}
            for row in tables.get(name, ())
        ]
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        with publishing(folder / f"{name}.parquet") as partial:
            frame.write_parquet(partial)
        write_tsv(folder / f"{name}.tsv", frame)
        counts[name] = len(frame)
    return counts


def write_tsv(path: Path, frame: pl.DataFrame) -> None:
    """Write a table for people: tab-separated, few decimals, empty where there is no value."""
    with publishing(path) as partial:
        frame.write_csv(partial, separator="\t", float_precision=DIGITS)
