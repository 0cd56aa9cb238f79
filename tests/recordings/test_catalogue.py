"""Every code of the table: the fault beside a good neighbour, its treatment, and the neighbour untouched."""

from __future__ import annotations

import csv
import os
import random
import shutil
import struct
import time
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dawnchorus.recordings import cards, inventory, neighbours, reading
from dawnchorus.recordings.audio import AudioFault, windows
from dawnchorus.recordings.faults import FAULTS
from dawnchorus.recordings.inventory import index_cards, scan
from dawnchorus.recordings.table import read_recordings

from .cards import RATE, audiomoth, chunk, info, noise, put, results_of, settings_of, wav

MAY = datetime(2021, 5, 24)
GOOD = "S_20210524_060000.wav"
BAD = "S_20210524_070000.wav"
MOTH = "20210524_120000.WAV"  # 07:00 in Chicago
OLD = 1_700_000_000
WINDOW = 0.25
NEIGHBOUR = noise(2.0, seed=1000)
SOUND = noise(2.0, seed=1001)
LONG = noise(6.0, seed=1002)


@dataclass
class Case:
    """A fault, made by hand."""

    files: dict[str, bytes | str]
    """By name below the recorder's folder (below the root with a leading ``/``); a text is a link's target."""
    told: str
    """Particulars in the reason."""
    path: str = BAD
    """Of the line; empty: the recorder's folder."""
    date: str = "2021-05-24"
    sound: np.ndarray | None = None
    """What is handed out of the file at ``path``; None: nothing."""
    has_row: bool = True
    row_code: bool = True
    """The row has the code too, not only the line."""
    is_young: bool = False
    beside: str = ""
    """Recorder of the neighbour, if not the same."""


def guano(stamp: str) -> bytes:
    return chunk(b"guan", f"GUANO|Version: 1.0\nTimestamp: {stamp}\n".encode())


def flac(samples: np.ndarray, total: int | None = None) -> bytearray:
    """A FLAC file; ``total`` is how many frames its header says it has."""
    import io

    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format="FLAC", subtype="PCM_16")
    content = bytearray(out.getvalue())
    if total is not None:
        first = int.from_bytes(content[21:26], "big") >> 36 << 36
        content[21:26] = (first + total).to_bytes(5, "big")
    return content


def flac_stub() -> bytes:
    """As Frontier Labs' recorders leave it: 153 bytes, a header and a comment without a frame."""
    head = bytearray(flac(SOUND[:100])[:42])
    head[4] &= 0x7F
    head[21:26] = (int.from_bytes(head[21:26], "big") >> 36 << 36).to_bytes(5, "big")
    comment = struct.pack("<I", 99) + b"F" * 99 + struct.pack("<I", 0)
    return bytes(head) + bytes([0x84]) + len(comment).to_bytes(3, "big") + comment


def damaged_flac() -> bytes:
    content = flac(noise(6.0, seed=7))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def moth(start: datetime, volts: float = 4.6, ending: str = "") -> bytes:
    """An AudioMoth's comment."""
    return info(audiomoth(start).replace("4.6V", f"{volts}V") + ending)


def at(hour: float, day: int = 24) -> tuple[str, bytes]:
    """An AudioMoth's name and comment at an hour of UTC."""
    start = datetime(2021, 5, day) + timedelta(hours=hour)
    return f"{start:%Y%m%d_%H%M%S}.WAV", moth(start)


def clicking(seconds: float = 10.0, every: float = 0.25, seed: int = 5) -> np.ndarray:
    """Noise with a click at even intervals, as a memory card makes it."""
    sound = np.random.default_rng(seed).normal(0, 200, round(seconds * RATE))
    starts = np.arange(0.05, seconds, every)
    sound[np.rint(starts * RATE).astype(int)] += 12_000
    return sound.astype(np.int16)


