"""BirdNET's detections of a recorder-day.

In: the recordings of the day (``inventory/recordings.parquet``) and their samples. Out:
``birdnet/{recorder}/{date}.parquet`` with one row per detection (recorder, date, recording, offset,
time, species, common_name, confidence), sorted by recording (in the order of the day), offset and
falling confidence; BirdNET's own embeddings of all windows beside it, if asked for; and the receipt.

BirdNET's windows are 3 s at multiples of 3 s, whatever the spectrograms' windows are. What is shorter
than 3 s at a recording's end is no window (birdnetlib pads it with silence if it has 1.5 s).

Memory is bounded by a few blocks of windows: embeddings wait in a temporary file until the number of
the day's windows is known.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date as calendar_date
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars
import xxhash
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.birdnet import model as birdnet_model
from dawnchorus.birdnet.model import BirdNetModel, Listener, confidence, week_of
from dawnchorus.config import BirdNet, Settings
from dawnchorus.progress import Advance, counting
from dawnchorus.recordings.audio import AudioFault, windows
from dawnchorus.recordings.inventory import Recording, recordings_of_day
from dawnchorus.results import (
    OK,
    PARTIAL,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    withdraw,
    write_receipt,
)
from dawnchorus.vectors import WindowTable, write_vectors

BLOCK_BATCHES = 4
"""Batches decoded at once: reading in larger pieces costs less."""
SPOOL_WINDOWS = 4096
"""Embeddings read back from the temporary file at a time (16 MB)."""

COLUMNS = {
    "recorder": polars.String,
    "date": polars.String,
    "recording": polars.String,
    "offset": polars.Int64,
    "time": polars.Datetime("us", "UTC"),
    "species": polars.String,
    "common_name": polars.String,
    "confidence": polars.Float32,
}
"""Columns of the detections; ``species`` is the scientific name, ``offset`` the window's first sample
at the file's own rate, ``time`` the window's start."""


@dataclass
class _Heard:
    """What came of one recording."""

    recording: Recording
    windows: int = 0
    xxh3: str | None = None
    verdict: str = OK
    reason: str | None = None
    species_filter: str = "off"

    def entry(self) -> dict[str, Any]:
        """Return the recording's line of the receipt."""
        return {
            "recording": self.recording.recording,
            "frames": self.recording.frames,
            "sample_rate": self.recording.sample_rate,
            "windows": self.windows,
            "xxh3": self.xxh3,
            "verdict": self.verdict,
            "reason": self.reason,
            "species_filter": self.species_filter,
        }


@dataclass
class _Detections:
    """The growing table of detections, as columns of numbers."""

    recording: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    recording: int
    offsets: NDArray[np.int64]
    samples: NDArray[np.float32]


def label_day(settings: Settings, results: Results, day: RecorderDay, workers: int = 1) -> dict[str, Any]:
    """Run BirdNET over a recorder-day and write detections, embeddings and receipt.

    Parameters
    ----------
    settings : Settings
        Uses ``audio.root`` and ``birdnet``.
    results : Results
    day : RecorderDay
    workers : int
        Interpreters that run at the same time. The result does not depend on it.

    Returns
    -------
    dict
        The receipt. Its verdict is ``set aside`` (and neither detections nor embeddings exist) if no
        window could be read, ``partial`` if some recording broke off.

    Raises
    ------
    DawnChorusError
        If BirdNET or the inventory is missing.
    """
    model = BirdNetModel.find()
    heard = [_Heard(recording) for recording in recordings_of_day(results.recordings, day)]
    detections = _Detections()
    offsets: list[NDArray[np.int64]] = []
    numbers: list[int] = []
    masks = _species_masks(model, settings.birdnet, heard)

    results.detections(day).parent.mkdir(parents=True, exist_ok=True)
    expected = sum(int(one.recording.duration_s / birdnet_model.WINDOW_SECONDS) for one in heard)
    with (
        tempfile.TemporaryFile(prefix=".birdnet.", dir=results.detections(day).parent) as spool,
        counting(f"birdnet {day}", expected, "windows") as advance,
    ):
        for batch, logits, embeddings in _listened(settings, model, heard, workers):
            score = confidence(logits, settings.birdnet.sensitivity)
            mask = masks[batch.recording]
            if mask is not None:
                score = np.where(mask, score, np.float32(0))
            _keep(detections, batch, score, settings.birdnet)
            offsets.append(batch.offsets)
            numbers.extend([batch.recording] * len(batch.offsets))
            heard[batch.recording].windows += len(batch.offsets)
            if settings.birdnet.embeddings:
                spool.write(np.ascontiguousarray(embeddings, dtype="<f4").data)
            advance(len(batch.offsets))
        table = _window_table(heard, numbers, offsets)
        return _publish(settings, results, day, model, heard, detections, table, spool)


