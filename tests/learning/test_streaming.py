"""The pool behind the stream: the right windows from any step on, with as few places as may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.learning.partners import hashed
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.learning.streaming import Pool, places_needed


class Numbers:
    """Windows of four codes: their number."""

    def __init__(self, windows: int, stores: int) -> None:
        self.day = np.sort(np.arange(windows, dtype=np.int32) % stores)
        self.read_windows = 0

    def read(self, rows, out=None):
        self.read_windows += len(rows)
        return rows.astype("<i4")[:, None].view(np.uint8)[:, None, :]


def anywhere(windows: int):
    return lambda rows, step: (hashed(1, step, rows) % np.uint64(windows)).astype(np.int64)


def taken(pool, step, rows):
    out = np.empty((len(rows), 1, 4), np.uint8)
    pool.take(step, rows, out)
    return out.view("<i4")[:, 0, 0]


@settings(max_examples=80)
@given(st.data())
def test_from_any_step_with_the_fewest_places_it_gives_what_the_order_says(data):
    windows = data.draw(st.integers(40, 1500), "windows")
    world = data.draw(st.sampled_from([1, 2, 3, 4, 5]), "world")
    batch = world * data.draw(st.integers(1, 40 // world), "share")
    sampler = EpochSampler(windows, batch, 7, data.draw(st.integers(1, 2000), "shuffle"))
    first = data.draw(st.integers(0, 3 * sampler.steps_per_epoch), "first")
    ahead = data.draw(st.integers(1, windows), "ahead")
    partner = anywhere(windows) if data.draw(st.booleans(), "partner") else None
    rank = data.draw(st.integers(0, world - 1), "rank")
    held = places_needed(sampler, world, ahead, partner is not None)
    source = Numbers(windows, data.draw(st.integers(1, 9), "stores"))
    span = (first, first + 20)
    with Pool(
        *(source, sampler, rank, world, *span),
        held=held + data.draw(st.sampled_from([0, 7]), "spare"),
        ahead=ahead,
        readers=data.draw(st.integers(1, 3), "readers"),
        partner=partner,
    ) as pool:
        for step in range(*span):
            rows = sampler.batch(step)[rank::world]
            if partner is not None:
                rows = np.concatenate([rows, partner(rows, step)])
            assert np.array_equal(taken(pool, step, rows), rows)
    # Nothing was read twice but companions that stand in several stretches.
    assert partner is not None or source.read_windows == 20 * batch // world


def test_going_on_reads_what_is_to_come_and_nothing_before_it():
    sampler, source = EpochSampler(1000, 10, 0, 960), Numbers(1000, 5)
    assert sampler.block_windows == 960
    with Pool(source, sampler, 0, 1, 90, 100, held=1000, ahead=960, readers=2) as pool:
        for step in range(90, 100):
            assert np.array_equal(taken(pool, step, sampler.batch(step)), sampler.batch(step))
    assert source.read_windows == 100


def test_too_few_places_are_refused():
    sampler = EpochSampler(1000, 10, 0, 960)
    with pytest.raises(ValueError, match="969 places are too few"):
        Pool(Numbers(1000, 5), sampler, 0, 1, 0, 1, held=969, ahead=960, readers=1)


def test_what_goes_wrong_in_a_thread_is_raised_where_windows_are_taken():
    class Broken(Numbers):
        def read(self, rows, out=None):
            if self.read_windows > 300:
                raise OSError("gone")
            return super().read(rows)

    sampler, source = EpochSampler(1000, 10, 0, 96), Broken(1000, 50)
    with (
        pytest.raises(OSError, match="gone"),
        Pool(source, sampler, 0, 1, 0, 100, held=150, ahead=96, readers=2) as pool,
    ):
        for step in range(100):
            taken(pool, step, sampler.batch(step))