def schedule(days: int, hours: tuple[int, ...], leave_out: dict[int, tuple[int, ...]]) -> dict:
    """Recordings at some hours of each day from 1 May on, less those left out."""
    return {
        f"S_202105{day:02}_{hour:02}0000.wav": wav(noise(1.0, seed=100 * day + hour) // 10)
        for day in range(1, days + 1)
        for hour in hours
        if hour not in leave_out.get(day, ())
    }


def half_quiet() -> np.ndarray:
    quiet = LONG.copy()
    quiet[len(quiet) // 2 :] = np.random.default_rng(2).integers(-1, 2, len(quiet) // 2)
    return quiet


def clipped() -> np.ndarray:
    loud = LONG.copy()
    loud[::200], loud[100::200] = 32767, -32768
    return loud


UNIX = int(datetime(2021, 5, 24, 12, tzinfo=UTC).timestamp())
LATER = {f"{name}": wav(noise(2.0, seed=50 + n), before=mark) for n, (name, mark) in
         enumerate((at(13), at(14), at(15)))}  # fmt: skip
SPACE = bytes(20_000)

CASES: dict[str, Case] = {
    "OE004": Case({MOTH: b""}, "empty file", MOTH),
    "WA001": Case({BAD: b""}, "empty file (0 bytes) of a Song Meter"),
    "OE005": Case({MOTH: bytes(50_000)}, "50,000 bytes", MOTH),
    "WA002": Case({BAD: bytes(50_000)}, "of a Song Meter: 50,000 bytes"),
    "FL001": Case(
        {"20210524T070000-0500_REC.flac": flac_stub()},
        "153 bytes",
        "20210524T070000-0500_REC.flac",
    ),
    "WA004": Case({BAD: np.random.default_rng(1).bytes(50_000)}, "50,000 bytes"),
    "DC002": Case(
        {BAD: b"version https://git-lfs.github.com/spec/v1\noid sha256:35\nsize 157\n"}, "git lfs"
    ),
    "DC004": Case(
        {"S_20210524_070000.wac": b"WAC1"},
        "Kaleidoscope",
        "S_20210524_070000.wac",
        date="",
        has_row=False,
    ),
    "DC005": Case({BAD: b"This is a text.\n" * 400}, "ormat"),
    "DC006": Case({BAD: "nowhere.wav"}, "No such file", date="", has_row=False),
    "DC014": Case({BAD: wav(np.full(48_000, 1024))}, "48,000 times 0.03125"),
    "DC015": Case({BAD: wav(noise(1.0, seed=3, channels=2))}, "2, it has 2"),
    "DC016": Case(
        {BAD: wav(SOUND), "copy/S_20210524_080000.wav": wav(SOUND)},
        "DC016/S_20210524_070000.wav",
        "copy/S_20210524_080000.wav",
    ),
    "FL003": Case(
        {BAD: wav(SOUND[:12_345], data_size=44) + SPACE},
        "12,345 frames found, then 20,000 bytes of zeros",
        sound=SOUND[:12_345],
    ),
    "DC001": Case(
        {BAD: wav(SOUND)[:20_000]}, "6,022 of 16,000 frames are missing", sound=SOUND[:9978]
    ),
    "FL005": Case({BAD: wav(SOUND, data_size=2 * len(SOUND) + 44)}, "44 bytes", sound=SOUND),
    "FL010": Case(
        {"S_20210524_070000.flac": bytes(flac(SOUND, 2 * len(SOUND)))},
        "16,000 frames found",
        "S_20210524_070000.flac",
        sound=SOUND,
    ),
    "FL012": Case({BAD: wav(SOUND, data_size=0)}, "16,000 frames found", sound=SOUND),
    "DC018": Case(
        {BAD: wav(SOUND, data_size=1000)}, "16,000 frames found, 500 promised", sound=SOUND
    ),
    "OE001": Case({"song.wav": wav(SOUND)}, "audio.pattern", "song.wav", date="", sound=SOUND),
    "OE002": Case(
        {"REC_20210524.wav": wav(SOUND)}, "convention", "REC_20210524.wav", "", sound=SOUND
    ),
    "OE003": Case(
        {"S_20210231_060000.wav": wav(SOUND)},
        "20210231 060000",
        "S_20210231_060000.wav",
        date="",
        sound=SOUND,
    ),
    "FL008": Case(
        {"2021 524T 70000-0500_REC.wav": wav(SOUND)},
        "space",
        "2021 524T 70000-0500_REC.wav",
        sound=SOUND,
    ),
    "FL004": Case(
        {"20210524T070000-0500_REC [41.5 -88.25].wav": wav(SOUND)},
        "1 recording, such as FL004/20210524T070000-0500_REC [41.5 -88.25].wav",
        "",
        date="",
        row_code=False,
    ),
    "OA003": Case(
        {f"{UNIX:08X}.WAV": wav(SOUND)}, "such as OA003/60AB9540.WAV", "", "", row_code=False
    ),
    "OA004": Case(
        {MOTH: wav(SOUND, before=moth(MAY.replace(hour=13)))}, "differs", MOTH, sound=SOUND
    ),
    "DC012": Case(
        {BAD: wav(SOUND, after=guano("2021-05-24T08:00:00-05:00"))}, "differs", sound=SOUND
    ),
    "DC013": Case(
        {BAD: wav(SOUND, after=guano("2021-05-24T07:00:00-06:00"))},
        "UTC-06:00, America/Chicago has UTC-05:00; 1 recording, such as DC013/S_20210524_070000.wav",
        "",
        date="",
        row_code=False,
    ),
    "DC003": Case({"holiday.jpg": b"JFIF"}, "suffix .jpg", "holiday.jpg", "", has_row=False),
    "FL011": Case({"data": b"RIFF"}, "name and suffix", "data", "", has_row=False),
    "DC008": Case(
        {"/beside_20210524_070000.wav": wav(SOUND)},
        "folder",
        "/beside_20210524_070000.wav",
        date="",
        has_row=False,
    ),
    "DC009": Case({BAD: wav(SOUND)}, "recently", date="", has_row=False, is_young=True),
    "DC010": Case(
        {"S_20210524_\x07.wav": wav(SOUND)}, "rename", "S_20210524_\\x07.wav", "", has_row=False
    ),
    "DC011": Case(
        {BAD: wav(SOUND)}, "not in the table; 1 recording", "", "", row_code=False, beside="N"
    ),
    "WA003": Case(
        {BAD: wav(LONG), "S_20210524_070004.wav": wav(noise(1.0, seed=4))},
        "by 2.0 s, WA003/S_20210524_070004.wav",
        row_code=False,
        sound=LONG,
    ),
    "DC017": Case(
        {BAD: wav(SOUND), "S_20210525_070000.wav": wav(SOUND)},
        "DC017/S_20210524_070000.wav",
        "S_20210525_070000.wav",
        date="2021-05-25",
        row_code=False,
        sound=SOUND,
    ),
    "DC019": Case(
        schedule(9, (5, 6, 20), {5: (6,)}),
        "0.00 of usually 0.00 hours; missing 06:00",
        "",
        date="2021-05-05",
        row_code=False,
        beside="N",
    ),
    "OA002": Case(
        {MOTH: wav(SOUND[:4000], before=moth(MAY.replace(hour=12), 3.2)), **LATER},
        "0.5 of usually 2.0 s at 3.2 V",
        MOTH,
        row_code=False,
        sound=SOUND[:4000],
    ),
    "OA001": Case(
        {MOTH: wav(clicking(), before=moth(MAY.replace(hour=12)))},
        "4 per second",
        MOTH,
        row_code=False,
        sound=clicking(),
    ),
    "FL002": Case({BAD: wav(half_quiet())}, "4 of 8 stretches", sound=half_quiet()),
    "DC020": Case({BAD: wav(clipped())}, "1 % of 32,768 samples", sound=clipped()),
    "DC021": Case(
        {BAD: wav(LONG + np.int16(3277))}, "of full scale, the mean of 32,768 samples looked at", sound=LONG + np.int16(3277)
    ),
}  # fmt: skip

DEPLOYED = "deploymentID,cameraID,latitude,longitude,deploymentStart,deploymentEnd,timezone\n"
OF_DECODING = {"DC007"}
"""A file that breaks off while being decoded looks sound to the scan: its windows tell."""


def test_every_code_is_tested():
    assert CASES.keys() | OF_DECODING == FAULTS.keys()


def make(root: Path, code: str, *, neighbour: bool = True) -> None:
    case = CASES[code]
    for name, content in case.files.items():
        path = root / name[1:] if name.startswith("/") else root / code / name
        if isinstance(content, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(content)
        else:
            put(path, content)
            if not case.is_young:
                os.utime(path, (OLD, OLD))
    if neighbour:
        path = put(root / (case.beside or code) / GOOD, wav(NEIGHBOUR))
        os.utime(path, (OLD, OLD))


def settings(tmp_path: Path, root: Path):
    """One for all: recorders that are deployed, a channel that stereo lacks, a minimum age."""
    table = "".join(
        f"d{n},{code},41.5,-88.1,2021-05-01,2021-06-30,America/Chicago\n"
        for n, code in enumerate([*sorted(CASES), "N"])
        if code != "DC011"
    )
    return settings_of(
        root,
        timezone="America/Chicago",
        deployments=put(tmp_path / "deployments.csv", (DEPLOYED + table).encode()),
        channel=2,
        min_age_hours=1.0,
    )


def lines(results):
    with results.faults.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


def read(path: Path) -> tuple[np.ndarray, str | None]:
    """All windows of a recording, and the code of the fault at the end."""
    got: list[np.ndarray] = []
    try:
        for block in windows(path, sample_rate=RATE, window_seconds=WINDOW):
            got.extend(block.samples)
    except AudioFault as fault:
        return np.array(got), fault.code
    return np.array(got), None


def cut(sound: np.ndarray) -> np.ndarray:
    length = round(WINDOW * RATE)
    count = len(sound) // length
    return (sound[: count * length].astype(np.float32) / 32768).reshape(count, length)


@pytest.mark.parametrize("code", list(CASES))
def test_a_fault_is_named_and_its_neighbour_untouched(tmp_path, code):
    case, fault = CASES[code], FAULTS[code]
    root, alone = tmp_path / "cards", tmp_path / "alone"
    make(root, code)
    recorder = case.beside or code
    neighbour = put(alone / recorder / GOOD, wav(NEIGHBOUR))
    os.utime(neighbour, (OLD, OLD))
    results, of_neighbour = results_of(tmp_path), results_of(tmp_path / "of_neighbour")
    scan(settings(tmp_path, root), results)
    scan(settings(tmp_path, alone), of_neighbour)

    (line,) = lines(results)
    path = case.path[1:] if case.path.startswith("/") else f"{code}/{case.path}".rstrip("/")
    recorder_of_line = "" if case.path.startswith("/") else code
    assert (line["path"], line["recorder"], line["date"]) == (path, recorder_of_line, case.date)
    assert (line["code"], line["action"]) == (code, fault.action)
    assert line["reason"].startswith(fault.meaning)
    assert case.told in line["reason"]

    rows = {row.recording: row for row in read_recordings(results.recordings)}
    (untouched,) = read_recordings(of_neighbour.recordings)
    assert rows[f"{recorder}/{GOOD}"] == untouched
    assert (untouched.status, untouched.code, untouched.frames) == ("ok", None, len(NEIGHBOUR))
    got, ended = read(root / recorder / GOOD)
    assert ended is None
    assert np.array_equal(got, cut(NEIGHBOUR))

    assert (path in rows) == (case.has_row and bool(case.path))
    if path in rows:
        row = rows[path]
        if case.row_code:
            assert (row.status, row.code, row.reason) == (fault.status, code, line["reason"])
        else:
            assert (row.status, row.code, row.reason) == ("ok", None, None)
        assert row.is_usable == (row.status in ("ok", "partial"))
        assert (row.date or "") == case.date
        if case.sound is not None:
            assert row.frames == len(case.sound)
            assert row.duration_s == len(case.sound) / RATE
            lost = int(case.told.split(" of ")[0].replace(",", "")) if code == "DC001" else 0
            assert row.promised_frames == row.frames + lost
            got, ended = read(root / path)
            assert np.array_equal(got, cut(case.sound))
            assert ended == (code if row.status == "partial" else None)
    assert {one.status for one in rows.values() if one.recording != path} <= {"ok"}


def test_all_codes_have_a_treatment_that_says_what_becomes_of_the_file():
    for code, fault in FAULTS.items():
        case = CASES.get(code)
        if fault.status == "set aside":
            assert "used" not in fault.action or "other one" in fault.action
        if fault.status == "left alone":
            assert case is not None and not case.has_row
        if fault.status == "partial":
            assert "good samples" in fault.action


# --- All of them on one card -----------------------------------------------------------------------


def output(results):
    return [path.read_bytes() for path in (results.recordings, results.faults, results.calendar)]


def all_on_one_card(root: Path) -> None:
    for code in CASES:
        make(root, code, neighbour=code != "DC008")
    put(root / "DC007" / BAD.replace(".wav", ".flac"), damaged_flac())


@pytest.fixture
def full_card(tmp_path):
    root = tmp_path / "cards"
    all_on_one_card(root)
    return root


def count_openings(monkeypatch) -> list[str]:
    """Names of all files that are opened for what is in them."""
    opened: list[str] = []

    def counted(plain):
        def called(path, *rest):
            opened.append(Path(path).name)
            return plain(path, *rest)

        return called

    for module, name in (
        (reading, "inspect"),
        (reading, "read_riff"),
        (reading, "look"),
        (inventory, "listen_for_clicks"),
        (neighbours, "_hash"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return opened


def test_a_second_scan_opens_nothing_and_says_the_same(tmp_path, full_card, monkeypatch):
    config, results = settings(tmp_path, full_card), results_of(tmp_path)
    scan(config, results)
    found = {line["code"] for line in lines(results)}
    assert found == set(CASES)
    first = output(results)
    days = index_cards(config.audio).days
    opened = count_openings(monkeypatch)
    again = scan(config, results)
    assert (opened, again.opened) == ([], 0)
    assert output(results) == first
    assert index_cards(config.audio, results.recordings).days == days
    assert opened == []


def test_the_order_on_disk_does_not_show(tmp_path, full_card, monkeypatch):
    config, results = settings(tmp_path, full_card), results_of(tmp_path)
    scan(config, results)
    plain = os.scandir

    for seed in (1, 2, 3):

        def shuffled(path, seed=seed):
            class Listing(list):
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    return None

            with plain(path) as listing:
                found = sorted(listing, key=lambda item: item.name)
            random.Random(seed).shuffle(found)
            return Listing(found)

        with monkeypatch.context() as patch:
            patch.setattr(cards.os, "scandir", shuffled)
            elsewhere = results_of(tmp_path / str(seed))
            scan(config, elsewhere)
        assert output(elsewhere) == output(results)


def test_what_was_known_before_does_not_show(tmp_path, full_card):
    """Recorders come one after the other, some go again: as if all had been there from the start."""
    config = settings(tmp_path, full_card)
    results, fresh = results_of(tmp_path), results_of(tmp_path / "fresh")
    waiting = tmp_path / "waiting"
    waiting.mkdir()
    folders = sorted(path for path in full_card.iterdir() if path.is_dir())
    for folder in folders[3:]:
        folder.rename(waiting / folder.name)
    scan(config, results)
    for folder in folders[3:]:
        (waiting / folder.name).rename(folder)
        if folder.name in ("DC017", "FL003", "OA001"):
            scan(config, results)
    scan(config, results)
    scan(config, fresh)
    assert output(results) == output(fresh)
    for code in ("DC016", "DC017", "OA001", "DC019"):
        shutil.rmtree(full_card / code)
    scan(config, results)
    without = results_of(tmp_path / "without")
    scan(config, without)
    assert output(results) == output(without) != output(fresh)


# --- Copies ----------------------------------------------------------------------------------------


def scanned(tmp_path, root, name="results", **audio):
    results = results_of(tmp_path / name)
    scan(settings_of(root, timezone="America/Chicago", **audio), results)
    rows = {row.recording: row for row in read_recordings(results.recordings)}
    return rows, [(line["path"], line["code"]) for line in lines(results)]


def test_of_copies_within_a_day_the_first_by_path_is_used(tmp_path):
    root = tmp_path / "cards"
    names = [f"R/{folder}S_20210524_0{hour}0000.wav" for folder, hour in
             (("b/", 5), ("a/", 7), ("", 6))]  # fmt: skip
    for name in names:
        put(root / name, wav(SOUND))
    rows, found = scanned(tmp_path, root)
    first, *others = sorted(names)
    assert found == [(name, "DC016") for name in others]
    assert [rows[name].status for name in (first, *others)] == ["ok", "set aside", "set aside"]
    assert [rows[name].duplicate_of for name in (first, *others)] == [None, first, first]
    # The first goes, and the next comes in.
    (root / first).unlink()
    rows, found = scanned(tmp_path, root)
    assert found == [(others[1], "DC016")]
    assert (rows[others[0]].status, rows[others[0]].code) == ("ok", None)
    (root / others[1]).unlink()
    rows, found = scanned(tmp_path, root)
    assert found == []
    assert rows == scanned(tmp_path, root, "fresh")[0]
    assert rows[others[0]].content_xxh3 is None


def test_copies_of_other_times_and_recorders_are_all_used(tmp_path):
    root = tmp_path / "cards"
    names = ["Q/S_20210524_060000.wav", "R/S_20210524_060000.wav", "R/S_20210601_060000.wav"]
    for name in names:
        put(root / name, wav(SOUND))
    rows, found = scanned(tmp_path, root)
    assert found == [(name, "DC017") for name in names[1:]]
    assert {row.status for row in rows.values()} == {"ok"}
    assert [rows[name].duplicate_of for name in names] == [None, names[0], names[0]]


def test_what_differs_only_where_nobody_looked_is_no_copy(tmp_path):
    root = tmp_path / "cards"
    other = LONG.copy()
    other[4500] += 1  # between the first two stretches
    put(root / "R" / GOOD, wav(LONG))
    put(root / "R" / BAD, wav(other))
    rows, found = scanned(tmp_path, root)
    assert found == []
    one, two = rows.values()
    assert one.look_xxh3 == two.look_xxh3
    assert one.content_xxh3 != two.content_xxh3
    assert one.duplicate_of is two.duplicate_of is None


def test_silent_and_broken_files_are_no_copies_of_each_other(tmp_path):
    root = tmp_path / "cards"
    for hour in (5, 6):
        put(root / "R" / f"S_20210524_{hour:02}0000.wav", bytes(9000))
        put(root / "R" / f"S_20210524_{hour:02}3000.wav", wav(np.zeros(8000)))
    _, found = scanned(tmp_path, root)
    assert sorted(code for _, code in found) == ["DC014", "DC014", "WA002", "WA002"]


# --- Content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, -300])
def test_silence_is_one_value_all_over(tmp_path, value):
    root = tmp_path / "cards"
    silent = np.full(60_000, value)
    put(root / "R" / GOOD, wav(silent))
    rows, found = scanned(tmp_path, root)
    assert [code for _, code in found] == ["DC014"]
    almost = silent.copy()
    almost[5000] += 1  # between the first two stretches
    put(root / "R" / GOOD, wav(almost))
    rows, found = scanned(tmp_path, root)
    (row,) = rows.values()
    assert (row.status, row.frames) == ("ok", 60_000)
    assert [code for _, code in found] == ["DC021"] * (value == -300)


def test_silence_of_one_channel_is_no_silence(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, wav(np.column_stack([SOUND, 0 * SOUND])))
    assert scanned(tmp_path, root)[1] == []
    put(root / "R" / GOOD, wav(np.tile(np.array([5, -7]), (9000, 1))))
    assert [code for _, code in scanned(tmp_path, root)[1]] == ["DC014"]


def test_space_without_a_sample_is_set_aside(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, wav(SOUND[:0], data_size=44) + bytes(100_000))
    rows, _ = scanned(tmp_path, root)
    (row,) = rows.values()
    assert (row.status, row.code, row.frames) == ("set aside", "FL003", 0)
    assert "100,000 bytes of zeros" in row.reason


def test_space_behind_samples_of_an_empty_data_chunk(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / GOOD, wav(SOUND, data_size=0) + SPACE)
    rows, _ = scanned(tmp_path, root)
    (row,) = rows.values()
    assert (row.status, row.code, row.frames) == ("partial", "FL003", len(SOUND))


def test_a_recording_beyond_4_gib_whose_size_wrapped(tmp_path):
    """All of it is read, without reading all of it (a sparse file: the disk holds a few blocks)."""
    root = tmp_path / "cards"
    frames = (2**32 + 2**20) // 2
    head = wav(LONG, data_size=2 * frames % 2**32)
    path = put(root / "R" / GOOD, head)
    with path.open("r+b") as handle:
        handle.seek(44 + 2 * (frames - len(LONG)))
        handle.write(LONG.tobytes())
    tracemalloc.start()
    began = time.process_time()
    rows, found = scanned(tmp_path, root)
    spent, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 5.0
    assert peak < 32e6
    (row,) = rows.values()
    # (The hole in the file is a silence in the sound.)
    assert [code for _, code in found] == ["DC018", "FL002"]
    assert (row.status, row.frames) == ("ok", frames)
    assert f"{frames:,} frames found" in row.reason
    stream = windows(path, sample_rate=RATE, window_seconds=1.0, block_windows=4)
    assert np.array_equal(next(stream).samples.reshape(-1), LONG[: 4 * RATE] / np.float32(32768))
    stream.close()
    from dawnchorus.recordings.samples import opened
    from dawnchorus.recordings.sound import inspect

    with opened(path, inspect(path), soundfile.SoundFile) as file:
        file.seek(frames - len(LONG))
        assert np.array_equal(file.read(dtype="int16"), LONG)


def test_a_file_that_breaks_while_it_is_decoded_is_told_by_its_windows(tmp_path):
    root = tmp_path / "cards"
    path = put(root / "R" / BAD.replace(".wav", ".flac"), damaged_flac())
    put(root / "R" / GOOD, wav(NEIGHBOUR))
    assert scanned(tmp_path, root)[1] == []
    got, ended = read(path)
    assert ended == "DC007"
    assert np.array_equal(got, cut(noise(6.0, seed=7))[: len(got)])
    assert len(got) == 10  # five of twelve FLAC blocks


@pytest.mark.parametrize(("channel", "is_there"), [(0, True), (1, True), (2, False), ("mix", True)])
def test_channels_that_are_there_and_not(tmp_path, channel, is_there):
    root = tmp_path / "cards"
    path = put(root / "R" / BAD, wav(noise(1.0, seed=3, channels=2)))
    put(root / "R" / GOOD, wav(NEIGHBOUR))  # of one channel: it serves for all
    rows, found = scanned(tmp_path, root, channel=channel)
    assert found == ([] if is_there else [(f"R/{BAD}", "DC015")])
    assert rows[f"R/{GOOD}"].status == "ok"
    options = {"sample_rate": RATE, "window_seconds": WINDOW, "channel": channel}
    if is_there:
        assert sum(len(block.offsets) for block in windows(path, **options)) == 4
    else:
        with pytest.raises(AudioFault, match="DC015"):
            list(windows(path, **options))


def test_the_mean_of_a_sound_is_no_constant_offset(tmp_path):
    """The mean of loud noise, of wind or of half a period is never zero, and not the recorder's doing."""
    root = tmp_path / "cards"
    tone = 9000 * np.sin(np.arange(500) / 100)
    wind = 9000 * np.sin(np.arange(48_000) / 2500) + 2000 * np.sin(np.arange(48_000) / 50)
    seeds = [noise(0.5, seed=seed) for seed in range(40)]
    sounds = [np.round(sound).astype(np.int16) for sound in (tone, wind, *seeds)]
    assert sum(abs(sound.mean()) / 32768 >= 0.002 for sound in sounds) >= 10
    for number, sound in enumerate(sounds):
        put(root / "R" / f"S_20210524_06{number:02}00.wav", wav(sound))
    assert scanned(tmp_path, root)[1] == []
    # With an offset, all of them are named.
    for number, sound in enumerate(sounds[2:]):
        put(root / "R" / f"S_20210524_06{number:02}00.wav", wav(sound + np.int16(1000)))
    for number in (40, 41):
        (root / "R" / f"S_20210524_06{number:02}00.wav").unlink()
    rows, found = scanned(tmp_path, root)
    assert [code for _, code in found] == ["DC021"] * 40
    assert all(abs(row.constant_offset - 1000 / 32768) < 0.015 for row in rows.values())


# --- Batteries -------------------------------------------------------------------------------------

STOPPED = " Recording stopped due to low voltage."


@pytest.mark.parametrize(
    ("seconds", "volts", "ending", "is_named"),
    [
        (0.5, 4.2, STOPPED, True),  # the recorder says so, whatever its voltage
        (2.0, 4.2, STOPPED, True),
        (0.5, 3.2, "", True),
        (2.0, 3.2, "", False),  # weak, but it lasted
        (0.5, 4.2, "", False),  # short, for other reasons
        (0.5, 4.2, " Recording stopped due to switch position change.", False),
    ],
)
def test_low_batteries(tmp_path, seconds, volts, ending, is_named):
    root = tmp_path / "cards"
    for name, content in LATER.items():
        put(root / "R" / name, content)
    mark = moth(MAY.replace(hour=12), volts, ending)
    put(root / "R" / MOTH, wav(noise(seconds), before=mark))
    rows, found = scanned(tmp_path, root)
    assert found == ([(f"R/{MOTH}", "OA002")] if is_named else [])
    assert rows[f"R/{MOTH}"].battery_v == volts
    assert {row.status for row in rows.values()} == {"ok"}


def test_an_empty_recording_of_a_low_battery_stays_set_aside(tmp_path):
    root = tmp_path / "cards"
    for name, content in LATER.items():
        put(root / "R" / name, content)
    mark = moth(MAY.replace(hour=12), 3.2, STOPPED)
    put(root / "R" / MOTH, wav(SOUND[:0], before=mark))
    results = results_of(tmp_path)
    scan(settings_of(root, timezone="America/Chicago"), results)
    told = [(line["code"], line["action"]) for line in lines(results)]
    assert told == [("FL001", "set aside"), ("OA002", "set aside")]


# --- Clicks ----------------------------------------------------------------------------------------


def train(kind: str, seed: int) -> np.ndarray:
    """Ten seconds of noise with something in it that is no memory card."""
    dice = np.random.default_rng(seed)
    sound = dice.normal(0, 200, 10 * RATE)
    if kind == "irregular clicks":
        starts = np.sort(dice.uniform(0, 9.9, 40))
    elif kind == "rain":
        starts = np.cumsum(dice.exponential(0.05, 180))
    elif kind == "cricket":
        # Pulses of a few milliseconds, about every quarter of a second.
        starts = np.arange(0.05, 9.9, 0.25) + dice.normal(0, 0.008, 40)
    else:
        starts = np.empty(0)
    pulse = np.ones(1) if kind != "cricket" else np.sin(np.arange(64) * 2.2) * np.hanning(64)
    for start in starts[starts < 9.9]:
        first = round(float(start) * RATE)
        sound[first : first + len(pulse)] += 12_000 * pulse
    return sound.astype(np.int16)


@pytest.mark.parametrize("kind", ["noise", "irregular clicks", "rain", "cricket"])
def test_what_is_no_memory_card_is_not_taken_for_one(kind):
    from dawnchorus.recordings.look import click_rate

    for seed in range(20):
        sound = train(kind, seed).astype(np.float32) / 32768
        assert click_rate(sound, RATE) == 0.0, f"{kind}, seed {seed}"


@pytest.mark.parametrize("every", [0.05, 0.25, 0.333, 0.8])
@pytest.mark.parametrize("rate", [8000, 48_000])
def test_a_memory_card_s_clicks_are_found_with_their_rate(every, rate):
    from dawnchorus.recordings.look import click_rate

    for seed in range(5):
        dice = np.random.default_rng(seed)
        sound = dice.normal(0, 0.006, 8 * rate).astype(np.float32)
        starts = np.arange(0.05, 8.0, every) + dice.normal(0, 0.0002)
        sound[np.rint(starts * rate).astype(int)] += 0.4
        assert click_rate(sound, rate) == pytest.approx(1 / every, rel=0.002)


def test_only_audiomoths_are_listened_to(tmp_path):
    root = tmp_path / "cards"
    put(root / "R" / BAD, wav(clicking()))
    rows, found = scanned(tmp_path, root)
    assert found == []
    assert rows[f"R/{BAD}"].clicks_per_second is None


# --- The recordings before and after ---------------------------------------------------------------


def test_two_files_for_two_channels_do_not_overlap(tmp_path):
    root = tmp_path / "cards"
    for channel in (0, 1):
        put(root / "R" / f"SM3_{channel}_20210524_070000.wav", wav(noise(3.0, seed=channel)))
    assert scanned(tmp_path, root)[1] == []
    put(root / "R" / "SM3_0_20210524_070001.wav", wav(noise(3.0, seed=3)))
    assert scanned(tmp_path, root)[1] == [("R/SM3_0_20210524_070000.wav", "WA003")]


@pytest.mark.parametrize(("seconds", "is_named"), [(4.0, False), (5.0, False), (5.25, True)])
def test_an_overlap_of_less_than_the_names_tell_is_none(tmp_path, seconds, is_named):
    root = tmp_path / "cards"
    put(root / "R" / "S_20210524_070000.wav", wav(noise(seconds)))
    put(root / "R" / "S_20210524_070004.wav", wav(noise(1.0, seed=1)))
    assert len(scanned(tmp_path, root)[1]) == is_named


def gaps(tmp_path, files):
    root = tmp_path / "cards"
    for name, content in files.items():
        put(root / "R" / name, content)
    results = results_of(tmp_path)
    scan(settings_of(root, timezone="America/Chicago"), results)
    told = lines(results)
    assert {line["code"] for line in told} <= {"DC019"}
    return {line["date"]: line["reason"].partition(": ")[2] for line in told}


def test_gaps_of_a_schedule(tmp_path):
    """A day with less, a day with nothing, and neither the first nor the last."""
    hours = (5, 6, 7, 8, 9, 10, 11, 12)
    missing = {1: hours[1:], 4: (6, 9), 8: hours, 10: (5,), 12: hours[:-1]}
    told = gaps(tmp_path, schedule(12, hours, missing))
    assert told == {
        "2021-05-04": "0.00 of usually 0.00 hours; missing 06:00, 09:00",
        "2021-05-08": "0.00 of usually 0.00 hours",
        "2021-05-10": "0.00 of usually 0.00 hours; missing 05:00",
    }


def test_a_schedule_that_wanders_by_minutes_has_no_gap(tmp_path):
    files = {
        f"S_202105{day:02}_06{day % 3:02}00.wav": wav(noise(1.0, seed=day)) for day in range(1, 10)
    }
    assert gaps(tmp_path, files) == {}


def test_of_many_missing_recordings_the_first_are_told(tmp_path):
    hours = tuple(range(5, 21))
    told = gaps(tmp_path, schedule(9, hours, {5: hours[1:]}))
    assert told["2021-05-05"].endswith("missing 06:00, 07:00, 08:00, 09:00, 10:00, 11:00 ...")


@pytest.mark.parametrize("days", [3, 4])
def test_of_a_few_days_nothing_is_usual(tmp_path, days):
    assert gaps(tmp_path, schedule(days, (5, 6, 7), {2: (5, 6)})) == {}


def test_a_move_to_another_place_is_no_gap(tmp_path):
    table = (
        "d1,R,41.5,-88.1,2021-05-01,2021-05-05,America/Chicago\n"
        "d2,R,42.5,-88.1,2021-05-10,2021-05-20,America/Chicago\n"
    )
    root = tmp_path / "cards"
    files = schedule(14, (5, 6), dict.fromkeys(range(6, 10), (5, 6)) | {5: (6,), 10: (5,)})
    for name, content in files.items():
        put(root / "R" / name, content)
    results = results_of(tmp_path)
    deployments = put(tmp_path / "d.csv", (DEPLOYED + table).encode())
    scan(settings_of(root, timezone="America/Chicago", deployments=deployments), results)
    assert lines(results) == []
