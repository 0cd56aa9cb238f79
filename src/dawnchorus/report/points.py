"""Everything a map can be coloured by, one row per window.

In: map points, assignments, detections, annotations and the recordings table. Out: a polars frame
with columns recorder, date, recording, offset, x, y, cluster, hour, species.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.evaluation.labels import label_windows
from dawnchorus.results import RecorderDay, Results

MOST_POINTS = 200_000
"""More than this many points do not make a printed map clearer."""


def read_points(
    settings: Settings, results: Results, experiment: str, days: Sequence[RecorderDay]
) -> pl.DataFrame:
    """Join the map with what is known of its windows.

    Parameters
    ----------
    days : sequence of RecorderDay
        Days without points (set aside) are passed over.

    Returns
    -------
    polars.DataFrame
        At most :data:`MOST_POINTS` rows, drawn evenly by the evaluation's seed, sorted by recorder,
        date, recording, offset. ``hour`` is the local hour as a fraction; ``species`` the annotation
        or, without annotations, BirdNET's best detection; ``none`` where there is neither.
    """
    paths = results.experiment(experiment)
    parts = []
    for day in days:
        if not paths.points(day).exists():
            continue
        points = pl.read_parquet(paths.points(day), columns=["recording", "offset", "x", "y"])
        clusters = pl.read_parquet(
            paths.assignment(day), columns=["recording", "offset", "time", "cluster"]
        )
        parts.append(
            points.join(clusters, on=["recording", "offset"], how="inner").with_columns(
                recorder=pl.lit(day.recorder), date=pl.lit(day.date)
            )
        )
    if not parts:
        return pl.DataFrame(
            schema={
                "recorder": pl.String, "date": pl.String, "recording": pl.String,
                "offset": pl.Int64, "x": pl.Float32, "y": pl.Float32, "cluster": pl.Int32,
                "hour": pl.Float64, "species": pl.String,
            }
        )  # fmt: skip
    windows = pl.concat(parts)
    if windows.height > MOST_POINTS:
        windows = windows.sample(MOST_POINTS, seed=settings.evaluation.seed)
    offsets = pl.read_parquet(results.recordings, columns=["recording", "utc_offset_minutes"])
    windows = windows.join(offsets, on="recording", how="left").with_columns(
        local=pl.col("time") + pl.duration(minutes=pl.col("utc_offset_minutes").fill_null(0))
    )
    windows = windows.with_columns(
        hour=pl.col("local").dt.hour() + pl.col("local").dt.minute() / 60
    ).sort("recorder", "date", "recording", "offset")
    return windows.with_columns(
        species=pl.Series(label_windows(settings, results, windows), dtype=pl.String)
    ).select("recorder", "date", "recording", "offset", "x", "y", "cluster", "hour", "species")
