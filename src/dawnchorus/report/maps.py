"""The map of the output space, four times: by cluster, species, recorder and hour.

In: a frame of points (:mod:`dawnchorus.report.points`). Out: four PNG files. Distances in the map
are not the space's, and each figure says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dawnchorus.report.style import COLOURS, FAINT, INK, drawing

OUTSIDE = 0.005
"""Share of the windows at each edge that does not decide where the picture ends."""
NAMED = len(COLOURS)
"""How many names get a colour of their own; the others share a grey."""


NAMES = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA"}
NEARNESS = {
    "umap": "neighbours are near, distances are not the space's",
    "tsne": "neighbours are near, distances and sizes are not the space's",
    "pca": "what lies apart is apart in the space, what lies together need not be near there",
}
"""What each kind of map says of the space, and what it does not."""


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, **look: object) -> object:
    size = float(np.clip(30_000 / max(len(x), 1), 0.6, 14))
    return axes.scatter(x, y, s=size, linewidths=0, rasterized=True, **look)  # type: ignore[arg-type]


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Where nearly all values are: far islands of a few windows would shrink everything else."""
    low, high = np.quantile(values, (OUTSIDE, 1 - OUTSIDE)) if len(values) else (0.0, 1.0)
    margin = 0.15 * max(high - low, 1e-6)
    return float(low - margin), float(high + margin)


def _frame(figure: Figure, points: pl.DataFrame, title: str, method: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    horizontal, vertical = _limits(x), _limits(y)
    axes.set_xlim(horizontal)
    axes.set_ylim(vertical)
    beyond = (x < horizontal[0]) | (x > horizontal[1]) | (y < vertical[0]) | (y > vertical[1])
    note = f"{NAMES.get(method, method)} in two dimensions: {NEARNESS[method]}"
    if beyond.any():
        note += f"; {int(beyond.sum()):,} of {len(x):,} windows lie outside the picture"
    axes.set_xlabel(note)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _named(path: Path, points: pl.DataFrame, column: str, title: str, method: str) -> None:
    """Colour by a name; the most frequent first, 'none' always grey and below the rest."""
    with drawing(path, 9, 6.4) as figure:
        axes = _frame(figure, points, title, method)
        counts = (
            points[column].value_counts(sort=True).sort(["count", column], descending=[True, False])
        )
        names = [name for name in counts[column] if name != "none"]
        rest = points.filter(~pl.col(column).is_in(names[:NAMED]))
        if rest.height:
            unnamed = set(rest[column].unique()) - {"none"}
            label = "none" if not unnamed else f"none and {len(unnamed)} more"
            _scatter(axes, rest["x"].to_numpy(), rest["y"].to_numpy(), c=FAINT, label=label)
        for colour, name in zip(COLOURS, names, strict=False):
            some = points.filter(pl.col(column) == name)
            _scatter(axes, some["x"].to_numpy(), some["y"].to_numpy(), c=colour, label=name)
        legend = axes.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1, handletextpad=0.3
        )
        for handle in legend.legend_handles:
            handle.set_sizes([30])  # type: ignore[union-attr]


def _clusters(path: Path, points: pl.DataFrame, method: str) -> None:
    """Colour by cluster and write each cluster's number at the middle of its windows."""
    with drawing(path, 8, 6.4) as figure:
        axes = _frame(figure, points, "by cluster", method)
        clusters = points["cluster"].to_numpy()
        palette = np.array(COLOURS)
        colours = np.where(clusters >= 0, palette[clusters % len(palette)], FAINT)
        # Noise lies below the clusters, in grey and without a number.
        order = np.argsort(clusters >= 0, kind="stable")
        _scatter(
            axes, points["x"].to_numpy()[order], points["y"].to_numpy()[order], c=colours[order]
        )
        middles = points.filter(pl.col("cluster") >= 0)
        middles = middles.group_by("cluster").agg(pl.col("x").median(), pl.col("y").median())
        for cluster, x, y in middles.sort("cluster").iter_rows():
            axes.text(
                x, y, str(cluster), ha="center", va="center", fontsize=8, color=INK, clip_on=True,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip


def _hours(path: Path, points: pl.DataFrame, method: str) -> None:
    """Colour by local hour, on a colour circle: 23 h is next to 0 h."""
    with drawing(path, 8, 6.4) as figure:
        axes = _frame(figure, points, "by local hour", method)
        dots = _scatter(
            axes, points["x"].to_numpy(), points["y"].to_numpy(),
            c=(points["hour"] + 0.5).to_numpy(), cmap="twilight_shifted", vmin=0, vmax=24,
        )  # fmt: skip
        bar = figure.colorbar(dots, ax=axes, shrink=0.6, ticks=[0, 6, 12, 18, 24])  # type: ignore[arg-type]
        bar.set_label("hour")
        bar.outline.set_visible(False)


def draw_maps(
    points: pl.DataFrame, method: str, by_cluster: Path, by_species: Path, by_recorder: Path,
    by_hour: Path, species_source: str,
) -> None:  # fmt: skip
    """Draw the four maps.

    Parameters
    ----------
    points : polars.DataFrame
        As from :func:`dawnchorus.report.points.read_points`.
    method : str
        Name of the projection, for the axis label.
    species_source : str
        Where the species come from, for the title.
    """
    _clusters(by_cluster, points, method)
    _named(by_species, points, "species", f"by species ({species_source})", method)
    _named(by_recorder, points, "recorder", "by recorder", method)
    _hours(by_hour, points, method)
