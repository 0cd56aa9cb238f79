"""What can be read out of a space: nearest neighbours and a linear classifier.

In: features per window and a :class:`~dawnchorus.evaluation.tasks.Task`. Out: accuracy and balanced
accuracy of predictions for windows of groups that the classifier never saw, with 95 % intervals over
groups, and what shuffled labels give; and the same over a random split, which is named *leaky*.

Features are standardised with the training side's mean and deviation (principal components with
one deviation for all: the last of them are noise). Neighbours are found by cosine similarity after
that (every space the same way); the linear probe is multinomial logistic regression with an L2
penalty. Each window is predicted once (out of fold), and accuracy is over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.bootstrap import NONE, Interval, interval
from dawnchorus.evaluation.tasks import Fold, Split, Task

METRICS = ("accuracy", "balanced_accuracy")
INVERSE_PENALTY = 0.1
"""C of the logistic regression on standardised features."""
MOST_ITERATIONS = 500
ROWS_AT_ONCE = 512
"""Windows whose neighbours are looked for at a time."""
Figures = dict[str, tuple[float, Interval]]


@dataclass(frozen=True)
class Outcome:
    """One probe over one split; ``figures`` is empty if it could not be done, ``note`` says why.

    ``shuffled`` has the metrics with shuffled labels, where that was asked for; ``shots`` the windows
    per class that it was trained on, None for all.
    """

    probe: str
    split: Split
    figures: Figures
    windows: int
    classes: int
    groups: int
    folds: int
    note: str
    shots: int | None = None
    shuffled: dict[str, float] = field(default_factory=dict)


class Classifier(Protocol):
    """What learns from windows and names others."""

    def fit(self, x: NDArray[np.float32], y: NDArray[Any]) -> Any:
        """Learn from features (n, d) and classes (n,)."""
        ...

    def predict(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return the class of each row."""
        ...


Make = Callable[[bool], Classifier]
"""Makes a fresh classifier; told whether to scale each feature to deviation 1."""


