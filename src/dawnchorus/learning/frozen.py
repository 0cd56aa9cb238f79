"""The frozen training set as a training uses it: which windows, and where each of them lies.

In: ``training/windows.parquet`` and the stores. Out: :class:`FrozenSet`, which knows the row of
every window in its store and reads any of them. A window takes 40 bytes (names are numbers here),
so the whole reference season, 8.69 million, takes 0.35 GB in each process.

The stores are read by position. A store that is made anew meanwhile, or goes away, or is damaged
ends the training in one line; it never gives other windows than were asked for, nor zeros.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import scan_parquet
from dawnchorus.progress import counting
from dawnchorus.results import RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.account import appearance_in
from dawnchorus.spectrograms.store import SpectrogramStore

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Returns windows of a training set by row: uint8 (n, mels, frames)."""
NAMES = ("recorder", "date", "recording")
KEYS = (*NAMES, "offset")
"""What a window is known by, and the order of the table."""
ROWS_AT_ONCE = 65_536
HEARD_DB = 30.0
"""A window whose level is so far above code 0 cannot be all zeros."""
SECONDS_BETWEEN_RENAMES = 0.5
"""How long a store is waited for that is not there: it may be about to be replaced."""
READ_WINDOWS = 1024
"""Most windows read in one go: 32 MiB of 128 x 256 codes."""


@dataclass(frozen=True)
class FrozenSet:
    """The training set as a training uses it.

    Attributes
    ----------
    table : DataFrame
        The windows that are still there, sorted by :data:`KEYS`: recorder, date and recording as
        categories, offset, time and activity.
    lost : int
        How many of the drawn windows have lost their source since.
    spectrograms : str
        Fingerprint of the parameters of the stores.
    db_min, db_step : float
        Decibels of code 0, and per code.
    days : tuple of RecorderDay
    day : int32, shape (n,)
        Number of each window's recorder-day in ``days``.
    place : int32, shape (n,)
        Its row in the store of that day.
    folders : tuple of int
        What each store's folder is known by on the disk, to notice another in its place.
    """

    results: Results
    table: pl.DataFrame
    lost: int
    spectrograms: str
    db_min: float
    db_step: float
    days: tuple[RecorderDay, ...]
    day: NDArray[np.int32]
    place: NDArray[np.int32]
    folders: tuple[int, ...]
    _stores: dict[int, SpectrogramStore] = field(default_factory=dict, repr=False)

    @cached_property
    def appearance(self) -> str:
        """Of what its windows look like: what the models that learn from it take."""
        return appearance_in(read_receipt(self.results.spectrograms_receipt(self.days[0])))

    @cached_property
    def fingerprint(self) -> str:
        """Of which windows these are and how their spectrograms were made."""
        return table_fingerprint(self.table, self.spectrograms)

    def fill(self, codes: NDArray[np.uint8], part: int = 0, parts: int = 1) -> None:
        """Read windows into an array of uint8, (windows, mels, frames).

        Parameters
        ----------
        codes : ndarray of uint8
            For all windows.
        part, parts : int
            Read only the ``part``-th of ``parts`` equal stretches: processes share the work.
        """
        first, end = (len(self.day) * number // parts for number in (part, part + 1))
        with counting("reading windows", end - first, "windows", shown=part == 0) as done:
            for start in range(first, end, READ_WINDOWS):
                stop = min(start + READ_WINDOWS, end)
                self.read(np.arange(start, stop), codes[start:stop])
                done(stop - start)

    def read(
        self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Read some windows; several threads may at once.

        Parameters
        ----------
        rows : int64, shape (n,)
            Rows of the table, in any order; neighbours in a store are read in one go.
        out : ndarray of uint8, shape (n, mels, frames), optional

        Raises
        ------
        DawnChorusError
            If a store is gone, damaged, of another shape, or not the one that was opened.
        """
        day = self.day[rows]
        order = np.argsort(day, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(day[order])) + 1):
            if not some.size:
                continue
            codes = self._take(int(day[some[0]]), self.place[rows[some]])
            if out is None and some.size == rows.shape[0]:
                return codes
            if out is None:
                out = np.empty((rows.shape[0], *codes.shape[1:]), dtype=np.uint8)
            if codes.shape[1:] != out.shape[1:]:
                raise DawnChorusError(
                    f"its windows are {codes.shape[1:]}, not {out.shape[1:]} as wanted",
                    self.results.spectrograms(self.days[int(day[some[0]])]),
                    "make the spectrograms of all days with the settings of now",
                )
            out[some] = codes
        if out is None:
            raise ValueError("no rows to read")
        return out

    def _take(self, number: int, places: NDArray[np.int32]) -> NDArray[np.uint8]:
        path = self.results.spectrograms(self.days[number])
        anew = DawnChorusError("was made anew while it was being learned from", path, "start again")
        try:
            if folder_of(path) != self.folders[number]:
                raise anew
            store = self._stores.get(number)
            if store is None:
                store = self._stores.setdefault(number, SpectrogramStore.open(path))
            first, end = int(places[0]), int(places[0]) + len(places)
            if np.array_equal(places, np.arange(first, end)):
                codes = store.codes(first, end)  # a run, as it is: two copies less
            else:
                codes = store.take(places)
            _check_zeros(store, places, codes)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            if _another_at(path, self.folders[number]):
                raise anew from error
            again = f"make the spectrograms of {self.days[number]} again, then start again"
            raise DawnChorusError(
                f"cannot be read ({_first_line(error)})", path, f"{again}: it goes on from here"
            ) from error
        return codes


def _another_at(path: Path, folder: int) -> bool:
    """Whether another store is there now; between its two renames there is none for a moment."""
    end = time.monotonic() + SECONDS_BETWEEN_RENAMES
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return path.exists() and folder_of(path) != folder


def folder_of(path: Path) -> int:
    """What the folder at a path is known by on the disk; another in its place has another number.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return path.stat().st_ino


def read_compact(path: Path, columns: list[str]) -> pl.DataFrame:
    """Read a training set with names as categories; never more in memory than what comes out."""
    compact = scan_parquet(path).select(columns)
    return compact.with_columns(pl.col(NAMES).cast(pl.Categorical)).collect(engine="streaming")


def runs_of_days(table: pl.DataFrame) -> Iterator[tuple[RecorderDay, slice]]:
    """Each run of rows of one recorder-day, in the order of the table; a sorted one has one each."""
    recorder, date = (table[name].to_physical().to_numpy() for name in ("recorder", "date"))
    changes = (recorder[1:] != recorder[:-1]) | (date[1:] != date[:-1])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), table.height]
    for first, end in itertools.pairwise(edges):
        if first < end:
            day = RecorderDay(table["recorder"][first], table["date"][first])
            yield day, slice(first, end)


