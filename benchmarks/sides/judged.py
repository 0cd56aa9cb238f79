"""How good vectors are, each space measured alike: what the learning benchmarks share.

In: vectors, a class and a group per window. Out: 5-nearest-neighbour accuracy and linear probe for
windows whose group the classifier never saw, AMI of k-means; by the product's own probes. Accuracies are
means over windows and, beside them, over groups (where a long recording counts as much as a short one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import LeaveOneGroupOut

from dawnchorus.clustering.kmeans import spherical_kmeans
from dawnchorus.clustering.sphere import nearest, one_core, unit
from dawnchorus.evaluation.probes import linear, neighbours
from dawnchorus.evaluation.spaces import statistics
from dawnchorus.learning.backbone import ModelMetadata, features, model_input
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.whitening import Whitening

NEIGHBOURS = 5
RESTARTS = 3
AT_ONCE = 256


@dataclass(frozen=True)
class Question:
    """Which windows are asked for, their classes, and which must not answer for each other."""

    name: str
    kept: NDArray[np.int64]
    label: NDArray[np.str_]
    group: NDArray[np.str_]

    def said(self) -> str:
        classes, counts = np.unique(self.label, return_counts=True)
        return (
            f"{self.name}: {len(self.kept):,} windows, {len(classes)} classes of {counts.min()} to "
            f"{counts.max()}, {len(np.unique(self.group))} groups, majority {counts.max() / counts.sum():.3f}"
        )


Interval = tuple[float, float]
Answers = dict[tuple[str, bytes], NDArray[np.str_]]
"""What a probe said of the windows of a fold, by the probe's name and the fold's positions."""


@dataclass(frozen=True)
class Figures:
    """What was measured of one space for one question; intervals by bootstrap over groups."""

    knn: float
    knn_interval: Interval
    linear: float
    linear_interval: Interval
    ami: float
    knn_groups: float
    knn_groups_interval: Interval
    linear_groups: float
    linear_groups_interval: Interval
    right: dict[str, NDArray[np.float64]] = field(repr=False)
    """``knn`` and ``linear``: 1 for a window that was told rightly, else 0 (shares, if of several)."""
    group: NDArray[np.str_] = field(repr=False)


def judged(
    vectors: NDArray[np.float32],
    question: Question,
    *,
    scale_each: bool = True,
    answers: Answers | None = None,
) -> Figures:
    """Measure a space.

    Parameters
    ----------
    vectors : float32 array (n, d)
        Of all windows.
    question : Question
    scale_each : bool
        False for principal components: their deviations mean something.
    answers : dict, optional
        Shared by questions about the same windows of the same space: equal folds are asked once.
    """
    with one_core():  # many small fits: threads would wait for each other
        return _judged(vectors[question.kept], question, scale_each, answers)


def _judged(
    x: NDArray[np.float32], question: Question, scale_each: bool, answers: Answers | None
) -> Figures:
    label, group = question.label, question.group
    known: Answers = {} if answers is None else answers
    right = {}
    for name, make in (("knn", neighbours(NEIGHBOURS)), ("linear", linear)):
        guess = np.empty(len(label), dtype=label.dtype)
        for train, test in LeaveOneGroupOut().split(x, label, group):
            fold = (name, test.tobytes())
            if fold not in known:
                known[fold] = make(scale_each).fit(x[train], label[train]).predict(x[test])
            guess[test] = known[fold]
        right[name] = (guess == label).astype(np.float64)
    return counted(right, group, clustered(x, label, scale_each))


def counted(right: dict[str, NDArray[np.float64]], group: NDArray[np.str_], ami: float) -> Figures:
    """Count right answers, over windows and over groups."""
    knn, line = right["knn"], right["linear"]
    return Figures(
        float(knn.mean()),
        interval(knn, group),
        float(line.mean()),
        interval(line, group),
        ami,
        over_groups(knn, group),
        interval(knn, group, equal=True),
        over_groups(line, group),
        interval(line, group, equal=True),
        right,
        group,
    )


def averaged(found: Sequence[Figures]) -> Figures:
    """The mean of several trainings of one kind, for one question."""
    right = {
        name: np.mean([one.right[name] for one in found], axis=0) for name in ("knn", "linear")
    }
    return counted(right, found[0].group, float(np.mean([one.ami for one in found])))


def over_groups(right: NDArray[np.float64], group: NDArray[np.str_]) -> float:
    """The mean over groups of their accuracies."""
    _, number = np.unique(group, return_inverse=True)
    return float(np.mean(np.bincount(number, weights=right) / np.bincount(number)))


def interval(
    right: NDArray[np.float64], group: NDArray[np.str_], times: int = 2000, *, equal: bool = False
) -> Interval:
    """The 95 % interval of an accuracy (or of a difference), by bootstrap over groups.

    ``equal``: of its mean over groups, however many windows they have.
    """
    _, number = np.unique(group, return_inverse=True)
    hits: NDArray[np.float64] = np.bincount(number, weights=right).astype(np.float64)
    counts: NDArray[np.float64] = np.bincount(number).astype(np.float64)
    if equal:
        hits, counts = hits / counts, np.ones_like(counts)
    drawn = np.random.default_rng(0).integers(0, len(counts), (times, len(counts)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def clustered(x: NDArray[np.float32], label: NDArray[np.str_], scale_each: bool) -> float:
    """AMI of spherical k-means with as many clusters as classes, mean over seeds."""
    deviation = x.std(axis=0) if scale_each else np.float32(x.std())
    x = unit(((x - x.mean(axis=0)) / np.maximum(deviation, 1e-6)).astype(np.float32))
    classes = len(np.unique(label))
    found = [nearest(x, spherical_kmeans(x, classes, seed=seed))[0] for seed in range(RESTARTS)]
    return float(np.mean([adjusted_mutual_info_score(label, one) for one in found]))


def baselines(
    codes: NDArray[np.uint8], db_min: float, db_step: float, components: int = 128
) -> dict[str, tuple[NDArray[np.float32], bool]]:
    """Log-mel statistics, with and without the noise floor, and principal components of the images.

    Returns
    -------
    dict
        Name to (vectors, whether each dimension is scaled).
    """
    parts = []
    for first in range(0, len(codes), 1000):
        decibels = codes[first : first + 1000].astype(np.float32) * db_step + db_min
        parts.append(statistics(decibels))
    plain, above = (np.concatenate(part) for part in zip(*parts, strict=True))
    images = codes.reshape(len(codes), -1).astype(np.float32)
    some = np.random.default_rng(0).permutation(len(images))[:4000]
    components = min(components, len(some) - 1)
    pca = PCA(components, svd_solver="randomized", random_state=0)
    floor = np.median(codes, axis=2, keepdims=True).astype(np.float32)
    contrast = (codes - floor).reshape(len(codes), -1)

    def one_scale(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """So that the probes' penalty means the same as elsewhere."""
        return (rows / np.sqrt(np.mean(rows**2))).astype(np.float32)

    return {
        "log-mel mean and deviation": (plain, True),
        "log-mel, noise floor subtracted": (above, True),
        "PCA of the image": (one_scale(pca.fit(images[some]).transform(images)), False),
        "PCA, noise floor subtracted": (
            one_scale(pca.fit(contrast[some]).transform(contrast)),
            False,
        ),
    }


