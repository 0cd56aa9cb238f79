"""One recorder-day, whole or not at all, and the same bytes however it was made."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import zarr

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.inventory import recordings_of_day
from dawnchorus.results import OK, PARTIAL, SET_ASIDE, read_receipt
from dawnchorus.spectrograms import day as step
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.store import SpectrogramStore

from .conftest import RATE, hashes, noise

WINDOW = 3 * RATE


def shape_of_a_day(card) -> None:
    """55 windows in recordings of several lengths, with a tone that tells them apart."""
    for hour, seconds in ((5, 40), (6, 3), (7, 2), (8, 100), (9, 24.5)):
        card.add(hour, noise(seconds, seed=hour))
    card.scan()


def test_the_receipt_counts_and_names_everything(card):
    shape_of_a_day(card)
    receipt = card.make()
    assert receipt == read_receipt(card.results.spectrograms_receipt(card.day))
    assert receipt["verdict"] == OK and receipt["reason"] is None
    assert receipt["windows"] == 13 + 1 + 0 + 33 + 8 == len(card.open())
    assert [entry["windows"] for entry in receipt["recordings"]] == [13, 1, 0, 33, 8]
    assert [entry["verdict"] for entry in receipt["recordings"]] == [OK] * 5
    first = receipt["recordings"][0]
    assert first["recording"] == "REC01/REC01_20210524_050000.wav"
    assert (first["frames"], first["sample_rate"]) == (40 * RATE, RATE)
    import xxhash

    native, _ = soundfile.read(card.path(5), dtype="int16")
    assert first["xxh3"] == xxhash.xxh3_128_hexdigest(native.tobytes())
    assert set(receipt) == {
        "verdict", "reason", "windows", "recordings", "parameters", "appearance", "fingerprint",
        "version",
    }  # fmt: skip
    assert card.open().attributes["fingerprint"] == receipt["fingerprint"]
    text = card.results.spectrograms_receipt(card.day).read_text()
    assert str(card.root) not in text


def test_the_last_window_that_just_fits_is_there(card):
    """The seed project dropped it (start + window < duration)."""
    card.add(5, noise(9))
    card.add(6, noise(9)[:-1])
    card.scan()
    receipt = card.make()
    assert [entry["windows"] for entry in receipt["recordings"]] == [3, 2]
    assert card.open().offset.tolist() == [0, WINDOW, 2 * WINDOW, 0, WINDOW]


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_the_bytes_are_the_same_with_any_number_of_workers(card, workers):
    shape_of_a_day(card)
    one = card.make(workers=1)
    other = card.elsewhere("other")
    assert other.make(workers=workers) == one
    assert hashes(other.store) == hashes(card.store)
    assert (
        other.results.spectrograms_receipt(card.day).read_bytes()
        == card.results.spectrograms_receipt(card.day).read_bytes()
    )


def test_the_bytes_do_not_depend_on_the_threads_of_libraries(card):
    shape_of_a_day(card)
    card.make()
    script = (
        "import sys; from dawnchorus.config import Settings; from dawnchorus.results import *;"
        "from dawnchorus.spectrograms.day import make_day;"
        "s = Settings.model_validate_json(sys.argv[1]);"
        "make_day(s, Results(s.results), RecorderDay('REC01', '2021-05-24'), workers=2)"
    )
    for threads in ("1", "4"):
        other = card.elsewhere(f"threads{threads}")
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        limits = dict.fromkeys((*names, "NUMBA_NUM_THREADS"), threads)
        settings = other.settings.model_dump_json()
        subprocess.run(
            [sys.executable, "-c", script, settings],
            env={**os.environ, **limits},
            check=True,
            capture_output=True,
        )
        assert hashes(other.store) == hashes(card.store)


SLOW_CHILD = """
import sys, time
from dawnchorus.config import Settings
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms import day
from dawnchorus.spectrograms.spectrograph import Spectrograph

compute = Spectrograph.__call__
def slowly(self, samples):
    time.sleep(0.1)
    return compute(self, samples)
