"""The batches of a training on its device, whichever way the windows come.

In: the frozen set and the order of its windows. Out: :class:`Batch` after :class:`Batch`, gathered
a few steps ahead of the network by a thread, in page-locked memory for a GPU.

Two feeds give the same batches. :class:`MemoryFeed` holds all windows, once per node;
:class:`StreamFeed` reads them from the stores as the order wants them (:mod:`streaming`) and holds
a bounded number. :func:`open_feed` chooses by the memory there is: the order does not depend on it,
so a training may go on with the other feed, on another machine.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.config import Experiment
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import memory
from dawnchorus.learning.partners import Partner
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.learning.scale import CODES, Input, Scale, counted, of_counts, sample_rows
from dawnchorus.learning.streaming import Pool, Source, places_needed

STEPS_AHEAD = 3
"""Batches gathered before the network asks: one on its way, and two for a step that comes late."""
LEAST_BATCHES = 4
"""A stream holds at least so many batches."""
MOST_READERS = 4
"""Threads of a process that read and decode: over 5,000 windows per CPU second."""
HELD_SHARE, STREAM_SHARE = 0.75, 0.5
"""Of the memory there is, for the whole set or for a stream's windows."""
MEASURED_AT_ONCE = 2048


class FrozenWindows(Source, Protocol):
    """The training set: :class:`dawnchorus.learning.frozen.FrozenSet`."""

    @property
    def db_min(self) -> float:
        """Decibels of code 0."""

    @property
    def db_step(self) -> float:
        """Decibels per code."""

    def fill(self, codes: NDArray[np.uint8], part: int = 0, parts: int = 1) -> None:
        """Read the ``part``-th of ``parts`` stretches of all windows into their places."""


@dataclass(frozen=True)
class Batch:
    """This process's windows of a step: every ``world``-th of the batch from its own rank.

    Attributes
    ----------
    step : int
    codes : Tensor of uint8, shape (share, mels, frames)
        On the device of the training.
    rows : int64, shape (share,)
        Of the training set's table.
    companions : Tensor of uint8, shape (share, mels, frames), or None
        Another window for each, as the partner chose; itself where there is none.
    companion_rows : int64, shape (share,), or None
    """

    step: int
    codes: Tensor
    rows: NDArray[np.int64]
    companions: Tensor | None
    companion_rows: NDArray[np.int64] | None


class Feed(Protocol):
    """Gives batches."""

    @property
    def sampler(self) -> EpochSampler:
        """The order of the windows."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some windows of the training set, uint8 (n, mels, frames)."""

    def batches(self, first: int, end: int, partner: Partner | None = None) -> Iterator[Batch]:
        """Yield this process's share of the batches of steps ``first`` to ``end - 1``.

        Raises
        ------
        DawnChorusError
            If a window cannot be read any more.
        """


Take = Callable[[int, NDArray[np.int64], NDArray[np.uint8]], None]


