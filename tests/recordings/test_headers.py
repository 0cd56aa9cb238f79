"""Chunks before and after the samples, true or not, and any bytes at all."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.recordings.headers import read_riff
from dawnchorus.recordings.metadata import metadata_of

from .cards import audiomoth, chunk, info, noise, put, wav

START = datetime(2021, 5, 15, 1, 30)
GUANO = chunk(
    b"guan", b"GUANO|Version:1.0\nMake: Wildlife Acoustics\nTimestamp:2021-05-15T01:30:00-05:00\n\0"
)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("frames", [8000, 8001])
def test_metadata_on_either_side_of_the_samples(tmp_path, place, frames):
    mark = info(audiomoth(START)) + GUANO
    sound = noise(2)[:frames]
    riff = read_riff(put(tmp_path / "a.wav", wav(sound, **{place: mark})))
    assert riff.guano["Timestamp"] == "2021-05-15T01:30:00-05:00"
    assert riff.guano["Make"] == "Wildlife Acoustics"
    assert metadata_of(riff).clock == START
    assert metadata_of(riff).offset == timedelta(0)
    assert metadata_of(riff).device == "24F3190361CC4A5B"
    assert riff.promised_bytes == riff.bytes_on_disk == 2 * frames
    assert (riff.sample_rate, riff.channels, riff.bits, riff.frame_bytes) == (8000, 1, 16, 2)


def test_writer_that_forgot_the_padding_byte(tmp_path):
    odd = b"data" + struct.pack("<I", 5) + b"\1\2\3\4\5"
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8))
    body = b"WAVE" + fmt + odd + GUANO
    riff = read_riff(put(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", len(body)) + body))
    assert riff.chunks == ("fmt ", "data", "guan")
    assert "Timestamp" in riff.guano


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", 0), ("UTC+2", 2), ("UTC-10", -10), ("UTC+5:30", 5.5), ("UTC-3:30", -3.5)],
)
def test_zone_of_the_comment(tmp_path, zone, hours):
    path = put(tmp_path / "a.wav", wav(noise(0.1), before=info(audiomoth(START, zone))))
    assert metadata_of(read_riff(path)).offset == timedelta(hours=hours)


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "a bird",
        audiomoth(START).replace("15/05", "31/02"),
        audiomoth(START).replace("UTC", "MST"),
    ],
)
def test_comments_that_say_no_time(tmp_path, comment):
    path = put(tmp_path / "a.wav", wav(noise(0.1), before=info(comment)))
    assert metadata_of(read_riff(path)).clock is None


def test_rf64_size_is_that_of_ds64(tmp_path):
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 5_000_000_000, 0, 0))
    body = b"WAVE" + ds64 + fmt + b"data" + b"\xff" * 4 + bytes(100)
    riff = read_riff(put(tmp_path / "a.wav", b"RF64" + b"\xff" * 4 + body))
    assert riff.promised_bytes == 5_000_000_000
    assert riff.bytes_on_disk == 100


WHOLE = wav(noise(0.2), before=info(audiomoth(START)), after=GUANO)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda tail: b"RIFF\0\0\0\0WAVE" + tail),
        st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)).map(
            lambda edit: WHOLE[: edit[0]] + edit[1] + WHOLE[edit[0] + len(edit[1]) :]
        ),
        st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]),
    )
)
def test_any_bytes_are_read_without_harm(tmp_path_factory, content):
    riff = read_riff(put(tmp_path_factory.mktemp("any") / "a.wav", content))
    if riff is not None:
        assert riff.file_bytes == len(content)
        assert 0 <= riff.bytes_on_disk <= len(content)


def test_a_million_chunks_cost_nothing(tmp_path):
    body = b"WAVE" + chunk(b"fmt ", bytes(16)) + chunk(b"abcd", b"") * 1_000_000
    riff = read_riff(put(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", len(body)) + body))
    assert len(riff.chunks) == 256
    assert np.array_equal(riff.channels, 0)
