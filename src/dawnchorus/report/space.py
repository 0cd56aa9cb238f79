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
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import NullFormatter, PercentFormatter, ScalarFormatter

from dawnchorus.report.style import ACCENT, COLOURS, FAINT, INK, drawing
from dawnchorus.results import Results, read_receipt


def draw_statistics(results: Results, experiment: str, path: Path) -> None:
    """Draw the spectrum of the space, and how each recorder-day fits into the clusters."""
    paths = results.experiment(experiment)
    receipt = read_receipt(paths.statistics_receipt)
    days = pl.read_parquet(paths.statistics)
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
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_title("variance by dimension")
    axes.set_xlabel("principal components")
    axes.set_ylabel("share of the variance, added up")


def _days(axes: Axes, days: pl.DataFrame, limit: float, expected: float) -> None:
    axes.set_title("windows beyond their cluster, by recorder-day")
    measured = days.filter(pl.col("beyond").is_not_null())
    for colour, (recorder, rows) in zip(
        [COLOURS[number % len(COLOURS)] for number in range(days["recorder"].n_unique())],
        sorted((str(recorder), rows) for (recorder,), rows in measured.group_by(["recorder"])),
        strict=False,
    ):
        rows = rows.sort("date")  # noqa: PLW2901 - the same rows
        when = [date2num(dt.date.fromisoformat(date)) for date in rows["date"]]
        share = rows["beyond"].to_numpy()
        around = np.abs(np.stack([share - rows["low"], rows["high"] - share]))
        axes.errorbar(
            when, share, yerr=around, fmt="o", markersize=3.5, linewidth=0.8, color=colour,
            label=recorder,
        )  # fmt: skip
    bad = measured.filter("flagged")
    if bad.height:
        axes.scatter(
            [date2num(dt.date.fromisoformat(date)) for date in bad["date"]], bad["beyond"],
            s=90, facecolors="none", edgecolors=ACCENT, linewidths=1.4, label="flagged", zorder=5,
        )  # fmt: skip
    axes.axhline(expected, color=FAINT, linewidth=1)
    axes.axhline(limit, color=ACCENT, linestyle=":", linewidth=1)
    axes.text(0.995, limit, "flagged above (lower end)", transform=axes.get_yaxis_transform(),
              ha="right", va="bottom", fontsize=7, color=ACCENT)  # fmt: skip
    axes.text(0.995, expected, "expected", transform=axes.get_yaxis_transform(), ha="right",
              va="bottom", fontsize=7, color=INK)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    locator = AutoDateLocator(minticks=2, maxticks=8)
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
            axes.xaxis.set_minor_formatter(NullFormatter())
