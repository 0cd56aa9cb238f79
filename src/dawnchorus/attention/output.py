"""Writes what the attention step found.

In: attention, masks, tables. Out: ``heads.zarr``, Parquet tables and Raven selection tables, each
published whole.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from dawnchorus.attention.masks import PatchGrid
from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.results import publishing

WINDOW_NAMES = ("recorder", "date", "recording", "offset", "cluster")

BOXES: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "cluster": pl.Int32,
    "head": pl.Int32,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "time": pl.Datetime("us"),
    "low_hz": pl.Float64,
    "high_hz": pl.Float64,
    "mass": pl.Float64,
}
"""Columns of ``boxes.parquet``. Seconds count from the recording's start, ``time`` is the UTC of the
box's start, ``head`` -1 is the mean over heads, ``mass`` the share of that map's attention."""


def seconds(amount: float) -> timedelta:
    """Return a span of time, rounded to microseconds."""
    return timedelta(microseconds=round(amount * 1e6))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Publish a table as Parquet."""
    with publishing(path) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)


def write_heads(
    path: Path,
    heads: NDArray[np.float32],
    masks: NDArray[np.bool_],
    merged: NDArray[np.bool_],
    grid: PatchGrid,
    *,
    cluster: NDArray[np.int32],
    rank: NDArray[np.int32],
    mass: float,
) -> None:
    """Publish ``heads.zarr``.

    Parameters
    ----------
    path : Path
    heads : float32 array (n, heads, rows, columns)
    masks : bool array (n, heads, rows, columns)
    merged : bool array (n, rows, columns)
    grid : PatchGrid
        Rows and columns in hertz and seconds.
    cluster, rank : int32 arrays (n,)
    mass : float
        Share that the masks keep.
    """
    per_head = ("window", "head", "row", "column")
    placed = {"coordinates": "cluster rank low_hz high_hz start_s end_s"}
    seen = {"long_name": "attention of the class token to the patch, last block", "units": "1"}
    columns: list[tuple[str, NDArray[Any], tuple[str, ...], dict[str, Any]]] = [
        ("attention", heads, per_head, {**seen, **placed}),
        ("mask", masks, per_head, {"long_name": "patches kept, per head", "mass": mass, **placed}),
        (
            "merged_mask",
            merged,
            ("window", "row", "column"),
            {"long_name": "patches kept, of the mean over heads", "mass": mass, **placed},
        ),
        ("cluster", cluster, ("window",), {"long_name": "cluster of the window"}),
        ("rank", rank, ("window",), {"long_name": "place in the cluster; 0 is the most central"}),
        ("low_hz", grid.low_hz, ("row",), {"long_name": "lower edge of the row", "units": "Hz"}),
        ("high_hz", grid.high_hz, ("row",), {"long_name": "upper edge of the row", "units": "Hz"}),
        ("start_s", grid.start_s, ("column",), {"long_name": "start of the column in the window"}),
        ("end_s", grid.end_s, ("column",), {"long_name": "end of the column in the window"}),
    ]
    with publishing(path) as partial:
        group = zarr.open_group(partial, mode="w-", zarr_format=3)
        for name, values, dimensions, attributes in columns:
            # Seconds as a plain number: with units of time, readers would make dates of them.
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=tuple(min(size, 256) for size in values.shape),
                dimension_names=dimensions,
                attributes=attributes,
            )
            array[...] = values
        group.attrs.update({"title": "Attention of the class token in the last block"})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
            zarr.consolidate_metadata(partial)


def write_raven(folder: Path, boxes: pl.DataFrame) -> None:
    """Publish the merged boxes: ``folder/{recording}.selections.txt``, one per recording."""
    merged = boxes.filter(pl.col("head") == -1).sort("recording", "start_s", "low_hz", "end_s")
    with publishing(folder) as partial:
        partial.mkdir()
        for (recording,), rows in merged.group_by(["recording"], maintain_order=True):
            write_selections(
                partial / f"{recording}.selections.txt",
                [
                    Selection(
                        row["start_s"],
                        row["end_s"],
                        row["low_hz"],
                        row["high_hz"],
                        {"Cluster": str(row["cluster"]), "Attention": f"{row['mass']:.3f}"},
                    )
                    for row in rows.iter_rows(named=True)
                ],
                columns=("Cluster", "Attention"),
            )
