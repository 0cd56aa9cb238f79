"""The frozen training set: drawn once from the season, spread over recorders, days and hours.

In: the spectrogram stores of recorder-days (coordinates only; memory is bounded by one recorder-day
and the draw). Out: ``training/windows.parquet``, one row per window by the name of its recording
and its offset, and a receipt that names every recorder-day it was drawn from. Once drawn it stands:
new days do not change it, only other settings or a higher ``training_set.edition`` do.

:func:`open_frozen` finds the windows of the table in the stores again, for a training
(:mod:`dawnchorus.learning.frozen`); :func:`load_codes` reads those of any such table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import strata
from dawnchorus.learning.frozen import (
    KEYS,
    FrozenSet,
    folder_of,
    read_compact,
    runs_of_days,
    table_fingerprint,
)
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import say, tracked
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    write_receipt,
)
from dawnchorus.spectrograms.store import SpectrogramStore

SCHEMA: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us"),
    "activity": pl.Float32,
}


def sample(
    settings: Settings, results: Results, days: Sequence[RecorderDay] | None = None
) -> dict[str, Any]:
    """Draw the training set, or leave the one there is as it stands.

    Strata are (recorder, date, UTC hour). Each gives the same number of windows as far as it has
    them; what it lacks is spread over the others. With ``activity_weight`` w > 0 a window has
    weight ``(rank of its activity in the season, in (0, 1]) ** w``, within its stratum and, by the
    mean weight, between strata.

    Parameters
    ----------
    settings : Settings
    results : Results
    days : sequence of RecorderDay, optional
        Recorder-days to draw from, in any order; by default all that have a spectrogram receipt.

    Returns
    -------
    dict
        The receipt.

    Raises
    ------
    DawnChorusError
        If no recorder-day has a window, or the stores were made with different parameters.
    """
    wanted = settings.training_set
    parameters = {
        "windows": wanted.windows,
        "seed": wanted.seed,
        "activity_weight": wanted.activity_weight,
    }
    days = sorted(set(results.days_with_receipts() if days is None else days))
    usable, spectrograms = usable_days(results, days)

    standing = _standing(results)
    asked = {"edition": wanted.edition, **parameters, "spectrograms": spectrograms}
    if standing is not None and standing["parameters"] == asked:
        if standing["pool"] != [[day.recorder, day.date] for day in days]:
            say(
                f"{results.training_windows}: the training set stands as it was drawn "
                f"(edition {wanted.edition}); raise training_set.edition to draw it again"
            )
        return standing

    table = draw(results, usable, wanted.windows, wanted.seed, wanted.activity_weight)
    receipt = {
        "edition": wanted.edition,
        "seed": wanted.seed,
        "windows": table.height,
        "pool": [[day.recorder, day.date] for day in days],
        "parameters": asked,
        "fingerprint": table_fingerprint(table, spectrograms),
    }
    # The receipt says that the table is whole: it goes first and comes back last.
    results.training_receipt.unlink(missing_ok=True)
    with publishing(results.training_windows) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    write_receipt(results.training_receipt, receipt)
    return receipt


def windows_drawn(settings: Settings, results: Results) -> int:
    """Windows in the training set; before it is drawn, as many as are to be drawn."""
    standing = _standing(results)
    return settings.training_set.windows if standing is None else int(standing["windows"])


def pool(results: Results) -> list[RecorderDay]:
    """Return the recorder-days that the training set was drawn from, sorted."""
    return [RecorderDay(*day) for day in read_receipt(results.training_receipt)["pool"]]


def open_frozen(results: Results) -> FrozenSet:
    """Open the frozen training set; windows whose source is lost are left out, and said so.

    Raises
    ------
    DawnChorusError
        If it was not drawn yet, all of its windows are lost, or the spectrograms were made anew
        with other settings than those it was drawn from.
    """
    drawn = _checked(results, lambda path: read_compact(path, list(SCHEMA)))
    spectrograms = read_receipt(results.training_receipt)["parameters"]["spectrograms"]
    here = np.zeros(drawn.height, dtype=bool)
    number = np.empty(drawn.height, dtype=np.int32)
    place = np.empty(drawn.height, dtype=np.int32)
    days: list[RecorderDay] = []
    folders: list[int] = []
    for day, rows in runs_of_days(drawn):
        path = results.spectrograms(day)
        if not path.exists():
            continue
        folder, store = folder_of(path), SpectrogramStore.open(path)
        some = drawn[rows]
        place[rows] = store.find(some["recording"].to_list(), some["offset"].to_numpy())
        number[rows] = len(days)
        here[rows] = place[rows] >= 0
        if not here[rows].any():
            continue
        if read_receipt(results.spectrograms_receipt(day))["parameters"] != spectrograms:
            raise DawnChorusError(
                "was made with other settings than the training set was drawn from",
                path,
                "run `dawnchorus sample` again",
            )
        days.append(day)
        folders.append(folder)
    if not days:
        raise DawnChorusError(
            "none of its windows is in the spectrogram stores any more",
            results.training_windows,
            "raise training_set.edition and run `dawnchorus sample`",
        )
    lost = drawn.height - int(here.sum())
    if lost:
        say(f"{results.training_windows}: {lost} of {drawn.height} windows have lost their source")
        drawn, number, place = drawn.filter(here), number[here], place[here]
    low, next_to_low = _open(results, days[0]).db(np.array([0, 1], dtype=np.uint8)).tolist()
    return FrozenSet(
        *(results, drawn, lost, spectrograms, low, next_to_low - low),
        *(tuple(days), number, place, tuple(folders)),
    )


def read_table(results: Results) -> pl.DataFrame:
    """Read the frozen training set.

    Raises
    ------
    DawnChorusError
        If it was not drawn yet or is not a training set.
    """
    return _checked(results, lambda path: read_parquet(path, columns=list(SCHEMA)))


def _checked(results: Results, read: Callable[[Path], pl.DataFrame]) -> pl.DataFrame:
    path = results.training_windows
    if not path.exists():
        raise DawnChorusError("is not there", path, "run `dawnchorus sample` first")
    try:
        return read(path)
    except (pl.exceptions.PolarsError, OSError):
        raise DawnChorusError(
            "is not a training set", path, "run `dawnchorus sample` again"
        ) from None


def find(results: Results, table: pl.DataFrame) -> NDArray[np.int64]:
    """Return each row's index in its recorder-day's store, or -1 where its source is lost.

    Parameters
    ----------
    table : DataFrame
        With at least recorder, date, recording and offset.
    """
    index = np.full(table.height, -1, dtype=np.int64)
    for day, rows in _by_day(table):
        path = results.spectrograms(day)
        if path.exists():
            here = table[rows]
            store = SpectrogramStore.open(path)
            index[rows] = store.find(here["recording"].to_list(), here["offset"].to_numpy())
    return index


def load_codes(
    results: Results, table: pl.DataFrame, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Read the windows of a table from their stores.

    Parameters
    ----------
    results : Results
    table : DataFrame
        With at least recorder, date, recording and offset.
    out : ndarray of uint8, optional
        Where to put them (a memory map, for example); made if not given.

    Returns
    -------
    ndarray of uint8, shape (n, mels, frames)
        In the order of the table.

    Raises
    ------
    DawnChorusError
        If a window is not in its store any more, or the shape differs.
    """
    for day, rows in tracked(list(_by_day(table)), "reading windows", _days(table), "days"):
        store = _open(results, day)
        here = table[rows]
        index = store.find(here["recording"].to_list(), here["offset"].to_numpy())
        if (index < 0).any():
            missing = here[int(np.argmax(index < 0))]
            raise DawnChorusError(
                f"has lost sample {missing['offset'][0]} of {missing['recording'][0]}",
                results.spectrograms(day),
                "raise training_set.edition to draw again from what there is",
            )
        codes = store.take(index)
        if out is None:
            out = np.empty((table.height, *codes.shape[1:]), dtype=np.uint8)
        if codes.shape[1:] != out.shape[1:]:
            raise DawnChorusError(
                f"its windows are {codes.shape[1:]}, not {out.shape[1:]} as wanted",
                results.spectrograms(day),
                "make the spectrograms of all days with the settings of now",
            )
        out[rows] = codes
    if out is None:
        raise DawnChorusError("no windows to read", results.training_windows)
    return out


