"""The sampler: every window once, the same order for any number of processes, from any step."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.learning.sampler import EpochSampler

samplers = st.builds(
    lambda batches, quarter, left, seed: EpochSampler(
        windows=batches * 4 * quarter + left % (4 * quarter), batch_size=4 * quarter, seed=seed
    ),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(0, 23),
    st.integers(0, 2**40),
)


@given(samplers, st.integers(0, 5))
def test_each_window_at_most_once_per_epoch_and_all_of_them_if_batches_are_whole(sampler, epoch):
    first = epoch * sampler.steps_per_epoch
    rows = np.concatenate([sampler.batch(first + n) for n in range(sampler.steps_per_epoch)])
    assert len(np.unique(rows)) == len(rows) == sampler.steps_per_epoch * sampler.batch_size
    assert rows.min() >= 0 and rows.max() < sampler.windows
    if sampler.windows % sampler.batch_size == 0:
        assert sorted(rows) == list(range(sampler.windows))


@given(samplers, st.integers(0, 60))
def test_the_batch_is_the_same_for_one_two_and_four_processes(sampler, step):
    whole = sampler.batch(step)
    for world in (1, 2, 4):
        put_together = np.empty_like(whole)
        for rank in range(world):
            put_together[rank::world] = sampler.share(step, rank, world)
        assert np.array_equal(put_together, whole)


@given(samplers, st.integers(0, 40))
def test_a_new_sampler_goes_on_at_any_step(sampler, step):
    going_on = [sampler.batch(step + n) for n in range(5)]
    fresh = EpochSampler(sampler.windows, sampler.batch_size, sampler.seed)
    assert all(np.array_equal(fresh.batch(step + n), going_on[n]) for n in (3, 0, 4, 1, 2))
    assert fresh.digest(step) == sampler.digest(step)


def test_epochs_and_seeds_have_their_own_order():
    sampler = EpochSampler(1000, 1000, 7)
    assert not np.array_equal(sampler.batch(0), sampler.batch(1))
    assert not np.array_equal(sampler.batch(0), EpochSampler(1000, 1000, 8).batch(0))
    assert sampler.digest(0) != sampler.digest(1)
    # What the drop of the last batch leaves out is not the same windows each time.
    left = EpochSampler(101, 100, 0)
    missing = {(set(range(101)) - set(left.batch(epoch))).pop() for epoch in range(20)}
    assert len(missing) > 5


# -- sets that are shuffled in blocks ---------------------------------------------------------

blocked = st.builds(
    lambda windows, batch, shuffle, seed: EpochSampler(
        windows, min(batch, windows), seed, min(shuffle, windows - 1)
    ),
    st.integers(2, 5000),
    st.integers(1, 64),
    st.integers(1, 1500),
    st.integers(0, 2**40),
)


@given(blocked, st.integers(0, 3))
def test_in_blocks_too_each_window_comes_once_and_the_same_from_any_place(sampler, epoch):
    whole = sampler.rows(epoch, 0, sampler.windows)
    assert np.array_equal(np.sort(whole), np.arange(sampler.windows))
    edges = [0]
    while edges[-1] < sampler.windows:
        start, end = sampler.block_of(edges[-1])
        assert start == edges[-1] < end and sampler.block_of(end - 1) == (start, end)
        edges.append(end)
    generator = np.random.default_rng(epoch)
    for first, end in np.sort(generator.integers(0, sampler.windows + 1, (5, 2)), axis=1):
        if first < end:
            assert np.array_equal(sampler.rows(epoch, first, end), whole[first:end])


@given(blocked, st.integers(0, 60), st.sampled_from([2, 3, 4]))
def test_in_blocks_too_any_number_of_processes_sees_the_same_batch(sampler, step, world):
    whole, together = sampler.batch(step), np.empty(sampler.batch_size, np.int64)
    for rank in range(world):
        together[rank::world] = sampler.share(step, rank, world)
    assert np.array_equal(together, whole)


def test_a_set_up_to_shuffle_windows_is_shuffled_as_ever():
    order = np.random.default_rng([3, 1]).permutation(1000)
    for shuffle in (1000, 5000):
        assert np.array_equal(EpochSampler(1000, 10, 3, shuffle).rows(1, 0, 1000), order)
    assert not np.array_equal(EpochSampler(1000, 10, 3, 999).rows(1, 0, 1000), order)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 8, 16, 48])
def test_a_process_reads_pieces_whole_and_no_other_reads_them(world):
    sampler = EpochSampler(200_000, 96, 0, 48 * 4 * 64)
    assert (sampler.piece, sampler.block_windows) == (64, 48 * 4 * 64)
    shift = sampler.shift(2)
    place = sampler.block_of(30_000)[0]
    rows = sampler.rows(2, place, place + sampler.block_windows)
    pieces = [np.unique((rows[rank::world] - shift) % 200_000 // 64) for rank in range(world)]
    assert sum(len(own) for own in pieces) == len(np.unique(np.concatenate(pieces))) == 48 * 4


def test_what_lies_side_by_side_is_well_apart_in_the_order():
    """A batch holds hardly more neighbours than chance gives within a block."""
    windows, batch = 200_000, 96
    sampler = EpochSampler(windows, batch, 0, 48 * 8 * 64)
    order = sampler.rows(0, 0, windows)
    size = sampler.piece
    assert size == 128
    laned = windows // (48 * size) * 48 * size
    piece = (order - sampler.shift(0)) % windows // size
    # Windows that follow each other come from different lanes, so from different pieces.
    assert (piece[1:laned] != piece[: laned - 1]).all()
    batches = piece[: laned // batch * batch].reshape(-1, batch)
    pairs = np.mean([batch - len(np.unique(row)) for row in batches])
    # Of a block of n windows in pieces of p, b drawn at random: b (b - 1) (p - 1) / 2 n pairs.
    chance = batch * (batch - 1) * (size - 1) / (2 * sampler.block_windows)
    assert pairs < 1.1 * chance
    # Place in the table and place in the order have nothing to do with each other, and each batch
    # is from all over the season: its mean row is as spread as that of a random draw.
    assert abs(np.corrcoef(order, np.arange(windows))[0, 1]) < 0.02
    spread = np.std(order[: windows // batch * batch].reshape(-1, batch).mean(axis=1))
    assert spread < 1.6 * windows / np.sqrt(12 * batch)


def test_every_window_is_left_out_about_as_often_as_any_other():
    sampler = EpochSampler(5003, 500, 9, 960)
    out = np.zeros(5003)
    for epoch in range(2000):
        out[sampler.rows(epoch, 5000, 5003)] += 1
    assert out.sum() == 6000
    # In pieces: neighbours are left out together, so less even than chance, but by the shift evenly.
    ends, inside = out[:100].mean(), out.mean()
    assert 0.5 < ends / inside < 2 and out[-100:].mean() / inside < 2


def test_the_order_of_a_season_costs_no_memory():
    sampler = EpochSampler(8_690_000, 512, 0)
    tracemalloc.start()
    first = sampler.batch(7 * sampler.steps_per_epoch + 9_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(first)) == 512
    assert peak < 16 * 262_144 * 4  # not even two bytes a window of the season
