"""Definitions and fast path against known signals and against librosa and torchaudio."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.config import Spectrogram
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.spectrograph import LEVEL_FLOOR_DB, Spectrograph

DEFAULT = Spectrogram()
OTHERS = [
    Spectrogram(sample_rate=22_050, n_fft=512, hop_length=256, mels=64, f_max=11_025, frames=200),
    Spectrogram(sample_rate=48_000, n_fft=2048, hop_length=480, f_min=0, f_max=24_000, frames=100),
    Spectrogram(window_seconds=1.0, hop_length=300, frames=77, mels=40, db_min=-100, db_step=0.4),
    Spectrogram(window_seconds=0.5, n_fft=1000, hop_length=250, frames=30, f_min=1000, mels=300),
]


def clock(spectrogram):
    return np.arange(spectrogram.window_samples) / spectrogram.sample_rate


def tone(frequency, amplitude, spectrogram=DEFAULT, phase=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * clock(spectrogram) + phase)


def spectra(samples, spectrogram=DEFAULT):
    return Spectrograph(spectrogram)(np.atleast_2d(samples).astype(np.float32))


def levels(samples, spectrogram=DEFAULT):
    return mel.Codes.of(spectrogram).decode(spectra(samples, spectrogram).codes)


def total_db(of_bands):
    return 10 * np.log10((10 ** (np.asarray(of_bands, float) / 10)).sum(axis=-2))


def hann_line(offset_bins):
    """Transform of the periodic Hann window, relative to its length, off the line by some bins."""
    x = np.asarray(offset_bins, float)
    near_one = np.isclose(np.abs(x), 1.0)
    safe = np.where(near_one, 0.0, x)
    return np.where(near_one, 0.25, 0.5 * np.sinc(safe) / (1 - safe**2))


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("spectrogram", [DEFAULT, *OTHERS])
def test_filterbank_is_librosas(spectrogram):
    import librosa

    theirs = librosa.filters.mel(
        sr=spectrogram.sample_rate,
        n_fft=spectrogram.n_fft,
        n_mels=spectrogram.mels,
        fmin=spectrogram.f_min,
        fmax=spectrogram.f_max,
        htk=True,
        norm=None,
        dtype=np.float64,
    )
    np.testing.assert_allclose(mel.filterbank(spectrogram), theirs, atol=1e-9)


def test_neighbouring_filters_sum_to_one():
    frequency, corner = mel.Framing.of(DEFAULT).bin_frequencies, mel.corners(DEFAULT)
    between = (frequency >= corner[1]) & (frequency <= corner[-2])
    np.testing.assert_allclose(mel.filterbank(DEFAULT)[:, between].sum(axis=0), 1.0, atol=1e-12)
    assert between.sum() > 300


def test_every_default_band_has_a_bin():
    assert (mel.filterbank(DEFAULT).max(axis=1) > 0).all()


@pytest.mark.parametrize("amplitude_db", [0.0, -20.0, -60.0])
@pytest.mark.parametrize("frequency", [400.0, 3000.0, 3014.6, 9876.5])
def test_a_tone_sums_to_its_level(frequency, amplitude_db):
    """A sine of amplitude A has 20 log10(A) dB, wherever it lies between the bins."""
    measured = levels(tone(frequency, 10 ** (amplitude_db / 20)))[0]
    # The main lobe alone: summing 120 quiet bands would add up the rounding of their codes.
    near = np.argsort(measured.mean(axis=1))[-8:]
    np.testing.assert_allclose(total_db(measured[near]), amplitude_db, atol=0.5)


def test_3_khz_peak_band_reads_what_the_window_and_the_triangle_say():
    amplitude, frequency = 0.1, 3000.0
    bins = mel.Framing.of(DEFAULT).bin_frequencies
    line = amplitude / 2 * DEFAULT.n_fft * hann_line((frequency - bins) / (bins[1] - bins[0]))
    power = 2 * line**2 / (DEFAULT.n_fft**2 * 3 / 8)
    expected = 10 * np.log10((mel.filterbank(DEFAULT) @ power) / 0.5)
    measured = levels(tone(frequency, amplitude))[0]
    band = int(expected.argmax())
    assert mel.corners(DEFAULT)[band] < frequency < mel.corners(DEFAULT)[band + 2]
    assert (measured.argmax(axis=0) == band).all()
    assert np.abs(measured[band] - expected[band]).max() < 0.5
    # Its neighbours too, as far as they stand over the rounding of float32.
    loud = expected > -100
    assert loud.sum() >= 5
    assert np.abs(measured[loud] - expected[loud, None]).max() < 0.5


def test_bands_of_noise_sum_to_its_mean_square():
    """Parseval: white noise of a given power, less what lies outside the triangles."""
    deviation = 0.02
    samples = np.random.default_rng(1).normal(0, deviation, (4, DEFAULT.window_samples))
    inside = mel.filterbank(DEFAULT).sum() / (DEFAULT.n_fft / 2)
    expected = 10 * np.log10(deviation**2 * inside / 0.5)
    measured = 10 * np.log10((10 ** (levels(samples) / 10)).sum(axis=1).mean())
    assert abs(measured - expected) < 0.1
    level = spectra(samples).level
    np.testing.assert_allclose(level, 10 * np.log10(deviation**2 / 0.5), atol=0.05)


def test_a_chirps_time_axis_is_right_within_one_frame():
    start, rate = 800.0, 3000.0
    time = clock(DEFAULT)
    measured = levels(0.5 * np.sin(2 * np.pi * (start * time + rate / 2 * time**2)))[0]
    frame_time, centre = mel.frame_times(DEFAULT), mel.corners(DEFAULT)[1:-1]
    passed = (centre - start) / rate
    seen = (passed > 0.2) & (passed < 2.8)
    assert seen.sum() > 60
    for band in np.flatnonzero(seen):
        loudest = frame_time[measured[band] == measured[band].max()].mean()
        assert abs(loudest - passed[band]) < DEFAULT.hop_length / DEFAULT.sample_rate


def test_a_click_lies_in_the_frames_that_cover_it():
    samples = np.zeros(DEFAULT.window_samples)
    at = 40_000
    samples[at] = 1.0
    loud = np.flatnonzero(levels(samples)[0].max(axis=0) > -100)
    covering = [j for j in range(256) if j * 512 < at < j * 512 + 1024]
    assert loud.tolist() == covering


@pytest.mark.parametrize("spectrogram", [DEFAULT, *OTHERS])
@pytest.mark.parametrize("signal", ["noise", "tone", "step", "quiet"])
def test_fast_path_equals_the_definition(spectrogram, signal):
    random = np.random.default_rng(7)
    samples = {
        "noise": random.normal(0, 0.05, (3, spectrogram.window_samples)),
        "tone": tone(2345.6, 0.7, spectrogram)[None] + random.normal(0, 1e-4, (3, 1)),
        "step": np.cumsum(random.normal(0, 0.002, (3, spectrogram.window_samples)), axis=1),
        "quiet": random.normal(0, 2 / 32768, (3, spectrogram.window_samples)),
    }[signal].astype(np.float32)
    made = spectra(samples, spectrogram)
    coding = mel.Codes.of(spectrogram)
    exact = mel.decibels(samples, spectrogram)
    within = np.clip(exact, coding.minimum, coding.maximum)
    # float32 knows some 120 dB under the loudest of a frame; 110 dB are good to a tenth.
    audible = exact > exact.max(axis=1, keepdims=True) - 110
    error = np.abs(coding.decode(made.codes) - within)
    assert error[audible].max() <= coding.step / 2 + 0.1
    assert (made.codes == coding.encode(exact))[audible].mean() > 0.995
    assert made.clipped_high == (exact >= coding.maximum + coding.step / 2).sum()


def test_power_equals_librosa():
    import librosa

    samples = np.random.default_rng(3).normal(0, 0.1, DEFAULT.window_samples)
    theirs = librosa.feature.melspectrogram(
        y=samples,
        sr=44_100,
        n_fft=1024,
        hop_length=512,
        window="hann",
        center=False,
        power=2.0,
        n_mels=128,
        fmin=150,
        fmax=15_000,
        htk=True,
        norm=None,
    )[:, :256]
    expected = 10 * np.log10(theirs * mel.power_scale(1024))
    np.testing.assert_allclose(mel.decibels(samples[None], DEFAULT)[0], expected, atol=1e-4)
    assert np.abs(levels(samples)[0] - expected).max() <= 0.251


def test_power_equals_torchaudio():
    import torch
    import torchaudio

    samples = np.random.default_rng(4).normal(0, 0.1, DEFAULT.window_samples).astype(np.float32)
    transform = torchaudio.transforms.MelSpectrogram(
        44_100, 1024, hop_length=512, f_min=150, f_max=15_000, n_mels=128, center=False, power=2.0
    )
    theirs = transform(torch.from_numpy(samples)).numpy()[:, :256]
    expected = 10 * np.log10(theirs * mel.power_scale(1024))
    assert np.abs(levels(samples)[0] - expected).max() <= 0.26


def test_codes_never_wrap():
    """The seed project cast 0 dB to 0: its loudest pixels came out darkest."""
    silence = spectra(np.zeros(DEFAULT.window_samples))
    assert (silence.codes == 0).all()
    assert silence.clipped_low == silence.codes.size
    assert silence.level[0] == LEVEL_FLOOR_DB
    assert silence.activity[0] == 0

    square = np.sign(tone(1000, 1.0))
    loud = spectra(square)
    assert loud.clipped_high == 0
    # The fundamental of a full-scale square wave is a sine of 4/pi: +2.1 dB.
    corner = mel.corners(DEFAULT)
    fundamental = (corner[:-2] > 850) & (corner[2:] < 1150)
    of_fundamental = mel.Codes.of(DEFAULT).decode(loud.codes[0][fundamental])
    assert np.abs(total_db(of_fundamental) - 20 * np.log10(4 / np.pi)).max() < 0.5
    assert loud.level[0] == pytest.approx(3.01, abs=0.01)

    # Float files hold what they like: 60 dB over full scale is beyond the highest code.
    far = spectra(tone(3000, 1000.0))
    assert far.clipped_high >= DEFAULT.frames
    assert far.codes.max() == 255
    band = int(levels(tone(3000, 0.5))[0].mean(axis=1).argmax())
    assert (far.codes[0, band] == 255).all()


def test_louder_is_never_darker():
    brightest = [int(spectra(tone(3000, 10 ** (db / 20))).codes.max()) for db in range(-110, 41, 5)]
    assert brightest == sorted(brightest)
    assert brightest[-1] == 255


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38])
def test_samples_that_are_not_finite_do_no_harm(poison):
    good = tone(3000, 0.1)
    bad = good.copy()
    bad[50_000] = poison
    made = spectra(np.stack([good, bad]))
    assert made.broken == 1
    assert np.isfinite(made.level).all()
    if not abs(poison) < np.inf:
        # Only the frames that cover the sample change.
        touched = np.flatnonzero((made.codes[0] != made.codes[1]).any(axis=0))
        assert set(touched) <= {96, 97}
        assert made.level[1] == pytest.approx(made.level[0], abs=0.01)


def test_a_constant_offset_stays_below_the_first_band():
    noise = np.random.default_rng(5).normal(0, 1e-3, DEFAULT.window_samples)
    without, offset = levels(noise)[0], levels(noise + 0.25)[0]
    assert np.abs(without - offset).max() <= 0.5
    assert spectra(noise + 0.25).level[0] == pytest.approx(10 * np.log10(0.25**2 / 0.5), abs=0.01)


def test_a_block_does_not_depend_on_its_neighbours():
    samples = (
        np.random.default_rng(6).normal(0, 0.1, (5, DEFAULT.window_samples)).astype(np.float32)
    )
    whole = spectra(samples)
    for index in range(5):
        alone = spectra(samples[index])
        assert (alone.codes[0] == whole.codes[index]).all()
        assert alone.level[0] == whole.level[index]
        assert alone.activity[0] == whole.activity[index]


def test_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="132300"):
        Spectrograph(DEFAULT)(np.zeros((1, 1000), np.float32))
    with pytest.raises(ValueError, match="float64"):
        Spectrograph(DEFAULT)(np.zeros((1, DEFAULT.window_samples)))


codings = st.builds(
    mel.Codes,
    minimum=st.floats(-300, 0),
    step=st.floats(0.05, 2),
)


@given(codings, st.integers(0, 255))
def test_a_code_survives_decibels(coding, code):
    assert coding.encode(coding.decode(np.array([code], np.uint8)))[0] == code


@given(codings, st.floats(allow_nan=False, width=32))
def test_decibels_survive_a_code_to_half_a_step(coding, level):
    back = float(coding.decode(coding.encode([level]))[0])
    nearest = min(max(level, coding.minimum), coding.maximum)
    assert abs(back - nearest) <= coding.step / 2 + 1e-4


@given(codings, st.lists(st.floats(allow_nan=False), min_size=2))
def test_encoding_keeps_order(coding, unordered):
    codes = coding.encode(sorted(unordered)).astype(int)
    assert (np.diff(codes) >= 0).all()


def test_nan_has_no_code():
    with pytest.raises(ValueError, match="not a number"):
        mel.Codes(-120, 0.5).encode([np.nan])


@settings(deadline=None, max_examples=25)
@given(st.floats(200, 14_000), st.floats(-70, 0))
def test_any_tone_has_its_level(frequency, amplitude_db):
    measured = levels(tone(frequency, 10 ** (amplitude_db / 20)))[0]
    near = np.argsort(measured.mean(axis=1))[-8:]
    inside = mel.corners(DEFAULT)[1] + 50 < frequency < mel.corners(DEFAULT)[-2] - 100
    if inside:
        assert np.abs(total_db(measured[near]) - amplitude_db).max() < 0.5
