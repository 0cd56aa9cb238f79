"""Where the heads look: one row per cluster, one column per head.

In: ``attention/`` of an experiment and the spectrogram stores. Out: one PNG.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import zarr
from matplotlib.patches import Rectangle

from dawnchorus.report.style import SPECTROGRAM, drawing
from dawnchorus.report.windows import contrast, read_pictures
from dawnchorus.results import Results, set_aside_because

DPI = 80
"""Noise does not compress: more would only make a large file."""
ROWS = 6
"""The largest clusters are shown, each by its most central window."""


def _strength(attention: np.ndarray) -> np.ndarray:
    """Attention between the head's own least (0) and all but its most (1): shapes, not amounts."""
    low, high = np.quantile(attention, (0.05, 0.99))
    return np.clip((attention - low) / max(float(high - low), 1e-12), 0.0, 1.0)


def draw_attention(results: Results, experiment: str, path: Path) -> None:
    """Draw spectrogram, boxes of the merged heads, and each head's attention over it.

    Of a network without attention, the figure says so.
    """
    reason = set_aside_because(results.experiment(experiment).attention_receipt)
    if reason:
        with drawing(path, 6, 1.2, DPI) as figure:
            figure.text(0.5, 0.5, reason, ha="center", va="center")
        return
    folder = results.experiment(experiment).attention
    windows = pl.read_parquet(folder / "windows.parquet").with_row_index("place")
    central = windows.filter(pl.col("rank") == 0).sort("cluster").head(ROWS)
    boxes = pl.read_parquet(folder / "boxes.parquet").filter(pl.col("head") == -1)
    heads = zarr.open_group(folder / "heads.zarr", mode="r")["attention"]
    pictures = read_pictures(results, central)
    n_heads = heads.shape[1]  # type: ignore[union-attr]
    bands, _frames = pictures.decibels.shape[1:]
    extent = (0.0, pictures.seconds, 0.0, float(bands))
    rows, names = pictures.hertz_ticks()
    with drawing(path, 2.6 * (n_heads + 1), 1.55 * max(central.height, 1), DPI) as figure:
        grid = figure.subplots(
            max(central.height, 1), n_heads + 1, sharex=True, sharey=True, squeeze=False
        )
        for line, window in enumerate(central.iter_rows(named=True)):
            decibels = pictures.decibels[line]
            low, high = contrast(decibels)
            maps = np.asarray(heads[window["place"]])
            for column, axes in enumerate(grid[line]):
                look = {"origin": "lower", "aspect": "auto", "extent": extent}
                axes.imshow(
                    decibels, cmap=SPECTROGRAM if column == 0 else "gray", vmin=low, vmax=high,
                    **look,
                )  # fmt: skip
                if column:
                    strength = _strength(maps[column - 1])
                    axes.imshow(
                        strength, cmap="autumn", alpha=0.8 * strength, interpolation="nearest",
                        vmin=0, vmax=1, **look,
                    )  # fmt: skip
                if line == 0:
                    axes.set_title("spectrogram" if column == 0 else f"head {column}")
            grid[line, 0].set_yticks(rows, names)
            grid[line, 0].set_ylabel(f"cluster {window['cluster']}\nHz", fontsize=8)
            mine = boxes.filter(
                (pl.col("recording") == window["recording"])
                & (pl.col("offset") == window["offset"])
            )
            for box in mine.iter_rows(named=True):
                bottom, top = np.interp(
                    (box["low_hz"], box["high_hz"]), pictures.band_frequency, np.arange(bands)
                )
                start = (box["time"] - window["time"]).total_seconds()
                grid[line, 0].add_patch(
                    Rectangle(
                        (start, bottom), box["end_s"] - box["start_s"], top - bottom,
                        fill=False, edgecolor="#7fe0ff", linewidth=1.1,
                    )
                )  # fmt: skip
        for axes in grid[-1]:
            axes.set_xlabel("s")
