"""What the classifier says: of some windows, to choose what to hear next, and of all.

In: a classifier, the embeddings, the labels. Out: the classifier's folder (:func:`train`), and
``labels/{experiment}/predictions/{recorder}/{date}.parquet`` with ``recording``, ``offset``, ``label``,
``probability`` and ``margin`` (to the second likeliest) of every window (:func:`apply`). Memory is bounded by a
block of windows and the lists of windows to hear next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.classifier import (
    Classifier,
    ClassifierPaths,
    chosen_windows,
    days_of,
    fit,
    held_out,
    vectors_of,
)
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.space import OutputSpace
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import Results, publishing, read_receipt, write_receipt
from dawnchorus.vectors import CHUNK_WINDOWS

LOOKED_AT = 262_144
"""Windows that a training looks at to propose what to hear next; :func:`apply` looks at all."""
PROPOSED = 100
"""Windows of each list."""
PER_RECORDING = 3
"""Of a list, so that it is not one minute of one day."""
UNCERTAIN, LIKELY = "uncertain", "likely: {}"
"""Names of the lists: one of the least certain, and one per label of its likely positives."""
NEXT = {
    "list": pl.String, "row": pl.Int64, "recording": pl.String, "offset": pl.Int64,
    "label": pl.String, "probability": pl.Float64, "margin": pl.Float64,
}  # fmt: skip

Block = tuple[NDArray[np.int64], NDArray[np.float32]]


def _blocks(results: Results, space: OutputSpace, most: int, seed: int) -> Iterator[Block]:
    """Yield (rows, vectors) of about ``most`` windows: whole chunks of the stores, drawn by the seed."""
    counts = np.bincount(space.day, minlength=len(space.days))
    chunks = -(-counts // CHUNK_WINDOWS)
    total = int(chunks.sum())
    wanted = min(total, max(1, most // CHUNK_WINDOWS))
    drawn = np.sort(np.random.default_rng(seed).choice(total, wanted, replace=False))
    begin = 0
    for (first, store), of_day in zip(days_of(results, space), chunks.tolist(), strict=True):
        low, high = np.searchsorted(drawn, [begin, begin + of_day])
        for chunk in (drawn[low:high] - begin).tolist():
            start = chunk * CHUNK_WINDOWS
            vectors = store.read(start, min(start + CHUNK_WINDOWS, len(store)))
            yield np.arange(first + start, first + start + len(vectors)), vectors
        begin += of_day


class NextWindows:
    """Gathers windows to hear next: the least certain, and the likeliest of each label.

    Only windows that nobody has named or heard.
    """

    def __init__(self, book: LabelBook, labels: list[str]) -> None:
        self._book, self._labels = book, labels
        state = book.state()
        self._open = (state.codes == 0) & ~state.heard
        self._lists: dict[str, pl.DataFrame] = {}

    def look(self, rows: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
        """Take a block's windows into the lists."""
        free = self._open[rows]
        rows, probabilities = rows[free], probabilities[free]
        if not len(rows):
            return
        best, probability, margin = _said(probabilities)
        frame = {"row": rows, "best": best, "probability": probability, "margin": margin}
        self._keep(UNCERTAIN, frame, margin)
        for at, label in enumerate(self._labels):
            likely = {**frame, "best": np.full(len(rows), at), "probability": probabilities[:, at]}
            self._keep(LIKELY.format(label), likely, -probabilities[:, at])

    def _keep(self, name: str, frame: dict[str, NDArray[Any]], rank: NDArray[np.float64]) -> None:
        few = np.argsort(rank, kind="stable")[: PROPOSED * PER_RECORDING]
        found = pl.DataFrame({key: values[few] for key, values in frame.items()}).with_columns(
            rank=pl.Series(rank[few]),
            number=pl.Series(self._book.space.recording[frame["row"][few]]),
        )
        kept = self._lists.get(name)
        together = found if kept is None else pl.concat([kept, found])
        self._lists[name] = (
            together.sort("rank", "row")
            .filter(pl.int_range(pl.len()).over("number") < PER_RECORDING)
            .head(PROPOSED)
        )

    def table(self) -> pl.DataFrame:
        """Return the lists as one table, columns of :data:`NEXT`; the best of each list first."""
        names = self._book.space.inventory["recording"]
        parts = [pl.DataFrame(schema=NEXT)]
        for name, rows in self._lists.items():
            parts.append(
                pl.DataFrame(
                    {
                        "list": [name] * rows.height,
                        "row": rows["row"],
                        "recording": names.gather(rows["number"]),
                        "offset": self._book.space.offset[rows["row"].to_numpy()],
                        "label": [self._labels[at] for at in rows["best"]],
                        "probability": rows["probability"],
                        "margin": rows["margin"],
                    },
                    schema=NEXT,
                )
            )
        return pl.concat(parts)


