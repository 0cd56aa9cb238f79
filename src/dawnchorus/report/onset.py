"""When the dawn chorus begins, relative to sunrise.

In: per recorder and date, in steps of ten minutes from sunrise, how many windows were recorded and in how many something
called (:attr:`~dawnchorus.clustering.season_counts.SeasonCounts.dawn`). Out: one row per recorder and date, and per date
over all recorders.

The onset is the moment at which the calling rate, smoothed over half an hour, first reaches half of its rise: half way
between the least before the morning's maximum and the maximum. Half of the amplitude is how onsets are read from
seasonal curves (White, Thornton & Running 1997, doi:10.1029/97GB00330); it does not depend on how easily a recorder or
a network detects, as long as that stays the same through the morning. Times are told relative to sunrise, as by Bruni,
Mennill & Foote 2014 (doi:10.1007/s10336-014-1071-7), who take each species' first song instead: of a continuous
recording with false detections the first is no good measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.season_counts import CONFIDENT, DAWN_STEP, SeasonCounts

MORNING = (-120, 180)
"""Minutes from sunrise in which the rise is looked for."""
SHARE = 0.5
FEWEST_STEPS, FEWEST_CALLS = 6, 20
SIGMAS = 3.0
"""The rise must exceed so many standard errors of the maximum."""
ALL = "all"

MEASURES = {
    "detections": ("detected", "heard", f"BirdNET's detections, confidence from {CONFIDENT:g} on"),
    "activity": ("active", "windows", "windows in which something stands out of the noise"),
}
"""Name to the columns of calls and of effort, and what it is."""

ONSETS: dict[str, Any] = {
    "measure": pl.String,
    "recorder": pl.String,
    "date": pl.String,
    "onset_minutes": pl.Float64,
    "gap_minutes": pl.Float64,
    "at_the_latest": pl.Boolean,
    "rate_before": pl.Float64,
    "rate_most": pl.Float64,
    "calls": pl.Int64,
    "windows": pl.Int64,
    "note": pl.String,
}
"""``onset_minutes`` from sunrise, negative before it; null if there is none, and ``note`` says why.
``gap_minutes``: between the two recorded steps that it was read from. ``at_the_latest``: the first
recorded step was above the half already, so it began no later than that. ``recorder`` is ``all`` for
the sum over the recorders."""


@dataclass(frozen=True)
class Onset:
    """When a morning's chorus begins; see :data:`ONSETS`."""

    minutes: float | None
    gap: float | None = None
    at_the_latest: bool = False
    before: float | None = None
    most: float | None = None
    note: str = ""


def smoothed(calls: NDArray[np.floating], effort: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return calls per window over each step and its two neighbours; NaN where nothing was recorded.

    Parameters
    ----------
    calls, effort : float arrays (..., steps)
    """
    kernel = np.ones(3)

    def summed(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.apply_along_axis(np.convolve, -1, values, kernel, "same")

    with np.errstate(invalid="ignore", divide="ignore"):
        rate = summed(calls) / summed(effort)
    return np.where(effort > 0, rate, np.nan)


def onset(
    step: NDArray[np.int64], calls: NDArray[np.floating], effort: NDArray[np.floating]
) -> Onset:
    """Find the onset of one morning.

    Parameters
    ----------
    step : int64 (n,)
        Starts of the steps in minutes from sunrise; those that were not recorded may be missing.
    calls, effort : float (n,)
        Windows with a call, and windows.
    """
    grid = np.arange(MORNING[0], MORNING[1], DAWN_STEP)
    inside = (step >= MORNING[0]) & (step < MORNING[1])
    place = (step[inside] - MORNING[0]) // DAWN_STEP
    all_calls, all_effort = np.zeros(len(grid)), np.zeros(len(grid))
    np.add.at(all_calls, place, calls[inside])
    np.add.at(all_effort, place, effort[inside])
    rate = smoothed(all_calls, all_effort)
    at = np.flatnonzero(np.isfinite(rate))
    if len(at) < FEWEST_STEPS:
        return Onset(None, note="too little was recorded around sunrise")
    if all_calls.sum() < FEWEST_CALLS:
        return Onset(None, note="too few calls")
    values, middle = rate[at], grid[at] + DAWN_STEP / 2
    top = int(np.argmax(values))
    most, before = float(values[top]), float(values[: top + 1].min())
    error = float(np.sqrt(most * (1 - most) / max(all_effort[at[top]], 1)))
    if most - before < SIGMAS * error or most == before:
        return Onset(None, before=before, most=most, note="no rise around sunrise")
    wanted = before + SHARE * (most - before)
    first = int(np.flatnonzero(values[: top + 1] >= wanted)[0])
    if first == 0:
        return Onset(float(middle[0]), None, True, before, most)
    low, high = values[first - 1], values[first]
    gap = float(middle[first] - middle[first - 1])
    moment = middle[first - 1] + gap * (wanted - low) / (high - low)
    return Onset(float(moment), gap, False, before, most)


def onsets(counts: SeasonCounts) -> pl.DataFrame:
    """Return the onsets of all mornings by every measure there is, columns :data:`ONSETS`."""
    rows: list[dict[str, Any]] = []
    for measure, (calls, effort, _) in MEASURES.items():
        told = counts.dawn.filter(pl.col(effort) > 0)
        together = told.group_by("date", "step").agg(pl.col(calls, effort).sum())
        for table, keys in (
            (told, ["recorder", "date"]),
            (together.with_columns(pl.lit(ALL).alias("recorder")), ["recorder", "date"]),
        ):
            for (recorder, date), own in table.sort(*keys, "step").group_by(
                keys, maintain_order=True
            ):
                steps = own["step"].to_numpy()
                found = onset(steps, own[calls].to_numpy(), own[effort].to_numpy())
                rows.append(
                    {
                        "measure": measure,
                        "recorder": recorder,
                        "date": date,
                        "onset_minutes": _rounded(found.minutes, 1),
                        "gap_minutes": found.gap,
                        "at_the_latest": found.at_the_latest,
                        "rate_before": _rounded(found.before, 4),
                        "rate_most": _rounded(found.most, 4),
                        "calls": int(own[calls].sum()),
                        "windows": int(own[effort].sum()),
                        "note": found.note,
                    }
                )
    return pl.DataFrame(rows, schema=ONSETS)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
