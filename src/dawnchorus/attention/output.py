"""Writes what the attention step found.

In: maps, masks, tables. Out: ``heads.zarr``, written in blocks of windows; Parquet tables and Raven
selection tables, each published whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from dawnchorus.attention.masks import PatchGrid
from dawnchorus.attention.sources import HEADS
from dawnchorus.config import Attention
from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.results import publishing

BLOCK_WINDOWS = 128
"""Windows looked at and written at a time."""
WINDOW_NAMES = ("recorder", "date", "recording", "offset", "cluster")

BOXES: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "cluster": pl.Int32,
    "head": pl.Int32,
    "source": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "time": pl.Datetime("us"),
    "low_hz": pl.Float64,
    "high_hz": pl.Float64,
    "mass": pl.Float64,
}
"""Columns of ``boxes.parquet``. Seconds count from the recording's start, ``time`` is the UTC of the
box's start, ``head`` -1 is the merged map, ``source`` what the map is made of (:mod:`.sources`), ``mass``
the share of that map."""


EDGES = {
    "low_hz": "lower edge of the row",
    "high_hz": "upper edge of the row",
    "start_s": "start of the column in the window",
    "end_s": "end of the column in the window",
    "box_low_hz": "lower edge of a box that begins in the row",
    "box_high_hz": "upper edge of a box that ends in the row",
    "box_start_s": "start of a box that begins in the column",
    "box_end_s": "end of a box that ends in the column",
}
"""Arrays of ``heads.zarr`` that say where rows and columns lie."""


def seconds(amount: float) -> timedelta:
    """Return a span of time, rounded to microseconds."""
    return timedelta(microseconds=round(amount * 1e6))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Publish a table as Parquet."""
    with publishing(path) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)


class HeadsWriter:
    """Writes ``heads.zarr`` a block of windows after the other.

    Parameters
    ----------
    path : Path
        Folder to be made.
    windows : int
        How many there will be.
    heads : int
    grid : PatchGrid
        Rows and columns in hertz and seconds.
    wanted : Attention
        Source of the merged map and share that the masks keep, for the attributes.
    sources : sequence of str
        A map each.
    """

    def __init__(
        self,
        path: Path,
        windows: int,
        heads: int,
        grid: PatchGrid,
        wanted: Attention,
        sources: Sequence[str],
    ) -> None:
        self._path, self._filled = path, 0
        self._group = zarr.open_group(path, mode="w-", zarr_format=3)
        shape = (len(grid.low_hz), len(grid.start_s))
        whole, per_head = ("window", "row", "column"), ("window", "head", "row", "column")
        placed = {"coordinates": "cluster rank low_hz high_hz start_s end_s"}
        kept = {"mass": wanted.mass, **placed}

        def make(name: str, dtype: str, of_head: bool, said: dict[str, Any]) -> None:
            self._array(
                name,
                (windows, heads, *shape) if of_head else (windows, *shape),
                dtype,
                per_head if of_head else whole,
                said,
            )

        seen = "attention of the class token to the patch, last block"
        make("attention", "float32", True, {"long_name": seen, "units": "1", **placed})
        make("mask", "bool", True, {"long_name": "cells kept, per head", **kept})
        said = {"long_name": "cells kept, of the merged map", "source": wanted.source}
        make("merged_mask", "bool", False, {**said, **kept})
        for source in sources:
            said = {"long_name": f"map by the source {source}", "units": "1"}
            if source == HEADS:
                said["merge"] = wanted.merge
            make(f"map_{source}", "float32", False, {**said, **placed})
        for name, said_of in (
            ("cluster", "cluster of the window; -1 if it was asked for by itself"),
            ("rank", "place in the cluster; 0 is the most central"),
        ):
            self._array(name, (windows,), "int32", ("window",), {"long_name": said_of})
        # Seconds as a plain number: with units of time, readers would make dates of them.
        for name, said_of in EDGES.items():
            values: NDArray[np.float64] = getattr(grid, name)
            dimension = "row" if name.endswith("hz") else "column"
            said = {"long_name": said_of} | ({"units": "Hz"} if dimension == "row" else {})
            self._array(name, values.shape, "float64", (dimension,), said)[...] = values

    def _array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        dimensions: tuple[str, ...],
        attributes: dict[str, Any],
    ) -> zarr.Array:
        # Blocks are whole chunks, so that none is written twice.
        chunks = (max(1, min(shape[0], BLOCK_WINDOWS)), *shape[1:])
        return self._group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            dimension_names=dimensions,
            attributes=attributes,
        )

    def append(self, **values: NDArray[Any]) -> None:
        """Write a block of at most :data:`BLOCK_WINDOWS` windows: every array by its name."""
        count = len(next(iter(values.values())))
        for name, part in values.items():
            array: Any = self._group[name]
            array[self._filled : self._filled + count] = part
        self._filled += count

    def finish(self) -> None:
        """Complete the group."""
        self._group.attrs.update({"title": "Where a network looks in a window"})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
            zarr.consolidate_metadata(self._path)


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
