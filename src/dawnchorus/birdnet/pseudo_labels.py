"""BirdNET's detections of a recorder-day.

In: the recordings of the day (``inventory/recordings.parquet``) and their samples. Out:
``birdnet/{recorder}/{date}.parquet`` with one row per detection (recorder, date, recording, offset,
time, species, common_name, confidence), sorted by recording (in the order of the day), offset and
falling confidence; BirdNET's own embeddings of all windows beside it, if asked for; and the
receipt.

BirdNET's windows are 3 s at multiples of 3 s (less ``birdnet.overlap``), whatever the spectrograms'
windows are; which of them speaks for a window of ours is in :mod:`dawnchorus.birdnet.overlap`. What
is shorter than ``birdnet.least_seconds`` at a recording's end is no window.

Memory is bounded by a few blocks of windows: embeddings wait in a temporary file until the number
of the day's windows is known.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date as calendar_date
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.birdnet import model as birdnet_model
from dawnchorus.birdnet.detections import (
    NO_PLACE,
    Batch,
    Detections,
    Heard,
    filter_line,
    frame_of,
    keep,
    parquet_note,
    reason_of,
    verdict_of,
    window_table,
)
from dawnchorus.birdnet.model import BirdNetModel, Listener, confidence, week_of
from dawnchorus.config import BirdNet, Settings
from dawnchorus.progress import counting
from dawnchorus.recordings.audio import AudioFault, windows, windows_in
from dawnchorus.recordings.inventory import recordings_of_day
from dawnchorus.recordings.table import Recording
from dawnchorus.results import (
    PARTIAL,
    SET_ASIDE,
    UNDATED,
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


def label_day(
    settings: Settings, results: Results, day: RecorderDay, workers: int = 1
) -> dict[str, Any]:
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
        The receipt. Its verdict is ``set aside`` (and neither detections nor embeddings exist) if
        no window could be read, ``partial`` if some recording broke off.

    Raises
    ------
    DawnChorusError
        If BirdNET or the inventory is missing.
    """
    model = BirdNetModel.find()
    heard = [Heard(recording) for recording in recordings_of_day(results.recordings, day)]
    detections = Detections()
    offsets: list[NDArray[np.int64]] = []
    masks = _species_masks(model, settings.birdnet, heard)

    results.detections(day).parent.mkdir(parents=True, exist_ok=True)
    expected = sum(
        windows_in(one.recording.frames, one.recording.sample_rate, **_grid(settings.birdnet))
        for one in heard
    )
    with (
        tempfile.TemporaryFile(prefix=".birdnet.", dir=results.detections(day).parent) as spool,
        counting(f"birdnet {day}", expected, "windows") as advance,
    ):
        for batch, logits, embeddings in _listened(settings, model, heard, workers):
            score = confidence(logits, settings.birdnet.sensitivity)
            mask = masks[batch.recording]
            if mask is not None:
                score = np.where(mask, score, np.float32(0))
            keep(detections, batch, score, settings.birdnet)
            offsets.append(batch.offsets)
            heard[batch.recording].windows += len(batch.offsets)
            if settings.birdnet.embeddings:
                spool.write(np.ascontiguousarray(embeddings, dtype="<f4").data)
            advance(len(batch.offsets))
        table = window_table(heard, offsets)
        return _publish(settings, results, day, model, heard, detections, table, spool)


def _grid(parameters: BirdNet) -> dict[str, float]:
    """Return where BirdNET's windows lie, as :func:`~dawnchorus.recordings.audio.windows` takes it."""
    return {
        "window_seconds": birdnet_model.WINDOW_SECONDS,
        "overlap_seconds": parameters.overlap,
        "least_seconds": parameters.least_seconds,
    }


def _place_of(recording: Recording, parameters: BirdNet) -> tuple[float, float] | None:
    """Return latitude and longitude: the deployment's, else the configuration's, else None."""
    for latitude, longitude in (
        (recording.latitude, recording.longitude),
        (parameters.latitude, parameters.longitude),
    ):
        if latitude is not None and longitude is not None:
            return latitude, longitude
    return None


def _week_of(one: Heard, parameters: BirdNet) -> int | None:
    """Return BirdNET's week: the configuration's, else the recording's, else None."""
    if parameters.week is not None:
        return parameters.week
    date = one.recording.date
    return None if date in (None, UNDATED) else week_of(calendar_date.fromisoformat(str(date)))


