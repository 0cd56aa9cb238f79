"""Opening a recording for its samples, also where its header must be passed over.

In: a file and what :func:`~dawnchorus.recordings.sound.inspect` said of it. Out: an open
``soundfile.SoundFile``, of the file itself or of the stretch of bytes where the samples lie.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import soundfile

from dawnchorus.recordings.sound import AudioFault, Sound, Stream


class Stretch(io.RawIOBase):
    """A stretch of a file as a file of its own, for libsndfile to read as headerless samples."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        self._handle = path.open("rb")
        self._start, self._length, self._position = start, length, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte of the stretch."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Say at which byte of the stretch it is."""
        return self._position

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on, to the end of the stretch at most."""
        self._handle.seek(self._start + self._position)
        view = memoryview(buffer)[: max(0, self._length - self._position)]
        count = self._handle.readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
        super().close()


AHEAD = 24 << 20
"""Bytes that the disk is asked for before they are read: some 65 ms of computing."""


class ReadAhead:
    """Has the system read a file while its earlier part is being computed.

    Without it, a core waits for every piece: on a disk of 1.2 GB/s, sound that is not in the page cache is
    read at half the pace that it is computed with.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._asked = 0
        self._descriptor = -1
        if hasattr(os, "posix_fadvise"):
            # It only spares waiting: who reads the file says what is wrong with it.
            with suppress(OSError):
                self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size if self._descriptor >= 0 else 0
        self.reached(0)

    def reached(self, position: int) -> None:
        """Say how far the file is read, in bytes."""
        if self._descriptor < 0 or self._asked >= self.size:
            return
        if position + AHEAD // 2 < self._asked:
            return
        begin = max(self._asked, position)
        self._asked = position + AHEAD
        with suppress(OSError):  # a file system that takes no advice
            os.posix_fadvise(self._descriptor, begin, self._asked - begin, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def opened(
    path: Path, sound: Sound, kind: type[soundfile.SoundFile] = Stream
) -> Iterator[soundfile.SoundFile]:
    """Open a recording; by default to be read from front to back.

    Parameters
    ----------
    path : Path
    sound : Sound
        What was found in it.
    kind : type
        ``Stream``, or ``soundfile.SoundFile`` for one that seeks.

    Raises
    ------
    AudioFault
        ``DC006`` if it cannot be opened.
    """
    with ExitStack() as stack:
        try:
            if sound.raw is None:
                file = kind(path)
            else:
                stretch = stack.enter_context(Stretch(path, *sound.raw))
                file = kind(
                    stretch,
                    samplerate=sound.sample_rate,
                    channels=sound.channels,
                    format="RAW",
                    subtype=sound.subtype,
                    endian="LITTLE",
                )
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFault("DC006", str(error)) from None
        stack.enter_context(file)
        yield file
