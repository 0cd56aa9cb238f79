"""Labels beside clusters and beside one another: confusion of clusters and species, calibration of BirdNET.

In: the tables of an evaluation. Out: PNG files; where there is nothing to draw, the picture says why, and so does
what the function returns (else None).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from dawnchorus.evaluation.comparison import Comparison, Tables
from dawnchorus.evaluation.spaces import EXPERIMENT
from dawnchorus.report.comparison_figures import MARKERS
from dawnchorus.report.style import COLOURS, FAINT, INK, SOFT, Margins, drawing, say_only, settle

MOST_SPECIES, MOST_CLUSTERS, MOST_MATRICES = 12, 30, 4
NONE = "none"
ASKED = {
    "birdnet": "it is that species",
    "birdnet, any species": "anything annotated is in the window",
}
"""What the rows of the calibration ask of a detection."""
SCALE = 0.75
"""Inches for the scale of colours."""


def draw_confusion(tables: Tables, comparison: Comparison, path: Path) -> str | None:
    """Draw which species each cluster holds: a row of panels per experiment, a panel per kind of label."""
    rows = tables["confusion"].filter(
        pl.col("windows").is_not_null() & pl.col("cluster").is_not_null()
    )
    wanted = rows.filter((pl.col("labels") != "birdnet") | _nearest(rows, comparison.confidence))
    if "assigned" in set(wanted["clustering"]):
        wanted = wanted.filter(pl.col("clustering") == "assigned")
    sources = sorted(set(wanted["labels"].drop_nulls()), key=lambda name: name == "birdnet")
    spaces = [
        space.name
        for space in comparison.spaces
        if space.kind == EXPERIMENT and space.name in set(wanted["space"])
    ][:MOST_MATRICES]
    if not spaces:
        return say_only(path, "no window of a cluster has a label: there is no confusion to draw")
    columns = _species(wanted.filter(pl.col("space").is_in(spaces)))
    matrices = {
        (space, source): _matrix(
            wanted.filter((pl.col("space") == space) & (pl.col("labels") == source)), columns
        )
        for space in spaces
        for source in sources
    }
    most = max(len(clusters) for _, clusters in matrices.values())
    # Slanted names below the panels need as much room as the longest has letters.
    margins = Margins(bottom=0.25 + 0.042 * max(map(len, columns)), left=0.75)
    tall = margins.top + margins.bottom + max(1.0, 0.155 * most)
    with drawing(path, 5.5 * len(sources), tall * len(spaces) + SCALE, settled=True) as figure:
        grid = figure.subplots(len(spaces), len(sources), squeeze=False)
        settle(figure, len(spaces), len(sources), margins, SCALE)
        for line, space in zip(grid, spaces, strict=True):
            for axes, source in zip(line, sources, strict=True):
                share, clusters = matrices[space, source]
                if not len(clusters):
                    axes.set_axis_off()
                    continue
                shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
                for row, column in zip(*np.nonzero(share >= 0.1), strict=True):
                    axes.text(
                        column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center",
                        fontsize=7, color="white" if share[row, column] > 0.55 else INK, in_layout=False,
                    )  # fmt: skip
                axes.set_yticks(
                    range(len(clusters)), [str(number) for number in clusters], fontsize=7
                )
                axes.set_xticks(
                    range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor",
                    fontsize=8,
                )  # fmt: skip
                axes.set_ylabel("cluster")
                told = source
                if source == "birdnet":
                    told = f"BirdNET from {comparison.confidence or 0:g} on"
                axes.set_title(f"{space}: {told}", fontsize=10)
        height = figure.get_size_inches()[1]
        figure.colorbar(
            shown, cax=figure.add_axes((0.25, 0.5 / height, 0.5, 0.12 / height)), orientation="horizontal",
            label="share of a cluster's labelled windows (numbers: %, from 10 on)",
        )  # fmt: skip
    return None


def _nearest(rows: pl.DataFrame, confidence: float | None) -> pl.Expr:
    """The confidence that the page is about, or the first there is."""
    known = rows.filter(pl.col("labels") == "birdnet")["confidence"].drop_nulls().unique()
    if confidence not in known.to_list() and len(known):
        confidence = float(known.sort()[0])
    return pl.col("confidence") == pl.lit(confidence, pl.Float64)


def _species(rows: pl.DataFrame) -> list[str]:
    """Return the species that get a column, those with most windows first; then the others together, then none."""
    known = rows.filter(pl.col("species").is_not_null() & (pl.col("species") != NONE))
    common = (
        known.group_by("species")
        .agg(pl.col("windows").sum())
        .sort(["windows", "species"], descending=[True, False])
    )
    columns: list[str] = common["species"].head(MOST_SPECIES).to_list()
    if common.height > MOST_SPECIES:
        columns.append(f"{common.height - MOST_SPECIES} others")
    return columns if known.height == rows.height else [*columns, NONE]


def _matrix(rows: pl.DataFrame, columns: list[str]) -> tuple[np.ndarray, list[int]]:
    """Return shares (clusters, species) and the clusters: the largest, in the order of the species they hold most of."""
    sizes = rows.group_by("cluster").agg(pl.col("windows").sum())
    sizes = sizes.filter(pl.col("windows") > 0).sort(
        ["windows", "cluster"], descending=[True, False]
    )
    clusters = sizes["cluster"].head(MOST_CLUSTERS).to_list()
    line = {cluster: number for number, cluster in enumerate(clusters)}
    place = {name: number for number, name in enumerate(columns)}
    counts = np.zeros((len(clusters), len(columns)))
    for cluster, name, windows in rows.select("cluster", "species", "windows").iter_rows():
        if cluster in line:
            counts[line[cluster], place.get(name or NONE, MOST_SPECIES)] += windows
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    order = sorted(
        range(len(clusters)), key=lambda row: (int(share[row].argmax()), -float(share[row].max()))
    )
    return share[order], [clusters[row] for row in order]


def draw_calibration(tables: Tables, path: Path) -> str | None:
    """Draw which share of BirdNET's detections is right, over its confidence."""
    rows = tables["calibration"].filter(
        pl.col("correct_share").is_not_null() & pl.col("mean_confidence").is_not_null()
    )
    if not rows.height:
        notes = tables["calibration"]["note"].drop_nulls()
        reason = notes[0] if len(notes) else "no detection in an annotated recording"
        return say_only(path, f"no calibration: {reason}")
    with drawing(path, 6.8, 4.6, settled=True) as figure:
        axes = figure.subplots()
        settle(figure, 1, 1, Margins(top=0.15))
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2)
        axes.annotate(
            "right as often as it says", (0.3, 0.3), xytext=(6, -8), textcoords="offset points",
            fontsize=8, va="top",
        )  # fmt: skip
        for number, source in enumerate(rows["labels"].unique(maintain_order=True).to_list()):
            of_source = rows.filter(pl.col("labels") == source).sort("mean_confidence")
            colour = COLOURS[(0, 4, 2, 3)[number % 4]]
            x, y = of_source["mean_confidence"].to_numpy(), of_source["correct_share"].to_numpy()
            axes.plot(
                x,
                y,
                color=colour,
                marker=MARKERS[number],
                linewidth=1.6,
                label=ASKED.get(source, source),
            )
            for place, low, high, value, count in zip(
                x, of_source["low"], of_source["high"], y, of_source["detections"], strict=True
            ):
                if low is not None and high is not None:
                    axes.plot([place] * 2, [low, high], color=colour, linewidth=1)
                axes.annotate(
                    f"{count:,}", (place, value), xytext=(5, -9), textcoords="offset points",
                    fontsize=8, color=SOFT,
                )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("BirdNET's confidence, mean of the detections in a bin")
        axes.set_ylabel("share of them that an annotation confirms")
        axes.legend(loc="lower right")
    return None