@dataclass(frozen=True)
class MemoryFeed:
    """All windows in memory, shared by the processes of the node.

    Attributes
    ----------
    codes : ndarray of uint8, shape (windows, mels, frames)
    """

    codes: NDArray[np.uint8]
    sampler: EpochSampler
    ranks: Ranks

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some windows."""
        return self.codes[rows]

    def batches(self, first: int, end: int, partner: Partner | None = None) -> Iterator[Batch]:
        """Yield this process's share of the batches of steps ``first`` to ``end - 1``."""

        def take(step: int, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
            np.take(self.codes, rows, axis=0, out=out, mode="clip")

        shape = (self.codes.shape[1], self.codes.shape[2])
        yield from _gathered(take, shape, self.sampler, self.ranks, first, end, partner)


@dataclass(frozen=True)
class StreamFeed:
    """Windows read from the stores as they are needed.

    Attributes
    ----------
    frozen : FrozenWindows
    shape : tuple of int
        (mels, frames).
    most : int
        Windows that this process may hold.
    readers : int
        Threads that read.
    """

    frozen: FrozenWindows
    shape: tuple[int, int]
    sampler: EpochSampler
    ranks: Ranks
    most: int
    readers: int

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some windows."""
        return self.frozen.read(rows)

    def places(self, companions: bool = False) -> tuple[int, int]:
        """Windows of the order to look ahead, and places to hold what is read of them.

        A block, and an eighth more for the next one; less if there is no memory for so many.
        """
        sampler, world = self.sampler, self.ranks.world
        ahead = min(sampler.block_windows, sampler.windows)
        while (needed := places_needed(sampler, world, ahead, companions)) > self.most:
            if ahead <= LEAST_BATCHES * sampler.batch_size:
                raise DawnChorusError(
                    f"a stream needs memory for {needed:,} windows in each process, "
                    f"and there is some for {self.most:,}",
                    "memory_gb",
                    "take a smaller batch, or give it more memory",
                )
            ahead = max(LEAST_BATCHES * sampler.batch_size, ahead // 2)
        return ahead, min(self.most, needed + needed // 8)

    def batches(self, first: int, end: int, partner: Partner | None = None) -> Iterator[Batch]:
        """Yield this process's share of the batches of steps ``first`` to ``end - 1``."""
        ranks = self.ranks
        ahead, held = self.places(partner is not None)
        with Pool(
            *(self.frozen, self.sampler, ranks.rank, ranks.world, first, end),
            held=held,
            ahead=ahead,
            readers=self.readers,
            partner=partner,
        ) as pool:
            yield from _gathered(
                pool.take, self.shape, self.sampler, self.ranks, first, end, partner
            )


def open_feed(
    frozen: FrozenWindows,
    shape: tuple[int, int],
    sampler: EpochSampler,
    ranks: Ranks,
    experiment: Experiment,
) -> Feed:
    """Choose the feed by the memory there is, and fill it; all processes call it together.

    Parameters
    ----------
    frozen : FrozenWindows
    shape : tuple of int
        (mels, frames).
    sampler : EpochSampler
    ranks : Ranks
    experiment : Experiment
        Its ``feed`` and ``memory_gb``.

    Raises
    ------
    DawnChorusError
        If the set shall be held and does not fit, cannot be read, or is of another shape.
    """
    windows, size = sampler.windows, shape[0] * shape[1]
    frozen.read(np.zeros(1, dtype=np.int64), np.empty((1, *shape), dtype=np.uint8))
    free = memory.available()
    given = None if experiment.memory_gb is None else int(experiment.memory_gb * memory.GB)
    most = given or int(HELD_SHARE * free)
    # One answer for all processes, and on every node: filling it, they wait for each other.
    fits = windows * size <= (given or free if experiment.feed == "memory" else most)
    fits = ranks.sum(torch.tensor(float(fits), device=ranks.device)).item() == ranks.world
    taken = f"{windows:,} windows ({windows * size / memory.GB:,.2f} GB)"
    if experiment.feed == "memory" and not fits:
        raise DawnChorusError(
            f"{taken} do not fit into the {(given or free) / memory.GB:,.2f} GB there are",
            "feed",
            "set feed to stream or auto, or draw fewer (training_set.windows)",
        )
    if fits and experiment.feed != "stream":
        codes = memory.shared(ranks, (windows, *shape))
        frozen.fill(codes, ranks.local_rank, ranks.local_world)
        ranks.wait()
        return MemoryFeed(codes, sampler, ranks)
    most = given or int(STREAM_SHARE * free)
    readers = max(1, min(MOST_READERS, _cores() // ranks.local_world))
    feed = StreamFeed(frozen, shape, sampler, ranks, most // ranks.local_world // size, readers)
    ahead, held = feed.places()
    slower = "" if ahead >= min(sampler.block_windows, windows) else ", less than a block: slower"
    ranks.say(
        f"{taken} are streamed; a process holds {held:,} ({held * size / memory.GB:,.2f} GB){slower}"
    )
    return feed


def measured(feed: Feed, frozen: FrozenWindows, windows: int, seen: Input, ranks: Ranks) -> Scale:
    """Return the scale of the training set, from a fixed sample of it; the same for any feed.

    Parameters
    ----------
    feed : Feed
    frozen : FrozenWindows
    windows : int
        Size of the training set.
    seen : {"level", "contrast"}
    ranks : Ranks
        The processes share the reading; counts are whole numbers, so their sum is exact.
    """
    own = sample_rows(windows)[ranks.rank :: ranks.world]
    count = np.zeros((len(seen.split("+")), 2 * CODES), dtype=np.int64)
    for first in range(0, len(own), MEASURED_AT_ONCE):
        count += counted(feed.read(own[first : first + MEASURED_AT_ONCE]), seen)
    total = ranks.sum(torch.from_numpy(count).to(ranks.device)).cpu().numpy()
    return of_counts(total, frozen.db_min, frozen.db_step, seen)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Gathered:
    rows: NDArray[np.int64]
    companion_rows: NDArray[np.int64] | None
    codes: Tensor


def _gathered(
    take: Take,
    shape: tuple[int, int],
    sampler: EpochSampler,
    ranks: Ranks,
    first: int,
    end: int,
    partner: Partner | None,
) -> Iterator[Batch]:
    """Gather batches some steps ahead in a thread, and hand them to the device one by one."""
    on_gpu = ranks.device.type == "cuda"

    def gather(step: int) -> _Gathered:
        rows = sampler.share(step, ranks.rank, ranks.world)
        others = None if partner is None else partner(rows, step)
        wanted = rows if others is None else np.concatenate([rows, others])
        # PyTorch keeps page-locked memory for the next batch, and knows when a copy is through.
        codes = torch.empty((len(wanted), *shape), dtype=torch.uint8, pin_memory=on_gpu)
        take(step, wanted, codes.numpy())
        return _Gathered(rows, others, codes)

    gatherer = ThreadPoolExecutor(1, thread_name_prefix="feed")
    coming: deque[Future[_Gathered]] = deque()
    try:
        for step in range(first, end):
            while len(coming) < min(STEPS_AHEAD, end - step):
                coming.append(gatherer.submit(gather, step + len(coming)))
            here = coming.popleft().result()
            # The copy, 0.3 ms for 512 windows, goes into the device's queue behind the last step.
            codes = here.codes.to(ranks.device, non_blocking=True)
            share = len(here.rows)
            companions = None if here.companion_rows is None else codes[share:]
            yield Batch(step, codes[:share], here.rows, companions, here.companion_rows)
    finally:
        gatherer.shutdown(wait=True, cancel_futures=True)