def usable_days(results: Results, days: Sequence[RecorderDay]) -> tuple[list[RecorderDay], str]:
    """Return the days that have a window, and the one fingerprint of the parameters of all of them.

    Raises
    ------
    DawnChorusError
        If there is none, or the stores were made with different parameters.
    """
    usable: list[RecorderDay] = []
    made_with: dict[str, RecorderDay] = {}
    for day in days:
        receipt = read_receipt(results.spectrograms_receipt(day))
        if receipt["verdict"] == SET_ASIDE or receipt["windows"] == 0:
            continue
        usable.append(day)
        made_with.setdefault(str(receipt["parameters"]), day)
    if not usable:
        raise DawnChorusError(
            f"none of {len(days)} recorder-days has a window to learn from",
            results.root / "spectrograms",
            "look at inventory/faults.tsv, and run `dawnchorus spectrograms`",
        )
    if len(made_with) > 1:
        first, second = list(made_with.values())[:2]
        raise DawnChorusError(
            f"{first} and {second} were made with different spectrogram settings",
            results.root / "spectrograms",
            "run `dawnchorus spectrograms` for all days with the same settings",
        )
    return usable, next(iter(made_with))


def _standing(results: Results) -> dict[str, Any] | None:
    """The receipt of the training set there is, if it is whole."""
    if results.training_receipt.exists() and results.training_windows.exists():
        return read_receipt(results.training_receipt)
    return None


