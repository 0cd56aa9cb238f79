"""Probes: known answers, no group on both sides, and a planted leak that only the leaky split sees."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from dawnchorus.evaluation import probes
from dawnchorus.evaluation.attentive import attentive
from dawnchorus.evaluation.few_shot import DRAWS, few_shot
from dawnchorus.evaluation.tasks import MOST_LEFT_OUT, Task, prepare


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
    task = prepare(labels, group, folds=5, seed=0)
    outcome = probes.probe(
        features[task.kept], task, make, "probe", split, resamples=100, seed=0, **more
    )
    return task, outcome


@pytest.mark.parametrize("make", [probes.neighbours(5), probes.linear])
def test_a_planted_leak_inflates_the_leaky_split_only(make):
    features, labels, group = planted_leak()
    _, leaky = measured(features, labels, group, make, "leaky")
    _, grouped = measured(features, labels, group, make, "grouped", shuffled=True)
    inflated, honest = leaky.figures["accuracy"][0], grouped.figures["accuracy"][0]
    assert inflated > 0.8
    assert honest < 0.45  # chance is about 0.3
    assert leaky.figures["accuracy"][1].low > grouped.figures["accuracy"][1].high
    assert leaky.shuffled == {}
    assert grouped.shuffled["balanced_accuracy"] == pytest.approx(0.25, abs=0.06)


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
    task = prepare(labels, group, folds=5, seed=0)
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
    task = Task(np.ones(500, bool), target, group, 4, 20, "", "", {})
    found = probes.figures(predicted == target, task, resamples=100, seed=0)
    accuracy, bounds = found["accuracy"]
    balanced = balanced_accuracy_score(target, predicted)
    assert accuracy == pytest.approx(accuracy_score(target, predicted))
    assert found["balanced_accuracy"][0] == pytest.approx(balanced)
    assert probes.of_chance(predicted == target, target) == pytest.approx(
        {"accuracy": accuracy, "balanced_accuracy": balanced}
    )
    assert bounds.low < accuracy < bounds.high
    # An oracle for the interval: resample the groups' windows themselves.
    drawn = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=100)
    values = [np.average(predicted == target, weights=times[group]) for times in drawn]
    assert (bounds.low, bounds.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


@pytest.mark.parametrize("scale_each", [True, False])
def test_neighbours_equal_scikit_learn(scale_each):
    generator = np.random.default_rng(3)
    x = (generator.normal(size=(1300, 6)) * [1, 1, 1, 1, 1, 9]).astype(np.float32)
    y = np.array(["a", "b", "c"])[generator.integers(0, 3, 1300)]
    ours = probes.neighbours(5)(scale_each).fit(x[:600], y[:600]).predict(x[600:])
    theirs = make_pipeline(
        StandardScaler(with_std=scale_each), Normalizer(), KNeighborsClassifier(5)
    ).fit(x[:600], y[:600])
    assert (ours == theirs.predict(x[600:])).all()


def test_a_balanced_linear_probe_hears_the_rare_class():
    generator = np.random.default_rng(4)
    labels = (generator.random(2000) < 0.05).astype(int)
    x = (labels[:, None] * 1.5 + generator.normal(size=(2000, 2))).astype(np.float32)
    group = np.array([f"g{one % 20}" for one in range(2000)], dtype=object)
    found = {
        balanced: measured(
            x, labels.astype(object), group, partial(probes.linear, balanced=balanced), "grouped"
        )[1].figures
        for balanced in (True, False)
    }
    assert found[False]["accuracy"][0] > found[True]["accuracy"][0]
    assert found[True]["balanced_accuracy"][0] > found[False]["balanced_accuracy"][0] + 0.1


def test_majority_says_the_most_frequent_class():
    labels = np.array(["often"] * 80 + ["rare"] * 20, dtype=object)
    group = np.array([f"g{one % 10}" for one in range(100)], dtype=object)
    task = prepare(labels, group, folds=5, seed=0)
    outcome = probes.majority(task, resamples=50, seed=0)
    assert outcome.figures["accuracy"][0] == pytest.approx(0.8)
    assert outcome.figures["balanced_accuracy"][0] == pytest.approx(0.5)
    nothing = prepare(np.array([None], object), np.array(["g"], object), folds=5, seed=0)
    assert probes.majority(nothing, resamples=50, seed=0).note == "no window has a label"


def test_a_class_of_one_group_is_left_out_of_both_splits_and_named():
    labels = np.array(["a", "b", "a", "b", "c", "c", None], dtype=object)
    group = np.array(["1", "1", "2", "2", "3", "3", "1"], dtype=object)
    task = prepare(labels, group, folds=5, seed=0)
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
    task = prepare(np.array(labels, object), np.array(group, object), folds=5, seed=0)
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


def test_by_recorder_each_is_left_out_once_and_many_are_dealt_out():
    labels = np.array(["a", "b"] * 60, dtype=object)
    few = np.array([f"g{one // 10}" for one in range(120)], dtype=object)
    many = np.array([f"g{one // 4}" for one in range(120)], dtype=object)
    task = prepare(labels, few, folds=5, seed=0, leave_one_out=True)
    assert [len(set(task.group[test])) for _, test in task.splits["grouped"]] == [1] * 12
    assert len(task.splits["leaky"]) == 5
    dealt = prepare(labels, many, folds=5, seed=0, leave_one_out=True)
    assert len(dealt.splits["grouped"]) == MOST_LEFT_OUT < 30


def test_a_class_whose_groups_are_tested_together_is_named():
    labels = np.array(["a", "b", "c"] * 20 + ["rare"] * 2, dtype=object)
    group = np.array([f"g{one % 6}" for one in range(60)] + ["g0", "g1"], dtype=object)
    seeds = [prepare(labels, group, folds=2, seed=seed).note for seed in range(8)]
    assert "1 classes are missing from the training side of a fold" in seeds
    assert "" in seeds


def few(features, labels, group, shots, **more):
    task = prepare(labels, group, folds=4, seed=0)
    outcomes = few_shot(features[task.kept], task, shots, resamples=50, seed=0, **more)
    return task, outcomes


def test_few_shot_curves_rise_to_what_all_windows_give_and_equal_a_plain_loop():
    generator = np.random.default_rng(5)
    target = generator.integers(0, 3, 480)
    features = (2.2 * np.eye(6)[target] + generator.normal(size=(480, 6))).astype(np.float32)
    group = np.array([f"g{one % 12}" for one in range(480)], dtype=object)
    task, outcomes = few(features, target.astype(object), group, (1, 4, 64))
    values = [one.figures["accuracy"][0] for one in outcomes]
    whole = probes.probe(features, task, probes.linear, "", "grouped", resamples=20, seed=0)
    assert [one.shots for one in outcomes] == [1, 4, 64]
    assert values[0] < values[1] < values[2] <= whole.figures["accuracy"][0] + 0.01
    assert values[0] > 0.45
    # The same by hand, for four windows per class.
    right = []
    for number, (train, test) in enumerate(task.splits["grouped"]):
        scaler = StandardScaler().fit(features[train])
        for draw in range(DRAWS):
            order = np.random.default_rng([0, number, draw]).permutation(len(train))
            rows = np.concatenate(
                [[at for at in order if target[train[at]] == one][:4] for one in range(3)]
            )
            learned = probes.regression().fit(
                scaler.transform(features[train[rows]]), target[train[rows]]
            )
            right += (learned.predict(scaler.transform(features[test])) == target[test]).tolist()
    assert values[1] == pytest.approx(np.mean(right))


def test_few_shot_says_what_it_lacks():
    labels = np.array(["a"] * 20 + ["b"] * 4, dtype=object)
    group = np.array([f"g{one % 4}" for one in range(24)], dtype=object)
    features = np.array([[0.0], [9]], np.float32)[(labels == "b").astype(int)]
    _, outcomes = few(features, labels, group, (1, 8))
    assert [one.note for one in outcomes] == [
        "",
        "1 of 2 classes have fewer than 8 windows to learn from",
    ]
    assert [one.figures["accuracy"][0] for one in outcomes] == [1.0, 1.0]
    _, nothing = few(features, np.full(24, None, object), group, (1, 8))
    assert [(one.note, one.shots, one.figures) for one in nothing] == [
        ("no window has a label", shot, {}) for shot in (1, 8)
    ]


@pytest.fixture(scope="module")
def songs_in_one_patch():
    """Tokens (n, 24, 8): one patch anywhere holds the song, the others loud noise."""
    generator = np.random.default_rng(6)
    target = generator.integers(0, 3, 300)
    tokens = generator.normal(size=(300, 24, 8))
    tokens[np.arange(300), generator.integers(0, 24, 300)] = (
        np.eye(8)[target] * 6 + np.eye(8)[7] * 6
    )
    group = np.array([f"g{one % 15}" for one in range(300)], dtype=object)
    task = prepare(target.astype(object), group, folds=3, seed=0)
    return tokens, task


def test_the_attentive_probe_finds_the_patch_that_a_mean_drowns(songs_in_one_patch):
    tokens, task = songs_in_one_patch
    pooled = tokens.mean(axis=1).astype(np.float32)
    mean = probes.probe(pooled, task, probes.linear, "", "grouped", resamples=20, seed=0)
    one, three = (
        attentive(torch.from_numpy(tokens).half(), task, resamples=20, seed=0, workers=workers)
        for workers in (1, 3)
    )
    assert one == three
    assert one.figures["accuracy"][0] > 0.95 > mean.figures["accuracy"][0] + 0.1
    assert one.shuffled["balanced_accuracy"] == pytest.approx(1 / 3, abs=0.12)


@pytest.mark.slow
def test_a_linear_probe_of_20000_noisy_windows_finds_their_classes():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 20, 20_000)
    centre = generator.normal(size=(20, 384))
    features = (centre[labels] + 6 * generator.normal(size=(20_000, 384))).astype(np.float32)
    group = np.array([f"g{one}" for one in generator.integers(0, 100, 20_000)], dtype=object)
    _, outcome = measured(features, labels.astype(object), group, probes.linear, "grouped")
    assert outcome.figures["accuracy"][0] > 0.8
