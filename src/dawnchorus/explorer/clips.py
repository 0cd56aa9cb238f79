"""What one window sounds and looks like.

In: a window (recording, offset), the cards, the recorder-day's spectrogram store. Out: a WAV file
(16-bit PCM, first channel, the recording's own rate) with context before and after, and a PNG of the
stored decibels. The recording is only read.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.audio import AudioFault, Sound, inspect
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore

FULL_SCALE = 32_768
QUIET_PERCENTILE, LOUD_PERCENTILE = 20.0, 99.9
LEAST_RANGE_DB = 25.0
"""Decibels between black and white at least, so that noise alone does not look like a song."""


class UnplayableError(DawnChorusError):
    """The recording of a window cannot be had; says where it was looked for."""


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


def cut(
    cards: Path, recording: str, offset: int, window_seconds: float, context_s: float = 1.0
) -> Clip:
    """Cut a window and its context out of its recording.

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

    Raises
    ------
    UnplayableError
        If the recording is missing, cannot be read, or ends before the window does.
    """
    path = recording_path(cards, recording)
    try:
        if not path.is_file():
            raise UnplayableError(
                "the recording is not there",
                path.absolute(),
                "put the card there, or start the explorer with --cards",
            )
        sound = inspect(path)
        length = round(window_seconds * sound.sample_rate)
        context = round(context_s * sound.sample_rate)
        start = max(0, offset - context)
        stop = min(sound.frames, offset + length + context)
        if offset + length > sound.frames:
            raise UnplayableError(
                f"ends at sample {sound.frames:,}, before the window does ({offset + length:,})",
                path.absolute(),
                "has the recording changed? Run 'dawnchorus scan' again",
            )
        samples = _read(path, sound, start, stop)
    except AudioFault as fault:
        raise UnplayableError(f"{fault.code}: {fault.reason}", path.absolute()) from None
    except (OSError, soundfile.LibsndfileError) as error:
        raise UnplayableError(f"cannot be read ({error})", path.absolute()) from None
    if len(samples) < stop - start:
        raise UnplayableError(f"breaks off at sample {start + len(samples):,}", path.absolute())
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sound.sample_rate, format="WAV", subtype="PCM_16")
    return Clip(buffer.getvalue(), (offset - start) / sound.sample_rate)


def _read(path: Path, sound: Sound, start: int, stop: int) -> NDArray[np.int16]:
    """First channel of frames ``start`` to ``stop``; 16-bit samples come out as they are."""
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    if sound.raw is None:
        frames, _ = soundfile.read(path, start=start, stop=stop, dtype=dtype, always_2d=True)
    else:
        # The header denies these samples (FL012): they are read from where they lie.
        first, count = sound.raw
        frame_bytes = count // sound.frames
        with path.open("rb") as handle:
            handle.seek(first + start * frame_bytes)
            data = handle.read((stop - start) * frame_bytes)
        frames, _ = soundfile.read(
            io.BytesIO(data),
            dtype=dtype,
            always_2d=True,
            samplerate=sound.sample_rate,
            channels=sound.channels,
            format="RAW",
            subtype=sound.subtype,
            endian="LITTLE",
        )
    first_channel = frames[:, 0]
    if dtype == "int16":
        return np.ascontiguousarray(first_channel)
    scaled = np.nan_to_num(np.rint(first_channel * FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


@cache
def _palette() -> bytes:
    """Magma, 256 colours: even in brightness, also for the colour-blind."""
    from matplotlib import colormaps

    colours = colormaps["magma"](np.arange(256), bytes=True)
    return np.asarray(colours)[:, :3].tobytes()


def draw(decibels: NDArray[np.float32]) -> tuple[bytes, float, float]:
    """Draw a spectrogram: one pixel per band and frame, the lowest band at the bottom.

    Parameters
    ----------
    decibels : float32 array (mels, frames)

    Returns
    -------
    (bytes, float, float)
        PNG, and the decibels that its darkest and brightest colour stand for.
    """
    low, high = np.percentile(decibels, [QUIET_PERCENTILE, LOUD_PERCENTILE])
    high = max(high, low + LEAST_RANGE_DB)
    shades = np.clip(np.rint((decibels - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(shades[::-1]), mode="L")
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue(), float(low), float(high)


class Spectrograms:
    """Draws windows from the spectrogram stores; the last few stores stay open."""

    OPEN_STORES = 32

    def __init__(self, results: Results) -> None:
        self._results = results
        self._open: OrderedDict[RecorderDay, SpectrogramStore] = OrderedDict()
        self._lock = Lock()

    def store(self, day: RecorderDay) -> SpectrogramStore:
        """Return the store of a recorder-day; raises DawnChorusError if there is none."""
        with self._lock:
            store = self._open.pop(day, None) or SpectrogramStore.open(
                self._results.spectrograms(day)
            )
            self._open[day] = store
            while len(self._open) > self.OPEN_STORES:
                self._open.popitem(last=False)
            return store

    def png(self, day: RecorderDay, recording: str, offset: int) -> tuple[bytes, float, float]:
        """Draw one window; see :func:`draw`.

        Raises
        ------
        DawnChorusError
            If the store or the window is not there.
        """
        store = self.store(day)
        with self._lock:  # the store's table of windows is read when first needed
            row = int(store.find([recording], np.array([offset], dtype=np.int64))[0])
        if row < 0:
            raise DawnChorusError(
                f"holds no window of {recording} at sample {offset}",
                self._results.spectrograms(day),
                "run the workflow again",
            )
        codes = store.codes(row, row + 1)[0]
        return draw(np.asarray(store.db(codes), dtype=np.float32))
