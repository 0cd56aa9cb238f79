"""The training set in memory, and its batches on the device.

In: the frozen set's windows as uint8. Out: batches of codes on the device, read one step ahead of
the network. The processes of a node share one copy: a
file in the temporary folder that is unlinked as soon as all have mapped it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.sampler import EpochSampler

Fill = Callable[[NDArray[np.uint8]], None]


def shared_codes(ranks: Ranks, shape: tuple[int, int, int], fill: Fill) -> NDArray[np.uint8]:
    """Hold the training set once per node.

    Parameters
    ----------
    ranks : Ranks
    shape : tuple of int
        (windows, mels, frames).
    fill : callable
        Writes the codes into the array it is given; called on the first process of each node.
    """
    if ranks.world == 1:
        codes = np.empty(shape, dtype=np.uint8)
        fill(codes)
        return codes
    path = ""
    if ranks.local_rank == 0:
        with tempfile.NamedTemporaryFile(
            prefix="dawnchorus-", suffix=".codes", delete=False
        ) as file:
            path = file.name
        written = np.memmap(path, dtype=np.uint8, mode="w+", shape=shape)
        fill(written)
        written.flush()
    path = ranks.told_by_first_of_node(path)
    mapped = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)
    ranks.wait()
    if ranks.local_rank == 0:
        Path(path).unlink()
    return mapped


def batches(
    codes: NDArray[np.uint8], sampler: EpochSampler, ranks: Ranks, first: int, end: int
) -> Iterator[Tensor]:
    """Yield this process's share of the batches of steps ``first`` to ``end - 1``, on its device.

    Yields
    ------
    Tensor of uint8, shape (share, mels, frames)
    """
    on_gpu = ranks.device.type == "cuda"
    everything = torch.from_numpy(codes)

    def gather(step: int) -> Tensor:
        rows = torch.from_numpy(sampler.share(step, ranks.rank, ranks.world).copy())
        out = torch.empty((rows.shape[0], *codes.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)
        return torch.index_select(everything, 0, rows, out=out)

    with ThreadPoolExecutor(1, thread_name_prefix="feed") as reader:
        coming = [reader.submit(gather, step) for step in range(first, min(first + 1, end))]
        for step in range(first, end):
            here = coming.pop().result()
            if step + 1 < end:
                coming.append(reader.submit(gather, step + 1))
            yield here.to(ranks.device, non_blocking=True)
