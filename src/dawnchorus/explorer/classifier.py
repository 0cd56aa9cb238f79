"""From labels to a classifier: a linear probe on the embeddings of the labelled windows.

In: the labels of an output space and its embeddings. Out: :class:`Classifier`, what it is worth on recordings
that it has not seen (precision and recall per label, with 95 % intervals over recordings), and the folder
``labels/{experiment}/classifier/``::

    model.safetensors   mean and deviation of the features, weights and biases
    classifier.json     the labels, what it was trained on, the fingerprint
    held_out.parquet, held_out.tsv
    next.parquet        windows to hear next

Features are standardised; the classifier is multinomial logistic regression as in the evaluation's probes. Of each label
at most :data:`MOST_PER_LABEL` windows are learned from: first those that were heard or named by themselves,
then some drawn by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.bootstrap import interval, per_group
from dawnchorus.evaluation.probes import linear
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.replay import is_single
from dawnchorus.explorer.space import OutputSpace
from dawnchorus.results import Results, fingerprint, read_receipt
from dawnchorus.vectors import VectorStore

MOST_PER_LABEL = 1000
FEWEST = 2
"""Windows of a label; one alone cannot be held out."""
FOLDS = 5
RESAMPLES = 500
HELD_OUT = {
    "label": pl.String, "windows": pl.Int64, "recordings": pl.Int64, "learned_from": pl.Int64,
    "precision": pl.Float64, "precision_low": pl.Float64, "precision_high": pl.Float64,
    "recall": pl.Float64, "recall_low": pl.Float64, "recall_high": pl.Float64, "note": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class ClassifierPaths:
    """Where the classifier of an experiment's labels and what it says lie."""

    root: Path

    @classmethod
    def of(cls, results: Results, experiment: str) -> ClassifierPaths:
        """Paths in a results folder."""
        return cls(results.root / "labels" / experiment)

    @property
    def folder(self) -> Path:
        """The classifier."""
        return self.root / "classifier"

    @property
    def predictions(self) -> Path:
        """What it says of all windows: a folder of tables per recorder-day."""
        return self.root / "predictions"


