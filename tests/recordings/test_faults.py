"""Each fault of the table, made by hand: its code, what is done, and that its neighbour is untouched."""

from __future__ import annotations

import csv
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dawnchorus.recordings.audio import AudioFault, inspect, windows
from dawnchorus.recordings.faults import FAULTS, as_markdown
from dawnchorus.recordings.inventory import days_of, recordings_of_day, scan
from dawnchorus.recordings.table import read_recordings
from dawnchorus.results import RecorderDay

from .cards import (
    RATE,
    audiomoth,
    chunk,
    info,
    noise,
    put,
    results_of,
    settings_of,
    wav,
)

SOUND = noise(2.0)
WHOLE = wav(SOUND)
GOOD = "S_20210524_060000.wav"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:35\nsize 157\n"


def flac(tmp_path, total):
    """A FLAC file whose header says that it has so many frames."""
    path = tmp_path / "made.flac"
    soundfile.write(path, SOUND, RATE)
    content = bytearray(path.read_bytes())
    # Total samples: the low 36 bits of bytes 13 to 17 of STREAMINFO, which begins at byte 8.
    first = int.from_bytes(content[21:26], "big") >> 36 << 36
    content[21:26] = (first + total).to_bytes(5, "big")
    return bytes(content)


CONTENT = {
    "WA001": lambda tmp_path: b"",
    "WA002": lambda tmp_path: bytes(50_000),
    "FL001": lambda tmp_path: wav(SOUND[:0]),
    "WA004": lambda tmp_path: np.random.default_rng(1).bytes(50_000),
    "DC002": lambda tmp_path: POINTER,
    "DC005": lambda tmp_path: b"This is a text.\n" * 400,
    "DC001": lambda tmp_path: WHOLE[:20_000],
    "FL005": lambda tmp_path: wav(SOUND, data_size=2 * len(SOUND) + 44),
    "FL012": lambda tmp_path: wav(SOUND, data_size=0),
    "DC018": lambda tmp_path: wav(SOUND, data_size=1000),
}
OTHER = wav(noise(2.0, seed=1))


def lines(results):
    with results.faults.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("code", list(CONTENT))
def test_content_faults(tmp_path, code):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, OTHER)
    bad = put(root / "R" / "S_20210524_070000.wav", CONTENT[code](tmp_path))
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    (line,) = lines(results)
    assert (line["path"], line["recorder"], line["date"]) == (f"R/{bad.name}", "R", "2021-05-24")
    assert (line["code"], line["action"]) == (code, FAULTS[code].action)
    good, row = read_recordings(results.recordings)
    assert (good.recording, good.status, good.code, good.frames) == (
        f"R/{GOOD}",
        "ok",
        None,
        len(SOUND),
    )
    assert (row.status, row.code, row.reason) == (FAULTS[code].status, code, line["reason"])
    usable = recordings_of_day(results.recordings, RecorderDay("R", "2021-05-24"))
    if row.status == "set aside":
        assert (row.frames, row.duration_s) == (0, 0.0)
        assert usable == [good]
        with pytest.raises(AudioFault) as caught:
            next(windows(bad, sample_rate=RATE, window_seconds=0.5))
        assert caught.value.code == {"WA001": "OE004", "WA002": "OE005"}.get(code, code)
    else:
        assert usable == [good, row]
        frames = (20_000 - 44) // 2 if code == "DC001" else len(SOUND)
        assert row.frames == frames
        assert row.duration_s == frames / RATE
        assert_samples(bad, frames, is_ok=row.status == "ok")


def assert_samples(path, frames, *, is_ok):
    got = []
    try:
        for block in windows(path, sample_rate=RATE, window_seconds=0.5):
            got.extend(block.samples)
        assert is_ok
    except AudioFault as fault:
        assert not is_ok
        assert fault.code == "DC001"
    assert len(got) == frames // 4000
    expected = SOUND[: len(got) * 4000].astype(np.float32) / 32768
    assert np.array_equal(np.concatenate(got), expected)


def test_flac_whose_header_says_double(tmp_path):
    path = put(tmp_path / "a.flac", flac(tmp_path, 2 * len(SOUND)))
    assert soundfile.info(path).frames == 2 * len(SOUND)
    found = inspect(path)
    assert (found.frames, found.fault[0]) == (len(SOUND), "FL010")


def test_flac_of_unknown_length(tmp_path):
    found = inspect(put(tmp_path / "a.flac", flac(tmp_path, 0)))
    assert (found.frames, found.fault) == (len(SOUND), None)


def test_flac_stub(tmp_path):
    """Metadata blocks without a frame."""
    content = flac(tmp_path, 0)
    end, is_last = 4, False
    while not is_last:
        is_last = bool(content[end] & 0x80)
        end += 4 + int.from_bytes(content[end + 1 : end + 4], "big")
    with pytest.raises(AudioFault) as caught:
        inspect(put(tmp_path / "a.flac", content[:end]))
    assert caught.value.code == "FL001"


def test_an_empty_data_chunk_before_metadata_is_believed(tmp_path):
    content = wav(SOUND[:0], after=info("x" * 400) + chunk(b"guan", b"a:b\n"))
    with pytest.raises(AudioFault) as caught:
        inspect(put(tmp_path / "a.wav", content))
    assert caught.value.code == "FL001"


