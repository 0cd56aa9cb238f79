"""Index and scan: they agree, they are stable, and a second scan opens only what is new."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from dawnchorus.config import Audio
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings import cards, reading
from dawnchorus.recordings.inventory import (
    IndexedDay,
    Recording,
    ScanSummary,
    days_of,
    index_cards,
    recordings_of_day,
    scan,
)
from dawnchorus.recordings.table import SCHEMA, known_recordings, read_recordings, write_recordings
from dawnchorus.results import RecorderDay

from .cards import RATE, audiomoth, info, noise, put, results_of, settings_of, wav

TONE = noise(1.0)
TABLE = """deploymentID,cameraID,latitude,longitude,deploymentStart,deploymentEnd,locationName,habitat,timezone
d1,AM1,41.5,-88.1,2021-05-01,2021-05-24,Oak ridge,forest,America/Chicago
d2,AM1,41.7,-88.3,2021-05-25,,Marsh,marsh,America/Chicago
d3,SM1,41.9,-88.5,2021-05-01,2021-05-24,Creek,,America/Chicago
"""


def index(audio: Audio, known: Path | None = None) -> list[IndexedDay]:
    return index_cards(audio, known).days


def season(root: Path, names=None) -> None:
    """Three recorders of three makes; written in the given order. No two sound the same."""
    tone = (noise(1.0, seed=seed) for seed in count())
    files = {
        "AM1/20210525_043000.WAV": wav(
            next(tone), before=info(audiomoth(datetime(2021, 5, 25, 4, 30)))
        ),
        "AM1/20210525_053000.WAV": wav(
            next(tone), after=info(audiomoth(datetime(2021, 5, 25, 5, 30)))
        ),
        "AM1/DCIM/20210526_003000.WAV": wav(
            TONE, before=info(audiomoth(datetime(2021, 5, 26, 0, 30), "UTC+2"))
        ),
        "AM1/undated.WAV": wav(next(tone), before=info(audiomoth(datetime(2021, 5, 27, 12, 0)))),
        "SM1/Data/SM1_20210524_235900.wav": wav(next(tone)),
        "SM1/Data/SM1_20210525_000000.wav": wav(next(tone)),
        "SM1/Data/SM1_20210524_060000.wav": b"",
        "SM1/Data/odd.wav": wav(next(tone)),
        "FL1/20210524T233000-0500_REC [41.1 -88.9].wav": wav(next(tone)),
    }
    for name in names or files:
        path = put(root / name, files[name])
        os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def audio(tmp_path) -> Audio:
    season(tmp_path / "cards")
    table = put(tmp_path / "deployments.csv", TABLE.encode())
    return Audio(root=tmp_path / "cards", deployments=table, timezone="America/Chicago")


EXPECTED = {
    RecorderDay("AM1", "2021-05-24"): (1, (41.5, -88.1)),
    RecorderDay("AM1", "2021-05-25"): (1, (41.7, -88.3)),
    RecorderDay("AM1", "2021-05-26"): (1, (41.7, -88.3)),
    RecorderDay("AM1", "2021-05-27"): (1, (41.7, -88.3)),
    RecorderDay("FL1", "2021-05-24"): (1, (41.1, -88.9)),
    RecorderDay("SM1", "2021-05-24"): (2, (41.9, -88.5)),
    RecorderDay("SM1", "2021-05-25"): (1, None),
}


def test_index(audio):
    found = index(audio)
    assert {one.day: (one.recordings, one.place) for one in found} == EXPECTED
    assert [one.day for one in found] == sorted(EXPECTED)
    assert len({one.fingerprint for one in found}) == len(found)


def test_index_and_scan_agree(audio, tmp_path):
    results = results_of(tmp_path)
    summary = scan(settings_of(**dict(audio)), results)
    assert days_of(results.recordings) == [one.day for one in index(audio)]
    rows = read_recordings(results.recordings)
    for one in index(audio):
        assert sum(row.day == one.day for row in rows) == one.recordings
    assert summary == ScanSummary(
        recordings=9,
        usable=7,
        hours=pytest.approx(7 / 3600),
        recorders=3,
        recorder_days=7,
        faults=6,
        opened=9,
        pending=0,
    )


def test_rows(audio, tmp_path):
    results = results_of(tmp_path)
    scan(settings_of(**dict(audio)), results)
    assert pl.read_parquet_schema(results.recordings) == SCHEMA
    rows = {row.recording: row for row in read_recordings(results.recordings)}
    row = rows["AM1/DCIM/20210526_003000.WAV"]
    assert row == Recording(
        recording="AM1/DCIM/20210526_003000.WAV",
        recorder="AM1",
        date="2021-05-26",  # by its own clock, which ran at UTC+2
        start_utc=datetime(2021, 5, 25, 22, 30, tzinfo=UTC),
        utc_offset_minutes=120,
        duration_s=1.0,
        frames=RATE,
        promised_frames=RATE,
        sample_rate=RATE,
        channels=1,
        format="WAV PCM_16",
        convention="audiomoth",
        size_bytes=(audio.root / row.recording).stat().st_size,
        mtime_ns=1_700_000_000 * 10**9,
        deployment="d2",
        location="Marsh",
        latitude=41.7,
        longitude=-88.3,
        habitat="marsh",
        timezone=None,
        device="24F3190361CC4A5B",
        battery_v=4.6,
        temperature_c=17.7,
        clipped_share=0.0,
        constant_offset=pytest.approx(0.0, abs=0.01),
        quiet_share=0.0,
        look_xxh3=row.look_xxh3,
        header_clock=datetime(2021, 5, 26, 0, 30),
        header_offset_minutes=120,
        header_battery_v=4.6,
        header_temperature_c=17.7,
        is_noted=True,
    )
    assert rows["SM1/Data/SM1_20210524_235900.wav"].start_utc == datetime(
        2021, 5, 25, 4, 59, tzinfo=UTC
    )
    assert rows["SM1/Data/SM1_20210524_235900.wav"].timezone == "America/Chicago"
    assert rows["AM1/undated.WAV"].convention == "header"
    assert (rows["SM1/Data/odd.wav"].date, rows["SM1/Data/odd.wav"].status) == (None, "set aside")
    order = [(row.recorder, row.date or "9", row.start_utc) for row in rows.values()]
    assert order == sorted(order, key=lambda key: (key[0], key[1], str(key[2])))
    faults = results.faults.read_text().splitlines()
    assert faults[0] == "path\trecorder\tdate\tcode\taction\treason"
    assert [line.split("\t")[:4] for line in faults[1:]] == [
        ["AM1", "AM1", "", "DC013"],  # at UTC+2 in Chicago
        ["FL1", "FL1", "", "DC011"],  # a recorder that the deployments do not know
        ["FL1", "FL1", "", "FL004"],
        ["SM1", "SM1", "2021-05-25", "DC011"],  # a day that they leave out
        ["SM1/Data/SM1_20210524_060000.wav", "SM1", "2021-05-24", "WA001"],
        ["SM1/Data/odd.wav", "SM1", "", "OE001"],
    ]


def test_recordings_of_day_are_usable_and_in_order(audio, tmp_path):
    results = results_of(tmp_path)
    scan(settings_of(**dict(audio)), results)
    day = RecorderDay("SM1", "2021-05-24")
    assert [row.recording for row in recordings_of_day(results.recordings, day)] == [
        "SM1/Data/SM1_20210524_235900.wav"
    ]
    assert recordings_of_day(results.recordings, RecorderDay("SM1", "2021-05-23")) == []
    with pytest.raises(DawnChorusError, match="dawnchorus scan"):
        recordings_of_day(tmp_path / "none.parquet", day)
    with pytest.raises(DawnChorusError, match="not a table of recordings"):
        days_of(put(tmp_path / "bad.parquet", b"nonsense"))


def output(results):
    return [path.read_bytes() for path in (results.recordings, results.faults, results.calendar)]


def test_order_on_disk_and_folders_times_do_not_matter(audio, tmp_path, monkeypatch):
    results = results_of(tmp_path)
    scan(settings_of(**dict(audio)), results)
    first, days = output(results), index(audio)
    for folder in (audio.root, audio.root / "AM1", audio.root / "SM1" / "Data"):
        os.utime(folder, (1, 1))
    plain = os.scandir

    def shuffled(path):
        found = list(plain(path))
        random.Random(len(found)).shuffle(found)

        class Listing(list):
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        return Listing(found[::-1])

    monkeypatch.setattr(cards.os, "scandir", shuffled)
    assert index(audio) == days
    again = results_of(tmp_path / "again")
    scan(settings_of(**dict(audio)), again)
    assert output(again) == first


def test_many_files_are_opened_by_processes_and_say_the_same(audio, tmp_path, monkeypatch):
    results = results_of(tmp_path)
    scan(settings_of(**dict(audio)), results)
    monkeypatch.setattr(reading, "MANY", 2)
    monkeypatch.setattr(reading, "BATCH", 2)
    again = results_of(tmp_path / "again")
    assert scan(settings_of(**dict(audio)), again).opened == 9
    assert output(again) == output(results)


def test_second_scan_opens_only_what_is_new(audio, tmp_path, monkeypatch):
    results = results_of(tmp_path)
    settings = settings_of(**dict(audio))
    scan(settings, results)
    first, days = output(results), index(audio)
    opened = []
    plain, plain_clock = reading.inspect, reading.read_riff
    monkeypatch.setattr(reading, "inspect", lambda path: opened.append(path.name) or plain(path))
    monkeypatch.setattr(
        reading, "read_riff", lambda path: opened.append(Path(path).name) or plain_clock(path)
    )
    scan(settings, results)
    assert opened == []
    assert output(results) == first
    assert index(audio, results.recordings) == days
    assert opened == []
    put(audio.root / "SM1" / "Data" / "SM1_20210524_060000.wav", wav(noise(1.0, seed=99)))
    opened.clear()
    scan(settings, results)
    assert "SM1_20210524_060000.wav" in opened
    fresh = results_of(tmp_path / "fresh")
    scan(settings, fresh)
    assert output(fresh) == output(results) != first


def test_a_broken_earlier_table_is_no_obstacle(audio, tmp_path):
    results = results_of(tmp_path)
    put(results.recordings, b"nonsense")
    assert known_recordings(results.recordings) == ({}, "")
    assert index(audio, results.recordings) == index(audio)
    scan(settings_of(**dict(audio)), results)
    assert len(read_recordings(results.recordings)) == 9


def changed(before, after):
    one, other = ({i.day: i.fingerprint for i in found} for found in (before, after))
    return {day for day in one.keys() | other.keys() if one.get(day) != other.get(day)}


def test_fingerprints_change_where_they_should(audio, tmp_path):
    before = index(audio)
    touched = audio.root / "SM1/Data/SM1_20210525_000000.wav"
    os.utime(touched, (1_600_000_000, 1_600_000_000))
    assert changed(before, index(audio)) == {RecorderDay("SM1", "2021-05-25")}
    by_size = audio.model_copy(update={"fingerprint": "size"})
    sizes = index(by_size)
    os.utime(touched, (1_500_000_000, 1_500_000_000))
    assert index(by_size) == sizes
    put(audio.root / "FL1" / "20210524T120000-0500_REC.wav", wav(TONE))
    assert changed(sizes, index(by_size)) == {RecorderDay("FL1", "2021-05-24")}
    moved = put(tmp_path / "moved.csv", TABLE.replace("Marsh", "Fen").encode())
    after = index(by_size.model_copy(update={"deployments": moved}))
    assert {day.recorder for day in changed(index(by_size), after)} == {"AM1"}
    assert RecorderDay("AM1", "2021-05-24") not in changed(index(by_size), after)


def test_recordings_still_being_copied_wait(audio, tmp_path):
    put(audio.root / "SM1" / "Data" / "SM1_20210530_000000.wav", wav(TONE))
    waiting = audio.model_copy(update={"min_age_hours": 2.0})
    assert [one.day for one in index(waiting)] == sorted(EXPECTED)
    assert len(index(audio)) == len(EXPECTED) + 1
    # An AudioMoth's name alone does not tell the local date, and a file that is still written is not opened.
    late = put(audio.root / "AM1" / "20210530_000000.WAV", wav(TONE))
    found = index_cards(waiting)
    assert found.pending == {RecorderDay("SM1", "2021-05-30"): 1, RecorderDay("AM1", ""): 1}
    assert index_cards(audio.model_copy(update={"min_age_hours": 0.0})).pending == {}
    late.unlink()
    sizes = {one.day: one.size_bytes for one in index(audio)}
    assert sizes[RecorderDay("SM1", "2021-05-30")] == len(wav(TONE))
    results = results_of(tmp_path)
    assert scan(settings_of(**dict(waiting)), results).pending == 1
    assert "SM1_20210530_000000.wav\tSM1\t\tDC009" in results.faults.read_text()
    assert len(read_recordings(results.recordings)) == 9


def test_nothing_found_is_said_with_what_was_looked_for(tmp_path):
    with pytest.raises(DawnChorusError, match=r"audio\.root"):
        index(Audio(root=tmp_path / "none"))
    put(tmp_path / "cards" / "R" / "notes.txt", b"x")
    with pytest.raises(DawnChorusError, match=r"no recordings found.*\.wav.*R/notes\.txt"):
        index(Audio(root=tmp_path / "cards"))
    put(tmp_path / "cards" / "R" / "song.wav", wav(TONE))
    with pytest.raises(DawnChorusError, match=r"none with a date.*audio\.pattern"):
        index(Audio(root=tmp_path / "cards"))


def test_links_are_followed_but_not_round(tmp_path):
    far = tmp_path / "mount"
    put(far / "Data" / "SM1_20210524_060000.wav", wav(TONE))
    root = tmp_path / "cards"
    root.mkdir()
    (root / "SM1").symlink_to(far)
    (far / "Data" / "up").symlink_to(root)
    itself = far / "Data" / "itself.wav"
    itself.symlink_to(itself)
    (one,) = index(Audio(root=root))
    assert (one.day, one.recordings) == (RecorderDay("SM1", "2021-05-24"), 1)


def test_cards_are_not_written_to(audio, tmp_path):
    def state():
        return sorted(
            (str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in audio.root.rglob("*")
        )

    before = state()
    scan(settings_of(**dict(audio)), results_of(tmp_path))
    index(audio)
    assert state() == before


def test_table_there_and_back_whatever_the_order(tmp_path):
    rows = [
        Recording(
            f"R{n % 3}/x{n}.wav",
            f"R{n % 3}",
            None if n == 5 else f"2021-05-{n % 7 + 1:02}",
            None if n == 5 else datetime(2021, 5, n % 7 + 1, n % 24, tzinfo=UTC),
            None if n == 5 else -300,
            n / 7,
            n,
            n,
            44100,
            1,
            "WAV PCM_16",
            "song-meter",
            n,
            n,
        )
        for n in range(100)
    ]
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    write_recordings(one, rows)
    write_recordings(other, random.Random(1).sample(rows, len(rows)))
    assert one.read_bytes() == other.read_bytes()
    assert sorted(read_recordings(one), key=lambda row: row.frames) == rows


class Cells(HTMLParser):
    """Titles, classes and open tags of a page."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.links = [], {}, []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td" and "title" in found:
            self.cells[found["title"].split(":")[0].split(";")[0]] = found
        self.links += [found[key] for key in ("href", "src") if key in found]
        assert tag != "script"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_calendar(audio, tmp_path):
    put(audio.root / "SM1" / "Data" / "SM1_20210527_000000.wav", wav(TONE))
    put(audio.root / "<b>&" / "SM1_20210527_000000.wav", wav(TONE))
    results = results_of(tmp_path)
    scan(settings_of(**dict(audio)), results)
    page = results.calendar.read_text()
    parser = Cells()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert parser.links == []
    assert "url(" not in page
    assert "@import" not in page
    assert len(parser.cells) == 4 * 4  # recorders x days
    two = parser.cells["SM1, Tuesday 2021-05-25"]
    assert two["title"] == (
        "SM1, Tuesday 2021-05-25: 0.00 h in 1 recording, start 00:00; "
        "faults: 1 × no deployment covers it"
    )
    assert set(two["class"].split()) == {"day", "deep", "noted"}
    gap = parser.cells["SM1, Wednesday 2021-05-26"]
    assert gap["class"].split() == ["day", "gap"]
    before = parser.cells["<b>&, Monday 2021-05-24"]
    assert before["class"].split() == ["day"]
    assert "&lt;b&gt;&amp;" in page
    assert "May 2021" in page


