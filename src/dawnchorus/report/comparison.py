"""Bars across experiments and baselines, and one page with every table.

In: the tables of the evaluation. Out: PNG files and an HTML page. Intervals are drawn wherever there
are some, chance is drawn beside the score it belongs to, and the leaky split is named so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.axes import Axes

from dawnchorus.evaluation.comparison import NUISANCE
from dawnchorus.parquet import read_parquet
from dawnchorus.report.style import ACCENT, COLOURS, FAINT, INK, drawing
from dawnchorus.results import Results, write_text

TABLES = (
    *("agreement", "probes", "species", "clusters", "confusion", "calibration", "attention"),
    *("coverage", "cost", "lost"),
)
MOST_ROWS = 2_000
"""Rows of a table that a page shows; the TSV beside it has all."""


def _table(results: Results, name: str) -> pl.DataFrame:
    return read_parquet(results.evaluation / f"{name}.parquet")


def _spaces(frame: pl.DataFrame) -> list[str]:
    """Experiments first, then baselines, each in the order of the table."""
    order = frame.select("space", "kind").unique(maintain_order=True)
    experiments = order.filter(pl.col("kind") == "experiment")["space"].to_list()
    return experiments + [name for name in order["space"].to_list() if name not in experiments]


def _bars(
    axes: Axes, rows: pl.DataFrame, spaces: list[str], shift: float, height: float, **look: object
) -> None:
    """Draw one bar per space with its interval; a missing value leaves a gap."""
    for place, space in enumerate(spaces):
        one = rows.filter(pl.col("space") == space)
        if one.height == 0 or one["value"][0] is None:
            continue
        value, low, high = one["value"][0], one["low"][0], one["high"][0]
        axes.barh(place + shift, value, height=height, **look)  # type: ignore[arg-type]
        if low is not None and high is not None:
            axes.plot([low, high], [place + shift] * 2, color=INK, linewidth=1)


def _names(axes: Axes, spaces: list[str], kinds: dict[str, str]) -> None:
    axes.set_yticks(range(len(spaces)), spaces)
    axes.invert_yaxis()
    for label in axes.get_yticklabels():
        if kinds.get(label.get_text()) == "experiment":
            label.set_fontweight("bold")
            label.set_color(ACCENT)


def _kinds(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("space", "kind").unique().iter_rows())


def _nothing(path: Path, sentence: str) -> None:
    with drawing(path, 7, 1.6) as figure:
        figure.text(0.5, 0.5, sentence, ha="center", va="center")


def draw_agreement(results: Results, path: Path) -> None:
    """Draw AMI of clusters with each kind of label, beside shuffled labels."""
    table = _table(results, "agreement").filter(
        (pl.col("metric") == "ami")
        & (pl.col("clustering") == "fitted")
        & pl.col("value").is_not_null()
    )
    panels = table.select("labels", "confidence", "unlabelled").unique(maintain_order=True)
    if panels.height == 0:
        _nothing(path, "no window has a label: there is nothing that clusters could agree with")
        return
    spaces, kinds = _spaces(table), _kinds(table)
    columns = min(2, panels.height)
    lines = -(-panels.height // columns)
    with drawing(path, 5.6 * columns, (0.34 * len(spaces) + 0.9) * lines) as figure:
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
        for axes in grid.flat[panels.height :]:
            axes.set_visible(False)
        for axes, panel in zip(grid.flat, panels.iter_rows(named=True), strict=False):
            rows = table.filter(
                pl.col("labels").eq_missing(panel["labels"])
                & pl.col("confidence").eq_missing(panel["confidence"])
                & (pl.col("unlabelled") == panel["unlabelled"])
            )
            _bars(axes, rows, spaces, 0, 0.7, color=COLOURS[5])
            for place, space in enumerate(spaces):
                one = rows.filter(pl.col("space") == space)
                if one.height and one["shuffled"][0] is not None:
                    axes.plot(one["shuffled"][0], place, marker="|", color=ACCENT, markersize=12)
            source = panel["labels"]
            if panel["confidence"] is not None:
                source = f"BirdNET at {panel['confidence']:g}"
            coverage = rows["coverage"].drop_nulls()
            share = f", {100 * coverage[0]:.0f} % labelled" if len(coverage) else ""
            without = "unlabelled as a class" if panel["unlabelled"] == "class" else "labelled only"
            axes.set_title(f"{source}: {without}{share}", fontsize=8)
            axes.set_xlabel("adjusted mutual information (red: shuffled labels)")
            _names(axes, spaces, kinds)


def _probe_panels(results: Results, path: Path, targets: list[str], empty: str) -> None:
    probes = _table(results, "probes").filter(
        (pl.col("metric") == "balanced_accuracy")
        & pl.col("target").is_in(targets)
        & pl.col("shots").is_null()
    )
    # Of several groupings the first, which all intervals go by.
    group = probes.filter(pl.col("split") == "grouped")["group"].head(1)
    probes = probes.filter((pl.col("split") != "grouped") | pl.col("group").is_in(group.implode()))
    known = probes.filter(pl.col("value").is_not_null())
    targets = [target for target in targets if target in set(known["target"])]
    makers = [
        name for name in known["probe"].unique(maintain_order=True).to_list() if name != "majority"
    ]
    if not targets or not makers:
        _nothing(path, empty)
        return
    measured = known.filter(pl.col("probe") != "majority")
    spaces, kinds = _spaces(measured), _kinds(measured)
    with drawing(path, 5.2 * len(makers), (0.42 * len(spaces) + 1.0) * len(targets)) as figure:
        grid = figure.subplots(len(targets), len(makers), squeeze=False)
        for line, target in enumerate(targets):
            majority = known.filter((pl.col("probe") == "majority") & (pl.col("target") == target))
            for axes, probe in zip(grid[line], makers, strict=True):
                rows = known.filter((pl.col("probe") == probe) & (pl.col("target") == target))
                grouped = rows.filter(pl.col("split") == "grouped")
                leaky = rows.filter(pl.col("split") == "leaky")
                _bars(axes, grouped, spaces, -0.18, 0.42, color=COLOURS[0], label="grouped")
                _bars(axes, leaky, spaces, 0.24, 0.26, color=FAINT, label="leaky")
                if majority.height:
                    axes.axvline(majority["value"][0], color=ACCENT, linestyle=":")
                axes.set_title(f"{target}: {probe}", fontsize=9)
                axes.set_xlabel("balanced accuracy")
                axes.set_xlim(0, 1)
                _names(axes, spaces, kinds)
        handles = [
            *(
                figure.axes[0].barh(np.nan, np.nan, color=colour, label=label)
                for colour, label in (
                    (COLOURS[0], "grouped split, 95 % interval"),
                    (FAINT, "leaky split"),
                )
            ),
            *figure.axes[0].plot([], [], ":", color=ACCENT, label="majority class"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)


def draw_probes(results: Results, path: Path) -> None:
    """Draw what a nearest-neighbour and a linear probe read out of each space about species."""
    targets = _table(results, "probes")["target"].unique(maintain_order=True).to_list()
    birds = [target for target in targets if target not in NUISANCE]
    _probe_panels(results, path, birds, "no labels to probe for, or too few groups to split")


def draw_nuisance(results: Results, path: Path) -> None:
    """Draw how well each space tells recorder and time."""
    _probe_panels(results, path, list(NUISANCE), "one recorder, one hour: nothing to tell")


def write_tables(results: Results, path: Path) -> None:
    """Write every table as one page."""
    tables = []
    for name in TABLES:
        source = results.evaluation / f"{name}.tsv"
        frame = pl.read_csv(source, separator="\t", infer_schema_length=0)
        tables.append(
            {
                "name": name,
                "columns": frame.columns,
                "rows": frame.head(MOST_ROWS).rows(),
                "hidden": max(0, frame.height - MOST_ROWS),
                "file": source.name,
            }
        )
    pages = Environment(
        loader=PackageLoader("dawnchorus.report"), autoescape=select_autoescape(), trim_blocks=True
    )
    write_text(path, pages.get_template("tables.html.j2").render(tables=tables))
