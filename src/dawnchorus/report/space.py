"""Figures of an output space's statistics, and of the sweep over numbers of clusters.

In: the tables and receipts of :mod:`dawnchorus.clustering.statistics` and :mod:`dawnchorus.clustering.sweep`. Out: PNG
files.
"""

from __future__ import annotations

import datetime as dt
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import (
    AutoDateLocator,
    ConciseDateFormatter,
    DateFormatter,
    DayLocator,
    date2num,
)
from matplotlib.ticker import NullLocator, PercentFormatter, ScalarFormatter

from dawnchorus.parquet import read_parquet
from dawnchorus.report.style import ACCENT, COLOURS, INK, drawing
from dawnchorus.results import Results, read_receipt

FEW_DAYS = 10
MANY = 200
"""So many recorder-days are drawn small."""


def draw_statistics(results: Results, experiment: str, path: Path) -> None:
    """Draw the spectrum of the space, and how each recorder-day fits into the clusters."""
    paths = results.experiment(experiment)
    receipt = read_receipt(paths.statistics_receipt)
    days = read_parquet(paths.statistics)
    with drawing(path, 9.6, 4.4) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
        _spectrum(left, receipt["spectrum"], receipt["effective_rank"])
        _days(right, days, receipt["drift"]["limit"], 1 - receipt["drift"]["quantile"])
        lines = textwrap.wrap(receipt["drift"]["sentence"], 110)
        stability = receipt.get("stability")
        if stability:
            ari = stability["ari"]
            lines.append(
                f"stability: {stability['seeds']} fits with other seeds agree at an adjusted Rand index of "
                f"{ari['mean']:.2f} ({ari['min']:.2f} to {ari['max']:.2f}; 1 is the same clusters, 0 chance)"
            )
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=9, color=INK)


def _spectrum(axes: Axes, spectrum: list[float], rank: float) -> None:
    share = np.cumsum(spectrum)
    axes.plot(np.arange(1, len(share) + 1), share, color=COLOURS[0])
    axes.axvline(rank, color=ACCENT, linestyle=":")
    axes.annotate(
        f"effective rank\n{rank:.1f} of {len(share)}", (rank, 0.06), xytext=(5, 0),
        textcoords="offset points", color=ACCENT,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks([one for one in (1, 3, 10, 30, 100, 300, 1000) if one <= len(share)])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title("variance by dimension")
    axes.set_xlabel("principal components")
    axes.set_ylabel("share of the variance, added up")


def _days(axes: Axes, days: pl.DataFrame, limit: float, expected: float) -> None:
    axes.set_title("windows beyond their cluster, by recorder-day")
    measured = days.filter(pl.col("beyond").is_not_null())
    recorders = sorted(measured["recorder"].unique())
    # Recorders of one day stand side by side.
    beside = {
        name: 0.5 * ((number + 0.5) / len(recorders) - 0.5) for number, name in enumerate(recorders)
    }
    measured = measured.with_columns(
        pl.Series(
            "when",
            [
                date2num(dt.date.fromisoformat(date)) + beside[recorder]
                for recorder, date in measured.select("recorder", "date").iter_rows()
            ],
            pl.Float64,
        )
    )
    for number, recorder in enumerate(recorders):
        rows = measured.filter(pl.col("recorder") == recorder).sort("date")
        share = rows["beyond"].to_numpy()
        around = np.abs(np.stack([share - rows["low"], rows["high"] - share]))
        axes.errorbar(
            rows["when"].to_numpy(), share, yerr=around, fmt="o", markersize=3.5 if days.height < MANY else 2, linewidth=0.8,
            color=COLOURS[number % len(COLOURS)], label=recorder,
        )  # fmt: skip
    bad = measured.filter("flagged")
    if bad.height:
        axes.scatter(
            bad["when"].to_numpy(), bad["beyond"].to_numpy(),
            s=90, facecolors="none", edgecolors=ACCENT, linewidths=1.4, label="flagged", zorder=5,
        )  # fmt: skip
    axes.axhline(expected, color=INK, linewidth=1, label="expected", zorder=4)
    axes.axhline(
        limit, color=ACCENT, linestyle=":", linewidth=1.4, label="flagged if the\ninterval is above",
        zorder=4,
    )  # fmt: skip
    axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1.2 * limit))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if limit > 0.05 else 1))
    axes.set_ylabel("share of the windows")
    if measured["date"].n_unique() <= FEW_DAYS:
        axes.xaxis.set_major_locator(DayLocator())
        axes.xaxis.set_major_formatter(DateFormatter("%d %b"))
    else:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if measured.height:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_sweep(table: pl.DataFrame, path: Path) -> None:
    """Draw distance, silhouette and agreement over the number of clusters."""
    panels = (
        ("mean_distance", "mean cosine distance", "falls with every k"),
        ("silhouette", "silhouette", "1: apart, 0: on the border"),
        ("ari", "adjusted Rand index between seeds", "1: the same clusters, 0: chance"),
    )
    with drawing(path, 9.6, 3.2) as figure:
        for axes, (name, title, told) in zip(figure.subplots(1, 3), panels, strict=True):
            rows = table.filter(pl.col(name).is_not_null())
            k = rows["k"].to_numpy()
            axes.fill_between(
                k, rows[f"{name}_min"].to_numpy(), rows[f"{name}_max"].to_numpy(),
                color=COLOURS[5], alpha=0.3, linewidth=0,
            )  # fmt: skip
            axes.plot(k, rows[name].to_numpy(), "o-", color=COLOURS[0], markersize=4)
            axes.set_title(title, fontsize=9)
            axes.set_xlabel(f"k ({told})")
            axes.set_xscale("log")
            axes.set_xticks(k, [str(one) for one in k])
            axes.xaxis.set_minor_locator(NullLocator())