Spectrograph.__call__ = slowly
settings = Settings.model_validate_json(sys.argv[1])
day.make_day(settings, Results(settings.results), RecorderDay("REC01", "2021-05-24"),
             workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_halfway_leaves_nothing_half_and_the_rerun_the_same_bytes(card, workers):
    for hour in range(5, 11):
        card.add(hour, noise(60, seed=hour))
    card.scan()
    clean = card.elsewhere("clean")
    receipt = clean.make()

    partial = card.store.with_name(f".{card.store.name}.partial")
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW_CHILD, card.settings.model_dump_json(), str(workers)],
        stderr=subprocess.DEVNULL,
    )
    while not list(partial.glob("spectrogram/c/*/*/*")) and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "it was done before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()

    assert partial.is_dir()
    assert not card.store.exists()
    assert not card.results.spectrograms_receipt(card.day).exists()
    assert card.make(workers=workers) == receipt
    assert hashes(card.store) == hashes(clean.store)
    assert not partial.exists()


def test_an_interrupted_replacement_keeps_the_older_store(card, monkeypatch):
    shape_of_a_day(card)
    card.make()
    before = hashes(card.store)
    card.add(12, noise(6))
    card.scan()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "attributes_of", fail)
    with pytest.raises(KeyboardInterrupt):
        card.make()
    assert hashes(card.store) == before
    assert not list(card.store.parent.glob(".*partial"))


def test_a_truncated_recording_gives_its_good_windows(card):
    whole = noise(30, seed=3)
    path = card.add(5, whole)
    card.add(6, noise(6))
    with path.open("r+b") as handle:
        handle.truncate(44 + 2 * (7 * WINDOW + 1000))
    card.scan()
    receipt = card.make()
    assert receipt["verdict"] == PARTIAL
    assert receipt["reason"] == "1 of 2 recordings are not whole"
    cut, good = receipt["recordings"]
    assert (cut["verdict"], cut["windows"]) == (PARTIAL, 7)
    assert "DC001" in cut["reason"]
    assert (good["verdict"], good["windows"], good["reason"]) == (OK, 2, None)
    untouched = card.elsewhere("untouched")
    card.add(5, whole)
    untouched.scan()
    untouched.make()
    assert (untouched.open().codes(0, 7) == card.open().codes(0, 7)).all()


def test_a_recording_broken_in_the_middle_gives_what_came_before(card):
    path = card.add(5, noise(60, seed=4), suffix="flac")
    card.add(6, noise(6))
    content = bytearray(path.read_bytes())
    # Everything from the middle on is noise to the decoder.
    half = len(content) // 2
    content[half:] = np.random.default_rng(0).bytes(len(content) - half)
    path.write_bytes(bytes(content))
    card.scan()
    receipt = card.make(workers=2)
    assert receipt["verdict"] == PARTIAL
    broken, good = receipt["recordings"]
    assert broken["verdict"] == PARTIAL and broken["reason"].startswith("DC")
    assert 5 <= broken["windows"] <= 12
    assert good["windows"] == 2
    store = card.open()
    assert store.recording.tolist() == [0] * broken["windows"] + [1, 1]
    samples, _ = soundfile.read(path, frames=5 * WINDOW, dtype="float32")
    exact = mel.decibels(samples.reshape(5, -1), card.settings.spectrogram)
    assert np.abs(store.db(store.codes(0, 5)) - np.clip(exact, -120, 7.5)).max() < 0.26


def test_a_set_aside_recording_makes_the_day_partial(card):
    card.add(5, noise(6))
    card.path(6).write_bytes(b"")
    card.scan()
    receipt = card.make()
    assert receipt["verdict"] == PARTIAL
    assert [entry["verdict"] for entry in receipt["recordings"]] == [OK, SET_ASIDE]
    assert receipt["recordings"][1]["windows"] == 0 and receipt["recordings"][1]["reason"]
    assert card.open().recordings == ["REC01/REC01_20210524_050000.wav"]


def test_an_empty_day_is_set_aside_without_a_store(card):
    card.add(5, noise(2))
    card.scan()
    receipt = card.make()
    assert receipt["verdict"] == SET_ASIDE
    assert receipt["reason"] == "no recording is as long as a window (3 s)"
    assert receipt["windows"] == 0
    assert not card.store.exists()
    assert card.make() == receipt

    card.path(5).write_bytes(b"")
    card.scan()
    receipt = card.make()
    assert (receipt["verdict"], receipt["reason"]) == (SET_ASIDE, "no usable recording")


def test_a_day_that_lost_its_sound_loses_its_store(card):
    path = card.add(5, noise(6))
    card.add(6, noise(6), suffix="flac")
    card.scan()
    assert card.make()["windows"] == 4
    path.write_bytes(b"")
    card.path(6, "flac").write_bytes(b"")
    card.scan()
    assert card.make()["verdict"] == SET_ASIDE
    assert not card.store.exists()


