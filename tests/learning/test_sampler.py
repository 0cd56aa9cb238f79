"""The sampler: every window once, the same order for any number of processes, from any step."""

from __future__ import annotations

import numpy as np
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
