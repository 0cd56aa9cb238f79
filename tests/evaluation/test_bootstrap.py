"""Intervals over groups: they cover what they should, and see that windows of a group are alike."""

from __future__ import annotations

import numpy as np
import pytest

from dawnchorus.evaluation.bootstrap import interval, per_group, weights


def mean(total):
    return np.array([total[0] / total[1]])


def test_sums_per_group():
    sums = per_group(np.array([2, 0, 2]), np.array([[1.0, 10], [2, 20], [4, 40]]))
    assert sums.tolist() == [[2, 20], [0, 0], [5, 50]]


def test_weights_draw_as_many_groups_as_there_are():
    drawn = weights(7, 300, seed=0)
    assert drawn.shape == (300, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean() == pytest.approx(1.0)
    assert np.array_equal(drawn, weights(7, 300, seed=0))


def grouped_data(generator, groups=40, each=25):
    """Windows whose group shifts them by as much as their own noise."""
    shift = np.repeat(generator.normal(size=groups), each)
    return np.repeat(np.arange(groups), each), shift + generator.normal(size=groups * each)


def test_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    inside = naive_inside = 0
    for trial in range(200):
        group, values = grouped_data(generator)
        rows = np.stack([values, np.ones(len(values))], axis=1)
        (bound,) = interval(per_group(group, rows), mean, 200, seed=trial)
        inside += bound.low <= 0 <= bound.high
        (naive,) = interval(rows, mean, 100, seed=trial)
        naive_inside += naive.low <= 0 <= naive.high
    assert 0.89 <= inside / 200 <= 0.99
    assert naive_inside / 200 < 0.6  # treating windows as independent is far too sure


def test_one_group_has_no_interval():
    (bound,) = interval(np.array([[3.0, 4.0]]), mean, 20, seed=0)
    assert np.isnan(bound.low)
    assert np.isnan(bound.high)


def test_resamples_without_a_value_do_not_count():
    def ratio(total):
        with np.errstate(invalid="ignore"):
            return np.array([total[0] / total[1]])

    sums = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    (bound,) = interval(sums, ratio, 200, seed=0)
    assert (bound.low, bound.high) == (1.0, 1.0)
