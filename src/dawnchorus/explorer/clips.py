"""What one window sounds and looks like.

In: a window (recording, offset), the recorder-day's spectrogram store. Out: a PNG of the stored
decibels. The sound is cut by :mod:`dawnchorus.recordings.excerpt`.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.excerpt import Clip, UnplayableError, cut, recording_path
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore

__all__ = ["Clip", "Picture", "Spectrograms", "UnplayableError", "cut", "draw", "recording_path"]

QUIET_PERCENTILE, LOUD_PERCENTILE = 20.0, 99.9
LEAST_RANGE_DB = 25.0
"""Decibels between black and white at least, so that noise alone does not look like a song."""


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


@dataclass(frozen=True)
class Picture:
    """A drawn stretch of a spectrogram.

    Attributes
    ----------
    png : bytes
    low_db, high_db : float
        What the darkest and the brightest colour stand for.
    begin_s, end_s : float
        Where it begins and ends, from the window's start.
    """

    png: bytes
    low_db: float
    high_db: float
    begin_s: float
    end_s: float


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

    def png(
        self,
        day: RecorderDay,
        recording: str,
        offset: int,
        *,
        context_s: float = 0.0,
        window_samples: int | None = None,
    ) -> Picture:
        """Draw one window, with what its neighbours in the recording hold of the seconds around it.

        Parameters
        ----------
        day : RecorderDay
        recording : str
        offset : int
            First sample of the window.
        context_s : float
            Seconds before and after; less where the recording ends. 0: the window's frames alone.
        window_samples : int, optional
            Of a window at the recording's own rate: the step to its neighbours. None: no context.

        Raises
        ------
        DawnChorusError
            If the store or the window is not there.
        """
        store = self.store(day)
        steps = 0
        length_s = float(store.frame_time[0] + store.frame_time[-1])
        if window_samples is not None and context_s > 0:
            steps = math.ceil(context_s / length_s)
        wanted = [offset + step * (window_samples or 0) for step in range(-steps, steps + 1)]
        with self._lock:  # the store's table of windows is read when first needed
            rows = store.find([recording] * len(wanted), np.array(wanted, dtype=np.int64)).tolist()
        if rows[steps] < 0:
            raise DawnChorusError(
                f"holds no window of {recording} at sample {offset}",
                self._results.spectrograms(day),
                "run the workflow again",
            )
        first = last = steps
        while first > 0 and rows[first - 1] >= 0:
            first -= 1
        while last < len(rows) - 1 and rows[last + 1] >= 0:
            last += 1
        parts = [
            np.asarray(store.db(store.codes(row, row + 1)[0]), dtype=np.float32)
            for row in rows[first : last + 1]
        ]
        if not steps:
            return Picture(*draw(parts[0]), 0.0, length_s)
        hop = float(store.frame_time[1] - store.frame_time[0])
        begin = max(-context_s, (first - steps) * length_s)
        end = min(length_s + context_s, (last - steps + 1) * length_s)
        at = np.arange(begin + hop / 2, end, hop)
        number = np.clip(np.floor(at / length_s).astype(int) + steps - first, 0, len(parts) - 1)
        within = at - (number - steps + first) * length_s
        frame = np.rint((within - store.frame_time[0]) / hop).astype(int)
        columns = np.stack(parts)[number, :, np.clip(frame, 0, store.frames - 1)]
        return Picture(*draw(columns.T), begin, end)