@dataclass(frozen=True)
class Classifier:
    """A linear classifier.

    Attributes
    ----------
    labels : list of str
    mean, deviation : float64 array (d,)
    weights : float64 array (labels, d)
    bias : float64 array (labels,)
    """

    labels: list[str]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of each label, shape (n, labels)."""
        scores = ((vectors - self.mean) / self.deviation) @ self.weights.T + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        return scores / scores.sum(axis=1, keepdims=True)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of labels and numbers."""
        numbers = (self.mean, self.deviation, self.weights, self.bias)
        return fingerprint([self.labels, *(array.tolist() for array in numbers)])

    def save(self, path: Path) -> None:
        """Write the numbers as safetensors; the labels stand in ``classifier.json``."""
        from safetensors.numpy import save_file

        save_file(
            {
                "mean": self.mean, "deviation": self.deviation,
                "weights": np.ascontiguousarray(self.weights), "bias": self.bias,
            },
            path,
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Classifier:
        """Read a classifier.

        Raises
        ------
        DawnChorusError
            If there is none.
        """
        from safetensors.numpy import load_file

        if not folder.is_dir():
            raise DawnChorusError(
                "there is no classifier yet", folder, "run 'dawnchorus label train' first"
            )
        labels = read_receipt(folder / "classifier.json")["labels"]
        return cls(labels, **load_file(folder / "model.safetensors"))


def fit(labels: list[str], vectors: NDArray[np.float32], target: NDArray[np.int64]) -> Classifier:
    """Fit a classifier.

    Parameters
    ----------
    labels : list of str
    vectors : float32 array (n, d)
    target : int64 array (n,)
        Index into ``labels``; every label occurs.
    """
    pipeline = linear(True)
    pipeline.fit(vectors, target)
    scaler, regression = pipeline[0], pipeline[-1]
    weights, bias = regression.coef_, regression.intercept_
    if len(labels) == 2:
        # Of two classes scikit-learn keeps one score; the other's is 0.
        weights, bias = np.vstack([0 * weights, weights]), np.array([0.0, bias[0]])
    numbers = (scaler.mean_, scaler.scale_, weights, bias)
    return Classifier(labels, *(np.asarray(one, dtype=np.float64) for one in numbers))


def chosen_windows(book: LabelBook, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from, ascending, and the code of each one's label."""
    state = book.state()
    single = np.array([*map(is_single, state.standing), False], dtype=bool)[state.winner]
    sure = single | state.heard
    generator = np.random.default_rng(seed)
    kept = []
    for code in range(1, len(state.names) + 1):
        rows = np.flatnonzero(state.codes == code)
        if len(rows) > MOST_PER_LABEL:
            lots = generator.random(len(rows)) - sure[rows]
            rows = rows[np.argpartition(lots, MOST_PER_LABEL)[:MOST_PER_LABEL]]
        if len(rows) >= FEWEST:
            kept.append(rows)
    rows = np.sort(np.concatenate([np.empty(0, np.int64), *kept]))
    return rows, state.codes[rows].astype(np.int64)


def days_of(results: Results, space: OutputSpace) -> Iterator[tuple[int, VectorStore]]:
    """Yield, per recorder-day of the map, the first row and the embeddings, which lie in the same order.

    Raises
    ------
    DawnChorusError
        If embeddings are missing or are not those of the map.
    """
    paths = results.experiment(space.experiment)
    first = 0
    counts = np.bincount(space.day, minlength=len(space.days))
    for day, count in zip(space.days, counts.tolist(), strict=True):
        store = VectorStore.open(paths.embeddings(day))
        held = space.offset[first : first + count]
        if len(store) != count or not np.array_equal(store.offset, held):
            raise DawnChorusError(
                "are not the windows of the map", store.path, "run 'dawnchorus map' again"
            )
        yield first, store
        first += count


def vectors_of(
    results: Results, space: OutputSpace, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the embeddings of rows, which are ascending, shape (n, d)."""
    parts = []
    for first, store in days_of(results, space):
        begin, end = np.searchsorted(rows, [first, first + len(store)])
        if end > begin:
            parts.append(store.take(rows[begin:end] - first))
    return np.concatenate(parts)


def held_out(
    labels: list[str],
    vectors: NDArray[np.float32],
    target: NDArray[np.int64],
    recording: NDArray[np.integer],
    *,
    seed: int,
) -> pl.DataFrame:
    """Measure precision and recall on recordings that were held out, fold by fold.

    A window is predicted by a classifier that learned from other recordings only.

    Returns
    -------
    polars.DataFrame
        Columns of :data:`HELD_OUT`, a row per label; null where a label lies in one recording only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, group = np.unique(recording, return_inverse=True)
    groups = [len(np.unique(group[target == at])) for at in range(len(labels))]
    predicted = np.full(len(target), -1, dtype=np.int64)
    if max(groups, default=0) > 1 and len(np.unique(group)) > 1:
        folds = StratifiedGroupKFold(
            min(FOLDS, len(np.unique(group))), shuffle=True, random_state=seed
        )
        for train, test in _quiet(folds.split(vectors, target, group)):
            known, of_known = np.unique(target[train], return_inverse=True)
            if len(known) < 2:
                predicted[test] = known[0]
                continue
            classifier = fit([labels[at] for at in known], vectors[train], of_known)
            predicted[test] = known[classifier.probabilities(vectors[test]).argmax(axis=1)]
    counts = np.zeros((len(target), len(labels), 3))
    everyone = np.arange(len(target))
    counts[everyone, target, 0] = predicted == target
    counts[everyone, target, 1] = 1
    seen = predicted >= 0
    counts[everyone[seen], predicted[seen], 2] = 1
    sums = per_group(group, counts)

    def figures(total: NDArray[np.float64]) -> NDArray[np.float64]:
        right, there, said = total[:, 0], total[:, 1], total[:, 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.concatenate([right / said, right / there])

    values = figures(sums.sum(axis=0))
    bounds = interval(sums, figures, RESAMPLES, seed)
    size = len(labels)
    rows = []
    for at, label in enumerate(labels):
        row: dict[str, Any] = {
            "label": label,
            "windows": int((target == at).sum()),
            "recordings": groups[at],
            "learned_from": int((target == at).sum()),
            "note": "",
        }
        if groups[at] < 2:
            row["note"] = "in one recording only: not tested"
        else:
            for name, place in (("precision", at), ("recall", size + at)):
                found = (values[place], bounds[place].low, bounds[place].high)
                row[name], row[f"{name}_low"], row[f"{name}_high"] = (
                    None if np.isnan(one) else float(one) for one in found
                )
            if row["precision"] is None:
                row["note"] = "never predicted"
        rows.append(row)
    return pl.DataFrame(rows, schema=HELD_OUT)


def _quiet(splits: Iterator[Any]) -> Iterator[Any]:
    """Take splits without the warning that a label has fewer windows than there are folds."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        yield from splits
