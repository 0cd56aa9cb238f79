"""How good vectors are, each space measured alike: what the learning benchmarks share.

In: vectors, a class and a group per window. Out: 5-nearest-neighbour accuracy and linear probe for
windows whose group the classifier never saw, AMI of k-means; by the product's own probes.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Figures:
    """What was measured of one space for one question."""

    knn: float
    knn_interval: tuple[float, float]
    linear: float
    linear_interval: tuple[float, float]
    ami: float


def judged(vectors: NDArray[np.float32], question: Question, *, scale_each: bool = True) -> Figures:
    """Measure a space.

    Parameters
    ----------
    vectors : float32 array (n, d)
        Of all windows.
    question : Question
    scale_each : bool
        False for principal components: their deviations mean something.
    """
    with one_core():  # many small fits: threads would wait for each other
        return _judged(vectors[question.kept], question.label, question.group, scale_each)


def _judged(
    x: NDArray[np.float32], label: NDArray[np.str_], group: NDArray[np.str_], scale_each: bool
) -> Figures:
    right = {}
    for name, make in (("knn", neighbours(NEIGHBOURS)), ("linear", linear)):
        guess = np.empty(len(label), dtype=label.dtype)
        for train, test in LeaveOneGroupOut().split(x, label, group):
            guess[test] = make(scale_each).fit(x[train], label[train]).predict(x[test])
        right[name] = guess == label
    knn, line = right["knn"], right["linear"]
    return Figures(
        float(knn.mean()),
        interval(knn, group),
        float(line.mean()),
        interval(line, group),
        clustered(x, label, scale_each),
    )


def interval(
    right: NDArray[np.bool_], group: NDArray[np.str_], times: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of an accuracy, by bootstrap over groups."""
    _, number = np.unique(group, return_inverse=True)
    hits, counts = np.bincount(number, weights=right), np.bincount(number)
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
    network: torch.nn.Module, metadata: ModelMetadata, codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Embed windows with a network; whitened by these windows if its model is."""
    network.eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(codes), AT_ONCE):
            some = torch.from_numpy(np.ascontiguousarray(codes[first : first + AT_ONCE]))
            found.append(features(network, model_input(some, metadata), metadata.pooling))
    vectors = torch.cat(found)
    if metadata.whitening is not None:
        vectors = Whitening.fit([vectors], metadata.whitening)(vectors)
    return vectors.numpy()


def row(name: str, found: Figures) -> str:
    """A line of a table."""
    low, high = found.knn_interval
    left, right = found.linear_interval
    return (
        f"{name:<44} {found.knn:5.3f} [{low:.2f}, {high:.2f}]   "
        f"{found.linear:5.3f} [{left:.2f}, {right:.2f}]   {found.ami:5.3f}"
    )


HEADER = f"{'':<44} {'5-NN':<20}  {'linear probe':<20}  AMI"
