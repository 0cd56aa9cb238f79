"""Clocks: UTC inside, the local date decides the day, on the days when clocks change too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.recordings.clock import HeaderClock, Start, start_of
from dawnchorus.recordings.deployments import Deployment, Deployments
from dawnchorus.recordings.names import NameFault, parse

CHICAGO = Deployments([], "America/Chicago")


def start(name, deployments=CHICAGO, header=None, recorder="R"):
    return start_of(recorder, parse(name), header, deployments)


def told(found):
    assert isinstance(found, Start)
    return f"{found.utc:%Y-%m-%d %H:%M}", round(found.offset / timedelta(hours=1), 2), found.date


def stood(name, start, end, zone, recorder="R"):
    return Deployment(name, recorder, start, end, "site " + name, 1.0, 2.0, None, zone)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Spring, 14 March 2021: 02:00 CST becomes 03:00 CDT.
        ("S_20210314_013000.wav", ("2021-03-14 07:30", -6, "2021-03-14")),
        ("S_20210314_033000.wav", ("2021-03-14 08:30", -5, "2021-03-14")),
        # Autumn, 7 November 2021: 01:30 comes twice; the first is meant.
        ("S_20211107_003000.wav", ("2021-11-07 05:30", -5, "2021-11-07")),
        ("S_20211107_013000.wav", ("2021-11-07 06:30", -5, "2021-11-07")),
        ("S_20211107_023000.wav", ("2021-11-07 08:30", -6, "2021-11-07")),
        # AudioMoth on UTC: late evening belongs to the local day before.
        ("20210525_043000.WAV", ("2021-05-25 04:30", -5, "2021-05-24")),
        ("20210525_053000.WAV", ("2021-05-25 05:30", -5, "2021-05-25")),
        # An offset in the name is the nearest: the date is that of the name, across midnight UTC.
        ("20210524T233000-0500_REC.wav", ("2021-05-25 04:30", -5, "2021-05-24")),
        ("20210525T003000+1000_REC.wav", ("2021-05-24 14:30", 10, "2021-05-25")),
        # A clock on UTC has no local time of its own: the season's zone decides, as for AudioMoth.
        ("20210525T043000+0000_REC.wav", ("2021-05-25 04:30", -5, "2021-05-24")),
    ],
)
def test_local_date(name, expected):
    assert told(start(name)) == expected


def test_skipped_hour_is_read_with_the_offset_before():
    assert told(start("S_20210314_023000.wav")) == ("2021-03-14 08:30", -5, "2021-03-14")


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2022, 1, 1)),
    st.sampled_from(
        ["UTC", "America/Chicago", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"]
    ),
)
def test_utc_and_local_agree_with_zoneinfo(clock, zone):
    clock = clock.replace(microsecond=0)
    found = start(f"{clock:%Y%m%d_%H%M%S}.WAV", Deployments([], zone))
    local = clock.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    assert (found.utc, found.offset, found.date) == (
        local.astimezone(UTC),
        local.utcoffset(),
        local.date().isoformat(),
    )


def test_audiomoth_header_gives_the_zone_of_its_clock():
    header = HeaderClock(datetime(2021, 5, 25, 0, 30), timedelta(hours=2))
    found = start("20210525_003000.WAV", header=header)
    assert told(found) == ("2021-05-24 22:30", 2, "2021-05-25")
    assert found.timezone is None
    assert found.codes == ()


def test_header_that_differs_is_reported_and_the_name_believed():
    header = HeaderClock(datetime(2021, 5, 25, 1, 30), timedelta(0))
    found = start("20210525_003000.WAV", header=header)
    assert found.utc == datetime(2021, 5, 25, 0, 30, tzinfo=UTC)
    assert found.codes == ("OA004",)


def test_header_dates_a_name_without_date_and_nothing_else_does():
    header = HeaderClock(datetime(2018, 5, 4, 9, 32), timedelta(0))
    found = start("1min.wav", header=header)
    assert told(found) == ("2018-05-04 09:32", -5, "2018-05-04")
    assert found.convention == "header"
    assert isinstance(start("1min.wav"), NameFault)


def test_song_meter_header_of_another_time_is_reported_and_not_believed():
    header = HeaderClock(datetime(1999, 1, 1), timedelta(hours=3))
    found = start("S_20210525_003000.wav", header=header)
    assert told(found) == ("2021-05-25 05:30", -5, "2021-05-25")
    assert found.codes == ("DC012",)


@pytest.mark.parametrize(
    ("offset", "utc", "zone_offset"),
    [
        (-5, "2021-05-25 05:30", None),
        # Set up in winter and never changed: an hour off the zone, and right.
        (-6, "2021-05-25 06:30", -5),
        (0, "2021-05-25 00:30", -5),
    ],
)
def test_song_meter_header_tells_the_offset(offset, utc, zone_offset):
    """Its recorder-day is the date in its name all the same, so that no header need be opened for it."""
    header = HeaderClock(datetime(2021, 5, 25, 0, 30), timedelta(hours=offset))
    found = start("S_20210525_003000.wav", header=header)
    assert told(found) == (utc, offset, "2021-05-25")
    assert (found.codes, found.timezone) == ((), None)
    expected = None if zone_offset is None else timedelta(hours=zone_offset)
    assert found.zone_offset == expected


@pytest.mark.parametrize(
    ("name", "zone_offset"),
    [
        ("20210525T003000-0500_REC.wav", None),
        ("20210525T003000-0600_REC.wav", -5),
        ("20210525T003000+0000_REC.wav", None),  # UTC contradicts no zone
        ("20211225T003000-0600_REC.wav", None),
    ],
)
def test_offset_in_the_name_that_the_zone_has_not(name, zone_offset):
    expected = None if zone_offset is None else timedelta(hours=zone_offset)
    assert start(name).zone_offset == expected
    assert start(name, Deployments([], "UTC")).zone_offset is None  # nobody told a zone


def test_name_and_header_may_tell_the_same_time_on_two_clocks():
    pattern = (
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)-(?P<hour>\d\d)(?P<minute>\d\d)(?P<offset>Z)"
    )
    stamp = parse("20210525-0530Z.wav", pattern)
    header = HeaderClock(datetime(2021, 5, 25, 0, 30), timedelta(hours=-5))
    assert start_of("R", stamp, header, CHICAGO).codes == ()
    other = HeaderClock(datetime(2021, 5, 25, 0, 30), timedelta(hours=-6))
    assert start_of("R", stamp, other, CHICAGO).codes == ("DC012",)


def test_recorder_moves_and_each_place_has_its_zone():
    noon = datetime(2021, 6, 15, 17, tzinfo=UTC)  # 12:00 in Chicago, 19:00 in Berlin
    deployments = Deployments(
        [
            stood("b", noon, datetime(2021, 7, 1, tzinfo=UTC), "Europe/Berlin"),
            stood("a", datetime(2021, 6, 1, tzinfo=UTC), noon, "America/Chicago"),
            stood("c", datetime(2021, 6, 1, tzinfo=UTC), noon, "Asia/Tokyo", recorder="other"),
        ],
        "UTC",
    )
    before = start("S_20210615_115900.wav", deployments)
    after = start("S_20210615_190000.wav", deployments)
    assert (before.deployment.deployment, told(before)) == (
        "a",
        ("2021-06-15 16:59", -5, "2021-06-15"),
    )
    assert (after.deployment.deployment, told(after)) == (
        "b",
        ("2021-06-15 17:00", 2, "2021-06-15"),
    )
    late = start("S_20210801_000000.wav", deployments)
    assert late.deployment is None
    assert late.timezone == "UTC"
    # AudioMoth: the instant decides.
    assert start("20210615_165900.WAV", deployments).deployment.deployment == "a"
    assert start("20210615_170000.WAV", deployments).deployment.deployment == "b"


def test_place_of_the_deployment_wins_over_the_name():
    always = stood("a", datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), "UTC")
    name = "20210524T053000+1000_REC [-27.38 152.87].wav"
    assert start(name).place == (-27.38, 152.87)
    assert start(name, Deployments([always], "UTC")).place == (1.0, 2.0)