def _species_masks(
    model: BirdNetModel, parameters: BirdNet, heard: list[_Heard]
) -> list[NDArray[np.bool_] | None]:
    """Return the expected species of each recording; None where the list is not applied."""
    known: dict[tuple[float, float, int], NDArray[np.bool_]] = {}
    masks: list[NDArray[np.bool_] | None] = []
    for one in heard:
        recording, mask = one.recording, None
        if parameters.use_place:
            if recording.latitude is None or recording.longitude is None or recording.date is None:
                one.species_filter = "not applied: the deployment has no place"
            else:
                week = week_of(calendar_date.fromisoformat(recording.date))
                place = (recording.latitude, recording.longitude, week)
                if place not in known:
                    known[place] = model.expected(*place)
                mask = known[place]
                one.species_filter = (
                    f"week {week} at {place[0]:.4f}, {place[1]:.4f}: {int(mask.sum())} species"
                )
        masks.append(mask)
    return masks


def _batches(settings: Settings, heard: list[_Heard]) -> Iterator[_Batch]:
    """Decode the recordings one after the other; write into ``heard`` what became of each."""
    size = settings.birdnet.batch_size
    for number, one in enumerate(heard):
        if one.recording.status == PARTIAL:
            one.verdict, one.reason = PARTIAL, one.recording.reason
        hasher = xxhash.xxh3_128()
        broken = found = 0
        try:
            for block in windows(
                settings.audio.root / one.recording.recording,
                sample_rate=birdnet_model.SAMPLE_RATE,
                window_seconds=birdnet_model.WINDOW_SECONDS,
                block_windows=size * BLOCK_BATCHES,
                hasher=hasher,
            ):
                sound = np.isfinite(block.samples).all(axis=1)
                if not sound.all():
                    # A window of float samples that are no numbers would spoil its whole batch.
                    broken += int((~sound).sum())
                    block.samples[~sound] = 0.0
                for start in range(0, len(block.offsets), size):
                    part = slice(start, start + size)
                    found += len(block.offsets[part])
                    yield _Batch(number, block.offsets[part], block.samples[part])
        except AudioFault as fault:
            one.verdict = PARTIAL if found else SET_ASIDE
            one.reason = f"{fault.code} {fault.reason}"
        if broken:
            note = f"{broken} windows hold samples that are no numbers, heard as silence"
            one.verdict = PARTIAL
            one.reason = f"{one.reason}; {note}" if one.reason else note
        one.xxh3 = hasher.hexdigest()


