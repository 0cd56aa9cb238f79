"""When a recorder records: local start times of a day, around the sun of its place.

In: a plan, a recorder's own share of twilight recordings, a date. Out: aware start times, sorted.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from dawnchorus.simulate.plan import SeasonPlan

MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class Sun:
    """Sunrise and sunset in local hours (0 to 24) of one day."""

    rise: float
    set: float


def sun_of(date: dt.date, latitude: float, longitude: float, zone: ZoneInfo) -> Sun:
    """Return sunrise and sunset, right within a few minutes.

    NOAA's low-accuracy equations (Spencer's series for declination and equation of time). Where the
    sun does not rise or set, the day is taken as 0 or 24 hours long.
    """
    year = 2 * math.pi / 365 * (date.timetuple().tm_yday - 0.5)
    equation_of_time = 229.18 * (
        0.000075
        + 0.001868 * math.cos(year)
        - 0.032077 * math.sin(year)
        - 0.014615 * math.cos(2 * year)
        - 0.040849 * math.sin(2 * year)
    )
    declination = (
        0.006918
        - 0.399912 * math.cos(year)
        + 0.070257 * math.sin(year)
        - 0.006758 * math.cos(2 * year)
        + 0.000907 * math.sin(2 * year)
        - 0.002697 * math.cos(3 * year)
        + 0.00148 * math.sin(3 * year)
    )
    phi = math.radians(latitude)
    cosine = math.cos(math.radians(90.833)) / (math.cos(phi) * math.cos(declination))
    cosine -= math.tan(phi) * math.tan(declination)
    half_day = math.degrees(math.acos(min(1.0, max(-1.0, cosine)))) / 15
    offset = dt.datetime(date.year, date.month, date.day, 12, tzinfo=zone).utcoffset()
    noon = 12 - longitude / 15 - equation_of_time / 60
    noon += (offset or dt.timedelta()).total_seconds() / 3600
    noon %= 24
    return Sun(max(0.0, noon - half_day), min(24.0, noon + half_day))


def _twilight_minutes(count: int, share: float, phase: int, sun: Sun) -> list[int]:
    """Minutes of the day, more than half of them around sunrise and sunset."""
    dawn = round(count * share * 0.6)
    dusk = round(count * share * 0.4)
    rest = count - dawn - dusk
    hours = [
        *np.linspace(sun.rise - 0.5, sun.rise + 1.75, dawn),
        *np.linspace(sun.set - 1.0, sun.set + 0.75, dusk),
        *(0.75 + np.arange(rest) * 24 / max(rest, 1)),
    ]
    return sorted(round(60 * float(hour)) + phase for hour in hours)


def _apart(minutes: list[int], length: int) -> list[int]:
    """Move starts so that recordings of ``length`` minutes do not overlap and start within the day."""
    placed: list[int] = []
    for minute in minutes:
        placed.append(max(minute, placed[-1] + length if placed else 0))
    latest = MINUTES_PER_DAY - 1
    for position in range(len(placed) - 1, -1, -1):
        placed[position] = min(placed[position], latest)
        latest = placed[position] - length
    return placed


def starts_of(plan: SeasonPlan, share: float, phase: int, date: dt.date) -> list[dt.datetime]:
    """Return the aware local start times of a recorder's day.

    Parameters
    ----------
    plan : SeasonPlan
        Gives schedule, number and length of the recordings.
    share : float
        The recorder's own share of twilight recordings (0 to 1).
    phase : int
        Minutes by which the recorder's twilight schedule is shifted.
    date : datetime.date
        Local date.

    Notes
    -----
    On the day the clocks go forward a start in the missing hour moves behind it; starts that then
    coincide are dropped.
    """
    if plan.schedule == "interval":
        step = 86_400 // plan.recordings
        seconds = [step * position for position in range(plan.recordings)]
    else:
        sun = sun_of(date, plan.latitude, plan.longitude, plan.zone)
        length = max(1, math.ceil(plan.seconds / 60))
        wanted = _twilight_minutes(plan.recordings, share, phase, sun)
        seconds = [60 * minute for minute in _apart(wanted, length)]
    midnight = dt.datetime(date.year, date.month, date.day)
    starts = {
        (midnight + dt.timedelta(seconds=second)).replace(tzinfo=plan.zone).astimezone(dt.UTC)
        for second in seconds
    }
    return [start.astimezone(plan.zone) for start in sorted(starts)]
