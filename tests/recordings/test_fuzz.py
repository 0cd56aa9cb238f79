"""Ten thousand damaged recordings: faults are faults, and windows are windows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dawnchorus.recordings.clock import HeaderClock, Start, start_of
from dawnchorus.recordings.deployments import Deployments
from dawnchorus.recordings.names import NameFault, Stamp, parse

from .fuzzing import seeds

MANY = 10_400
MOST_SECONDS = 2.0
"""Of the processor's time, for one file of at most 20 KB."""
MOST_BYTES = 512 * 2**20


@pytest.mark.slow
def test_damaged_recordings_are_read_as_far_as_they_are_good(tmp_path):
    """See :mod:`recordings.fuzzing` for what is checked; here, that it costs neither time nor memory."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "recordings.fuzzing", str(tmp_path), str(MANY), "2021"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert sum(found["verdicts"].values()) == MANY
    assert found["slowest"] < MOST_SECONDS
    assert found["peak"] < MOST_BYTES
    # The damages reach every reader.
    expected = {
        "ok",
        "DC001",
        "DC005",
        "DC007",
        "DC018",
        "FL001",
        "FL003",
        "FL012",
        "WA004",
        "OE004",
    }
    assert expected <= found["verdicts"].keys()
    assert found["verdicts"]["ok"] > MANY // 10
    assert len(seeds()) == 16


# --- Names -----------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0)
)
OFFSETS = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters))
PREFIXES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9\-+ ]{0,11}\Z")


def told(offset: timedelta, colon: str = "") -> str:
    minutes = round(offset / timedelta(minutes=1))
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"


@given(MOMENTS, PREFIXES, st.sampled_from([".wav", ".WAV", ".flac", ".Wav"]))
def test_song_meter_names_there_and_back(clock, prefix, suffix):
    found = parse(f"{prefix}_{clock:%Y%m%d_%H%M%S}{suffix}")
    assert isinstance(found, Stamp)
    assert (found.clock, found.offset, found.convention) == (clock, None, "song-meter")


@given(MOMENTS, st.sampled_from(["", "T"]), st.sampled_from(["", "24F3190361CC4A5B_"]))
def test_audiomoth_names_there_and_back(clock, triggered, device):
    found = parse(f"{device}{clock:%Y%m%d_%H%M%S}{triggered}.WAV")
    assert (found.clock, found.offset, found.convention) == (clock, timedelta(0), "audiomoth")


@given(MOMENTS.filter(lambda clock: 2015 <= clock.year < 2040))
def test_hexadecimal_names_there_and_back(clock):
    seconds = round((clock - datetime(1970, 1, 1)).total_seconds())
    found = parse(f"{seconds:08X}.WAV")
    assert (found.clock, found.convention, found.codes) == (clock, "audiomoth-hex", ("OA003",))


@given(
    MOMENTS,
    OFFSETS,
    st.sampled_from(["", ":"]),
    st.one_of(
        st.none(),
        st.tuples(
            st.floats(-90, 90).map(lambda x: round(x, 4)),
            st.floats(-180, 180).map(lambda x: round(x, 4)),
        ),
    ),
    st.booleans(),
)
def test_frontier_labs_names_there_and_back(clock, offset, colon, place, has_space):
    date = f"{clock:%Y%m%d}"
    if has_space and clock.month < 10:
        date = f"{date[:4]} {date[5:]}"
    where = "" if place is None else f" [{place[0]:.4f} {place[1]:.4f}]"
    found = parse(f"{date}T{clock:%H%M%S}{told(offset, colon)}_REC{where}.wav")
    assert isinstance(found, Stamp)
    assert (found.clock, found.offset, found.place) == (clock, offset, place)
    assert ("FL008" in found.codes) == (" " in date)
    assert ("FL004" in found.codes) == (place is not None)


PATTERN = (
    r"(?P<year>\d+)-(?P<month>\d+)-(?P<day>\d+) (?P<hour>\d+)h(?P<minute>\d+)(?P<offset>[+-]\d+)?"
)


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(PATTERN, fullmatch=True),
        st.from_regex(r"\A[A-Z0-9]{0,6}_?[0-9]{8}[T_$][0-9]{6}.{0,12}\Z"),
    ),
    st.one_of(st.none(), st.just(PATTERN)),
    st.one_of(
        st.none(),
        st.tuples(MOMENTS, st.one_of(st.none(), OFFSETS)).map(lambda told: HeaderClock(*told)),
    ),
    st.sampled_from(["UTC", "America/Chicago", "Pacific/Kiritimati", "Etc/GMT+12"]),
)
@example("1-1-1 0h00", PATTERN, None, "America/Chicago")
@example("9999-12-31 23h59-14", PATTERN, None, "Pacific/Kiritimati")
@example("99999999999999999999-1-1 0h00", PATTERN, None, "UTC")
@example("2021-1-99999999999999999999 0h00", PATTERN, None, "UTC")
@example("२०२१०५२४_०६००००.wav", None, None, "UTC")
def test_any_name_gives_a_start_or_a_reason(name, pattern, header, zone):
    stamp = parse(name, pattern)
    found = start_of("R", stamp, header, Deployments([], zone))
    if isinstance(found, Start):
        assert len(found.date) == 10
        assert datetime.fromisoformat(found.date)
    else:
        assert isinstance(found, NameFault)
        assert found.code in ("OE001", "OE002", "OE003")
        assert found.particulars
