"""Sunrise and sunset against published times, against the simulator's own sun, and where there are none."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from dawnchorus.recordings.sun import POLAR_DAY, POLAR_NIGHT, sun_on
from dawnchorus.simulate.schedule import sun_of

CHICAGO = (41.88, -87.63)


def minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


@pytest.mark.parametrize(
    ("date", "place", "offset", "rise", "set_"),
    [
        # The U.S. Naval Observatory's and timeanddate's tables, to the minute.
        ("2021-06-21", CHICAGO, -300, "05:16", "20:29"),
        ("2021-12-21", CHICAGO, -360, "07:15", "16:23"),
        ("2021-06-21", (51.5, -0.13), 60, "04:43", "21:21"),
        ("2021-06-21", (-33.87, 151.21), 600, "07:00", "16:54"),
        ("2021-03-20", (0.0, 0.0), 0, "06:04", "18:11"),
    ],
)
def test_known_times(date, place, offset, rise, set_):
    sun = sun_on(dt.date.fromisoformat(date), *place, offset)
    assert sun.rise == pytest.approx(minutes(rise), abs=1.5)
    assert sun.set == pytest.approx(minutes(set_), abs=1.5)
    assert sun.night == [(0.0, sun.rise), (sun.set, 1440.0)]


def test_the_simulators_own_equations_agree():
    zone = ZoneInfo("America/Chicago")
    for day in range(0, 365, 13):
        date = dt.date(2021, 1, 1) + dt.timedelta(days=day)
        offset = dt.datetime(date.year, date.month, date.day, 12, tzinfo=zone).utcoffset()
        sun = sun_on(date, *CHICAGO, round(offset.total_seconds() / 60))
        other = sun_of(date, *CHICAGO, zone)
        assert sun.rise == pytest.approx(other.rise * 60, abs=3)
        assert sun.set == pytest.approx(other.set * 60, abs=3)


def test_a_sun_that_does_not_rise_or_set_is_said_and_not_guessed():
    tromso = (69.65, 18.96)
    summer = sun_on(dt.date(2021, 6, 21), *tromso, 120)
    winter = sun_on(dt.date(2021, 12, 21), *tromso, 60)
    assert (summer.rise, summer.set, summer.without) == (None, None, POLAR_DAY)
    assert (winter.rise, winter.set, winter.without) == (None, None, POLAR_NIGHT)
    assert (summer.night, winter.night) == ([], [(0.0, 1440.0)])


def test_a_sun_that_sets_after_midnight_leaves_one_short_night():
    reykjavik = sun_on(dt.date(2021, 6, 21), 64.1, -21.9, 0)
    assert reykjavik.set < 5
    assert 150 < reykjavik.rise < 200
    assert reykjavik.night == [(reykjavik.set, reykjavik.rise)]
