"""How far clusters and labels agree.

In: a cluster and a label (or several) per window. Out: chance-corrected and plain scores with the
same after shuffling the labels and with intervals over groups; for each species its best cluster;
for each cluster its detection rate and leading species.

All scores are functions of the contingency table, so a resample of groups is a sum of tables:

- entropies H, mutual information I: Rosenberg & Hirschberg 2007 (homogeneity I/H(label),
  completeness I/H(cluster), V their harmonic mean); NMI = I / mean(H), equal to V;
- AMI = (I - E I) / (mean(H) - E I): Vinh, Epps & Bailey 2010;
- ARI: Hubert & Arabie 1985;
- purity = share of windows whose label leads their cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dawnchorus.evaluation.bootstrap import NONE, Interval, half_sample_interval

SCORES = ("ami", "ari", "nmi", "homogeneity", "completeness", "v_measure", "purity")
SHUFFLES = 5
"""Shuffles of the labels that the chance column is the mean of."""


@dataclass(frozen=True)
class Score:
    """One score of an agreement."""

    name: str
    value: float
    shuffled: float
    interval: Interval


def contingency(
    labels: NDArray[np.int64], clusters: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Count windows per (label, cluster); labels and clusters are numbers from 0."""
    ones = np.ones(len(labels))
    return sparse.coo_matrix((ones, (labels, clusters)), shape=shape).toarray()


def _entropy(counts: NDArray[np.float64]) -> float:
    present = counts[counts > 0]
    share = present / present.sum()
    return float(-(share * np.log(share)).sum())


