"""What can be had from an audio file: its header, compared with its bytes.

In: one file on a card. Out: a :class:`Sound` with the frames that can be read and what is wrong
nevertheless, or an :class:`AudioFault` if there is nothing to be had.

libsndfile decodes, but is not believed where it is too kind: it reads truncated files without a word,
and takes a header that denies its samples at its word.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from dawnchorus.recordings.faults import FAULTS
from dawnchorus.recordings.headers import FLOAT, PCM, Riff, read_riff

DECODED_AT_ONCE = 1 << 18
"""Samples (of all channels) decoded at once where frames are counted or compared: libsndfile clears what it
cannot fill, so that a header with a thousand channels must not ask for a gigabyte."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PREALLOCATED = 44
"""Bytes of samples that a pre-allocated file of a Frontier Labs recorder claims (FL003)."""
MUCH = 4096
"""Bytes behind the samples that are more than a writer's untidiness, if no chunk explains them."""
SEARCHED_AT_ONCE = 1 << 20
"""Bytes read at once where the end of the samples is looked for."""

SLOWEST, FASTEST = 100, 1_000_000
"""Hertz; the header of a bat recorder says 500,000, a broken one anything: memory must not follow it."""

MOST_CHANNELS = 1024
"""libsndfile reads no more."""

KNOWN_CHUNKS = frozenset(
    (
        "LIST",
        "guan",
        "wamd",
        "id3 ",
        "ID3 ",
        "bext",
        "iXML",
        "fact",
        "cue ",
        "smpl",
        "PEAK",
        "JUNK",
        "FLLR",
    )
)
"""What may follow the samples; four other letters are as likely samples that happen to be letters."""

UNKNOWN_FRAMES = 1 << 60
"""libsndfile's count for a FLAC stream whose header does not say how long it is begins far above."""


class AudioFault(Exception):  # noqa: N818 - a fault of the file, not of the program
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
        What is wrong although frames can be read: ``DC001``, ``FL003``, ``FL005``, ``FL010``, ``FL012`` or
        ``DC018``.
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
        lying = _salvaged(path, riff)
        if lying is not None:
            return lying
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate, channels = file.frames, file.samplerate, file.channels
            name = f"{file.format} {file.subtype}"
            counted = _counted(file) if file.format == "FLAC" else None
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise _undecodable(path, size, riff, error) from None
    if not SLOWEST <= rate <= FASTEST:
        raise AudioFault("DC005", f"a sample rate of {rate:,} Hz is beyond reason")
    promised, fault = _promise(riff, frames)
    if counted is not None:
        promised, frames, fault = frames, counted, _of_flac(frames, counted)
        if fault is not None and FAULTS[fault[0]].status == "ok":
            promised = frames  # nothing is missing
    if frames <= 0:
        raise AudioFault("FL001", f"{size:,} bytes, header promises {max(promised, 0):,} frames")
    return Sound(frames, promised, rate, channels, name, fault=fault, riff=riff)


class Stream(soundfile.SoundFile):
    """A sound file read from front to back.

    soundfile seeks to where it already is after every read of a seekable file, which in FLAC decodes
    anew, and fails at the very end of a damaged file.
    """

    def seekable(self) -> bool:
        """Say no, whatever the file."""
        return False


def _counted(file: soundfile.SoundFile) -> int | None:
    """Frames of a FLAC file by decoding it, if its header cannot be true; None: it can be.

    The size of compressed sound says nothing of its length, but the last frame can be asked for.
    """
    if 0 < file.frames < UNKNOWN_FRAMES and _has_frame(file, file.frames - 1):
        return None
    return decodable_frames(Path(file.name))


