"""How much a space tells from a few labelled windows per class.

In: features per window and a task. Out: for each number of windows per class, accuracy and balanced
accuracy of the linear probe on the test side of each grouped fold.

Windows to train on are drawn from the training side, :data:`DRAWS` times, the same for every space;
a smaller draw is part of the larger one. Figures are means over the draws, intervals are over groups.
Features are standardised with all of the training side: that takes no label. A class that has fewer
windows than asked for weighs as much as the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.probes import Outcome, figures, impossible, named, outcome, regression
from dawnchorus.evaluation.tasks import Task

DRAWS = 5
NAME = "linear"


def few_shot(
    features: NDArray[np.float32],
    task: Task,
    shots: Sequence[int],
    *,
    resamples: int,
    seed: int,
    scale_each: bool = True,
) -> list[Outcome]:
    """Return one outcome per number of windows per class.

    Parameters
    ----------
    features : float32 array (m, d)
        One row per window that the task keeps.
    task : Task
    shots : sequence of int
        Windows per class. A class that has fewer gives all it has, and the note says so.
    resamples, seed : int
    scale_each : bool
        As for :func:`~dawnchorus.evaluation.probes.probe`.
    """
    from sklearn.preprocessing import StandardScaler

    if task.reason:
        return [replace(impossible(NAME, "grouped", task), shots=shot) for shot in shots]
    folds = task.splits["grouped"]
    right = np.zeros((len(shots), task.windows))
    fewest = np.full(task.classes, task.windows)
    notes: list[list[str]] = [[] for _ in shots]
    for number, (train, test) in enumerate(folds):
        scaler = StandardScaler(with_std=scale_each).fit(features[train])
        known, asked = scaler.transform(features[train]), scaler.transform(features[test])
        target = task.target[train]
        fewest = np.minimum(fewest, np.bincount(target, minlength=task.classes))
        for draw in range(DRAWS):
            rank = _ranks(target, np.random.default_rng([seed, number, draw]))
            for at, shot in enumerate(shots):
                chosen = rank < shot
                guess, complaint = named(
                    partial(regression, balanced=True), known[chosen], target[chosen], asked
                )
                right[at, test] += (guess == task.target[test]) / DRAWS
                notes[at] += [complaint] if complaint else []
    return [
        outcome(
            NAME,
            "grouped",
            task,
            figures(right[at], task, resamples=resamples, seed=seed),
            len(folds),
            [*notes[at], *_short_of(fewest, shot)],
            shots=shot,
        )
        for at, shot in enumerate(shots)
    ]


def _ranks(target: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return each window's place in a random order of its class, from 0."""
    order = generator.permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    first = np.searchsorted(target[order], target[order])
    rank = np.empty(len(target), dtype=np.int64)
    rank[order] = np.arange(len(target)) - first
    return rank


def _short_of(fewest: NDArray[Any], shot: int) -> list[str]:
    short = int((fewest < shot).sum())
    if not short:
        return []
    return [f"{short} of {len(fewest)} classes have fewer than {shot} windows to learn from"]