def scores(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the scores of :data:`SCORES` from a contingency table.

    Parameters
    ----------
    table : float64 array (labels, clusters)
        Counts (whole numbers); empty rows and columns do not matter.

    Returns
    -------
    float64 array (7,)
        In the order of :data:`SCORES`; NaN if the table is empty. Where labels and clusters are
        both one group each, the scores are 1, as in scikit-learn.
    """
    from sklearn.metrics.cluster import expected_mutual_information

    counts = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    total = counts.sum()
    if total == 0:
        return np.full(len(SCORES), np.nan)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    of_labels, of_clusters = _entropy(rows), _entropy(columns)
    filled = counts > 0
    expected = np.outer(rows, columns)[filled] / total
    mutual = float((counts[filled] * np.log(counts[filled] / expected)).sum() / total)
    mutual = max(mutual, 0.0)

    homogeneity = mutual / of_labels if of_labels else 1.0
    completeness = mutual / of_clusters if of_clusters else 1.0
    both = homogeneity + completeness
    v_measure = 2 * homogeneity * completeness / both if both else 0.0
    mean_entropy = (of_labels + of_clusters) / 2
    nmi = mutual / mean_entropy if mean_entropy else 1.0
    one_each = counts.shape == (1, 1)
    if one_each or counts.shape[0] == counts.shape[1] == total:
        ami = ari = 1.0  # both are one group, or every window is its own group
    elif 1 in counts.shape:
        ami, ari = 0.0, 0.0  # one side says nothing
    else:
        whole = sparse.csr_matrix(counts.astype(np.int64))
        chance = float(expected_mutual_information(whole, int(total)))
        room = mean_entropy - chance
        tiny = np.finfo("float64").eps
        ami = (mutual - chance) / (min(room, -tiny) if room < 0 else max(room, tiny))
        ari = _adjusted_rand(counts, rows, columns, total)
    purity = counts.max(axis=0).sum() / total
    return np.array([ami, ari, nmi, homogeneity, completeness, v_measure, purity])


def _adjusted_rand(
    counts: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    total: float,
) -> float:
    def pairs(values: NDArray[np.float64]) -> float:
        return float((values * (values - 1) / 2).sum())

    together, by_label, by_cluster = pairs(counts), pairs(rows), pairs(columns)
    chance = by_label * by_cluster / (total * (total - 1) / 2)
    room = (by_label + by_cluster) / 2 - chance
    return (together - chance) / room if room else 1.0


def agreement(
    labels: NDArray[np.object_],
    clusters: NDArray[np.int64],
    group: NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> list[Score]:
    """Score how far clusters and labels agree.

    Parameters
    ----------
    labels : object array (n,)
        One label per window.
    clusters : int64 array (n,)
    group : int64 array (n,)
        Group of each window, numbered from 0; intervals draw halves of the groups.
    resamples, seed : int
        Of the intervals; the seed is also the shuffles'.

    Returns
    -------
    list of Score
        In the order of :data:`SCORES`; values NaN if there are no windows.
    """
    if not len(labels):
        nothing = float("nan")
        return [Score(name, nothing, nothing, NONE) for name in SCORES]
    _, label = np.unique(labels.astype(str), return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    _, member = np.unique(group, return_inverse=True)
    shape = (int(label.max()) + 1, int(cluster.max()) + 1)
    values = scores(contingency(label, cluster, shape))
    generator = np.random.default_rng(seed)
    shuffled = np.mean(
        [
            scores(contingency(generator.permutation(label), cluster, shape))
            for _ in range(SHUFFLES)
        ],
        axis=0,
    )
    # One table per group, kept sparse: a season has hundreds of groups and thousands of cells.
    cells = label * shape[1] + cluster
    by_group = sparse.coo_matrix(
        (np.ones(len(cells)), (member, cells)), shape=(int(member.max()) + 1, shape[0] * shape[1])
    ).tocsr()
    present = np.unique(cells)
    sums = by_group[:, present].toarray()

    def of_sums(total: NDArray[np.float64]) -> NDArray[np.float64]:
        table = np.zeros(shape[0] * shape[1])
        table[present] = total
        return scores(table.reshape(shape))

    bounds = half_sample_interval(sums, of_sums, resamples, seed)
    return [
        Score(name, float(value), float(chance), bound)
        for name, value, chance, bound in zip(SCORES, values, shuffled, bounds, strict=True)
    ]


def multilabel_purity(present: sparse.csr_matrix, clusters: NDArray[np.int64]) -> float:
    """Return the share of windows that hold the label which most windows of their cluster hold.

    Parameters
    ----------
    present : sparse matrix (n, labels)
        1 where a window holds a label; a window may hold several, or none.
    clusters : int64 array (n,)

    Returns
    -------
    float
        NaN without windows. A window without any label counts as one that does not hold it.
    """
    if not present.shape[0]:
        return float("nan")
    return float(_held(present, clusters).max(axis=0).sum() / present.shape[0])


def _held(present: sparse.csr_matrix, clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count windows that hold a label, per (label, cluster)."""
    _, cluster = np.unique(clusters, return_inverse=True)
    rows = np.arange(len(cluster))
    member = sparse.csr_matrix(
        (np.ones(len(cluster)), (cluster, rows)), shape=(int(cluster.max()) + 1, len(cluster))
    )
    return np.asarray((member @ present).todense()).T


@dataclass(frozen=True)
class BestCluster:
    """The cluster that finds a species best."""

    species: str
    windows: int
    cluster: int
    precision: float
    recall: float
    f1: float
    enrichment: float
    """Precision over the species' share of all windows."""


def best_clusters(
    present: sparse.csr_matrix, species: Sequence[str], clusters: NDArray[np.int64]
) -> list[BestCluster]:
    """Find for each species the cluster with the best F1 (the first of equals).

    Parameters
    ----------
    present : sparse matrix (n, species)
        1 where a window holds the species.
    species : sequence of str
    clusters : int64 array (n,)
    """
    if not present.shape[0]:
        return []
    names, size = np.unique(clusters, return_counts=True)
    found = []
    for name, hits in zip(species, _held(present, clusters), strict=True):
        total = hits.sum()
        if not total:
            continue
        f1 = 2 * hits / (size + total)  # harmonic mean of hits / size and hits / total
        best = int(np.argmax(f1))
        precision = float(hits[best] / size[best])
        found.append(
            BestCluster(
                species=name,
                windows=int(total),
                cluster=int(names[best]),
                precision=precision,
                recall=float(hits[best] / total),
                f1=float(f1[best]),
                enrichment=precision / float(total / len(clusters)),
            )
        )
    return found


@dataclass(frozen=True)
class ClusterContent:
    """What a cluster holds."""

    cluster: int
    windows: int
    detection_rate: float
    """Share of its windows that hold any label."""
    species: str | None
    """The label that most of its windows hold; None if none holds any."""
    share: float
    """Of its windows that hold that label."""
    enrichment: float
    """That share over the label's share of all windows."""


def cluster_contents(
    present: sparse.csr_matrix, species: Sequence[str], clusters: NDArray[np.int64]
) -> list[ClusterContent]:
    """Say for each cluster how many of its windows hold a label, and which leads."""
    if not present.shape[0]:
        return []
    names, size = np.unique(clusters, return_counts=True)
    held = _held(present, clusters)
    any_label = sparse.csr_matrix((np.asarray(present.sum(axis=1)) > 0).astype(float))
    detected = _held(any_label, clusters)[0]
    contents = []
    for number, name in enumerate(names):
        column = held[:, number]
        lead = int(np.argmax(column)) if len(column) else -1
        has = lead >= 0 and column[lead] > 0
        share = float(column[lead] / size[number]) if has else 0.0
        overall = float(held[lead].sum() / len(clusters)) if has else 0.0
        contents.append(
            ClusterContent(
                cluster=int(name),
                windows=int(size[number]),
                detection_rate=float(detected[number] / size[number]),
                species=species[lead] if has else None,
                share=share,
                enrichment=share / overall if has else 0.0,
            )
        )
    return contents


def confusion(
    present: sparse.csr_matrix,
    species: Sequence[str],
    clusters: NDArray[np.int64],
    nothing: str,
) -> list[tuple[int, str, int]]:
    """Count the windows of each cluster that hold each label; cells without any are left out.

    A window with several labels counts for each, so that a cluster's counts may sum to more than its
    windows; one without any counts for ``nothing``.

    Returns
    -------
    list of (cluster, label, windows)
        By cluster, then by label, ``nothing`` last.
    """
    if not present.shape[0]:
        return []
    names = np.unique(clusters)
    without = sparse.csr_matrix((np.asarray(present.sum(axis=1)) == 0).astype(float))
    held = np.concatenate([_held(present, clusters), _held(without, clusters)])
    cells = np.argwhere(held.T > 0)
    labels = [*species, nothing]
    return [(int(names[one]), labels[label], int(held[label, one])) for one, label in cells]
