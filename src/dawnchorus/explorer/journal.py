r"""The journal of labels: what was said of which region, by whom and when.

In: entries, one at a time. Out: ``labels/journal.jsonl``, one JSON object per line, only ever
appended to, on the disk before the call returns; and the entries read back.

A process that is killed while it writes leaves at most one torn line at the end. It is ignored and
said, the next entry starts on a line of its own, and nothing before it is touched. (No proper
beginning of a JSON object is itself one, so a last line that reads is whole, with or without its
line break.) Appending is guarded by a lock file, so several explorers may share a journal.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from pydantic import ValidationError

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.entries import ENTRY, OneEntry

LOCK_SECONDS = 30.0
Next = TypeVar("Next", bound=OneEntry)


class Journal:
    """A journal file; missing is empty. Reading never writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[OneEntry] = []
        self._ignored: list[str] = []
        self._torn: str | None = None
        self._read_to = 0
        self._lines = 0
        self._mutex = threading.RLock()
        self.refresh()

    @property
    def complaints(self) -> list[str]:
        """What could not be read, one sentence each."""
        return [*self._ignored, *([self._torn] if self._torn else [])]

    def refresh(self) -> None:
        """Read what was written since the last time, by whomever."""
        with self._mutex:
            try:
                with self.path.open("rb") as handle:
                    if os.fstat(handle.fileno()).st_size < self._read_to:
                        # Someone put an older copy in its place.
                        self.entries, self._ignored, self._read_to, self._lines = [], [], 0, 0
                    handle.seek(self._read_to)
                    data = handle.read()
            except FileNotFoundError:
                data = b""
            except OSError as error:
                raise DawnChorusError(
                    f"cannot be read ({error.strerror})", self.path, "labels are kept there"
                ) from None
            self._torn = None
            *lines, tail = data.split(b"\n")
            for line in lines:
                self._lines += 1
                self._read_to += len(line) + 1
                self._take(line)
            if tail and (entry := _parse(tail)):
                self._read_to += len(tail)
                self.entries.append(entry)
            elif tail:
                self._torn = (
                    f"{self.path}: the last line is torn ({len(tail)} bytes) and is ignored; "
                    "its label had not been confirmed"
                )

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        if entry := _parse(line):
            self.entries.append(entry)
        else:
            self._ignored.append(f"{self.path}: line {self._lines} is no entry and is ignored")

    def append(self, make: Callable[[int, list[OneEntry]], Next]) -> Next:
        """Append one entry; it is on the disk when this returns.

        Parameters
        ----------
        make : callable
            Gets the next id and all entries so far, returns the entry; what it raises goes through
            and nothing is written.

        Raises
        ------
        DawnChorusError
            If the journal cannot be written; the file is then as it was.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=LOCK_SECONDS)
            with self._mutex, lock:
                self.refresh()
                number = max((entry.id for entry in self.entries), default=0) + 1
                entry = make(number, self.entries)
                self._write(entry.model_dump_json().encode() + b"\n")
                self.refresh()
                return entry
        except OSError as error:  # filelock's Timeout is one
            raise DawnChorusError(
                f"the label was not saved: {error.strerror or error}", self.path
            ) from error

    def _write(self, line: bytes) -> None:
        fresh = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            try:
                left = memoryview(line)
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
        if fresh:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _parse(line: bytes) -> OneEntry | None:
    try:
        return ENTRY.validate_json(line)
    except ValidationError:
        return None
