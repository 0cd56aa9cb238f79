"""Which windows are cut, and into which folder each goes.

In: rows of :mod:`dawnchorus.sharing.rows`, a recorder-day at a time. Out: the windows of every cluster, species
or label that were chosen: the best, some drawn by a seed, or all. Memory is bounded by the recorder-day and the
windows kept; which are drawn depends on the seed and the windows alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import xxhash

from dawnchorus.exports.cells import to_bytes
from dawnchorus.sharing.names import folder

CHOICES = ("best", "random", "all")


@dataclass(frozen=True)
class WindowClass:
    """One way of sorting windows into folders.

    Attributes
    ----------
    rows : str
        Key of :data:`~dawnchorus.sharing.rows.KINDS`.
    rank : polars expression or None
        The best has the least; None: none is better than another, so the best are drawn as ``random``.
    key : polars expression
        What a row's class is; sorted by it, the folders are in order.
    folder : callable
        Folder of a row, before names are kept apart.
    columns : mapping
        What the list of clips says of a row.
    """

    rows: str
    rank: pl.Expr | None
    key: pl.Expr
    folder: Callable[[Mapping[str, Any]], str]
    columns: Mapping[str, Any]


CLASSES: dict[str, WindowClass] = {
    "cluster": WindowClass(
        "clusters",
        pl.col("distance"),
        pl.col("cluster").cast(pl.String).str.zfill(8),
        lambda row: f"cluster_{row['cluster']:03d}" if row["cluster"] >= 0 else "cluster_none",
        {"cluster": pl.Int32, "distance": pl.Float64},
    ),
    "species": WindowClass(
        "detections",
        -pl.col("confidence"),
        pl.col("species") + "_" + pl.col("common_name"),
        lambda row: folder(f"{row['species']}_{row['common_name']}"),
        {"species": pl.String, "common_name": pl.String, "confidence": pl.Float64},
    ),
    "label": WindowClass(
        "labels",
        None,
        pl.col("label"),
        lambda row: folder(row["label"]),
        {"label": pl.String, "who": pl.String, "species": pl.String},
    ),
}


def chosen_windows(
    days: Iterator[pl.DataFrame], kind: WindowClass, choose: str, count: int, seed: int
) -> Iterator[pl.DataFrame]:
    """Yield the windows to cut, by class and rank; all at once, or day by day where all are chosen.

    Parameters
    ----------
    days : iterator of polars.DataFrame
    kind : WindowClass
    choose : str
        Of :data:`CHOICES`.
    count : int
        Most windows of a class, if not all are chosen.
    seed : int
        Of the drawing.
    """
    order = ["key", "rank", "recording", "offset"]
    kept: pl.DataFrame | None = None
    for day in days:
        rows = day.with_columns(key=kind.key)
        if choose == "all":
            yield rows.with_columns(rank=pl.lit(0.0)).sort(order)
            continue
        if choose == "random" or kind.rank is None:
            rows = rows.with_columns(_lots(rows, seed))
        else:
            rows = rows.with_columns(rank=kind.rank.cast(pl.Float64))
        together = rows if kept is None else pl.concat([kept, rows], how="vertical_relaxed")
        kept = together.sort(order).filter(pl.int_range(pl.len()).over("key") < count)
    if kept is not None:
        yield kept.sort(order)


def _lots(rows: pl.DataFrame, seed: int) -> pl.Series:
    """Draw a number in [0, 1) for each window, from the seed and its place alone."""
    lots = [
        xxhash.xxh3_64_intdigest(to_bytes(f"{seed}\0{recording}\0{offset}")) / 2**64
        for recording, offset in rows.select("recording", "offset").iter_rows()
    ]
    return pl.Series("rank", lots, dtype=pl.Float64)
