"""Probes: known answers, no group on both sides, and a planted leak that only the leaky split sees."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from dawnchorus.evaluation import probes


def planted_leak(groups=40, each=12, classes=4, dimension=64):
    """Features that know the group and nothing else; a group mostly has one class."""
    generator = np.random.default_rng(0)
    centre = generator.normal(size=(groups, dimension)) * 3
    group = np.repeat(np.arange(groups), each)
    usual = generator.integers(0, classes, groups)
    labels = np.where(
        generator.random(len(group)) < 0.9, usual[group], generator.integers(0, classes, len(group))
    )
    features = (centre[group] + generator.normal(size=(len(group), dimension))).astype(np.float32)
    return features, labels.astype(object), np.array([f"g{one}" for one in group], dtype=object)


def measured(features, labels, group, make, split, **more):
    task = probes.prepare(labels, group, folds=5, seed=0)
    outcome = probes.probe(
        features[task.kept], task, make, "probe", split, resamples=100, seed=0, **more
    )
    return task, outcome


@pytest.mark.parametrize("make", [probes.neighbours(5), probes.linear])
def test_a_planted_leak_inflates_the_leaky_split_only(make):
    features, labels, group = planted_leak()
    _, leaky = measured(features, labels, group, make, "leaky")
    _, grouped = measured(features, labels, group, make, "grouped")
    inflated, honest = leaky.figures["accuracy"][0], grouped.figures["accuracy"][0]
    assert inflated > 0.8
    assert honest < 0.45  # chance is about 0.3
    assert leaky.figures["accuracy"][1].low > grouped.figures["accuracy"][1].high


@pytest.mark.parametrize("make", [probes.neighbours(5), probes.linear])
def test_what_can_be_separated_is_found_in_unseen_groups(make):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 300)
    features = np.eye(3)[labels] * 5 + generator.normal(size=(300, 3)) * 0.2
    group = np.array([f"g{one % 15}" for one in range(300)], dtype=object)
    _, outcome = measured(
        features.astype(np.float32), labels.astype(object), group, make, "grouped"
    )
    assert outcome.figures["accuracy"][0] == 1.0
    assert (outcome.windows, outcome.classes, outcome.groups, outcome.folds) == (300, 3, 15, 5)


def test_no_group_stands_on_both_sides_of_a_grouped_split():
    _, labels, group = planted_leak()
    task = probes.prepare(labels, group, folds=5, seed=0)
    tested = np.concatenate([test for _, test in task.splits["grouped"]])
    assert sorted(tested.tolist()) == list(range(len(labels)))
    for train, test in task.splits["grouped"]:
        assert not set(task.group[train]) & set(task.group[test])
    leaks = [set(task.group[a]) & set(task.group[b]) for a, b in task.splits["leaky"]]
    assert all(leaks)


def test_figures_equal_scikit_learn():
    generator = np.random.default_rng(2)
    target = generator.choice(4, 500, p=[0.7, 0.2, 0.06, 0.04])
    predicted = np.where(generator.random(500) < 0.5, target, generator.integers(0, 4, 500))
    group = generator.integers(0, 20, 500)
    found = probes.figures(target, predicted, group, 4, resamples=100, seed=0)
    accuracy, bounds = found["accuracy"]
    assert accuracy == pytest.approx(accuracy_score(target, predicted))
    assert found["balanced_accuracy"][0] == pytest.approx(
        balanced_accuracy_score(target, predicted)
    )
    assert bounds.low < accuracy < bounds.high
    # An oracle for the interval: resample the groups' windows themselves.
    drawn = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=100)
    values = [np.average(predicted == target, weights=times[group]) for times in drawn]
    assert (bounds.low, bounds.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_majority_says_the_most_frequent_class():
    labels = np.array(["often"] * 80 + ["rare"] * 20, dtype=object)
    group = np.array([f"g{one % 10}" for one in range(100)], dtype=object)
    task = probes.prepare(labels, group, folds=5, seed=0)
    outcome = probes.majority(task, resamples=50, seed=0)
    assert outcome.figures["accuracy"][0] == pytest.approx(0.8)
    assert outcome.figures["balanced_accuracy"][0] == pytest.approx(0.5)
    nothing = probes.prepare(np.array([None], object), np.array(["g"], object), folds=5, seed=0)
    assert probes.majority(nothing, resamples=50, seed=0).note == "no window has a label"


def test_a_class_of_one_group_is_left_out_of_both_splits_and_named():
    labels = np.array(["a", "b", "a", "b", "c", "c", None], dtype=object)
    group = np.array(["1", "1", "2", "2", "3", "3", "1"], dtype=object)
    task = probes.prepare(labels, group, folds=5, seed=0)
    assert task.kept.tolist() == [True] * 4 + [False] * 3
    assert "1 classes of one group only" in task.note
    assert not task.reason


@pytest.mark.parametrize(
    ("labels", "group", "reason"),
    [
        ([None, None], ["1", "2"], "no window has a label"),
        (["a", "a"], ["1", "2"], "of 1 classes, 1 occur in two groups"),
        (["a", "b", "a", "b"], ["1", "1", "1", "1"], "of 2 classes, 0 occur"),
        (["a", "a", "b", "b"], ["1", "1", "2", "2"], "of 2 classes, 0 occur"),
    ],
)
def test_what_cannot_be_probed_says_why(labels, group, reason):
    task = probes.prepare(np.array(labels, object), np.array(group, object), folds=5, seed=0)
    assert reason in task.reason
    outcome = probes.probe(
        np.zeros((int(task.kept.sum()), 2), np.float32),
        task,
        probes.linear,
        "linear",
        "grouped",
        resamples=10,
        seed=0,
    )
    assert outcome.figures == {}
    assert outcome.note == task.reason


def test_fewer_windows_than_neighbours():
    labels = np.array(["a", "b", "a", "b"], dtype=object)
    group = np.array(["1", "1", "2", "2"], dtype=object)
    features = np.array([[0.0, 1], [1, 0], [0, 1], [1, 0]], np.float32)
    _, outcome = measured(features, labels, group, probes.neighbours(5), "grouped")
    assert outcome.figures["accuracy"][0] == 0.5  # both neighbours vote, the first class wins


def test_the_outcome_does_not_depend_on_the_workers():
    features, labels, group = planted_leak()
    one = measured(features, labels, group, probes.linear, "grouped", workers=1)[1]
    three = measured(features, labels, group, probes.linear, "grouped", workers=3)[1]
    assert one == three


@pytest.mark.slow
def test_a_linear_probe_of_20000_windows_takes_less_than_two_minutes():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 20, 20_000)
    centre = generator.normal(size=(20, 384))
    features = (centre[labels] + 6 * generator.normal(size=(20_000, 384))).astype(np.float32)
    group = np.array([f"g{one}" for one in generator.integers(0, 100, 20_000)], dtype=object)
    started = time.monotonic()
    _, outcome = measured(
        features, labels.astype(object), group, probes.linear, "grouped", workers=2
    )
    assert time.monotonic() - started < 120
    assert outcome.figures["accuracy"][0] > 0.8
