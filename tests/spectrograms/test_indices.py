"""Acoustic indices against scikit-maad and against what is known beforehand."""

import hashlib
import warnings
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import scipy.fft
import scipy.signal

from dawnchorus import config
from dawnchorus.config import Indices
from dawnchorus.errors import DawnChorusError
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.index_kernels import LOWEST_CLASS_DB, fill_amplitudes
from dawnchorus.spectrograms.indices import (
    SCALARS,
    Minute,
    MinuteIndices,
    MinuteRow,
    windows_per_minute,
    write_indices,
)

RATE, N_FFT, HOP, FRAMES, WINDOW = 44_100, 1024, 512, 256, 132_300
MINUTE = 20 * WINDOW
CLOCK = np.arange(MINUTE) / RATE
AS_MAAD = Indices(anthropophony=(0, 2000), biophony=(1000, 11_000))
"""scikit-maad's NDSI counts the kilohertz that begins at the upper limit too: what it calls 0 to 1000
and 1000 to 10000 Hz are these."""


def amplitudes(samples, n_fft=N_FFT, hop=HOP, frames=FRAMES):
    """The amplitudes of windows, computed as the spectrograph's pass will."""
    windows = np.atleast_2d(samples).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(windows, n_fft, axis=1)[:, ::hop][:, :frames]
    filled = np.full((n_fft // 2 + 1, len(windows) * frames), np.nan, np.float32)
    for number, framed in enumerate(views):
        spectrum = scipy.fft.rfft(framed.T, axis=0).view(np.float32)
        fill_amplitudes(spectrum, mel.power_scale(n_fft), filled, number * frames)
    return filled


def minute(samples, settings=None) -> Minute:
    windows = np.asarray(samples, np.float32).reshape(-1, WINDOW)
    compute = MinuteIndices(settings or Indices(), RATE, N_FFT)
    return compute(amplitudes(windows), FRAMES, windows)


def white(level=0.01, seed=0, windows=20):
    return np.random.default_rng(seed).normal(0, level, windows * WINDOW)


def coloured(level, seed):
    """Noise that falls by 4.5 dB per octave, as wind and traffic do."""
    spectrum = np.fft.rfft(white(1.0, seed))
    frequency = np.fft.rfftfreq(MINUTE, 1 / RATE)
    noise = np.fft.irfft(spectrum / np.maximum(frequency, 50.0) ** 0.75, MINUTE)
    return level * noise / noise.std()


def hum():
    tones = 0.1 * np.sin(2 * np.pi * 300 * CLOCK) + 0.05 * np.sin(2 * np.pi * 600 * CLOCK)
    return coloured(0.01, 1) + tones


def chirps():
    rng, samples = np.random.default_rng(2), coloured(0.003, 2)
    seconds = 0.5
    own = np.arange(round(seconds * RATE)) / RATE
    for begin in np.arange(0.1, 58.5, 0.7):
        first = rng.uniform(2500, 8000)
        slope = rng.uniform(-800, 800) / seconds
        at = round(begin * RATE)
        song = np.sin(2 * np.pi * (first + slope * own / 2) * own)
        samples[at : at + len(own)] += 0.1 * song * np.sin(np.pi * own / seconds) ** 0.5
    return samples


def crickets_in_rain():
    rng, samples = np.random.default_rng(3), coloured(0.004, 3)
    trill = (1 + np.sin(2 * np.pi * 30 * CLOCK)) * ((CLOCK * 2.5) % 1 < 0.45)
    drops = np.zeros(MINUTE)
    drops[rng.integers(0, MINUTE, 20_000)] = rng.exponential(0.05, 20_000)
    band = scipy.signal.butter(1, [500, 9000], "bandpass", fs=RATE, output="sos")
    tone = 0.05 * np.sin(2 * np.pi * 4700 * CLOCK)
    return samples + tone * trill + scipy.signal.sosfilt(band, drops)


SOUNDS = {"hum": hum, "chirps": chirps, "crickets in rain": crickets_in_rain}


@pytest.fixture(scope="module")
def maad():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import maad.features
        import maad.sound
    return SimpleNamespace(features=maad.features, sound=maad.sound)


@pytest.fixture(scope="module", params=list(SOUNDS))
def sound(request):
    samples = SOUNDS[request.param]()
    return (samples - samples.mean()).astype(np.float32)


def theirs(maad, amplitude, frequency, samples):
    """What scikit-maad's functions say; copies, because they write into what they are given."""
    features = maad.features
    entropy = features.frequency_entropy(amplitude**2)[0]
    envelope = features.temporal_entropy(samples)
    shape = {"fmax": 10_000, "bin_step": 1000}
    return {
        "aci": features.acoustic_complexity_index(amplitude)[2],
        "ndsi": features.soundscape_index(amplitude**2, frequency)[0],
        "adi": features.acoustic_diversity_index(amplitude.copy(), frequency, **shape),
        "aei": features.acoustic_eveness_index(amplitude.copy(), frequency, **shape),
        "bi": features.bioacoustics_index(amplitude.copy(), frequency),
        "hf": entropy,
        "ht": envelope,
        "h": entropy * envelope,
    }


def test_the_same_frames_give_scikit_maads_numbers(maad, sound):
    windows = sound.reshape(-1, WINDOW)
    ours = amplitudes(windows)
    # As one stretch: scikit-maad knows of no gaps between windows.
    found = MinuteIndices(AS_MAAD, RATE, N_FFT)(ours, ours.shape[1], windows)
    amplitude = ours[:-1].astype(np.float64)
    expected = theirs(maad, amplitude, np.arange(N_FFT // 2) * RATE / N_FFT, sound)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-5), name
    complexity = maad.features.acoustic_complexity_index(amplitude)[1]
    entropy = maad.features.frequency_entropy(amplitude**2)[1]
    np.testing.assert_allclose(found.aci_rows, complexity.reshape(-1, 2).mean(1), rtol=2e-5)
    np.testing.assert_allclose(found.entropy_rows, entropy.reshape(-1, 2).mean(1), rtol=2e-5)


def test_scikit_maads_own_way_from_the_samples_agrees_within_a_percent(maad, sound):
    """Its frames run on through the gaps between our windows, 5166 instead of 5120, and lie elsewhere."""
    found = minute(sound, AS_MAAD)
    amplitude, _, frequency, _ = maad.sound.spectrogram(
        sound.astype(np.float64), RATE, nperseg=N_FFT, noverlap=N_FFT - HOP, mode="amplitude"
    )
    for name, value in theirs(maad, amplitude, frequency, sound).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.01), name


@pytest.mark.parametrize(("n_fft", "hop", "frames"), [(1024, 512, 20), (64, 40, 9), (1000, 250, 7)])
def test_amplitudes_are_those_of_windowed_frames_at_every_bin(n_fft, hop, frames):
    samples = white(0.1, 5, 1)[: n_fft + frames * hop] + 0.3
    found = amplitudes(samples, n_fft, hop, frames)
    cut = np.stack([samples[j * hop : j * hop + n_fft] for j in range(frames)])
    cut = cut - cut.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(cut * mel.hann(n_fft), axis=1)) ** 2 * mel.power_scale(n_fft)
    power[:, [0, -1]] *= 0.5
    np.testing.assert_allclose(found.T, np.sqrt(power), atol=3e-6 * np.sqrt(power.max()))
    squares = (cut * mel.hann(n_fft)) ** 2
    weighted = squares.sum(axis=1) / (3 / 8 * n_fft) / mel.FULL_SCALE_POWER
    np.testing.assert_allclose((found**2).sum(axis=0), weighted, rtol=1e-5)


def test_a_full_scale_sine_has_amplitude_one():
    tone = np.sin(2 * np.pi * 100 * np.arange(WINDOW) / N_FFT)
    assert (amplitudes(tone)[99:102] ** 2).sum(axis=0) == pytest.approx(1.0, rel=1e-5)


def test_white_noise_is_even_in_time_and_frequency():
    found = minute(white())
    assert found.hf > 0.999
    assert found.ht > 0.99
    assert found.h == found.hf * found.ht
    assert found.adi == pytest.approx(np.log(10), abs=1e-6)
    assert found.aei == pytest.approx(0, abs=1e-3)
    # Amplitudes of noise are Rayleigh distributed: they differ by 2 - sqrt(2) of their mean, somewhat
    # less where frames overlap.
    assert found.aci / (N_FFT // 2) == pytest.approx(2 - np.sqrt(2), rel=0.03)
    # Power densities are alike, so the NDSI is (9 - 1) / (9 + 1), but for the lowest of 24 bins, which
    # the removed mean empties.
    assert found.ndsi == pytest.approx(0.8, abs=0.01)
    assert found.level == pytest.approx(-40 + 10 * np.log10(2), abs=0.02)
    of_bin = -40 + 10 * np.log10(2) - 10 * np.log10(N_FFT / 2)
    # The most frequent decibels of exponentially distributed power are those of its mean; the Hann
    # window keeps its mean too.
    assert found.background_rows.mean() == pytest.approx(of_bin, abs=0.6)
    assert found.cover_rows.mean() == pytest.approx(np.exp(-(10**0.6)), abs=0.012)
    # Bin 0 is real and so more uneven than the others.
    exponential = 1 - (1 - np.euler_gamma) / np.log(5120)
    assert found.entropy_rows[1:] == pytest.approx(np.full(255, exponential), abs=0.005)


def test_a_tone_is_concentrated_in_frequency():
    found = minute(0.3 * np.sin(2 * np.pi * 4000 * CLOCK))
    assert found.hf < 0.2
    assert found.ht > 0.999
    assert found.ndsi == pytest.approx(1, abs=1e-5)
    assert found.adi < 1.0
    row = int(4000 // (2 * RATE / N_FFT))
    assert found.aci_rows[row] < 0.01
    assert found.entropy_rows[row] > 0.999


def test_one_click_is_concentrated_in_time():
    samples = np.zeros(MINUTE)
    samples[MINUTE // 2 + 100] = 0.5
    found = minute(samples)
    assert found.ht == 0
    assert found.hf > 0.95
    assert found.entropy_rows.max() < 0.1


def test_a_single_used_band_is_as_uneven_as_can_be():
    compute = MinuteIndices(Indices(), RATE, N_FFT)
    cells = np.full((N_FFT // 2 + 1, FRAMES), 1e-6, np.float32)
    cells[round(4500 * N_FFT / RATE)] = 0.1
    found = compute(cells, FRAMES, np.ones((1, WINDOW), np.float32))
    assert found.adi == 0
    assert found.aei == pytest.approx(0.9)
    cells[:] = 0.1
    found = compute(cells, FRAMES, np.ones((1, WINDOW), np.float32))
    assert found.adi == pytest.approx(np.log(10))
    assert found.aei == pytest.approx(0)
    assert found.bi == 0
    assert found.aci == 0
    assert found.ndsi == pytest.approx(0.8)
    cells[:] = 1e-6
    cells[-2] = 1.0
    found = compute(cells, FRAMES, np.ones((1, WINDOW), np.float32))
    assert np.isnan([found.adi, found.aei]).all()


def test_no_difference_is_taken_over_the_gap_between_windows():
    compute = MinuteIndices(Indices(), RATE, N_FFT)
    cells = np.repeat(np.array([0.1, 0.5, 0.2], np.float32), FRAMES)
    cells = np.tile(cells, (N_FFT // 2 + 1, 1))
    samples = np.ones((3, WINDOW), np.float32)
    assert compute(cells, FRAMES, samples).aci == 0
    expected = (0.4 + 0.3) / (FRAMES * 0.8) * N_FFT / 2
    assert compute(cells, 3 * FRAMES, samples).aci == pytest.approx(expected, rel=1e-5)
    assert compute(cells, 1, samples).aci == 0


@pytest.mark.filterwarnings("error")
def test_silence_is_empty_and_no_warning():
    found = minute(np.zeros(2 * WINDOW))
    assert found.level == -200
    assert np.isnan([getattr(found, name) for name in SCALARS[1:]]).all()
    assert not found.aci_rows.any()
    assert not found.cover_rows.any()
    assert (found.entropy_rows == 1).all()
    assert (found.background_rows == np.float32(LOWEST_CLASS_DB)).all()


@pytest.mark.filterwarnings("error")
def test_silent_bins_and_a_single_frame_have_values():
    cells = np.zeros((N_FFT // 2 + 1, 1), np.float32)
    cells[100] = 0.1
    found = MinuteIndices(Indices(), RATE, N_FFT)(cells, 1, np.ones((1, 2000), np.float32))
    assert (found.aci, found.hf, found.ht) == (0, 0, pytest.approx(1))
    assert np.isfinite(found.bi)
    found = MinuteIndices(Indices(), RATE, N_FFT)(cells, 1, np.ones((1, 100), np.float32))
    assert np.isnan([found.ht, found.h]).all()


def test_gain_changes_the_level_alone():
    samples = coloured(0.01, 4)[: 4 * WINDOW]
    soft, loud = minute(samples), minute(8 * samples)
    for name in SCALARS[1:]:
        assert getattr(loud, name) == pytest.approx(getattr(soft, name), rel=1e-5), name
    assert loud.level - soft.level == pytest.approx(20 * np.log10(8), abs=1e-4)
    assert (loud.background_rows - soft.background_rows).mean() == pytest.approx(18, abs=0.5)


def test_the_cover_is_the_share_of_frames_above_the_background():
    samples = white(0.001, 6)
    samples += 0.1 * np.sin(2 * np.pi * 4000 * CLOCK) * (CLOCK % 3 < 0.6)
    found = minute(samples)
    row = int(4000 // (2 * RATE / N_FFT))
    # A fifth of the time, and the 2 % of the rest that noise alone covers.
    assert found.cover_rows[row] == pytest.approx(0.2 + 0.8 * 0.02, abs=0.01)
    assert found.cover_rows[row + 20 :].max() < 0.06


@pytest.mark.parametrize(
    ("rate", "n_fft", "rows"), [(44_100, 1024, 256), (8000, 64, 32), (48_000, 1000, 250)]
)
def test_rows_span_the_frequencies_up_to_half_the_rate(rate, n_fft, rows):
    settings = Indices(bioacoustic=(1000, 4000), biophony=(1000, 4000), diversity_top=4000)
    compute = MinuteIndices(settings, rate, n_fft)
    assert compute.rows == rows
    assert rows * compute.row_hertz == pytest.approx(rate / 2)
    cells = np.random.default_rng(0).random((n_fft // 2 + 1, 30), np.float32)
    found = compute(cells, 10, np.ones((3, 1000), np.float32))
    assert found.background_rows.shape == (rows,)
    assert found.aci_rows.dtype == np.float32


def test_amplitudes_of_another_shape_are_refused():
    compute = MinuteIndices(Indices(), RATE, N_FFT)
    for shape in [(512, 256), (513, 255), (513, 0)]:
        with pytest.raises(ValueError, match="amplitudes"):
            compute(np.ones(shape, np.float32), FRAMES, np.ones((1, WINDOW), np.float32))


@pytest.mark.parametrize(("seconds", "windows"), [(3.0, 20), (60.0, 1), (7.0, 8), (0.1, 600)])
def test_a_minute_is_as_many_windows_as_fit(seconds, windows):
    assert windows_per_minute(seconds) == windows


def table_rows():
    begin = datetime(2021, 5, 24, 10, 59, tzinfo=UTC)
    heard = [minute(white(0.01, 1, 2)), minute(np.zeros(WINDOW))]
    return [
        MinuteRow("SM01/a.wav", 2_646_000 * at, begin + timedelta(minutes=at), -300, 6.0, one)
        for at, one in enumerate(heard)
    ]


def test_the_table_says_where_each_minute_belongs(tmp_path):
    rows, path = table_rows(), tmp_path / "a.parquet"
    write_indices(path, rows)
    table = pl.read_parquet(path)
    assert table.columns[:5] == ["recording", "offset", "time", "local_time", "seconds"]
    assert table.columns[5:] == list(SCALARS)
    assert table["local_time"][1] == datetime(2021, 5, 24, 6, 0)
    assert table["time"][1] == datetime(2021, 5, 24, 11, 0, tzinfo=UTC)
    assert table["hf"][0] == rows[0].minute.hf
    silent = table.row(1, named=True)
    assert silent["level"] == -200
    assert all(silent[name] is None for name in SCALARS[1:])
    first = hashlib.sha256(path.read_bytes()).hexdigest()
    write_indices(path, rows)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == first
    write_indices(path, [])
    assert pl.read_parquet(path).schema == table.schema


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"biophony": [3000, 1000]}, ["indices.biophony", "lower < upper"]),
        ({"diversity_step": 6000}, ["indices", "diversity_top", "fewer than two"]),
        ({"bioacoustic": [-1, 1000]}, ["indices.bioacoustic"]),
    ],
)
def test_limits_that_make_no_sense_are_refused(values, words):
    with pytest.raises(DawnChorusError) as caught:
        config.validate({"indices": values})
    for word in words:
        assert word in str(caught.value)


def test_limits_beyond_the_spectrum_are_refused_only_where_indices_are_wanted():
    low = {"sample_rate": 22_050, "f_max": 11_025, "frames": 100}
    assert not config.validate({"spectrogram": low}).indices.enabled
    with pytest.raises(DawnChorusError) as caught:
        config.validate({"spectrogram": low, "indices": {"enabled": True}})
    line = str(caught.value)
    assert "bioacoustic (15000 Hz)" in line
    assert "11025 Hz" in line
    assert "biophony" not in line
    narrow = {"enabled": True, "diversity_step": 20, "bioacoustic": [2000, 11_025]}
    with pytest.raises(DawnChorusError, match="narrower than a bin"):
        config.validate({"spectrogram": low, "indices": narrow})