def decodable_frames(path: Path) -> int:
    """Count the frames that can be decoded before a compressed file ends or breaks.

    A failing read does not tell how far it came, so that the file is read again in smaller steps from
    where the last step failed: exact, and only damaged files pay for it.
    """
    good = 0
    for most in (DECODED_AT_ONCE, 1024, 1):
        with Stream(path) as file:
            step = max(1, most // file.channels)
            if not skip(file, good):
                return good
            try:
                while count := len(file.read(step, dtype="int16")):
                    good += count
            except (soundfile.LibsndfileError, RuntimeError):
                continue
            return good
    return good


def skip(file: soundfile.SoundFile, frames: int) -> bool:
    """Decode and drop so many frames; False if the file ends or breaks before (it has changed)."""
    step = max(1, DECODED_AT_ONCE // file.channels)
    try:
        while frames and (count := len(file.read(min(frames, step), dtype="int16"))):
            frames -= count
    except (soundfile.LibsndfileError, RuntimeError):
        return False
    return frames == 0


def _has_frame(file: soundfile.SoundFile, frame: int) -> bool:
    try:
        file.seek(frame)
        return len(file.read(1, dtype="int16")) == 1
    except (soundfile.LibsndfileError, RuntimeError):
        return False


def _of_flac(promised: int, counted: int) -> tuple[str, str] | None:
    if promised <= counted or promised >= UNKNOWN_FRAMES:
        return None
    if promised == 2 * counted:
        return "FL010", f"{counted:,} frames found"
    return "DC001", f"{promised - counted:,} of {promised:,} frames are missing"


def _promise(riff: Riff | None, frames: int) -> tuple[int, tuple[str, str] | None]:
    """Frames that the header promises, and the fault if the file does not keep it."""
    if riff is None or riff.data_offset is None:
        return frames, None
    missing = riff.promised_bytes - riff.bytes_on_disk
    if missing <= 0:
        return frames, None
    if missing == riff.data_offset and riff.is_linear:
        # The header itself was counted as sound; the samples are complete.
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


def _salvaged(path: Path, riff: Riff) -> Sound | None:
    """Find samples that a WAVE file's header denies: FL012 (size 0), FL003 (size 44), DC018 (too small).

    Space that was reserved but not written is not taken for silence: samples end at the last byte that is
    not zero.
    """
    subtype = _LINEAR.get((riff.format_tag, riff.bits))
    if riff.data_offset is None or subtype is None or not 1 <= riff.channels <= MOST_CHANNELS:
        return None
    if not SLOWEST <= riff.sample_rate <= FASTEST or _is_explained(riff):
        return None
    end = _end_of_content(path, max(riff.data_end, riff.data_offset))
    is_blank = riff.promised_bytes in (0, PREALLOCATED)
    if end <= riff.data_end:
        if is_blank:
            raise AudioFault("FL003", f"{riff.file_bytes - riff.data_offset:,} bytes of zeros")
        return None  # the samples are where the header says; zeros fill the file up
    frames = -(-(end - riff.data_offset) // riff.frame_bytes)
    frames = min(frames, (riff.file_bytes - riff.data_offset) // riff.frame_bytes)
    if frames == 0:
        return None  # less than one: whatever it is, it is not sound
    zeros = riff.file_bytes - riff.data_offset - frames * riff.frame_bytes
    found = f"{frames:,} frames found"
    if riff.promised_bytes == PREALLOCATED or (is_blank and zeros >= MUCH):
        fault = ("FL003", f"{found}, then {zeros:,} bytes of zeros")
    elif is_blank:
        fault = ("FL012", found)
    else:
        fault = ("DC018", f"{found}, {riff.promised_bytes // riff.frame_bytes:,} promised")
    return Sound(
        frames,
        frames,
        riff.sample_rate,
        riff.channels,
        f"WAV {subtype}",
        fault=fault,
        raw=(riff.data_offset, frames * riff.frame_bytes),
        riff=riff,
    )


def _is_explained(riff: Riff) -> bool:
    """Tell whether chunks account for the bytes behind the samples (or there are hardly any)."""
    behind = riff.file_bytes - riff.data_end
    after = riff.chunks[riff.chunks.index("data") + 1 :]
    if riff.promised_bytes in (0, PREALLOCATED):
        # Honest, if metadata follow an empty or tiny data chunk.
        return behind + riff.promised_bytes <= 2 * PREALLOCATED or bool(
            after and after[0] in KNOWN_CHUNKS
        )
    if behind <= MUCH:
        return True
    return bool(after) and (
        after[0] in KNOWN_CHUNKS or riff.file_bytes <= riff.walked <= riff.file_bytes + 1
    )


def _end_of_content(path: Path, start: int) -> int:
    """Return the byte behind the last one that is not zero; ``start`` if there is none from there on."""
    with path.open("rb", buffering=0) as handle:
        end = handle.seek(0, io.SEEK_END)
        while end > start:
            begin = max(start, end - SEARCHED_AT_ONCE)
            handle.seek(begin)
            kept = handle.read(end - begin).rstrip(b"\0")
            if kept:
                return begin + len(kept)
            end = begin
    return start


def _is_zero(path: Path, start: int = 0, spots: int = 64, span: int = 4096) -> bool:
    """Tell whether a file holds only zero bytes from ``start`` on, by evenly spread spots."""
    with path.open("rb", buffering=0) as handle:
        size = handle.seek(0, io.SEEK_END)
        for spot in sorted(
            {*np.linspace(start, max(start, size - span), spots).astype(int).tolist()}
        ):
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
    if riff is None and _is_noise(head):
        return AudioFault("WA004", f"{size:,} bytes")
    return AudioFault("DC005", getattr(error, "error_string", str(error)))


def _is_noise(head: bytes) -> bool:
    """Tell whether bytes look random: 4 KiB that need more than 7.5 bits per byte (text: under 6)."""
    if len(head) < 1024:
        return False
    counts = np.bincount(np.frombuffer(head, np.uint8), minlength=256)
    share = counts[counts > 0] / len(head)
    return float(-(share * np.log2(share)).sum()) > 7.5
