"""Everything a map can be coloured by, one row per window.

In: map points, assignments, and the evaluation's own windows and labels. Out: a polars frame with
columns recorder, date, recording, offset, x, y, cluster, hour, species.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.evaluation.labels import (
    Labels,
    annotation_labels,
    birdnet_labels,
    link_birdnet,
    read_boxes,
)
from dawnchorus.evaluation.windows import Windows, draw, usable_days
from dawnchorus.parquet import read_parquet
from dawnchorus.results import RecorderDay, Results

MOST_POINTS = 200_000
"""More than this many points do not make a printed map clearer."""

NONE = "none"
"""The species of a window without a label."""


def _labels(settings: Settings, results: Results, windows: Windows) -> Labels:
    """Annotations where there are any, else BirdNET from the lowest confidence on."""
    evaluation = settings.evaluation
    if evaluation.annotations is not None:
        return annotation_labels(settings, windows, read_boxes(evaluation.annotations))
    link = link_birdnet(results, windows)
    return birdnet_labels(results, windows, link, (min(evaluation.confidences),))[0]


def read_points(
    settings: Settings, results: Results, experiment: str, days: Sequence[RecorderDay]
) -> pl.DataFrame:
    """Join the map with what is known of its windows.

    Returns
    -------
    polars.DataFrame
        At most :data:`MOST_POINTS` rows, drawn by the evaluation's seed, in the order of the
        recorder-days. ``hour`` is the local hour, null where it is not known; ``species`` the
        annotation or, without annotations, BirdNET's best detection; ``none`` where there is
        neither.
    """
    paths = results.experiment(experiment)
    usable, _ = usable_days(results, days, [experiment])
    many = settings.evaluation.model_copy(update={"windows": MOST_POINTS})
    windows = draw(settings.model_copy(update={"evaluation": many}), results, usable, [experiment])
    labels = _labels(settings, results, windows)
    frame = pl.DataFrame(
        {
            "recorder": windows.recorder.tolist(),
            "date": [windows.days[day].date for day in windows.day],
            "recording": windows.recording.tolist(),
            "offset": windows.offset,
            "hour": [int(hour) if hour >= 0 else None for hour in windows.hour],
            "species": [NONE if name is None else str(name) for name in labels.top],
        },
        schema={
            "recorder": pl.String,
            "date": pl.String,
            "recording": pl.String,
            "offset": pl.Int64,
            "hour": pl.Int64,
            "species": pl.String,
        },
    )
    window = ["recording", "offset"]
    places = [read_parquet(paths.points(day), columns=[*window, "x", "y"]) for day in usable]
    clusters = [read_parquet(paths.assignment(day), columns=[*window, "cluster"]) for day in usable]
    for parts in (places, clusters):
        if parts:
            frame = frame.join(pl.concat(parts), on=window, how="inner", maintain_order="left")
        else:
            missing = {"x": pl.Float32, "y": pl.Float32, "cluster": pl.Int32}
            frame = frame.with_columns(
                pl.lit(None, kind).alias(name) for name, kind in missing.items()
            )
    return frame
