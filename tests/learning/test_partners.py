"""Companions: the right window, drawn by step and row, whatever the part of the batch."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from dawnchorus.learning.partners import Neighbours, SameRecorder, hashed
from dawnchorus.learning.sampler import EpochSampler

TIMES = [0, 3, 6, 20, 23, 100, 3, 6, 9]  # seconds
NAMES = [*"AAAAAA", *"BBB"]


@pytest.fixture
def table():
    return pl.DataFrame(
        {
            "recorder": pl.Series(NAMES, dtype=pl.Categorical),
            "date": pl.Series(["d"] * 8 + ["e"], dtype=pl.Categorical),
            "time": pl.Series(np.array(TIMES) * 1_000_000, dtype=pl.Datetime("us")),
        }
    )


def test_the_nearest_in_time_of_the_same_recorder_and_day(table):
    rows = np.arange(9)
    chosen = np.stack([Neighbours(table, 10, 0)(rows, step) for step in range(200)])
    # 1 is as near to 0 as to 2 and takes either; 5 is alone in time, 8 on its day.
    expected = [{1}, {0, 2}, {1}, {4}, {3}, {5}, {7}, {6}, {8}]
    assert [set(column.tolist()) for column in chosen.T] == expected
    assert 60 < (chosen[:, 1] == 0).sum() < 140
    assert Neighbours(table, 2.9, 0)(rows, 0).tolist() == rows.tolist()
    assert Neighbours(table, 14, 0)(rows, 0)[2] == 1
    assert Neighbours(table, 100, 0)(rows, 0)[5] == 4
    shuffled = table[::-1]
    assert (8 - Neighbours(shuffled, 10, 0)(8 - rows, 3))[[0, 2, 3, 4, 5, 6, 7, 8]].tolist() == [
        *(1, 1, 4, 3, 5, 7, 6, 8)
    ]


def test_any_other_of_the_same_recorder_evenly(table):
    rows = np.arange(9)
    chosen = np.stack([SameRecorder(table, 1)(rows, step) for step in range(3000)])
    for row in rows:
        others = [r for r in rows if NAMES[r] == NAMES[row] and r != row]
        counts = np.bincount(chosen[:, row], minlength=9)
        assert set(np.flatnonzero(counts)) == set(others)
        assert counts[others].min() > 0.8 * 3000 / len(others)


def test_of_a_set_in_blocks_it_comes_from_the_same_piece():
    recorder = pl.Series(["A"] * 900 + ["B"] * 1100, dtype=pl.Categorical)
    sampler = EpochSampler(2000, 100, 5, 48 * 4 * 8)
    partner = SameRecorder(pl.DataFrame({"recorder": recorder}), 1, sampler)
    assert sampler.piece == 8
    for step in (0, 19, 20, 45):
        rows = np.arange(2000)
        chosen = partner(rows, step)
        piece = (np.stack([rows, chosen]) - sampler.shift(step // 20)) % 2000 // 8
        assert np.array_equal(*piece)
        assert np.array_equal(chosen < 900, rows < 900)
        assert (chosen != rows).sum() > 1990  # but where an edge leaves a window alone
    # In the order, companions lie in the same block, and with W processes in the same share.
    rows = sampler.rows(0, 0, sampler.block_windows)
    for world in (1, 2, 3):
        own = rows[1 % world :: world]
        assert np.isin(partner(own, 0), own).all()


@pytest.mark.parametrize("make", [lambda t: Neighbours(t, 10, 3), lambda t: SameRecorder(t, 3)])
def test_a_part_of_a_batch_has_the_companions_of_the_whole(table, make):
    rows, partner = np.array([4, 1, 8, 0, 2, 1]), make(table)
    whole = partner(rows, 17)
    for world in (2, 3):
        for rank in range(world):
            assert np.array_equal(partner(rows[rank::world], 17), whole[rank::world])
    assert np.array_equal(make(table)(rows, 17), whole)


def test_bits_of_neighbouring_rows_and_steps_have_nothing_in_common():
    bits = np.stack([hashed(5, step, np.arange(4096)) for step in range(4)])
    ones = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.005 and len(np.unique(bits)) == bits.size
    odd = (bits % 2).astype(float) - 0.5
    assert abs((odd[0] * odd[1]).mean()) < 0.02 and abs((odd[0, 1:] * odd[0, :-1]).mean()) < 0.02