def test_calendar_of_a_clock_that_was_never_set(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / "S_19700101_000000.wav", wav(TONE))
    put(root / "R" / "S_20210524_000000.wav", wav(TONE))
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    page = results.calendar.read_text()
    assert "1 day long before the rest" in page
    assert len(page) < 20_000


# --- Real recordings ---------------------------------------------------------------------------


@pytest.mark.real_audio
def test_real_cards(tmp_path):
    if "DAWNCHORUS_AUDIO" not in os.environ:
        pytest.skip("set DAWNCHORUS_AUDIO to the folder of real recordings")
    real = Path(os.environ["DAWNCHORUS_AUDIO"])
    root = tmp_path / "cards"
    root.mkdir()
    for folder in ("headers", "broken", "formats", "recorder_day_S4A03895"):
        (root / folder.removeprefix("recorder_day_")).symlink_to(real / folder)
    results = results_of(tmp_path)
    settings = settings_of(root, timezone="America/Chicago")
    scan(settings, results)
    rows = {row.recording: row for row in read_recordings(results.recordings)}
    assert days_of(results.recordings) == [one.day for one in index(settings.audio)]

    day = [row for row in rows.values() if row.recorder == "S4A03895"]
    assert len(day) == 24
    assert [row.start_utc.hour for row in day] == [*range(5, 24), *range(5)]
    assert {row.date for row in day} == {"2019-05-22"}

    dated = {
        "headers/1min.wav": ("2018-05-04T09:32:00+00:00", "header"),
        "headers/metadata.wav": ("2020-04-04T10:25:00+00:00", "header"),
        "headers/audiomoth_gps.wav": ("2024-05-28T10:00:00+00:00", "header"),
        "headers/20210502_040000.WAV": ("2021-05-02T04:00:00+00:00", "audiomoth"),
        "headers/242A2604603691DD_20250503_031300.WAV": ("2025-05-03T03:13:00+00:00", "audiomoth"),
    }
    told = {
        path: (row.start_utc.isoformat(), row.convention)
        for path, row in rows.items()
        if row.date is not None and row.recorder != "S4A03895"
    }
    assert told == dated

    verdicts = {
        path: (row.status, row.code, row.frames, row.promised_frames) for path, row in rows.items()
    }
    expected = {path: (status, code, frames, promised or frames)
                for path, (status, code, frames, promised) in REAL.items()}  # fmt: skip
    song_meter = ("ok", "DC021", 220_000, 220_000)  # a constant offset of 3 % of full scale
    assert verdicts == expected | {row.recording: song_meter for row in day}

    faults = [line.split("\t") for line in results.faults.read_text().splitlines()[1:]]
    codes = {(line[0], line[3]) for line in faults}
    assert ("broken/test-44100Hz-le-1ch-4bytes-early-eof.wav", "DC001") in codes
    beside = {"DC001", "DC020", "DC021"}  # told besides what set the file aside
    assert {(path, code) for path, code in codes if code not in beside} == {
        (path, row.code) for path, row in rows.items() if row.code not in (None, "DC021")
    }