def test_a_day_without_any_recording_is_set_aside(card):
    card.add(5, noise(6))
    card.scan()
    nowhere = step.RecorderDay("REC01", "2021-05-25")
    receipt = step.make_day(card.settings, card.results, nowhere)
    assert (receipt["verdict"], receipt["reason"]) == (SET_ASIDE, "no recordings")


def test_a_recording_that_is_gone_is_an_error_not_a_thinner_day(card):
    card.add(5, noise(6))
    path = card.add(6, noise(6, seed=1))
    card.scan()
    path.unlink()
    with pytest.raises(DawnChorusError, match="run 'dawnchorus scan' again"):
        card.make()
    assert not card.store.exists()


def test_a_known_day_is_not_made_again(card, monkeypatch):
    shape_of_a_day(card)
    receipt = card.make()
    stamp = card.store.stat().st_mtime_ns
    monkeypatch.setattr(step, "_write", None)
    started = time.perf_counter()
    assert card.make() == receipt
    assert time.perf_counter() - started < 1.0
    assert card.store.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "change",
    ["content", "touch", "late file", "parameter", "store gone", "receipt gone", "foreign"],
)
def test_a_change_makes_the_day_again(card, change):
    path = card.add(5, noise(6))
    card.scan()
    before = card.make()
    if change == "content":
        card.add(5, noise(6, seed=9))
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5))
    elif change == "touch":
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5))
    elif change == "late file":
        card.add(6, noise(6, seed=1))
    elif change == "parameter":
        changed = card.settings.spectrogram.model_copy(update={"db_min": -110.0})
        card.settings = card.settings.model_copy(update={"spectrogram": changed})
    elif change == "store gone":
        card.store.rename(card.root / "elsewhere.zarr")
    elif change == "receipt gone":
        card.results.spectrograms_receipt(card.day).unlink()
    elif change == "foreign":
        (card.store / "zarr.json").write_text("{}")
    card.scan()
    made = []
    write = step._write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "_write", lambda *a: made.append(1) or write(*a))
        after = card.make()
    assert made == [1]
    assert len(card.open()) == after["windows"]
    same = change in ("touch", "store gone", "receipt gone", "foreign")
    assert (after == before) == same
    assert (after["fingerprint"] == before["fingerprint"]) == same
    assert (after["parameters"] != before["parameters"]) == (change == "parameter")


def test_only_the_size_counts_if_so_configured(card, monkeypatch):
    audio = card.settings.audio.model_copy(update={"fingerprint": "size"})
    card.settings = card.settings.model_copy(update={"audio": audio})
    path = card.add(5, noise(6))
    card.scan()
    receipt = card.make()
    os.utime(path, (0, 0))
    card.scan()
    monkeypatch.setattr(step, "_write", None)
    assert card.make() == receipt


def test_another_start_is_another_fingerprint(card):
    card.add(5, noise(6))
    card.scan()
    before = card.make()["fingerprint"]
    audio = card.settings.audio.model_copy(update={"timezone": "America/New_York"})
    card.settings = card.settings.model_copy(update={"audio": audio})
    card.scan()
    assert card.make()["fingerprint"] != before
    assert card.open().time[0] == np.datetime64("2021-05-24T09:00:00")


@pytest.mark.parametrize("rate", [22_050, 48_000, 22_000, 96_000])
def test_other_rates_are_resampled_and_said_so(card, rate):
    seconds = 31
    time_ = np.arange(seconds * rate) / rate
    tones = 0.1 * np.sin(2 * np.pi * 3000 * time_) * (time_ % 1 < 0.5)
    card.add(5, tones, rate=rate)
    card.scan()
    receipt = card.make()
    assert receipt["windows"] == 10
    store = card.open()
    assert store.offset.tolist() == [index * 3 * rate for index in range(10)]
    assert str(rate) in store.attributes["resampling"]
    assert (store.time == store.time[0] + np.arange(10) * np.timedelta64(3, "s")).all()
    native, _ = soundfile.read(card.path(5))
    at_once = soxr.resample(native, rate, RATE, "HQ")[: 10 * WINDOW].reshape(10, -1)
    exact = mel.decibels(at_once, card.settings.spectrogram)
    loud = exact > -80
    assert loud.sum() > 10_000
    assert np.abs(store.db(store.codes()) - exact)[loud].max() < 0.5
    band = int(np.abs(store.band_frequency - 3000).argmin())
    on = store.codes()[9, band] > 130
    # The tone sounds in the first half of each second: also in the last window.
    edges = store.frame_time[np.flatnonzero(np.diff(on.astype(int)) == -1)]
    np.testing.assert_allclose(edges % 1, 0.5, atol=0.025)


