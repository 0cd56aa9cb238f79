"""The windows that everything is measured on.

In: recorder-days with their spectrogram stores, and the experiments' embeddings. Out: a seeded draw
of windows (all, if there are fewer) that every experiment has embedded, and the recorder-days that
had to be left out, each with its reason.

All spaces are measured on the same windows. A window's group says what it is like: windows of one
group never stand on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.parquet import scan_parquet
from dawnchorus.results import SET_ASIDE, UNDATED, RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import VectorStore


@dataclass(frozen=True)
class LeftOut:
    """A recorder-day that is not in the evaluation."""

    day: RecorderDay
    reason: str


@dataclass(frozen=True)
class Windows:
    """Drawn windows, sorted by recorder-day and by their row in its spectrogram store.

    Attributes
    ----------
    days : list of RecorderDay
    day : int64 array (n,)
        Index into ``days``.
    row : int64 array (n,)
        Row in the day's spectrogram store.
    recording : object array (n,)
        Path relative to the cards.
    offset : int64 array (n,)
        First sample in the file, at the file's own rate.
    time : datetime64[us] array (n,)
        UTC start.
    start_s, end_s : float64 arrays (n,)
        Seconds from the recording's start.
    hour : int64 array (n,)
        Hour of the local day, -1 where the recording's offset from UTC is not known.
    total : int
        Windows of all these days together.
    named_groups : dict of str to object array (n,)
        Groups besides those that recorders and days are, as a labelled set has them.
    """

    days: list[RecorderDay]
    day: NDArray[np.int64]
    row: NDArray[np.int64]
    recording: NDArray[np.object_]
    offset: NDArray[np.int64]
    time: NDArray[np.datetime64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    hour: NDArray[np.int64]
    total: int
    named_groups: dict[str, NDArray[np.object_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def is_dated(self) -> bool:
        """False of a labelled set, whose clips have neither recorder nor date."""
        return all(day.date != UNDATED for day in self.days)

    @property
    def recorder(self) -> NDArray[np.object_]:
        """Recorder of each window."""
        return np.array([day.recorder for day in self.days], dtype=object)[self.day]

    def local_dates(self, form: str) -> NDArray[np.object_]:
        """Return the local date of each window's recorder-day in a form of ``strftime``."""
        written = [date.fromisoformat(day.date).strftime(form) for day in self.days]
        return np.array(written, dtype=object)[self.day]

    def group(self, kind: str) -> NDArray[np.object_]:
        """Return each window's group.

        Parameters
        ----------
        kind : str
            ``recording``, ``recorder_day``, ``recorder`` or one of ``named_groups``.
        """
        if kind in self.named_groups:
            return self.named_groups[kind]
        if kind == "recording":
            return self.recording
        if kind == "recorder":
            return self.recorder
        return np.array([str(day) for day in self.days], dtype=object)[self.day]

    def by_day(self) -> Iterator[tuple[RecorderDay, NDArray[np.int64]]]:
        """Yield (recorder-day, positions of its windows)."""
        for number, day in enumerate(self.days):
            positions = np.flatnonzero(self.day == number)
            if len(positions):
                yield day, positions

    def frame(self) -> pl.DataFrame:
        """Return (window, recording, offset, start_s, end_s), ``window`` being the position."""
        return pl.DataFrame(
            {
                "window": np.arange(len(self)),
                "recording": self.recording.tolist(),
                "offset": self.offset,
                "start_s": self.start_s,
                "end_s": self.end_s,
            },
            schema={
                "window": pl.Int64,
                "recording": pl.String,
                "offset": pl.Int64,
                "start_s": pl.Float64,
                "end_s": pl.Float64,
            },
        )


def recording_facts(table: Path) -> dict[str, tuple[int, int | None]]:
    """Return (sample rate, minutes from UTC) of the recordings that can be used."""
    frame = (
        scan_parquet(table)
        .filter(pl.col("status") != SET_ASIDE)
        .select("recording", "sample_rate", "utc_offset_minutes")
        .collect()
    )
    return {name: (int(rate), minutes) for name, rate, minutes in frame.iter_rows()}


def usable_days(
    results: Results, days: Sequence[RecorderDay], experiments: Sequence[str]
) -> tuple[list[RecorderDay], list[LeftOut]]:
    """Part recorder-days into those that can be evaluated and those that cannot."""
    usable, left_out = [], []
    for day in sorted(days):
        reason = _unusable(results, day, experiments)
        if reason:
            left_out.append(LeftOut(day, reason))
        else:
            usable.append(day)
    return usable, left_out