REAL = {
    # Real truncated headers, other makers' and AudioMoths' of four firmwares.
    "headers/1min.wav": ("ok", None, 1_920_000, None),
    "headers/20210502_040000.WAV": ("ok", None, 47_104, None),
    "headers/242A2604603691DD_20250503_031300.WAV": ("ok", None, 1_440_000, None),
    "headers/audiomoth_gps.wav": ("ok", None, 95_999, None),
    "headers/metadata.wav": ("ok", None, 479_022, None),
    "headers/birds_10s.wav": ("set aside", "OE001", 324_263, None),
    "headers/non_am.wav": ("set aside", "OE001", 16_000, None),
    "headers/empty_2c.wav": ("set aside", "FL001", 0, None),
    "headers/stereo.wav": ("set aside", "DC014", 5, None),
    "broken/lfs_pointer_0_20160809_063108_Dawn__1.4647_116.9136_.wav": (
        "set aside",
        "DC002",
        0,
        None,
    ),
    "broken/lfs_pointer_1_20220817_060000_REC.wav": ("set aside", "DC002", 0, None),
    "broken/test-44100Hz-2ch-32bit-float-le.wav": ("set aside", "OE001", 441, None),
    "broken/test-44100Hz-le-1ch-4bytes-early-eof.wav": ("set aside", "OE001", 236, 4410),
    "broken/test-44100Hz-le-1ch-4bytes-rf64.wav": ("set aside", "OE001", 4410, None),
    "broken/test-8000Hz-le-2ch-1byteu.wav": ("set aside", "OE001", 800, None),
    "broken/test-8000Hz-le-3ch-5S-24bit-inconsistent.wav": ("set aside", "OE001", 5, None),
    "formats/flac_pcm_16.flac": ("set aside", "OE001", 16_000, None),
    "formats/wav_float.wav": ("set aside", "OE001", 16_000, None),
    "formats/wav_pcm_16.wav": ("set aside", "OE001", 16_000, None),
    "formats/wav_pcm_24.wav": ("set aside", "OE001", 16_000, None),
    "formats/wav_ulaw.wav": ("set aside", "OE001", 16_000, None),
}
"""Verdict, code, frames, and frames promised where they are more."""


