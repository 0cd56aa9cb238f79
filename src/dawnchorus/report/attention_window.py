"""One window and everything that is seen in it: spectrogram, boxes, merged map, sources, heads.

In: a folder with ``heads.zarr``, ``windows.parquet``, ``boxes.parquet`` and the spectrogram stores. Out:
one PNG per window.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dawnchorus.parquet import read_parquet
from dawnchorus.report.style import SPECTROGRAM, drawing
from dawnchorus.report.windows import Pictures, contrast, read_pictures
from dawnchorus.results import Results

MERGED = -1
BOX = "#7fe0ff"
PER_LINE = 4
"""Small maps beside each other."""
DPI = 100


def strength(map_: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a map between its own least (0) and all but its most (1): shapes, not amounts."""
    low, high = np.quantile(map_, (0.05, 0.99))
    return np.clip((map_ - low) / max(float(high - low), 1e-12), 0.0, 1.0)


class Canvas:
    """Draws into axes whose x is seconds in the window and whose y is bands.

    Parameters
    ----------
    pictures : Pictures
    row : int
        Which of them.
    """

    def __init__(self, pictures: Pictures, row: int) -> None:
        self.pictures, self._decibels = pictures, pictures.decibels[row]
        self._extent = (0.0, pictures.seconds, 0.0, float(self._decibels.shape[0]))

    def spectrogram(self, axes: Axes, colours: str = SPECTROGRAM) -> None:
        """Show the decibels."""
        low, high = contrast(self._decibels)
        axes.imshow(self._decibels, cmap=colours, vmin=low, vmax=high, **self._look)

    def map(self, axes: Axes, map_: NDArray[np.floating]) -> None:
        """Show the decibels in grey and a map over it."""
        self.spectrogram(axes, "gray")
        shown = strength(map_)
        axes.imshow(
            shown, cmap="autumn", alpha=0.8 * shown, interpolation="nearest", vmin=0, vmax=1,
            **self._look,
        )  # fmt: skip

    def outline(self, axes: Axes, mask: NDArray[np.bool_]) -> None:
        """Draw the edges of a mask."""
        rows, columns = (self._extent[3] / mask.shape[0], self._extent[1] / mask.shape[1])
        padded = np.pad(mask, 1)
        across = np.argwhere(padded[:, 1:] != padded[:, :-1])
        up = np.argwhere(padded[1:] != padded[:-1])
        # Edges between a cell and its right (upper) neighbour; the padding shifts by one.
        axes.vlines(
            across[:, 1] * columns, (across[:, 0] - 1) * rows, across[:, 0] * rows, color="white",
            linewidth=0.8,
        )  # fmt: skip
        axes.hlines(
            up[:, 0] * rows, (up[:, 1] - 1) * columns, up[:, 1] * columns, color="white",
            linewidth=0.8,
        )  # fmt: skip

    def boxes(self, axes: Axes, window: dict[str, Any], boxes: pl.DataFrame) -> None:
        """Draw the boxes of a window."""
        bands = np.arange(self._decibels.shape[0]) + 0.5
        mine = boxes.filter(
            (pl.col("recording") == window["recording"]) & (pl.col("offset") == window["offset"])
        )
        for box in mine.iter_rows(named=True):
            bottom, top = np.interp(
                (box["low_hz"], box["high_hz"]), self.pictures.band_frequency, bands
            )
            start = (box["time"] - window["time"]).total_seconds()
            axes.add_patch(
                Rectangle(
                    (start, bottom), box["end_s"] - box["start_s"], top - bottom,
                    fill=False, edgecolor=BOX, linewidth=1.4,
                )
            )  # fmt: skip

    def ticks(self, axes: Axes) -> None:
        """Name hertz on the y axis."""
        rows, names = self.pictures.hertz_ticks()
        axes.set_yticks([row + 0.5 for row in rows], names)

    @property
    def _look(self) -> dict[str, Any]:
        return {"origin": "lower", "aspect": "auto", "extent": self._extent}


def draw_windows(results: Results, folder: Path) -> list[Path]:
    """Draw every window of a folder; return the pictures ``window-N.png`` in it."""
    windows = read_parquet(folder / "windows.parquet")
    boxes = read_parquet(folder / "boxes.parquet").filter(pl.col("head") == MERGED)
    seen: Any = zarr.open_group(folder / "heads.zarr", mode="r")
    pictures = read_pictures(results, windows)
    drawn = []
    for row, window in enumerate(windows.iter_rows(named=True)):
        path = folder / f"window-{row + 1}.png"
        maps = {
            name.removeprefix("map_"): np.asarray(seen[name][row])
            for name in sorted(seen.array_keys())
            if name.startswith("map_")
        }
        merged = str(seen["merged_mask"].attrs["source"])
        small = [(name, map_) for name, map_ in maps.items() if name != merged]
        heads = np.asarray(seen["attention"][row])
        small += [(f"head {head + 1}", map_) for head, map_ in enumerate(heads)]
        _draw(
            Canvas(pictures, row), window, boxes, path, merged, maps[merged],
            np.asarray(seen["merged_mask"][row]), small,
        )  # fmt: skip
        drawn.append(path)
    return drawn


def _draw(
    canvas: Canvas,
    window: dict[str, Any],
    boxes: pl.DataFrame,
    path: Path,
    source: str,
    map_: NDArray[np.floating],
    mask: NDArray[np.bool_],
    small: Sequence[tuple[str, NDArray[np.floating]]],
) -> None:
    lines = -(-len(small) // PER_LINE)
    with drawing(path, 11, 3.4 + 1.7 * lines, DPI) as figure:
        grid = figure.add_gridspec(1 + lines, PER_LINE, height_ratios=[1.7] + [1.0] * lines)
        left = figure.add_subplot(grid[0, : PER_LINE // 2])
        right = figure.add_subplot(grid[0, PER_LINE // 2 :], sharex=left, sharey=left)
        canvas.spectrogram(left)
        canvas.boxes(left, window, boxes)
        left.set_title("spectrogram and boxes")
        canvas.map(right, map_)
        canvas.outline(right, mask)
        right.set_title(f"{source}, outline of the mask")
        for axes in (left, right):
            canvas.ticks(axes)
            axes.set_xlabel("seconds in the window")
        left.set_ylabel("Hz")
        for place, (name, one) in enumerate(small):
            axes = figure.add_subplot(grid[1 + place // PER_LINE, place % PER_LINE])
            canvas.map(axes, one)
            canvas.ticks(axes)
            axes.set_title(name)
            if place % PER_LINE:
                axes.tick_params(labelleft=False)
            if place + PER_LINE < len(small):
                axes.tick_params(labelbottom=False)
        moment = window["time"].strftime("%Y-%m-%d %H:%M:%S UTC")
        figure.suptitle(f"{window['recording']}, sample {window['offset']}, {moment}", fontsize=10)
