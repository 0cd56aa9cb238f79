"""What a WAV file's header says, found by walking its chunks with bounded reads.

In: a file. Out: :class:`Riff` with where the samples lie, what the header promises, and the
metadata chunks that recorders write before *or after* the samples (``LIST`` INFO comments, ``guan``,
``wamd``), or None if the file is no RIFF/RF64/BW64 WAVE. What the metadata mean is read by
:mod:`~dawnchorus.recordings.metadata`.

Whatever the file claims, at most :data:`MOST_CHUNKS` chunk heads and :data:`MOST_METADATA` bytes of each
metadata chunk are read: a hostile or broken header costs milliseconds, not memory.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

MOST_CHUNKS = 256
MOST_METADATA = 64 * 1024
STREAMED = 0xFFFFFFFF
"""Size that stands for "unknown when the header was written" (and for "see ds64" in RF64)."""

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class Riff:
    """A WAVE file's header, as it is, true or not."""

    container: str
    """``RIFF``, ``RF64`` or ``BW64``."""
    format_tag: int
    """1 PCM, 3 float, others as registered; the sub-format where the header is extensible."""
    channels: int
    sample_rate: int
    bits: int
    data_offset: int | None
    """First byte of the samples; None if there is no data chunk."""
    promised_bytes: int
    """Size of the data chunk according to the header."""
    file_bytes: int
    """Size of the file on disk."""
    chunks: tuple[str, ...] = ()
    """Ids of all chunks in their order."""
    info: dict[str, str] = field(default_factory=dict)
    """Entries of ``LIST`` INFO by id (``ICMT`` is the comment, ``IART`` the artist)."""
    guano: dict[str, str] = field(default_factory=dict)
    """Entries of the GUANO chunk."""
    wamd: dict[int, str] = field(default_factory=dict)
    """Texts of the ``wamd`` chunk of Wildlife Acoustics by their number."""
    data_end: int = 0
    """First byte behind the data chunk as the header tells it; may lie beyond the file."""
    walked: int = 0
    """First byte that no chunk covers; the file's end, if the chunks are in order."""

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame for PCM and float; computed, since the header's own field may lie."""
        return self.channels * ((self.bits + 7) // 8)

    @property
    def is_linear(self) -> bool:
        """True where frames have a fixed number of bytes and can be counted from the size."""
        return self.format_tag in (PCM, FLOAT) and self.frame_bytes > 0

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of samples that the file really holds, as far as the header claims them."""
        if self.data_offset is None:
            return 0
        return max(0, min(self.promised_bytes, self.file_bytes - self.data_offset))


def read_riff(path: Path | str) -> Riff | None:
    """Walk the chunks of a WAVE file.

    Parameters
    ----------
    path : Path or str
        Any file.

    Returns
    -------
    Riff or None
        None if the file does not begin as a WAVE file or ends before its ``fmt`` chunk.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _walk(_Bytes(descriptor))
    finally:
        os.close(descriptor)


class _Bytes:
    """Bytes of an open file by position; its beginning is read once, as most chunks lie there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = os.pread(descriptor, 4096, 0)
        self.size = os.fstat(descriptor).st_size

    def at(self, position: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``position`` on; fewer at the end of the file."""
        if position + count <= len(self._head):
            return self._head[position : position + count]
        # Beyond any file, and beyond what the system call takes.
        return os.pread(self._descriptor, count, position) if position < self.size else b""


def _walk(file: _Bytes) -> Riff | None:
    head = file.at(0, 12)
    if len(head) < 12 or head[8:12] != b"WAVE" or head[:4] not in (b"RIFF", b"RF64", b"BW64"):
        return None
    fmt: tuple[int, int, int, int] | None = None
    data: tuple[int, int] | None = None
    long_data: int | None = None
    ids: list[str] = []
    info: dict[str, str] = {}
    guano: dict[str, str] = {}
    wamd: dict[int, str] = {}
    position = 12
    while len(ids) < MOST_CHUNKS and position + 8 <= file.size:
        position = _aligned(file, position)
        raw = file.at(position, 8)
        if len(raw) < 8 or not _looks_like_id(raw[:4]):
            break
        chunk, size = raw[:4], struct.unpack("<I", raw[4:])[0]
        ids.append(chunk.decode("ascii"))
        start = position + 8
        if chunk == b"ds64":
            payload = file.at(start, min(size, 28))
            if len(payload) >= 16:
                long_data = struct.unpack("<Q", payload[8:16])[0]
        elif chunk == b"fmt ":
            fmt = _format(file.at(start, min(size, 64)))
        elif chunk == b"data":
            if size == STREAMED:
                size = long_data if long_data is not None else max(0, file.size - start)
            data = data or (start, size)
        elif chunk == b"LIST":
            info.update(_info(file.at(start, min(size, MOST_METADATA))))
        elif chunk == b"guan":
            guano.update(_guano(file.at(start, min(size, MOST_METADATA))))
        elif chunk == b"wamd":
            wamd.update(_wamd(file.at(start, min(size, MOST_METADATA))))
        position = start + size
    if fmt is None:
        return None
    return Riff(
        container=head[:4].decode("ascii"),
        format_tag=fmt[0],
        channels=fmt[1],
        sample_rate=fmt[2],
        bits=fmt[3],
        data_offset=None if data is None else data[0],
        promised_bytes=0 if data is None else data[1],
        file_bytes=file.size,
        chunks=tuple(ids),
        info=info,
        guano=guano,
        wamd=wamd,
        data_end=0 if data is None else sum(data),
        walked=position,
    )


def _looks_like_id(raw: bytes) -> bool:
    return raw.isascii() and raw.decode("ascii").isprintable() and not raw.isspace()


def _aligned(file: _Bytes, position: int) -> int:
    """Position of the next chunk: padded to an even byte, or not by writers that forgot to."""
    if position % 2 == 0:
        return position
    here = file.at(position, 4)
    return position if len(here) == 4 and _looks_like_id(here) else position + 1


def _format(payload: bytes) -> tuple[int, int, int, int] | None:
    if len(payload) < 16:
        return None
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", payload[:16])
    if tag == EXTENSIBLE and len(payload) >= 26:
        tag = struct.unpack("<H", payload[24:26])[0]
    return tag, channels, rate, bits


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()


def _info(payload: bytes) -> dict[str, str]:
    entries: dict[str, str] = {}
    if payload[:4] != b"INFO":
        return entries
    position = 4
    while position + 8 <= len(payload):
        key = payload[position : position + 4]
        size = struct.unpack("<I", payload[position + 4 : position + 8])[0]
        if not _looks_like_id(key):
            break
        entries[key.decode("ascii")] = _text(payload[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    return entries


def _guano(payload: bytes) -> dict[str, str]:
    """Split ``key: value`` lines (GUANO 1.0, https://guano-md.org)."""
    entries: dict[str, str] = {}
    for line in payload.decode("utf-8", errors="replace").replace("\0", "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            entries.setdefault(key.strip(), value.strip())
    return entries


MOST_WAMD_TEXT = 1024
"""Longer entries of a ``wamd`` chunk are programs and voice notes, not texts."""


def _wamd(payload: bytes) -> dict[int, str]:
    """Split entries of number (16 bit), size (32 bit) and text, little-endian."""
    entries: dict[int, str] = {}
    position = 0
    while position + 6 <= len(payload):
        number, size = struct.unpack("<HI", payload[position : position + 6])
        position += 6
        if size <= MOST_WAMD_TEXT and position + size <= len(payload):
            entries.setdefault(number, _text(payload[position : position + size]))
        position += size
    return entries
