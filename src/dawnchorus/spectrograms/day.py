"""One recorder-day's recordings become its spectrogram store: the step ``spectrograms``.

In: ``recordings.parquet`` and the recordings it names. Out: ``spectrograms/{recorder}/{date}.zarr``
and, beside it, the receipt; no store if no window could be had. The store is whole or not there.

The recordings are read one after the other, in order of their start, as a stream; blocks of windows go
to the workers (threads: the transforms and loops let go of the interpreter lock, and samples need not
be copied to another process; two are 1.4 times as fast as one, two processes slower than one) and come
back in order. So the bytes are the same with any number of them.

A hidden note beside the receipt (``.{date}.inputs.json``) remembers sizes and modification times of
the recordings, which a receipt must not hold; it only spares work and may be deleted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting
from dawnchorus.recordings.audio import AudioFault, WindowBlock, windows
from dawnchorus.recordings.inventory import Recording, recordings_of_day
from dawnchorus.results import (
    OK,
    PARTIAL,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.activity import MARGIN_DB
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


@dataclass
class _Source:
    """A recording of the day and what became of it."""

    row: Recording
    hasher: Any = field(default_factory=xxhash.xxh3_128)
    windows: int = 0
    fault: str | None = None

    @property
    def verdict(self) -> str:
        if self.fault is not None and not self.windows:
            return SET_ASIDE
        return PARTIAL if self.reason is not None else OK

    @property
    def reason(self) -> str | None:
        return self.fault or (self.row.reason if self.row.status == PARTIAL else None)

    def receipt(self) -> dict[str, Any]:
        return {
            "recording": self.row.recording,
            "frames": self.row.frames,
            "sample_rate": self.row.sample_rate,
            "windows": self.windows,
            "xxh3": self.hasher.hexdigest(),
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class _Task:
    """A block of windows and where it belongs."""

    source: int
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

    sources = [_Source(row) for row in rows]
    content: str | None = None
    try:
        with publishing(store) as partial:
            content = _write(settings, day, sources, partial, workers)
    except _NothingUsableError:
        withdraw(store)
    receipt = _receipt(settings, day, sources, useless, content)
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
    columns = ("recording", "frames", "sample_rate", "reason")
    found = pl.scan_parquet(table).filter(wanted).select(columns).sort("recording").collect()
    return [{**row, "windows": 0, "xxh3": None, "verdict": SET_ASIDE} for row in found.to_dicts()]


def _inputs(
    settings: Settings, day: RecorderDay, rows: list[Recording], useless: list[dict[str, Any]]
) -> str:
    """Fingerprint of all that the store and its receipt are made from."""
    by_time = settings.audio.fingerprint == "size+mtime"
    return fingerprint(
        {
            "day": str(day),
            "version": __version__,
            "spectrogram": settings.spectrogram.model_dump(mode="json"),
            "recordings": [
                {
                    "recording": row.recording,
                    "start": row.start_utc,
                    "frames": row.frames,
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
    settings: Settings, day: RecorderDay, sources: list[_Source], path: Path, workers: int
) -> str:
    """Write the store to ``path``; return the fingerprint of content and parameters."""
    spectrogram = settings.spectrogram
    expected = sum(
        source.row.frames // round(spectrogram.window_seconds * source.row.sample_rate)
        for source in sources
        if source.row.sample_rate
    )
    spectrograph = Spectrograph(spectrogram)

    def compute(task: _Task) -> tuple[_Task, Spectra]:
        return task, spectrograph(task.block.samples)

    with (
        SpectrogramWriter(path, spectrogram, expected, background=workers > 1) as writer,
        counting(f"spectrograms {day}", expected, "windows") as advance,
    ):
        for task, spectra in _in_order(compute, _tasks(settings, sources), workers):
            writer.append(spectra, recording=task.source, offset=task.block.offsets, time=task.time)
            sources[task.source].windows += len(spectra)
            advance(len(spectra))
        if not writer.windows:
            raise _NothingUsableError
        return writer.finish(_attributes(settings, day, sources))


def _tasks(settings: Settings, sources: list[_Source]) -> Iterator[_Task]:
    """Read the day's recordings, block by block; a fault ends a recording, not the day."""
    spectrogram = settings.spectrogram
    for number, source in enumerate(sources):
        row = source.row
        start = np.datetime64(_naive(row), "us")
        try:
            for block in windows(
                settings.audio.root / row.recording,
                sample_rate=spectrogram.sample_rate,
                window_seconds=spectrogram.window_seconds,
                block_windows=BLOCK_WINDOWS,
                hasher=source.hasher,
            ):
                # Whole microseconds, in integers: exact however long the recording is.
                since = (2_000_000 * block.offsets + row.sample_rate) // (2 * row.sample_rate)
                yield _Task(number, block, start + since.astype("timedelta64[us]"))
        except AudioFault as fault:
            source.fault = f"{fault.code} {fault.reason}"


