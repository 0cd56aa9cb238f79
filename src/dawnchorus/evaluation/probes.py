"""What can be read out of a space: nearest neighbours and a linear classifier.

In: features, a target and a group per window. Out: accuracy and balanced accuracy of predictions
for windows of groups that the classifier never saw, with 95 % intervals over groups; and the same
over a random split, which is named *leaky*: neighbours of a test window are in training there.

Features are standardised with the training side's mean and deviation (principal components with
one deviation for all: the last of them are noise). Neighbours are found by cosine similarity after
that (every space the same way); the linear probe is multinomial logistic regression with an L2
penalty. Each window is predicted once (out of fold), and accuracy is over all of them.

A class that occurs in one group only can never be on both sides of a grouped split: such classes
are left out of both splits, and the note says how many.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.bootstrap import NONE, Interval, interval, per_group

Split = Literal["grouped", "leaky", "none"]
"""``none``: nothing was learned, so nothing was split."""
METRICS = ("accuracy", "balanced_accuracy")
INVERSE_PENALTY = 0.1
"""C of the logistic regression on standardised features."""
MOST_ITERATIONS = 500


@dataclass(frozen=True)
class Outcome:
    """One probe over one split; ``figures`` is empty if it could not be done, ``note`` says why."""

    probe: str
    split: Split
    figures: dict[str, tuple[float, Interval]]
    windows: int
    classes: int
    groups: int
    folds: int
    note: str


@dataclass(frozen=True)
class Task:
    """A target that can be probed: the windows kept, their classes and groups, the folds."""

    kept: NDArray[np.bool_]
    target: NDArray[np.int64]
    group: NDArray[np.int64]
    classes: int
    groups: int
    note: str
    reason: str
    """Why it cannot be probed; empty if it can."""
    splits: dict[Split, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]


def prepare(
    labels: NDArray[np.object_], group: NDArray[np.object_], *, folds: int, seed: int
) -> Task:
    """Decide which windows and classes can be probed, and split them.

    Parameters
    ----------
    labels : object array (n,)
        Class of each window; None leaves the window out.
    group : object array (n,)
    folds : int
        Fewer if there are fewer groups.
    seed : int
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    known = np.array([label is not None for label in labels], dtype=bool)
    pairs = {(str(label), str(one)) for label, one in zip(labels[known], group[known], strict=True)}
    names, counts = np.unique([label for label, _ in sorted(pairs)], return_counts=True)
    usable = set(names[counts >= 2].tolist())
    kept = np.array([label is not None and str(label) in usable for label in labels], dtype=bool)
    left_out = len(names) - len(usable)
    note = f"{left_out} classes of one group only are left out" if left_out else ""

    _, target = np.unique(labels[kept].astype(str), return_inverse=True)
    _, member = np.unique(group[kept].astype(str), return_inverse=True)
    classes = int(target.max()) + 1 if len(target) else 0
    groups = int(member.max()) + 1 if len(member) else 0
    reason = ""
    if not known.any():
        reason = "no window has a label"
    elif classes < 2:
        reason = f"of {len(names)} classes, {classes} occur in two groups or more; it takes two"
    splits: dict[Split, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    if not reason:
        count = min(folds, groups)
        nothing = np.zeros(len(target))
        with warnings.catch_warnings():
            # A class smaller than the number of folds is missing from some folds; that is all.
            warnings.filterwarnings("ignore", message="The least populated class")
            grouped = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
            leaky = StratifiedKFold(count, shuffle=True, random_state=seed)
            splits["grouped"] = list(grouped.split(nothing, target, member))
            splits["leaky"] = list(leaky.split(nothing, target))
    return Task(kept, target, member, classes, groups, note, reason, splits)


Make = Callable[[bool], Any]
"""Makes a fresh classifier; told whether to scale each feature to deviation 1."""


def neighbours(count: int) -> Make:
    """Return what makes a classifier by the ``count`` nearest neighbours."""

    def make(scale_each: bool) -> Any:
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer, StandardScaler

        nearest = KNeighborsClassifier(count, algorithm="brute")
        return make_pipeline(StandardScaler(with_std=scale_each), Normalizer(), nearest)

    return make


def linear(scale_each: bool) -> Any:
    """Return a linear classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(with_std=scale_each),
        LogisticRegression(C=INVERSE_PENALTY, max_iter=MOST_ITERATIONS, tol=1e-3),
    )


def majority(task: Task, *, resamples: int, seed: int) -> Outcome:
    """Return the outcome of always saying the most frequent class of all.

    Not the training side's: with few groups, holding one out makes its class rare in training, and
    the baseline would score below chance.
    """
    counts = (int(task.kept.sum()), task.classes, task.groups, 0)
    if task.reason:
        return Outcome("majority", "none", {}, *counts, task.reason)
    usual = np.full(len(task.target), np.bincount(task.target).argmax())
    values = figures(task.target, usual, task.group, task.classes, resamples=resamples, seed=seed)
    return Outcome("majority", "none", values, *counts, task.note)


def figures(
    target: NDArray[np.int64],
    predicted: NDArray[np.int64],
    group: NDArray[np.int64],
    classes: int,
    *,
    resamples: int,
    seed: int,
) -> dict[str, tuple[float, Interval]]:
    """Return accuracy and balanced accuracy with intervals over groups.

    Balanced accuracy is the mean of the recalls of the classes that occur.
    """
    counts = np.zeros((len(target), classes, 2))
    rows = np.arange(len(target))
    counts[rows, target, 0] = 1
    counts[rows, target, 1] = predicted == target
    sums = per_group(group, counts)

    def of_sums(total: NDArray[np.float64]) -> NDArray[np.float64]:
        seen, right = total[:, 0], total[:, 1]
        there = seen > 0
        return np.array([right.sum() / seen.sum(), (right[there] / seen[there]).mean()])

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
    workers: int = 1,
    scale_each: bool = True,
) -> Outcome:
    """Fit and predict fold by fold.

    Parameters
    ----------
    features : float32 array (n, d)
        One row per window that the task keeps.
    task : Task
    make : callable
        Makes a fresh classifier.
    name : str
        Of the probe, for the table.
    split : {"grouped", "leaky"}
    resamples, seed : int
        Of the bootstrap.
    workers : int
        Folds at the same time. The caller keeps BLAS to one thread each, so that sums have one
        order and the outcome does not depend on it.
    scale_each : bool
        False for features whose deviations mean something (principal components).
    """
    if task.reason:
        return Outcome(
            name, split, {}, int(task.kept.sum()), task.classes, task.groups, 0, task.reason
        )
    folds = task.splits[split]
    predicted = np.full(len(task.target), -1, dtype=np.int64)
    notes = [task.note] if task.note else []
    for test, guess, complaint in _folds(features, task.target, folds, make, workers, scale_each):
        predicted[test] = guess
        if complaint and complaint not in notes:
            notes.append(complaint)
    values = figures(
        task.target, predicted, task.group, task.classes, resamples=resamples, seed=seed
    )
    if all(bound == NONE for _, bound in values.values()):
        notes.append("one group: no interval")
    return Outcome(
        name,
        split,
        values,
        len(task.target),
        task.classes,
        task.groups,
        len(folds),
        "; ".join(notes),
    )


def _folds(
    features: NDArray[np.float32],
    target: NDArray[np.int64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    make: Make,
    workers: int,
    scale_each: bool,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], str]]:
    """Yield (test windows, predictions, complaint) per fold."""
    from sklearn.exceptions import ConvergenceWarning

    def one(fold: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Any:
        train, test = fold
        if len(np.unique(target[train])) < 2:
            # A classifier needs two classes; with one there is only one answer.
            return test, np.full(len(test), target[train][0]), "a fold trains on one class only"
        classifier = make(scale_each)
        _enough_neighbours(classifier, len(train))
        classifier.fit(features[train], target[train])
        last = classifier[-1] if hasattr(classifier, "steps") else classifier
        stopped = int(np.max(getattr(last, "n_iter_", 0))) >= MOST_ITERATIONS
        complaint = f"stopped after {MOST_ITERATIONS} iterations" if stopped else ""
        return test, classifier.predict(features[test]), complaint

    # Filters of warnings are not per thread, so they are set here; n_iter_ tells the same.
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(max(1, min(workers, len(folds)))) as pool,
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield from pool.map(one, folds)


def _enough_neighbours(classifier: Any, windows: int) -> None:
    """Ask for no more neighbours than there are windows to train on."""
    last = classifier[-1] if hasattr(classifier, "steps") else classifier
    count = getattr(last, "n_neighbors", None)
    if count is not None and count > windows:
        last.set_params(n_neighbors=windows)
