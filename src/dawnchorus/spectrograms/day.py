"""One recorder-day's recordings become its spectrogram store: the step ``spectrograms``.

In: ``recordings.parquet`` and the recordings it names. Out: ``spectrograms/{recorder}/{date}.zarr``
and, beside it, the receipt; no store if no window could be had. The store is whole or not there.

The recordings are read one after the other, in order of their start, as a stream; blocks of windows go
to the workers (threads: the transforms and loops let go of the interpreter lock, and samples need not
be copied to another process; two are 1.7 times as fast as one, two processes slower than one) and come
back in order. So the bytes are the same with any number of them.

A hidden note beside the receipt (``.{date}.inputs.json``) remembers sizes and modification times of
the recordings, which a receipt must not hold; it only spares work and may be deleted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting
from dawnchorus.recordings.audio import AudioFault, WindowBlock, windows, windows_in
from dawnchorus.recordings.inventory import Recording, recordings_of_day
from dawnchorus.results import (
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.account import (
    Source,
    attributes_of,
    naive_start,
    parameters_of,
    receipt_of,
)
from dawnchorus.spectrograms.spectrograph import Spectra, Spectrograph
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.writer import SpectrogramWriter

BLOCK_WINDOWS = 16
"""Windows handed to a worker at once: 8 MiB of samples."""
AHEAD = 3
"""Blocks per worker that are read before the first of them is done."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _NothingUsableError(Exception):
    """No window could be had from the day's recordings."""


@dataclass(frozen=True)
class _Task:
    """A block of windows and where it belongs."""

    source: int
    spectrograph: Spectrograph
    block: WindowBlock
    time: NDArray[np.datetime64]


def make_day(
    settings: Settings, results: Results, day: RecorderDay, workers: int = 1
) -> dict[str, Any]:
    """Make the spectrogram store of a recorder-day.

    Parameters
    ----------
    settings : Settings
        ``audio.root``, ``audio.fingerprint`` and ``spectrogram`` are used.
    results : Results
        Read: ``recordings``. Written: ``spectrograms(day)`` and its receipt.
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
    _require(settings.audio.root, rows)

    sources = [Source(row) for row in rows]
    content: str | None = None
    try:
        with publishing(store) as partial:
            content = _write(settings, day, sources, partial, workers)
    except _NothingUsableError:
        withdraw(store)
    receipt = receipt_of(settings, day, sources, useless, content)
    write_receipt(receipt_path, receipt)
    write_receipt(note_path, {"inputs": inputs, "receipt": receipt["fingerprint"]})
    return receipt


def _useless(table: Path, day: RecorderDay) -> list[dict[str, Any]]:
    """Recordings of the day that the inventory sets aside, as the receipt lists them."""
    wanted = (
        (pl.col("recorder") == day.recorder)
        & (pl.col("date") == day.date)
        & (pl.col("status") == SET_ASIDE)
    )
    columns = ("recording", "frames", "promised_frames", "sample_rate", "reason")
    found = pl.scan_parquet(table).filter(wanted).select(columns).sort("recording").collect()
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
    by_time = settings.audio.fingerprint == "size+mtime"
    return fingerprint(
        {
            "day": str(day),
            "version": __version__,
            "spectrogram": parameters_of(settings),
            "recordings": [
                {
                    "recording": row.recording,
                    "start": row.start_utc,
                    "frames": row.frames,
                    "promised": row.promised_frames,
                    "sample_rate": row.sample_rate,
                    "status": row.status,
                    "reason": row.reason,
                    "size": row.size_bytes,
                    "mtime": row.mtime_ns if by_time else None,
                }
                for row in rows
            ],
            "set aside": useless,
        }
    )


def _known(store: Path, receipt: Path, note: Path, inputs: str) -> dict[str, Any] | None:
    """Return the receipt of an earlier run if it was made from the same inputs and still holds."""
    if not (receipt.is_file() and note.is_file()):
        return None
    try:
        earlier, remembered = read_receipt(receipt), read_receipt(note)
        if remembered != {"inputs": inputs, "receipt": earlier["fingerprint"]}:
            return None
        if earlier["verdict"] == SET_ASIDE:
            return None if store.exists() else earlier
        made = SpectrogramStore.open(store)
        same = made.attributes["fingerprint"] == earlier["fingerprint"]
        return earlier if same and len(made) == earlier["windows"] else None
    except (DawnChorusError, KeyError):
        # Damaged or foreign: it is made anew, which replaces all three.
        return None


def _require(root: Path, rows: list[Recording]) -> None:
    """A file that is gone is no fault of the recording: better no store than a thinned one."""
    for row in rows:
        if not (root / row.recording).is_file():
            raise DawnChorusError(
                "is in the inventory but not on the card",
                root / row.recording,
                "mount the card, or run 'dawnchorus scan' again",
            )


def _write(
    settings: Settings, day: RecorderDay, sources: list[Source], path: Path, workers: int
) -> str:
    """Write the store to ``path``; return the fingerprint of content and parameters."""
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
    with (
        SpectrogramWriter(path, spectrogram, expected, background=workers > 1) as writer,
        counting(f"spectrograms {day}", expected, "windows") as advance,
    ):
        for task, spectra in _in_order(_compute, _tasks(settings, sources), workers):
            writer.append(spectra, recording=task.source, offset=task.block.offsets, time=task.time)
            sources[task.source].add(spectra, task.spectrograph.framing.window_samples)
            advance(len(spectra))
        if not writer.windows:
            raise _NothingUsableError
        return writer.finish(attributes_of(settings, day, sources))


def _compute(task: _Task) -> tuple[_Task, Spectra]:
    return task, task.spectrograph(task.block.samples)


def _tasks(settings: Settings, sources: list[Source]) -> Iterator[_Task]:
    """Read the day's recordings, block by block; a fault ends a recording, not the day."""
    spectrogram = settings.spectrogram
    keeps = spectrogram.other_rates == "keep"
    spectrographs: dict[int, Spectrograph] = {}
    for number, source in enumerate(sources):
        row = source.row
        rate = row.sample_rate if keeps else spectrogram.sample_rate
        if rate not in spectrographs:
            spectrographs[rate] = Spectrograph(spectrogram, rate)
        start = np.datetime64(naive_start(row), "us")
        try:
            for block in windows(
                settings.audio.root / row.recording,
                sample_rate=None if keeps else rate,
                window_seconds=spectrogram.window_seconds,
                overlap_seconds=spectrogram.overlap_seconds,
                channel=settings.audio.channel,
                block_windows=BLOCK_WINDOWS,
                hasher=source.hasher,
            ):
                # Whole microseconds, in integers: exact however long the recording is.
                since = (2_000_000 * block.offsets + row.sample_rate) // (2 * row.sample_rate)
                time = start + since.astype("timedelta64[us]")
                yield _Task(number, spectrographs[rate], block, time)
        except AudioFault as fault:
            source.fault = f"{fault.code} {fault.reason}"


def _in_order(
    function: Callable[[Item], Outcome], items: Iterable[Item], workers: int
) -> Iterator[Outcome]:
    """Yield ``function(item)`` in the order of the items, computed by threads, few items ahead."""
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, "spectrograph") as executor:
        under_way: deque[Future[Outcome]] = deque()
        for item in items:
            under_way.append(executor.submit(function, item))
            if len(under_way) >= AHEAD * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
