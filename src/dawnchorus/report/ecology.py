"""Ecology's pictures: when, where and in which habitat clusters and species are heard, and when dawn's chorus begins.

In: the season's counts and the cards' suggestions. Out: five PNG files, and beside each the table it shows (Parquet, and
TSV for people). Hours that were not recorded are blank, not zero; rates are minutes per recorded hour; times are local.
What needs a position or a habitat says in its place that there is none.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.dates as mdates
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from dawnchorus.clustering.cards import NO_CLUSTER
from dawnchorus.clustering.season_counts import CONFIDENT, SeasonCounts
from dawnchorus.config import Settings
from dawnchorus.report.dawn import draw_dawn
from dawnchorus.report.onset import onsets
from dawnchorus.report.rates import CLUSTER, SPECIES, by_habitat, effort, rates
from dawnchorus.report.style import ACCENT, COLOURS, DPI, FAINT, INK, drawing, say_only
from dawnchorus.results import publishing

PANELS = 12
"""Clusters or species whose hours are drawn: the most frequent."""
ROWS = 20
"""Clusters and species whose habitats are drawn: those that differ most."""
LABELLED = 60
"""More clusters than this are told by number only."""
SHADES = "YlGnBu"
NOT_RECORDED = "#e3dfd6"
WORDS = 26
"""Longest label."""


def draw_ecology(
    settings: Settings,
    cards: pl.DataFrame,
    counts: SeasonCounts,
    figure: Callable[[str], Path],
) -> None:
    """Draw all of ecology's pictures and write their tables.

    Parameters
    ----------
    cards : polars.DataFrame
        As from :func:`dawnchorus.clustering.cards.cards`; gives the clusters' suggestions.
    figure : callable
        Gives the path of a figure by its file's name.
    """
    names = {
        str(card["cluster"]): _name(card["cluster"], card["suggestion"])
        for card in cards.select("cluster", "suggestion").to_dicts()
    }
    by_hour = rates(counts, "date", "hour")
    sun = sun_sentence(counts)
    for what, name in ((CLUSTER, "ecology_hours.png"), (SPECIES, "ecology_species.png")):
        path = figure(name)
        own = by_hour.filter(pl.col("what") == what)
        _write(path, own.filter(pl.col("windows") > 0))
        draw_hours(own, effort(counts, "date", "hour"), counts.suns, names, sun, what, path)
    by_recorder = rates(counts, "recorder").filter(pl.col("what") == CLUSTER)
    _write(figure("ecology_recorders.png"), by_recorder)
    habitats = dict(
        counts.hours.filter(pl.col("habitat").is_not_null())
        .group_by("recorder")
        .agg(pl.col("habitat").unique().sort().str.join(", "))
        .iter_rows()
    )
    draw_recorders(by_recorder, names, habitats, figure("ecology_recorders.png"))
    in_habitats = by_habitat(counts, settings.evaluation.bootstrap, settings.evaluation.seed)
    _write(figure("ecology_habitats.png"), in_habitats)
    draw_habitats(in_habitats, names, figure("ecology_habitats.png"))
    begun = onsets(counts)
    _write(figure("ecology_dawn.png"), begun)
    draw_dawn(begun, counts, sun, figure("ecology_dawn.png"))


def _write(path: Path, table: pl.DataFrame) -> None:
    with publishing(path.with_suffix(".parquet")) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    with publishing(path.with_suffix(".tsv")) as partial:
        table.write_csv(partial, separator="\t")


def _name(cluster: int, suggestion: str) -> str:
    told = "no cluster" if cluster == NO_CLUSTER else f"{cluster}  {suggestion}"
    return told if len(told) <= WORDS else told[: WORDS - 1] + "…"


def sun_sentence(counts: SeasonCounts) -> str:
    """Say in one sentence what the lines of sunrise and sunset stand on."""
    suns = counts.suns
    if not suns.height:
        return "No deployment has a position, so sunrise and sunset are not known."
    without = suns.filter(pl.col("without").is_not_null())
    if without.height == suns.height:
        kinds = " and ".join(without["without"].unique().sort())
        return (
            f"At the recorders' positions the sun does not rise and set on these dates ({kinds})."
        )
    placed = suns["recorder"].n_unique()
    every = counts.hours["recorder"].n_unique()
    told = "Red: sunrise and sunset at the recorders' positions"
    if placed < every:
        told += f" ({placed} of {every} have one)"
    if without.height:
        dates = without["date"].sort().to_list()
        kinds = " and ".join(without["without"].unique().sort())
        told += f"; {kinds} on some dates from {dates[0]} to {dates[-1]}"
    return told + "."


def draw_hours(
    by_hour: pl.DataFrame, recorded: pl.DataFrame, suns: pl.DataFrame, names: dict[str, str],
    sun: str, what: str, path: Path,
) -> None:  # fmt: skip
    """Draw local hour by date for the most frequent clusters or species.

    Parameters
    ----------
    by_hour : DataFrame
        name, date, hour, windows, minutes_per_hour of one ``what``.
    recorded : DataFrame
        what, date, hour, recorded_windows.
    suns : DataFrame
        As in :class:`~dawnchorus.clustering.season_counts.SeasonCounts`.
    """
    most = (
        by_hour.group_by("name")
        .agg(pl.col("windows").sum())
        .filter(pl.col("windows") > 0)
        .sort("windows", "name", descending=[True, False])
        .head(PANELS)
    )
    if not most.height:
        reason = (
            f"BirdNET found no species with a confidence from {CONFIDENT:g} on, or did not listen."
            if what == SPECIES
            else "No window was assigned."
        )
        say_only(path, reason)
        return
    dates = recorded["date"]
    first = dt.date.fromisoformat(str(dates.min()))
    days = (dt.date.fromisoformat(str(dates.max())) - first).days + 1
    columns = min(most.height, 3 if days > 20 else 4)
    rows = math.ceil(most.height / columns)
    lines = _sun_lines(suns)
    with drawing(path, max(8.6, 3.6 * columns), 2.15 * rows + 0.8, DPI) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for place, axis in enumerate(axes.flat):
            if place >= most.height:
                axis.set_visible(False)
                continue
            name = most["name"][place]
            own = by_hour.filter(pl.col("name") == name)
            raster = np.full((24, days), np.nan)
            for date, hour, rate in own.select("date", "hour", "minutes_per_hour").iter_rows():
                raster[hour, (dt.date.fromisoformat(date) - first).days] = rate
            start = mdates.date2num(first)
            image = axis.imshow(
                raster, cmap=SHADES, vmin=0, aspect="auto", origin="lower",
                interpolation="none", extent=(start, start + days, 0, 24),
            )  # fmt: skip
            for times in lines:
                axis.plot(*times, color=ACCENT, linewidth=1.1)
            axis.set_title(f"{names.get(name, name)}", fontsize=9)
            axis.set_xlim(start, start + days)
            axis.set_ylim(0, 24)
            bar = figure.colorbar(image, ax=axis, pad=0.02, aspect=14)
            bar.outline.set_visible(False)
            bar.locator = MaxNLocator(4)
            bar.ax.tick_params(labelsize=7, length=2)
            _calendar(axis, days)
        for axis in axes[:, 0]:
            axis.set_ylabel("local hour")
        title = "clusters" if what == CLUSTER else "species that BirdNET names"
        figure.suptitle(
            f"When the most frequent {title} are heard: minutes per recorded hour",
            x=0.01, ha="left", fontsize=11, fontweight="bold",
        )  # fmt: skip
        figure.supxlabel(f"Grey: not recorded. {sun}", fontsize=8, color=INK, x=0.01, ha="left")  # fmt: skip


def _calendar(axis: Axes, days: int) -> None:
    axis.set_facecolor(NOT_RECORDED)
    axis.set_yticks([0, 6, 12, 18, 24])
    if days <= 8:
        ticks = [axis.get_xlim()[0] + 0.5 + day for day in range(0, days, max(1, days // 4))]
        axis.set_xticks(ticks)
        axis.set_xticklabels([f"{mdates.num2date(tick - 0.5):%-d %b}" for tick in ticks])
    else:
        locator = mdates.AutoDateLocator(minticks=3, maxticks=6)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axis.tick_params(labelsize=8)


def _sun_lines(suns: pl.DataFrame) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return sunrise and sunset as steps per date, medians over the recorders; broken where there is none."""
    table = (
        suns.group_by("date")
        .agg(pl.col("rise").median(), pl.col("set").median())
        .sort("date")
        .with_columns(pl.col("date").str.to_date())
    )
    if not table.height:
        return []
    day = np.array([mdates.date2num(date) for date in table["date"]])
    return [
        (
            np.stack([day, day + 1], axis=1).ravel(),
            np.repeat(table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() / 60, 2),
        )
        for name in ("rise", "set")
    ]


