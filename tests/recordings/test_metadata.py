"""What recorders say of themselves: every firmware's words, and any words at all."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import guano
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metamoth.parsing import MessageFormatError, parse_comment

from dawnchorus.recordings.headers import PCM, Riff, read_riff
from dawnchorus.recordings.metadata import SILENT, Metadata, metadata_of

from .cards import RATE, chunk, info, noise, put, wav

ID = "24F3190361CC4A5B"
CLOCK = datetime(2021, 5, 15, 1, 30)


def said(**told: object) -> Metadata:
    """What a header with these texts says."""
    return metadata_of(Riff("RIFF", PCM, 1, RATE, 16, 44, 0, 0, **told))  # type: ignore[arg-type]


def heard(comment: str) -> Metadata:
    return said(info={"ICMT": comment, "IART": f"AudioMoth {ID}"})


# --- AudioMoth's comment ---------------------------------------------------------------------------

WHEN = "Recorded at 01:30:00 15/05/2021"
BY = f"by AudioMoth {ID}"
HOUR = timedelta(hours=1)
GENERATIONS = {
    # Firmware 1.0 names no zone: its clock runs on UTC.
    f"{WHEN} {BY} at gain setting 2 while battery state was 4.3V": (0, 4.3, None, False),
    f"{WHEN} {BY} at gain setting 2 while battery state was < 3.6V": (0, 3.6, None, False),
    f"{WHEN} {BY} at gain setting 2 while battery state was > 5.0V": (0, 5.0, None, False),
    f"{WHEN} (UTC) {BY} at gain setting 2 while battery state was 4.3V": (0, 4.3, None, False),
    f"{WHEN} (UTC) {BY} at gain setting 2 while battery state was <3.6V": (0, 3.6, None, False),
    f"{WHEN} (UTC+2) {BY} at gain setting 3 while battery state was 4.2V.": (2, 4.2, None, False),
    f"{WHEN} (UTC-10) {BY} at gain setting 3 while battery state was less than 3.6V.": (
        (-10, 3.6, None, False)
    ),
    f"{WHEN} (UTC+1) {BY} at gain setting 3 while battery state was greater than 4.9V.": (
        (1, 4.9, None, False)
    ),
    f"{WHEN} (UTC+1) {BY} at gain setting 3 while battery state was 3.6V. "
    "Recording cancelled before completion due to low battery voltage.": (1, 3.6, None, True),
    f"{WHEN} (UTC+1) {BY} at gain setting 3 while battery state was 4.1V. "
    "Recording cancelled before completion due to change of switch position.": (
        (1, 4.1, None, False)
    ),
    f"{WHEN} (UTC+5:30) {BY} at gain setting 1 while battery state was 4.1V.": (
        (5.5, 4.1, None, False)
    ),
    f"{WHEN} (UTC) {BY} at medium gain setting while battery state was 4.6V and temperature was "
    "17.7C.": (0, 4.6, 17.7, False),
    f"{WHEN} (UTC) {BY} at low-medium gain setting while battery state was less than 2.5V and "
    "temperature was -3.2C. Amplitude threshold was 12. Band-pass filter applied with cut-off "
    "frequencies of 1.0kHz and 8.5kHz. Recording cancelled before completion due to low voltage.": (
        (0, 2.5, -3.2, True)
    ),
    f"{WHEN} (UTC-3:30) {BY} at high gain while battery was 4.6V and temperature was 0.0C. "
    "Amplitude threshold was 0.5% with 10s minimum trigger duration. High-pass filter with "
    "frequency of 1.5kHz applied. Recording stopped due to low voltage.": (-3.5, 4.6, 0.0, True),
    f"{WHEN} (UTC) {BY} using external microphone at medium gain while battery was greater than "
    "4.9V and temperature was 41.0C. Recording stopped due to switch position change.": (
        (0, 4.9, 41.0, False)
    ),
}


@pytest.mark.parametrize("comment", list(GENERATIONS))
def test_comments_of_all_firmwares(comment):
    hours, volts, degrees, is_low = GENERATIONS[comment]
    assert heard(comment) == Metadata(
        clock=CLOCK,
        offset=hours * HOUR,
        device=ID,
        battery_v=volts,
        temperature_c=degrees,
        is_low_battery=is_low,
    )


@pytest.mark.parametrize("comment", list(GENERATIONS))
def test_metamoth_says_the_same(comment):
    try:
        other = parse_comment(comment)
    except MessageFormatError:
        pytest.fail("metamoth knows the words of all firmwares to 1.6")
    own = heard(comment)
    assert own.clock == other["datetime"]
    assert own.device == other["audiomoth_id"]
    assert own.temperature_c == other.get("temperature_c")
    if "-3:30" not in comment:  # which metamoth takes for two and a half hours
        assert own.offset == other["timezone"].utcoffset(None)
    if "4.9V" not in comment:  # which metamoth rounds up
        assert own.battery_v == other["battery_state_v"]
    state = other.get("recording_state")
    assert own.is_low_battery == (state is not None and state.name == "SUPPLY_VOLTAGE_LOW")


def test_a_deployment_id_is_no_device():
    """Who is named after ``during deployment`` is not the AudioMoth; its name stands in IART."""
    comment = (
        f"{WHEN} (UTC) during deployment 0123456789ABCDEF at medium gain while battery was 4.6V and "
        "temperature was 17.7C."
    )
    assert parse_comment(comment)["deployment_id"] == "0123456789ABCDEF"
    told = heard(comment)
    assert (told.clock, told.device, told.battery_v) == (CLOCK, ID, 4.6)
    assert said(info={"ICMT": comment}).device is None


def test_a_comment_inside_another_program_s_json():
    comment = '{"title": "", "notes": "' + next(iter(GENERATIONS)) + '.", "samplerate": 48000}'
    assert heard(comment).clock == CLOCK


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "a song",
        "Recorded at 01:30:00 31/02/2021 (UTC)",
        "Recorded at 25:30:00 15/05/2021 (UTC)",
        "Recorded at 01:30:00 15/05/0001 (UTC+14)",
        "Recorded at 01:30:00 15/05/9999 (UTC-14)",
        "Recorded at 01:30:00 15/05/2021 (UTC+26)",
        "Recorded at 01:30:00 15/05/2021 (MST)",
    ],
)
def test_comments_without_a_time_that_can_be(comment):
    told = heard(comment)
    assert (told.clock, told.offset) == (None, None)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
    st.integers(0, 99),
    st.integers(-99, 99),
    st.booleans(),
)
def test_comments_there_and_back(clock, minutes, volts, degrees, is_low):
    clock = clock.replace(microsecond=0)
    hours, rest = divmod(abs(minutes), 60)
    zone = f"{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
    comment = (
        f"Recorded at {clock:%H:%M:%S %d/%m}/{clock.year:04} (UTC{zone}) by AudioMoth {ID} at high "
        f"gain while battery was {volts / 10:.1f}V and temperature was {degrees / 10:.1f}C."
        + " Recording stopped due to low voltage."
        * is_low
    )
    assert heard(comment) == Metadata(
        clock=clock,
        offset=timedelta(minutes=minutes),
        device=ID,
        battery_v=volts / 10,
        temperature_c=degrees / 10,
        is_low_battery=is_low,
    )


# --- GUANO -----------------------------------------------------------------------------------------


def as_guano(text: str, tmp_path) -> Metadata:
    """What a recording with such a chunk says, through the bytes of a file."""
    path = put(tmp_path / "a.wav", wav(noise(0.1), after=chunk(b"guan", text.encode())))
    return metadata_of(read_riff(path))


@pytest.mark.parametrize(
    ("stamp", "hours"),
    [
        ("2021-05-15T01:30:00", None),
        ("2021-05-15 01:30:00", None),
        ("2021-05-15T01:30:00Z", 0),
        ("2021-05-15T01:30:00-05:00", -5),
        ("2021-05-15T01:30:00.250+05:30", 5.5),
    ],
)
def test_guano_is_read_as_its_reference_reads_it(tmp_path, stamp, hours):
    text = (
        f"GUANO|Version: 1.0\nTimestamp: {stamp}\nMake: Wildlife Acoustics\nModel: SM4\n"
        "Serial: S4A03895\nLoc Position: 41.5 -88.25\nTemperature Int: 21.5\n"
        "OAD|Battery Voltage: 4.1\nNote: a line\\nand another: with a colon\n"
    )
    own, other = as_guano(text, tmp_path), guano.GuanoFile.from_string(text)
    moment = other["Timestamp"]
    assert own.clock == moment.replace(tzinfo=None)
    assert own.offset == moment.utcoffset() == (None if hours is None else hours * HOUR)
    assert own.place == other["Loc Position"] == (41.5, -88.25)
    assert own.device == other["Serial"] == "S4A03895"
    assert own.temperature_c == float(other["Temperature Int"])
    assert own.battery_v == float(other["OAD|Battery Voltage"])


def test_guano_as_its_reference_writes_it(tmp_path):
    made = guano.GuanoFile()
    made["Timestamp"] = CLOCK.replace(tzinfo=guano.tzoffset("-05:00"))
    made["Loc Position"] = (-33.5, 151.25)
    made["Temperature Ext"] = 12.5
    made["Temperature Int"] = 20.0
    made["Serial"] = "2MU01234"
    content = bytes(made.serialize(pad="\0"))
    path = put(tmp_path / "a.wav", wav(noise(0.1), before=chunk(b"guan", content)))
    assert metadata_of(read_riff(path)) == Metadata(
        clock=CLOCK,
        offset=-5 * HOUR,
        device="2MU01234",
        place=(-33.5, 151.25),
        temperature_c=12.5,  # outside, where both are told
    )


@pytest.mark.parametrize(
    "lines",
    [
        "Timestamp: yesterday",
        "Timestamp: 0001-01-01T00:00:00+14:00",
        "Timestamp: 9999-12-31T23:59:59-14:00",
        "Loc Position: 91 0",
        "Loc Position: 1",
        "Loc Position: north east",
        "Loc Position: nan nan",
        "Temperature Int: warm",
        "Temperature Int: inf",
        "no colon at all",
        ":::",
    ],
)
def test_guano_that_says_nothing_sensible(tmp_path, lines):
    assert as_guano(lines + "\n", tmp_path) == SILENT


def test_offsets_are_whole_minutes(tmp_path):
    """Sixteen seconds off UTC is no zone, and the table would not remember them."""
    told = as_guano("Timestamp: 2021-05-15T01:30:00+05:30:16\n", tmp_path)
    assert (told.clock, told.offset) == (CLOCK, timedelta(hours=5, minutes=30))


# --- wamd ------------------------------------------------------------------------------------------


def entry(number: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return struct.pack("<HI", number, len(raw)) + raw


def as_wamd(tmp_path, *entries: bytes) -> Metadata:
    path = put(tmp_path / "a.wav", wav(noise(0.1), before=chunk(b"wamd", b"".join(entries))))
    return metadata_of(read_riff(path))


SONG_METER = (
    entry(0, b"\1\0"),
    entry(1, "SM4"),
    entry(2, "S4A03895"),
    entry(3, "2.3.1"),
    entry(4, "S4A03895"),
    entry(5, "2021-05-15 01:30:00-05:00"),
    entry(6, "WGS84,41.50000,N,88.25000,W,220"),
    entry(21, "21.5"),
)


def test_a_song_meter_s_wamd(tmp_path):
    assert as_wamd(tmp_path, *SONG_METER) == Metadata(
        clock=CLOCK,
        offset=-5 * HOUR,
        device="S4A03895",
        place=(41.5, -88.25),
        temperature_c=21.5,
    )


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("WGS84,41.5,N,88.25,W", (41.5, -88.25)),
        ("WGS84,33.5,S,151.25,E,10", (-33.5, 151.25)),
        ("WGS84, 33.5, s, 70.25, w", (-33.5, -70.25)),
        ("WGS84,41.5,-88.25", (41.5, -88.25)),  # Echo Meters
        ("WGS84,-33.5,151.25,10", (-33.5, 151.25)),
        ("WGS84,91,N,0,E", None),
        ("WGS84,-41.5,S,0,E", None),  # twice south
        ("WGS84,,N,,W", None),
        ("WGS84", None),
        ("", None),
    ],
)
def test_places_of_song_meters_and_echo_meters(tmp_path, place, expected):
    assert as_wamd(tmp_path, entry(6, place)).place == expected


@pytest.mark.parametrize(
    ("text", "clock", "hours"),
    [
        ("2021-05-15 01:30:00", CLOCK, None),
        ("2021-05-15 01:30:00-05:00", CLOCK, -5),
        ("2021-05-15T01:30:00Z", CLOCK, 0),
        ("2021-05-15 01:30:00.500", CLOCK + timedelta(milliseconds=500), None),
        ("2021-05-15 01:30:00.500+01:00", CLOCK + timedelta(milliseconds=500), 1),
        ("15/05/2021 01:30", None, None),
        ("", None, None),
    ],
)
def test_times_of_wamd(tmp_path, text, clock, hours):
    told = as_wamd(tmp_path, entry(5, text))
    assert (told.clock, told.offset) == (clock, None if hours is None else hours * HOUR)


def test_padding_programs_and_half_entries_of_wamd_are_passed_over(tmp_path):
    padding = entry(0xFFFF, bytes(100))
    program = entry(7, bytes(40_000))
    whole = as_wamd(tmp_path, *SONG_METER)
    assert as_wamd(tmp_path, padding, program, *SONG_METER, padding) == whole
    cut = struct.pack("<HI", 6, 1000) + b"WGS84,1,N,1,E"
    assert as_wamd(tmp_path, *SONG_METER[:6], cut).place is None
    assert as_wamd(tmp_path, struct.pack("<HI", 7, 0xFFFFFFFF), *SONG_METER) == SILENT
    # A program that fills all that is read of a chunk hides only what comes behind it.
    told = as_wamd(tmp_path, *SONG_METER[:5], entry(7, bytes(200_000)), *SONG_METER[5:])
    assert (told.device, told.clock) == ("S4A03895", None)


@pytest.mark.parametrize(("text", "degrees"), [("21.5", 21.5), ("21.5C", 21.5), ("-3.5 °C", -3.5)])
def test_temperatures_of_wamd(tmp_path, text, degrees):
    assert as_wamd(tmp_path, entry(21, text)).temperature_c == degrees
    both = as_wamd(tmp_path, entry(21, "30.0"), entry(22, text))
    assert both.temperature_c == degrees  # outside, where both are told


# --- All of them -----------------------------------------------------------------------------------


def test_each_is_taken_from_the_first_that_has_it(tmp_path):
    later = CLOCK + HOUR
    guan = f"Timestamp: {later.isoformat()}\nSerial: G\nTemperature Int: 5\nLoc Position: 1 2\n"
    content = wav(
        noise(0.1),
        before=info(f"{WHEN} (UTC+2) {BY} at medium gain while battery was 4.6V."),
        after=chunk(b"guan", guan.encode()) + chunk(b"wamd", b"".join(SONG_METER)),
    )
    assert metadata_of(read_riff(put(tmp_path / "a.wav", content))) == Metadata(
        clock=CLOCK, offset=2 * HOUR, device=ID, place=(1.0, 2.0), battery_v=4.6, temperature_c=5.0
    )


WORDS = st.one_of(
    st.text(max_size=80),
    st.sampled_from(list(GENERATIONS)).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.text(max_size=8)).map(
            lambda cut: text[: cut[0]] + cut[1] + text[cut[0] + len(cut[1]) :]
        )
    ),
    st.integers(300, 400).map(lambda many: f"{WHEN} (UTC) {BY} while battery was {'9' * many}V"),
)
TIMES = st.one_of(
    st.text(max_size=30),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    st.datetimes().map(lambda moment: f"{moment.isoformat()}+23:59"),
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["ICMT", "IART", "INAM"]), WORDS),
    st.dictionaries(
        st.sampled_from(["Timestamp", "Serial", "Loc Position", "Temperature Int"]), TIMES
    ),
    st.dictionaries(st.integers(0, 30), st.one_of(TIMES, WORDS)),
)
def test_whatever_is_said_is_sensible_or_not_heard(info, guano, wamd):
    told = said(info=info, guano=guano, wamd=wamd)
    if told.clock is not None:
        assert told.clock.tzinfo is None
        # It can be told in any zone.
        moment = (told.clock - (told.offset or timedelta(0))).replace(tzinfo=UTC)
        assert 1969 <= moment.year <= 2201
    for number in (told.battery_v, told.temperature_c):
        assert number is None or abs(number) < float("inf")
    if told.place is not None:
        assert abs(told.place[0]) <= 90
        assert abs(told.place[1]) <= 180
