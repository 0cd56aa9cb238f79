"""Where the heads look: one row per cluster, one column per head.

In: ``attention/`` of an experiment and the spectrogram stores. Out: one PNG.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr

from dawnchorus.parquet import read_parquet
from dawnchorus.report.attention_window import MERGED, Canvas
from dawnchorus.report.style import drawing
from dawnchorus.report.windows import read_pictures
from dawnchorus.results import Results, read_receipt, set_aside_because

DPI = 80
"""Noise does not compress: more would only make a large file."""
ROWS = 6
"""The largest clusters are shown, each by its most central window."""


def draw_attention(results: Results, experiment: str, path: Path) -> None:
    """Draw spectrogram and boxes, the merged map with the mask's outline, and each head.

    Of a network without attention, the figure says so. A head's title has its agreement with the energy
    above the noise floor: below 0, it looks away from what sounds.
    """
    receipt = results.experiment(experiment).attention_receipt
    reason = set_aside_because(receipt)
    if reason:
        with drawing(path, 6, 1.2, DPI) as figure:
            figure.text(0.5, 0.5, reason, ha="center", va="center")
        return
    folder = results.experiment(experiment).attention
    windows = read_parquet(folder / "windows.parquet").with_row_index("place")
    central = windows.filter(pl.col("rank") == 0).sort("cluster").head(ROWS)
    boxes = read_parquet(folder / "boxes.parquet").filter(pl.col("head") == MERGED)
    seen: Any = zarr.open_group(folder / "heads.zarr", mode="r")
    source = str(seen["merged_mask"].attrs["source"])
    agreement = read_receipt(receipt).get("agreement", [])
    titles = ["spectrogram and boxes", source] + [
        f"head {head + 1} ({value:+.2f})" for head, value in enumerate(agreement)
    ]
    pictures = read_pictures(results, central)
    lines, columns = max(central.height, 1), 2 + seen["attention"].shape[1]
    with drawing(path, 2.6 * columns, 1.55 * lines + 0.3, DPI) as figure:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for line, window in enumerate(central.iter_rows(named=True)):
            canvas, place = Canvas(pictures, line), window["place"]
            canvas.spectrogram(grid[line, 0])
            canvas.boxes(grid[line, 0], window, boxes)
            canvas.map(grid[line, 1], np.asarray(seen[f"map_{source}"][place]))
            canvas.outline(grid[line, 1], np.asarray(seen["merged_mask"][place]))
            for axes, map_ in zip(
                grid[line, 2:], np.asarray(seen["attention"][place]), strict=True
            ):
                canvas.map(axes, map_)
            canvas.ticks(grid[line, 0])
            grid[line, 0].set_ylabel(f"cluster {window['cluster']}\nHz", fontsize=8)
        for axes, title in zip(grid[0], titles, strict=False):
            axes.set_title(title)
        for axes in grid[-1]:
            axes.set_xlabel("s")
