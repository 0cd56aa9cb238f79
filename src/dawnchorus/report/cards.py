"""Cluster cards: what a cluster looks like, when and where it was recorded, what it is called.

In: the table of :func:`dawnchorus.clustering.cards.cards`, map points with labels, spectrogram stores.
Out: one page that works offline; pictures are inside it.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.report.points import NONE
from dawnchorus.report.style import SPECTROGRAM
from dawnchorus.report.windows import contrast, read_pictures
from dawnchorus.results import Results, write_text

CENTRAL, BORDER = 4, 2
NAMES = 3


def _picture(decibels: NDArray[np.float32]) -> str:
    """Return a spectrogram as a data address: low frequencies below, the cluster's own contrast."""
    low, high = contrast(decibels)
    shown = mpl.colormaps[SPECTROGRAM](np.clip((decibels[::-1] - low) / (high - low), 0, 1))
    image = Image.fromarray((shown[..., :3] * 255).astype(np.uint8)).convert(
        "P", palette=Image.Palette.ADAPTIVE, colors=64
    )
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _labelled(points: pl.DataFrame, cluster: int) -> list[dict[str, Any]]:
    """Return the most frequent labels of a cluster's drawn windows and their shares."""
    mine = points.filter(pl.col("cluster") == cluster)
    named = mine.filter(pl.col("species") != NONE)["species"].value_counts()
    named = named.sort(["count", "species"], descending=[True, False]).head(NAMES)
    return [
        {"name": name, "share": count / max(mine.height, 1)} for name, count in named.iter_rows()
    ]


def draw_cards(cards: pl.DataFrame, points: pl.DataFrame, results: Results, path: Path) -> None:
    """Write the page of cluster cards.

    Parameters
    ----------
    cards : polars.DataFrame
        One row per cluster.
    points : polars.DataFrame
        As from :func:`dawnchorus.report.points.read_points`; gives the labels.
    """
    shown: list[dict[str, Any]] = []
    ticks: list[dict[str, Any]] = []
    seconds = 0.0
    for card in cards.iter_rows(named=True):
        central = (card["central"] or [])[:CENTRAL]
        # A small cluster's border windows may be its central ones.
        border = [window for window in (card["border"] or []) if window not in central][:BORDER]
        named = pl.DataFrame(
            central + border,
            schema=["recorder", "date", "recording", "offset", "time", "distance"],
            orient="row",
        )
        pictures = read_pictures(results, named) if named.height else None
        if pictures is not None and not ticks:
            rows, names = pictures.hertz_ticks()
            bands = len(pictures.band_frequency)
            ticks = [
                {"label": name, "bottom": 100 * row / bands}
                for row, name in zip(rows, names, strict=True)
            ]
            seconds = pictures.seconds
        hours = list(card["hours"])
        busiest = max(1, *hours)
        shown.append(
            {
                **card,
                "labels": _labelled(points, card["cluster"]),
                "windows": [
                    {
                        "picture": _picture(pictures.decibels[number]),
                        "where": f"{window['recording']} at sample {window['offset']}",
                        "recorder": window["recorder"],
                        "date": window["date"],
                        "kind": "central" if number < len(central) else "border",
                    }
                    for number, window in enumerate(central + border)
                ]
                if pictures is not None
                else [],
                "bars": [100 * count / busiest for count in hours],
            }
        )
    pages = Environment(
        loader=PackageLoader("dawnchorus.report"), autoescape=select_autoescape(), trim_blocks=True
    )
    page = pages.get_template("cards.html.j2")
    write_text(path, page.render(cards=shown, ticks=ticks, seconds=seconds))
