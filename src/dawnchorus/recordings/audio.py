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
from dawnchorus.recordings.headers import FLOAT, PCM, Riff, read_riff

PIECE = 1 << 17
"""Frames read at once: 256 KiB of 16-bit mono, so that converting finds them in the cache."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PREALLOCATED = 44
"""Bytes of samples that a pre-allocated file of a Frontier Labs recorder claims (FL003)."""


class AudioFault(Exception):
    """A file cannot be read, or not any further.

    Attributes
    ----------
    code : str
        Key of :data:`~dawnchorus.recordings.faults.FAULTS`.
    reason : str
        What is wrong, in one line.
    """

    def __init__(self, code: str, particulars: str = "") -> None:
        self.code = code
        meaning = FAULTS[code].meaning
        self.reason = " ".join(f"{meaning}: {particulars}".split()) if particulars else meaning
        super().__init__(f"{code} {self.reason}")


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


@dataclass(frozen=True)
class Sound:
    """What can be had from a file, after comparing its header with its bytes.

    Attributes
    ----------
    frames : int
        Frames that can be read (good samples per channel).
    promised_frames : int
        Frames that the header promises.
    fault : tuple of (code, particulars) or None
        What is wrong although frames can be read: ``DC001``, ``FL005`` or ``FL012``.
    raw : tuple of (byte offset, bytes) or None
        Where the samples lie if the header must be passed over.
    """

    frames: int
    promised_frames: int
    sample_rate: int
    channels: int
    format: str
    """Container and encoding as libsndfile names them, for example ``WAV PCM_16``."""
    fault: tuple[str, str] | None = None
    raw: tuple[int, int] | None = None
    riff: Riff | None = None

    @property
    def subtype(self) -> str:
        """Encoding, for example ``PCM_16``."""
        return self.format.split(" ", 1)[1]


def inspect(path: Path) -> Sound:
    """Say what can be read from a file; reads the header only.

    Raises
    ------
    AudioFault
        If there is nothing to be had from the file.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise AudioFault("OE004")
        riff = read_riff(path)
    except OSError as error:
        raise AudioFault("DC006", error.strerror or type(error).__name__) from None
    if riff is not None:
        lying = _passed_over(path, riff)
        if lying is not None:
            return lying
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate, channels = file.frames, file.samplerate, file.channels
            name = f"{file.format} {file.subtype}"
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise _undecodable(path, size, riff, error) from None
    promised, fault = _promise(riff, frames)
    if frames <= 0 or rate <= 0:
        stub = "FL001" if promised <= 0 else "DC001"
        raise AudioFault(stub, f"{size:,} bytes, header promises {max(promised, 0):,} frames")
    return Sound(frames, promised, rate, channels, name, fault=fault, riff=riff)


def _promise(riff: Riff | None, frames: int) -> tuple[int, tuple[str, str] | None]:
    """Frames that the header promises, and the fault if the file does not keep it."""
    if riff is None or riff.data_offset is None:
        return frames, None
    missing = riff.promised_bytes - riff.bytes_on_disk
    if missing <= 0:
        return frames, None
    if missing == PREALLOCATED and riff.is_linear:
        # The header was counted as sound; the samples are complete.
        return frames, ("FL005", "")
    # Of compressed frames only the share is known.
    share = riff.promised_bytes / max(1, riff.bytes_on_disk)
    promised = (
        riff.promised_bytes // riff.frame_bytes if riff.is_linear else max(1, round(frames * share))
    )
    if promised <= frames:
        return frames, None
    lost = f"{promised - frames:,} of {promised:,} frames are missing"
    return promised, ("DC001", lost)


_LINEAR = {(PCM, 8): "PCM_U8", (PCM, 16): "PCM_16", (PCM, 24): "PCM_24", (PCM, 32): "PCM_32"} | {
    (FLOAT, 32): "FLOAT",
    (FLOAT, 64): "DOUBLE",
}


