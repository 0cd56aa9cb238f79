"""Reads the spectrogram store of a recorder-day.

In: the folder that :mod:`dawnchorus.spectrograms.writer` filled. Out: codes of runs of windows or of
single windows, in decibels if wanted, and the table of the windows. Nothing is read before it is asked
for, and never more than asked for (rounded up to chunks).

Worker processes must be spawned, not forked, once a process has read (Zarr's threads do not survive a
fork), and open the store themselves; a store pickles as its path.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.spectrograms.mel import Codes, band_names
from dawnchorus.window_store import WindowStore


class SpectrogramStore(WindowStore):
    """The windows of a recorder-day; a row is uint8 (mels, frames)."""

    array = "spectrogram"
    dimensions = 3
    kind = "spectrogram store"
    made_by = "run 'dawnchorus spectrograms' first"
    # zarrs reads a day three times as fast as Zarr's own pipeline.
    reading = "zarrs"
    run_windows = 1024  # 32 MiB of 128 x 256 codes

    @property
    def mels(self) -> int:
        """Bands."""
        return int(self._rows.shape[1])

    @property
    def frames(self) -> int:
        """Frames per window."""
        return int(self._rows.shape[2])

    @cached_property
    def coding(self) -> Codes:
        """How codes stand for decibels."""
        attributes = self._rows.attrs
        return Codes(_number(attributes["add_offset"]), _number(attributes["scale_factor"]))

    def codes(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Return the codes of the windows ``start`` to ``stop``, uint8 (n, mels, frames)."""
        return self.rows(start, stop)

    def db(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return decibels relative to a full-scale sine, float32, shape of ``codes``."""
        return self.coding.decode(codes)

    @cached_property
    def activity(self) -> NDArray[np.float32]:
        """Activity in dB, shape (n,); see :mod:`dawnchorus.spectrograms.activity`."""
        return self._column("activity")

    @cached_property
    def level(self) -> NDArray[np.float32]:
        """Level in dB relative to a full-scale sine, shape (n,)."""
        return self._column("level")

    @cached_property
    def band_frequency(self) -> NDArray[np.float64]:
        """Centres of the bands in hertz, shape (mels,)."""
        return self._column(self._band_names[1])

    @cached_property
    def band_low(self) -> NDArray[np.float64]:
        """Lower ends of the bands in hertz, shape (mels,)."""
        return self._column(self._band_names[2])

    @cached_property
    def band_high(self) -> NDArray[np.float64]:
        """Upper ends of the bands in hertz, shape (mels,)."""
        return self._column(self._band_names[3])

    @property
    def _band_names(self) -> tuple[str, str, str, str]:
        dimensions = getattr(self._rows.metadata, "dimension_names", None) or ()
        return band_names("linear" if "frequency" in dimensions else "mel")

    @cached_property
    def frame_time(self) -> NDArray[np.float64]:
        """Middle of each frame in seconds from the window's start, shape (frames,)."""
        return self._column("frame_time")


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise DawnChorusError(f"{value!r} is no number", "spectrogram attributes")
    return float(value)
