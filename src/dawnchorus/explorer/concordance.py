"""How far two annotators agree.

In: the labels of each, as if the other had given none. Out: Cohen's kappa over the windows that both have
named, with a 95 % interval over recordings, and what one calls what the other calls something else.

Kappa is (p - e) / (1 - e): p the share of windows that both call the same, e the share that would be so by
chance with the same frequencies of labels (Cohen 1960, doi:10.1177/001316446002000104).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.evaluation.bootstrap import interval
from dawnchorus.explorer.labels import LabelBook

MOST_CELLS = 20_000_000
"""Counts that are kept for the interval; with more groups times pairs of labels, recorder-days are the groups."""
RESAMPLES = 500


@dataclass(frozen=True)
class Concordance:
    """Agreement of two annotators.

    Attributes
    ----------
    windows : int
        That both have named.
    same : float or None
        Share of them that both call the same.
    kappa, low, high : float or None
        None where it is not defined: no window, or both use one label only.
    groups : int
        Recordings (or recorder-days) that the interval is over.
    pairs : polars.DataFrame
        first, second, windows: the most frequent first.
    """

    first: str
    second: str
    windows: int
    same: float | None
    kappa: float | None
    low: float | None
    high: float | None
    groups: int
    pairs: pl.DataFrame


def kappa(counts: NDArray[Any]) -> float:
    """Return Cohen's kappa of a table (labels of one, labels of the other); NaN where it is not defined."""
    total = counts.sum()
    if not total:
        return math.nan
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2)
    return math.nan if chance == 1 else float((np.trace(counts) / total - chance) / (1 - chance))


def concordance(book: LabelBook, first: str, second: str, *, seed: int = 0) -> Concordance:
    """Compare two annotators.

    Parameters
    ----------
    book : LabelBook
    first, second : str
        As they sign their labels.
    seed : int
        Of the interval.
    """
    states = [book.of(first), book.of(second)]
    both = np.flatnonzero((states[0].codes > 0) & (states[1].codes > 0))
    names = sorted({name for state in states for name in state.names})
    number = {name: at for at, name in enumerate(names)}
    said = [
        np.array([number[name] for name in state.names], dtype=np.int64)[state.codes[both] - 1]
        if len(both)
        else np.empty(0, dtype=np.int64)
        for state in states
    ]
    used = np.unique(np.concatenate(said))
    said = [np.searchsorted(used, one) for one in said]
    size = len(used)
    cell = said[0] * size + said[1]
    table = np.bincount(cell, minlength=size * size).reshape(size, size)
    found = np.argwhere(table)
    pairs = pl.DataFrame(
        {
            "first": [names[used[one]] for one, _ in found],
            "second": [names[used[other]] for _, other in found],
            "windows": [int(table[one, other]) for one, other in found],
        },
        schema={"first": pl.String, "second": pl.String, "windows": pl.Int64},
    ).sort(["windows", "first", "second"], descending=[True, False, False])
    _, group = np.unique(book.space.recording[both], return_inverse=True)
    if len(group) and (int(group.max()) + 1) * size * size > MOST_CELLS:
        _, group = np.unique(book.space.day[both], return_inverse=True)
    groups = int(group.max()) + 1 if len(group) else 0
    sums = np.bincount(group * size * size + cell, minlength=groups * size * size)
    bounds = interval(
        sums.reshape(groups, size, size).astype(float),
        lambda counts: np.array([kappa(counts)]),
        RESAMPLES,
        seed,
    )[0]
    return Concordance(
        first,
        second,
        windows=len(both),
        same=float(np.trace(table) / len(both)) if len(both) else None,
        kappa=_known(kappa(table)),
        low=_known(bounds.low),
        high=_known(bounds.high),
        groups=groups,
        pairs=pairs,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
