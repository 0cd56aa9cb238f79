"""Augmentations: known sounds in, known views out; never flipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dawnchorus.config import Augmentation
from dawnchorus.learning import augment
from dawnchorus.learning.crops import Crop
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.scale import Scale

SCALE = Scale(db_min=-120.0, db_step=0.5, mean=-80.0, std=10.0)
ALONE = Ranks(0, 1, 0, torch.device("cpu"))
PLAIN = Augmentation(mix_probability=0.0, gain_db=0.0, frequency_masks=0, time_masks=0)
WHOLE = Crop(128, 256, (1.0, 1.0), (1.0, 1.0))
WIDE = Crop.of(128, 256, 16, (0.85, 1.0), (0.6, 1.0))
SMALL = Crop.of(128, 256, 16, (0.6, 1.0), (0.15, 0.4))


def random_codes(windows: int, seed: int = 0) -> torch.Tensor:
    codes = np.random.default_rng(seed).integers(0, 256, (windows, 128, 256), dtype=np.uint8)
    return torch.from_numpy(codes)


def one_view(codes, crop, settings, seed=(0, 0), ranks=ALONE):
    return augment.views(codes, (crop,), settings, SCALE, seed, ranks)[0]


def test_a_whole_crop_without_variation_is_the_normalised_window():
    codes = random_codes(3)
    expected = (codes.float() * 0.5 - 120.0 + 80.0) / 10.0
    assert torch.allclose(one_view(codes, WHOLE, PLAIN)[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize("crop", [WHOLE, WIDE, SMALL])
def test_nothing_is_ever_flipped(crop):
    """Ramps that rise along one axis still rise in every view, whatever is drawn."""
    settings = PLAIN.model_copy(update={"gain_db": 6.0})
    in_time = torch.arange(256, dtype=torch.uint8).expand(64, 128, 256)
    in_mel = (2 * torch.arange(128)).to(torch.uint8)[None, :, None].expand(64, 128, 256)
    for step in range(20):
        rising = one_view(in_time, crop, settings, (3, step)).diff(dim=3)
        assert (rising >= 0).all() and (rising.mean(dim=3) > 0).all()
        rising = one_view(in_mel, crop, settings, (3, step)).diff(dim=2)
        assert (rising >= 0).all() and (rising.mean(dim=2) > 0).all()


def test_a_mixed_view_is_not_flipped_either():
    settings = PLAIN.model_copy(update={"mix_probability": 1.0})
    in_time = torch.arange(256, dtype=torch.uint8).expand(64, 128, 256)
    for step in range(10):
        assert (one_view(in_time, SMALL, settings, (3, step)).diff(dim=3) >= -1e-5).all()


def test_crops_cover_the_shares_asked_for_and_lie_within_the_window():
    """The value of a ramp says where a cell came from."""
    in_time = torch.arange(256, dtype=torch.uint8).expand(2000, 128, 256)
    frames = (one_view(in_time, SMALL, PLAIN)[:, 0, 0] * 10.0 - 80.0 + 120.0) / 0.5
    covered = (frames[:, -1] - frames[:, 0]) / (SMALL.frames - 1) * SMALL.frames / 256
    assert covered.min() >= 0.15 - 0.005 and covered.max() <= 0.4 + 0.005
    assert covered.mean() == pytest.approx(0.275, abs=0.01)
    start = frames[:, 0] / 256
    assert start.min() >= 0 and frames.max() <= 255.01
    # Every part of the window is reached.
    assert start.min() < 0.02 and (frames[:, -1] / 256).max() > 0.98


def test_shapes_of_crops_are_whole_patches_of_their_largest_share():
    assert (WIDE.mels, WIDE.frames) == (128, 256)
    assert (SMALL.mels, SMALL.frames) == (128, 96)
    tiny = Crop.of(128, 256, 16, (0.01, 0.02), (0.01, 0.02))
    assert (tiny.mels, tiny.frames) == (16, 16)


def test_mixing_adds_power_not_decibels():
    x, y = torch.full((2, 1, 1, 1), -40.0), torch.full((2, 1, 1, 1), -30.0)
    share = torch.tensor([0.25, 0.0])
    mixed = augment.mix(x, y, share).flatten()
    assert mixed[0] == pytest.approx(10 * np.log10(0.75 * 1e-4 + 0.25 * 1e-3), abs=1e-4)
    assert mixed[1] == pytest.approx(-40.0, abs=1e-5)
    far = augment.mix(torch.full((1, 1, 1, 1), 7.5), torch.full((1, 1, 1, 1), -120.0), share[:1])
    assert far.item() == pytest.approx(7.5 + 10 * np.log10(0.75), abs=1e-4)


def test_mixing_takes_the_same_crop_of_another_window_in_its_share_of_views():
    settings = PLAIN.model_copy(update={"mix_probability": 0.5, "mix_share": 0.4})
    levels = torch.arange(0, 200, 1, dtype=torch.uint8)[:, None, None].expand(200, 128, 256)
    view = one_view(levels, WHOLE, settings)[:, 0] * 10.0 - 80.0
    own = levels[:, 0, 0].float() * 0.5 - 120.0
    changed = (view[:, 0, 0] - own).abs() > 1e-3
    assert 0.35 < changed.float().mean() < 0.65
    assert torch.allclose(view.std(dim=(1, 2)), torch.zeros(200), atol=1e-3)  # flat stays flat
    assert (view[:, 0, 0] >= own + 10 * np.log10(0.6) - 1e-3).all()  # at most 40 % are taken away


def test_gain_is_uniform_within_its_bounds():
    settings = PLAIN.model_copy(update={"gain_db": 6.0})
    codes = torch.full((4000, 16, 16), 80, dtype=torch.uint8)
    gain = one_view(codes, Crop(16, 16, (1.0, 1.0), (1.0, 1.0)), settings)[:, 0, 0, 0] * 10.0
    assert gain.min() >= -6 and gain.max() <= 6
    assert gain.std() == pytest.approx(12 / 12**0.5, rel=0.03)


def test_masks_are_bands_and_spans_of_the_mean():
    settings = PLAIN.model_copy(
        update={
            "frequency_masks": 2,
            "frequency_mask_mels": 10,
            "time_masks": 1,
            "time_mask_frames": 30,
        }
    )
    codes = torch.full((500, 128, 256), 255, dtype=torch.uint8)
    hidden = one_view(codes, WHOLE, settings)[:, 0] == 0
    rows, columns = hidden.all(dim=2), hidden.all(dim=1)
    assert torch.equal(hidden, rows[:, :, None] | columns[:, None, :])
    assert rows.sum(dim=1).max() <= 20 and 8 < rows.sum(dim=1).float().mean() < 10.5
    assert columns.sum(dim=1).max() == 30
    assert columns.sum(dim=1).float().mean() == pytest.approx(15, abs=1.5)
    edges = columns.int().diff(dim=1).abs().sum(dim=1)
    assert edges.max() <= 2  # one span is one span
    # A narrow crop has the same share hidden at most: 30 x 96 / 256 frames.
    hidden = one_view(codes, SMALL, settings)[:, 0] == 0
    assert hidden.all(dim=1).sum(dim=1).max() == 11


def test_each_setting_has_its_effect_and_zero_has_none():
    codes = random_codes(8)
    plain = one_view(codes, SMALL, PLAIN)
    for key, value in {
        "mix_probability": 1.0,
        "gain_db": 3.0,
        "frequency_masks": 2,
        "time_masks": 2,
    }.items():
        changed = PLAIN.model_copy(update={key: value})
        assert not torch.equal(one_view(codes, SMALL, changed), plain), key
    nothing = {"mix_share": 0.0, "frequency_mask_mels": 0, "time_mask_frames": 0}
    same = PLAIN.model_copy(
        update={"mix_probability": 1.0, "frequency_masks": 2, "time_masks": 2, **nothing}
    )
    assert torch.allclose(one_view(codes, SMALL, same), plain, atol=1e-4)


def test_views_depend_on_seed_step_and_number_only():
    codes = random_codes(8)
    crops = (SMALL, SMALL)
    first, second = augment.views(codes, crops, Augmentation(), SCALE, (1, 2), ALONE)
    again = augment.views(codes, crops, Augmentation(), SCALE, (1, 2), ALONE)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    assert not torch.equal(first, second)
    for other in ((1, 3), (2, 2), (2, 1)):
        assert not torch.equal(one_view(codes, SMALL, Augmentation(), other), first)


def test_two_processes_vary_the_windows_of_a_batch_as_one_does():
    codes = random_codes(8)
    settings = Augmentation(mix_probability=0.0)
    whole = one_view(codes, SMALL, settings)
    for rank in range(2):
        share = one_view(codes[rank::2], SMALL, settings, ranks=Ranks(rank, 2, rank, ALONE.device))
        assert torch.equal(share, whole[rank::2])


def test_a_window_is_never_its_own_partner_and_may_be_anyone_elses():
    generator = torch.Generator().manual_seed(0)
    settings = Augmentation(mix_probability=1.0)
    partners = torch.stack(
        [augment.draw(settings, SMALL, 256, 5, generator).partner for _ in range(400)]
    )
    assert not (partners == torch.arange(5)).any()
    assert all(len(partners[:, row].unique()) == 4 for row in range(5))
    alone = augment.draw(settings, SMALL, 256, 1, generator)
    assert not alone.mixed.any()


def test_streams_differ_and_are_valid_seeds():
    seeds = {augment.stream(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert augment.stream(1, 2) != augment.stream(2, 1) != augment.stream(1, 2, 0)


def test_gain_changes_levels_and_no_contrast():
    codes = random_codes(4)
    settings = PLAIN.model_copy(update={"gain_db": 6.0})
    for seen, changed in (("level", True), ("contrast", False)):
        scale = Scale(-120.0, 0.5, 0.0, 10.0, seen)
        plain = augment.views(codes, (WHOLE,), PLAIN, scale, (0, 0), ALONE)[0]
        varied = augment.views(codes, (WHOLE,), settings, scale, (0, 0), ALONE)[0]
        assert (varied - plain).abs().amax(dim=(1, 2, 3)).gt(1e-3).all() == changed


@pytest.mark.parametrize("seen", ["level", "contrast", "level+contrast"])
def test_a_view_laid_over_noise_has_the_noise_at_its_level_above_the_floor(seen):
    """A window of a flat floor and a song; the noise is flat: all levels are known."""
    settings = PLAIN.model_copy(update={"background_probability": 1.0, "background_db": (6.0, 6.0)})
    each = 2 if "+" in seen else 1
    scale = Scale(
        -120.0, 0.5, (0.0,) * each if each > 1 else 0.0, (1.0,) * each if each > 1 else 1.0, seen
    )
    codes = torch.full((2, 128, 256), 100, dtype=torch.uint8)  # -70 dB
    codes[:, 40, 30:60] = 140  # a song of -50 dB
    choices = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    noise = torch.zeros((1, 128, 256), dtype=torch.int16)  # nothing stands out of it
    view = augment.views(
        codes, (WHOLE,), settings, scale, (0, 0), ALONE, backgrounds=noise, choices=choices
    )[0]
    floor = -70 + 10 * np.log10(1 + 10**0.6)
    song = 10 * np.log10(10**-5.0 + 10**-6.4)
    expected = {"level": (floor, song), "contrast": (0.0, song - floor)}
    for channel, name in enumerate(seen.split("+")):
        assert view[0, channel, 5, 5].item() == pytest.approx(expected[name][0], abs=1e-3)
        assert view[1, channel, 40, 45].item() == pytest.approx(expected[name][1], abs=1e-3)


def test_only_so_many_views_are_laid_over_with_noise_of_the_choice_of_each_window():
    settings = PLAIN.model_copy(
        update={"background_probability": 0.3, "background_db": (60.0, 60.0)}
    )
    codes = torch.zeros((1000, 32, 32), dtype=torch.uint8)
    crop = Crop(16, 16, (1.0, 1.0), (0.5, 0.5))
    noise = torch.zeros((6, 32, 32), dtype=torch.int16)
    noise[:3, :16], noise[3:, 16:] = 20, 20  # the first three in the low bands, the others above
    first = torch.where(torch.arange(1000) % 2 == 0, 0, 3)
    view = (
        augment.views(
            codes,
            (crop,),
            settings,
            SCALE,
            (0, 0),
            ALONE,
            backgrounds=noise,
            choices=(first, torch.full((1000,), 3)),
        )[0]
        * 10
        - 80
    )
    laid = view[:, 0, 4, 4] > -119
    assert 250 < laid.sum() < 350
    low, high = view[:, 0, 2, 8], view[:, 0, 13, 8]
    assert ((low > high)[laid & (first == 0)]).all() and ((low < high)[laid & (first == 3)]).all()
    assert torch.allclose(view[~laid], torch.tensor(-120.0), atol=1e-3)


def test_a_neighbour_in_time_is_seen_by_views_after_the_first_alone():
    settings = PLAIN.model_copy(update={"neighbour_probability": 0.5})
    codes = torch.full((400, 128, 256), 10, dtype=torch.uint8)
    beside = torch.full((400, 128, 256), 90, dtype=torch.uint8)
    crops = (WHOLE, WHOLE, SMALL)
    first, *others = augment.views(codes, crops, settings, SCALE, (0, 0), ALONE, neighbours=beside)
    own, other = (10 * 0.5 - 40.0) / 10.0, (90 * 0.5 - 40.0) / 10.0
    assert torch.allclose(first, torch.tensor(own))
    for view in others:
        seen = view[:, 0, 0, 0]
        is_own, is_other = (torch.isclose(seen, torch.tensor(value)) for value in (own, other))
        assert (is_own | is_other).all()
        assert 150 < (seen > 0).sum() < 250


@pytest.mark.parametrize("world", [1, 2])
def test_passes_of_a_batch_draw_what_the_whole_batch_would(world):
    settings = Augmentation(mix_probability=0.0)
    codes = random_codes(12)
    whole = one_view(codes, WIDE, settings, (5, 8))
    for rank in range(world):
        ranks = Ranks(rank, world, rank, torch.device("cpu"))
        own = codes[rank::world]
        parts = [
            augment.views(
                own[first : first + 2],
                (WIDE,),
                settings,
                SCALE,
                (5, 8),
                ranks,
                batch=12,
                first=first,
            )[0]
            for first in range(0, own.shape[0], 2)
        ]
        assert torch.equal(torch.cat(parts), whole[rank::world])


def both_of(codes, crop, settings, seed=(0, 0)):
    """Two-channel view, unscaled: level and contrast in decibels."""
    scale = Scale(-120.0, 0.5, (0.0, 0.0), (1.0, 1.0), "level+contrast")
    view = augment.views(codes, (crop,), settings, scale, seed, ALONE)[0]
    assert view.shape[1:] == (2, crop.mels, crop.frames)
    return view[:, 0], view[:, 1]


def test_two_channels_are_the_same_crop_of_level_and_of_contrast():
    """Above the floor of the whole window, also where a crop shows little of it."""
    codes = random_codes(6)
    level, contrast = both_of(codes, SMALL, PLAIN)
    for found, seen in ((level, "level"), (contrast, "contrast")):
        scale = Scale(-120.0, 0.5, 0.0, 1.0, seen)
        alone = augment.views(codes, (SMALL,), PLAIN, scale, (0, 0), ALONE)[0][:, 0]
        assert torch.allclose(found, alone, atol=1e-3)


def test_a_gain_is_heard_in_the_level_and_not_in_the_contrast():
    codes = random_codes(6)
    settings = PLAIN.model_copy(update={"gain_db": 6.0})
    plain, varied = both_of(codes, SMALL, PLAIN), both_of(codes, SMALL, settings)
    gain = varied[0] - plain[0]
    assert gain.abs().amax(dim=(1, 2)).gt(0.01).all()
    assert torch.allclose(gain, gain.mean(dim=(1, 2), keepdim=True).expand_as(gain), atol=1e-3)
    assert torch.allclose(varied[1], plain[1], atol=1e-3)


def test_a_mix_is_above_the_mixed_floor():
    """Against the definition: mix the whole windows, take the median of each band, subtract."""
    settings = PLAIN.model_copy(update={"mix_probability": 1.0, "mix_share": 0.4})
    generator = np.random.default_rng(0)
    floor = generator.integers(60, 140, (8, 128, 1))
    codes = torch.from_numpy(
        np.clip(floor + generator.normal(0, 4, (8, 128, 256)), 0, 255).astype(np.uint8)
    )
    codes[:, 60:64, 100:130] += 60  # a song
    level, contrast = both_of(codes, WHOLE, settings)
    drawn = augment.draw(
        settings, WHOLE, 256, 8, torch.Generator().manual_seed(augment.stream(0, 0, 0))
    )
    decibels = codes.float()[:, None] * 0.5 - 120.0
    mixed = augment.mix(decibels, decibels[drawn.partner], drawn.mix_share)[:, 0]
    assert torch.allclose(level, mixed, atol=1e-3)
    wanted = mixed - mixed.median(dim=2, keepdim=True).values
    assert (contrast - wanted).abs().max() < 0.7  # two noises together vary less than each
    assert (contrast - wanted).abs().mean() < 0.2
    assert contrast[:, 61, 110:120].mean() > 8  # the song is still there
    assert contrast[:, 20].mean().abs() < 0.5


def test_masks_hide_both_channels():
    settings = PLAIN.model_copy(update={"frequency_masks": 1, "frequency_mask_mels": 40})
    level, contrast = both_of(random_codes(20), WHOLE, settings)
    hidden = (level == 0).all(dim=2)
    assert hidden.any() and (contrast[hidden] == 0).all()


def test_patches_of_two_sides():
    crop = Crop.of(128, 256, (16, 4), (0.6, 0.7), (0.15, 0.2))
    assert (crop.mels, crop.frames) == (96, 52)


def test_a_frequency_response_is_smooth_of_its_size_and_not_heard_by_contrast():
    settings = PLAIN.model_copy(update={"response_db": 4.0})
    codes = torch.full((2000, 64, 16), 100, dtype=torch.uint8)
    crop = Crop(64, 16, (1.0, 1.0), (1.0, 1.0))
    view = (
        augment.views(codes, (crop,), settings, SCALE, (0, 0), ALONE)[0][:, 0] * 10.0 - 80.0 + 70.0
    )
    assert torch.allclose(view, view[:, :, :1].expand_as(view), atol=1e-3)  # the same in all frames
    curve = view[:, :, 0]
    assert curve.mean(dim=1).abs().max() < 1e-3  # cosines: no gain of its own
    # Parseval: half the sum of (4 / k)^2 over five waves.
    expected = (8 * sum(1 / k**2 for k in range(1, 6))) ** 0.5
    assert curve.square().mean().sqrt().item() == pytest.approx(expected, rel=0.05)
    spectrum = torch.fft.rfft(torch.cat([curve, curve.flip(1)], dim=1), dim=1).abs().mean(dim=0)
    assert spectrum[6:].max() < 1e-2 * spectrum[1]
    deaf = Scale(-120.0, 0.5, 0.0, 10.0, "contrast")
    assert not augment.views(codes, (crop,), settings, deaf, (0, 0), ALONE)[0].any()
    both = Scale(-120.0, 0.5, (-70.0, 0.0), (10.0, 10.0), "level+contrast")
    heard = augment.views(codes, (crop,), settings, both, (0, 0), ALONE)[0]
    assert torch.allclose(heard[:, 0, :, 0] * 10, curve, atol=1e-3)
    assert heard[:, 1].abs().max() < 1e-4
