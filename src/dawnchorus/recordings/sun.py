"""When the sun rises and sets where a recorder stands.

In: latitude and longitude in degrees, a local date, the local time's offset from UTC. Out: :class:`Sun`, local
minutes of that day, or the one word that says why there are none (polar day, polar night). The astronomy is the
library astral's (NOAA's equations; upper limb on the horizon, 34 arc minutes of refraction).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import astral
import astral.sun

POLAR_DAY, POLAR_NIGHT = "polar day", "polar night"
MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class Sun:
    """The sun of one local date at one place.

    Attributes
    ----------
    rise, set : float or None
        Minutes after local midnight, 0 to 1440. ``set`` may be less than ``rise``: in a high summer the sun sets
        after midnight.
    without : str or None
        ``polar day`` or ``polar night`` where it does not rise and set; None otherwise.
    """

    rise: float | None
    set: float | None
    without: str | None = None

    @property
    def night(self) -> list[tuple[float, float]]:
        """Stretches of the local day with the sun below the horizon, in minutes."""
        if self.rise is None or self.set is None:
            return [(0.0, float(MINUTES_PER_DAY))] if self.without == POLAR_NIGHT else []
        if self.set < self.rise:
            return [(self.set, self.rise)]
        return [(0.0, self.rise), (self.set, float(MINUTES_PER_DAY))]


@lru_cache(maxsize=4096)
def sun_on(date: dt.date, latitude: float, longitude: float, utc_offset_minutes: int) -> Sun:
    """Return sunrise and sunset of a local date.

    Parameters
    ----------
    date : datetime.date
        Local date.
    latitude, longitude : float
        Decimal degrees, WGS 84.
    utc_offset_minutes : int
        Local time minus UTC, the recording's own.
    """
    zone = dt.timezone(dt.timedelta(minutes=utc_offset_minutes))
    observer = astral.Observer(latitude, longitude)
    try:
        rise = astral.sun.sunrise(observer, date, tzinfo=zone)
        sets = astral.sun.sunset(observer, date, tzinfo=zone)
    except ValueError:
        # astral raises; which of the two it is tells the height of the sun at its highest.
        noon = astral.sun.noon(observer, date, tzinfo=zone)
        high = astral.sun.elevation(observer, noon) > 0
        return Sun(None, None, POLAR_DAY if high else POLAR_NIGHT)
    return Sun(_minute(rise), _minute(sets))


def _minute(moment: dt.datetime) -> float:
    return moment.hour * 60 + moment.minute + moment.second / 60 + moment.microsecond / 6e7
