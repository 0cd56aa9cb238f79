"""What a probe is asked: classes, groups and folds.

In: a class and a group per window. Out: a :class:`Task`: the windows and classes that can be probed,
and how they are parted into training and test.

- *grouped*: windows of one group are never on both sides. By recorder, each recorder is left out once.
- *leaky*: windows at random, so that neighbours of a test window are in training.

A class that occurs in one group only can never be on both sides of a grouped split: such classes
are left out of both splits, and the note says how many.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["grouped", "leaky", "none"]
"""``none``: nothing was learned, so nothing was split."""
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Windows to train on, windows to test."""
LEFT_OUT = frozenset({"recorder", "fold"})
"""Groupings of which each group is left out once: recorders, and a labelled set's official folds."""
MOST_LEFT_OUT = 20
"""Groups that are left out one by one at most; more are dealt to so many folds."""


@dataclass(frozen=True)
class Task:
    """A target that can be probed.

    Attributes
    ----------
    kept : bool array (n,)
        Windows that take part.
    target, group : int64 array (m,)
        Their class and group, numbered from 0.
    classes, groups : int
    note : str
        What was left out, or is missing on one side.
    reason : str
        Why it cannot be probed; empty if it can.
    splits : dict
        Folds of the grouped and of the leaky split; empty if it cannot be probed.
    """

    kept: NDArray[np.bool_]
    target: NDArray[np.int64]
    group: NDArray[np.int64]
    classes: int
    groups: int
    note: str
    reason: str
    splits: dict[Split, list[Fold]]

    @property
    def windows(self) -> int:
        """Windows that take part."""
        return len(self.target)


def prepare(
    labels: NDArray[np.object_],
    group: NDArray[np.object_],
    *,
    folds: int,
    seed: int,
    leave_one_out: bool = False,
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
    leave_one_out : bool
        One fold per group, up to :data:`MOST_LEFT_OUT`, instead of ``folds``.
    """
    known = np.array([label is not None for label in labels], dtype=bool)
    pairs = {(str(label), str(one)) for label, one in zip(labels[known], group[known], strict=True)}
    names, counts = np.unique([label for label, _ in sorted(pairs)], return_counts=True)
    usable = set(names[counts >= 2].tolist())
    kept = np.array([label is not None and str(label) in usable for label in labels], dtype=bool)
    left_out = len(names) - len(usable)
    notes = [f"{left_out} classes of one group only are left out"] if left_out else []

    _, target = np.unique(labels[kept].astype(str), return_inverse=True)
    _, member = np.unique(group[kept].astype(str), return_inverse=True)
    classes = int(target.max()) + 1 if len(target) else 0
    groups = int(member.max()) + 1 if len(member) else 0
    reason = ""
    if not known.any():
        reason = "no window has a label"
    elif classes < 2:
        reason = f"of {len(names)} classes, {classes} occur in two groups or more; it takes two"
    splits: dict[Split, list[Fold]] = {}
    if not reason:
        splits = {
            "grouped": _grouped(target, member, min(folds, groups), seed, leave_one_out),
            "leaky": _leaky(target, min(folds, groups), seed),
        }
        unseen = {
            one
            for train, test in splits["grouped"]
            for one in np.setdiff1d(target[test], target[train]).tolist()
        }
        if unseen:
            notes.append(f"{len(unseen)} classes are missing from the training side of a fold")
    return Task(kept, target, member, classes, groups, "; ".join(notes), reason, splits)


def _grouped(
    target: NDArray[np.int64],
    member: NDArray[np.int64],
    folds: int,
    seed: int,
    leave_one_out: bool,
) -> list[Fold]:
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

    nothing = np.zeros(len(target))
    if leave_one_out and member.max() < MOST_LEFT_OUT:
        return list(LeaveOneGroupOut().split(nothing, target, member))
    dealt = StratifiedGroupKFold(
        MOST_LEFT_OUT if leave_one_out else folds, shuffle=True, random_state=seed
    )
    with warnings.catch_warnings():
        # A class smaller than the number of folds is missing from some folds; that is all.
        warnings.filterwarnings("ignore", message="The least populated class")
        # Few groups may leave a fold without any.
        return [fold for fold in dealt.split(nothing, target, member) if len(fold[1])]


def _leaky(target: NDArray[np.int64], folds: int, seed: int) -> list[Fold]:
    from sklearn.model_selection import StratifiedKFold

    dealt = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(dealt.split(np.zeros(len(target)), target))
