"""The season's lists of outliers, as people read them.

In: receipts and most outlying windows of the recorder-days. Out: ``outliers/days.parquet`` (recorder-days by how far they
lie from their recorder's others) and ``outliers/windows.parquet`` (windows by score), each also as ``.tsv``, with
local time, BirdNET's name and a hint of the likely cause.

A hint is a guess from plain facts (levels, clipped samples, the recorder-day as a whole), not from the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.birdnet.speaking import HEARD, detections_of
from dawnchorus.clustering.reference import MEASURES
from dawnchorus.parquet import read_parquet, scan_parquet
from dawnchorus.results import ExperimentResults, RecorderDay, Results, publishing
from dawnchorus.spectrograms.store import SpectrogramStore

DAYS: dict[str, Any] = {
    "rank": pl.Int64,
    "recorder": pl.String,
    "date": pl.String,
    "windows": pl.Int64,
    "score": pl.Float64,
    "typical_score": pl.Float64,
    "shift": pl.Float64,
    "level_difference": pl.Float64,
    "hint": pl.String,
}
"""``shift`` is the distance of the recorder-day's mean vector from the median of its recorder's other days', over the root of
their mean squared spreads: a day whose windows lie together, away from the others. ``score`` is its logarithm as a robust
z-score over the season's recorder-days. ``typical_score`` is the median of the windows' scores; ``level_difference``
decibels above the median of the recorder's other days."""
WINDOWS: dict[str, Any] = {
    "rank": pl.Int64,
    "recorder_rank": pl.Int64,
    "recorder": pl.String,
    "date": pl.String,
    "local_time": pl.String,
    "recording": pl.String,
    "second": pl.Float64,
    "score": pl.Float32,
    "day_score": pl.Float64,
    **dict.fromkeys(MEASURES, pl.Float32),
    "cluster": pl.Int32,
    "level": pl.Float32,
    "common_name": pl.String,
    "confidence": pl.Float32,
    "hint": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us"),
}
"""``rank`` among the listed windows of the season, empty beyond its list's length; ``recorder_rank`` among the
recorder's; both by ``score``, or by ``day_score``, that of a recorder-day which differs as a whole, where it is larger:
a window is at least as far out as its day. ``second`` counts from the recording's start. ``level`` is in decibels re a full-scale sine."""

DIFFERS = 3.0
"""Robust z-score from which a recorder-day counts as one that differs (Leys et al. 2013,
doi:10.1016/j.jesp.2013.03.013: the strictest of the usual choices)."""
NORMAL_MAD, NORMAL_MEAN_DEVIATION = 1.4826, 1.2533
"""Standard deviations of a normal distribution per median, and per mean, absolute deviation."""
AROUND = 10
"""Windows before and after with which a window's level is compared."""
LOUDER_DB, QUIETER_DB, DAY_DB = 9.0, 9.0, 9.0
CLIPS_FROM_DB = -15.0
"""Level from which a window of a recording with clipped samples is likely to be one of them."""


