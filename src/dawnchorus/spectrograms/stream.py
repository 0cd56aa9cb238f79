"""The windows of a recorder-day, block by block, and what is computed from them.

In: the recordings of the day. Out: their windows in order, each block with its spectra and, if acoustic indices
are wanted, with those of its minute.

Blocks go to the workers (threads: the transforms and loops let go of the interpreter lock, and samples need not
be copied to another process; within a day, two are about 1.3 times as fast as one) and come back in order, so the result is the same with any number of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.recordings.audio import AudioFault, WindowBlock, windows
from dawnchorus.spectrograms.account import Source, started
from dawnchorus.spectrograms.indices import Minute, MinuteIndices, windows_per_minute
from dawnchorus.spectrograms.spectrograph import Spectra, Spectrograph

BLOCK_WINDOWS = 16
"""Windows handed to a worker at once: 8 MiB of samples. With indices it is a minute's."""
AHEAD = 3
"""Blocks per worker that are read before the first of them is done."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Task:
    """A block of windows and where it belongs.

    Attributes
    ----------
    source : int
        Number of its recording.
    spectrograph : Spectrograph
        For its rate.
    block : WindowBlock
    time : datetime64[us] (n,)
        UTC starts of the windows.
    """

    source: int
    spectrograph: Spectrograph
    block: WindowBlock
    time: NDArray[np.datetime64]


def computed(
    settings: Settings, sources: list[Source], workers: int = 1
) -> Iterator[tuple[Task, Spectra, Minute | None]]:
    """Read a day and compute it, in order; what is wrong with a recording is written into its source.

    Parameters
    ----------
    settings : Settings
    sources : list of Source
        The day's recordings.
    workers : int
        Threads.
    """
    spectrogram = settings.spectrogram
    if not settings.indices.enabled:

        def compute(task: Task) -> tuple[Task, Spectra, Minute | None]:
            return task, task.spectrograph(task.block.samples), None

        tasks = _tasks(settings, sources, BLOCK_WINDOWS)
    else:
        indices = MinuteIndices(settings.indices, spectrogram.sample_rate, spectrogram.n_fft)

        def compute(task: Task) -> tuple[Task, Spectra, Minute | None]:
            spectra, amplitudes, samples = task.spectrograph.with_amplitudes(task.block.samples)
            return task, spectra, indices(amplitudes, spectrogram.frames, samples)

        tasks = _tasks(settings, sources, windows_per_minute(spectrogram.window_seconds))
    yield from _in_order(compute, tasks, workers)


def _tasks(settings: Settings, sources: list[Source], block_windows: int) -> Iterator[Task]:
    """Read the day's recordings, block by block; a fault ends a recording, not the day."""
    spectrogram = settings.spectrogram
    keeps = spectrogram.other_rates == "keep"
    spectrographs: dict[int, Spectrograph] = {}
    for number, source in enumerate(sources):
        row = source.row
        rate = row.sample_rate if keeps else spectrogram.sample_rate
        if rate not in spectrographs:
            spectrographs[rate] = Spectrograph(spectrogram, rate)
        start = started(row)
        try:
            for block in windows(
                settings.audio.root / row.recording,
                sample_rate=None if keeps else rate,
                window_seconds=spectrogram.window_seconds,
                overlap_seconds=spectrogram.overlap_seconds,
                channel=settings.audio.channel,
                block_windows=block_windows,
                hasher=source.hasher,
            ):
                # Whole microseconds, in integers: exact however long the recording is.
                since = (2_000_000 * block.offsets + row.sample_rate) // (2 * row.sample_rate)
                time = start + since.astype("timedelta64[us]")
                yield Task(number, spectrographs[rate], block, time)
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
