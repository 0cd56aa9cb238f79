"""Which songs are found by boxes.

In: boxes of a window and annotated songs, both in seconds and hertz. Out: for each song the best
intersection over union (IoU) of any one box with the part of the song that lies in the window. A song
is looked for once, in the window that holds most of it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Rows of (start, end, low, high), shape (n, 4)."""
FOUND = 0.3
"""IoU from which a song counts as found."""


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
    least_share: float = 0.0,
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
    least_share : float
        Songs of which the best window holds less than this share are left out.

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
    met = met.with_columns(held=pl.col("end") - pl.col("begin")).filter(
        pl.col("held") >= least_share * (pl.col("end_s") - pl.col("start_s"))
    )
    order = ["song_number", "held", "window_s"]
    best = met.sort(order, descending=[False, True, False]).unique(
        "song_number", keep="first", maintain_order=True
    )
    return best.with_columns(start_s="begin", end_s="end", low_hz="low", high_hz="high").select(
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
