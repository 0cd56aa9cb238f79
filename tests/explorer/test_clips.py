"""What a window sounds and looks like, by value."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from dawnchorus.explorer.clips import Spectrograms, UnplayableError, cut, draw, recording_path
from dawnchorus.results import RecorderDay

from .conftest import DATE, RECORDINGS, WINDOWS, Season, hertz


def samples_of(wav: bytes) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
    assert samples.shape[1] == 1
    return samples[:, 0], rate


@pytest.mark.parametrize("recording", [0, 2])
@pytest.mark.parametrize("window", range(WINDOWS))
def test_clip_holds_the_recordings_own_samples(made: Season, recording: int, window: int) -> None:
    name, rate, _ = RECORDINGS[recording]
    clip = cut(made.cards, name, window * 3 * rate, 3.0, 1.0)
    found, found_rate = samples_of(clip.wav)
    first = max(0, (window * 3 - 1) * rate)
    expected = made.sounds[recording][first : (window * 3 + 4) * rate]
    assert found_rate == rate
    np.testing.assert_array_equal(found, expected)
    assert clip.lead_s == (0.0 if window == 0 else 1.0)
    # The last window ends at 30 s of 30.5: half a second of context is all there is.
    assert len(found) / rate == {0: 4.0, WINDOWS - 1: 4.5}.get(window, 5.0)


def test_float_and_stereo(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    left = rng.uniform(-1, 1, 8000).astype(np.float32)
    left[:4] = [1.0, -1.0, 2.0, np.nan]
    soundfile.write(tmp_path / "a.wav", np.column_stack([left, -left]), 8000, subtype="FLOAT")
    found, _ = samples_of(cut(tmp_path, "a.wav", 0, 0.5, 0.25).wav)
    assert found[:4].tolist() == [32_767, -32_768, 32_767, 0]
    expected = np.rint(left[4:6000].astype(float) * 32_768).clip(-32_768, 32_767)
    np.testing.assert_array_equal(found[4:], expected)


def test_flac_and_24_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 8000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 8000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.wav", samples.astype(np.int32) << 16, 8000, subtype="PCM_24")
    for name in ("a.flac", "b.wav"):
        found, _ = samples_of(cut(tmp_path, name, 4000, 0.25, 0.1).wav)
        np.testing.assert_array_equal(found, samples[3200:6800])


def test_a_header_that_denies_its_samples(tmp_path: Path, made: Season) -> None:
    # FL012: the data chunk says 0 bytes, the samples are there; the windows were made from them.
    source = made.cards / RECORDINGS[0][0]
    content = bytearray(source.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = bytes(4)
    (tmp_path / "a.wav").write_bytes(content)
    found, _ = samples_of(cut(tmp_path, "a.wav", 3 * 44_100, 3.0, 1.0).wav)
    np.testing.assert_array_equal(found, made.sounds[0][2 * 44_100 : 7 * 44_100])


def test_missing_recording_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UnplayableError) as refused:
        cut(tmp_path, "REC09/x.wav", 0, 3.0)
    assert str(tmp_path / "REC09" / "x.wav") in str(refused.value)


def test_recording_that_shrank(tmp_path: Path, made: Season) -> None:
    soundfile.write(tmp_path / "a.wav", made.sounds[0][:200_000], 44_100, subtype="PCM_16")
    with pytest.raises(UnplayableError, match="ends at sample 200,000"):
        cut(tmp_path, "a.wav", 2 * 132_300, 3.0)
    (tmp_path / "b.wav").write_bytes(b"no sound at all")
    with pytest.raises(UnplayableError, match="DC005"):
        cut(tmp_path, "b.wav", 0, 3.0)


@pytest.mark.parametrize(
    "name", ["../secret.wav", "REC01/../../secret.wav", "/etc/passwd", "REC01\\..\\x.wav", "a\0b"]
)
def test_path_tricks_in_a_recordings_name(tmp_path: Path, name: str) -> None:
    cards = tmp_path / "cards"
    cards.mkdir()
    soundfile.write(tmp_path / "secret.wav", np.zeros(80_000, np.int16), 8000)
    with pytest.raises(UnplayableError, match="no name"):
        recording_path(cards, name)
    with pytest.raises(UnplayableError, match="no name"):
        cut(cards, name, 0, 3.0)


@pytest.mark.parametrize("window", range(WINDOWS))
def test_the_tone_is_bright_at_its_height(made: Season, window: int) -> None:
    name, rate, _ = RECORDINGS[2]
    drawer = Spectrograms(made.results)
    day = RecorderDay("REC02", DATE)
    drawn = drawer.png(day, name, window * 3 * rate)
    png, low, high = drawn.png, drawn.low_db, drawn.high_db
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float).sum(axis=2)
    store = drawer.store(day)
    assert picture.shape == (128, 256)
    from_bottom = 127 - int(picture.mean(axis=1).argmax())
    nearest = int(np.abs(store.band_frequency - hertz(window)).argmin())
    assert abs(from_bottom - nearest) <= 1
    # All bands together hold the tone's 8000 / 32768 of full scale, -12.2 dB; the brightest one has
    # all of it or, with the tone between bands that are no wider than a bin of the FFT, about 4 dB less.
    assert -4.5 < high - 20 * np.log10(8000 / 32_768) < 0.5
    assert low < high - 25


def test_time_runs_to_the_right_and_low_frequencies_lie_below() -> None:
    decibels = np.full((4, 6), -90, np.float32)
    decibels[0, 5] = -10  # lowest band, last frame
    png, low, high = draw(decibels)
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.size == (6, 4)
    values = np.asarray(picture).astype(int).sum(axis=2)
    assert np.unravel_index(values.argmax(), values.shape) == (3, 5)
    assert (low, high) == (-90, pytest.approx(-10, abs=3))


def test_silence_is_dark() -> None:
    png, low, high = draw(np.full((4, 6), -120, np.float32))
    assert (low, high) == (-120, -95)
    assert np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).max() <= 4