class Neighbours:
    """The vote of the nearest neighbours by cosine; of equals the class that comes first wins.

    Parameters
    ----------
    count : int
        How many vote; all there are, if there are fewer.
    scale_each : bool
    """

    def __init__(self, count: int, scale_each: bool) -> None:
        self._count, self._scale_each = count, scale_each

    def fit(self, x: NDArray[np.float32], y: NDArray[Any]) -> Neighbours:
        """Keep the directions of the features and their classes."""
        from sklearn.preprocessing import StandardScaler

        self._scaler = StandardScaler(with_std=self._scale_each).fit(x)
        self._known = self._directions(x)
        self._names, self._classes = np.unique(y, return_inverse=True)
        return self

    def _directions(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        from sklearn.preprocessing import normalize

        return np.asarray(normalize(self._scaler.transform(x), copy=False))

    def predict(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return the class that most neighbours of each row have."""
        asked, count = self._directions(x), min(self._count, len(self._known))
        votes = np.zeros((len(asked), len(self._names)), dtype=np.int64)
        for start in range(0, len(asked), ROWS_AT_ONCE):
            near = asked[start : start + ROWS_AT_ONCE] @ self._known.T
            nearest = np.argpartition(near, near.shape[1] - count, axis=1)[:, -count:]
            for column in self._classes[nearest].T:
                votes[np.arange(start, start + len(near)), column] += 1
        return np.asarray(self._names[votes.argmax(axis=1)])


def neighbours(count: int) -> Make:
    """Return what makes a classifier by the ``count`` nearest neighbours."""
    return lambda scale_each: Neighbours(count, scale_each)


def regression(balanced: bool = False) -> Any:
    """Return scikit-learn's logistic regression as all probes use it.

    Parameters
    ----------
    balanced : bool
        Whether every class weighs the same, however many windows it has.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=INVERSE_PENALTY,
        max_iter=MOST_ITERATIONS,
        tol=1e-3,
        class_weight="balanced" if balanced else None,
    )


def linear(scale_each: bool, balanced: bool = False) -> Any:
    """Return a linear classifier of standardised features."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(with_std=scale_each), regression(balanced))


def majority(task: Task, *, resamples: int, seed: int) -> Outcome:
    """Return the outcome of always saying the most frequent class of all.

    Not the training side's: with few groups, holding one out makes its class rare in training, and
    the baseline would score below chance.
    """
    if task.reason:
        return impossible("majority", "none", task)
    right = task.target == np.bincount(task.target).argmax()
    values = figures(right, task, resamples=resamples, seed=seed)
    return outcome("majority", "none", task, values, 0, [])


def impossible(name: str, split: Split, task: Task, reason: str = "") -> Outcome:
    """Return the outcome of what cannot be probed: no figures, and why."""
    return Outcome(
        name, split, {}, task.windows, task.classes, task.groups, 0, reason or task.reason
    )


def outcome(
    name: str, split: Split, task: Task, values: Figures, folds: int, notes: list[str], **more: Any
) -> Outcome:
    """Return the outcome of what was probed."""
    said = [task.note, *dict.fromkeys(notes)]
    if all(bound == NONE for _, bound in values.values()):
        said.append("one group: no interval")
    note = "; ".join(filter(None, said))
    return Outcome(
        name, split, values, task.windows, task.classes, task.groups, folds, note, **more
    )


def figures(right: NDArray[Any], task: Task, *, resamples: int, seed: int) -> Figures:
    """Return accuracy and balanced accuracy with intervals over groups.

    Balanced accuracy is the mean of the recalls of the classes that occur.

    Parameters
    ----------
    right : bool or float array (m,)
        Whether each window was named rightly; of several predictions, the share.
    task : Task
    resamples, seed : int
        Of the bootstrap.
    """
    shape = (task.groups, task.classes)
    cell = task.group * task.classes + task.target
    size = task.groups * task.classes
    seen = np.bincount(cell, minlength=size).reshape(shape)
    hits = np.bincount(cell, weights=right, minlength=size).reshape(shape)
    sums = np.stack([seen, hits], axis=2).astype(np.float64)

    def of_sums(total: NDArray[np.float64]) -> NDArray[np.float64]:
        seen, hits = total[:, 0], total[:, 1]
        there = seen > 0
        return np.array([hits.sum() / seen.sum(), (hits[there] / seen[there]).mean()])

    values = of_sums(sums.sum(axis=0))
    bounds = interval(sums, of_sums, resamples, seed)
    return {
        name: (float(value), bound)
        for name, value, bound in zip(METRICS, values, bounds, strict=True)
    }


def probe(
    features: NDArray[np.float32],
    task: Task,
    make: Make,
    name: str,
    split: Split,
    *,
    resamples: int,
    seed: int,
    scale_each: bool = True,
    shuffled: bool = False,
) -> Outcome:
    """Fit and predict fold by fold.

    Parameters
    ----------
    features : float32 array (m, d)
        One row per window that the task keeps.
    task : Task
    make : callable
        Makes a fresh classifier.
    name : str
        Of the probe, for the table.
    split : {"grouped", "leaky"}
    resamples, seed : int
        Of the bootstrap; the seed is also the shuffle's.
    scale_each : bool
        False for features whose deviations mean something (principal components).
    shuffled : bool
        Whether to do the same with the classes shuffled over all windows.
    """
    if task.reason:
        return impossible(name, split, task)
    folds = task.splits[split]

    def right(target: NDArray[np.int64]) -> tuple[NDArray[np.bool_], list[str]]:
        predicted, notes = predictions(features, target, folds, lambda: make(scale_each))
        return predicted == target, notes

    hits, notes = right(task.target)
    values = figures(hits, task, resamples=resamples, seed=seed)
    chance = {}
    if shuffled:
        mixed = np.random.default_rng(seed).permutation(task.target)
        chance = of_chance(right(mixed)[0], mixed)
    return outcome(name, split, task, values, len(folds), notes, shuffled=chance)


def of_chance(right: NDArray[np.bool_], target: NDArray[np.int64]) -> dict[str, float]:
    """Return the metrics without intervals, for shuffled classes ``target``."""
    recall = np.bincount(target, weights=right) / np.bincount(target)
    return dict(zip(METRICS, (float(right.mean()), float(recall.mean())), strict=True))


def predictions(
    features: NDArray[np.float32],
    target: NDArray[np.int64],
    folds: list[Fold],
    make: Callable[[], Classifier],
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class that each window is given out of its fold, and complaints."""
    predicted = np.full(len(target), -1, dtype=np.int64)
    notes = []
    for train, test in folds:
        predicted[test], complaint = named(make, features[train], target[train], features[test])
        notes += [complaint] if complaint else []
    return predicted, notes


def named(
    make: Callable[[], Classifier],
    known: NDArray[np.float32],
    target: NDArray[np.int64],
    asked: NDArray[np.float32],
) -> tuple[NDArray[np.int64], str]:
    """Fit a fresh classifier and return what it says of ``asked``, and what there is to complain of."""
    from sklearn import config_context

    if (target == target[0]).all():
        # A classifier needs two classes; with one there is only one answer.
        return np.full(len(asked), target[0]), "a fold trains on one class only"
    classifier: Any = make()
    # For a few windows, checking the parameters takes longer than the arithmetic.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        classifier.fit(known, target)
        said = classifier.predict(asked)
    last = classifier[-1] if hasattr(classifier, "steps") else classifier
    stopped = int(np.max(getattr(last, "n_iter_", 0))) >= MOST_ITERATIONS
    return said, f"stopped after {MOST_ITERATIONS} iterations" if stopped else ""
