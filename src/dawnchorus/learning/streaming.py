"""The windows of a training straight from the stores, in bounded memory.

In: the frozen set, the order, how many windows may be held. Out: the windows of each step. Threads
read ahead: a *stretch* of the order at a time, sorted by store, so that neighbours in a store are
read in one go, into a pool of places that a step gives back as soon as it has taken its windows::

    order    ... | the stretch that steps take from | the next one, filling freed places | ...
    pool     [ window | window | free | window | free | ... ]   never more than `held` places

A stretch is a block of the order (:mod:`sampler`), or less where memory is short; then pieces are
decoded in parts. Each process reads its own windows only, whichever step a training goes on from.

Threads, not processes: a fork does not survive Zarr's threads, and decoding lets go of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Condition, Lock, Thread
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dawnchorus.learning.partners import Partner
from dawnchorus.learning.sampler import EpochSampler

RUN_WINDOWS = 512
"""Most windows of one store that a thread reads at a time."""
WAIT_SECONDS = 5.0
"""How long a thread sleeps before it looks whether it is still needed."""


class Source(Protocol):
    """Where windows are read from: :class:`dawnchorus.learning.frozen.FrozenSet`."""

    def read(
        self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Read windows, uint8 (n, mels, frames); several threads may at once."""

    @property
    def day(self) -> NDArray[np.int32]:
        """Number of each window's store."""


class Stretch:
    """Own windows of some consecutive places of an epoch's order.

    Attributes
    ----------
    first_step, end_step : int
        Steps that take from it.
    rows : int64, shape (n,)
        Of the table, sorted, each once; companions among them.
    places : int32, shape (n,)
        Where in the pool each is; -1 before it is read.
    uses : int32, shape (n,)
        How many times it is still to be taken.
    """

    def __init__(self, first_step: int, end_step: int, rows: list[NDArray[np.int64]]) -> None:
        self.first_step, self.end_step = first_step, end_step
        self.rows, uses = np.unique(np.concatenate(rows), return_counts=True)
        self.uses = uses.astype(np.int32)
        self.places = np.full(len(self.rows), -1, dtype=np.int32)


class Pool:
    """Windows read ahead by threads; use it as a context manager.

    Parameters
    ----------
    source : Source
    sampler : EpochSampler
    rank, world : int
        Whose share of each batch.
    first, end : int
        Steps ``first`` to ``end - 1``, taken one after the other.
    held : int
        Places: most windows in memory.
    ahead : int
        Windows of the order, over all processes, in a stretch.
    readers : int
        Threads.
    partner : Partner, optional
        Read the companions too.

    Raises
    ------
    ValueError
        If there are too few places, see :func:`places_needed`.
    """

    def __init__(
        self,
        source: Source,
        sampler: EpochSampler,
        rank: int,
        world: int,
        first: int,
        end: int,
        *,
        held: int,
        ahead: int,
        readers: int,
        partner: Partner | None = None,
    ) -> None:
        self._source, self._sampler, self._partner = source, sampler, partner
        self._rank, self._world = rank, world
        self._ahead_steps = -(-ahead // sampler.batch_size)
        if held < places_needed(sampler, world, ahead, partner is not None):
            raise ValueError(f"{held} places are too few")
        self._codes: NDArray[np.uint8] | None = None
        self._free = np.arange(held - 1, -1, -1, dtype=np.int32)
        self._free_count = held
        self._stretches: list[Stretch] = []
        self._runs = self._planned(first, end)
        self._order, self._changed = Lock(), Condition()
        self._error: BaseException | None = None
        self._stopped = False
        self._threads = [
            Thread(target=self._read, name=f"reader-{number}", daemon=True)
            for number in range(readers)
        ]

    def __enter__(self) -> Pool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def take(self, step: int, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy windows of a step, each step once; wait until they are read.

        Parameters
        ----------
        step : int
            Not before that of the call before.
        rows : int64, shape (n,)
            This process's rows of the step and, with a partner, their companions.
        out : uint8, shape (n, mels, frames)

        Raises
        ------
        DawnChorusError
            If a store cannot be read.
        """
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                stretch = next((s for s in self._stretches if step < s.end_step), None)
                if stretch is not None:
                    at = np.searchsorted(stretch.rows, rows)
                    places = stretch.places[at]
                    if (places >= 0).all():
                        break
                self._changed.wait(WAIT_SECONDS)
        assert self._codes is not None  # noqa: S101 - something was read
        np.take(self._codes, places, axis=0, out=out, mode="clip")
        with self._changed:
            np.subtract.at(stretch.uses, at, 1)
            done = np.unique(at[stretch.uses[at] == 0])
            self._free[self._free_count : self._free_count + len(done)] = stretch.places[done]
            self._free_count += len(done)
            if step == stretch.end_step - 1:
                self._stretches.remove(stretch)
            self._changed.notify_all()

    def _planned(self, first: int, end: int) -> Iterator[tuple[Stretch, slice]]:
        """Runs of rows of one store, stretch after stretch."""
        sampler, per_epoch = self._sampler, self._sampler.steps_per_epoch
        while first < end:
            epoch, position = divmod(first, per_epoch)
            place = position * sampler.batch_size
            # Up to the end of the block, so that its pieces are read whole; a step that lies
            # across the end belongs to the block it begins in.
            block_end = -(-sampler.block_of(place)[1] // sampler.batch_size)
            last = min(block_end, position + self._ahead_steps, per_epoch) + epoch * per_epoch
            last = min(last, end)
            rows = []
            for step in range(first, last):
                own = sampler.share(step, self._rank, self._world)
                rows.append(own)
                if self._partner is not None:
                    rows.append(self._partner(own, step))
            stretch = Stretch(first, last, rows)
            with self._changed:
                self._stretches.append(stretch)
            for run in self._cut(stretch):
                yield stretch, run
            first = last

    def _cut(self, stretch: Stretch) -> Iterator[slice]:
        day = self._source.day[stretch.rows]
        edges = [0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(day)]
        for number, first in enumerate(edges[:-1]):
            for start in range(first, edges[number + 1], RUN_WINDOWS):
                yield slice(start, min(start + RUN_WINDOWS, edges[number + 1]))

    def _read(self) -> None:
        """Read run after run; what goes wrong is told to whoever takes windows."""
        try:
            while True:
                # Places are given in the order of the runs: the first ones never wait for later.
                with self._order:
                    task = next(self._runs, None)
                    if task is None:
                        return
                    stretch, run = task
                    places = self._places(run.stop - run.start)
                    if places is None:
                        return
                codes = self._source.read(stretch.rows[run])
                with self._changed:
                    if self._codes is None:
                        self._codes = np.empty((len(self._free), *codes.shape[1:]), np.uint8)
                    held = self._codes
                held[places] = codes
                with self._changed:
                    stretch.places[run] = places
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._stopped = True
                self._changed.notify_all()

    def _places(self, count: int) -> NDArray[np.int32] | None:
        """Take free places, or wait for them; None if nobody needs them any more."""
        with self._changed:
            while self._free_count < count and not self._stopped:
                self._changed.wait(WAIT_SECONDS)
            if self._stopped:
                return None
            self._free_count -= count
            return self._free[self._free_count : self._free_count + count].copy()


def places_needed(sampler: EpochSampler, world: int, ahead: int, companions: bool) -> int:
    """How many places a pool needs at the least: a stretch, and a batch of the next one."""
    batches = -(-ahead // sampler.batch_size) + 1
    return batches * -(-sampler.batch_size // world) * (2 if companions else 1)