def robust_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values as deviations from their median, in standard deviations of a normal distribution.

    By the median absolute deviation, or the mean one where half of the values coincide; zeros where all do.
    """
    deviation = values - np.median(values)
    size = np.abs(deviation)
    scale = NORMAL_MAD * float(np.median(size)) or NORMAL_MEAN_DEVIATION * float(np.mean(size))
    return deviation / scale if scale else np.zeros(len(values))


def recorder_days(scored: Mapping[RecorderDay, Mapping[str, Any]]) -> pl.DataFrame:
    """Rank recorder-days by how far they lie from everything else and from their recorder's other days.

    Parameters
    ----------
    scored : mapping of RecorderDay to receipts
        Of :func:`dawnchorus.clustering.outliers.score_day`.

    Returns
    -------
    DataFrame
        Columns :data:`DAYS`. A recorder's only day has no shift and no score, and stands last.
    """
    days = sorted(scored)
    if not days:
        return pl.DataFrame(schema=DAYS)
    means = np.array([scored[day]["mean"] for day in days], np.float64)
    spread = np.array([scored[day]["spread"] for day in days], np.float64)
    typical = np.array([scored[day]["typical_score"] for day in days], np.float64)
    level = np.array(
        [np.nan if (db := scored[day]["typical_level"]) is None else db for day in days], np.float64
    )
    shift, difference = np.full(len(days), np.nan), np.full(len(days), np.nan)
    recorder = np.array([day.recorder for day in days])
    for name in np.unique(recorder):
        mine = np.flatnonzero(recorder == name)
        for number in mine if len(mine) > 1 else ():
            rest = mine[mine != number]
            away = np.linalg.norm(means[number] - np.median(means[rest], axis=0))
            within = np.sqrt((spread[number] ** 2 + np.mean(spread[rest] ** 2)) / 2)
            shift[number] = away / within if within else 0.0
            difference[number] = level[number] - np.median(level[rest])
    score, known = np.full(len(days), np.nan), shift > 0
    if known.any():
        score[known] = robust_z(np.log(shift[known]))
    table = pl.DataFrame(
        {
            "recorder": recorder.tolist(),
            "date": [day.date for day in days],
            "windows": [scored[day]["windows"] for day in days],
            "score": score.round(6),
            "typical_score": typical,
            "shift": shift.round(6),
            "level_difference": difference.round(2),
            "hint": [_hint_of_day(*pair) for pair in zip(score, difference, strict=True)],
        }
    ).with_columns(pl.col("score", "shift", "level_difference").fill_nan(None))
    ranked = table.sort(
        "score", "recorder", "date", descending=[True, False, False], nulls_last=True
    )
    return ranked.with_row_index("rank", offset=1).select(list(DAYS)).cast(DAYS)  # type: ignore[arg-type]


def _hint_of_day(score: float, difference: float) -> str:
    if not score >= DIFFERS:
        return ""
    told = "the recorder-day differs as a whole: equipment, or weather?"
    if abs(difference) >= DAY_DB:
        how = "quieter" if difference < 0 else "louder"
        told += f" ({abs(difference):.0f} dB {how} than the recorder's other days)"
    return told


def season_lists(
    results: Results,
    days: pl.DataFrame,
    tops: Mapping[RecorderDay, pl.DataFrame],
    listed: int,
    window_seconds: float,
) -> pl.DataFrame:
    """Put the most outlying windows of the recorder-days in order, and say what is known of them.

    Parameters
    ----------
    results : Results
    days : DataFrame
        From :func:`recorder_days`.
    tops : mapping of RecorderDay to DataFrame
        Most outlying windows of each.
    listed : int
        Length of the season's list, and of a recorder's.
    window_seconds : float
        Length of a window.

    Returns
    -------
    DataFrame
        Columns :data:`WINDOWS`: the season's list, then what only recorders' lists hold.
    """
    named = [
        top.with_columns(pl.lit(day.recorder).alias("recorder"), pl.lit(day.date).alias("date"))
        for day, top in tops.items()
        if top.height
    ]
    if not named:
        return pl.DataFrame(schema=WINDOWS)
    order = ["listed", "score", "recorder", "date", "recording", "offset"]
    down = [True, True, False, False, False, False]
    differing = days.filter(pl.col("score") >= DIFFERS).select(
        "recorder", "date", pl.col("score").alias("day_score")
    )
    ranked = (
        pl.concat(named)
        .join(differing, on=["recorder", "date"], how="left")
        .with_columns(pl.max_horizontal("score", "day_score").alias("listed"))
        .sort(order, descending=down)
        .with_row_index("rank", offset=1)
        .with_columns(pl.int_range(1, pl.len() + 1).over("recorder").alias("recorder_rank"))
        .filter((pl.col("rank") <= listed) | (pl.col("recorder_rank") <= listed))
        .with_columns(pl.when(pl.col("rank") <= listed).then(pl.col("rank")).alias("rank"))
    )
    told_of = {(row["recorder"], row["date"]): row["hint"] for row in days.iter_rows(named=True)}
    facts = [
        _facts(
            results,
            RecorderDay(str(recorder), str(date)),
            rows,
            told_of[recorder, date],
            window_seconds,
        )
        for (recorder, date), rows in ranked.group_by(["recorder", "date"], maintain_order=True)
    ]
    told = ranked.join(
        pl.concat(facts), on=["recorder", "date", "recording", "offset"], how="left"
    ).sort(order, descending=down)
    return told.select(list(WINDOWS)).cast(WINDOWS)  # type: ignore[arg-type]


def _facts(
    results: Results, day: RecorderDay, rows: pl.DataFrame, of_day: str, window_seconds: float
) -> pl.DataFrame:
    """Return what is known of some windows of a recorder-day beside their scores."""
    windows = rows.select("recorder", "date", "recording", "offset", "time")
    level, difference = _levels(results, day, windows)
    windows = windows.with_columns(
        pl.Series("level", level, dtype=pl.Float32).fill_nan(None),
        pl.Series("difference", difference, dtype=pl.Float64).fill_nan(None),
    )
    windows = windows.join(_recordings(results, day), on="recording", how="left")
    names = _names(results, day, windows, window_seconds)
    windows = windows.join(names, on=["recording", "offset"], how="left")
    local = pl.col("time") + pl.duration(minutes=pl.col("utc_offset_minutes").fill_null(0))
    hints = [
        of_day or _hint(row["level"], row["difference"], row["clipped_share"])
        for row in windows.iter_rows(named=True)
    ]
    return windows.select(
        "recorder",
        "date",
        "recording",
        "offset",
        local.dt.strftime("%Y-%m-%d %H:%M:%S").alias("local_time"),
        (pl.col("offset") / pl.col("sample_rate")).round(3).alias("second"),
        "level",
        "common_name",
        "confidence",
        pl.Series("hint", hints, dtype=pl.String),
    )


def _levels(
    results: Results, day: RecorderDay, windows: pl.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the level of windows, and how far it is above that of the windows around; NaN if not known."""
    level, difference = np.full(windows.height, np.nan), np.full(windows.height, np.nan)
    path = results.spectrograms(day)
    if not path.exists():
        return level, difference
    store = SpectrogramStore.open(path)
    places = store.find(windows["recording"].to_list(), windows["offset"].to_numpy())
    for number, place in enumerate(places):
        if place < 0:
            continue
        around = np.arange(max(0, place - AROUND), min(len(store), place + AROUND + 1))
        around = around[(store.recording[around] == store.recording[place]) & (around != place)]
        level[number] = store.level[place]
        if len(around):
            difference[number] = level[number] - np.median(store.level[around])
    return level, difference


