"""The store explains itself to xarray, and reads as it was written."""

import pickle
import warnings
from datetime import timedelta

import numpy as np
import pytest
import zarr

from dawnchorus.errors import DawnChorusError
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.spectrograph import Spectra, Spectrograph
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.writer import SpectrogramWriter

from .conftest import RATE, hashes, noise


@pytest.fixture
def made(card):
    """Two recordings, 7 and 12 windows, the second with a 3 kHz tone of -20 dB in its last one."""
    card.add(5, noise(22, seed=1))
    second = noise(36, seed=2, level=1e-4)
    second[-3 * RATE :] += 0.1 * np.sin(2 * np.pi * 3000 * np.arange(3 * RATE) / RATE)
    card.add(6, second)
    card.scan()
    card.make()
    return card


def test_xarray_shows_dimensions_coordinates_units_and_attributes(made):
    import xarray

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(made.store)
        spectrogram = data["spectrogram"]
        values = spectrogram.values
    settings = made.settings.spectrogram
    assert dict(data.sizes) == {"window": 19, "mel": 128, "frame": 256}
    assert list(data.data_vars) == ["spectrogram"]
    assert spectrogram.dims == ("window", "mel", "frame")
    assert {name: data.coords[name].dims for name in data.coords} == {
        "time": ("window",),
        "recording": ("window",),
        "offset": ("window",),
        "activity": ("window",),
        "level": ("window",),
        "mel_frequency": ("mel",),
        "mel_low": ("mel",),
        "mel_high": ("mel",),
        "frame_time": ("frame",),
    }
    assert spectrogram.attrs["units"] == "dB"
    assert spectrogram.attrs["long_name"] == "mel power spectrogram"
    assert "full-scale sine" in spectrogram.attrs["reference"]
    assert spectrogram.attrs["clipped_high_share"] == 0
    assert 0 <= spectrogram.attrs["clipped_low_share"] < 0.5
    assert spectrogram.encoding["scale_factor"] == 0.5
    assert spectrogram.encoding["add_offset"] == -120
    assert spectrogram.encoding["dtype"] == np.uint8
    assert data.mel_frequency.attrs["units"] == data.mel_low.attrs["units"] == "Hz"
    assert data.frame_time.attrs["units"] == "s"
    assert data.level.attrs["units"] == data.activity.attrs["units"] == "dB"

    # 05:00 in Chicago's summer is 10:00 UTC.
    assert np.issubdtype(data.time.dtype, np.datetime64)
    assert data.time.values[0] == np.datetime64("2021-05-24T10:00:00")
    assert data.time.values[6] == np.datetime64("2021-05-24T10:00:18")
    assert data.time.values[7] == np.datetime64("2021-05-24T11:00:00")
    assert data.recording.values.tolist() == [0] * 7 + [1] * 12
    assert data.offset.values[:3].tolist() == [0, 132_300, 264_600]

    # Values in dB, without this package: the tone sums to -20 dB.
    last = values[-1]
    near = np.abs(data.mel_frequency.values - 3000) < 300
    summed = 10 * np.log10((10 ** (last[near].astype(float) / 10)).sum(axis=0))
    np.testing.assert_allclose(summed, -20, atol=0.5)
    assert data.level.values[-1] == pytest.approx(-20, abs=0.05)

    attributes = data.attrs
    assert attributes["recorder"] == "REC01"
    assert attributes["date"] == "2021-05-24"
    assert attributes["recordings"] == [
        "REC01/REC01_20210524_050000.wav",
        "REC01/REC01_20210524_060000.wav",
    ]
    assert attributes["recording_windows"] == [7, 12]
    assert attributes["recording_sample_rate"] == [RATE, RATE]
    assert attributes["parameters"] == {**settings.model_dump(mode="json"), "channel": 0}
    assert len(attributes["parameters_fingerprint"]) == 32
    assert attributes["version"] and "dawnchorus" in attributes["source"]
    assert attributes["channel"] and attributes["resampling"].startswith("none")
    assert attributes["windows_with_broken_samples"] == 0


