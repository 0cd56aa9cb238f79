"""One recorder-day's recordings become its spectrogram store: the step ``spectrograms``.

In: ``recordings.parquet`` and the recordings it names. Out: ``spectrograms/{recorder}/{date}.zarr``
and, beside it, the receipt; no store if no window could be had. The store is whole or not there.

The recordings are read one after the other, in order of their start, as a stream
(:mod:`~dawnchorus.spectrograms.stream`); the bytes are the same with any number of workers.

A hidden note beside the receipt (``.{date}.inputs.json``) remembers sizes and modification times of
the recordings, which a receipt must not hold; it only spares work and may be deleted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import scan_parquet
from dawnchorus.progress import counting
from dawnchorus.recordings.audio import windows_in
from dawnchorus.recordings.inventory import Recording, recordings_of_day
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    withdraw,
)
from dawnchorus.spectrograms.account import (
    Source,
    attributes_of,
    facts_of,
    parameters_of,
    receipt_of,
    remember,
    remembered,
    require,
)
from dawnchorus.spectrograms.indices import MinuteRow
from dawnchorus.spectrograms.minutes import minute_row, publish_minutes
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.stream import computed
from dawnchorus.spectrograms.writer import SpectrogramWriter


class _NothingUsableError(Exception):
    """No window could be had from the day's recordings."""


def make_day(
    settings: Settings, results: Results, day: RecorderDay, workers: int = 1
) -> dict[str, Any]:
    """Make the spectrogram store of a recorder-day.

    Parameters
    ----------
    settings : Settings
        ``audio.root``, ``audio.channel``, ``audio.fingerprint``, ``spectrogram`` and ``indices`` are
        used.
    results : Results
        Read: ``recordings``. Written: ``spectrograms(day)`` and its receipt; from the same pass, if
        they are wanted, ``indices(day)``.
    day : RecorderDay
    workers : int
        Threads that compute; the result is the same whatever their number.

    Returns
    -------
    dict
        The receipt: verdict, reason, windows, recordings, parameters, fingerprint, version.

    Raises
    ------
    DawnChorusError
        If there is no inventory, or a recording that it names is gone.
    """
    store, receipt_path = results.spectrograms(day), results.spectrograms_receipt(day)
    note_path = store.with_name(f".{day.date}.inputs.json")
    rows = recordings_of_day(results.recordings, day)
    useless = _useless(results.recordings, day)
    inputs = _inputs(settings, day, rows, useless)
    known = _known(store, receipt_path, note_path, inputs)
    if known is not None:
        return known
    require(settings.audio.root, rows)

    sources = [Source(row) for row in rows]
    content: str | None = None
    minutes: list[MinuteRow] = []
    try:
        with publishing(store) as partial:
            content, minutes = _write(settings, day, sources, partial, workers)
    except _NothingUsableError:
        withdraw(store)
    receipt = receipt_of(settings, day, sources, useless, content)
    remember(receipt_path, note_path, receipt, inputs)
    if settings.indices.enabled:
        publish_minutes(settings, results, day, minutes)
    return receipt


def _useless(table: Path, day: RecorderDay) -> list[dict[str, Any]]:
    """Recordings of the day that the inventory sets aside, as the receipt lists them."""
    wanted = (
        (pl.col("recorder") == day.recorder)
        & (pl.col("date") == day.date)
        & (pl.col("status") == SET_ASIDE)
    )
    columns = ("recording", "frames", "promised_frames", "sample_rate", "reason")
    found = scan_parquet(table).filter(wanted).select(columns).sort("recording").collect()
    return [
        {
            "recording": row["recording"],
            "frames": row["frames"],
            "missing_frames": row["promised_frames"] - row["frames"],
            "unused_frames": row["frames"],
            "sample_rate": row["sample_rate"],
            "windows": 0,
            "xxh3": None,
            "verdict": SET_ASIDE,
            "reason": row["reason"],
        }
        for row in found.to_dicts()
    ]


def _inputs(
    settings: Settings, day: RecorderDay, rows: list[Recording], useless: list[dict[str, Any]]
) -> str:
    """Fingerprint of all that the store and its receipt are made from."""
    return fingerprint(
        {
            "day": str(day),
            "version": __version__,
            "spectrogram": parameters_of(settings),
            "recordings": facts_of(settings, rows),
            "set aside": useless,
        }
    )


def _known(store: Path, receipt: Path, note: Path, inputs: str) -> dict[str, Any] | None:
    """Return the receipt of an earlier run if it was made from the same inputs and still holds."""
    try:
        earlier = remembered(receipt, note, inputs)
        if earlier is None:
            return None
        if earlier["verdict"] == SET_ASIDE:
            return None if store.exists() else earlier
        made = SpectrogramStore.open(store)
        same = made.attributes["fingerprint"] == earlier["fingerprint"]
        return earlier if same and len(made) == earlier["windows"] else None
    except (DawnChorusError, KeyError):
        # Damaged or foreign: it is made anew, which replaces all three.
        return None


def _write(
    settings: Settings, day: RecorderDay, sources: list[Source], path: Path, workers: int
) -> tuple[str, list[MinuteRow]]:
    """Write the store to ``path``; return its fingerprint, and the minutes if indices are wanted."""
    spectrogram = settings.spectrogram
    expected = sum(
        windows_in(
            source.row.frames,
            source.row.sample_rate,
            spectrogram.window_seconds,
            spectrogram.overlap_seconds,
        )
        for source in sources
    )
    minutes: list[MinuteRow] = []
    with (
        SpectrogramWriter(path, spectrogram, expected, background=workers > 1) as writer,
        counting(f"spectrograms {day}", expected, "windows") as advance,
    ):
        for task, spectra, minute in computed(settings, sources, workers):
            source = sources[task.source]
            writer.append(spectra, recording=task.source, offset=task.block.offsets, time=task.time)
            source.add(spectra, task.spectrograph.framing.window_samples)
            if minute is not None:
                minutes.append(minute_row(source.row, task, minute))
            advance(len(spectra))
        if not writer.windows:
            raise _NothingUsableError
        return writer.finish(attributes_of(settings, day, sources)), minutes
