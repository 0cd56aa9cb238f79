"""Companions: the right window, drawn by step and row, whatever the part of the batch."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from dawnchorus.learning.partners import Neighbours, hashed

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


def test_a_part_of_a_batch_has_the_companions_of_the_whole(table):
    rows, partner = np.array([4, 1, 8, 0, 2, 1]), Neighbours(table, 10, 3)
    whole = partner(rows, 17)
    for world in (2, 3):
        for rank in range(world):
            assert np.array_equal(partner(rows[rank::world], 17), whole[rank::world])
    assert np.array_equal(Neighbours(table, 10, 3)(rows, 17), whole)


def test_bits_of_neighbouring_rows_and_steps_have_nothing_in_common():
    bits = np.stack([hashed(5, step, np.arange(4096)) for step in range(4)])
    ones = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.005 and len(np.unique(bits)) == bits.size
    odd = (bits % 2).astype(float) - 0.5
    assert abs((odd[0] * odd[1]).mean()) < 0.02 and abs((odd[0, 1:] * odd[0, :-1]).mean()) < 0.02
