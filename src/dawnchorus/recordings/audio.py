"""The samples of a recording, as windows.

In: one file on a card. Out: its windows as blocks of float32 at the asked sample rate (or at their own), of
one channel or the mean of all, read as a stream, so that memory depends on the block and never on the
file; or an :class:`AudioFault` that says why there is no more.

The file's header is not believed: it is compared with the bytes on disk (libsndfile reads some
truncated files without a word), and the good samples are handed out before the fault is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dawnchorus.recordings.faults import FAULTS
from dawnchorus.recordings.samples import ReadAhead, opened
from dawnchorus.recordings.sound import (
    UNKNOWN_FRAMES,
    AudioFault,
    Sound,
    decodable_frames,
    inspect,
    skip,
)

__all__ = [
    "AudioFault",
    "Channel",
    "Hasher",
    "Sound",
    "WindowBlock",
    "covered",
    "inspect",
    "windows",
    "windows_in",
]

PIECE = 1 << 18
"""Samples read at once: 512 KiB of 16-bit mono, so that converting finds them in the cache."""

Channel = int | Literal["mix"]
"""Which channel is heard, counted from 0, or the mean of all; of mono recordings the only one."""


class Hasher(Protocol):
    """Anything with the interface of ``xxhash.xxh3_128()``."""

    def update(self, data: Any) -> None:
        """Take in more bytes."""


@dataclass(frozen=True)
class WindowBlock:
    """Consecutive windows of a recording.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n,)
        First sample of each window, counted at the file's native sample rate.
    samples : ndarray of float32, shape (n, samples per window)
        Full scale is 1.0.
    """

    offsets: NDArray[np.int64]
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class _Grid:
    """Where windows lie: ``length`` samples from every multiple of ``step``, at the file's own rate.

    Of the last ones, ``least`` samples must lie within the recording.
    """

    length: int
    step: int
    least: int

    @classmethod
    def of(
        cls,
        window_seconds: float,
        overlap_seconds: float,
        rate: int,
        least_seconds: float | None = None,
    ) -> _Grid:
        length = round(window_seconds * rate)
        least = length if least_seconds is None else round(least_seconds * rate)
        # (At a low rate, an overlap may round to the whole window.)
        step = max(1, length - round(overlap_seconds * rate))
        return cls(length, step, min(max(1, least), length))

    def fitting(self, frames: int) -> int:
        """Windows that so many frames hold (the last ones only ``least`` of theirs)."""
        return 0 if frames < self.least else (frames - self.least) // self.step + 1


def windows_in(
    frames: int,
    sample_rate: int,
    window_seconds: float,
    overlap_seconds: float = 0.0,
    least_seconds: float | None = None,
) -> int:
    """Return how many windows a recording of so many frames holds."""
    if not sample_rate:
        return 0
    return _Grid.of(window_seconds, overlap_seconds, sample_rate, least_seconds).fitting(frames)


def covered(
    windows: int, sample_rate: int, window_seconds: float, overlap_seconds: float = 0.0
) -> int:
    """Return how many frames, from the first on, lie in at least one of so many windows."""
    if not windows:
        return 0
    grid = _Grid.of(window_seconds, overlap_seconds, sample_rate)
    return (windows - 1) * grid.step + grid.length


class _Reader:
    """One channel of a recording as float32, frame by frame, with a note where it breaks off."""

    def __init__(
        self, path: Path, sound: Sound, hasher: Hasher | None, channel: Channel = 0
    ) -> None:
        self.sound, self.frames_read = sound, 0
        self.fault: AudioFault | None = None
        self._hasher = hasher
        self._path = path
        self._channel: Channel = channel if sound.channels > 1 else 0
        if isinstance(channel, int) and 1 < sound.channels <= channel:
            raise AudioFault("DC015", f"it has {sound.channels}")
        # Behind the good frames of a damaged file, reading fails.
        self._most = sound.frames if sound.fault is not None else UNKNOWN_FRAMES
        self._open_file = ExitStack()
        self._file = self._open_file.enter_context(opened(path, sound))
        self._ahead = ReadAhead(path)
        # 16-bit samples are read and hashed as they are; everything else as float32.
        self._whole = sound.subtype == "PCM_16"
        self._piece = np.empty(
            (max(1, PIECE // sound.channels), sound.channels),
            np.int16 if self._whole else np.float32,
        )

    def __enter__(self) -> _Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open_file.close()
        self._ahead.close()

    def read_into(self, out: NDArray[np.float32]) -> int:
        """Fill ``out`` as far as there are samples; return how many."""
        filled = 0
        while filled < len(out):
            piece = self._piece[
                : min(len(self._piece), len(out) - filled, self._most - self.frames_read)
            ]
            count = self._read(piece) if len(piece) else 0
            if count == 0:
                break
            if self._hasher is not None:
                self._hasher.update(piece[:count])
            target = out[filled : filled + count]
            if self._channel == "mix":
                # The mean in float64: a sum of loud channels does not clip.
                target[:] = piece[:count].mean(axis=1) * (1 / 32768 if self._whole else 1.0)
            elif self._whole:
                np.multiply(piece[:count, self._channel], np.float32(1 / 32768), out=target)
            else:
                target[:] = piece[:count, self._channel]
            filled += count
            self.frames_read += count
            # The same for compressed sound, near enough: it takes its bytes evenly.
            share = self.frames_read / max(1, self.sound.frames)
            self._ahead.reached(int(share * self._ahead.size))
        return filled

    def _read(self, piece: NDArray[Any]) -> int:
        try:
            return len(self._file.read(out=piece))
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            if self.fault is not None:
                return 0
            self.fault = AudioFault("DC007", getattr(error, "error_string", str(error)))
        # The failed read does not say how far it came: find out, and go there again.
        self._most = decodable_frames(self._path)
        self._open_file.close()
        self._file = self._open_file.enter_context(opened(self._path, self.sound))
        left = piece[: max(0, self._most - self.frames_read)]
        if len(left) == 0 or not skip(self._file, self.frames_read):
            return 0
        return len(self._file.read(out=left))

    def check_end(self) -> None:
        """Raise what is wrong with the recording, now that all its samples are out."""
        if self.fault is not None:
            raise self.fault
        if self.sound.fault is not None and FAULTS[self.sound.fault[0]].status != "ok":
            raise AudioFault(*self.sound.fault)
        missing = self.sound.frames - self.frames_read
        # An MP3's length is an estimate: only its decoder knows.
        if missing > 0 and not self.sound.format.startswith("MP3"):
            raise AudioFault("DC007", f"{missing:,} of {self.sound.frames:,} frames are missing")


def windows(
    path: Path,
    *,
    sample_rate: int | None,
    window_seconds: float,
    overlap_seconds: float = 0.0,
    least_seconds: float | None = None,
    channel: Channel = 0,
    block_windows: int = 16,
    hasher: Hasher | None = None,
) -> Iterator[WindowBlock]:
    """Yield the windows of a recording, in order, a block at a time.

    Windows are ``round(window_seconds * native rate)`` samples long, begin that less
    ``round(overlap_seconds * native rate)`` samples after the one before, and exist only if they fit
    wholly in the recording; the last exact fit counts (``least_seconds`` lets shorter ones be). Where the native rate differs, the recording is
    resampled as one stream (soxr HQ, linear phase, delay compensated): sample ``i`` of the output lies at
    ``i / sample_rate`` seconds, and a window begins at the output sample nearest to its offset.

    Parameters
    ----------
    path : Path
        The recording.
    sample_rate : int or None
        Hertz of the samples handed out; None: the recording's own.
    window_seconds : float
        Length of a window in seconds.
    overlap_seconds : float
        What a window has in common with the next one, less than its length.
    least_seconds : float or None
        Seconds of a window that must lie within the recording; what is missing at its end is silence
        (zeros). None: all.
    channel : int or "mix"
        Which channel is handed out, from 0, or the mean of all; a mono recording has only one.
    block_windows : int
        Most windows per block.
    hasher : optional
        Updated with all samples of all channels in their native order, as int16 for 16-bit PCM and as
        float32 otherwise; also with those behind the last window.

    Yields
    ------
    WindowBlock
        1 to ``block_windows`` windows.

    Raises
    ------
    AudioFault
        At once if nothing can be read; at the end if the file ends before its header says or breaks
        while being decoded. Windows already yielded stand.
    """
    sound = inspect(path)
    grid = _Grid.of(window_seconds, overlap_seconds, sound.sample_rate, least_seconds)
    with _Reader(path, sound, hasher, channel) as reader:
        if sample_rate in (None, sound.sample_rate):
            yield from _native_windows(reader, grid, block_windows)
        else:
            length = round(window_seconds * sample_rate)
            yield from _resampled_windows(reader, sample_rate, length, grid, block_windows)
        reader.check_end()


def _native_windows(reader: _Reader, grid: _Grid, block_windows: int) -> Iterator[WindowBlock]:
    first = 0
    left = max(1, grid.fitting(reader.sound.frames))
    common = grid.length - grid.step
    tail = np.empty(0, np.float32)  # what the last window has in common with the next
    while True:
        # A short recording gets a short block; the length may be an estimate, so never none.
        count = min(block_windows, max(1, left - first))
        stretch = np.empty((count - 1) * grid.step + grid.length, np.float32)
        stretch[: len(tail)] = tail
        read = len(tail) + reader.read_into(stretch[len(tail) :])
        stretch[read:] = 0.0
        whole = min(count, grid.fitting(read))
        if whole:
            offsets = np.arange(first, first + whole, dtype=np.int64) * grid.step
            if common:
                views = np.lib.stride_tricks.sliding_window_view(stretch, grid.length)
                samples = np.ascontiguousarray(views[:: grid.step][:whole])
            else:
                samples = stretch[: whole * grid.length].reshape(whole, grid.length)
            yield WindowBlock(offsets, samples)
        if whole < count:
            return
        first += whole
        tail = stretch[whole * grid.step : read].copy() if common else tail


def _resampled_windows(
    reader: _Reader, sample_rate: int, length: int, grid: _Grid, block_windows: int
) -> Iterator[WindowBlock]:
    native_rate = reader.sound.sample_rate
    stream = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")

    def start(window: int) -> int:
        """Output sample nearest to the window's offset (integers: exact however long the file)."""
        return (2 * window * grid.step * sample_rate + native_rate) // (2 * native_rate)

    native = np.empty(grid.length, np.float32)  # small pieces stay in the cache
    stock = np.empty(0, np.float32)  # resampled, not yet handed out
    fresh: list[NDArray[np.float32]] = []
    stock_start = first = 0
    ended = False
    while not ended:
        count = reader.read_into(native)
        ended = count < len(native)
        if ended:
            # Zeros behind the end, as the filter assumes there anyway: rounding must not cost the
            # last window a sample, and a window that is not whole is filled with them.
            tail = np.zeros(2 + 2 * -(-native_rate // sample_rate), np.float32)
            fresh.append(stream.resample_chunk(np.concatenate([native[:count], tail]), last=True))
            fresh.append(np.zeros(length if grid.least < grid.length else 0, np.float32))
        else:
            fresh.append(stream.resample_chunk(native))
        fitting = grid.fitting(reader.frames_read)
        if not ended and fitting < first + block_windows + 1:
            continue
        stock = np.concatenate([stock, *fresh])
        fresh.clear()
        last = first
        while last < fitting and start(last) + length <= stock_start + len(stock):
            last += 1
        if not ended:  # whole blocks, as long as there is more to come
            last -= (last - first) % block_windows
        for begin in range(first, last, block_windows):
            numbers = np.arange(begin, min(last, begin + block_windows), dtype=np.int64)
            starts = [start(int(number)) - stock_start for number in numbers]
            block = np.stack([stock[at : at + length] for at in starts])
            yield WindowBlock(numbers * grid.step, block)
        cut = min(start(last) - stock_start, len(stock))
        stock, stock_start, first = stock[cut:], stock_start + cut, last
