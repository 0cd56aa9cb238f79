"""Recorder-days that fit badly into the clusters.

In: the members of the fit, and the assignment of recorder-days. Out: per recorder-day the share of its windows that
lie beyond their cluster, with an interval, and whether that is flagged.

A window lies *beyond* if it is farther from its centroid than ``drift.quantile`` (99 %) of the cluster's windows in the
fit. A cluster with too few windows for a quantile of its own takes the one of all, in units of its median distance. By
the choice of the limits about 1 % of the fit's own windows lie beyond.

Windows of one recording are alike, so the interval comes from a bootstrap over the recorder-day's recordings: 95 % of
the resampled shares lie within. A recorder-day is *flagged* if the lower end exceeds both ``drift.factor`` times the
expected share and the share that 95 % of the fit's own recorder-days keep within: a space that is restless anyhow does
not cry wolf. Noise (-1) counts as beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Drift
from dawnchorus.results import RecorderDay

RESAMPLES = 1000
INTERVAL = (0.025, 0.975)
USUAL = 0.95
"""Share of the fit's own recorder-days that are not flagged whatever ``drift.factor`` says."""
DIGITS = 6
NAMED = 3
"""So many flagged recorder-days stand in a sentence."""


def limits(members: pl.DataFrame, k: int, quantile: float) -> NDArray[np.float64]:
    """Return the distance of each cluster beyond which a window lies beyond it, shape (k,).

    Parameters
    ----------
    members : DataFrame
        ``cluster`` and ``distance`` of the windows of the fit.
    k : int
    quantile : float
    """
    own = members.filter(pl.col("cluster") >= 0)
    cluster, distance = own["cluster"].to_numpy(), own["distance"].to_numpy().astype(np.float64)
    enough = int(np.ceil(1 / (1 - quantile)))
    middle = np.full(k, np.median(distance) if len(distance) else 0.0)
    found = np.full(k, np.nan)
    for one in range(k):
        mine = distance[cluster == one]
        if len(mine):
            middle[one] = np.median(mine)
        if len(mine) >= enough:
            found[one] = np.quantile(mine, quantile)
    if np.isnan(found).any() and len(distance):
        scale = np.maximum(middle, np.finfo(np.float64).tiny)
        common = np.quantile(distance / scale[cluster], quantile)
        found = np.where(np.isnan(found), common * scale, found)
    return np.nan_to_num(found, nan=np.inf)


@dataclass(frozen=True)
class Share:
    """Share of windows beyond their cluster, and the ends of its 95 % interval."""

    beyond: float
    low: float
    high: float


def share_beyond(table: pl.DataFrame, limit: NDArray[np.float64], seed: Sequence[int]) -> Share:
    """Measure a recorder-day.

    Parameters
    ----------
    table : DataFrame
        ``recording``, ``cluster`` and ``distance`` of its windows; at least one.
    limit : float64 array (k,)
    seed : sequence of int
        Of the bootstrap.
    """
    cluster, distance = table["cluster"].to_numpy(), table["distance"].to_numpy()
    beyond = (cluster < 0) | (distance > limit[np.maximum(cluster, 0)])
    _, recording = np.unique(table["recording"].to_numpy(), return_inverse=True)
    windows = np.bincount(recording)
    counted = np.bincount(recording, weights=beyond)
    share = float(counted.sum() / windows.sum())
    generator = np.random.default_rng(seed)
    if len(windows) > 1:
        drawn = generator.multinomial(
            len(windows), np.full(len(windows), 1 / len(windows)), RESAMPLES
        )
        shares = (drawn @ counted) / (drawn @ windows)
    else:
        # One recording: its windows are all there is to draw from.
        shares = generator.binomial(windows[0], share, RESAMPLES) / windows[0]
    low, high = np.quantile(shares, INTERVAL)
    return Share(share, float(low), float(high))


def flagged(days: pl.DataFrame, wanted: Drift) -> tuple[pl.DataFrame, float]:
    """Say of each recorder-day whether it fits badly.

    Parameters
    ----------
    days : DataFrame
        ``in_fit``, ``beyond`` and ``low``; null for a recorder-day without windows.
    wanted : Drift
        Section of the config.

    Returns
    -------
    days : DataFrame
        With ``flagged``.
    limit : float
        The share above which the lower end of the interval is flagged.
    """
    limit = wanted.factor * (1 - wanted.quantile)
    of_fit = days.filter(pl.col("in_fit"))["beyond"].drop_nulls().to_numpy()
    if len(of_fit):
        limit = max(limit, float(np.quantile(of_fit, USUAL, method="higher")))
    limit = round(limit, DIGITS)
    marked = (pl.col("low") > limit).fill_null(False)
    return days.with_columns(marked.alias("flagged")), limit


def sentence(days: pl.DataFrame, quantile: float) -> str:
    """Say in one sentence which recorder-days drift.

    Parameters
    ----------
    days : DataFrame
        ``recorder``, ``date``, ``beyond`` and ``flagged``.
    quantile : float
        Of the configuration.
    """
    measured = days.filter(pl.col("beyond").is_not_null()).height
    found = days.filter("flagged").sort(
        ["beyond", "recorder", "date"], descending=[True, False, False]
    )
    if not found.height:
        return f"drift: all {measured:,} recorder-days fit into the clusters as those of the fit do"
    names = ", ".join(
        f"{RecorderDay(row['recorder'], row['date'])} {100 * row['beyond']:.0f} %"
        for row in found.head(NAMED).iter_rows(named=True)
    )
    more = f" and {found.height - NAMED:,} more" if found.height > NAMED else ""
    verb = "fits" if found.height == 1 else "fit"
    return (
        f"drift: {found.height:,} of {measured:,} recorder-days {verb} badly into the clusters "
        f"({names}{more} of the windows lie beyond, expected {100 * (1 - quantile):.2g} %)"
    )
