"""The processes of a training: one, or several under torchrun.

In: the environment that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK) and the wished device. Out:
:class:`Ranks`, which says who one is and averages numbers over all. gloo on the CPU, nccl on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say

PATH_BYTES = 1024
"""Longest path that one process tells the others of its node."""


@dataclass(frozen=True)
class Ranks:
    """Who this process is among how many, and the device it works on."""

    rank: int
    world: int
    local_rank: int
    device: torch.device
    local_world: int = 1
    """Processes on this node."""

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def say(self, line: str) -> None:
        """Tell a person, once."""
        if self.first:
            say(line)

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes."""
        return self.sum(values) / self.world if self.world > 1 else values

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor over all processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gathered(self, values: Tensor) -> Tensor:
        """Return the rows of all processes, in their order; gradients find their way back.

        The backward pass adds up what all processes want of a row. Each process then has, of a loss
        that all compute alike, as many times its gradient as there are processes, and the mean that
        :class:`~torch.nn.parallel.DistributedDataParallel` takes is that of one process with the
        whole batch.

        Parameters
        ----------
        values : Tensor, shape (n, ...)
            As many rows on every process.

        Returns
        -------
        Tensor, shape (world * n, ...)
        """
        if self.world == 1:
            return values
        return torch.cat(all_gather(values.contiguous()))

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.world > 1:
            # Not dist.barrier(): under nccl that guesses the device.
            dist.all_reduce(torch.zeros(1, device=self.device))

    def told_by_first_of_node(self, text: str) -> str:
        """Return what the first process of this node says."""
        if self.world == 1:
            return text
        said = text.encode().ljust(PATH_BYTES, b"\0")
        if len(said) > PATH_BYTES:
            raise DawnChorusError("the path is too long", text, "set TMPDIR to a shorter folder")
        mine = torch.frombuffer(bytearray(said), dtype=torch.uint8).to(self.device)
        every = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(every, mine)
        theirs = every[self.rank - self.local_rank].cpu().numpy().tobytes()
        return theirs.rstrip(b"\0").decode()


def under_torchrun() -> bool:
    """Whether torchrun (or a scheduler that speaks like it) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def choose_device(wished: str, local_rank: int = 0) -> torch.device:
    """Return the device to work on.

    Parameters
    ----------
    wished : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    local_rank : int
        The process's number on its node: its GPU, unless one is named.

    Raises
    ------
    DawnChorusError
        If it is no such device or is not there.
    """
    if wished == "auto":
        wished = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wished)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise DawnChorusError(
            f"{wished!r} is no device", "--device", "take auto, cpu, cuda or cuda:0"
        )
    if device.type == "cpu":
        return torch.device("cpu")
    number = local_rank if device.index is None else device.index
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        raise DawnChorusError(f"there is no GPU {number} here", "--device", "take --device cpu")
    return torch.device("cuda", number)


def gpus(wished: str) -> int:
    """How many processes a machine is worth: one per GPU that may be used, and one without."""
    if wished not in ("auto", "cuda"):
        return 1
    return max(1, torch.cuda.device_count())


def slow_in_bf16(device: torch.device) -> bool:
    """Whether the device only emulates bf16 arithmetic."""
    return device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextmanager
def joined(wished: str) -> Iterator[Ranks]:
    """Join the other processes, if torchrun started several; leave them at the end."""
    if not under_torchrun():
        yield Ranks(0, 1, 0, choose_device(wished))
        return
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = choose_device(wished, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=world
    )
    try:
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Ranks(rank, world, local_rank, device, local_world)
    finally:
        dist.destroy_process_group()