def _passed_over(path: Path, riff: Riff) -> Sound | None:
    """Salvage a WAVE file whose header denies samples that are there (FL012), or name FL003."""
    subtype = _LINEAR.get((riff.format_tag, riff.bits))
    if riff.data_offset is None or subtype is None or riff.channels == 0 or riff.sample_rate == 0:
        return None
    behind = riff.file_bytes - riff.data_offset
    if riff.promised_bytes not in (0, PREALLOCATED) or behind <= 2 * PREALLOCATED:
        return None
    if riff.chunks[-1] != "data":  # honest: other chunks follow an empty or tiny data chunk
        return None
    if _is_zero(path, riff.data_offset + riff.promised_bytes):
        raise AudioFault("FL003", f"{behind:,} bytes of zeros")
    if riff.promised_bytes == PREALLOCATED:
        return None
    frames = behind // riff.frame_bytes
    return Sound(
        frames,
        frames,
        riff.sample_rate,
        riff.channels,
        f"WAV {subtype}",
        fault=("FL012", f"{frames:,} frames found"),
        raw=(riff.data_offset, frames * riff.frame_bytes),
        riff=riff,
    )


def _is_zero(path: Path, start: int = 0, spots: int = 64, span: int = 4096) -> bool:
    """Tell whether a file holds only zero bytes from ``start`` on, by evenly spread spots."""
    with path.open("rb", buffering=0) as handle:
        size = handle.seek(0, io.SEEK_END)
        for spot in sorted({*np.linspace(start, max(start, size - span), spots).astype(int).tolist()}):
            handle.seek(spot)
            if handle.read(span).strip(b"\0"):
                return False
    return True


def _undecodable(path: Path, size: int, riff: Riff | None, error: Exception) -> AudioFault:
    """Name the reason why libsndfile refuses a file."""
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
        if head.startswith(LFS_POINTER):
            return AudioFault("DC002", "fetch it with 'git lfs pull'")
        if not head.strip(b"\0") and _is_zero(path):
            return AudioFault("OE005", f"{size:,} bytes")
    except OSError as failure:
        return AudioFault("DC006", failure.strerror or type(failure).__name__)
    if riff is not None and riff.bytes_on_disk == 0:
        return AudioFault("FL001", f"{size:,} bytes")
    if _is_noise(head):
        return AudioFault("WA004", f"{size:,} bytes")
    return AudioFault("DC005", getattr(error, "error_string", str(error)))


def _is_noise(head: bytes) -> bool:
    """Tell whether bytes look random: 4 KiB that need more than 7.5 bits per byte (text: under 6)."""
    if len(head) < 1024:
        return False
    counts = np.bincount(np.frombuffer(head, np.uint8), minlength=256)
    share = counts[counts > 0] / len(head)
    return float(-(share * np.log2(share)).sum()) > 7.5


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
        self.sound, self.frames_read, self.fault = sound, 0, None
        self.fault: AudioFault | None = None
        self._hasher = hasher
        self._stretch: _Stretch | None = None
        try:
            if sound.raw is None:
                self._file = soundfile.SoundFile(path)
            else:
                self._stretch = _Stretch(path, *sound.raw)
                self._file = soundfile.SoundFile(
                    self._stretch,
                    samplerate=sound.sample_rate,
                    channels=sound.channels,
                    format="RAW",
                    subtype=sound.subtype,
                    endian="LITTLE",
                )
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFault("DC006", str(error)) from None
        # 16-bit samples are read and hashed as they are; everything else as float32.
        self._whole = sound.subtype == "PCM_16"
        self._piece = np.empty((PIECE, sound.channels), np.int16 if self._whole else np.float32)

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
        while filled < len(out) and self.fault is None:
            piece = self._piece[: min(PIECE, len(out) - filled)]
            count = self._read(piece)
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
        self.frames_read += filled
        return filled

    def _read(self, piece: NDArray[Any]) -> int:
        try:
            return len(self._file.read(out=piece))
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            self.fault = AudioFault("DC007", getattr(error, "error_string", str(error)))
            return 0

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

    native = np.empty(native_length * block_windows, np.float32)
    stock = np.empty(0, np.float32)  # resampled, not yet handed out
    stock_start = first = 0
    ended = False
    while not ended:
        count = reader.read_into(native)
        ended = count < len(native)
        if ended:
            # Zeros behind the end, as the filter assumes there anyway: rounding must not cost the
            # last window a sample.
            tail = np.zeros(2 + 2 * -(-native_rate // sample_rate), np.float32)
            fresh = stream.resample_chunk(np.concatenate([native[:count], tail]), last=True)
        else:
            fresh = stream.resample_chunk(native)
        stock = np.concatenate([stock, fresh])
        fitting = reader.frames_read // native_length
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