def ordered(matrix: NDArray[np.floating]) -> list[int]:
    """Return an order of the rows that puts like beside like (average linkage, optimal leaf order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    if len(matrix) < 3:
        return list(range(len(matrix)))
    tree = linkage(matrix, "average")
    return [int(row) for row in leaves_list(optimal_leaf_ordering(tree, matrix))]


def draw_recorders(
    by_recorder: pl.DataFrame, names: dict[str, str], habitats: dict[str, str], path: Path
) -> None:
    """Draw which share of each recorder's windows is in which cluster; like stands beside like."""
    if not by_recorder.height:
        say_only(path, "No window was assigned.")
        return
    recorders = by_recorder["recorder"].unique().sort().to_list()
    clusters = sorted(by_recorder["name"].unique().to_list(), key=int)
    matrix = np.zeros((len(recorders), len(clusters)))
    row = {name: number for number, name in enumerate(recorders)}
    column = {name: number for number, name in enumerate(clusters)}
    for name, recorder, rate in by_recorder.select(
        "name", "recorder", "minutes_per_hour"
    ).iter_rows():
        matrix[row[recorder], column[name]] = rate / 60
    down, across = ordered(np.sqrt(matrix)), ordered(np.sqrt(matrix.T))
    shown = matrix[np.ix_(down, across)]
    few = len(clusters) <= LABELLED
    width = max(7.6, 1.9 + (0.28 if few else 0.16) * len(clusters))
    with drawing(path, width, 1.0 + 0.34 * len(recorders) + (2.0 if few else 0.6), DPI) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(
            shown, cmap=SHADES, norm=PowerNorm(0.5, 0, max(float(shown.max()), 1e-6)), aspect="auto"
        )
        told = [recorders[place] for place in down]
        axes.set_yticks(
            range(len(told)),
            [f"{name}  ({habitats[name]})" if name in habitats else name for name in told],
        )
        of = [clusters[place] for place in across]
        axes.set_xticks(
            range(len(of)),
            [names.get(name, name) if few else name for name in of],
            rotation=60 if few else 90,
            ha="right" if few else "center",
            rotation_mode="anchor" if few else None,
            fontsize=7.5 if few else 6,
        )
        axes.set_xticks(np.arange(len(of) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(told) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.6)
        axes.tick_params(which="both", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.suptitle(
            "Which clusters each recorder hears: share of its windows",
            x=0.01, ha="left", fontsize=11, fontweight="bold",
        )  # fmt: skip
        bar = figure.colorbar(image, ax=axes, pad=0.01, format=FuncFormatter(_percent))
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)


def _percent(value: float, _: int | None = None) -> str:
    return f"{100 * value:.2g} %"


def draw_habitats(table: pl.DataFrame, names: dict[str, str], path: Path) -> None:
    """Draw rates per habitat with their intervals, for the clusters and species that differ most."""
    if not table.height:
        say_only(path, "No deployment says its habitat, so habitats cannot be compared.")
        return
    habitats = table["habitat"].unique().sort().to_list()
    groups = [
        (what, own)
        for what in (CLUSTER, SPECIES)
        if (own := _most_different(table.filter(pl.col("what") == what))).height
    ]
    rows = max(own["name"].n_unique() for _, own in groups)
    with drawing(
        path,
        max(8.6, 5.2 * len(groups) + 0.4),
        0.26 * rows + 1.5 + 0.2 * math.ceil(len(habitats) / 2),
        DPI,
    ) as figure:
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
        for (what, own), axes in zip(groups, panels, strict=True):
            _habitat_panel(axes, own, habitats, names if what == CLUSTER else {})
            axes.set_ylim(rows - 0.4, -0.6)
            axes.set_title("clusters" if what == CLUSTER else f"species (BirdNET, from {CONFIDENT:g} on)", fontsize=9)  # fmt: skip
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        figure.suptitle(
            "By habitat: minutes per recorded hour, 95 % intervals over recorder-days",
            x=0.01, ha="left", fontsize=11, fontweight="bold",
        )  # fmt: skip


def _most_different(table: pl.DataFrame) -> pl.DataFrame:
    """Keep the names whose highest and lowest rate lie farthest apart, re the root of their mean rate."""
    spread = (
        table.group_by("name")
        .agg(
            (pl.col("minutes_per_hour").max() - pl.col("minutes_per_hour").min()).alias("range"),
            pl.col("minutes_per_hour").mean().alias("mean"),
        )
        .with_columns(
            pl.when(pl.col("mean") > 0)
            .then(pl.col("range") / pl.col("mean").sqrt())
            .otherwise(0.0)
            .alias("differs")
        )
        .sort("differs", "mean", "name", descending=[True, True, False])
        .head(ROWS)
    )
    return table.join(spread.select("name", "differs"), on="name").sort(
        "differs", "name", "habitat", descending=[True, False, False]
    )


def _habitat_panel(
    axes: Axes, own: pl.DataFrame, habitats: list[str], names: dict[str, str]
) -> None:
    order = own["name"].unique(maintain_order=True).to_list()
    for number, habitat in enumerate(habitats):
        some = own.filter(pl.col("habitat") == habitat)
        if not some.height:
            continue
        at = np.array([order.index(name) for name in some["name"]], float)
        at += (number - (len(habitats) - 1) / 2) * 0.5 / len(habitats)
        rate = some["minutes_per_hour"].to_numpy()
        # With one recorder-day there is no interval; a percentile interval need not hold the rate itself.
        ends = [
            np.nan_to_num(np.maximum(gap, 0.0))
            for gap in (
                rate - some["low"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
                some["high"].cast(pl.Float64).fill_null(np.nan).to_numpy() - rate,
            )
        ]
        days, recorders = int(some["recorder_days"][0]), int(some["recorders"][0])
        axes.errorbar(
            rate, at, xerr=ends, fmt="o", markersize=4, linewidth=1.4, color=COLOURS[number % len(COLOURS)],
            label=f"{habitat} ({recorders} recorder{'s' * (recorders != 1)}, {days} recorder-days)",
        )  # fmt: skip
    axes.set_yticks(range(len(order)), [names.get(name, name) for name in order])
    # Rates of a tenth and of ten minutes in one picture; zero has its place.
    axes.set_xscale("function", functions=(np.sqrt, np.square))
    axes.set_xlim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_xlabel("minutes per recorded hour")
