"""The season counted: when and where each cluster, each species and each quiet window was.

In: the assignment of recorder-days, the inventory (local time, habitat, position), the level and activity of the
windows in the spectrogram stores and, where there are any, BirdNET's detections. Out: :class:`SeasonCounts`, from
which cluster cards and ecology's figures are made. One recorder-day is read at a time; memory is that of the counts
(a season of 909 recorder-days and 100 clusters: about a million rows), never that of the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dawnchorus.birdnet.speaking import HEARD, detections_of
from dawnchorus.clustering.daylight import SUNS, sun_table, suns_of, with_daylight
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import read_parquet, scan_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import SET_ASIDE, RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore

STILL_DB = 0.05
"""Activity below which nothing stands out of the noise (:mod:`dawnchorus.spectrograms.activity`)."""
ACTIVE_DB = 0.1
"""Activity from which something is said to call: twice what noise alone reaches."""
QUIETEST_SHARE, QUIET_DB = 0.05, 6.0
"""A window is silent if it is still and at most so many decibels above the level that this share of its recorder's
windows stays under."""
LOUDEST_SILENCE_DB = -35
"""Re a full-scale sine; louder is no silence, even if a recorder never heard anything quieter."""
CONFIDENT = 0.25
"""BirdNET's confidence from which a detection counts in ecology's tables."""
DAWN_STEP = 10
"""Minutes per step around sunrise."""
DAWN_FROM, DAWN_TO = -180, 240
"""Minutes from sunrise that are counted."""
PLACE = ["recorder", "date", "hour", "habitat"]
TABLES: dict[str, dict[str, Any]] = {
    "clusters": {
        "cluster": pl.Int32,
        "windows": pl.Int64,
        "distance": pl.Float64,
        "measured": pl.Int64,
        "heard": pl.Int64,
        "detected": pl.Int64,
        "night": pl.Int64,
        "dawn": pl.Int64,
        "activity": pl.Float64,
        "looked": pl.Int64,
    },
    "hours": {
        "recorder": pl.String,
        "date": pl.String,
        "hour": pl.Int64,
        "habitat": pl.String,
        "cluster": pl.Int32,
        "windows": pl.Int64,
        "heard": pl.Int64,
    },
    "species_hours": {
        "recorder": pl.String,
        "date": pl.String,
        "hour": pl.Int64,
        "habitat": pl.String,
        "species": pl.String,
        "common_name": pl.String,
        "windows": pl.Int64,
    },
    "species": {
        "cluster": pl.Int32,
        "species": pl.String,
        "common_name": pl.String,
        "windows": pl.Int64,
        "confidence": pl.Float64,
    },
    "levels": {
        "recorder": pl.String,
        "cluster": pl.Int32,
        "decibels": pl.Int64,
        "still": pl.Boolean,
        "windows": pl.Int64,
    },
    "dawn": {
        "recorder": pl.String,
        "date": pl.String,
        "step": pl.Int64,
        "windows": pl.Int64,
        "active": pl.Int64,
        "heard": pl.Int64,
        "detected": pl.Int64,
    },
    "suns": SUNS,
}


@dataclass(frozen=True)
class SeasonCounts:
    """Windows of a season, counted. ``date`` and ``hour`` are local; null habitat: no deployment says.

    Attributes
    ----------
    clusters : DataFrame
        Per cluster: ``windows``; sum of ``distance`` over the ``measured`` ones; of those ``heard`` by BirdNET how many
        it ``detected`` a species in; how many at ``night`` (sun below the horizon; 21 to 5 h where the position is not
        known) and at ``dawn`` (:data:`~dawnchorus.clustering.daylight.DAWN_HOURS`); sum of ``activity`` over the ``looked`` at.
    hours : DataFrame
        Per recorder, date, hour, habitat and cluster: ``windows``, and of them ``heard`` by BirdNET. Summed over
        clusters it is what was recorded.
    species_hours : DataFrame
        Per recorder, date, hour, habitat and species: windows with a detection from :data:`CONFIDENT` on.
    species : DataFrame
        Per cluster and species: windows and sum of confidences, of all detections.
    levels : DataFrame
        Per recorder, cluster, level in whole decibels, and whether nothing stands out (:data:`STILL_DB`).
    dawn : DataFrame
        Per recorder, date and ``step`` (minutes from sunrise, start of :data:`DAWN_STEP` minutes): windows, those
        with activity from :data:`ACTIVE_DB` on, those heard, those with a detection from :data:`CONFIDENT` on.
    suns : DataFrame
        Per recorder and date with a known position: ``rise`` and ``set`` in local minutes, or ``without`` (polar day,
        polar night).
    """

    clusters: pl.DataFrame
    hours: pl.DataFrame
    species_hours: pl.DataFrame
    species: pl.DataFrame
    levels: pl.DataFrame
    dawn: pl.DataFrame
    suns: pl.DataFrame

    def silence(self) -> dict[int, tuple[int, int]]:
        """Return per cluster how many of its windows are silent, and of how many the level is known.

        A window is silent if nothing stands out in it (activity below :data:`STILL_DB`) and its level is at most
        :data:`QUIET_DB` above the level that :data:`QUIETEST_SHARE` of its recorder's windows stay under (recorders
        differ in gain, so silence is each recorder's own), and at most :data:`LOUDEST_SILENCE_DB`.
        """
        if not self.levels.height:
            return {}
        by_level = (
            self.levels.group_by("recorder", "decibels")
            .agg(pl.col("windows").sum())
            .sort("recorder", "decibels")
            .with_columns(
                (pl.col("windows").cum_sum() / pl.col("windows").sum())
                .over("recorder")
                .alias("below")
            )
        )
        quietest = (
            by_level.filter(pl.col("below") >= QUIETEST_SHARE)
            .group_by("recorder")
            .agg(
                (pl.col("decibels").min() + QUIET_DB)
                .clip(upper_bound=LOUDEST_SILENCE_DB)
                .alias("silence")
            )
        )
        silent = pl.col("still") & (pl.col("decibels") <= pl.col("silence"))
        table = (
            self.levels.join(quietest, on="recorder")
            .group_by("cluster")
            .agg(pl.col("windows").filter(silent).sum().alias("silent"), pl.col("windows").sum())
        )
        return {int(cluster): (int(quiet), int(of)) for cluster, quiet, of in table.iter_rows()}


def count_season(
    results: Results, experiment: str, days: Sequence[RecorderDay], window_seconds: float
) -> SeasonCounts:
    """Count the windows of recorder-days, each of ``window_seconds``; those set aside are passed over.

    Raises
    ------
    DawnChorusError
        If the clusters were not fitted, or a recorder-day was not assigned, or to other clusters.
    """
    paths = results.experiment(experiment)
    fitted = read_receipt(paths.clusters_receipt)
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    ordered = sorted(set(days))
    for day in tracked(ordered, f"counting {experiment}", len(ordered), "days"):
        receipt = read_receipt(paths.assignment_receipt(day))
        if receipt["clusters"] != fitted["fingerprint"]:
            raise DawnChorusError(
                "was assigned to other clusters than there are now",
                paths.assignment(day),
                f"run `dawnchorus assign --experiment {experiment}` again",
            )
        if receipt["verdict"] == SET_ASIDE:
            continue
        for name, counts in _count_day(results, experiment, day, window_seconds):
            parts[name].append(counts.select(list(TABLES[name])).cast(pl.Schema(TABLES[name])))
    return SeasonCounts(**{name: _summed(parts[name], TABLES[name]) for name in TABLES})


def _summed(parts: list[pl.DataFrame], schema: dict[str, Any]) -> pl.DataFrame:
    """Put the counts of all recorder-days together: what has the same keys is added up."""
    sums = [name for name, kind in schema.items() if kind in (pl.Int64, pl.Float64)]
    keys = [name for name in schema if name not in sums or name in ("hour", "step", "decibels")]
    sums = [name for name in sums if name not in keys]
    if "rise" in sums:  # the sun is no count
        keys, sums = ["recorder", "date"], []
    if not parts:
        return pl.DataFrame(schema=schema)
    table = pl.concat(parts)
    # The days stand in their order: sums of fractions are the same in every run.
    grouped = table.group_by(keys, maintain_order=True)
    added = grouped.agg(pl.col(sums).sum()) if sums else grouped.first()
    return added.select(list(schema)).sort(keys)


def _count_day(
    results: Results, experiment: str, day: RecorderDay, window_seconds: float
) -> Iterator[tuple[str, pl.DataFrame]]:
    windows = _windows_of(results, experiment, day)
    suns = suns_of(windows)
    yield "suns", sun_table(suns, day.recorder)
    windows = with_daylight(windows, suns)
    detections = _detections(results, day, windows, window_seconds)
    heard = detections is not None
    window = ["recording", "offset"]
    found = {
        "anything": windows.select(window).clear() if detections is None else detections,
        "sure": windows.select(window).clear()
        if detections is None
        else detections.filter(pl.col("confidence") >= CONFIDENT),
    }
    for name, some in found.items():
        marked = some.select(window).unique().with_columns(pl.lit(True).alias(name))
        windows = windows.join(marked, on=window, how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(False)
        )
    many = pl.len().cast(pl.Int64)
    yield (
        "clusters",
        windows.group_by("cluster", maintain_order=True).agg(
            many.alias("windows"),
            pl.col("distance").cast(pl.Float64).sum(),
            pl.col("distance").is_not_null().sum().alias("measured"),
            (many * int(heard)).alias("heard"),
            pl.col("anything").sum().alias("detected"),
            pl.col("night").sum(),
            pl.col("dawn").sum(),
            pl.col("activity").cast(pl.Float64).sum(),
            pl.col("activity").is_not_null().sum().alias("looked"),
        ),
    )
    yield (
        "hours",
        windows.group_by([*PLACE, "cluster"]).agg(
            many.alias("windows"), (many * int(heard)).alias("heard")
        ),
    )
    yield (
        "levels",
        windows.filter(pl.col("level").is_not_null())
        .group_by(
            "recorder",
            "cluster",
            pl.col("level").floor().cast(pl.Int64).alias("decibels"),
            (pl.col("activity") < STILL_DB).alias("still"),
        )
        .agg(many.alias("windows")),
    )
    step = ((pl.col("from_rise") / DAWN_STEP).floor() * DAWN_STEP).cast(pl.Int64).alias("step")
    yield (
        "dawn",
        windows.filter(pl.col("from_rise").is_between(DAWN_FROM, DAWN_TO, closed="left"))
        .group_by("recorder", "date", step)
        .agg(
            many.alias("windows"),
            (pl.col("activity") >= ACTIVE_DB).sum().alias("active"),
            (many * int(heard)).alias("heard"),
            pl.col("sure").sum().alias("detected"),
        ),
    )
    if detections is not None:
        yield (
            "species",
            detections.group_by("cluster", "species", "common_name", maintain_order=True).agg(
                many.alias("windows"), pl.col("confidence").cast(pl.Float64).sum()
            ),
        )
        yield (
            "species_hours",
            detections.filter(pl.col("confidence") >= CONFIDENT)
            .unique([*window, "species"])
            .group_by([*PLACE, "species", "common_name"])
            .agg(many.alias("windows")),
        )


def _windows_of(results: Results, experiment: str, day: RecorderDay) -> pl.DataFrame:
    """Return a recorder-day's windows with cluster, local time, habitat, position, level and activity."""
    told = (
        scan_parquet(results.recordings)
        .filter((pl.col("recorder") == day.recorder) & (pl.col("date") == day.date))
        .select(
            "recording",
            "habitat",
            "latitude",
            "longitude",
            "sample_rate",
            # A recording that left the inventory since counts by UTC.
            pl.col("utc_offset_minutes").cast(pl.Int64).alias("utc_offset"),
        )
        .collect()
    )
    windows = (
        read_parquet(results.experiment(experiment).assignment(day))
        .join(told, on="recording", how="left", maintain_order="left")
        .with_columns(pl.col("utc_offset").fill_null(0))
        .with_columns(local=pl.col("time") + pl.duration(minutes=pl.col("utc_offset")))
        .with_columns(
            pl.lit(day.recorder).alias("recorder"),
            pl.col("local").dt.hour().cast(pl.Int64).alias("hour"),
            pl.col("local").dt.date().alias("on"),
            pl.col("local").dt.strftime("%Y-%m-%d").alias("date"),
            (pl.col("local").dt.hour().cast(pl.Float64) * 60 + pl.col("local").dt.minute()).alias(
                "minute"
            ),
        )
    )
    level = np.full(windows.height, np.nan, np.float32)
    activity = level.copy()
    path = results.spectrograms(day)
    if path.exists():
        store = SpectrogramStore.open(path)
        rows = store.find(windows["recording"].to_list(), windows["offset"].to_numpy())
        there = rows >= 0
        level[there], activity[there] = store.level[rows[there]], store.activity[rows[there]]
    return windows.with_columns(
        pl.Series("level", level).fill_nan(None), pl.Series("activity", activity).fill_nan(None)
    )


def _detections(
    results: Results, day: RecorderDay, windows: pl.DataFrame, window_seconds: float
) -> pl.DataFrame | None:
    """Return BirdNET's detections in these windows with cluster and place; None if it did not listen."""
    path = results.detections(day)
    if not path.exists():
        return None
    heard = detections_of(windows, read_parquet(path, columns=list(HEARD)), window_seconds)
    return heard.join(
        windows.select("recording", "offset", "cluster", *PLACE), on=["recording", "offset"]
    )
