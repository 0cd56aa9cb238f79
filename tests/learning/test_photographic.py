"""The poster's photographic variations, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dawnchorus.config import Augmentation, Photographic
from dawnchorus.learning import augment, photographic
from dawnchorus.learning.crops import Crop, crops_of
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.scale import Scale

ALONE = Ranks(0, 1, 0, torch.device("cpu"))
PLAIN = {"mix_probability": 0.0, "gain_db": 0.0, "frequency_masks": 0, "time_masks": 0}


def test_a_blur_is_scipys_gaussian_of_each_views_own_width():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2, 20, 30)))
    sigma = torch.tensor([0.0, 0.5, 1.3, 2.0], dtype=torch.float64)
    ours = photographic.blurred(x, sigma)
    assert torch.equal(ours[0], x[0])
    for view in (1, 2, 3):
        for channel in (0, 1):
            theirs = gaussian_filter(
                x[view, channel].numpy(),
                float(sigma[view]),
                mode="nearest",
                radius=photographic.BLUR_RADIUS,
            )
            assert np.allclose(ours[view, channel].numpy(), theirs, atol=1e-12)


def test_solarising_turns_the_louder_half_upside_down():
    x = torch.tensor([-100.0, -61.0, -60.0, -20.0])[None, None, None].expand(2, 1, 1, 4)
    ours = photographic.solarised(x, torch.tensor([True, False]), -100.0, -20.0)
    assert ours[0].flatten().tolist() == [-100.0, -61.0, -60.0, -100.0]
    assert torch.equal(ours[1], x[1])


def test_areas_become_shares_of_both_axes():
    uniform = torch.rand(2, 20_000, generator=torch.Generator().manual_seed(0))
    area = 0.4 + 0.3 * uniform[0]
    mel, time = photographic.shares_by_area(area, uniform[1])
    assert mel.max() <= 1 and time.max() <= 1
    whole = (mel < 1) & (time < 1)
    assert whole.float().mean() > 0.9
    assert torch.allclose((mel * time)[whole], area[whole], atol=1e-5)
    ratio = (time / mel)[whole]
    assert ratio.min() >= 0.75 - 1e-4 and ratio.max() <= 4 / 3 + 1e-4
    assert abs(torch.log(ratio).mean()) < 0.02  # as often wide as high


def test_the_first_second_and_further_views_have_chances_of_their_own():
    settings = Augmentation(
        **PLAIN,
        photographic=Photographic(
            solarise_probability=(0.0, 1.0, 0.0),
            blur_probability=(1.0, 0.0, 0.0),
            reverse_probability=0.0,
        ),
    )
    scale = Scale(-120.0, 0.5, -80.0, 10.0)
    codes = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 32, 64), dtype=np.uint8))
    crop = Crop(32, 64, (1.0, 1.0), (1.0, 1.0))
    first, second, third = augment.views(codes, (crop,) * 3, settings, scale, (0, 0), ALONE)
    plain = augment.views(codes, (crop,), Augmentation(**PLAIN), scale, (0, 0), ALONE)[0]
    assert torch.allclose(third, plain, atol=1e-5)
    assert first.std() < 0.9 * plain.std()
    upside_down = torch.where(codes >= 128, 255 - codes, codes).float()
    assert torch.allclose(second[:, 0], (upside_down * 0.5 - 40.0) / 10.0, atol=1e-4)


def test_only_when_asked_for_does_a_view_run_backwards():
    settings = Augmentation(**PLAIN, photographic=Photographic(reverse_probability=0.5))
    scale = Scale(0.0, 1.0, 0.0, 1.0)
    ramp = torch.arange(64, dtype=torch.uint8).expand(300, 32, 64)
    crop = Crop(32, 64, (1.0, 1.0), (1.0, 1.0))
    view = augment.views(ramp, (crop,), settings, scale, (0, 0), ALONE)[0]
    falling = view[:, 0, 0, 0] > view[:, 0, 0, -1]
    assert 110 < falling.sum() < 190
    assert torch.equal(view[falling].flip(-1)[0], view[~falling][0])


def test_a_crop_by_area_keeps_the_shape_it_is_given():
    settings = Augmentation(
        photographic=Photographic(global_area=(0.4, 1.0), global_shape=(48, 48))
    )
    whole, part = crops_of(settings, 128, 256, 16)
    assert (whole.mels, whole.frames, whole.area) == (48, 48, (0.4, 1.0))
    assert part.area is None and part.frames == round(256 * 0.4 / 16) * 16
    codes = torch.zeros((2, 128, 256), dtype=torch.uint8)
    view = augment.views(codes, (whole,), settings, Scale(0.0, 1.0, 0.0, 1.0), (0, 0), ALONE)[0]
    assert view.shape == (2, 1, 48, 48)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_way_of_resizing_is_the_one_asked_for(interpolation):
    settings = Augmentation(
        **PLAIN, photographic=Photographic(interpolation=interpolation, global_shape=(32, 32))
    )
    codes = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (1, 16, 16), dtype=np.uint8))
    crop = Crop(32, 32, (1.0, 1.0), (1.0, 1.0))
    ours = augment.views(codes, (crop,), settings, Scale(0.0, 1.0, 0.0, 1.0), (0, 0), ALONE)[0]
    theirs = torch.nn.functional.interpolate(
        codes[None].float(), size=(32, 32), mode=interpolation, align_corners=False
    )
    inner = (slice(None), slice(None), slice(6, 26), slice(6, 26))  # edges are padded differently
    assert torch.allclose(ours[inner], theirs[inner], atol=1e-2)
