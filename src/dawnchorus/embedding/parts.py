"""A recorder-day in parts, so that several processes share it and a killed one goes on.

In: how many windows there are and a key that says from what their vectors are made. Out: a folder
beside the store, ``.{date}.zarr.{key}.parts``, with a file for each part that is done::

    000003        XXH3-128 of what follows, then the vectors as the store keeps them
    000003.lock   held by the process that computes the part, and by the kernel let go with it

Whoever finds a part that is not there, and whose lock is free, computes it: processes of one command,
of several commands on one machine or on nodes of one file system, or the same command after a
``kill -9``. A part is whole or not there, and a file that is not what it was when it was written is
computed again. Parts hold whole batches, so a window's vector has the same bytes whoever computes it.
When all are there, one process makes the store of them (:mod:`.day`) and removes the folder.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from dawnchorus.results import fingerprint, publishing
from dawnchorus.vectors import Kept

SECONDS_BETWEEN_LOOKS = 0.2
DIGEST_BYTES = 16
KEY = "key.json"


class TakenAwayError(Exception):
    """The folder is gone: another process has made the store of it."""


@dataclass(frozen=True)
class Claim:
    """A part that this process computes; nobody else does until it is let go."""

    part: int
    start: int
    stop: int
    lock: FileLock


class Parts:
    """The parts of a recorder-day.

    Parameters
    ----------
    store : Path
        Where the store of vectors will lie.
    made_from : mapping
        All that decides the bytes of the vectors, as JSON values.
    windows, part_windows : int
        In all, and in each part but the last.
    dimension : int
    kept : {"float32", "float16"}
    """

    def __init__(
        self,
        store: Path,
        made_from: Mapping[str, Any],
        *,
        windows: int,
        part_windows: int,
        dimension: int,
        kept: Kept,
    ) -> None:
        self.windows, self.part_windows = windows, part_windows
        self.dimension, self.dtype = dimension, np.dtype(kept)
        self._made_from = {
            **made_from,
            "windows": windows,
            "part_windows": part_windows,
            "dimension": dimension,
            "kept": kept,
        }
        self._beside = store
        self.folder = store.with_name(f".{store.name}.{fingerprint(self._made_from)[:16]}.parts")
        self._whole: set[int] = set()
        self._mine: set[int] = set()

    def __len__(self) -> int:
        return (self.windows + self.part_windows - 1) // self.part_windows

    def span(self, part: int) -> tuple[int, int]:
        """Return the first window of a part, and the one after its last."""
        start = part * self.part_windows
        return start, min(start + self.part_windows, self.windows)

    def begin(self) -> int:
        """Make the folder, or find it; return how many parts are done. One process at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / KEY).exists():
            with publishing(self.folder / KEY) as partial:
                partial.write_text(json.dumps(self._made_from, sort_keys=True, indent=1) + "\n")
        return sum(self._is_whole(part) for part in range(len(self)))

    def done_windows(self) -> int:
        """How many windows the parts hold that are there, whoever computed them."""
        spans = (self.span(part) for part in range(len(self)) if self._is_whole(part))
        return sum(stop - start for start, stop in spans)

    def claims(self) -> Iterator[Claim]:
        """Yield parts to compute until none is left; waits for those that others compute.

        Raises
        ------
        TakenAwayError
            If the folder is gone.
        """
        while True:
            missing = [part for part in range(len(self)) if not self._is_whole(part)]
            missing = [part for part in missing if part not in self._mine]
            if not missing:
                return
            claimed = False
            for part in missing:
                claim = self._claim(part)
                if claim is not None:
                    claimed = True
                    yield claim
            if not claimed:
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def _claim(self, part: int) -> Claim | None:
        """Take a part, if it is not done and nobody has it."""
        self._still_there()
        lock = FileLock(self.folder / f"{part:06}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        if not (self.folder / KEY).exists():
            lock.release()
            self._still_there()
        if self._is_whole(part):
            lock.release()
            return None
        self._mine.add(part)
        return Claim(part, *self.span(part), lock)

    def _still_there(self) -> None:
        if not (self.folder / KEY).exists():
            # What a lock may have made anew.
            shutil.rmtree(self.folder, ignore_errors=True)
            raise TakenAwayError

    def write(self, claim: Claim, rows: NDArray[np.floating]) -> None:
        """Write a part, whole, and let it go.

        Parameters
        ----------
        claim : Claim
        rows : array (stop - start, dimension)
            As the store keeps them.
        """
        if rows.shape != (claim.stop - claim.start, self.dimension):
            raise ValueError(f"{rows.shape} is no part of {claim.stop - claim.start} windows")
        content = np.ascontiguousarray(rows, self.dtype.newbyteorder("<")).tobytes()
        with publishing(self._file(claim.part)) as partial:
            partial.write_bytes(xxhash.xxh3_128_digest(content) + content)
        self._whole.add(claim.part)
        self._mine.discard(claim.part)
        claim.lock.release()

    def blocks(self) -> Iterator[NDArray[np.floating]]:
        """Yield the vectors of all parts, in order."""
        for part in range(len(self)):
            yield self._read(part)

    def remove(self) -> None:
        """Remove the folder, and those that other keys have left beside the store."""
        for folder in self._beside.parent.glob(f".{self._beside.name}.*.parts"):
            # The key goes first: who still looks sees that it is over.
            (folder / KEY).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    def _file(self, part: int) -> Path:
        return self.folder / f"{part:06}"

    def _is_whole(self, part: int) -> bool:
        if part in self._whole:
            return True
        path = self._file(part)
        start, stop = self.span(part)
        bytes_of_part = DIGEST_BYTES + (stop - start) * self.dimension * self.dtype.itemsize
        try:
            if path.stat().st_size != bytes_of_part:
                return False
            content = path.read_bytes()
        except FileNotFoundError:  # not there, or taken away in this moment
            return False
        whole = content[:DIGEST_BYTES] == xxhash.xxh3_128_digest(content[DIGEST_BYTES:])
        if whole:
            self._whole.add(part)
        return whole

    def _read(self, part: int) -> NDArray[np.floating]:
        content = self._file(part).read_bytes()[DIGEST_BYTES:]
        return np.frombuffer(content, self.dtype.newbyteorder("<")).reshape(-1, self.dimension)


@contextmanager
def one_at_a_time(store: Path) -> Iterator[None]:
    """Have only one process look at, make and replace a recorder-day's store and receipt."""
    store.parent.mkdir(parents=True, exist_ok=True)
    path = store.with_name(f".{store.name}.lock")
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_leftovers(store: Path) -> None:
    """Remove the parts of a recorder-day that is no longer embedded."""
    for folder in store.parent.glob(f".{store.name}.*.parts"):
        shutil.rmtree(folder, ignore_errors=True)
