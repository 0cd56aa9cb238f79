"""The score tells song from noise, and counts what its definition says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dawnchorus.config import Spectrogram
from dawnchorus.spectrograms.activity import MARGIN_DB, activity, excess
from dawnchorus.spectrograms.spectrograph import Spectrograph

DEFAULT = Spectrogram()
RATE, LENGTH = DEFAULT.sample_rate, DEFAULT.window_samples


def by_definition(codes, margin):
    """In float64, with sorting instead of counting."""
    lower = (codes.shape[1] - 1) // 2, (codes.shape[0] - 1) // 2
    rest = codes - np.sort(codes.astype(float), axis=1)[:, [lower[0]]]
    broadband = np.maximum(np.sort(rest, axis=0)[lower[1]], 0)
    return np.maximum(rest - broadband - margin, 0).sum()


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.integers(0, 256),
)
def test_counting_equals_sorting(codes, margin):
    assert excess(codes, margin) == by_definition(codes, margin)


def test_counting_equals_sorting_on_extremes():
    checker = np.indices((128, 256)).sum(axis=0) % 2 * np.uint8(255)
    flat = np.full((128, 256), 255, np.uint8)
    for codes in (checker.astype(np.uint8), flat, flat * 0):
        assert excess(codes, 18) == by_definition(codes, 18)


def noise(random, level=0.005, count=8):
    return random.normal(0, level, (count, LENGTH))


def bursts(random, samples, frequency, amplitude, seconds=0.15, number=4):
    """Whistles of some length at random times."""
    samples = samples.copy()
    length = int(seconds * RATE)
    shape = (
        amplitude * np.hanning(length) * np.sin(2 * np.pi * frequency * np.arange(length) / RATE)
    )
    for window in samples:
        for start in random.integers(0, LENGTH - length, number):
            window[start : start + length] += shape
    return samples


def rain(random, samples, drops=60):
    """Short broadband knocks of random strength: drops on the housing."""
    samples = samples.copy()
    for window in samples:
        for start in random.integers(0, LENGTH - 600, drops):
            knock = random.normal(0, 1, 600) * np.exp(-np.arange(600) / 120)
            window[start : start + 600] += random.exponential(0.05) * knock
    return samples


def gusts(random, samples):
    """Noise whose strength wanders."""
    sway = 1 + 8 * np.abs(np.sin(np.linspace(0, 9, LENGTH)))
    return samples * sway


def score(samples):
    return Spectrograph(DEFAULT)(samples.astype(np.float32)).activity


def test_song_stands_over_every_noise():
    random = np.random.default_rng(11)
    background = noise(random)
    steady = background + 0.1 * np.sin(2 * np.pi * 4000 * np.arange(LENGTH) / RATE)
    quiet = {
        "noise": score(background),
        "louder noise": score(background * 30),
        "rain": score(rain(random, background)),
        "gusts": score(gusts(random, background)),
        "steady tone": score(steady),
        "silence": score(background * 0),
    }
    song = {
        "whistles": score(bursts(random, background, 4000, 0.1)),
        "faint whistles": score(bursts(random, background, 6000, 0.02)),
        "whistles over a steady tone": score(bursts(random, steady, 6500, 0.1)),
        "whistles in rain": score(bursts(random, rain(random, background), 4000, 0.3)),
    }
    loudest_noise = max(float(scores.max()) for scores in quiet.values())
    softest_song = min(float(scores.min()) for scores in song.values())
    assert loudest_noise < 0.06, quiet
    assert softest_song > 2 * loudest_noise, (quiet, song)


def test_more_song_scores_more():
    random = np.random.default_rng(12)
    background = noise(random, count=2)
    few = score(bursts(random, background, 4000, 0.1, number=1))
    many = score(bursts(random, background, 4000, 0.1, number=6))
    assert (many > 2 * few).all()


def test_a_known_picture_has_the_documented_score():
    codes = np.full((128, 256), 100, np.uint8)
    codes[10:20, 50:100] = 160  # 30 dB over its bands in 500 of 32,768 cells
    assert activity(codes, 0.5) == pytest.approx(500 / 32_768 * (30 - MARGIN_DB))
    assert activity(codes, 0.1) == 0.0  # the same codes are 6 dB then


def test_the_score_does_not_depend_on_the_gain():
    random = np.random.default_rng(13)
    song = bursts(random, noise(random, count=3), 5000, 0.05)
    np.testing.assert_allclose(score(song), score(song * 4), rtol=0.02)
