"""What Song Meters write about themselves: both models' headings, and lines that were not finished."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.recordings.inventory import scan
from dawnchorus.recordings.summary import Summary, SummaryLine, read_summary
from dawnchorus.recordings.table import read_recordings

from .cards import noise, put, results_of, settings_of, wav

SM4 = "DATE,TIME,LAT,,LON,,POWER(V),TEMP(C),#FILES,MIC0 TYPE,MIC1 TYPE\n"
SM5 = "DATE,TIME,LAT,,LON,,POWER(V),TEMP(C),#SCRUBBED,MIC TYPE,FS\n"
NOON = datetime(2021, 5, 24, 12)


def lines(tmp_path, text: str) -> list[SummaryLine]:
    return read_summary(put(tmp_path / "S_Summary.txt", text.encode()))


def line(time="12:00:00", place="41.50000,N,88.25000,W", state="6.2,21.50", rest="0,U,U") -> str:
    return f"2021-May-24,{time},{place},{state},{rest}\n"


@pytest.mark.parametrize("heading", [SM4, SM5, SM4.replace("\n", "\r\n")])
def test_headings_of_both_models(tmp_path, heading):
    assert lines(tmp_path, heading + line()) == [SummaryLine(NOON, (41.5, -88.25), 6.2, 21.5)]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("41.5,N,88.25,W", (41.5, -88.25)),
        ("33.5,S,151.25,E", (-33.5, 151.25)),
        ("33.5,s,70.25,w", (-33.5, -70.25)),
        ("0.0,N,88.25,W", (0.0, -88.25)),
        ("0.00000,N,0.00000,E", None),  # before the first fix
        ("0.00000,S,0.00000,W", None),
        (",,,", None),
        ("nan,N,88.25,W", None),
        ("91.0,N,0,E", None),
        ("1.0,N,200.0,E", None),
    ],
)
def test_places(tmp_path, place, expected):
    (found,) = lines(tmp_path, SM4 + line(place=place))
    assert found.place == expected
    assert (found.battery_v, found.temperature_c) == (6.2, 21.5)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("6.2,21.5", (6.2, 21.5)), ("6.2,-3.25", (6.2, -3.25)), (",", (None, None)),
     ("nan,inf", (None, None)), ("6.2V,21°", (None, 21.0))],
)  # fmt: skip
def test_battery_and_temperature(tmp_path, state, expected):
    (found,) = lines(tmp_path, SM4 + line(state=state))
    assert (found.battery_v, found.temperature_c) == expected


def test_headings_come_again_and_columns_may_differ(tmp_path):
    other = "DATE,TIME,POWER(V),TEMP(C),LAT,,LON,\n2021-May-24,13:00:00,5.9,22.0,33.5,S,151.25,E\n"
    found = lines(tmp_path, SM4 + line() + SM4 + line("12:30:00") + other)
    assert [one.clock for one in found] == [NOON + timedelta(minutes=30 * n) for n in range(3)]
    assert found[2] == SummaryLine(datetime(2021, 5, 24, 13), (-33.5, 151.25), 5.9, 22.0)


def test_what_is_no_line_is_passed_over(tmp_path):
    text = (
        line("11:00:00")  # before any heading
        + SM4
        + line()
        + "2021-Mai-24,12:30:00,41.5,N,88.25,W,6.2,21.5,0,U,U\n"  # not the recorder's month
        + "2021-May-32,12:30:00,41.5,N,88.25,W,6.2,21.5,0,U,U\n"
        + "\n,\n\0\0\0\n"
        + "2021-May-24,13:0"
    )
    assert [one.clock for one in lines(tmp_path, text)] == [NOON]


def test_half_a_line_tells_what_it_has(tmp_path):
    (found,) = lines(tmp_path, SM4 + "2021-May-24,12:00:00,41.5,N,88")
    # (The longitude would have gone on, and west.)
    assert found == SummaryLine(NOON, None, None, None)
    (found,) = lines(tmp_path, SM4 + line().partition("21.50")[0] + "2")
    assert found == SummaryLine(NOON, (41.5, -88.25), 6.2, None)


def test_a_damaged_summary_does_not_stop_the_scan(tmp_path):
    root = tmp_path / "cards"
    put(root / "SM" / "S_20210524_120500.wav", wav(noise(1.0)))
    put(root / "SM" / "S_Summary.txt", (SM4 + '"' + "x" * 300_000 + "\n" + line()).encode())
    results = results_of(tmp_path)
    scan(settings_of(root, timezone="America/Chicago"), results)
    (row,) = read_recordings(results.recordings)
    assert row.battery_v == 6.2


def test_the_last_line_before_a_recording_serves_or_the_first_within_a_day():
    made = [SummaryLine(NOON + timedelta(hours=h), None, float(h), None) for h in (24, 0, 1)]
    summary = Summary(made)
    for hours, volts in ((-25, None), (-24, 0.0), (0, 0.0), (0.9, 0.0), (1, 1.0), (23, 1.0),
                         (24, 24.0), (48, 24.0), (48.1, None)):  # fmt: skip
        found = summary.at(NOON + timedelta(hours=hours))
        assert (None if found is None else found.battery_v) == volts
    assert Summary([]).at(NOON) is None


def test_a_recording_takes_battery_temperature_and_place_from_the_summary(tmp_path):
    root = tmp_path / "cards"
    put(root / "SM" / "Data" / "S_20210524_120500.wav", wav(noise(1.0)))
    put(root / "SM" / "Data" / "S_20210530_120500.wav", wav(noise(1.0, seed=1)))
    put(root / "other" / "S_20210524_120500.wav", wav(noise(1.0, seed=2)))
    put(root / "SM" / "S_Summary.txt", (SM4 + line() + line("12:10:00", state="6.1,22.0")).encode())
    results = results_of(tmp_path)
    scan(settings_of(root, timezone="America/Chicago"), results)
    told = {
        row.recording: (row.battery_v, row.temperature_c, row.latitude, row.longitude)
        for row in read_recordings(results.recordings)
    }
    nothing = (None, None, None, None)
    assert told == {
        "SM/Data/S_20210524_120500.wav": (6.2, 21.5, 41.5, -88.25),
        "SM/Data/S_20210530_120500.wav": nothing,
        "other/S_20210524_120500.wav": nothing,
    }


@given(st.binary(max_size=300), st.text(max_size=200))
def test_any_bytes_are_read_without_harm(tmp_path_factory, raw, text):
    path = tmp_path_factory.mktemp("any") / "S_Summary.txt"
    for content in (raw, SM4.encode() + raw, (SM4 + "2021-May-24,12:00:00," + text).encode()):
        path.write_bytes(content)
        for one in read_summary(path):
            assert one.clock.tzinfo is None
            assert one.battery_v is None or abs(one.battery_v) < float("inf")