def _species_masks(
    model: BirdNetModel, parameters: BirdNet, heard: list[Heard]
) -> list[NDArray[np.bool_] | None]:
    """Return the expected species of each recording; None where the list is not applied."""
    known: dict[tuple[float, float, int], NDArray[np.bool_]] = {}
    masks: list[NDArray[np.bool_] | None] = []
    for one in heard:
        mask = None
        if not parameters.use_place:
            masks.append(None)
            continue
        place, week = _place_of(one.recording, parameters), _week_of(one, parameters)
        if place is None or week is None:
            one.species_filter = NO_PLACE
        else:
            if (*place, week) not in known:
                known[*place, week] = model.expected(*place, week)
            mask = known[*place, week]
            when = "whole year" if week < 0 else f"week {week}"
            one.species_filter = (
                f"{when} at {place[0]:.4f}, {place[1]:.4f}: {int(mask.sum())} species"
            )
        masks.append(mask)
    return masks


def _batches(settings: Settings, heard: list[Heard]) -> Iterator[Batch]:
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
                **_grid(settings.birdnet),
                channel=settings.audio.channel,
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
                    yield Batch(number, block.offsets[part], block.samples[part])
        except AudioFault as fault:
            one.verdict = PARTIAL if found else SET_ASIDE
            one.reason = f"{fault.code} {fault.reason}"
        if broken:
            note = f"{broken} windows hold samples that are no numbers, heard as silence"
            one.verdict = PARTIAL
            one.reason = f"{one.reason}; {note}" if one.reason else note
        one.xxh3 = hasher.hexdigest()


def _listened(
    settings: Settings, model: BirdNetModel, heard: list[Heard], workers: int
) -> Iterator[tuple[Batch, NDArray[np.float32], NDArray[np.float32]]]:
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

    waiting: deque[tuple[Batch, Future[tuple[NDArray[np.float32], NDArray[np.float32]]]]] = deque()
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


def _publish(
    settings: Settings,
    results: Results,
    day: RecorderDay,
    model: BirdNetModel,
    heard: list[Heard],
    detections: Detections,
    table: WindowTable,
    spool: IO[bytes],
) -> dict[str, Any]:
    """Write detections, embeddings and receipt; return the receipt."""
    parameters = {
        **settings.birdnet.model_dump(exclude={"batch_size"}),
        "sample_rate": birdnet_model.SAMPLE_RATE,
        "window_seconds": birdnet_model.WINDOW_SECONDS,
        "channel": settings.audio.channel,
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
        frame = frame_of(day, model, heard, detections)
        with publishing(results.detections(day)) as partial:
            frame.write_parquet(partial, metadata=parquet_note(settings.birdnet))
        if settings.birdnet.embeddings:
            content = write_vectors(
                results.birdnet_embeddings(day),
                _spooled(spool, len(table)),
                dimension=birdnet_model.EMBEDDING_DIMENSION,
                windows=table,
                attributes={
                    **birdnet_model.OF_BIRDNET,
                    "model_fingerprint": model_entry["fingerprint"],
                    "window_seconds": birdnet_model.WINDOW_SECONDS,
                    "overlap_seconds": settings.birdnet.overlap,
                    "sample_rate": birdnet_model.SAMPLE_RATE,
                    "version": __version__,
                },
            )
        else:
            withdraw(results.birdnet_embeddings(day))
    receipt = {
        "verdict": verdict_of(heard, len(table)),
        "reason": reason_of(heard, len(table)),
        "recorder": day.recorder,
        "date": day.date,
        "windows": len(table),
        "detections": len(detections),
        "recordings": [one.entry() for one in heard],
        "species_filter": filter_line(settings.birdnet, heard),
        "model": model_entry,
        "licence": birdnet_model.LICENCE,
        "parameters": parameters,
        "embeddings": content,
        "fingerprint": fingerprint(
            [
                model_entry["fingerprint"],
                parameters,
                [one.entry() for one in heard],
                detections.digest(),
                content,
            ]
        ),
        "version": __version__,
    }
    write_receipt(results.detections_receipt(day), receipt)
    return receipt


def _spooled(spool: IO[bytes], count: int) -> Iterator[NDArray[np.float32]]:
    width = birdnet_model.EMBEDDING_DIMENSION
    spool.seek(0)
    for start in range(0, count, SPOOL_WINDOWS):
        rows = min(SPOOL_WINDOWS, count - start)
        yield np.frombuffer(spool.read(rows * width * 4), dtype="<f4").reshape(rows, width)