def _naive(row: Recording) -> Any:
    """UTC start as NumPy takes it, without a zone."""
    if row.start_utc is None:
        raise DawnChorusError("a usable recording has no start", row.recording, "scan again")
    return row.start_utc.replace(tzinfo=None)


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


def _attributes(settings: Settings, day: RecorderDay, sources: list[_Source]) -> dict[str, Any]:
    """What the store says of itself."""
    spectrogram = settings.spectrogram
    rate = spectrogram.sample_rate
    resampled = sorted({source.row.sample_rate for source in sources} - {rate})
    return {
        "Conventions": "CF-1.11",
        "title": f"Mel spectrograms of {day.recorder}, {day.date}",
        "source": f"dawnchorus {__version__}",
        "version": __version__,
        "recorder": day.recorder,
        "date": day.date,
        "date_definition": "local start date of the recordings",
        "parameters": spectrogram.model_dump(mode="json"),
        "parameters_fingerprint": fingerprint(spectrogram.model_dump(mode="json")),
        "recordings": [source.row.recording for source in sources],
        "recording_start": [f"{_naive(source.row).isoformat()}Z" for source in sources],
        "recording_sample_rate": [source.row.sample_rate for source in sources],
        "recording_frames": [source.row.frames for source in sources],
        "recording_windows": [source.windows for source in sources],
        "recording_xxh3": [source.hasher.hexdigest() for source in sources],
        "channel": "the first of each recording",
        "resampling": (
            f"{', '.join(map(str, resampled))} Hz to {rate} Hz: soxr HQ, linear phase, "
            "delay compensated"
            if resampled
            else f"none: all recordings have {rate} Hz"
        ),
        "window_function": "periodic Hann; frames neither centred nor padded",
        "power": (
            "one-sided, 2 |X|^2 / (n_fft sum(w^2)): sums over bins to the mean square of the frame"
        ),
        "filterbank": "HTK mel, triangles of peak 1, centres equally spaced in mel",
        "reference": "0 dB: the mean square of a full-scale sine (1/2)",
        "constant_offset": (
            "not removed; in the spectrogram it ends below two bins, in level it is contained"
        ),
        "activity_definition": (
            "dB over the band's median over the window, less the frame's median over the bands of "
            f"that (if positive), less {MARGIN_DB:g} dB; positive part, mean over mel and frame"
        ),
    }


def _receipt(
    settings: Settings,
    day: RecorderDay,
    sources: list[_Source],
    useless: list[dict[str, Any]],
    content: str | None,
) -> dict[str, Any]:
    recordings = [*(source.receipt() for source in sources), *useless]
    total = sum(source.windows for source in sources)
    bad = [entry for entry in recordings if entry["verdict"] != OK]
    if not total:
        verdict, reason = SET_ASIDE, _why_nothing(settings, recordings)
    elif bad:
        verdict, reason = PARTIAL, f"{len(bad)} of {len(recordings)} recordings are not whole"
    else:
        verdict, reason = OK, None
    parameters = fingerprint(settings.spectrogram.model_dump(mode="json"))
    return {
        "verdict": verdict,
        "reason": reason,
        "windows": total,
        "recordings": recordings,
        "parameters": parameters,
        "fingerprint": content or fingerprint([str(day), parameters, recordings]),
        "version": __version__,
    }


def _why_nothing(settings: Settings, recordings: list[dict[str, Any]]) -> str:
    if not recordings:
        return "no recordings"
    if all(entry["verdict"] == OK for entry in recordings):
        return f"no recording is as long as a window ({settings.spectrogram.window_seconds:g} s)"
    return "no usable recording"
