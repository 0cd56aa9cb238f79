"""Curves across spaces: few labels, coverage, cost; and how a space's line looks.

In: the tables of an evaluation. Out: PNG files, one per question; where there is nothing to
draw, the picture says why, and so does what the function returns. Experiments are in colour, what learns nothing in grey and dashed, what learned from labels in
ink; every line also has its name beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator
from scipy.optimize import isotonic_regression

from dawnchorus.evaluation.comparison import AGREEMENT, TRUTH, Comparison, Measure, Tables
from dawnchorus.evaluation.spaces import EXPERIMENT, SUPERVISED
from dawnchorus.report.style import (
    ACCENT,
    ACCENT_TEXT,
    COLOURS,
    FAINT,
    INK,
    Margins,
    drawing,
    say_only,
    settle,
)

SOLID = "-"
GREYS = ("#6b747a", "#8a9298")
DASHES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
MARKERS = "osD^vPX*"
NAMED = Margins(left=0.75, right=2.05)
"""Room for the names at the ends of lines."""
LABEL_GAP = 0.052
"""Least distance of two names at the ends of lines, of the height of the panel, per line of a name."""
LABEL_WIDTH = 22
"""Letters in a line of such a name."""


@dataclass(frozen=True)
class Look:
    """How a space's line looks, the same in all figures."""

    colour: str
    dash: object
    marker: str
    width: float

    @property
    def experiment(self) -> bool:
        """Whether it is an experiment's, to be seen first."""
        return self.dash == SOLID