def test_stereo_is_its_first_channel(card):
    left, right = noise(6, seed=1), noise(6, seed=2)
    card.add(5, np.column_stack([left, right]))
    card.scan()
    card.make()
    mono = card.elsewhere("mono")
    card.add(5, left)
    mono.scan()
    mono.make()
    assert (mono.open().codes() == card.open().codes()).all()


def test_memory_is_bounded_by_the_block_not_by_the_day(card):
    def peak(other) -> int:
        tracemalloc.start()
        other.make(workers=2)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    card.add(5, noise(330))
    card.scan()
    card.elsewhere("first").make()  # whatever is loaded or compiled once
    short = peak(card)
    for hour in (6, 7):
        card.add(hour, noise(660, seed=hour))
    long = peak(card.elsewhere("long"))
    # 110 and 550 windows: the samples of the others are 230 MB, their codes 14 MB.
    assert long < 1.1 * short + 2e6


def test_float_recordings_with_impossible_samples(card):
    samples = noise(6).astype(np.float32)
    samples[10] = np.nan
    samples[WINDOW + 10] = np.inf
    card.add(5, samples, subtype="FLOAT")
    card.scan()
    assert card.make()["windows"] == 2
    store = card.open()
    assert np.isfinite(store.level).all() and store.level.max() < -30
    assert store.attributes["windows_with_broken_samples"] == 2


@pytest.mark.real_audio
class TestRealRecordings:
    @pytest.fixture
    def audio(self) -> Path:
        if "DAWNCHORUS_AUDIO" not in os.environ:
            pytest.skip("set DAWNCHORUS_AUDIO to the folder of real recordings")
        return Path(os.environ["DAWNCHORUS_AUDIO"])

    def card_of(self, card, files, names=None):
        folder = card.root / "cards" / "REC01"
        folder.mkdir(parents=True)
        for file, name in zip(files, names or [f.name for f in files], strict=True):
            (folder / name).symlink_to(file.resolve())
        card.scan()
        return card

    def test_a_song_meters_day(self, card, audio):
        """24 recordings of 10 s at 22,000 Hz, with a constant offset."""
        files = sorted((audio / "recorder_day_S4A03895").rglob("*.wav"))
        assert len(files) == 24
        self.card_of(card, files)
        dates = {path.name.split("_")[1] for path in files}
        windows = 0
        for date in sorted(dates):
            card.day = step.RecorderDay("REC01", f"{date[:4]}-{date[4:6]}-{date[6:]}")
            receipt = card.make()
            windows += receipt["windows"]
            assert receipt["verdict"] == OK
            store = card.open()
            rows = recordings_of_day(card.results.recordings, card.day)
            assert [row.sample_rate for row in rows] == [22_000] * len(rows)
            assert set(np.unique(store.offset)) == {0, 66_000, 132_000}
            # Nothing above the native Nyquist frequency; the offset is in the level, not in the bands.
            above = store.band_low > 11_500
            assert store.codes()[:, above].max() <= 60
            assert store.attributes["resampling"].startswith("22000 Hz to 44100 Hz")
        assert windows == 72

    def test_broken_files_leave_the_good_ones(self, card, audio):
        files = sorted(path for path in (audio / "broken").iterdir() if path.suffix == ".wav")
        files.append(next((audio / "soundscapes_misc").glob("*.wav")))
        names = [f"REC01_20210524_{index:02d}0000.wav" for index in range(len(files))]
        self.card_of(card, files, names)
        receipt = card.make()
        assert receipt["verdict"] == PARTIAL
        assert len(receipt["recordings"]) == len(files)
        assert {entry["verdict"] for entry in receipt["recordings"]} >= {OK, SET_ASIDE}
        good = next(e for e in receipt["recordings"] if e["recording"].endswith(names[-1]))
        frames, rate = soundfile.info(files[-1]).frames, soundfile.info(files[-1]).samplerate
        assert good["windows"] == frames // (3 * rate)
        assert len(SpectrogramStore.open(card.store)) == receipt["windows"]
        assert zarr.open_group(card.store, mode="r").attrs["recorder"] == "REC01"
