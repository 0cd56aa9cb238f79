"""Acoustic indices of a day: from the spectrograms' own pass, or by themselves, they are the same."""

import numpy as np
import polars as pl
import pytest

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.audio import windows
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms import minutes as step
from dawnchorus.spectrograms.indices import MinuteIndices
from dawnchorus.spectrograms.minutes import make_indices
from dawnchorus.spectrograms.spectrograph import Spectrograph

from .conftest import RATE, hashes, noise


@pytest.fixture
def two(card):
    """Recordings of 130 s at 44.1 kHz and of 61 s at 48 kHz, and one too short for a window."""
    card.add(5, noise(130, seed=1))
    card.add(6, noise(61, seed=2, rate=48_000), rate=48_000)
    card.add(7, noise(2, seed=3))
    card.scan()
    return card


def wanted(card, **indices):
    changed = card.settings.indices.model_copy(update={"enabled": True, **indices})
    card.settings = card.settings.model_copy(update={"indices": changed})
    return card


def table(card):
    return pl.read_parquet(card.results.indices(card.day))


def test_indices_leave_the_store_as_it_is(two):
    other = wanted(two.elsewhere("with"))
    assert two.make() == other.make()
    assert hashes(two.store) == hashes(other.store)
    assert not two.results.indices(two.day).exists()
    assert other.results.indices_picture(two.day).read_bytes()[:4] == b"\x89PNG"


def test_minutes_are_placed(two):
    wanted(two).make(workers=2)
    found = table(two)
    names = [f"REC01/REC01_20210524_{hour}0000.wav" for hour in ("05", "06")]
    # 43 windows of 3 s are 129 s; of the 61 s at 48 kHz a second is left over, which is no window.
    assert found["recording"].to_list() == [names[0]] * 3 + [names[1]]
    assert found["offset"].to_list() == [0, 60 * RATE, 120 * RATE, 0]
    assert found["seconds"].to_list() == [60.0, 60.0, 9.0, 60.0]
    local = [f"{time:%H:%M:%S}" for time in found["local_time"]]
    assert local == ["05:00:00", "05:01:00", "05:02:00", "06:00:00"]
    assert found["time"][0].isoformat() == "2021-05-24T10:00:00+00:00"


def test_a_minute_is_that_of_its_samples(two):
    """The whole way, from the file, beside the functions themselves."""
    wanted(two).make()
    settings: Settings = two.settings
    block = next(windows(two.path(5), sample_rate=RATE, window_seconds=3.0, block_windows=20))
    spectrum = Spectrograph(settings.spectrogram)
    _, amplitudes, samples = spectrum.with_amplitudes(block.samples)
    exact = np.abs(
        np.fft.rfft(
            spectrum.framing.frames_of(block.samples[0].astype(np.float64))
            * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)),
            axis=1,
        )
    )
    ratio = amplitudes[5:500, :256] / exact.T[5:500]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=2e-3)
    minute = MinuteIndices(settings.indices, RATE, 1024)(amplitudes, 256, samples)
    first = table(two).row(0, named=True)
    for name in ("aci", "ndsi", "adi", "aei", "bi", "hf", "ht", "h", "level"):
        assert first[name] == pytest.approx(getattr(minute, name), rel=1e-12)
    assert first["h"] > 0.9  # white noise


def test_by_themselves_and_along_the_way_they_are_the_same(two, monkeypatch):
    along = wanted(two.elsewhere("along"))
    along.make(workers=2)
    receipt = make_indices(two.settings, two.results, two.day)
    assert receipt["minutes"] == len(table(two)) == len(table(along))
    folders = [card.results.indices(two.day).parent for card in (two, along)]
    assert hashes(folders[0]) == hashes(folders[1])
    # Once made they are found, by whichever way they came.
    monkeypatch.setattr(step, "computed", lambda *_: pytest.fail("computed again"))
    assert make_indices(two.settings, two.results, two.day) == receipt
    assert make_indices(along.settings, along.results, along.day) == receipt


def test_a_changed_limit_makes_them_again_and_no_spectrogram(two):
    wanted(two).make()
    before, store = table(two), hashes(two.store)
    wanted(two, biophony=(2000.0, 8000.0))
    make_indices(two.settings, two.results, two.day)
    assert (table(two)["ndsi"] != before["ndsi"]).all()
    assert (table(two)["aci"] == before["aci"]).all()
    assert hashes(two.store) == store


def test_a_day_without_minutes(card):
    card.add(5, noise(2))
    card.scan()
    wanted(card).make()
    receipt = make_indices(card.settings, card.results, card.day)
    assert (receipt["verdict"], receipt["minutes"]) == ("set aside", 0)
    assert not card.results.indices(card.day).exists()
    none = make_indices(card.settings, card.results, RecorderDay("REC01", "2021-05-25"))
    assert none["verdict"] == "set aside"


@pytest.mark.parametrize("spectrogram", [{"overlap_seconds": 1.0}, {"other_rates": "keep"}])
def test_what_indices_cannot_be_made_from(spectrogram):
    with pytest.raises(ValueError, match="indices: need windows that do not overlap"):
        Settings.model_validate({"spectrogram": spectrogram, "indices": {"enabled": True}})


@pytest.mark.parametrize("spectrogram", [{"overlap_seconds": 1.0}, {"other_rates": "keep"}])
def test_nor_when_they_are_asked_for_by_the_command(two, spectrogram):
    """Not enabled in the configuration, such settings are good for spectrograms."""
    other = two.elsewhere("other", **spectrogram)
    with pytest.raises(DawnChorusError, match="indices: need windows that do not overlap"):
        make_indices(other.settings, other.results, other.day)
    assert not other.results.indices_receipt(other.day).exists()