def looks(spaces: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """Return the look of each space, from its name and kind."""
    chosen: dict[str, Look] = {}
    experiments = baselines = 0
    for name, kind in spaces:
        if kind == EXPERIMENT:
            colour = COLOURS[experiments % len(COLOURS)]
            chosen[name] = Look(colour, SOLID, MARKERS[experiments % len(MARKERS)], 1.9)
            experiments += 1
        elif kind == SUPERVISED:
            chosen[name] = Look(INK, (0, (4, 1.5)), "h", 1.6)
        else:
            dash = DASHES[baselines % len(DASHES)]
            chosen[name] = Look(GREYS[baselines % len(GREYS)], dash, "", 1.3)
            baselines += 1
    return chosen


def name_ends(axes: Axes, ends: Mapping[str, float], at: float, look: Mapping[str, Look]) -> None:
    """Write each line's name beside its end ``(at, ends[name])``, moved apart where names would lie on each other.

    Call it when the limits of the axes are settled.
    """
    if not ends:
        return
    low, high = axes.get_ylim()
    named = sorted(ends, key=lambda name: ends[name])
    wanted = (np.array([ends[name] for name in named]) - low) / (high - low)
    written = ["\n".join(wrap(name, LABEL_WIDTH)) for name in named]
    lines = np.array([1 + text.count("\n") for text in written])
    # The least move that leaves every name its gap.
    steps = LABEL_GAP * (np.cumsum(lines) - lines / 2)
    places = isotonic_regression(wanted - steps).x + steps
    for name, text, place in zip(named, written, places, strict=True):
        axes.annotate(
            text,
            (at, ends[name]),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            fontweight="bold" if look[name].experiment else "normal",
            arrowprops={
                **{"arrowstyle": "-", "color": look[name].colour, "linewidth": 0.8},
                **{"relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3},
            },
            annotation_clip=False,
        )


def _line(axes: Axes, x: Sequence[float], rows: pl.DataFrame, look: Look) -> None:
    """Draw a curve; an experiment's with its intervals."""
    y = rows["value"].to_list()
    axes.plot(
        x, y, color=look.colour, linestyle=look.dash, marker=look.marker, linewidth=look.width, ms=4
    )  # fmt: skip
    bounded = rows["low"].null_count() + rows["high"].null_count() == 0
    if look.experiment and bounded:
        low, high = rows["low"].to_list(), rows["high"].to_list()
        axes.fill_between(x, low, high, color=look.colour, alpha=0.13, linewidth=0)


def about_birds(target: str, truth: str | None) -> str:
    """Say by which labels a target of the probes means the bird."""
    if target.startswith("birdnet"):
        return f"BirdNET's labels from {target.rsplit(' ', 1)[-1]} on"
    return f"{truth or 'labels'}: {target}"


def draw_few_shots(tables: Tables, comparison: Comparison, path: Path) -> str | None:
    """Draw balanced accuracy over labelled windows per class, a panel per probe and kind of label."""
    rows = tables["probes"].filter(
        pl.col("shots").is_not_null()
        & pl.col("value").is_not_null()
        & (pl.col("metric") == "balanced_accuracy")
    )
    panels = list(rows.select("target", "probe").unique(maintain_order=True).iter_rows())
    if not panels:
        return say_only(
            path, "no few-shot curves: no window has a label, or no curves were asked for"
        )
    look = looks((space.name, space.kind) for space in comparison.spaces)
    lines = -(-len(panels) // 2)
    with drawing(path, 11, 3.9 * lines, settled=True) as figure:
        grid = figure.subplots(lines, 2, squeeze=False)
        settle(figure, lines, 2, NAMED)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (target, probe) in zip(grid.flat, panels, strict=False):
            of_panel = rows.filter((pl.col("target") == target) & (pl.col("probe") == probe))
            ends = {}
            for name, style in look.items():
                curve = of_panel.filter(pl.col("space") == name).sort("shots")
                if curve.height:
                    _line(axes, curve["shots"].to_list(), curve, style)
                    ends[name] = curve["value"][-1]
            guess = comparison.chance.get(
                Measure(TRUTH if target == "species" else "birdnet", "linear")
            )
            if guess is not None:
                axes.axhline(guess, color=ACCENT, linestyle=":", linewidth=1.3)
                axes.annotate(
                    "guessing", (0.01, guess), xycoords=("axes fraction", "data"),
                    xytext=(0, 3), textcoords="offset points", fontsize=8, color=ACCENT_TEXT,
                )  # fmt: skip
            counts = of_panel["shots"].unique().sort().to_list()
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(0, 1)
            axes.set_xlabel("labelled windows per species that the probe learns from")
            axes.set_ylabel("balanced accuracy")
            axes.set_title(f"{about_birds(target, comparison.truth)} ({probe})", fontsize=10)
            name_ends(axes, ends, max(counts), look)
    return None


def draw_coverage(tables: Tables, comparison: Comparison, path: Path) -> str | None:
    """Draw how clusters agree with BirdNET's labels over how many windows have one, confidence by confidence."""
    rows = tables["agreement"].filter(
        (pl.col("labels") == "birdnet")
        & (pl.col("metric") == "ami")
        & (pl.col("clustering") == "fitted")
        & (pl.col("unlabelled") == "left out")
        & pl.col("value").is_not_null()
        & pl.col("coverage").is_not_null()
    )
    if not rows.height:
        return say_only(
            path, "BirdNET finds nothing at any confidence: there is no coverage to draw"
        )
    look = looks((space.name, space.kind) for space in comparison.spaces)
    with drawing(path, 9.2, 4.4, settled=True) as figure:
        axes = figure.subplots()
        settle(figure, 1, 1, replace(NAMED, top=0.6))
        ends = {}
        for name, style in look.items():
            curve = rows.filter(pl.col("space") == name).sort("coverage")
            if curve.height:
                x = (100 * curve["coverage"]).to_list()
                _line(axes, x, curve, style)
                ends[name] = curve["value"][-1]
        steps = rows.group_by("confidence").agg(pl.col("coverage").mean()).sort("coverage")
        top = axes.twiny()
        axes.set_xlim(0, 1.05 * 100 * float(steps["coverage"].max()))  # type: ignore[arg-type]
        axes.set_ylim(bottom=0)
        top.set_xlim(axes.get_xlim())
        top.set_xticks((100 * steps["coverage"]).to_list(), [f"{c:g}" for c in steps["confidence"]])
        top.spines["top"].set_visible(True)
        top.spines["top"].set_color(FAINT)
        top.set_xlabel("BirdNET's least confidence for a label")
        axes.set_xlabel("coverage: share of the windows that then have a label, %")
        axes.set_ylabel("agreement of clusters\nwith the labels (AMI)")
        name_ends(axes, ends, axes.get_xlim()[1] / 1.05, look)
    return None


def draw_cost(comparison: Comparison, measure: Measure | None, path: Path) -> str | None:
    """Draw a figure of each experiment over the hours it was trained, beside what needs no training."""
    costs = [space.cost for space in comparison.spaces if space.cost.get("training_hours")]
    kind = "gpu_hours" if all(cost.get("gpu_hours") for cost in costs) else "training_hours"
    points = [
        (space.name, space.figures[measure], float(space.cost.get(kind) or 0.0))
        for space in comparison.spaces
        if measure is not None and space.figures[measure].value is not None
    ]
    most = max((hours for _, _, hours in points), default=0.0)
    if measure is None or not most:
        return say_only(
            path, "no experiment has both a figure and hours of training: nothing to weigh"
        )
    look = looks((space.name, space.kind) for space in comparison.spaces)
    with drawing(path, 9.2, 4.2, settled=True) as figure:
        axes = figure.subplots()
        settle(figure, 1, 1, replace(NAMED, top=0.15))
        ends = {}
        for name, one, hours in points:
            style, value = look[name], float(one.value or 0.0)
            if not hours:
                axes.axhline(value, color=style.colour, linestyle=style.dash, linewidth=1.2)
                ends[name] = value
                continue
            if one.low is not None and one.high is not None:
                axes.plot([hours] * 2, [one.low, one.high], color=style.colour, linewidth=1.5)
            axes.plot(hours, value, style.marker or "o", color=style.colour, ms=7)
            axes.annotate(
                name, (hours, value), xytext=(8, 4), textcoords="offset points",
                fontsize=8, fontweight="bold",
            )  # fmt: skip
        axes.set_xlim(0, 1.3 * most)
        axes.set_ylim(0, 1)
        axes.set_xlabel("GPU hours of training" if kind == "gpu_hours" else "hours of training")
        agreement = measure.how == AGREEMENT
        axes.set_ylabel("agreement (AMI)" if agreement else "balanced accuracy\n(species)")
        name_ends(axes, ends, 1.3 * most, look)
    return None
