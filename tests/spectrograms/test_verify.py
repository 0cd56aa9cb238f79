"""A store is compared with its recordings: right ones pass, every kind of wrong one is named."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import zarr

from dawnchorus.errors import DawnChorusError
from dawnchorus.spectrograms.verify import verify_day

from .conftest import hashes, noise


@pytest.fixture
def made(card):
    card.add(5, noise(40, seed=1))
    card.add(6, noise(30, seed=2, rate=48_000), rate=48_000)
    card.scan()
    card.make()
    return card


def complaints(card):
    return verify_day(card.settings, card.results, card.day).complaints


@pytest.mark.parametrize(
    "changed",
    [{}, {"overlap_seconds": 1.0}, {"other_rates": "keep"}, {"scale": "linear", "n_fft": 600}],
)
def test_a_right_store_whatever_its_parameters(card, changed):
    card.add(5, noise(13, seed=1))
    card.add(6, noise(7, seed=2, rate=48_000), rate=48_000)
    other = card.elsewhere("made", **changed)
    other.make()
    before = hashes(other.store)
    # The configuration's own parameters do not matter: a store is verified by its own.
    found = verify_day(card.settings, other.results, card.day, workers=2)
    assert (found.complaints, found.windows) == ([], len(other.open()))
    assert hashes(other.store) == before


def test_a_changed_code(made):
    array = zarr.open_group(made.store)["spectrogram"]
    codes = array[:]
    codes[14, 3, 7] ^= 1
    array[:] = codes
    (said,) = complaints(made)
    assert "REC01_20210524_060000.wav" in said
    assert "1 of the windows 13 to 22 differ, first 14" in said


def test_a_damaged_shard(made):
    shard = max(made.store.rglob("c/*/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    (said, *_) = complaints(made)
    assert "cannot be read" in said


def test_a_recording_that_is_another(made):
    path = made.path(5)
    sound, rate = soundfile.read(path)
    sound[-20_000:] *= 0.5  # behind the last window: no window differs, the digest does
    soundfile.write(path, sound, rate, subtype="PCM_16")
    (said,) = complaints(made)
    assert said.endswith("REC01_20210524_050000.wav: its samples are not what they were")
    sound[: 3 * rate] *= 0.5
    soundfile.write(path, sound, rate, subtype="PCM_16")
    assert any("1 of the windows 0 to 12 differ, first 0" in said for said in complaints(made))


def test_a_recording_that_is_gone(made):
    made.path(6).unlink()
    found = complaints(made)
    assert any("060000.wav: is not on the card" in said for said in found)
    assert any("holds 23 windows, the recordings have 13" in said for said in found)


def test_a_level_and_a_time(made):
    group = zarr.open_group(made.store)
    group["level"][20] += np.float32(0.5)
    group["time"][2] += 1_000_000
    assert ["first 2" in complaints(made)[0], "first 20" in complaints(made)[1]] == [True, True]


def test_no_store(card):
    with pytest.raises(DawnChorusError, match="is not there"):
        verify_day(card.settings, card.results, card.day)


def test_command(made):
    said = ["--set", f"results={made.settings.results}", "--set", f"audio.root={made.root}/cards"]

    def run(*options):
        command = [sys.executable, "-m", "dawnchorus", "verify", *options, *said]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = run()
    assert (good.returncode, good.stderr.splitlines()[-1]) == (
        0,
        "verify REC01/2021-05-24: 23 windows are as their recordings say",
    )
    made.path(6).unlink()
    bad = run("--days", "REC01/2021-05-24")
    assert bad.returncode == 1
    assert "060000.wav: is not on the card" in bad.stderr
    assert bad.stderr.splitlines()[-1].endswith("1 recorder-day differs; see the lines above")