def embedded(
    network: Backbone, metadata: ModelMetadata, codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Embed windows with a network; whitened by these windows if its model is."""
    network.eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(codes), AT_ONCE):
            some = torch.from_numpy(np.ascontiguousarray(codes[first : first + AT_ONCE]))
            found.append(features(network, model_input(some, metadata), metadata.pooling))
    vectors = torch.cat(found).numpy()
    return vectors if metadata.whitening is None else whitened(vectors, metadata.whitening)


def whitened(vectors: NDArray[np.float32], shrinkage: float) -> NDArray[np.float32]:
    """Even out the axes of a space by the product's own whitening, fitted on these windows."""
    given = torch.from_numpy(np.ascontiguousarray(vectors))
    return Whitening.fit([given], shrinkage)(given).numpy()


def row(name: str, found: Figures) -> str:
    """A line of a table."""
    low, high = found.knn_interval
    left, right = found.linear_interval
    return (
        f"{name:<44} {found.knn:5.3f} [{low:.2f}, {high:.2f}]   "
        f"{found.linear:5.3f} [{left:.2f}, {right:.2f}]   {found.ami:5.3f}"
    )


HEADER = f"{'':<44} {'5-NN':<20}  {'linear probe':<20}  AMI"


def row_of_groups(name: str, found: Figures) -> str:
    """A line of a table with means over windows and means over groups."""
    cells = [
        f"{value:5.3f} [{low:.2f}, {high:.2f}]"
        for value, (low, high) in (
            (found.knn, found.knn_interval),
            (found.knn_groups, found.knn_groups_interval),
            (found.linear, found.linear_interval),
            (found.linear_groups, found.linear_groups_interval),
        )
    ]
    return f"{name:<44} {'   '.join(cells)}   {found.ami:5.3f}"


HEADER_OF_GROUPS = (
    f"{'':<44} {'5-NN':<18}   {'5-NN, groups':<18}   {'linear probe':<18}   "
    f"{'linear, groups':<18}   AMI"
)
