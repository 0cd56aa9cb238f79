"""Overlapping windows, linear bands, rates kept as they are, channels: values, by the definition."""

import numpy as np
import pytest
import soundfile
import xarray

from dawnchorus.config import Audio, Spectrogram
from dawnchorus.recordings.audio import covered, windows, windows_in
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.spectrograph import Spectrograph

from .conftest import RATE, noise


def of(spectrogram, samples, rate=None):
    """Codes by the definition."""
    return mel.Codes.of(spectrogram).encode(mel.decibels(samples, spectrogram, rate))


def assert_codes(found, expected):
    apart = np.abs(found.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3  # a level that lies on the edge between two codes


# --- Overlap


@pytest.mark.parametrize("rate", [RATE, 22_000])
@pytest.mark.parametrize(("overlap", "step"), [(1.5, 1.5), (2.0, 1.0), (0.7, 2.3)])
def test_windows_overlap(card, rate, overlap, step):
    sound = noise(31.0, rate=rate)
    path = card.add(5, sound, rate=rate)
    blocks = list(
        windows(
            path, sample_rate=rate, window_seconds=3.0, overlap_seconds=overlap, block_windows=4
        )
    )
    offsets = np.concatenate([block.offsets for block in blocks])
    samples = np.concatenate([block.samples for block in blocks])
    length, hop = round(3 * rate), round(3 * rate) - round(overlap * rate)
    assert hop == round(step * rate)
    assert len(offsets) == (len(sound) - length) // hop + 1
    assert len(offsets) == windows_in(len(sound), rate, 3.0, overlap)
    np.testing.assert_array_equal(offsets, np.arange(len(offsets)) * hop)
    whole = np.concatenate([b.samples for b in windows(path, sample_rate=rate, window_seconds=31)])
    for window, offset in zip(samples, offsets, strict=True):
        np.testing.assert_array_equal(window, whole[0, offset : offset + length])
    assert covered(len(offsets), rate, 3.0, overlap) == offsets[-1] + length <= len(sound)
    assert [len(block.offsets) for block in blocks][:-1] == [4] * (len(blocks) - 1)


def test_overlapping_windows_of_resampled_recordings_are_those_without(card):
    """Every second window, half as far apart, is the same to the last bit."""
    path = card.add(5, noise(25.0, rate=22_000), rate=22_000)
    said = {"sample_rate": RATE, "window_seconds": 3.0}
    plain = np.concatenate([block.samples for block in windows(path, **said)])
    dense = list(windows(path, **said, overlap_seconds=1.5, block_windows=3))
    offsets = np.concatenate([block.offsets for block in dense])
    samples = np.concatenate([block.samples for block in dense])
    np.testing.assert_array_equal(offsets, np.arange(15) * 33_000)
    np.testing.assert_array_equal(samples[::2], plain)


def test_a_store_of_overlapping_windows(card):
    card.add(5, noise(20))
    card.add(6, noise(2.9, seed=1))
    other = card.elsewhere("dense", overlap_seconds=2.0)
    receipt = other.make()
    store = other.open()
    assert receipt["windows"] == len(store) == 18
    np.testing.assert_array_equal(np.diff(store.offset), RATE)
    np.testing.assert_array_equal(np.diff(store.time), np.timedelta64(1_000_000, "us"))
    one, short = receipt["recordings"]
    assert (one["unused_frames"], short["unused_frames"]) == (0, round(2.9 * RATE))
    plain = card.elsewhere("plain")
    plain.make()
    np.testing.assert_array_equal(store.codes()[::3], plain.open().codes())


def test_overlap_must_leave_something():
    with pytest.raises(ValueError, match="overlap_seconds: must be less than window_seconds"):
        Spectrogram(overlap_seconds=3.0)


# --- Linear bands


def test_linear_bands_are_equally_wide():
    linear = Spectrogram(scale="linear", mels=100, f_min=0, f_max=20_200)
    np.testing.assert_allclose(mel.corners(linear), np.arange(102) * 200.0)
    weights = mel.filterbank(linear)
    between = (mel.Framing.of(linear).bin_frequencies >= 200) & (
        mel.Framing.of(linear).bin_frequencies <= 20_000
    )
    np.testing.assert_allclose(weights[:, between].sum(axis=0), 1.0, atol=1e-12)


def test_linear_spectrograph_computes_the_definition():
    linear = Spectrogram(scale="linear", mels=64, f_min=500, f_max=20_000, n_fft=2048, frames=200)
    samples = noise(6.0, level=0.05).astype(np.float32).reshape(2, -1)
    found = Spectrograph(linear)(samples)
    assert_codes(found.codes, of(linear, samples))


def test_a_linear_store_says_so(card):
    clock = np.arange(6 * RATE) / RATE
    card.add(5, 0.1 * np.sin(2 * np.pi * 9000 * clock) + noise(6, level=1e-4))
    other = card.elsewhere("linear", scale="linear", f_min=0.0, f_max=22_000.0, mels=109)
    other.make()
    data = xarray.open_zarr(other.store, consolidated=True)
    assert data.spectrogram.dims == ("window", "frequency", "frame")
    assert data.frequency.attrs["units"] == "Hz"
    np.testing.assert_allclose(np.diff(data.frequency), 200.0)
    loudest = data.spectrogram.mean(["window", "frame"]).idxmax("frequency")
    assert float(loudest) == 9000.0
    store = other.open()
    np.testing.assert_allclose(store.band_frequency, data.frequency)
    np.testing.assert_allclose(store.band_high - store.band_low, 400.0)
    assert "linear" in data.attrs["filterbank"]


# --- Recordings of another rate


@pytest.mark.parametrize("rate", [8_000, 22_000, 22_050, 32_000, 48_000, 96_000])
def test_rate_kept(rate):
    """Frames of the same length in seconds, to a sample; the same bands; empty above half the rate."""
    kept = Spectrogram(other_rates="keep")
    framing = mel.Framing.of(kept, rate)
    assert framing.window_samples == 3 * rate
    assert framing.n_fft % 2 == 0
    assert abs(framing.n_fft / rate - 1024 / RATE) <= 1 / rate
    np.testing.assert_allclose(framing.starts / rate, np.arange(256) * 512 / RATE, atol=0.51 / rate)
    assert framing.starts[-1] + framing.n_fft <= framing.window_samples
    clock = np.arange(3 * rate) / rate
    samples = 0.1 * np.sin(2 * np.pi * 3000 * clock) + noise(3.0, level=1e-3, rate=rate)
    samples = samples.astype(np.float32)[None]
    spectrograph = Spectrograph(kept, rate)
    found = spectrograph(samples).codes
    beyond = mel.corners(kept)[:-2] >= rate / 2
    assert (found[0, beyond] == 0).all()
    # (The Nyquist bin is not used: it only counts in the definition's topmost band.)
    below = mel.corners(kept)[2:] < rate / 2
    assert_codes(found[:, below], of(kept, samples, rate)[:, below])
    tone = np.abs(mel.corners(kept)[1:-1] - 3000).argmin()
    level = mel.Codes.of(kept).decode(found)[0, tone].mean()
    assert level == pytest.approx(-20.0, abs=3.5)  # between two bands it is shared


def test_a_tone_has_one_level_at_all_rates():
    kept = Spectrogram(other_rates="keep")
    sums = []
    for rate in (22_050, 44_100, 48_000, 96_000):
        tone = 0.1 * np.sin(2 * np.pi * 3000 * np.arange(3 * rate) / rate)
        decibels = mel.decibels(tone[None], kept, rate)[0]
        sums.append(10 * np.log10((10 ** (decibels / 10)).sum(axis=0)).mean())
    np.testing.assert_allclose(sums, -20.0, atol=0.01)


def test_a_store_of_two_rates_kept(card):
    card.add(5, noise(6))
    card.add(6, noise(6, rate=48_000, seed=1), rate=48_000)
    other = card.elsewhere("kept", other_rates="keep")
    receipt = other.make()
    store = other.open()
    assert receipt["windows"] == 4
    assert store.offset.tolist() == [0, 132_300, 0, 144_000]
    assert "48000 Hz kept" in store.attributes["resampling"]
    assert store.attributes["recording_sample_rate"] == [44_100, 48_000]
    whole = next(windows(other.path(6), sample_rate=None, window_seconds=3.0)).samples
    assert whole.shape == (2, 144_000)
    assert_codes(store.codes(2, 4), of(other.settings.spectrogram, whole, 48_000))


# --- Channels


def stereo(seed=0):
    left, right = noise(6, seed=seed), noise(6, seed=seed + 1)
    return np.stack([left, right], axis=1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_channel_chosen_or_mixed(card, subtype):
    path = card.add(5, stereo(), subtype=subtype)
    said = {"sample_rate": RATE, "window_seconds": 3.0}
    left, right, mixed = (
        next(windows(path, **said, channel=channel)).samples for channel in (0, 1, "mix")
    )
    assert np.abs(left - right).max() > 0.01
    np.testing.assert_allclose(mixed, (left + right) / 2, atol=1e-7)


def with_channel(card, name, channel):
    other = card.elsewhere(name)
    audio = other.settings.audio.model_copy(update={"channel": channel})
    other.settings = other.settings.model_copy(update={"audio": audio})
    other.scan()
    return other


def test_channel_of_a_store(card):
    card.add(5, stereo())
    card.add(6, noise(6, seed=7))
    made = {}
    for channel in (0, 1, "mix"):
        other = with_channel(card, f"channel{channel}", channel)
        receipt = other.make()
        assert receipt["verdict"] == "ok"
        store = other.open()
        said = store.attributes["channel"]
        assert ("the mean of all" in said) == (channel == "mix")
        assert store.attributes["recording_channels"] == [2, 1]
        assert store.attributes["parameters"]["channel"] == channel
        made[channel] = store.codes(), receipt["parameters"]
    assert len({parameters for _, parameters in made.values()}) == 3
    assert (made[0][0][:2] != made[1][0][:2]).mean() > 0.5
    assert (made["mix"][0][:2] != made[1][0][:2]).mean() > 0.5
    # A mono recording has only one, whichever is asked for.
    np.testing.assert_array_equal(made[0][0][2:], made[1][0][2:])


def test_no_such_channel(card):
    card.add(5, stereo())
    card.add(6, noise(6, seed=7))
    other = with_channel(card, "third", 2)
    receipt = other.make()
    assert (receipt["verdict"], receipt["windows"]) == ("partial", 2)
    faults = other.results.faults.read_text().splitlines()[1:]
    assert [line.split("\t")[3:5] for line in faults] == [["DC015", "set aside"]]
    assert "2, it has 2" in faults[0]


@pytest.mark.parametrize("channel", [-1, 64, "left"])
def test_channels_that_cannot_be(channel):
    with pytest.raises(ValueError, match="channel"):
        Audio(channel=channel)


# --- What the samples told


def test_offset_peak_and_clipping_are_told(card):
    loud = np.clip(noise(6, level=0.02) + 0.05, -1, 1)
    loud[1000:2000] = 1.0
    card.add(5, loud)
    card.add(6, noise(6, seed=1))
    card.scan()
    card.make()
    attributes = card.open().attributes
    stored, _ = soundfile.read(card.path(5))
    assert attributes["recording_constant_offset"][0] == pytest.approx(stored.mean(), abs=2e-6)
    assert attributes["recording_clipped_share"] == [
        pytest.approx(1000 / (6 * RATE), abs=1e-8),
        0.0,
    ]
    assert attributes["recording_peak"][0] == pytest.approx(32767 / 32768, abs=1e-6)
    assert attributes["recording_peak"][1] == pytest.approx(
        np.abs(noise(6, seed=1)).max(), abs=1e-4
    )
