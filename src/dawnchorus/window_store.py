"""What every store with one row per window of a recorder-day has in common, for reading.

In: the folder of a Zarr v3 group: an array whose first dimension is the window, the columns ``time``,
``recording`` and ``offset``, and the attribute ``recordings``. Out: which window a row is, which row a
window is, and rows. Nothing is read before it is asked for, and never more than asked for (rounded up
to chunks).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from dawnchorus.codec_pipeline import Pipeline, codec_pipeline
from dawnchorus.errors import DawnChorusError


class WindowStore:
    """A store of one recorder-day; a subclass says what its rows are.

    Attributes
    ----------
    path : Path
    """

    array: ClassVar[str]
    """Name of the array that holds the rows."""
    dimensions: ClassVar[int]
    """How many dimensions it has."""
    kind: ClassVar[str]
    made_by: ClassVar[str] = "run the step that makes it first"
    reading: ClassVar[Pipeline] = "zarr"
    """What decodes it."""
    run_windows: ClassVar[int]
    """Most windows read at once by :meth:`take`."""

    def __init__(self, path: Path, group: zarr.Group, rows: zarr.Array) -> None:
        self.path = path
        self._group = group
        self._rows = rows

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store.

        Raises
        ------
        DawnChorusError
            If there is none, or it is something else.
        """
        if not path.is_dir():
            raise DawnChorusError("is not there", path, cls.made_by)
        reason = ""
        try:
            with codec_pipeline(cls.reading):
                group = zarr.open_group(path, mode="r", zarr_format=3)
                rows = group[cls.array]
        except (KeyError, ValueError, FileNotFoundError) as error:
            rows, reason = None, f" ({error})"
        if not isinstance(rows, zarr.Array) or rows.ndim != cls.dimensions:
            raise DawnChorusError(
                f"is no {cls.kind}{reason}", path, "delete it and run the step again"
            )
        return cls(path, group, rows)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return type(self).open, (self.path,)

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    @property
    def chunk_windows(self) -> int:
        """Windows that are read together at the least."""
        return int(self._rows.chunks[0])

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the group."""
        return dict(self._group.attrs)

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

    def find(self, recording: Sequence[str], offset: ArrayLike) -> NDArray[np.int64]:
        """Return the row of each window ``(recording, offset)``, or -1 where there is none.

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
        offsets = np.asarray(offset, dtype=np.int64)
        if len(recording) != len(offsets):
            raise ValueError(f"{len(recording)} recordings for {len(offsets)} offsets")
        index = {name: number for number, name in enumerate(self.recordings)}
        numbers = np.fromiter((index.get(name, -1) for name in recording), np.int64, len(offsets))
        keys, rows = self._sorted_keys
        if not len(keys):
            return np.full(len(offsets), -1, dtype=np.int64)
        possible = (numbers >= 0) & (offsets >= 0) & (offsets < self._stride)
        wanted = np.where(possible, numbers * self._stride + offsets, -1)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(possible & (keys[at] == wanted), rows[at], -1)

    @cached_property
    def _sorted_keys(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys (recording, offset) as one ascending integer, and their rows."""
        keys = self.recording.astype(np.int64) * self._stride + self.offset
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    @cached_property
    def _stride(self) -> int:
        return int(self.offset.max()) + 1 if len(self) else 1

    def rows(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the rows ``start`` to ``stop`` as they are stored."""
        return np.asarray(self._rows[slice(start, stop)])

    def take(self, indices: ArrayLike) -> NDArray[Any]:
        """Return single rows in the order given; every chunk that holds one is read once.

        Parameters
        ----------
        indices : int array-like (n,)
            May repeat.

        Raises
        ------
        IndexError
            If an index lies outside the store.
        """
        wanted = np.asarray(indices, np.int64)
        if wanted.ndim != 1:
            raise IndexError(f"indices must be one-dimensional, got shape {wanted.shape}")
        taken = np.empty((len(wanted), *self._rows.shape[1:]), self._rows.dtype)
        if not len(wanted):
            return taken
        if wanted.min() < 0 or wanted.max() >= len(self):
            raise IndexError(f"{self.path}: an index lies outside the {len(self)} windows")
        order = np.argsort(wanted, kind="stable")
        chunk = wanted[order] // self.chunk_windows
        # Runs of neighbouring chunks are one read each.
        reach = max(1, self.run_windows // self.chunk_windows)
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
            places = order[first : last + 1]
            taken[places] = self.rows(begin, end)[wanted[places] - begin]
            first = last + 1
        return taken

    def lacks_files(self, indices: ArrayLike) -> bool:
        """Whether a file that should hold one of these rows is not there (it would read as 0)."""
        unit = self._rows.shards or self._rows.chunks
        behind = "/0" * (self._rows.ndim - 1)
        folder = self.path / self.array / "c"
        numbers = np.unique(np.asarray(indices, np.int64) // unit[0])
        return any(not (folder / f"{number}{behind}").exists() for number in numbers)

    def _column(self, name: str) -> NDArray[Any]:
        column = self._group.get(name)
        if not isinstance(column, zarr.Array):
            raise DawnChorusError(
                f"holds no array {name!r}", self.path, "delete it and run the step again"
            )
        return np.asarray(column[:])
