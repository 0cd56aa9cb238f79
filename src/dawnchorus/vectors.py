"""One vector per window of a recorder-day, on disk.

In: vectors in blocks and the table of their windows (recording, offset, time), in the same order.
Out: a Zarr v3 group with dimensions ``window`` and ``feature``: ``embedding`` (float32, or float16:
half the room) with the coordinates ``time``, ``recording`` (index into the attribute ``recordings``)
and ``offset``; it opens with ``xarray.open_zarr``. Both the networks' embeddings and BirdNET's own are
kept so. Whoever reads gets float32 from either.

::

    {date}.zarr/
        zarr.json         attributes (recordings, what the caller adds), consolidated metadata
        embedding/        float32 or float16 (window, feature), chunks of 256 windows in shards
                          of 16,384
        time/             int64, microseconds since 1970-01-01 (UTC start of the window)
        recording/        int32
        offset/           int64, first sample of the window in the file, at the file's own rate

Vectors hardly compress, so they are stored as they are: a day reads at the speed of the disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash
import zarr
from numpy.typing import ArrayLike, NDArray

from dawnchorus.codec_pipeline import codec_pipeline
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing
from dawnchorus.window_store import WindowStore

CHUNK_WINDOWS = 256
"""Windows per chunk, the unit of reading: 384 kB at 384 dimensions."""
SHARD_WINDOWS = 16_384
"""Windows per shard file, the unit of writing: 24 MB at 384 dimensions."""

Kept = Literal["float32", "float16"]
"""What a store keeps its vectors as."""


@dataclass(frozen=True)
class WindowTable:
    """Which windows a store holds, in its order.

    Parameters
    ----------
    recordings : list of str
        Paths relative to the cards' root.
    recording : int32 array (n,)
        Index into ``recordings``.
    offset : int64 array (n,)
        First sample of the window in the file, at the file's own rate.
    time : datetime64[us] array (n,)
        UTC start of the window.
    """

    recordings: list[str]
    recording: NDArray[np.int32]
    offset: NDArray[np.int64]
    time: NDArray[np.datetime64]

    def __post_init__(self) -> None:
        if not len(self.recording) == len(self.offset) == len(self.time):
            raise ValueError(
                f"recording, offset and time differ in length: {len(self.recording)}, "
                f"{len(self.offset)} and {len(self.time)}"
            )
        if len(self.recording) and not (
            int(np.min(self.recording)) >= 0 and int(np.max(self.recording)) < len(self.recordings)
        ):
            raise ValueError("recording: an index lies outside recordings")

    def __len__(self) -> int:
        return len(self.recording)

    def names(self, start: int = 0, stop: int | None = None) -> NDArray[np.object_]:
        """Return the path of each window's recording, shape (n,)."""
        known = np.array(self.recordings, dtype=object)
        return known[self.recording[start:stop]]

    def digest(self) -> str:
        """Return 32 hexadecimal digits (XXH3-128) of the table."""
        hasher = xxhash.xxh3_128("\n".join(self.recordings).encode())
        hasher.update(np.ascontiguousarray(self.recording, "<i4"))
        hasher.update(np.ascontiguousarray(self.offset, "<i8"))
        hasher.update(np.ascontiguousarray(_microseconds(self.time), "<i8"))
        return hasher.hexdigest()


