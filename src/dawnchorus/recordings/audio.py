"""The samples of a recording, as windows.

In: one file on a card. Out: its windows as blocks of float32 at the asked sample rate, read as a
stream, so that memory depends on the block and never on the file; or an :class:`AudioFault` that says
why there is no more.

The file's header is not believed: it is compared with the bytes on disk (libsndfile reads some
truncated files without a word), and the good samples are handed out before the fault is raised.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dawnchorus.recordings.faults import FAULTS
from dawnchorus.recordings.sound import (
    UNKNOWN_FRAMES,
    AudioFault,
    Sound,
    Stream,
    decodable_frames,
    inspect,
    skip,
)

__all__ = ["AudioFault", "Hasher", "Sound", "WindowBlock", "inspect", "windows"]

PIECE = 1 << 18
"""Samples read at once: 512 KiB of 16-bit mono, so that converting finds them in the cache."""


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
    samples : ndarray of float32, shape (n, round(window_seconds * sample_rate))
        First channel; full scale is 1.0.
    """

    offsets: NDArray[np.int64]
    samples: NDArray[np.float32]


class _Stretch(io.RawIOBase):
    """A stretch of a file as a file of its own, for libsndfile to read as headerless samples."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        self._handle = path.open("rb")
        self._start, self._length, self._position = start, length, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._handle.seek(self._start + self._position)
        view = memoryview(buffer)[: max(0, self._length - self._position)]
        count = self._handle.readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        self._handle.close()
        super().close()


class _Reader:
    """First channel of a recording as float32, frame by frame, with a note where it breaks off."""

    def __init__(self, path: Path, sound: Sound, hasher: Hasher | None) -> None:
        self.sound, self.frames_read = sound, 0
        self.fault: AudioFault | None = None
        self._hasher = hasher
        self._stretch: _Stretch | None = None
        self._path = path
        # Behind the good frames of a damaged file, reading fails.
        self._most = sound.frames if sound.fault is not None else UNKNOWN_FRAMES
        self._file = self._open()
        # 16-bit samples are read and hashed as they are; everything else as float32.
        self._whole = sound.subtype == "PCM_16"
        self._piece = np.empty(
            (max(1, PIECE // sound.channels), sound.channels),
            np.int16 if self._whole else np.float32,
        )

    def _open(self) -> Stream:
        sound = self.sound
        try:
            if sound.raw is None:
                return Stream(self._path)
            self._stretch = _Stretch(self._path, *sound.raw)
            return Stream(
                self._stretch,
                samplerate=sound.sample_rate,
                channels=sound.channels,
                format="RAW",
                subtype=sound.subtype,
                endian="LITTLE",
            )
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFault("DC006", str(error)) from None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._stretch is not None:
            self._stretch.close()

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
            if self._whole:
                np.multiply(piece[:count, 0], np.float32(1 / 32768), out=target)
            else:
                target[:] = piece[:count, 0]
            filled += count
            self.frames_read += count
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
        self._file.close()
        self._file = self._open()
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
    sample_rate: int,
    window_seconds: float,
    block_windows: int = 16,
    hasher: Hasher | None = None,
) -> Iterator[WindowBlock]:
    """Yield the windows of a recording, in order, a block at a time.

    Windows lie at multiples of ``round(window_seconds * native rate)`` samples and exist only if they
    fit wholly in the recording; the last exact fit counts. Where the native rate differs, the recording
    is resampled as one stream (soxr HQ, linear phase, delay compensated): sample ``i`` of the
    output lies at ``i / sample_rate`` seconds, and a window begins at the output sample nearest to its
    offset.

    Parameters
    ----------
    path : Path
        The recording.
    sample_rate : int
        Hertz of the samples handed out.
    window_seconds : float
        Length of a window in seconds.
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
    with _Reader(path, sound, hasher) as reader:
        if sound.sample_rate == sample_rate:
            yield from _native_windows(reader, round(window_seconds * sample_rate), block_windows)
        else:
            yield from _resampled_windows(reader, sample_rate, window_seconds, block_windows)
        reader.check_end()


def _native_windows(reader: _Reader, length: int, block_windows: int) -> Iterator[WindowBlock]:
    first = 0
    left = max(1, reader.sound.frames // length)
    full = True
    while full:
        # A short recording gets a short block; the length may be an estimate, so never none.
        count = min(block_windows, max(1, left - first))
        samples = np.empty((count, length), np.float32)
        whole = reader.read_into(samples.reshape(-1)) // length
        full = whole == count
        if whole:
            offsets = np.arange(first, first + whole, dtype=np.int64) * length
            yield WindowBlock(offsets, samples[:whole])
        first += whole


def _resampled_windows(
    reader: _Reader, sample_rate: int, window_seconds: float, block_windows: int
) -> Iterator[WindowBlock]:
    native_rate = reader.sound.sample_rate
    native_length, length = round(window_seconds * native_rate), round(window_seconds * sample_rate)
    stream = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")

    def start(window: int) -> int:
        """Output sample nearest to the window's offset (integers: exact however long the file)."""
        return (2 * window * native_length * sample_rate + native_rate) // (2 * native_rate)

    native = np.empty(native_length, np.float32)  # small pieces stay in the cache
    stock = np.empty(0, np.float32)  # resampled, not yet handed out
    fresh: list[NDArray[np.float32]] = []
    stock_start = first = 0
    ended = False
    while not ended:
        count = reader.read_into(native)
        ended = count < len(native)
        if ended:
            # Zeros behind the end, as the filter assumes there anyway: rounding must not cost the
            # last window a sample.
            tail = np.zeros(2 + 2 * -(-native_rate // sample_rate), np.float32)
            fresh.append(stream.resample_chunk(np.concatenate([native[:count], tail]), last=True))
        else:
            fresh.append(stream.resample_chunk(native))
        fitting = reader.frames_read // native_length
        if not ended and fitting < first + block_windows + 1:
            continue
        stock = np.concatenate([stock, *fresh])
        fresh.clear()
        last = first
        while last < fitting and start(last) + length <= stock_start + len(stock):
            last += 1
        for begin in range(first, last, block_windows):
            numbers = np.arange(begin, min(last, begin + block_windows), dtype=np.int64)
            starts = [start(int(number)) - stock_start for number in numbers]
            block = np.stack([stock[at : at + length] for at in starts])
            yield WindowBlock(numbers * native_length, block)
        cut = min(start(last) - stock_start, len(stock))
        stock, stock_start, first = stock[cut:], stock_start + cut, last
