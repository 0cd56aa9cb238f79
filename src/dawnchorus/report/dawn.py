"""The dawn chorus: when it begins, date by date, and how a morning goes.

In: onsets (:mod:`dawnchorus.report.onset`) and the season's counts. Out: one PNG.
"""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import matplotlib.dates as mdates
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from dawnchorus.clustering.season_counts import DAWN_STEP, SeasonCounts
from dawnchorus.report.onset import MEASURES, MEDIAN, MORNING, smoothed
from dawnchorus.report.style import ACCENT, COLOURS, DPI, FAINT, INK, drawing, say_only


def draw_dawn(table: pl.DataFrame, counts: SeasonCounts, sun: str, path: Path) -> None:
    """Draw the onset of the dawn chorus by date, and beside it how the morning goes on average."""
    if not counts.dawn.height:
        say_only(path, f"{sun} Onsets relative to sunrise cannot be told.")
        return
    measure = "detections" if int(counts.dawn["detected"].sum()) else "activity"
    calls, of, words = MEASURES[measure]
    own = table.filter(pl.col("measure") == measure)
    with drawing(path, 10.5, 4.3, DPI) as figure:
        by_date, by_minute = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.35, 1]})
        colours = _colours(counts)
        _onsets_by_date(by_date, own, colours)
        _mean_morning(by_minute, counts, colours, calls, of)
        figure.suptitle(
            "When the dawn chorus begins, relative to sunrise",
            x=0.01, ha="left", fontsize=11, fontweight="bold",
        )  # fmt: skip
        figure.supxlabel(
            f"Measured by {words}. Onset: half way up from the least before the morning's maximum to the "
            f"maximum, smoothed over half an hour. {sun}",
            fontsize=8, x=0.01, ha="left", wrap=True,
        )  # fmt: skip


def _colours(counts: SeasonCounts) -> dict[str, tuple[str, str]]:
    """Return per recorder its habitat, where it recorded most, and the habitat's colour."""
    table = (
        counts.hours.group_by("recorder", "habitat")
        .agg(pl.col("windows").sum())
        .sort("recorder", "windows", "habitat", descending=[False, True, False])
        .unique("recorder", keep="first", maintain_order=True)
    )
    told = {recorder: habitat or "no habitat said" for recorder, habitat, _ in table.iter_rows()}
    shades = dict(zip(sorted(set(told.values())), itertools.cycle(COLOURS), strict=False))
    return {recorder: (habitat, shades[habitat]) for recorder, habitat in told.items()}


def _onsets_by_date(axes: Axes, own: pl.DataFrame, colours: dict[str, tuple[str, str]]) -> None:
    told = own.filter(pl.col("onset_minutes").is_not_null()).with_columns(
        pl.col("date").str.to_date().alias("on")
    )
    axes.axhline(0, color=ACCENT, linewidth=1.2)
    axes.set_ylabel("minutes from sunrise")
    axes.set_title("by date", fontsize=9)
    if not told.height:
        notes = own.filter(pl.col("recorder") != MEDIAN)["note"].unique().sort().to_list()
        axes.text(
            0.5, 0.5, "No onset: " + "; ".join(notes), ha="center", va="bottom", transform=axes.transAxes, wrap=True,
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_ylim(MORNING)
        return
    single = told.filter(pl.col("recorder") != MEDIAN)
    whole = told.filter(pl.col("recorder") == MEDIAN)
    size = 22 if single.height < 100 else 9
    told_of: set[str] = set()
    recorders = single["recorder"].unique().sort().to_list()
    for number, recorder in enumerate(recorders):
        some = single.filter(pl.col("recorder") == recorder)
        # Recorders of one date stand beside each other.
        shift = (number - (len(recorders) - 1) / 2) * 0.6 / len(recorders)
        habitat, colour = colours[recorder]
        label = habitat if habitat not in told_of else None
        told_of.add(habitat)
        _dots(axes, some, shift, colour, size, label and f"a recorder, {label}")
    axes.plot(_days(whole, 0.0), whole["onset_minutes"], color=INK, linewidth=1.0, zorder=2)
    _dots(axes, whole, 0.0, INK, 2 * size, "median of the recorders")
    first, last = (dt.date.fromisoformat(date) for date in (min(told["date"]), max(told["date"])))
    span = (last - first).days + 1
    low = mdates.date2num(first) - 0.5
    axes.set_xlim(low, low + span)
    if span <= 8:
        dates = [first + dt.timedelta(days=day) for day in range(span)]
        axes.set_xticks([mdates.date2num(date) for date in dates], [f"{date:%-d %b}" for date in dates])  # fmt: skip
    else:
        locator = mdates.AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.legend(fontsize=7.5, loc="best", ncols=2)
    if told["at_the_latest"].any():
        axes.set_title("by date (triangle: began earlier, it was not recorded from when on)", fontsize=9)  # fmt: skip


def _days(table: pl.DataFrame, shift: float) -> list[float]:
    return [float(mdates.date2num(day)) + shift for day in table["on"]]


def _dots(
    axes: Axes, table: pl.DataFrame, shift: float, colour: str, size: float, label: str | None
) -> None:
    for late, marker in ((False, "o"), (True, "v")):
        some = table.filter(pl.col("at_the_latest") == late)
        if some.height:
            axes.scatter(
                _days(some, shift), some["onset_minutes"], s=size, marker=marker, zorder=3,
                facecolors="none" if late else colour, edgecolors=colour, linewidths=1.0,
                label=label if not late or not table.filter(~pl.col("at_the_latest")).height else None,
            )  # fmt: skip


def _mean_morning(
    axes: Axes, counts: SeasonCounts, colours: dict[str, tuple[str, str]], calls: str, of: str
) -> None:
    """Draw the mean calling rate by minute from sunrise, per habitat."""
    steps = np.arange(MORNING[0], MORNING[1], DAWN_STEP)
    table = counts.dawn.filter(pl.col("step").is_in(steps.tolist()))
    for habitat, colour in sorted(set(colours.values())):
        own = [recorder for recorder, told in colours.items() if told[0] == habitat]
        sums = (
            table.filter(pl.col("recorder").is_in(own))
            .group_by("step")
            .agg(pl.col(calls, of).sum())
        )
        called, recorded = np.zeros(len(steps)), np.zeros(len(steps))
        place = (sums["step"].to_numpy() - MORNING[0]) // DAWN_STEP
        called[place], recorded[place] = sums[calls].to_numpy(), sums[of].to_numpy()
        rate = 60 * smoothed(called, recorded)
        axes.plot(
            steps + DAWN_STEP / 2, rate, color=colour, linewidth=1.6, marker=".", label=habitat
        )
    axes.axvline(0, color=ACCENT, linewidth=1.2)
    axes.set_xlim(MORNING)
    axes.set_ylim(0, None)
    axes.set_xlabel("minutes from sunrise")
    axes.set_ylabel("minutes with calls per recorded hour")
    axes.set_title("mean morning (gaps: not recorded)", fontsize=9)
    axes.legend(fontsize=7.5)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
