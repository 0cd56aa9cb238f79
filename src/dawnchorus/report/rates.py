"""How often a cluster or a species is heard, per recorded hour.

In: the season's counts. Out: tables for pictures and for people: by local hour and date, by recorder, by habitat. A rate
is minutes per recorded hour: sixty times the share of the recorded windows, so it does not depend on how long a recorder
ran. A species' rate is of the windows that BirdNET listened to. Where nothing was recorded there is no row: not zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.season_counts import SeasonCounts
from dawnchorus.evaluation.bootstrap import interval

CLUSTER, SPECIES = "cluster", "species"
DIGITS = 4

HABITATS: dict[str, Any] = {
    "what": pl.String,
    "name": pl.String,
    "habitat": pl.String,
    "minutes_per_hour": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "windows": pl.Int64,
    "recorded_windows": pl.Int64,
    "recorder_days": pl.Int64,
    "recorders": pl.Int64,
}


def named(counts: SeasonCounts) -> pl.DataFrame:
    """Return windows of clusters and species in one table: what, name, recorder, date, hour, habitat, windows."""
    columns = ["what", "name", "recorder", "date", "hour", "habitat", "windows"]
    clusters = counts.hours.with_columns(
        pl.lit(CLUSTER).alias("what"), pl.col("cluster").cast(pl.String).alias("name")
    )
    species = counts.species_hours.with_columns(
        pl.lit(SPECIES).alias("what"), pl.col("common_name").alias("name")
    )
    return pl.concat([clusters.select(columns), species.select(columns)])


def effort(counts: SeasonCounts, *by: str) -> pl.DataFrame:
    """Return what was recorded: for clusters all windows, for species those that BirdNET heard."""
    hours = counts.hours.group_by(by).agg(pl.col("windows", "heard").sum())
    return pl.concat(
        [
            hours.select(pl.lit(what).alias("what"), *by, pl.col(column).alias("recorded_windows"))
            for what, column in ((CLUSTER, "windows"), (SPECIES, "heard"))
        ]
    ).filter(pl.col("recorded_windows") > 0)


def rates(counts: SeasonCounts, *by: str) -> pl.DataFrame:
    """Return the rates of every cluster and species by some of recorder, date, hour, habitat.

    Returns
    -------
    DataFrame
        what, name, the keys, windows, recorded_windows, minutes_per_hour; a row where a name was heard or something
        was recorded and it was not (zero).
    """
    found = named(counts).group_by("what", "name", *by).agg(pl.col("windows").sum())
    every = found.select("what", "name").unique().join(effort(counts, *by), on="what")
    return (
        every.join(found, on=["what", "name", *by], how="left", nulls_equal=True)
        .with_columns(pl.col("windows").fill_null(0))
        .with_columns(
            (60 * pl.col("windows") / pl.col("recorded_windows"))
            .round(DIGITS)
            .alias("minutes_per_hour")
        )
        .select("what", "name", *by, "windows", "recorded_windows", "minutes_per_hour")
        .sort("what", "name", *by)
    )


def by_habitat(counts: SeasonCounts, resamples: int, seed: int) -> pl.DataFrame:
    """Return rates per habitat with 95 % intervals by bootstrap over recorder-days, columns :data:`HABITATS`.

    The intervals say how much the rate varies from day to day at these sites, not from site to site.
    """
    rows: list[dict[str, Any]] = []
    days = ["recorder", "date"]
    known = pl.col("habitat").is_not_null()
    windows = named(counts).filter(known)
    for what in (CLUSTER, SPECIES):
        recorded = effort(counts, *days, "habitat").filter((pl.col("what") == what) & known)
        names = windows.filter(pl.col("what") == what)["name"].unique().sort().to_list()
        if not names:
            continue
        for (habitat,), groups in recorded.sort("habitat", *days).group_by(
            ["habitat"], maintain_order=True
        ):
            own = windows.filter((pl.col("what") == what) & (pl.col("habitat") == habitat))
            sums = _per_day(own, groups, names)
            told = _rates(sums.sum(axis=0))
            spread = interval(sums, _rates, resamples, seed)
            for number, name in enumerate(names):
                rows.append(
                    {
                        "what": what,
                        "name": name,
                        "habitat": habitat,
                        "minutes_per_hour": round(float(told[number]), DIGITS),
                        "low": round(spread[number].low, DIGITS),
                        "high": round(spread[number].high, DIGITS),
                        "windows": int(sums[:, number].sum()),
                        "recorded_windows": int(sums[:, -1].sum()),
                        "recorder_days": groups.height,
                        "recorders": groups["recorder"].n_unique(),
                    }
                )
    table = pl.DataFrame(rows, schema=HABITATS)
    return table.with_columns(pl.col("low", "high").fill_nan(None)).sort("what", "name", "habitat")


def _per_day(own: pl.DataFrame, groups: pl.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """Return counts (recorder-days, names + 1); the last column is what was recorded."""
    row = {key: number for number, key in enumerate(groups.select("recorder", "date").iter_rows())}
    column = {name: number for number, name in enumerate(names)}
    sums = np.zeros((groups.height, len(names) + 1))
    sums[:, -1] = groups["recorded_windows"].to_numpy()
    table = own.group_by("recorder", "date", "name").agg(pl.col("windows").sum())
    for recorder, date, name, windows in table.iter_rows():
        sums[row[recorder, date], column[name]] = windows
    return sums


def _rates(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return 60 * sums[:-1] / max(sums[-1], 1.0)