def test_missing_file(tmp_path):
    with pytest.raises(AudioFault) as caught:
        inspect(tmp_path / "none.wav")
    assert caught.value.code == "DC006"


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("R/song.wav", "OE001", "set aside"),
        ("R/REC_20210524.wav", "OE002", "set aside"),
        ("R/S_20210231_060000.wav", "OE003", "set aside"),
        ("R/2021 524T080000+0000_REC.wav", "FL008", "ok"),
    ],
)
def test_clock_faults(tmp_path, path, code, status):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, OTHER)
    put(root / path, WHOLE)
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    (line,) = lines(results)
    assert (line["path"], line["code"]) == (path, code)
    row = next(row for row in read_recordings(results.recordings) if row.recording == path)
    assert (row.status, row.code, row.frames) == (status, code, len(SOUND))
    assert (row.date is None) == (row.start_utc is None) == (status == "set aside")


def test_header_that_differs_from_the_name(tmp_path):
    root = tmp_path / "cards"
    comment = info(audiomoth(datetime(2021, 5, 24, 7, 0)))
    put(root / "R" / "20210524_060000.WAV", wav(SOUND, before=comment))
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    assert [(line["code"], line["action"]) for line in lines(results)] == [
        ("OA004", "used; the name is believed")
    ]
    (row,) = read_recordings(results.recordings)
    assert (row.status, row.start_utc.hour) == ("ok", 6)


def test_what_is_no_recording_is_named_and_left_alone(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / "Data" / GOOD, WHOLE)
    strays = {
        "R/Data/._S_20210524_060000.wav": "DC003",
        "R/Data/data": "FL011",
        "R/Data/S_20210524_070000.w4v": "DC004",
        "R/S_20210524_080000.WAC": "DC004",
        "R/holiday.jpg": "DC003",
        "R/new\nline.txt": "DC003",
        "R/S_20210524_\x07.wav": "DC010",
        "beside_20210524_060000.wav": "DC008",
        "notes.txt": "DC003",
    }
    companions = ["R/S_Summary.txt", "R/CONFIG.TXT", "R/.DS_Store", "R/.Trashes/x.wav", "R/A.set"]
    for path in [*strays, *companions]:
        put(root / path, b"x")
    state = {path: (root / path).stat().st_mtime_ns for path in strays}
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    found = {line["path"]: line for line in lines(results)}
    assert {path: line["code"] for path, line in found.items()} == {
        path.replace("\n", "\\n").replace("\x07", "\\x07"): code for path, code in strays.items()
    }
    assert found["R/holiday.jpg"]["action"] == "left alone"
    assert "Kaleidoscope" in found["R/Data/S_20210524_070000.w4v"]["reason"]
    assert [row.recording for row in read_recordings(results.recordings)] == [f"R/Data/{GOOD}"]
    assert state == {path: (root / path).stat().st_mtime_ns for path in strays}


def test_name_that_is_not_utf8(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, WHOLE)
    raw = os.fsencode(root / "R") + b"/S\xff_20210524_070000.wav"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    (line,) = lines(results)
    assert (line["path"], line["code"]) == ("R/S\\xff_20210524_070000.wav", "DC010")


def test_a_pipe_is_not_waited_for(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, WHOLE)
    os.mkfifo(root / "R" / "S_20210524_070000.wav")
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    assert [line["code"] for line in lines(results)] == ["DC006"]


def test_corrupt_empty_and_foreign_among_the_cards(tmp_path):
    """The issue's acceptance: three files named with the reason, no good window missing."""
    root = tmp_path / "cards"
    good = [
        put(root / "R" / f"S_20210524_{hour:02}0000.wav", wav(noise(2.0, seed=hour)))
        for hour in range(5)
    ]
    put(root / "R" / "S_20210524_053000.wav", np.random.default_rng(0).bytes(9000))
    put(root / "R" / "S_20210524_023000.wav", b"")
    put(root / "R" / "readme.doc", b"hello")
    results = results_of(tmp_path)
    summary = scan(settings_of(root), results)
    assert [(line["path"], line["code"]) for line in lines(results)] == [
        ("R/S_20210524_023000.wav", "WA001"),
        ("R/S_20210524_053000.wav", "WA004"),
        ("R/readme.doc", "DC003"),
    ]
    assert all(line["reason"] for line in lines(results))
    (day,) = days_of(results.recordings)
    usable = recordings_of_day(results.recordings, day)
    assert [root / row.recording for row in usable] == good
    count = sum(
        len(block.offsets)
        for row in usable
        for block in windows(root / row.recording, sample_rate=RATE, window_seconds=0.5)
    )
    assert count == 5 * 4
    assert (summary.recordings, summary.usable, summary.faults) == (7, 5, 3)


def test_table_stands_in_the_docs():
    page = Path(__file__).parents[2] / "docs" / "recordings.md"
    assert as_markdown() in page.read_text(encoding="utf-8")


def test_table_is_whole():
    for code, fault in FAULTS.items():
        assert code == fault.code
        assert fault.meaning
        assert fault.action
        assert fault.status in ("ok", "partial", "set aside", "left alone")