def _said(
    probabilities: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the likeliest label, its probability, and how far the second lies behind."""
    best = probabilities.argmax(axis=1)
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return best, top[:, 1], top[:, 1] - top[:, 0]


def train(results: Results, book: LabelBook, *, seed: int = 0) -> dict[str, Any]:
    """Train a classifier on the labels so far, measure it, and choose windows to hear next.

    Returns
    -------
    dict
        What ``classifier.json`` says: experiment, labels, windows, recordings, revision (of the journal),
        seed, fingerprint.

    Raises
    ------
    DawnChorusError
        If fewer than two labels have two windows, or the embeddings are not there.
    """
    space = book.space
    state = book.state()
    rows, codes = chosen_windows(book, seed=seed)
    used, target = np.unique(codes, return_inverse=True)
    if len(used) < 2:
        raise DawnChorusError(
            f"{len(used)} labels have windows enough to learn from; it takes two",
            space.experiment,
            "name another region, for example one without birds ('noise: wind')",
        )
    labels = [state.names[code - 1] for code in used]
    vectors = vectors_of(results, space, rows)
    recording = space.recording[rows]
    table = held_out(labels, vectors, target, recording, seed=seed)
    counts = np.bincount(state.codes, minlength=len(state.names) + 1)
    table = table.with_columns(windows=pl.Series([int(counts[code]) for code in used]))
    classifier = fit(labels, vectors, target)
    following = NextWindows(book, labels)
    for block_rows, block in _blocks(results, space, LOOKED_AT, seed):
        following.look(block_rows, classifier.probabilities(block))
    receipt = {
        "experiment": space.experiment,
        "map": space.map,
        "labels": labels,
        "windows": len(rows),
        "recordings": len(np.unique(recording)),
        "revision": state.revision,
        "seed": seed,
        "fingerprint": classifier.fingerprint,
    }
    with publishing(ClassifierPaths.of(results, space.experiment).folder) as partial:
        partial.mkdir(parents=True)
        classifier.save(partial / "model.safetensors")
        table.write_parquet(partial / "held_out.parquet")
        table.write_csv(partial / "held_out.tsv", separator="\t", float_precision=4)
        following.table().write_parquet(partial / "next.parquet")
        write_receipt(partial / "classifier.json", receipt)
    return receipt


def apply(results: Results, book: LabelBook) -> dict[str, Any]:
    """Say of every window which label is the likeliest, and renew the windows to hear next.

    Returns
    -------
    dict
        What ``predictions.json`` says: experiment, classifier (its fingerprint), windows, and windows per label.

    Raises
    ------
    DawnChorusError
        If there is no classifier, or the embeddings are not there.
    """
    space, paths = book.space, ClassifierPaths.of(results, book.space.experiment)
    classifier = Classifier.read(paths.folder)
    names = np.array(classifier.labels, dtype=object)
    counts = np.zeros(len(names), dtype=np.int64)
    following = NextWindows(book, classifier.labels)
    with publishing(paths.predictions) as partial:
        days = zip(space.days, days_of(results, space), strict=True)
        for day, (first, store) in tracked(days, "predict", len(space.days), "recorder-days"):
            said = []
            for start, vectors in store.blocks():
                probabilities = classifier.probabilities(vectors)
                at = np.arange(first + start, first + start + len(vectors))
                following.look(at, probabilities)
                said.append(_said(probabilities))
            best, probability, margin = (np.concatenate(one) for one in zip(*said, strict=True))
            counts += np.bincount(best, minlength=len(names))
            table = partial / day.recorder / f"{day.date}.parquet"
            table.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(
                {
                    "recording": store.windows.names(),
                    "offset": store.offset,
                    "label": names[best],
                    "probability": probability,
                    "margin": margin,
                },
                schema_overrides={"recording": pl.String, "label": pl.String},
            ).write_parquet(table)
        receipt = {
            "experiment": space.experiment,
            "classifier": classifier.fingerprint,
            "windows": int(counts.sum()),
            "labels": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        }
        write_receipt(partial / "predictions.json", receipt)
    with publishing(paths.folder / "next.parquet") as path:
        following.table().write_parquet(path)
    return receipt


def next_windows(
    results: Results, book: LabelBook, label: str | None, most: int = PROPOSED
) -> pl.DataFrame:
    """Return windows to hear next, without those that were named or heard meanwhile.

    Parameters
    ----------
    label : str or None
        Whose likely positives; None: those of which the classifier is least certain.

    Raises
    ------
    DawnChorusError
        If there is no classifier, or it does not know the label.
    """
    folder = ClassifierPaths.of(results, book.space.experiment).folder
    labels = Classifier.read(folder).labels
    if label is not None and label not in labels:
        raise DawnChorusError(
            f"does not know {label!r}", folder, f"it knows {', '.join(map(repr, labels))}"
        )
    name = UNCERTAIN if label is None else LIKELY.format(label)
    table = read_parquet(folder / "next.parquet").filter(pl.col("list") == name)
    # Rows are numbered anew when recorder-days come: the windows themselves are looked for.
    state, kept = book.state(), []
    for number, row in enumerate(table.iter_rows(named=True)):
        rows = book.members.find({row["recording"]: (row["offset"],)})
        if len(rows) and not state.codes[rows[0]] and not state.heard[rows[0]]:
            kept.append((number, int(rows[0])))
    numbers, found = [one for one, _ in kept], [row for _, row in kept]
    return table[numbers].with_columns(row=pl.Series(found, dtype=pl.Int64)).head(most)


def held_out_table(results: Results, experiment: str) -> pl.DataFrame:
    """Return what the classifier is worth: columns of :data:`~dawnchorus.explorer.classifier.HELD_OUT`."""
    return read_parquet(ClassifierPaths.of(results, experiment).folder / "held_out.parquet")


def described(results: Results, experiment: str) -> dict[str, Any]:
    """Return what is known of the classifier: its receipt, and its table of held-out figures.

    Raises
    ------
    DawnChorusError
        If there is none.
    """
    folder = ClassifierPaths.of(results, experiment).folder
    Classifier.read(folder)
    table = held_out_table(results, experiment).to_dicts()
    return {**read_receipt(folder / "classifier.json"), "held_out": table}
