"""The transform of eight frames is scipy's, bit by bit, and its band powers those of the definition."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.fft

from dawnchorus.config import Spectrogram
from dawnchorus.spectrograms import spectrograph
from dawnchorus.spectrograms.fourier import _transform, transformable, twiddles
from dawnchorus.spectrograms.lanes import LANES, load, store
from dawnchorus.spectrograms.spectrograph import Spectrograph


def spectra(frames: np.ndarray) -> np.ndarray:
    """Spectra of eight frames, complex64 (bins, 8), by the compiled transform."""
    n_fft = frames.shape[1]
    sound = np.ascontiguousarray(frames.T).reshape(-1)
    spare = np.empty_like(sound)
    rows = spare if _transform(sound, spare, twiddles(n_fft)) else sound
    rows = rows.reshape(n_fft, LANES)
    found = np.zeros((n_fft // 2 + 1, LANES), np.complex64)
    found.real[0], found.real[1:], found.imag[1:-1] = rows[0], rows[1::2], rows[2::2]
    return found


@pytest.mark.parametrize("n_fft", [2**power for power in range(3, 15)])
def test_spectra_equal_those_of_scipy(n_fft):
    frames = np.random.default_rng(n_fft).normal(0, 0.1, (LANES, n_fft)).astype(np.float32)
    np.testing.assert_array_equal(spectra(frames), scipy.fft.rfft(frames.T, axis=0))


def test_only_powers_of_two_are_transformed():
    assert [n for n in range(1, 1100) if transformable(n)] == [8, 16, 32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"n_fft": 512, "hop_length": 300, "frames": 254},
        {"n_fft": 2048, "hop_length": 128, "frames": 5},
        {"n_fft": 64, "hop_length": 64, "frames": 1, "mels": 7},
        {"f_min": 0.0, "f_max": 22_050.0},
        {"f_min": 5000.0, "f_max": 5100.0, "mels": 40},
    ],
)
def test_codes_are_those_made_by_way_of_scipy(changed, monkeypatch):
    settings = Spectrogram.model_validate(changed)
    random = np.random.default_rng(8)
    samples = random.normal(0, 0.1, (3, settings.window_samples)).astype(np.float32)
    samples[1] *= np.float32(1e-4)
    samples[2, ::3] = 0
    mine = Spectrograph(settings)(samples)
    monkeypatch.setattr(spectrograph, "transformable", lambda n_fft: False)
    other = Spectrograph(settings)(samples)
    np.testing.assert_array_equal(mine.codes, other.codes)
    np.testing.assert_array_equal(mine.activity, other.activity)
    assert (mine.clipped_low, mine.clipped_high) == (other.clipped_low, other.clipped_high)


def test_windows_may_lie_apart_or_backwards():
    settings = Spectrogram()
    random = np.random.default_rng(9)
    samples = random.normal(0, 0.1, (2, 2 * settings.window_samples)).astype(np.float32)
    spread, tidy = samples[:, ::2], np.ascontiguousarray(samples[:, ::2])
    spectrum = Spectrograph(settings)
    np.testing.assert_array_equal(spectrum(spread).codes, spectrum(tidy).codes)
    np.testing.assert_array_equal(spectrum(tidy[::-1]).codes, spectrum(tidy).codes[::-1])


def test_lanes_want_contiguous_float32():
    @numba.njit
    def copy(source, target):
        store(target, 0, load(source, 0))

    numbers = np.arange(16, dtype=np.float32)
    target = np.zeros(8, np.float32)
    copy(numbers, target)
    np.testing.assert_array_equal(target, numbers[:8])
    for wrong in (numbers[::2], numbers.astype(np.float64)):
        with pytest.raises((numba.TypingError, numba.core.errors.LoweringError, TypeError)):
            copy(wrong, target)
