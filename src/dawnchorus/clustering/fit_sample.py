"""The windows that a clustering or a map is fitted on.

In: the recorder-days of the training set's pool, with their embeddings, and which windows of them take part. Out: a
seeded draw, uniform over these windows, with the vectors; only the rows drawn are read. Memory is that of the draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.sphere import unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    read_receipt,
)
from dawnchorus.vectors import VectorStore


@dataclass(frozen=True)
class Embedded:
    """A recorder-day with embeddings: how many, by which model, their fingerprint."""

    day: RecorderDay
    windows: int
    dimension: int
    model: str
    fingerprint: str


@dataclass(frozen=True)
class FitSample:
    """What :func:`draw` gives.

    Attributes
    ----------
    windows : DataFrame
        recorder, date, recording, offset, time; sorted by recorder-day, then as in the store.
    vectors : float32 array (n, d)
        Unit vectors, one per row of ``windows``.
    available : int
        Windows there were to draw from.
    """

    windows: pl.DataFrame
    vectors: NDArray[np.float32]
    available: int


def embedded_day(results: Results, experiment: str, day: RecorderDay) -> Embedded | None:
    """Return what the receipt of a recorder-day's embeddings says; None if it was set aside.

    Raises
    ------
    DawnChorusError
        If it was not embedded yet.
    """
    path = results.experiment(experiment).embeddings_receipt(day)
    receipt = read_receipt(path)
    if receipt.get("verdict") == SET_ASIDE:
        return None
    try:
        return Embedded(
            day,
            int(receipt["windows"]),
            int(receipt["dimension"]),
            str(receipt["model"]),
            str(receipt["fingerprint"]),
        )
    except KeyError as error:
        raise DawnChorusError(
            f"is no receipt of embeddings: it lacks {error}", path, "delete it and run embed again"
        ) from None


def days_with_embeddings(results: Results, experiment: str) -> list[RecorderDay]:
    """Return the recorder-days that have a receipt of embeddings, sorted.

    Raises
    ------
    DawnChorusError
        If none has.
    """
    embeddings = results.experiment(experiment).root / "embeddings"
    days = sorted(RecorderDay(path.parent.name, path.stem) for path in embeddings.glob("*/*.json"))
    if not days:
        raise DawnChorusError(
            "holds no embeddings", embeddings, f"run `dawnchorus embed --experiment {experiment}`"
        )
    return days


def embedded_days(results: Results, experiment: str, days: Sequence[RecorderDay]) -> list[Embedded]:
    """Return the recorder-days that have embeddings, sorted; all by one model.

    Raises
    ------
    DawnChorusError
        If a day was not embedded yet, none has a window, or models differ.
    """
    found = [embedded_day(results, experiment, day) for day in sorted(set(days))]
    usable = [one for one in found if one is not None and one.windows]
    where = results.experiment(experiment).root / "embeddings"
    if not usable:
        raise DawnChorusError(
            f"none of {len(found)} recorder-days has a window",
            where,
            "look at inventory/faults.tsv",
        )
    for one in usable[1:]:
        if one.model != usable[0].model:
            raise DawnChorusError(
                f"{usable[0].day} and {one.day} were embedded by different models",
                where,
                f"run `dawnchorus embed --experiment {experiment}` for all recorder-days again",
            )
    return usable


def embeddings_fingerprint(days: Sequence[Embedded]) -> str:
    """Fingerprint of the embeddings of some recorder-days together."""
    return fingerprint([[one.day.recorder, one.day.date, one.fingerprint] for one in days])


@dataclass(frozen=True)
class Selection:
    """Windows that take part: all, or those whose cluster in the first fit is not left out.

    Parameters
    ----------
    results : Results
    experiment : str
    excluded : tuple of int
        Clusters of the first fit.
    """

    results: Results
    experiment: str
    excluded: tuple[int, ...] = ()

    def rows(self, day: RecorderDay, windows: int) -> NDArray[np.int64]:
        """Return which rows of a recorder-day's embeddings take part, ascending.

        Raises
        ------
        DawnChorusError
            If the recorder-day was not assigned, or its assignment is of other embeddings.
        """
        if not self.excluded:
            return np.arange(windows)
        path = self.results.experiment(self.experiment).assignment(day)
        if not path.exists():
            raise DawnChorusError(
                "is not there", path, f"run `dawnchorus assign --experiment {self.experiment}`"
            )
        cluster = read_parquet(path, columns=["cluster"])["cluster"]
        if len(cluster) != windows:
            raise DawnChorusError(
                f"has {len(cluster)} windows, the embeddings have {windows}",
                path,
                f"run `dawnchorus assign --experiment {self.experiment}` again",
            )
        return np.flatnonzero(~cluster.is_in(self.excluded).to_numpy())

    def blocks(self, one: Embedded) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (rows, vectors) of a recorder-day, of at most a shard's windows at a time."""
        store = store_of(self.results, self.experiment, one)
        for rows, vectors in self.kept_blocks(one, store):
            yield rows, vectors.astype(np.float32, copy=False)

    def kept_blocks(
        self, one: Embedded, store: VectorStore
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
        """As :meth:`blocks`, from an open store, in the precision that vectors are kept in."""
        kept = self.rows(one.day, one.windows) if self.excluded else None
        for start, vectors in store.kept_blocks():
            stop = start + len(vectors)
            if kept is None:
                yield np.arange(start, stop), vectors
                continue
            rows = kept[slice(*np.searchsorted(kept, (start, stop)))]
            if len(rows):
                yield rows, vectors[rows - start]


def draw(
    selection: Selection,
    days: Sequence[Embedded],
    windows: int,
    seed: int,
    *,
    as_they_are: bool = False,
) -> FitSample:
    """Draw windows, each with the same chance, without replacement.

    Parameters
    ----------
    selection : Selection
        What there is to draw from.
    days : sequence of Embedded
        From :func:`embedded_days`.
    windows : int
        How many; all, if there are fewer.
    seed : int
        The same seed, days and counts give the same draw.
    as_they_are : bool
        The vectors as they are stored, not of unit length.

    Raises
    ------
    DawnChorusError
        If nothing takes part.
    """
    if selection.excluded:
        counts = np.array([len(selection.rows(one.day, one.windows)) for one in days], np.int64)
    else:
        counts = np.array([one.windows for one in days], dtype=np.int64)
    available = int(counts.sum())
    if not available:
        raise DawnChorusError("leaves no window over", "passes", "exclude fewer clusters")
    generator = np.random.default_rng(seed)
    if windows < available:
        drawn = np.sort(generator.choice(available, size=windows, replace=False, shuffle=False))
    else:
        drawn = np.arange(available)
    first = np.concatenate([[0], np.cumsum(counts)])
    cuts = np.searchsorted(drawn, first)

    vectors = np.empty((len(drawn), days[0].dimension), dtype=np.float32)
    tables: list[pl.DataFrame] = []
    work = [number for number in range(len(days)) if cuts[number] < cuts[number + 1]]
    for number in tracked(work, "reading embeddings", len(work), "days"):
        one, part = days[number], slice(cuts[number], cuts[number + 1])
        rows = drawn[part] - first[number]
        if selection.excluded:
            rows = selection.rows(one.day, one.windows)[rows]
        store = store_of(selection.results, selection.experiment, one)
        vectors[part] = store.take(rows) if as_they_are else unit(store.take(rows))
        tables.append(windows_of(one.day, store, rows))
    return FitSample(pl.concat(tables), vectors, available)


def store_of(results: Results, experiment: str, one: Embedded) -> VectorStore:
    """Open a recorder-day's embeddings.

    Raises
    ------
    DawnChorusError
        If they are not what the receipt says.
    """
    store = VectorStore.open(results.experiment(experiment).embeddings(one.day))
    if len(store) != one.windows:
        raise DawnChorusError(
            f"holds {len(store)} vectors, its receipt says {one.windows}",
            store.path,
            "delete both and run embed again",
        )
    return store


def windows_of(day: RecorderDay, store: VectorStore, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Return recorder, date, recording, offset and time of some windows of a recorder-day."""
    names = np.array(store.recordings, dtype=object)
    return pl.DataFrame(
        {
            "recorder": [day.recorder] * len(rows),
            "date": [day.date] * len(rows),
            "recording": names[store.recording[rows]].tolist(),
            "offset": store.offset[rows],
            "time": store.time[rows],
        },
        schema={
            "recorder": pl.String,
            "date": pl.String,
            "recording": pl.String,
            "offset": pl.Int64,
            "time": pl.Datetime("us"),
        },
    )
