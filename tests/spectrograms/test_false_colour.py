"""The picture of a day: what is where, what is grey, and the same bytes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from dawnchorus.config import Indices
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.false_colour import (
    CHANNELS,
    DPI,
    GREY,
    HEIGHT,
    LEFT,
    MINUTES,
    TOP,
    colours,
    columns,
    draw_day,
)
from dawnchorus.spectrograms.index_kernels import fill_amplitudes
from dawnchorus.spectrograms.indices import Minute, MinuteIndices, MinuteRow

RATE, N_FFT, HOP, FRAMES, WINDOW = 44_100, 1024, 512, 256, 132_300
DAY = RecorderDay("SM01", "2021-05-24")
MIDNIGHT = datetime(2021, 5, 24, 5, 0, tzinfo=UTC)
COMPUTE = MinuteIndices(Indices(), RATE, N_FFT)
ROW_OF_4_KHZ = int(4000 // COMPUTE.row_hertz)


def heard(samples) -> Minute:
    windows = samples.reshape(-1, WINDOW).astype(np.float32)
    filled = np.empty((N_FFT // 2 + 1, len(windows) * FRAMES), np.float32)
    views = np.lib.stride_tricks.sliding_window_view(windows, N_FFT, axis=1)[:, ::HOP][:, :FRAMES]
    for number, framed in enumerate(views):
        spectrum = scipy.fft.rfft(framed.T, axis=0).view(np.float32)
        fill_amplitudes(spectrum, mel.power_scale(N_FFT), filled, number * FRAMES)
    return COMPUTE(filled, FRAMES, windows)


def noise(seed=0):
    return np.random.default_rng(seed).normal(0, 0.001, 20 * WINDOW)


def with_chirps():
    """Short sweeps from 3.9 to 4.1 kHz over noise, twice a second."""
    samples = noise()
    own = np.arange(round(0.12 * RATE)) / RATE
    sweep = 0.1 * np.sin(2 * np.pi * (3900 + 200 / 0.24 * own) * own) * np.hanning(len(own))
    for begin in np.arange(0.1, 59.5, 0.5):
        at = round(begin * RATE)
        samples[at : at + len(own)] += sweep
    return samples


QUIET, CHIRPING, SILENT = heard(noise()), heard(with_chirps()), heard(np.zeros(WINDOW))


def row(minutes, minute=QUIET, seconds=60.0) -> MinuteRow:
    """A minute that begins so many minutes after local midnight."""
    return MinuteRow("SM01/a.wav", 0, MIDNIGHT + timedelta(minutes=minutes), -300, seconds, minute)


def a_day():
    """From 05:00 to 07:00, chirps at 06:00, nothing recorded at 06:30."""
    return [row(at, CHIRPING if at == 360 else QUIET) for at in range(300, 420) if at != 390]


def test_a_chirp_colours_its_minute_at_its_frequency():
    picture = colours(a_day(), DAY.date)
    assert picture.shape == (256, 1440, 3)
    # Few loud moments (green), often above the background (blue); slow sweeps are not complex (red).
    assert (picture[ROW_OF_4_KHZ, 360, 1:] > 100).all()
    assert picture[ROW_OF_4_KHZ, [359, 361]].max() < 60
    assert picture[[ROW_OF_4_KHZ - 20, ROW_OF_4_KHZ + 20], 360].max() < 80


def test_what_was_not_recorded_is_grey_and_silence_is_black():
    picture = colours([*a_day(), row(600, SILENT)], DAY.date)
    assert (picture[:, 390] == GREY).all()
    assert (picture[:, :300] == GREY).all()
    assert (picture[:, 420:600] == GREY).all()
    assert not picture[:, 600].any()
    assert not (picture[:, 389] == GREY).all(axis=-1).any()


def test_steady_noise_is_nearly_black():
    picture = colours([row(0)], DAY.date)
    assert picture[1:, 0].mean() < 25


def test_the_limits_are_fixed_and_ordered():
    full = Minute(*(0.0,) * 9, *(np.full(4, value, np.float32) for value in (2, 0, 1, 0)))
    empty = Minute(*(0.0,) * 9, *(np.full(4, value, np.float32) for value in (0, 1, 0, 0)))
    picture = colours([row(0, full), row(1, empty)], DAY.date)
    assert (picture[:, 0] == 255).all()
    assert (picture[:, 1] == 0).all()
    assert all(0 < channel.low < channel.high for channel in CHANNELS)


def test_a_minute_lies_where_its_middle_does():
    rows = [row(360), row(359.8), row(359.2), row(-0.2), row(1440), row(1439.7), row(7, seconds=30)]
    assert columns(rows, DAY.date).tolist() == [360, 360, 359, 0, 1440, 1440, 7]


def test_minutes_that_share_a_column_are_averaged_by_length():
    full = Minute(*(0.0,) * 9, *(np.full(4, value, np.float32) for value in (2, 0, 1, 0)))
    empty = Minute(*(0.0,) * 9, *(np.full(4, value, np.float32) for value in (0, 1, 0, 0)))
    both = [row(5, full, seconds=15), row(5.25, empty, seconds=45)]
    assert (colours(both, DAY.date)[:, 5] == 64).all()
    assert (colours(both[::-1], DAY.date)[:, 5] == 64).all()


def test_minutes_of_other_heights_and_no_minutes_are_refused():
    other = Minute(*(0.0,) * 9, *(np.zeros(5, np.float32),) * 4)
    for rows in ([], [row(0), row(1, other)]):
        with pytest.raises(ValueError, match="frequency rows"):
            colours(rows, DAY.date)


def test_the_png_shows_each_minute_as_one_column_of_pixels(tmp_path):
    rows, path = a_day(), tmp_path / "day.png"
    draw_day(path, rows, DAY, COMPUTE.row_hertz)
    with Image.open(path) as image:
        assert {key for key in image.info if key != "dpi"} == set()
        assert image.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)
        pixels = np.asarray(image.convert("RGB"))
    shown = pixels[TOP : TOP + HEIGHT, LEFT : LEFT + MINUTES][::-1]
    expected = np.repeat(colours(rows, DAY.date), HEIGHT // 256, axis=0)
    # The marks of the axes touch the outermost pixels.
    np.testing.assert_array_equal(shown[2:-2, 2:-2], expected[2:-2, 2:-2])


def test_drawn_twice_it_is_the_same_bytes(tmp_path):
    rows = [*a_day(), row(1500)]
    for name in ("a.png", "b.png"):
        draw_day(tmp_path / name, rows, DAY, COMPUTE.row_hertz)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
