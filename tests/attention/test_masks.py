"""Masks keep the fewest patches that reach the share; boxes land where the patches are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dawnchorus.attention.masks import (
    PatchBox,
    PatchGrid,
    WindowBox,
    boxes_of,
    joined,
    mass_mask,
    of_right_size,
    patch_boxes,
)
from dawnchorus.config import Attention, Spectrogram
from dawnchorus.spectrograms import mel

ATTENTION = arrays(np.float64, (3, 4, 5), elements=st.integers(0, 50).map(float))


@given(ATTENTION, st.sampled_from([0.1, 0.5, 0.6, 0.75, 0.9, 1.0]))
def test_smallest_set_that_reaches_the_share(attention: np.ndarray, mass: float) -> None:
    masks = mass_mask(attention, mass)
    assert masks.shape == attention.shape
    for weights, mask in zip(attention, masks, strict=True):
        kept, total = weights[mask], weights.sum()
        if total == 0:
            assert not mask.any()
            continue
        assert kept.sum() >= mass * total
        # One patch fewer, even the best ones, would not reach it.
        best = np.sort(weights.ravel())[::-1][: len(kept) - 1]
        assert best.sum() < mass * total
        # Nothing left out is stronger than what was kept.
        assert weights[~mask].max(initial=0) <= kept.min()


def test_ties_go_to_the_first() -> None:
    assert mass_mask(np.ones((2, 2)), 0.5).tolist() == [[True, True], [False, False]]


def test_mask_by_hand() -> None:
    weights = np.array([[0.5, 0.05, 0.0], [0.1, 0.3, 0.05]])
    assert mass_mask(weights, 0.5).tolist() == [[True, False, False], [False, False, False]]
    assert mass_mask(weights, 0.6).tolist() == [[True, False, False], [False, True, False]]
    assert mass_mask(weights, 1.0).tolist() == [[True, True, False], [True, True, True]]


def test_parts_and_their_boxes() -> None:
    weights = np.zeros((6, 8))
    weights[0, 0] = 1.0
    weights[1, 1] = 2.0  # touches the first at a corner
    weights[4, 5:8] = 1.0
    weights[5, 3] = 0.0
    boxes = patch_boxes(weights > 0, weights)
    assert boxes == [PatchBox(0, 1, 0, 1, 0.5), PatchBox(4, 4, 5, 7, 0.5)]
    assert patch_boxes(np.zeros((3, 3), bool), np.zeros((3, 3))) == []


def test_strongest_part_first() -> None:
    weights = np.array([[1.0, 0, 0, 5.0, 0, 2.0]])
    assert [box.first_column for box in patch_boxes(weights > 0, weights)] == [3, 5, 0]


@given(arrays(np.bool_, (5, 7)))
def test_boxes_hold_the_whole_mask_and_nothing_beyond(mask: np.ndarray) -> None:
    weights = np.random.default_rng(0).uniform(0.1, 1, mask.shape)
    boxes = patch_boxes(mask, weights)
    covered = np.zeros_like(mask)
    for box in boxes:
        rows, columns = (
            slice(box.first_row, box.last_row + 1),
            slice(box.first_column, box.last_column + 1),
        )
        covered[rows, columns] = True
        inside = mask[rows, columns]
        # Each edge of the box is touched by the mask.
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
    assert not (mask & ~covered).any()
    np.testing.assert_allclose(
        sum(box.mass for box in boxes), weights[mask].sum() / weights.sum(), rtol=1e-12
    )


def reference_grid(patch: int = 16) -> PatchGrid:
    wanted = Spectrogram()
    corner = mel.corners(wanted)
    return PatchGrid.of(
        corner[:-2],
        corner[2:],
        mel.frame_times(wanted),
        wanted.hop_length / wanted.sample_rate,
        patch,
    )


def test_patches_in_hertz_and_seconds() -> None:
    """The reference settings: 128 mel rows and 256 frames in patches of 16, by the formulas."""
    grid = reference_grid()
    assert (len(grid.low_hz), len(grid.start_s)) == (8, 16)
    low, high = 2595 * np.log10(1 + 150 / 700), 2595 * np.log10(1 + 15_000 / 700)
    corner = 700 * (10 ** (np.linspace(low, high, 130) / 2595) - 1)
    box = grid.window_box(PatchBox(2, 3, 5, 9, 0.25))
    assert box.low_hz == pytest.approx(corner[2 * 16], rel=1e-12)
    assert box.high_hz == pytest.approx(corner[3 * 16 + 15 + 2], rel=1e-12)
    # Frame j stands for the hop around its middle, j * 512 + 512 samples.
    assert box.start_s == pytest.approx((5 * 16 * 512 + 256) / 44_100, abs=1e-12)
    assert box.end_s == pytest.approx((10 * 16 * 512 + 256) / 44_100, abs=1e-12)
    assert box.mass == 0.25
    whole = grid.window_box(PatchBox(0, 7, 0, 15, 1.0))
    assert (whole.low_hz, whole.high_hz) == (150.0, 15_000.0)
    assert 0 <= whole.start_s < whole.end_s <= 3.0


@pytest.mark.parametrize("patch", [8, 16])
def test_neighbouring_patches_meet_in_time_and_overlap_in_hertz(patch: int) -> None:
    grid = reference_grid(patch)
    np.testing.assert_allclose(grid.end_s[:-1], grid.start_s[1:], atol=1e-9)
    assert (grid.high_hz[:-1] > grid.low_hz[1:]).all()
    assert (np.diff(grid.low_hz) > 0).all()


def test_a_window_must_divide_into_patches() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        PatchGrid.of(np.arange(30), np.arange(30), np.arange(64), 0.1, 16)


def test_small_and_large_boxes_are_dropped() -> None:
    short = WindowBox(0.0, 0.02, 1000, 5000, 0.5)
    low = WindowBox(0.0, 0.5, 1000, 1100, 0.2)
    good = WindowBox(0.0, 0.5, 1000, 3000, 0.3)
    every = [short, low, good]

    def kept(**limits: float) -> list[WindowBox]:
        return list(of_right_size(every, Attention(**limits)))

    assert kept() == [low, good]
    assert kept(min_hertz=200) == [good]
    assert kept(min_seconds=0.02, min_hertz=3500) == [short]
    assert kept(min_seconds=0.0, max_seconds=0.1) == [short]
    assert kept(min_seconds=0.0, max_hertz=2000) == [low, good]
    assert kept(max_hertz=500) == [low]


def test_syllables_of_one_band_become_one_box() -> None:
    first, second = PatchBox(2, 4, 0, 1, 0.1), PatchBox(3, 5, 4, 6, 0.3)  # two columns between
    third, above = PatchBox(4, 4, 9, 9, 0.05), PatchBox(5, 8, 3, 5, 0.2)
    assert joined([first, second], 1.0) == [second, first]
    assert joined([first, second], 2.0) == [PatchBox(2, 5, 0, 6, pytest.approx(0.4))]
    # What was joined reaches the next one; a box of another band stays by itself.
    assert joined([third, first, above, second], 2.0) == [
        PatchBox(2, 5, 0, 9, pytest.approx(0.45)),
        above,
    ]
    # Half of the rows of the one that has fewer is enough; less is not.
    assert len(joined([PatchBox(0, 3, 0, 0, 0.1), PatchBox(2, 5, 1, 1, 0.1)], 0)) == 1
    assert len(joined([PatchBox(0, 3, 0, 0, 0.1), PatchBox(3, 6, 1, 1, 0.1)], 0)) == 2


BOXES = st.lists(
    st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 3))] * 2).map(
        lambda e: PatchBox(e[0][0], sum(e[0]), e[1][0], sum(e[1]), 1.0)
    ),
    max_size=8,
)


@given(BOXES, st.sampled_from([0.0, 1.0, 3.0]))
def test_joining_loses_nothing_and_is_done_when_it_is_done(
    boxes: list[PatchBox], gap: float
) -> None:
    found = joined(boxes, gap)
    assert sum(box.mass for box in found) == pytest.approx(len(boxes))
    for box in boxes:
        assert any(
            one.first_row <= box.first_row
            and box.last_row <= one.last_row
            and one.first_column <= box.first_column
            and box.last_column <= one.last_column
            for one in found
        )
    assert joined(found, gap) == found


def test_a_map_becomes_boxes_by_the_configured_rules() -> None:
    weights = np.zeros((8, 16))
    weights[2:4, 2:5] = 1.0
    weights[3, 7] = 1.0  # two columns of 0.186 s further, in the same band
    grid = reference_grid()
    mask, apart = boxes_of(weights, grid, Attention(mass=1.0, join_seconds=0.3))
    assert (mask == (weights > 0)).all() and len(apart) == 2
    _, (one,) = boxes_of(weights, grid, Attention(mass=1.0, join_seconds=0.3716))
    assert (one.start_s, one.end_s) == (grid.start_s[2], grid.end_s[7])
    assert (one.low_hz, one.high_hz) == (grid.low_hz[2], grid.high_hz[3])
    assert one.mass == pytest.approx(1.0)
