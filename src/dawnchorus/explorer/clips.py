"""What one window sounds and looks like.

In: a window (recording, offset), the recorder-day's spectrogram store. Out: a PNG of the stored
decibels. The sound is cut by :mod:`dawnchorus.recordings.excerpt`.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.excerpt import Clip, UnplayableError, cut, recording_path
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore

__all__ = ["Clip", "Spectrograms", "UnplayableError", "cut", "draw", "recording_path"]

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