@pytest.mark.real_audio
def test_real_content_under_good_names(tmp_path):
    """The same files with a time in their names: nothing but their content decides."""
    if "DAWNCHORUS_AUDIO" not in os.environ:
        pytest.skip("set DAWNCHORUS_AUDIO to the folder of real recordings")
    real = Path(os.environ["DAWNCHORUS_AUDIO"])
    root = tmp_path / "cards"
    names = {}
    for number, path in enumerate(sorted(REAL)):
        link = root / "R" / f"R_20210524_{number:02}0000{Path(path).suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(real / path)
        names[f"R/{link.name}"] = path
    results = results_of(tmp_path)
    scan(settings_of(root), results)
    found = {
        names[row.recording]: (row.status, row.code) for row in read_recordings(results.recordings)
    }
    offset = ("ok", "DC021")
    early = "broken/test-44100Hz-le-1ch-4bytes-early-eof.wav"
    aside = {
        path: told[:2] for path, told in REAL.items() if told[1] in ("FL001", "DC014", "DC002")
    }
    headers = dict.fromkeys(rows_with_clock(real), ("ok", "DC012"))
    clipped = dict.fromkeys(
        ["headers/non_am.wav", "broken/test-8000Hz-le-3ch-5S-24bit-inconsistent.wav"],
        ("ok", "DC020"),
    )
    expected = dict.fromkeys(REAL, ("ok", None))
    expected |= {path: offset for path in REAL if path.startswith("formats/")}
    assert found == expected | aside | headers | clipped | {early: ("partial", "DC001")}


def rows_with_clock(real: Path) -> list[str]:
    """Recordings whose header tells another time than a made-up name."""
    return [path for path in REAL if reading.read_metadata(real / path).clock is not None]
