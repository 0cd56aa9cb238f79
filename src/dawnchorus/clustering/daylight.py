"""Which windows lie in the night, which around sunrise, and how far from it.

In: windows with local date and minute, position and offset from UTC. Out: the same with ``night``, ``dawn`` and
``from_rise``, and the sun of every date and place, found once each.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from dawnchorus.recordings.sun import Sun, sun_on

DAWN_HOURS = (-60.0, 120.0)
"""Minutes from sunrise that count as dawn."""
NO_SUN_NIGHT = ((0.0, 300.0), (1260.0, 1440.0))
"""Night where the position is not known: 21 to 5 h local."""

SUNS: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "rise": pl.Float64,
    "set": pl.Float64,
    "without": pl.String,
}
SUN_KEY = ["on", "latitude", "longitude", "utc_offset"]

Suns: TypeAlias = dict[tuple[dt.date, float, float, int], Sun]
"""By local date, latitude, longitude and minutes from UTC."""


def suns_of(windows: pl.DataFrame) -> Suns:
    """Return the sun of every local date at every known position among the windows."""
    placed = windows.filter(pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null())
    keys = placed.select(SUN_KEY).unique(maintain_order=True)
    return {key: sun_on(*key) for key in keys.iter_rows()}


def sun_table(suns: Suns, recorder: str) -> pl.DataFrame:
    """Return a recorder's suns, columns :data:`SUNS`."""
    rows = [
        {
            "recorder": recorder,
            "date": date.isoformat(),
            "latitude": latitude,
            "longitude": longitude,
            "rise": sun.rise,
            "set": sun.set,
            "without": sun.without,
        }
        for (date, latitude, longitude, _), sun in suns.items()
    ]
    return pl.DataFrame(rows, schema=SUNS, orient="row")


def with_daylight(windows: pl.DataFrame, suns: Suns) -> pl.DataFrame:
    """Add ``night`` and ``dawn``, and ``from_rise``: minutes from sunrise, null where there is none."""
    minute = windows["minute"].to_numpy()
    night = np.zeros(windows.height, bool)
    rise = np.full(windows.height, np.nan)
    groups = windows.select(SUN_KEY).with_row_index().group_by(SUN_KEY, maintain_order=True)
    for key, rows in groups:
        at = rows["index"].to_numpy()
        sun = suns.get(key)
        for start, stop in NO_SUN_NIGHT if sun is None else sun.night:
            night[at] |= (minute[at] >= start) & (minute[at] < stop)
        if sun is not None and sun.rise is not None:
            rise[at] = sun.rise
    from_rise = minute - rise
    with np.errstate(invalid="ignore"):
        dawn = (from_rise >= DAWN_HOURS[0]) & (from_rise < DAWN_HOURS[1])
    return windows.with_columns(
        pl.Series("night", night),
        pl.Series("dawn", dawn),
        pl.Series("from_rise", from_rise).fill_nan(None),
    )