def _listened(
    settings: Settings, model: BirdNetModel, heard: list[_Heard], workers: int
) -> Iterator[tuple[_Batch, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield (batch, logits, embeddings) in the order of the recordings."""
    batches = _batches(settings, heard)
    if workers <= 1:
        listener = model.listener()
        for batch in batches:
            yield batch, *listener.listen(batch.samples)
        return

    # Interpreters let go of Python's lock, so threads are enough; the queue bounds memory.
    own = threading.local()

    def listen(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        listener: Listener | None = getattr(own, "listener", None)
        if listener is None:
            listener = own.listener = model.listener()
        return listener.listen(samples)

    waiting: deque[tuple[_Batch, Future[tuple[NDArray[np.float32], NDArray[np.float32]]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="birdnet") as pool:
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(listen, batch.samples)))
                if len(waiting) > 2 * workers:
                    first, outcome = waiting.popleft()
                    yield first, *outcome.result()
            while waiting:
                first, outcome = waiting.popleft()
                yield first, *outcome.result()
        finally:
            for _, outcome in waiting:
                outcome.cancel()


def _keep(
    detections: _Detections, batch: _Batch, score: NDArray[np.float32], parameters: BirdNet
) -> None:
    """Append a batch's detections: per window the ``top`` best that reach the confidence."""
    # Stable, so that equal scores stand in the order of the labels.
    best = np.argsort(-score, axis=1, kind="stable")[:, : parameters.top]
    scores = np.take_along_axis(score, best, axis=1)
    # As float32: 0.1 must count where the model says 0.1.
    enough = scores >= np.float32(parameters.min_confidence)
    for row, column in np.argwhere(enough):
        detections.recording.append(batch.recording)
        detections.offset.append(int(batch.offsets[row]))
        detections.label.append(int(best[row, column]))
        detections.confidence.append(float(scores[row, column]))


def _window_table(
    heard: list[_Heard], numbers: list[int], offsets: list[NDArray[np.int64]]
) -> WindowTable:
    recording = np.array(numbers, dtype=np.int32)
    offset = np.concatenate(offsets) if offsets else np.empty(0, np.int64)
    return WindowTable(
        [one.recording.recording for one in heard], recording, offset, _times(heard, recording, offset)
    )


def _times(
    heard: list[_Heard], recording: NDArray[np.int32], offset: NDArray[np.int64]
) -> NDArray[np.datetime64]:
    """Return the UTC start of windows, datetime64[us]."""
    if not len(recording):
        return np.empty(0, "datetime64[us]")
    starts = np.array(
        [
            np.datetime64(one.recording.start_utc.replace(tzinfo=None), "us")
            if one.recording.start_utc is not None
            else np.datetime64("NaT", "us")
            for one in heard
        ]
    )
    rates = np.array([one.recording.sample_rate for one in heard], dtype=np.float64)
    after = np.rint(offset / rates[recording] * 1e6).astype("timedelta64[us]")
    return starts[recording] + after


def _publish(
    settings: Settings,
    results: Results,
    day: RecorderDay,
    model: BirdNetModel,
    heard: list[_Heard],
    detections: _Detections,
    table: WindowTable,
    spool: IO[bytes],
) -> dict[str, Any]:
    """Write detections, embeddings and receipt; return the receipt."""
    parameters = {
        **settings.birdnet.model_dump(exclude={"batch_size"}),
        "sample_rate": birdnet_model.SAMPLE_RATE,
        "window_seconds": birdnet_model.WINDOW_SECONDS,
        "place_threshold": birdnet_model.PLACE_THRESHOLD,
    }
    model_entry = {
        "name": birdnet_model.NAME,
        "licence": birdnet_model.LICENCE,
        "fingerprint": model.fingerprint,
    }
    content = None
    if not len(table):
        withdraw(results.detections(day))
        withdraw(results.birdnet_embeddings(day))
    else:
        frame = _frame(day, model, heard, detections)
        with publishing(results.detections(day)) as partial:
            frame.write_parquet(partial)
        if settings.birdnet.embeddings:
            content = write_vectors(
                results.birdnet_embeddings(day),
                _spooled(spool, len(table)),
                dimension=birdnet_model.EMBEDDING_DIMENSION,
                windows=table,
                attributes={
                    "model": model_entry["name"],
                    "licence": model_entry["licence"],
                    "model_fingerprint": model_entry["fingerprint"],
                    "window_seconds": birdnet_model.WINDOW_SECONDS,
                    "sample_rate": birdnet_model.SAMPLE_RATE,
                    "version": __version__,
                },
            )
        else:
            withdraw(results.birdnet_embeddings(day))
    receipt = {
        "verdict": _verdict(heard, len(table)),
        "reason": _reason(heard, len(table)),
        "recorder": day.recorder,
        "date": day.date,
        "windows": len(table),
        "detections": len(detections.offset),
        "recordings": [one.entry() for one in heard],
        "species_filter": _filter_line(settings.birdnet, heard),
        "model": model_entry,
        "licence": birdnet_model.LICENCE,
        "parameters": parameters,
        "embeddings": content,
        "fingerprint": fingerprint(
            [
                model_entry["fingerprint"],
                parameters,
                [one.entry() for one in heard],
                [detections.recording, detections.offset, detections.label],
                [float(np.float32(value)) for value in detections.confidence],
                content,
            ]
        ),
        "version": __version__,
    }
    write_receipt(results.detections_receipt(day), receipt)
    return receipt


def _frame(
    day: RecorderDay, model: BirdNetModel, heard: list[_Heard], detections: _Detections
) -> polars.DataFrame:
    recording = np.array(detections.recording, dtype=np.int32)
    offset = np.array(detections.offset, dtype=np.int64)
    names = [one.recording.recording for one in heard]
    count = len(offset)
    return polars.DataFrame(
        {
            "recorder": [day.recorder] * count,
            "date": [day.date] * count,
            "recording": [names[number] for number in detections.recording],
            "offset": offset,
            "time": polars.Series(_times(heard, recording, offset)).dt.replace_time_zone("UTC"),
            "species": [model.labels[label][0] for label in detections.label],
            "common_name": [model.labels[label][1] for label in detections.label],
            "confidence": np.array(detections.confidence, dtype=np.float32),
        },
        schema=COLUMNS,
    )


def _spooled(spool: IO[bytes], count: int) -> Iterator[NDArray[np.float32]]:
    width = birdnet_model.EMBEDDING_DIMENSION
    spool.seek(0)
    for start in range(0, count, SPOOL_WINDOWS):
        rows = min(SPOOL_WINDOWS, count - start)
        yield np.frombuffer(spool.read(rows * width * 4), dtype="<f4").reshape(rows, width)


def _verdict(heard: list[_Heard], count: int) -> str:
    if not count:
        return SET_ASIDE
    return OK if all(one.verdict == OK for one in heard) else PARTIAL


def _reason(heard: list[_Heard], count: int) -> str | None:
    faults = [f"{Path(one.recording.recording).name}: {one.reason}" for one in heard if one.reason]
    if faults:
        rest = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        return "; ".join(faults[:3]) + rest
    if not heard:
        return "no usable recording"
    return None if count else "no recording is as long as a window"


def _filter_line(parameters: BirdNet, heard: list[_Heard]) -> str:
    if not parameters.use_place:
        return "not applied: birdnet.use_place is off"
    without = sum(one.species_filter.startswith("not applied") for one in heard)
    if without == len(heard):
        return "not applied: the deployment has no place"
    rest = f"; {without} recordings without a place are not filtered" if without else ""
    return f"species expected at place and week (at least {birdnet_model.PLACE_THRESHOLD}){rest}"
