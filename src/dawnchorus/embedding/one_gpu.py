"""A GPU of one's own among the members of a packed job.

In: how many GPUs this process sees. Out: the number of one that no other process of ours uses now; where all are
taken, once one is free.

On a cluster many recorder-days are embedded side by side on one node, and nobody hands out its GPUs: all of
them would take the first. A lock file per GPU, in the node's own temporary folder, ends with its process,
however that ends.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from dawnchorus.progress import say

SECONDS_BETWEEN_LOOKS = 0.5

_held: dict[int, FileLock] = {}
"""What this process has taken; kept until it ends."""


def take_gpu(count: int) -> int:
    """Wait for a free GPU, take it until this process ends, and return its number.

    Parameters
    ----------
    count : int
        How many there are, at least 1.

    Returns
    -------
    int
        The same for every call of this process.
    """
    if _held:
        return next(iter(_held))
    # Numbers are within what is visible; two jobs on one node may each see their own first GPU.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) == count and all(visible) else [str(n) for n in range(count)]
    folder = Path(tempfile.gettempdir()) / f"dawnchorus-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    locks = [FileLock(folder / f"{name.replace('/', '_')}.lock") for name in names]
    number = _free(locks)
    if number is None:
        say(f"other jobs on this node have taken every GPU ({count}): waiting for one")
    while number is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        number = _free(locks)
    _held[number] = locks[number]
    return number


def _free(locks: list[FileLock]) -> int | None:
    """Take the first lock that nobody holds; return its number."""
    for number, lock in enumerate(locks):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return number
    return None
