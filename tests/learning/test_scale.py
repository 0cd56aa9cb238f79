"""What the network sees of the stored codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dawnchorus.learning import backbone, scale
from dawnchorus.learning.scale import Scale, counted, of_counts


def measured(codes, db_min, db_step, seen):
    return of_counts(counted(codes, seen), db_min, db_step, seen)


def codes(windows: int = 6) -> np.ndarray:
    return np.random.default_rng(3).integers(20, 200, (windows, 16, 33), dtype=np.uint8)


def decibels(stored: np.ndarray) -> np.ndarray:
    return stored * 0.5 - 120.0


@pytest.mark.parametrize("seen", ["level", "contrast"])
def test_mean_and_deviation_are_those_of_what_is_seen(seen, monkeypatch):
    monkeypatch.setattr(scale, "ROWS_AT_ONCE", 4)
    stored = codes()
    wanted = decibels(stored)
    if seen == "contrast":  # 33 frames: the lower median is the median
        wanted = wanted - np.median(wanted, axis=2, keepdims=True)
    found = measured(stored, -120.0, 0.5, seen)
    assert (found.mean, found.std) == pytest.approx((wanted.mean(), wanted.std()), rel=1e-9)
    assert found.decibels(torch.from_numpy(stored)).numpy()[:, 0] == pytest.approx(wanted)


def test_contrast_forgets_level_and_the_colour_of_the_noise_but_not_the_song():
    stored = codes()
    floor = np.random.default_rng(1).integers(0, 50, (6, 16, 1))
    louder = (stored + floor).astype(np.uint8)
    contrast = Scale(-120.0, 0.5, 0.0, 1.0, "contrast")
    level = Scale(-120.0, 0.5, 0.0, 1.0, "level")
    quiet, loud = torch.from_numpy(stored), torch.from_numpy(louder)
    assert torch.equal(contrast.decibels(quiet), contrast.decibels(loud))
    assert not torch.equal(level.decibels(quiet), level.decibels(loud))
    song = stored.copy()
    song[:, 5, 10:14] = 255
    heard = contrast.decibels(torch.from_numpy(song)) - contrast.decibels(quiet)
    assert heard[:, 0, 5, 10:14].min() > 20


def test_a_silent_set_can_be_divided_by_its_deviation():
    silent = np.zeros((3, 16, 33), np.uint8)
    assert measured(silent, -120.0, 0.5, "level") == Scale(-120.0, 0.5, -120.0, 0.5, "level")
    assert measured(silent, -120.0, 0.5, "contrast") == Scale(-120.0, 0.5, 0.0, 0.5, "contrast")


def test_a_model_is_fed_as_it_was_trained():
    stored = codes()
    made = measured(stored, -120.0, 0.5, "contrast")
    metadata = backbone.ModelMetadata(
        "vit_nano", 16, 16, 32, "mean", made.mean, made.std, -120.0, 0.5, "contrast"
    )
    x = backbone.model_input(torch.from_numpy(stored), metadata)
    assert x.shape == (6, 1, 16, 33)
    assert (x.mean().item(), x.std(correction=0).item()) == pytest.approx((0, 1), abs=1e-4)


def test_both_as_two_channels_are_each_as_alone():
    stored = codes()
    both = measured(stored, -120.0, 0.5, "level+contrast")
    assert both.channels == 2
    x = both.normalised(both.decibels(torch.from_numpy(stored)))
    assert x.shape == (6, 2, 16, 33)
    for channel, seen in enumerate(("level", "contrast")):
        alone = measured(stored, -120.0, 0.5, seen)
        assert (both.mean[channel], both.std[channel]) == (alone.mean, alone.std)
        wanted = alone.normalised(alone.decibels(torch.from_numpy(stored)))
        assert torch.allclose(x[:, channel], wanted[:, 0], atol=1e-5)