def _recordings(results: Results, day: RecorderDay) -> pl.DataFrame:
    columns = {
        "recording": pl.String,
        "utc_offset_minutes": pl.Int64,
        "sample_rate": pl.Int64,
        "clipped_share": pl.Float64,
    }
    if not results.recordings.exists():
        return pl.DataFrame(schema=columns)
    mine = (pl.col("recorder") == day.recorder) & (pl.col("date") == day.date)
    held = scan_parquet(results.recordings).filter(mine).select(list(columns)).collect()
    return held.cast(columns)  # type: ignore[arg-type]


def _names(
    results: Results, day: RecorderDay, windows: pl.DataFrame, window_seconds: float
) -> pl.DataFrame:
    """Return BirdNET's most confident name of windows of a recorder-day."""
    path = results.detections(day)
    heard = pl.DataFrame(schema=HEARD)
    if path.exists():
        detections = read_parquet(path, columns=list(HEARD))
        heard = detections_of(windows, detections, window_seconds)
    return heard.unique(["recording", "offset"], keep="first", maintain_order=True).select(
        "recording", "offset", "common_name", "confidence"
    )


def _hint(level: float | None, difference: float | None, clipped_share: float | None) -> str:
    if level is None:
        return ""
    if clipped_share and level >= CLIPS_FROM_DB:
        return "loud, in a recording with clipped samples"
    if difference is not None and difference >= LOUDER_DB:
        return f"single loud event: {difference:.0f} dB above the windows around"
    if difference is not None and difference <= -QUIETER_DB:
        return f"quiet: {-difference:.0f} dB below the windows around"
    return ""


def write_lists(paths: ExperimentResults, windows: pl.DataFrame, days: pl.DataFrame) -> None:
    """Write both tables, as Parquet and for people."""
    for name, table in (("windows", windows), ("days", days)):
        path: Path = paths.outliers(name)
        with publishing(path) as partial:
            table.write_parquet(partial, compression="zstd", statistics=True)
        with publishing(path.with_suffix(".tsv")) as partial:
            table.write_csv(partial, separator="\t")
