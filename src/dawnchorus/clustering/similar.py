"""The windows of a season that are most like given vectors.

In: an experiment's embeddings (or what :mod:`~dawnchorus.clustering.prepared` made of them) and query vectors. Out: per
query a ranked list of windows with their cosine similarity.

Exact: a pass over everything keeps each window whose similarity may be among the largest, given how far rounding may
have moved it; what is left is compared again from the stores, in full precision. So the list is the same with and
without preparation, for any block size and number of workers; equally similar windows stand in the order of
recorder, date and place in the store. Memory is that of blocks and lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dawnchorus.clustering.fit_sample import Embedded, store_of, windows_of
from dawnchorus.clustering.prepared import open_prepared
from dawnchorus.clustering.sphere import cosine_distance, one_core, unit
from dawnchorus.results import RecorderDay, Results

BLOCK = 2048
"""Windows compared at a time: 3 MB at 384 dimensions stay in the cache."""
MOST_WAITING = 4096
"""Candidates of a query that are held before they are compared in full precision."""

FOUND: dict[str, Any] = {
    "query": pl.Int64,
    "rank": pl.Int64,
    "recorder": pl.String,
    "date": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us"),
    "similarity": pl.Float64,
}
"""Columns of what is found; ``similarity`` is the cosine."""


@dataclass(frozen=True)
class Exclusion:
    """A window, or a whole recording, that is not to be found."""

    day: RecorderDay
    recording: str
    offset: int | None = None


@dataclass
class _Candidates:
    """What may be among the ``count`` most similar of one query: columns day, row, low, high."""

    count: int
    day: NDArray[np.int64]
    row: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def none(cls, count: int) -> _Candidates:
        empty = np.zeros(0, np.int64)
        return cls(count, empty, empty, np.zeros(0), np.zeros(0))

    @property
    def threshold(self) -> float:
        """Similarity that a window must be able to reach."""
        if len(self.low) < self.count:
            return -np.inf
        return float(np.partition(self.low, len(self.low) - self.count)[-self.count])

    def add(
        self,
        day: int,
        row: NDArray[np.int64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> None:
        self.day = np.concatenate([self.day, np.full(len(row), day)])
        self.row = np.concatenate([self.row, row])
        self.low, self.high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        self.keep(self.high >= self.threshold)

    def keep(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> None:
        self.day, self.row = self.day[which], self.row[which]
        self.low, self.high = self.low[which], self.high[which]


@dataclass(frozen=True)
class _Season:
    results: Results
    experiment: str
    days: Sequence[Embedded]
    queries: NDArray[np.float32]
    exclusions: Sequence[Exclusion]

    def settle(self, query: int, held: _Candidates) -> None:
        """Compare candidates in full precision, and keep the most similar."""
        for day in np.unique(held.day):
            mine = np.flatnonzero(held.day == day)
            store = store_of(self.results, self.experiment, self.days[day])
            vectors = unit(store.take(held.row[mine]))
            exact = 1.0 - cosine_distance(vectors, self.queries[query]).astype(np.float64)
            held.low[mine] = held.high[mine] = exact
        order = np.lexsort((held.row, held.day, -held.low))
        held.keep(order[: held.count])

    def excluded(self, number: int) -> NDArray[np.int64]:
        """Return the rows of a recorder-day that are not to be found."""
        mine = [one for one in self.exclusions if one.day == self.days[number].day]
        if not mine:
            return np.zeros(0, np.int64)
        store = store_of(self.results, self.experiment, self.days[number])
        rows: list[int] = []
        for one in mine:
            if one.offset is not None:
                rows += [int(row) for row in store.find([one.recording], [one.offset]) if row >= 0]
            elif one.recording in store.recordings:
                which = store.recordings.index(one.recording)
                rows += np.flatnonzero(store.recording == which).tolist()
        return np.array(sorted(set(rows)), np.int64)

    def similarities(
        self, number: int, block: int
    ) -> list[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
        """Return (first row, similarities (n, queries), bounds (n,)) of a recorder-day."""
        found = []
        transposed = np.ascontiguousarray(self.queries.T)
        # The products' own rounding: each of d terms by half a unit in the last place.
        rounding = np.float32(self.queries.shape[1] * np.finfo(np.float32).eps)
        prepared = open_prepared(self.results, self.experiment, self.days[number])
        if prepared is not None:
            for start, codes in prepared.blocks(block):
                stop = start + len(codes)
                cosine = (codes @ transposed) * prepared.scale(start, stop)[:, None]
                found.append((start, cosine, prepared.bound(start, stop) + rounding))
            return found
        store = store_of(self.results, self.experiment, self.days[number])
        for start, vectors in store.blocks():
            for first in range(0, len(vectors), block):
                rows = unit(vectors[first : first + block])
                cosine = rows @ transposed
                found.append((start + first, cosine, np.full(len(rows), rounding)))
        return found


def most_similar(
    results: Results,
    experiment: str,
    days: Sequence[Embedded],
    queries: NDArray[np.floating],
    count: int,
    *,
    exclude: Sequence[Exclusion] = (),
    workers: int = 1,
    block: int = BLOCK,
) -> pl.DataFrame:
    """Find the windows whose vectors have the largest cosine with each query.

    Parameters
    ----------
    results : Results
    experiment : str
    days : sequence of Embedded
        Where to look: from :func:`dawnchorus.clustering.fit_sample.embedded_days`.
    queries : array (q, d)
        Of any length.
    count : int
        Windows per query; fewer if there are no more.
    exclude : sequence of Exclusion
        What is not to be found.
    workers : int
        Recorder-days read at a time; the result does not depend on it.
    block : int
        Windows compared at a time; the result does not depend on it.

    Returns
    -------
    DataFrame
        Columns :data:`FOUND`, by query and rank.
    """
    ordered = sorted(days, key=lambda one: one.day)
    season = _Season(results, experiment, ordered, unit(queries), exclude)
    held = [_Candidates.none(count) for _ in season.queries]
    for number, parts in _in_order(season, workers, block):
        hidden = season.excluded(number)
        for start, cosine, bound in parts:
            gone = hidden[(hidden >= start) & (hidden < start + len(cosine))] - start
            cosine[gone] = -np.inf
            for query, candidates in enumerate(held):
                near = cosine[:, query].astype(np.float64)
                low, high = near - bound, near + bound
                rows = np.flatnonzero((high >= candidates.threshold) & np.isfinite(near))
                if len(rows) > count:
                    least = np.partition(low[rows], len(rows) - count)[len(rows) - count]
                    rows = rows[high[rows] >= least]
                if len(rows):
                    candidates.add(number, start + rows, low[rows], high[rows])
                if len(candidates.row) > max(MOST_WAITING, 2 * count):
                    season.settle(query, candidates)
    tables = []
    for query, candidates in enumerate(held):
        season.settle(query, candidates)
        tables.append(_table(season, query, candidates))
    return pl.concat(tables) if tables else pl.DataFrame(schema=FOUND)


def _in_order(
    season: _Season, workers: int, block: int
) -> Iterator[tuple[int, list[tuple[int, NDArray[np.float32], NDArray[np.float32]]]]]:
    """Yield the similarities of the recorder-days, in their order, few days ahead."""
    waiting: deque[Future[list[tuple[int, NDArray[np.float32], NDArray[np.float32]]]]] = deque()
    # OpenMP counts its cores per thread: the limit is set in each.
    with (
        one_core(),
        ThreadPoolExecutor(workers, "search", initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        ahead = iter(range(len(season.days)))
        for number in range(len(season.days)):
            while len(waiting) <= workers and (other := next(ahead, None)) is not None:
                waiting.append(pool.submit(season.similarities, other, block))
            yield number, waiting.popleft().result()


def _table(season: _Season, query: int, held: _Candidates) -> pl.DataFrame:
    parts = []
    rank = np.arange(1, len(held.row) + 1)
    for day in np.unique(held.day):
        mine = np.flatnonzero(held.day == day)
        one = season.days[day]
        store = store_of(season.results, season.experiment, one)
        parts.append(
            windows_of(one.day, store, held.row[mine]).with_columns(
                pl.Series("rank", rank[mine], dtype=pl.Int64),
                pl.Series("similarity", held.low[mine], dtype=pl.Float64),
                pl.lit(query, dtype=pl.Int64).alias("query"),
            )
        )
    if not parts:
        return pl.DataFrame(schema=FOUND)
    return pl.concat(parts).sort("rank").select(list(FOUND))