def table_fingerprint(table: pl.DataFrame, spectrograms: str) -> str:
    """Fingerprint of which windows a table names and of how their spectrograms were made.

    It is ``results.fingerprint([spectrograms, *columns])``, whose JSON for millions of windows is
    not held in memory but hashed as it is said.
    """
    state = xxhash.xxh3_128(f"[{json.dumps(spectrograms)}".encode())
    for name in KEYS:
        separator = ",["
        for text in _as_json(table[name]):
            state.update(f"{separator}{text}".encode())
            separator = ","
        state.update(b"]" if table.height else b",[]")
    state.update(b"]")
    return state.hexdigest()


def _as_json(values: pl.Series) -> Iterator[str]:
    """A column as JSON says it, some values at a time, separated by commas."""
    if values.dtype == pl.Int64:
        for first in range(0, len(values), ROWS_AT_ONCE):
            some = values.slice(first, ROWS_AT_ONCE).to_list()
            yield json.dumps(some, separators=(",", ":"))[1:-1]
        return
    # Names come in runs: a table is sorted.
    runs = values.rle().struct
    for length, value in zip(runs.field("len"), runs.field("value"), strict=True):
        word = json.dumps(value)
        yield f"{word}," * (length - 1) + word


def _check_zeros(
    store: SpectrogramStore, places: NDArray[np.int32], codes: NDArray[np.uint8]
) -> None:
    """A shard that is not there reads as zeros: right for silence, which takes no file.

    Raises
    ------
    FileNotFoundError
        If these windows are not silence.
    """
    zero = np.flatnonzero(codes[:, 0, 0] == 0)
    zero = zero[~codes[zero].any(axis=(1, 2))]
    silent = not zero.size or not store.lacks_files(places[zero])
    if not silent and (store.level[places[zero]] > store.coding.minimum + HEARD_DB).any():
        raise FileNotFoundError("a shard is missing")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
