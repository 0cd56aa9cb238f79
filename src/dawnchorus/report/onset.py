"""When the dawn chorus begins, relative to sunrise.

In: per recorder and date, in steps of ten minutes from sunrise, how many windows were recorded and in how many something
called (:attr:`~dawnchorus.clustering.season_counts.SeasonCounts.dawn`). Out: one row per recorder and date, and per date
the median over the recorders.

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
MOST_GAP = 40.0
"""Minutes: a rise somewhere in a longer pause of the recorder is not told."""
NIGHT = -90
"""Minutes from sunrise: a recording that begins later than this may have missed the foot of the rise."""
MEDIAN = "median"

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
recorded step was above the half already (or recording began within :data:`NIGHT` and never saw less than
half of the maximum), so it began no later than that. ``recorder`` is ``median`` for
the median over the recorders whose onset is known (not only at the latest); its ``calls`` and ``windows``
are sums."""


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
    # Recording began within the rise, as far as one can tell: its foot was never seen.
    footless = grid[at[0]] > NIGHT and before >= SHARE * most
    if first == 0 or footless:
        return Onset(float(middle[0]), None, True, before, most)
    low, high = values[first - 1], values[first]
    gap = float(middle[first] - middle[first - 1])
    if gap > MOST_GAP:
        return Onset(None, gap, False, before, most, "the rise was not recorded")
    moment = middle[first - 1] + gap * (wanted - low) / (high - low)
    return Onset(float(moment), gap, False, before, most)


def onsets(counts: SeasonCounts) -> pl.DataFrame:
    """Return the onsets of all mornings by every measure there is, columns :data:`ONSETS`."""
    rows: list[dict[str, Any]] = []
    for measure, (calls, effort, _) in MEASURES.items():
        told = counts.dawn.filter(pl.col(effort) > 0)
        mornings = []
        for (recorder, date), own in told.sort("date", "recorder", "step").group_by(
            ["recorder", "date"], maintain_order=True
        ):
            steps = own["step"].to_numpy()
            found = onset(steps, own[calls].to_numpy(), own[effort].to_numpy())
            mornings.append(
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
        rows += mornings + _medians(pl.DataFrame(mornings, schema=ONSETS))
    return pl.DataFrame(rows, schema=ONSETS)


def _medians(mornings: pl.DataFrame) -> list[dict[str, Any]]:
    # Recorders pause at different times: a sum of their calls would rise where a busy one begins.
    known = pl.col("onset_minutes").filter(~pl.col("at_the_latest"))
    table = (
        mornings.group_by("measure", "date")
        .agg(known.median().round(1), pl.col("calls", "windows").sum())
        .sort("date")
        .with_columns(
            pl.lit(MEDIAN).alias("recorder"),
            pl.lit(False).alias("at_the_latest"),
            *[
                pl.lit(None, pl.Float64).alias(f)
                for f in ("gap_minutes", "rate_before", "rate_most")
            ],
            pl.when(pl.col("onset_minutes").is_null())
            .then(pl.lit("of no recorder is the onset known"))
            .otherwise(pl.lit(""))
            .alias("note"),
        )
    )
    return table.select(list(ONSETS)).to_dicts()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
