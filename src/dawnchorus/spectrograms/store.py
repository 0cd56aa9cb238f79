"""Reads the spectrogram store of a recorder-day.

In: the folder that :mod:`dawnchorus.spectrograms.writer` filled. Out: codes of runs of windows or of
single windows, in decibels if wanted, and the table of the windows. Nothing is read before it is asked
for, and never more than asked for (rounded up to chunks).

Worker processes must be spawned, not forked, once a process has read (Zarr's threads do not survive a
fork), and open the store themselves; a store pickles as its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.spectrograms.mel import Codes

READING = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
"""zarrs reads a day three times as fast as Zarr's own pipeline."""

RUN_WINDOWS = 1024
"""Most windows read at once by :meth:`SpectrogramStore.take`: 32 MiB of 128 x 256 codes."""


class SpectrogramStore:
    """The windows of a recorder-day.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path, group: zarr.Group, spectrogram: zarr.Array) -> None:
        self.path = path
        self._group = group
        self._spectrogram = spectrogram

    @classmethod
    def open(cls, path: Path) -> SpectrogramStore:
        """Open a store.

        Raises
        ------
        DawnChorusError
            If there is none, or it is something else.
        """
        if not path.is_dir():
            raise DawnChorusError("is not there", path, "run 'dawnchorus spectrograms' first")
        try:
            with zarr.config.set(READING):
                group = zarr.open_group(path, mode="r", zarr_format=3)
                spectrogram = group["spectrogram"]
        except (KeyError, ValueError, FileNotFoundError) as error:
            raise DawnChorusError(
                f"is no spectrogram store ({error})", path, "delete it and run the step again"
            ) from None
        if not isinstance(spectrogram, zarr.Array) or spectrogram.ndim != 3:
            raise DawnChorusError(
                "is no spectrogram store", path, "delete it and run the step again"
            )
        return cls(path, group, spectrogram)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return SpectrogramStore.open, (self.path,)

    def __len__(self) -> int:
        return int(self._spectrogram.shape[0])

    @property
    def mels(self) -> int:
        """Mel bands."""
        return int(self._spectrogram.shape[1])

    @property
    def frames(self) -> int:
        """Frames per window."""
        return int(self._spectrogram.shape[2])

    @property
    def chunk_windows(self) -> int:
        """Windows that are read together at the least."""
        return int(self._spectrogram.chunks[0])

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the group."""
        return dict(self._group.attrs)

    @cached_property
    def coding(self) -> Codes:
        """How codes stand for decibels."""
        attributes = self._spectrogram.attrs
        return Codes(_number(attributes["add_offset"]), _number(attributes["scale_factor"]))

    def codes(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Return the codes of the windows ``start`` to ``stop``, uint8 (n, mels, frames)."""
        return np.asarray(self._spectrogram[slice(start, stop)])

    def take(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the codes of single windows, in the order given.

        Every chunk that holds a wanted window is read once.

        Parameters
        ----------
        indices : int array-like (n,)
            May repeat.

        Returns
        -------
        uint8 (n, mels, frames)

        Raises
        ------
        IndexError
            If an index lies outside the store.
        """
        wanted = np.asarray(indices, np.int64)
        if wanted.ndim != 1:
            raise IndexError(f"indices must be one-dimensional, got shape {wanted.shape}")
        taken = np.empty((len(wanted), self.mels, self.frames), np.uint8)
        if not len(wanted):
            return taken
        if wanted.min() < 0 or wanted.max() >= len(self):
            raise IndexError(f"{self.path}: an index lies outside the {len(self)} windows")
        order = np.argsort(wanted, kind="stable")
        chunk = wanted[order] // self.chunk_windows
        # Runs of neighbouring chunks are one read each.
        reach = max(1, RUN_WINDOWS // self.chunk_windows)
        first = 0
        while first < len(order):
            last = first
            while (
                last + 1 < len(order)
                and chunk[last + 1] - chunk[last] <= 1
                and chunk[last + 1] - chunk[first] < reach
            ):
                last += 1
            begin = int(chunk[first]) * self.chunk_windows
            end = min((int(chunk[last]) + 1) * self.chunk_windows, len(self))
            rows = order[first : last + 1]
            taken[rows] = self.codes(begin, end)[wanted[rows] - begin]
            first = last + 1
        return taken

    def db(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return decibels relative to a full-scale sine, float32, shape of ``codes``."""
        return self.coding.decode(codes)

    @cached_property
    def recordings(self) -> list[str]:
        """Recordings of the day, as paths relative to the cards' root."""
        names = self.attributes.get("recordings")
        if not isinstance(names, list):
            raise DawnChorusError("the attribute 'recordings' is no list", self.path)
        return [str(name) for name in names]

    @cached_property
    def recording(self) -> NDArray[np.int32]:
        """Index into :attr:`recordings`, shape (n,)."""
        return self._column("recording")

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """First sample of each window in its file, at the file's own rate, shape (n,)."""
        return self._column("offset")

    @cached_property
    def time(self) -> NDArray[np.datetime64]:
        """UTC start of each window, datetime64[us], shape (n,)."""
        return self._column("time").astype("datetime64[us]")

    @cached_property
    def activity(self) -> NDArray[np.float32]:
        """Activity in dB, shape (n,); see :mod:`dawnchorus.spectrograms.activity`."""
        return self._column("activity")

    @cached_property
    def level(self) -> NDArray[np.float32]:
        """Level in dB relative to a full-scale sine, shape (n,)."""
        return self._column("level")

    @cached_property
    def mel_frequency(self) -> NDArray[np.float64]:
        """Centres of the mel bands in hertz, shape (mels,)."""
        return self._column("mel_frequency")

    @cached_property
    def mel_low(self) -> NDArray[np.float64]:
        """Lower ends of the mel bands in hertz, shape (mels,)."""
        return self._column("mel_low")

    @cached_property
    def mel_high(self) -> NDArray[np.float64]:
        """Upper ends of the mel bands in hertz, shape (mels,)."""
        return self._column("mel_high")

    @cached_property
    def frame_time(self) -> NDArray[np.float64]:
        """Middle of each frame in seconds from the window's start, shape (frames,)."""
        return self._column("frame_time")

    def find(self, recording: Sequence[str], offset: ArrayLike) -> NDArray[np.int64]:
        """Return the index of each window ``(recording, offset)``, or -1 where there is none.

        Parameters
        ----------
        recording : sequence of str (n,)
            Paths relative to the cards' root.
        offset : int array-like (n,)
            First samples, at the file's own rate.

        Returns
        -------
        int64 (n,)
        """
        offsets = np.asarray(offset, np.int64)
        if len(recording) != len(offsets):
            raise ValueError(f"{len(recording)} recordings for {len(offsets)} offsets")
        number = {name: index for index, name in enumerate(self.recordings)}
        places = self._places
        found = (
            places.get((number.get(name, -1), at), -1)
            for name, at in zip(recording, offsets.tolist(), strict=True)
        )
        return np.fromiter(found, np.int64, len(offsets))

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        pairs = zip(self.recording.tolist(), self.offset.tolist(), strict=True)
        return {pair: index for index, pair in enumerate(pairs)}

    def _column(self, name: str) -> NDArray[Any]:
        column = self._group.get(name)
        if not isinstance(column, zarr.Array):
            raise DawnChorusError(
                f"holds no array {name!r}", self.path, "delete it and run the step again"
            )
        return np.asarray(column[:])


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise DawnChorusError(f"{value!r} is no number", "spectrogram attributes")
    return float(value)
