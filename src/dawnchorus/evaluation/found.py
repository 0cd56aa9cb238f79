"""Which songs are found by boxes.

In: boxes of a window and annotated songs, both in seconds and hertz. Out: for each song the best
intersection over union (IoU) of any one box with the part of the song that lies in the window. A song
is looked for once, in the window that holds most of it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.attention.masks import PatchGrid

Boxes = NDArray[np.float64]
"""Rows of (start, end, low, high), shape (n, 4)."""
FOUND = 0.3
"""IoU from which a song counts as found."""
LOUD_DB = 6.0
"""Songs that stand less far out of all else in their box are not looked for."""


def overlaps(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return the IoU of each box with each other, shape (n, m)."""
    low = np.maximum(first[:, None, ::2], second[None, :, ::2])
    high = np.minimum(first[:, None, 1::2], second[None, :, 1::2])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    sizes = [(boxes[:, 1::2] - boxes[:, ::2]).prod(axis=-1) for boxes in (first, second)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def songs_in_windows(
    songs: pl.DataFrame,
    windows: pl.DataFrame,
    seconds: float,
    hertz: tuple[float, float],
    *,
    every_window: bool = False,
) -> pl.DataFrame:
    """Give each song the window that holds most of it, and cut it to that window.

    Parameters
    ----------
    songs : DataFrame
        recording, start_s, end_s, low_hz, high_hz, and whatever else.
    windows : DataFrame
        recording, start_s (of the window, in the recording), window (its number).
    seconds : float
        Length of a window.
    hertz : tuple of float
        Lowest and highest frequency that the spectrogram shows.
    every_window : bool
        Give a song all windows that hold any of it.

    Returns
    -------
    DataFrame
        The songs' columns, with ``window`` and start_s, end_s, low_hz, high_hz of the part in it. Songs
        that lie in none of the windows are not there.
    """
    numbered = songs.with_row_index("song_number")
    met = numbered.join(
        windows.select("recording", "window", pl.col("start_s").alias("window_s")), on="recording"
    ).with_columns(
        begin=pl.max_horizontal("start_s", "window_s"),
        end=pl.min_horizontal("end_s", pl.col("window_s") + seconds),
        low=pl.col("low_hz").clip(*hertz),
        high=pl.col("high_hz").clip(*hertz),
    )
    met = met.filter((pl.col("end") > pl.col("begin")) & (pl.col("high") > pl.col("low")))
    met = met.with_columns(held=pl.col("end") - pl.col("begin"))
    met = met.sort(["song_number", "held", "window_s"], descending=[False, True, False])
    if not every_window:
        met = met.unique("song_number", keep="first", maintain_order=True)
    return met.with_columns(start_s="begin", end_s="end", low_hz="low", high_hz="high").select(
        "window", *songs.columns
    )


def best_overlaps(songs: pl.DataFrame, boxes: dict[int, Boxes]) -> NDArray[np.float64]:
    """Return each song's IoU with the box that fits it best; 0 where its window has none.

    Parameters
    ----------
    songs : DataFrame
        From :func:`songs_in_windows`.
    boxes : dict
        Boxes of each window, by its number, seconds in the recording and hertz.
    """
    best = np.zeros(songs.height)
    edges = songs.select("start_s", "end_s", "low_hz", "high_hz").to_numpy().astype(np.float64)
    for row, window in enumerate(songs["window"].to_list()):
        here = boxes.get(window)
        if here is not None and len(here):
            best[row] = overlaps(edges[row : row + 1], here).max()
    return best


def ceiling(
    songs: pl.DataFrame, grid: PatchGrid, window_start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the best IoU that any box of whole cells reaches with each song.

    Each edge of the best box is one of the two grid lines around the song's edge, or further in or out
    by one: all combinations are tried.

    Parameters
    ----------
    songs : DataFrame
        From :func:`songs_in_windows`.
    grid : PatchGrid
    window_start : float array
        Of each window in its recording, by its number.
    """
    edges = songs.select("start_s", "end_s", "low_hz", "high_hz").to_numpy().astype(np.float64)
    begin = window_start[songs["window"].to_numpy()]
    best = np.zeros(len(edges))
    for row, song in enumerate(edges - np.stack([begin, begin, 0 * begin, 0 * begin], axis=1)):
        lines = [grid.start_s, grid.end_s, grid.low_hz, grid.high_hz]
        near = [
            line[np.argsort(np.abs(line - edge), kind="stable")[:4]]
            for line, edge in zip(lines, song, strict=True)
        ]
        boxes = np.stack(np.meshgrid(*near, indexing="ij"), axis=-1).reshape(-1, 4)
        usable = (boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])
        best[row] = overlaps(song[None], boxes[usable]).max(initial=0.0)
    return best