def test_xarray_needs_neither_this_package_nor_zarrs(made):
    import subprocess
    import sys

    script = (
        "import sys, xarray, zarr; data = xarray.open_zarr(sys.argv[1]);"
        "print(float(data.spectrogram.max()));"
        "assert 'dawnchorus' not in sys.modules;"
        "assert 'zarrs' not in zarr.config.get('codec_pipeline.path')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, made.store],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert -30 < float(done.stdout) < -15


def test_a_season_opens_lazily_as_one_array(made):
    """As docs/results.md shows it: nothing is read before it is used (Dask)."""
    import dask.array
    import xarray

    days = [xarray.open_zarr(path, chunks={}) for path in (made.store, made.store)]
    season = xarray.concat(days, "window", combine_attrs="drop")
    assert isinstance(season.spectrogram.data, dask.array.Array)
    assert season.spectrogram.shape == (38, 128, 256)
    mean = season.spectrogram.mean(["window", "frame"]).compute()
    assert mean.values == pytest.approx(made.open().db(made.open().codes()).mean(axis=(0, 2)))


def test_values_survive_a_round_trip_through_xarray(made, tmp_path):
    import xarray

    store = made.open()
    data = xarray.open_zarr(made.store)
    np.testing.assert_array_equal(data.spectrogram.values, store.db(store.codes()))
    data.load().to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    again = xarray.open_zarr(tmp_path / "copy.zarr", consolidated=False)
    xarray.testing.assert_identical(again.drop_attrs(), data.drop_attrs())
    packed = xarray.open_zarr(tmp_path / "copy.zarr", mask_and_scale=False, consolidated=False)
    assert packed.spectrogram.dtype == np.uint8
    np.testing.assert_array_equal(packed.spectrogram.values, store.codes())


def test_few_files_sharded(made):
    names = hashes(made.store)
    assert len(names) <= 24
    shards = [name for name in names if name.startswith("spectrogram/c/")]
    assert shards == ["spectrogram/c/0/0/0", "spectrogram/c/1/0/0"]
    array = zarr.open_group(made.store, mode="r")["spectrogram"]
    assert array.chunks == (4, 128, 256)
    assert array.shards == (12, 128, 256)  # 19 windows in equal shards of at most 16
    assert array.metadata.dimension_names == ("window", "mel", "frame")


def test_codes_are_those_of_the_samples(made):
    import soundfile

    store = made.open()
    samples, _ = soundfile.read(made.path(6), dtype="float32")
    expected = Spectrograph(made.settings.spectrogram)(samples.reshape(12, -1))
    assert (store.codes(7) == expected.codes).all()
    np.testing.assert_array_equal(store.activity[7:], expected.activity)
    np.testing.assert_array_equal(store.level[7:], expected.level)
    exact = mel.decibels(samples.reshape(12, -1)[:2], made.settings.spectrogram)
    assert np.abs(store.db(store.codes(7, 9)) - np.clip(exact, -120, 7.5)).max() < 0.26


def test_take_gives_the_order_asked_for(made):
    store = made.open()
    everything = store.codes()
    assert len(store) == len(everything) == 19
    for wanted in ([18, 0, 3, 3, 17, 5], [], [7], list(range(19))[::-1]):
        assert (store.take(wanted) == everything[wanted]).all()
    assert store.take([]).shape == (0, 128, 256)
    for outside in ([19], [-1]):
        with pytest.raises(IndexError, match="19 windows"):
            store.take(outside)


def test_find_knows_each_window_and_no_other(made):
    store = made.open()
    names = [store.recordings[index] for index in store.recording]
    assert (store.find(names, store.offset) == np.arange(19)).all()
    first, second = store.recordings
    found = store.find([second, first, "REC01/other.wav", first], [0, 132_300, 0, 132_301])
    assert found.tolist() == [7, 1, -1, -1]
    with pytest.raises(ValueError, match="recordings"):
        store.find([first], [0, 1])


def test_coordinates_of_the_store(made):
    store = made.open()
    assert store.time.dtype == np.dtype("datetime64[us]")
    assert store.time[8] - store.time[7] == np.timedelta64(timedelta(seconds=3))
    assert store.band_low[0] == 150 and store.band_high[-1] == 15_000
    np.testing.assert_allclose(store.band_frequency[:-1], store.band_low[1:])
    assert store.frame_time[0] == pytest.approx(512 / RATE)
    assert store.frame_time[-1] == pytest.approx((255 * 512 + 512) / RATE)
    assert store.attributes["recorder"] == "REC01"


def test_a_store_travels_to_another_process_as_its_path(made):
    copy = pickle.loads(pickle.dumps(made.open()))  # noqa: S301
    assert (copy.codes(0, 2) == made.open().codes(0, 2)).all()


def test_the_codec_pipeline_is_set_only_while_needed(made):
    before = zarr.config.get("codec_pipeline.path")
    workers = zarr.config.get("threading.max_workers")
    made.elsewhere("again").make()
    made.open().codes()
    assert zarr.config.get("codec_pipeline.path") == before
    assert zarr.config.get("threading.max_workers") == workers


def test_what_is_no_store_is_said_in_one_line(tmp_path):
    with pytest.raises(DawnChorusError, match="run 'dawnchorus spectrograms' first"):
        SpectrogramStore.open(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DawnChorusError, match="is no spectrogram store"):
        SpectrogramStore.open(tmp_path / "empty.zarr")
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array(
        "spectrogram", shape=3, dtype="u1"
    )
    with pytest.raises(DawnChorusError, match="is no spectrogram store"):
        SpectrogramStore.open(tmp_path / "other.zarr")


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("expected", [1, 16, 37, 40, 100])
@pytest.mark.parametrize("blocks", [[37], [1] * 37, [5, 20, 12], [16, 16, 5]])
def test_writing_does_not_depend_on_blocks_or_promises(
    tmp_path, card, background, expected, blocks
):
    """37 windows in shards of 16, whatever the headers promised and however they arrive."""
    spectrogram = card.settings.spectrogram.model_copy(update={"mels": 8, "frames": 16})
    random = np.random.default_rng(5)
    codes = random.integers(0, 256, (37, 8, 16), np.uint8)
    codes[4:9] = 0  # a chunk of the fill value, which is not stored
    level, active = random.normal(size=(2, 37)).astype(np.float32)
    offset = np.arange(37) * 132_300
    time = np.datetime64("2021-05-24T10:00:00", "us") + np.arange(37) * np.timedelta64(3, "s")
    with SpectrogramWriter(
        tmp_path / "day.zarr", spectrogram, expected, background=background
    ) as writer:
        start = 0
        for count in blocks:
            part = slice(start, start + count)
            still = np.zeros(len(codes[part]))
            spectra = Spectra(
                codes[part], level[part], active[part], 1, 2, 0, still, still, still.astype(int)
            )
            writer.append(spectra, recording=0, offset=offset[part], time=time[part])
            start += count
        assert writer.windows == 37
        writer.finish({"recordings": ["a.wav"], "parameters_fingerprint": "0"})
    store = SpectrogramStore.open(tmp_path / "day.zarr")
    assert (store.codes() == codes).all()
    assert (store.offset == offset).all()
    assert (store.time == time).all()
    assert (store.level == level).all()
    assert (store.activity == active).all()
    shard = {1: 4, 16: 16, 37: 16, 40: 16, 100: 16}[expected]
    files = list((tmp_path / "day.zarr" / "spectrogram" / "c").iterdir())
    assert len(files) == -(-37 // shard) - (shard == 4)  # a shard of zeros needs no file
    shares = zarr.open_group(tmp_path / "day.zarr")["spectrogram"].attrs
    assert shares["clipped_low_share"] == len(blocks) / codes.size
    assert shares["clipped_high_share"] == 2 * len(blocks) / codes.size
