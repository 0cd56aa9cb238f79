"""A stretch of a recording, sample for sample.

In: the cards, a recording of the inventory, the first frame and how many. Out: an :class:`Excerpt`, whose
WAV file holds the recording's own samples bit for bit (rate, channels and sample format stay as they
are), or a :class:`Clip` to listen to (16-bit PCM, first channel, context before and after).

Positions are frames at the recording's own rate, never seconds. The recording is only read.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.sound import AudioFault, Sound, Stream, inspect, skip

FULL_SCALE = 32_768

_LOSSLESS = {
    "PCM_S8": ("int16", "PCM_U8"),
    "PCM_U8": ("int16", "PCM_U8"),
    "PCM_16": ("int16", "PCM_16"),
    "PCM_24": ("int32", "PCM_24"),
    "PCM_32": ("int32", "PCM_32"),
    "FLOAT": ("float32", "FLOAT"),
    "DOUBLE": ("float64", "DOUBLE"),
    "ALAC_16": ("int16", "PCM_16"),
    "ALAC_20": ("int32", "PCM_24"),
    "ALAC_24": ("int32", "PCM_24"),
    "ALAC_32": ("int32", "PCM_32"),
}
"""Sample format of a recording: the numpy type that holds its samples exactly, the format of a WAV file that
does. libsndfile keeps 24 bits in the upper 24 of 32."""
_DECODED_TO_FLOAT = ("VORBIS", "OPUS", "MPEG")
"""Lossy formats that decode to fractions; the other lossy ones (mu-law, ADPCM ...) decode to 16 bits."""


class UnplayableError(DawnChorusError):
    """The recording of a window cannot be had; says where it was looked for."""


@dataclass(frozen=True)
class Excerpt:
    """Frames of a recording as they are.

    Attributes
    ----------
    samples : int16, int32, float32 or float64 array (frames, channels)
        24-bit samples stand in the upper 24 of 32 bits.
    sample_rate : int
        Hertz, the recording's own.
    subtype : str
        Sample format of a WAV file that holds them exactly, as libsndfile names it.
    """

    samples: NDArray[Any]
    sample_rate: int
    subtype: str

    def wav(self) -> bytes:
        """Return a WAV file of the samples; the same samples give the same bytes."""
        buffer = io.BytesIO()
        if self.samples.dtype.kind == "f":
            # libsndfile would write the hour into a float file (PEAK chunk).
            from scipy.io import wavfile

            wavfile.write(buffer, self.sample_rate, self.samples)
        else:
            soundfile.write(
                buffer, self.samples, self.sample_rate, format="WAV", subtype=self.subtype
            )
        return buffer.getvalue()

    def channel(self, number: int) -> Excerpt:
        """Return one channel of it.

        Parameters
        ----------
        number : int
            Counted from 1.

        Raises
        ------
        ValueError
            If there is no such channel.
        """
        there = self.samples.shape[1]
        if not 1 <= number <= there:
            raise ValueError(f"has {there} channel{'s' * (there != 1)}, not a channel {number}")
        return Excerpt(self.samples[:, number - 1 : number], self.sample_rate, self.subtype)


@dataclass(frozen=True)
class Clip:
    """A window with context.

    Attributes
    ----------
    wav : bytes
        WAV file, 16-bit PCM, mono.
    lead_s : float
        Seconds before the window's start; less than asked for at the recording's start.
    """

    wav: bytes
    lead_s: float


def recording_path(cards: Path, recording: str) -> Path:
    """Return where a recording of the inventory lies.

    Raises
    ------
    UnplayableError
        If the name would leave the cards. Links inside the cards are the owner's and are followed.
    """
    name = PurePosixPath(recording)
    if name.is_absolute() or ".." in name.parts or "\\" in recording or "\0" in recording:
        raise UnplayableError("is no name of a recording", repr(recording))
    return cards / name


def open_recording(cards: Path, recording: str) -> tuple[Path, Sound]:
    """Return where a recording lies and what can be had from it, for :func:`excerpt`.

    Raises
    ------
    UnplayableError
        If it is missing or nothing can be had from it.
    """
    path = recording_path(cards, recording)
    try:
        if not path.is_file():
            raise UnplayableError(
                "the recording is not there",
                path.absolute(),
                "put the card there, or name its folder with --cards",
            )
        return path, inspect(path)
    except AudioFault as fault:
        raise UnplayableError(f"{fault.code}: {fault.reason}", path.absolute()) from None
    except OSError as error:
        raise UnplayableError(f"cannot be read ({error})", path.absolute()) from None


def excerpt(path: Path, sound: Sound, start: int, frames: int) -> Excerpt:
    """Read frames ``start`` to ``start + frames`` of a recording, bit for bit.

    Parameters
    ----------
    path : Path
    sound : Sound
        What :func:`open_recording` said of it.
    start, frames : int
        First frame and number of frames, at the recording's own rate.

    Raises
    ------
    UnplayableError
        If the recording ends or breaks off before ``start + frames``, or cannot be read.
    """
    if start + frames > sound.frames:
        raise UnplayableError(
            f"ends at sample {sound.frames:,}, before the window does ({start + frames:,})",
            path.absolute(),
            "has the recording changed? Run 'dawnchorus scan' again",
        )
    is_fraction = sound.subtype.startswith(_DECODED_TO_FLOAT)
    dtype, subtype = _LOSSLESS.get(
        sound.subtype, ("float32", "FLOAT") if is_fraction else ("int16", "PCM_16")
    )
    try:
        if sound.raw is not None:
            samples = _denied(path, sound, start, frames, dtype)
        elif sound.subtype in _LOSSLESS:
            samples = _sought(path, start, frames, dtype)
        else:
            # Where a lossy decoder begins may change what it decodes.
            samples = _from_front(path, start, frames, dtype)
    except (OSError, soundfile.LibsndfileError, RuntimeError) as error:
        raise UnplayableError(f"cannot be read ({error})", path.absolute()) from None
    if len(samples) < frames:
        raise UnplayableError(f"breaks off at sample {start + len(samples):,}", path.absolute())
    return Excerpt(samples, sound.sample_rate, subtype)


def _denied(path: Path, sound: Sound, start: int, frames: int, dtype: str) -> NDArray[Any]:
    """Read samples that the header denies (FL012) from where they lie."""
    assert sound.raw is not None  # noqa: S101 - for the type checker
    first, count = sound.raw
    frame_bytes = count // sound.frames
    with path.open("rb") as handle:
        handle.seek(first + start * frame_bytes)
        data = handle.read(frames * frame_bytes)
    samples, _ = soundfile.read(
        io.BytesIO(data),
        dtype=dtype,
        always_2d=True,
        samplerate=sound.sample_rate,
        channels=sound.channels,
        format="RAW",
        subtype=sound.subtype,
        endian="LITTLE",
    )
    return samples


def _sought(path: Path, start: int, frames: int, dtype: str) -> NDArray[Any]:
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            samples = file.read(frames, dtype=dtype, always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        # A FLAC file that is cut off cannot be sought in: its header tells of frames that are not there.
        return _from_front(path, start, frames, dtype)
    return samples if len(samples) == frames else _from_front(path, start, frames, dtype)


def _from_front(path: Path, start: int, frames: int, dtype: str) -> NDArray[Any]:
    with Stream(path) as file:
        if not skip(file, start):
            return np.empty((0, file.channels), dtype)
        return file.read(frames, dtype=dtype, always_2d=True)


def cut(
    cards: Path, recording: str, offset: int, window_seconds: float, context_s: float = 1.0
) -> Clip:
    """Cut a window and its context out of its recording, to listen to.

    Parameters
    ----------
    cards : Path
        The cards' root.
    recording : str
        Path relative to it; one that the inventory names.
    offset : int
        First sample of the window at the file's own rate.
    window_seconds, context_s : float
        Length of the window; seconds wanted before and after it.

    Returns
    -------
    Clip
        16-bit samples come out as they are, the others rounded to 16 bits.

    Raises
    ------
    UnplayableError
        If the recording is missing, cannot be read, or ends before the window does.
    """
    path, sound = open_recording(cards, recording)
    length = round(window_seconds * sound.sample_rate)
    context = round(context_s * sound.sample_rate)
    start = max(0, offset - context)
    stop = max(offset + length, min(sound.frames, offset + length + context))
    heard = excerpt(path, sound, start, stop - start).channel(1)
    buffer = io.BytesIO()
    samples = _sixteen_bits(heard.samples[:, 0])
    soundfile.write(buffer, samples, sound.sample_rate, format="WAV", subtype="PCM_16")
    return Clip(buffer.getvalue(), (offset - start) / sound.sample_rate)


def _sixteen_bits(samples: NDArray[Any]) -> NDArray[np.int16]:
    if samples.dtype == np.int16:
        return np.ascontiguousarray(samples)
    if samples.dtype == np.int32:
        scaled = np.rint(samples / 65_536)
    else:
        scaled = np.nan_to_num(np.rint(samples * FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
