"""The arithmetic of the draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.learning.strata import (
    fill_evenly,
    round_systematically,
    selection_keys,
    smallest_per_stratum,
)

counts = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(np.array)


def test_what_a_poor_stratum_lacks_goes_to_the_others():
    evenly = fill_evenly(np.array([2, 100, 100]), np.ones(3), 42)
    assert evenly == pytest.approx([2, 20, 20])
    by_share = fill_evenly(np.array([100, 100, 5]), np.array([1.0, 2.0, 4.0]), 35)
    assert by_share == pytest.approx([10, 20, 5])


@given(counts, st.integers(0, 2000), st.floats(0, 0.999), st.integers(0, 100))
def test_allotment_is_whole_even_and_never_more_than_there_is(available, total, start, seed):
    share = np.random.default_rng(seed).uniform(0.1, 1.0, len(available))
    level = fill_evenly(available, share, total)
    whole = round_systematically(level, start)
    assert whole.sum() == min(total, available.sum())
    assert (whole >= 0).all() and (whole <= available).all()
    assert (np.abs(whole - level) < 1 + 1e-6).all()
    # Water-filling: every stratum that is not emptied stands at one common level.
    open_ones = level < available - 1e-9
    if open_ones.any():
        assert np.ptp((level / share)[open_ones]) < 1e-9 * max(1, total)
        assert (level / share <= (level / share)[open_ones].max() + 1e-9 * max(1, total)).all()


def test_rounding_is_fair_over_starts_and_spread_along_the_order():
    allotted = np.full(40, 0.25)
    rounded = np.array([round_systematically(allotted, start) for start in np.arange(0, 1, 0.01)])
    assert rounded.mean(axis=0) == pytest.approx(allotted, abs=0.011)
    assert (rounded.reshape(100, 4, 10).sum(axis=2) >= 2).all()  # never a quarter left out


def test_smallest_per_stratum_takes_the_smallest_keys_of_each():
    stratum = np.array([0, 1, 0, 1, 0, 2])
    keys = np.array([0.9, 0.1, 0.2, 0.3, 0.5, 0.0])
    rows = smallest_per_stratum(stratum, keys, np.array([2, 1, 0]))
    assert rows.tolist() == [1, 2, 4]


def test_keys_draw_in_proportion_to_weight():
    """Of two windows with weights 3 and 1, the first has the smaller key in 3 of 4 draws."""
    generator = np.random.default_rng(0)
    weight = np.tile([3.0, 1.0], 20_000)
    pairs = selection_keys(weight, generator).reshape(-1, 2)
    assert (pairs[:, 0] < pairs[:, 1]).mean() == pytest.approx(0.75, abs=0.01)
