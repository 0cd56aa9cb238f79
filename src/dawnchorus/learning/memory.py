"""How much memory a training may take, and an array that the processes of a node share.

In: what the kernel, a container or a scheduler allow. Out: bytes; an array that every process of
the node sees and that is gone with the last of them, however they end.

The shared array lies in anonymous memory (``memfd_create``), which the other processes open through
``/proc``. So neither ``/dev/shm``, 64 MB in many containers, nor the disk behind ``TMPDIR`` has to
hold it, it is never written to a disk, and a process killed with SIGKILL leaves nothing behind.
Where there is no such memory (macOS), it is a file in the temporary folder, with all its room taken
at once and its name removed as soon as all have opened it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.ranks import Ranks
from dawnchorus.results import NO_ROOM

GB = 1e9
UNLIMITED = 1 << 60


def available(system: Path = Path("/")) -> int:
    """Bytes that may still be taken: of the machine, and of every limit that this process is under.

    What the kernel would give up for it (the page cache) counts as available. Limits are those of
    control groups, version 1 and 2, from this process's group up: containers and Slurm set them.

    Parameters
    ----------
    system : Path
        Where ``proc`` and ``sys`` lie.
    """
    free = UNLIMITED
    described = _numbers(system / "proc/meminfo", ":")
    if "MemAvailable" in described:
        free = described["MemAvailable"] * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    groups = system / "sys/fs/cgroup"
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            free = min(free, _left(groups, path, *names))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            free = min(free, _left(groups / "memory", path, *names))
    return max(0, free)


def _left(mount: Path, path: str, limit: str, usage: str, evictable: str) -> int:
    """The least that a group and those above it leave; a container sees its own as the mount."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    least = UNLIMITED
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
        if most.isdigit() and used.isdigit() and int(most) < UNLIMITED:
            cache = _numbers(folder / "memory.stat", None).get(evictable, 0)
            least = min(least, int(most) - int(used) + cache)
    return least


def _numbers(path: Path, separator: str | None) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = [line.split(separator, 1) for line in _text(path).splitlines()]
    return {pair[0].strip(): int(pair[1].split()[0]) for pair in pairs if len(pair) == 2}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def shared(ranks: Ranks, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array of uint8, zeros, that the processes of a node share.

    All processes call it at the same time.

    Raises
    ------
    DawnChorusError
        If there is no room for it.
    """
    if ranks.world == 1:
        return np.zeros(shape, dtype=np.uint8)
    handle, path = -1, ""
    if ranks.local_rank == 0:
        handle, path = _made(int(np.prod(shape)))
    path = ranks.told_by_first_of_node(path)
    if not path:
        raise DawnChorusError("has no room for the windows", tempfile.gettempdir(), "make room")
    try:
        mapped = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)
    except OSError as error:
        raise DawnChorusError(
            f"is not shared with this process ({error.strerror})", path, "set feed to stream"
        ) from None
    ranks.wait()
    if handle >= 0:
        os.close(handle)
    elif ranks.local_rank == 0:
        Path(path).unlink()
    return mapped


def _made(size: int) -> tuple[int, str]:
    """Make the shared memory: its handle (-1 for a file) and its path; no path without room."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("dawnchorus-windows")
        os.truncate(handle, size)
        return handle, f"/proc/{os.getpid()}/fd/{handle}"
    handle, path = tempfile.mkstemp(prefix="dawnchorus-", suffix=".codes")
    try:
        # All of it now: a hole that the disk cannot fill later would end the process (SIGBUS).
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.truncate(handle, size)
    except OSError as error:
        Path(path).unlink()
        if error.errno in NO_ROOM:
            return -1, ""
        raise
    finally:
        os.close(handle)
    return -1, path
