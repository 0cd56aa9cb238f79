"""Names: every convention there and back, and nothing guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.recordings.names import NameFault, Stamp, parse, parse_offset

CLOCKS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
    lambda clock: clock.replace(microsecond=0)
)
OFFSETS = st.integers(-48, 56).map(lambda quarters: timedelta(minutes=15 * quarters))
SUFFIXES = st.sampled_from([".wav", ".WAV", ".flac", ".Flac"])


def written(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


@given(CLOCKS, SUFFIXES, st.sampled_from(["", "242A2604603691DD_"]), st.sampled_from(["", "T"]))
def test_audiomoth_there_and_back(clock, suffix, device, trigger):
    name = f"{device}{clock:%Y%m%d_%H%M%S}{trigger}{suffix}"
    assert parse(name) == Stamp(clock, timedelta(0), "audiomoth")


@given(st.datetimes(datetime(2015, 1, 1), datetime(2039, 12, 31)))
def test_audiomoth_hex_there_and_back(clock):
    clock = clock.replace(microsecond=0)
    name = f"{int(clock.replace(tzinfo=UTC).timestamp()):08X}.WAV"
    assert parse(name) == Stamp(clock, timedelta(0), "audiomoth-hex", codes=("OA003",))


@given(
    CLOCKS,
    SUFFIXES,
    st.from_regex(r"[A-Za-z][A-Za-z0-9 .\[\]-]{0,20}", fullmatch=True),
    st.sampled_from(["_", "_0_", "_1_", "_0+1_"]),
    st.sampled_from(["_", "$"]),
)
def test_song_meter_there_and_back(clock, suffix, prefix, channel, gps):
    name = f"{prefix}{channel}{clock:%Y%m%d}{gps}{clock:%H%M%S}{suffix}"
    told = channel.strip("_") or None
    assert parse(name) == Stamp(clock, None, "song-meter", channel=told)


@given(
    CLOCKS,
    SUFFIXES,
    OFFSETS,
    st.one_of(
        st.none(),
        st.tuples(st.integers(-9000, 9000), st.integers(-18000, 18000), st.booleans()),
    ),
)
def test_frontier_labs_there_and_back(clock, suffix, offset, place):
    name = f"{clock:%Y%m%dT%H%M%S}{written(offset)}_REC"
    expected = None
    if place is not None:
        expected = (place[0] / 100, place[1] / 100)
        name += (
            f" [{expected[0]} {expected[1]}]" if place[2] else f" [{expected[0]:+}{expected[1]:+}]"
        )
    stamp = parse(name + suffix)
    codes = () if place is None else ("FL004",)
    assert stamp == Stamp(clock, offset, "frontier-labs", expected, codes)


@given(CLOCKS, OFFSETS)
def test_user_pattern_there_and_back(clock, offset):
    pattern = (
        r"site-(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4})-(?P<hour>\d\d)h(?P<minute>\d\d)"
        r"(?P<offset>[+-]\d{4})?"
    )
    told = f"site-{clock:%d.%m.%Y-%Hh%M}"
    whole = clock.replace(second=0)
    assert parse(f"{told}{written(offset)} x.wav", pattern) == Stamp(whole, offset, "pattern")
    assert parse(f"{told}.wav", pattern) == Stamp(whole, None, "pattern")
    # Names of known conventions are still read beside a pattern.
    assert parse("20210502_040000.WAV", pattern) == parse("20210502_040000.WAV")


@given(st.text(max_size=60))
def test_any_name_is_read_or_named(name):
    found = parse(name)
    assert isinstance(found, Stamp) or found.code in ("OE001", "OE002", "OE003")


@pytest.mark.parametrize(
    ("name", "clock", "offset", "convention"),
    [
        ("20220817_060000_REC.wav", datetime(2022, 8, 17, 6), None, "frontier-labs"),
        (
            "20160809_063108_Dawn [-1.46 116.91].wav",
            datetime(2016, 8, 9, 6, 31, 8),
            None,
            "frontier-labs",
        ),
        ("20210621T205706-0700.flac", datetime(2021, 6, 21, 20, 57, 6), -7, "frontier-labs"),
        ("20210621T205706Z_REC.flac", datetime(2021, 6, 21, 20, 57, 6), 0, "frontier-labs"),
        ("20210621T205706+10_REC.flac", datetime(2021, 6, 21, 20, 57, 6), 10, "frontier-labs"),
        (
            "S20240815T092156.360000+1000_E20240815T094656.368000+1000_+12.34567+78.98102.wav",
            datetime(2024, 8, 15, 9, 21, 56, 360000),
            10,
            "frontier-labs",
        ),
        ("SM304472_0+1_20181219$100000.wav", datetime(2018, 12, 19, 10), None, "song-meter"),
        (
            "SMU_20181219_100000_123.wav",
            datetime(2018, 12, 19, 10, 0, 0, 123000),
            None,
            "song-meter",
        ),
        ("A_B (1) [x]_20181219_100000.wav", datetime(2018, 12, 19, 10), None, "song-meter"),
    ],
)
def test_known_names(name, clock, offset, convention):
    stamp = parse(name)
    assert isinstance(stamp, Stamp)
    assert (stamp.clock, stamp.convention) == (clock, convention)
    assert stamp.offset == (None if offset is None else timedelta(hours=offset))


def test_place_of_a_name():
    assert parse("20210524T053000+1000_REC [-27.38 152.87].wav").place == (-27.38, 152.87)
    assert parse("20210524T053000+1000_REC [-97.38 152.87].wav").place is None  # no such latitude


def test_space_for_a_zero_is_mended_and_said():
    stamp = parse("2021 5 4T 53000+1000_REC.wav")
    assert stamp == Stamp(
        datetime(2021, 5, 4, 5, 30), timedelta(hours=10), "frontier-labs", None, ("FL008",)
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("birds_10s.wav", "OE001"),
        ("data", "OE001"),
        ("REC_20190522.wav", "OE002"),  # no time
        ("20190522.wav", "OE002"),  # eight digits, but no Unix time of any AudioMoth
        ("20210502_040000 (1).WAV", "OE002"),  # a copy of something
        ("2021-05-02 04.00.00.wav", "OE002"),
        ("20211302_040000.WAV", "OE003"),
        ("SITE_20210230_040000.wav", "OE003"),
        ("SITE_20210228_240000.wav", "OE003"),
        ("20210502T040000+2500_REC.wav", "OE003"),
        ("٢٠٢١٠٥٠٢_٠٤٠٠٠٠.wav", "OE001"),  # digits, but not those of a recorder
    ],
)
def test_no_date_no_guess(name, code):
    fault = parse(name)
    assert isinstance(fault, NameFault)
    assert fault.code == code


@given(OFFSETS)
def test_offsets(offset):
    text = written(offset)
    assert parse_offset(text) == offset
    assert parse_offset(f"{text[:3]}:{text[3:]}") == offset


@pytest.mark.parametrize("text", ["", "+", "1000", "+1060", "+15", "-1430", "+1e00"])
def test_no_offsets(text):
    assert parse_offset(text) is None