def _unusable(results: Results, day: RecorderDay, experiments: Sequence[str]) -> str:
    receipts = [("spectrograms", results.spectrograms_receipt(day))]
    receipts += [
        (f"embeddings of {name}", results.experiment(name).embeddings_receipt(day))
        for name in experiments
    ]
    for what, path in receipts:
        if not path.exists():
            return f"no {what}"
        receipt = read_receipt(path)
        if receipt.get("verdict") == SET_ASIDE:
            return f"{what} set aside: {receipt.get('reason') or 'nothing usable'}"
    return ""


def draw(
    settings: Settings, results: Results, days: Sequence[RecorderDay], experiments: Sequence[str]
) -> Windows:
    """Draw the windows of the evaluation from usable recorder-days.

    Parameters
    ----------
    settings : Settings
        Uses ``evaluation.windows``, ``evaluation.seed`` and the length of a window.
    results : Results
    days : sequence of RecorderDay
        From :func:`usable_days`.
    experiments : sequence of str
        Windows that one of them has not embedded are not drawn.

    Returns
    -------
    Windows
    """
    known = recording_facts(results.recordings)
    candidates = [_embedded_rows(results, day, experiments) for day in days]
    lengths = np.array([len(rows) for rows in candidates], dtype=np.int64)
    total = int(lengths.sum())
    chosen = np.arange(total)
    if total > settings.evaluation.windows:
        generator = np.random.default_rng(settings.evaluation.seed)
        chosen = np.sort(generator.choice(total, settings.evaluation.windows, replace=False))
    ends = np.cumsum(lengths)
    day_of = np.searchsorted(ends, chosen, side="right")
    parts: list[dict[str, Any]] = []
    for number, day in enumerate(days):
        first = ends[number] - lengths[number]
        rows = candidates[number][chosen[day_of == number] - first]
        if len(rows):
            parts.append(_columns(settings, results, day, number, rows, known))
    return Windows(list(days), **_joined(parts), total=total)


def _embedded_rows(
    results: Results, day: RecorderDay, experiments: Sequence[str]
) -> NDArray[np.int64]:
    """Return the rows of a day's spectrogram store that every experiment has embedded."""
    store = SpectrogramStore.open(results.spectrograms(day))
    rows = np.arange(len(store))
    names = np.array(store.recordings, dtype=object)[store.recording]
    for experiment in experiments:
        embedded = VectorStore.open(results.experiment(experiment).embeddings(day))
        rows = rows[embedded.find(names[rows].tolist(), store.offset[rows]) >= 0]
    return rows


def _columns(
    settings: Settings,
    results: Results,
    day: RecorderDay,
    number: int,
    rows: NDArray[np.int64],
    known: dict[str, tuple[int, int | None]],
) -> dict[str, Any]:
    store = SpectrogramStore.open(results.spectrograms(day))
    names = np.array(store.recordings, dtype=object)[store.recording[rows]]
    of_day = read_receipt(results.spectrograms_receipt(day)).get("recordings", [])
    rates = {one["recording"]: int(one["sample_rate"]) for one in of_day}
    rate = np.array([rates[name] for name in names], dtype=np.float64)
    length = np.rint(settings.spectrogram.window_seconds * rate)
    start = store.offset[rows] / rate
    time = store.time[rows]
    return {
        "day": np.full(len(rows), number),
        "row": rows,
        "recording": names,
        "offset": store.offset[rows],
        "time": time,
        "start_s": start,
        "end_s": start + length / rate,
        "hour": np.array(
            [_hour(one, known.get(name)) for one, name in zip(time, names, strict=True)],
            dtype=np.int64,
        ),
    }


def _hour(time: np.datetime64, known: tuple[int, int | None] | None) -> int:
    if known is None or known[1] is None or np.isnat(time):
        return -1
    return int((time.astype("datetime64[us]").item() + timedelta(minutes=known[1])).hour)


EMPTY: dict[str, Any] = {
    "day": np.empty(0, np.int64),
    "row": np.empty(0, np.int64),
    "recording": np.empty(0, object),
    "offset": np.empty(0, np.int64),
    "time": np.empty(0, "datetime64[us]"),
    "start_s": np.empty(0),
    "end_s": np.empty(0),
    "hour": np.empty(0, np.int64),
}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if not parts:
        return EMPTY
    return {key: np.concatenate([part[key] for part in parts]) for key in EMPTY}