def _microseconds(time: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return np.asarray(time, dtype="datetime64[us]").astype(np.int64)


def _shard(windows: int) -> tuple[int, int]:
    """Return (chunk, shard) in windows; a small day is one shard, hardly padded."""
    chunk = max(1, min(CHUNK_WINDOWS, windows))
    return chunk, min(SHARD_WINDOWS, -(-max(windows, 1) // chunk) * chunk)


def as_kept(rows: NDArray[np.floating], kept: Kept, path: Path) -> NDArray[np.floating]:
    """Return vectors as a store keeps them, shape of ``rows``.

    Half precision keeps 11 bits: a value is off by 0.05 % at most, and by 3e-8 below 6e-5.

    Raises
    ------
    DawnChorusError
        If a value is too large for half precision (above 65,504).
    """
    with np.errstate(over="ignore"):
        values = rows.astype(kept, copy=False)
    if kept == "float16" and not np.isfinite(values).all() and np.isfinite(rows).all():
        raise DawnChorusError(
            f"a vector holds {np.abs(rows).max():.4g}, and half precision ends at 65,504",
            path,
            "set embedding.store to float32",
        )
    return values


def write_vectors(
    path: Path,
    vectors: Iterable[NDArray[np.floating]],
    *,
    dimension: int,
    windows: WindowTable,
    attributes: Mapping[str, Any],
    kept: Kept = "float32",
) -> str:
    """Write a store whole, in bounded memory (one shard), and publish it.

    Parameters
    ----------
    path : Path
        Where the store shall lie; an older one is replaced.
    vectors : iterable of float arrays (n_block, dimension)
        Together one row per window, in the order of ``windows``.
    dimension : int
        Length of a vector.
    windows : WindowTable
    attributes : mapping
        JSON values for the group: the model, the parameters, the package version.
    kept : {"float32", "float16"}

    Returns
    -------
    str
        32 hexadecimal digits of the content (vectors as they are kept, and windows); attributes
        are not in it.

    Raises
    ------
    ValueError
        If rows and windows do not match, or a block has another dimension.
    DawnChorusError
        If a vector is not finite, or too large for half precision.
    """
    with publishing(path) as partial:
        group = zarr.open_group(partial, mode="w-", zarr_format=3)
        chunk, shard = _shard(len(windows))
        with codec_pipeline("zarr"):
            array = group.create_array(
                "embedding",
                shape=(len(windows), dimension),
                dtype=kept,
                chunks=(chunk, dimension),
                shards=(shard, dimension),
                compressors=None,
                fill_value=0.0,
                dimension_names=("window", "feature"),
                attributes={
                    "long_name": "embedding of the window",
                    "units": "1",
                    "coordinates": "time recording offset",
                },
            )
        hasher = xxhash.xxh3_128(windows.digest().encode())
        for start, rows in _whole_shards(vectors, shard, dimension, len(windows)):
            check_finite(rows, start, windows, path)
            rows = as_kept(rows, kept, path)  # noqa: PLW2901 - the same rows
            hasher.update(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")))
            array[start : start + len(rows)] = rows
        _write_windows(group, windows, shard)
        group.attrs.update({**attributes, "recordings": list(windows.recordings)})
        _consolidate(partial)
    return hasher.hexdigest()


def _whole_shards(
    vectors: Iterable[NDArray[np.floating]], shard: int, dimension: int, total: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first row, rows): ``shard`` rows each, fewer in the last, in one reused buffer."""
    buffer = np.empty((min(shard, max(total, 1)), dimension), dtype=np.float32)
    written = held = 0
    for block in vectors:
        if block.ndim != 2 or block.shape[1] != dimension:
            raise ValueError(f"a block has shape {block.shape}, expected (n, {dimension})")
        if written + held + len(block) > total:
            raise ValueError(f"more vectors than the {total} windows")
        taken = 0
        while taken < len(block):
            amount = min(len(block) - taken, len(buffer) - held)
            buffer[held : held + amount] = block[taken : taken + amount]
            held += amount
            taken += amount
            if held == len(buffer):
                yield written, buffer
                written += held
                held = 0
    if held:
        yield written, buffer[:held]
        written += held
    if written != total:
        raise ValueError(f"{written} vectors for {total} windows")


def check_finite(rows: NDArray[np.floating], start: int, windows: WindowTable, path: Path) -> None:
    """See that vectors are numbers.

    Raises
    ------
    DawnChorusError
        Naming the first window whose vector is not; ``rows`` begin with window ``start``.
    """
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        window = start + int(bad[0])
        raise DawnChorusError(
            f"the vector of {windows.recordings[windows.recording[window]]} at sample "
            f"{windows.offset[window]} is not finite ({len(bad)} such in this block)",
            path,
            "look at the model: its training may have diverged",
        )


def _write_windows(group: zarr.Group, windows: WindowTable, shard: int) -> None:
    columns: tuple[tuple[str, NDArray[Any], dict[str, Any]], ...] = (
        (
            "time",
            _microseconds(windows.time),
            {
                "standard_name": "time",
                "long_name": "UTC start of the window",
                "units": "microseconds since 1970-01-01",
                "calendar": "proleptic_gregorian",
            },
        ),
        (
            "recording",
            np.asarray(windows.recording, dtype=np.int32),
            {"long_name": "index into the attribute recordings"},
        ),
        (
            "offset",
            np.asarray(windows.offset, dtype=np.int64),
            {"long_name": "first sample of the window in the file, at the file's own rate"},
        ),
    )
    for name, values, attributes in columns:
        with codec_pipeline("zarr"):
            column = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=(shard,),
                dimension_names=("window",),
                attributes=attributes,
            )
        column[:] = values


def _consolidate(path: Path) -> None:
    with warnings.catch_warnings():
        # Consolidated metadata works in every reader of Zarr v3 we know; its place in the
        # specification is what the warning is about.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(path)


class VectorStore(WindowStore):
    """A store that :func:`write_vectors` made, opened for reading; a row is float32 (dimension,).

    What is kept in half precision is widened, which is exact.
    """

    array = "embedding"
    dimensions = 2
    kind = "store of vectors"
    run_windows = SHARD_WINDOWS

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._rows.shape[1])

    @property
    def windows(self) -> WindowTable:
        """The table of the windows."""
        return WindowTable(self.recordings, self.recording, self.offset, self.time)

    @property
    def kept(self) -> str:
        """What the vectors are kept as: ``float32`` or ``float16``."""
        return str(self._rows.dtype)

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return rows ``start`` to ``stop``, shape (n, dimension)."""
        return self.rows(start, stop).astype(np.float32, copy=False)

    def take(self, indices: ArrayLike) -> NDArray[np.float32]:
        """As :meth:`WindowStore.take`, in float32."""
        return super().take(indices).astype(np.float32, copy=False)

    def blocks(self, windows: int = SHARD_WINDOWS) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, rows) over the whole store, ``windows`` rows at a time."""
        for start, rows in self.kept_blocks(windows):
            yield start, rows.astype(np.float32, copy=False)

    def kept_blocks(
        self, windows: int = SHARD_WINDOWS
    ) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """As :meth:`blocks`, in the precision that they are kept in: for who widens them piece by piece."""
        for start in range(0, len(self), windows):
            yield start, self.rows(start, min(start + windows, len(self)))
