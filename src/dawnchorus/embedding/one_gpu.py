"""A GPU of one's own among the members of a packed job.

In: how many GPUs this process sees. Out: the number of one that no other process of ours uses now.

On a cluster many recorder-days are embedded side by side on one node, and nobody hands out its GPUs: all of
them would take the first. A lock file per GPU, in the node's own temporary folder, ends with its process.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

_held: dict[int, FileLock] = {}
"""What this process has taken; kept until it ends."""


def take_gpu(count: int) -> int:
    """Return the number of a GPU, the same for every call of this process.

    Parameters
    ----------
    count : int
        How many there are, at least 1. Where all are taken, one is shared.
    """
    if _held:
        return next(iter(_held))
    # Numbers are within what is visible; two jobs on one node may each see their own first GPU.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) == count and all(visible) else [str(n) for n in range(count)]
    folder = Path(tempfile.gettempdir()) / f"dawnchorus-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, name in enumerate(names):
        lock = FileLock(folder / f"{name.replace('/', '_')}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held[number] = lock
        return number
    return os.getpid() % count
