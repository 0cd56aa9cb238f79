"""BirdNET's detections, said of windows of ours.

In: windows of ours and a recorder-day's table of detections. Out: per window the species that a
BirdNET window heard which speaks for it, by the rule of :mod:`dawnchorus.birdnet.overlap`: the two
share at least half of the shorter one. If both kinds are 3 s long and nothing overlaps, a detection
belongs to the window that begins where it does.
"""

from __future__ import annotations

import polars as pl

from dawnchorus.birdnet.model import WINDOW_SECONDS
from dawnchorus.birdnet.overlap import SHARED_SHARE

HEARD = {
    "recording": pl.String,
    "offset": pl.Int64,
    "species": pl.String,
    "common_name": pl.String,
    "confidence": pl.Float32,
}
"""Columns of the detections that are read, and of those that are returned."""


def detections_of(
    windows: pl.DataFrame, detections: pl.DataFrame, window_seconds: float
) -> pl.DataFrame:
    """Say which species BirdNET heard in windows.

    Parameters
    ----------
    windows : DataFrame (recording, offset, sample_rate)
        Windows of ours; ``offset`` in samples at the file's own rate.
    detections : DataFrame
        Columns :data:`HEARD`; ``offset`` is that of BirdNET's window.
    window_seconds : float
        Length of a window of ours.

    Returns
    -------
    DataFrame
        Columns :data:`HEARD`, ``offset`` now that of our window: a species once a window, at the
        highest confidence. In the order of the windows, then by falling confidence, then by name.
    """
    rate = pl.col("sample_rate")
    theirs = (WINDOW_SECONDS * rate).round().cast(pl.Int64)
    ours = (window_seconds * rate).round().cast(pl.Int64)
    # A window and a detection that meet have a stretch of BirdNET's length in common, by number.
    placed = windows.select(
        "recording", "offset", pl.int_range(pl.len()).alias("window"), ours.alias("length"),
        theirs.alias("their_length"),
    ).with_columns(
        stretch=pl.int_ranges(
            pl.col("offset") // pl.col("their_length") - 1,
            (pl.col("offset") + pl.col("length") - 1) // pl.col("their_length") + 1,
        )
    )  # fmt: skip
    lengths = placed.group_by("recording").agg(pl.col("their_length").first())
    heard = (
        detections.select(list(HEARD))
        .join(lengths, on="recording", how="inner")
        .select(
            "recording", "species", "common_name", "confidence",
            pl.col("offset").alias("begins"),
            (pl.col("offset") // pl.col("their_length")).alias("stretch"),
        )
    )  # fmt: skip
    end = pl.min_horizontal(
        pl.col("offset") + pl.col("length"), pl.col("begins") + pl.col("their_length")
    )
    shared = end - pl.max_horizontal("offset", "begins")
    least = SHARED_SHARE * pl.min_horizontal("length", "their_length")
    return (
        placed.explode("stretch")
        .join(heard, on=["recording", "stretch"], how="inner")
        .filter(shared >= least)
        .group_by("window", "recording", "offset", "species", "common_name")
        .agg(pl.col("confidence").max())
        .sort(["window", "confidence", "species"], descending=[False, True, False])
        .select(list(HEARD))
        .cast(pl.Schema(HEARD))
    )