def draw(
    results: Results, days: Sequence[RecorderDay], windows: int, seed: int, activity_weight: float
) -> pl.DataFrame:
    """Return the windows (:data:`SCHEMA`, sorted) that :func:`sample` would draw; write nothing."""
    activities = None
    if activity_weight > 0:
        # Four bytes per window of the season: 35 MB for the reference season's 8.69 million.
        every = [
            _open(results, day).activity for day in tracked(days, "ranking", len(days), "days")
        ]
        activities = np.sort(np.concatenate(every))

    strata_of: dict[RecorderDay, slice] = {}
    available: list[NDArray[np.int64]] = []
    share: list[NDArray[np.float64]] = []
    found = 0
    for day in tracked(days, "counting windows", len(days), "days"):
        store = _open(results, day)
        hour = _hours(store)
        weight = _weights(store, activities, activity_weight)
        available.append(np.bincount(hour))
        share.append(np.bincount(hour, weights=weight) / available[-1])
        strata_of[day] = slice(found, found := found + available[-1].shape[0])

    # Hours in random order within a day: rounding a small draw must not favour one hour of the day.
    generator = np.random.default_rng([seed, 0])
    order = np.concatenate(
        [part.start + generator.permutation(part.stop - part.start) for part in strata_of.values()]
    )
    allotted = strata.fill_evenly(np.concatenate(available), np.concatenate(share), windows)
    wanted = np.empty(found, dtype=np.int64)
    wanted[order] = strata.round_systematically(allotted[order], generator.random())

    tables = []
    for day in tracked(days, "drawing windows", len(days), "days"):
        if not wanted[strata_of[day]].any():
            continue
        store = _open(results, day)
        keys = strata.selection_keys(
            _weights(store, activities, activity_weight), _generator(seed, day)
        )
        rows = strata.smallest_per_stratum(_hours(store), keys, wanted[strata_of[day]])
        names = np.asarray(store.recordings, dtype=object)
        tables.append(
            pl.DataFrame(
                {
                    "recorder": [day.recorder] * rows.shape[0],
                    "date": [day.date] * rows.shape[0],
                    "recording": names[store.recording[rows]].tolist(),
                    "offset": store.offset[rows],
                    "time": store.time[rows],
                    "activity": store.activity[rows],
                },
                schema=SCHEMA,
            )
        )
    return pl.concat(tables).sort(KEYS)


def _open(results: Results, day: RecorderDay) -> SpectrogramStore:
    return SpectrogramStore.open(results.spectrograms(day))


def _hours(store: SpectrogramStore) -> NDArray[np.int64]:
    """Which of the UTC hours that a store has windows in each window is in, from 0."""
    return np.unique(store.time.astype("datetime64[h]").astype(np.int64), return_inverse=True)[1]


def _weights(
    store: SpectrogramStore, activities: NDArray[np.float32] | None, power: float
) -> NDArray[np.float64]:
    if activities is None:
        return np.ones(len(store))
    rank = np.searchsorted(activities, store.activity, side="right") / activities.shape[0]
    return rank**power


def _generator(seed: int, day: RecorderDay) -> np.random.Generator:
    """A stream per recorder-day: the same day gives the same keys whatever other days there are."""
    return np.random.default_rng([seed, 1, int(fingerprint([day.recorder, day.date])[:15], 16)])


def _by_day(table: pl.DataFrame) -> Iterator[tuple[RecorderDay, NDArray[np.int64]]]:
    """Each recorder-day of a table with its rows."""
    numbered = table.select("recorder", "date").with_row_index("row")
    for (recorder, date), rows in numbered.group_by(["recorder", "date"], maintain_order=True):
        yield RecorderDay(str(recorder), str(date)), rows["row"].to_numpy().astype(np.int64)


def _days(table: pl.DataFrame) -> int:
    return table.select("recorder", "date").n_unique()
