"""Scores of agreement against scikit-learn, textbooks and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics

from dawnchorus.evaluation.agreement import (
    SCORES,
    agreement,
    best_clusters,
    cluster_contents,
    confusion,
    contingency,
    multilabel_purity,
    scores,
)
from dawnchorus.evaluation.silhouette import distances, part_of, silhouette


def scored(labels, clusters) -> dict[str, float]:
    _, label = np.unique(labels, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    table = contingency(label, cluster, (label.max() + 1, cluster.max() + 1))
    return dict(zip(SCORES, scores(table), strict=True))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=60),
)
def test_scores_equal_those_of_scikit_learn(pairs):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    ours = scored(labels, clusters)
    theirs = {
        "ami": metrics.adjusted_mutual_info_score(labels, clusters),
        "ari": metrics.adjusted_rand_score(labels, clusters),
        "nmi": metrics.normalized_mutual_info_score(labels, clusters),
        "homogeneity": metrics.homogeneity_score(labels, clusters),
        "completeness": metrics.completeness_score(labels, clusters),
        "v_measure": metrics.v_measure_score(labels, clusters),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


def test_purity_and_nmi_of_the_textbook_example():
    # Manning, Raghavan & Schuetze 2008, Introduction to Information Retrieval, figure 16.4.
    labels = list("xxxxxo") + list("xooood") + list("xxddd")
    clusters = [0] * 6 + [1] * 6 + [2] * 5
    ours = scored(np.array(labels), np.array(clusters))
    assert ours["purity"] == pytest.approx(12 / 17)
    assert ours["nmi"] == pytest.approx(0.36, abs=0.005)


def test_perfect_and_independent_clusters_by_hand():
    perfect = scored(np.array(list("AABB")), np.array([5, 5, 9, 9]))
    assert all(value == pytest.approx(1.0) for value in perfect.values())
    independent = scored(np.array(list("ABAB")), np.array([0, 0, 1, 1]))
    assert independent["purity"] == 0.5
    assert independent["nmi"] == pytest.approx(0.0)
    assert independent["ari"] == pytest.approx(-0.5)
    # Of 4 in 2 x 2, 1/3 of the tables are perfect (I = ln 2): E I = ln 2 / 3, AMI = -(1/3)/(2/3).
    assert independent["ami"] == pytest.approx(-0.5)


def test_shuffled_labels_give_chance_although_purity_does_not():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 2000)
    clusters = np.where(generator.random(2000) < 0.7, labels, generator.integers(0, 40, 2000))
    found = {
        one.name: one
        for one in agreement(
            labels.astype(object), clusters, np.arange(2000) % 20, resamples=20, seed=1
        )
    }
    assert found["ami"].value > 0.4
    assert abs(found["ami"].shuffled) < 0.02
    assert abs(found["ari"].shuffled) < 0.02
    assert found["purity"].shuffled > 0.1  # many clusters: pure by chance
    assert found["nmi"].shuffled > found["ami"].shuffled


def noisy(generator, groups=30, each=20):
    """Clusters that follow the labels in some groups more than in others."""
    labels = generator.integers(0, 3, groups * each)
    faith = np.repeat(generator.uniform(0.2, 1.0, groups), each)
    clusters = np.where(
        generator.random(len(labels)) < faith, labels, generator.integers(0, 6, len(labels))
    )
    return labels, clusters, np.repeat(np.arange(groups), each)


def test_interval_equals_scikit_learn_on_halves_of_the_groups():
    labels, clusters, group = noisy(np.random.default_rng(3), groups=9)
    found = agreement(labels.astype(object), clusters, group, resamples=50, seed=4)
    generator = np.random.default_rng(4)
    values = []
    for _ in range(50):
        rows = np.isin(group, generator.permutation(9)[:4])
        values.append(metrics.adjusted_mutual_info_score(labels[rows], clusters[rows]))
    score = metrics.adjusted_mutual_info_score(labels, clusters)
    spread = (np.array(values) - np.mean(values)) * np.sqrt(4 / 5) + score
    low, high = np.quantile(spread, [0.025, 0.975])
    assert found[0].name == "ami"
    assert found[0].interval.low == pytest.approx(low, abs=1e-9)
    assert found[0].interval.high == pytest.approx(high, abs=1e-9)


def test_intervals_hold_the_score_and_cover_the_truth():
    generator = np.random.default_rng(5)
    labels, clusters, _ = noisy(generator, groups=4000)
    truth = scored(labels, clusters)
    covered = dict.fromkeys(("ami", "ari"), 0)
    for trial in range(60):
        labels, clusters, group = noisy(generator)
        for one in agreement(labels.astype(object), clusters, group, resamples=200, seed=trial):
            assert one.interval.low <= one.value <= one.interval.high
            if one.name in covered:
                covered[one.name] += one.interval.low <= truth[one.name] <= one.interval.high
    # Measured over 200 trials: 92 in 100, and intervals as wide as the scores' own spread.
    assert all(50 <= count <= 60 for count in covered.values()), covered


def test_no_windows_give_no_values():
    empty = np.empty(0, np.int64)
    found = agreement(np.empty(0, object), empty, empty, resamples=10, seed=0)
    assert [one.name for one in found] == list(SCORES)
    assert all(np.isnan(one.value) and np.isnan(one.shuffled) for one in found)


PRESENT = sparse.csr_matrix(
    # a  b
    [
        [1, 0],
        [1, 1],
        [0, 1],
        [1, 0],
        [0, 0],
        [0, 1],
    ],
    dtype=float,
)
CLUSTERS = np.array([7, 7, 7, 3, 3, 3])


def test_best_cluster_of_each_species_by_hand():
    a, b = best_clusters(PRESENT, ["a", "b"], CLUSTERS)
    # a: 3 windows, 2 of them in cluster 7 (3 windows): precision 2/3, recall 2/3.
    assert (a.species, a.windows, a.cluster) == ("a", 3, 7)
    assert (a.precision, a.recall, a.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert a.enrichment == pytest.approx((2 / 3) / (3 / 6))
    assert (b.cluster, b.f1) == (7, pytest.approx(2 / 3))


def test_cluster_contents_by_hand():
    three, seven = cluster_contents(PRESENT, ["a", "b"], CLUSTERS)
    assert (three.cluster, three.windows, three.detection_rate) == (3, 3, pytest.approx(2 / 3))
    assert (three.species, three.share) == ("a", pytest.approx(1 / 3))
    assert three.enrichment == pytest.approx((1 / 3) / (1 / 2))
    assert (seven.detection_rate, seven.species, seven.share) == (1.0, "a", pytest.approx(2 / 3))


def test_a_cluster_without_any_label_says_so():
    (only,) = cluster_contents(sparse.csr_matrix((4, 0)), [], np.zeros(4, int))
    assert (only.detection_rate, only.species, only.enrichment) == (0.0, None, 0.0)


def test_multilabel_purity_by_hand():
    # Cluster 7: two of three hold a; cluster 3: one of three holds a: (2 + 1) / 6.
    assert multilabel_purity(PRESENT, CLUSTERS) == pytest.approx(0.5)


def test_multilabel_purity_of_single_labels_is_purity():
    generator = np.random.default_rng(0)
    labels, clusters = generator.integers(0, 5, 200), generator.integers(0, 7, 200)
    single = sparse.csr_matrix((np.ones(200), (np.arange(200), labels)))
    assert multilabel_purity(single, clusters) == pytest.approx(scored(labels, clusters)["purity"])


def test_confusion_by_hand():
    assert confusion(PRESENT, ["a", "b"], CLUSTERS, "none") == [
        (3, "a", 1), (3, "b", 1), (3, "none", 1), (7, "a", 2), (7, "b", 2),
    ]  # fmt: skip
    assert confusion(sparse.csr_matrix((2, 0)), [], np.array([4, 5]), "none") == [
        (4, "none", 1), (5, "none", 1),
    ]  # fmt: skip


def test_silhouette_equals_scikit_learn():
    generator = np.random.default_rng(1)
    label = generator.integers(0, 3, 150)
    label[:1] = 9  # a class of one window
    x = (np.eye(5)[label % 4] + 0.4 * generator.normal(size=(150, 5))).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    group = np.array([f"g{one % 10}" for one in range(150)], dtype=object)
    apart = distances(unit)
    found = silhouette(apart, label, group, resamples=100, seed=0)
    assert found.value == pytest.approx(
        metrics.silhouette_score(x, label, metric="cosine"), abs=1e-5
    )
    assert found.interval.low < found.value < found.interval.high
    assert -0.25 < found.shuffled < 0  # of three classes the nearest other is nearer by chance
    none = silhouette(apart, np.zeros(150, int), group, resamples=10, seed=0)
    assert np.isnan(none.value)
    assert none.reason == "1 classes of 150 windows: a silhouette takes two, and pairs"
    assert part_of(150, 0).tolist() == list(range(150))
    assert len(set(part_of(9_000, 0).tolist())) == 2_000
