"""Which windows each step learns from: a pure function of the seed and the step.

In: the size of the training set, the batch over all processes, the seed. Out: row numbers of the
frozen table. There is no state to save: a training resumes at the exact batch by asking for the
next step, on any number of processes, and the order does not know how it is fed (:mod:`feed`).

A set of up to ``shuffle_windows`` is shuffled as a whole. A larger one is shuffled in blocks, so
that it can be read from the stores in runs::

    rows of the table   | piece | piece | piece | ...          neighbours in time; cut elsewhere
                                                               in every epoch
    a block             so many pieces from anywhere in the season, dealt out to LANES lanes;
                        each lane shuffles its windows
    order of the epoch  a window of lane 0, of lane 1, ... of lane 47, of lane 0, ...

Process r of W takes every W-th window of a batch from the r-th. Where W divides LANES, those are
whole lanes: each process reads its own pieces and no other's, and all together read each once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

LANES = 48
"""Divisible by 1, 2, 3, 4, 6, 8, 12, 16, 24 and 48 processes."""
MOST_PIECE = 256
"""Windows read in one go: 1.7 times as fast as 32 at a time, and a tenth slower than 512."""
PIECES_PER_LANE = 4
"""At least so many in a block, or windows of one hour would stand in many batches after another."""
SHUFFLE_WINDOWS = 262_144


@dataclass(frozen=True)
class EpochSampler:
    """Every window at most once per epoch, in an order drawn anew for each epoch.

    Attributes
    ----------
    windows : int
        Size of the training set.
    batch_size : int
        Windows per step over all processes; at most ``windows``. The last, partial batch of an
        epoch is left out: other windows each time, each with the same chance, so that over the
        epochs all are seen equally often and every epoch has whole batches of its own.
    seed : int
    shuffle_windows : int
        Windows shuffled together: the whole set up to this size, else blocks of about so many.
    """

    windows: int
    batch_size: int
    seed: int
    shuffle_windows: int = SHUFFLE_WINDOWS

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.windows // self.batch_size

    @property
    def in_blocks(self) -> bool:
        """Whether the set is too large to be shuffled as a whole."""
        return self.windows > self.shuffle_windows

    @property
    def piece(self) -> int:
        """Windows that follow each other in the table and stay in one block and lane.

        1 where the set is shuffled as a whole.
        """
        if not self.in_blocks:
            return 1
        piece = max(1, min(MOST_PIECE, self.shuffle_windows // (LANES * PIECES_PER_LANE)))
        return piece - piece % 4 if piece > 4 else piece  # stores have 4 windows in a chunk

    @property
    def block_windows(self) -> int:
        """Windows of a whole block."""
        if not self.in_blocks:
            return self.windows
        return self._pieces_per_lane * LANES * self.piece

    @property
    def _pieces_per_lane(self) -> int:
        return max(1, self.shuffle_windows // (LANES * self.piece))

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the rows of a step over all processes, in order."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.batch_size
        return self.rows(epoch, first, first + self.batch_size)

    def share(self, step: int, rank: int, world: int) -> NDArray[np.int64]:
        """Return the rows of a step that process ``rank`` of ``world`` takes."""
        return self.batch(step)[rank::world]

    def digest(self, step: int) -> str:
        """XXH3-64 of the rows of a step: two trainings with the same digests saw the same."""
        return xxhash.xxh3_64_hexdigest(self.batch(step).tobytes())

    def rows(self, epoch: int, first: int, end: int) -> NDArray[np.int64]:
        """Return the rows at the places ``first`` to ``end - 1`` of an epoch's order."""
        parts = []
        while first < end:
            start, stop = self.block_of(first)
            parts.append(_block(self, epoch, start)[first - start : end - start])
            first = stop
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def shift(self, epoch: int) -> int:
        """Row at which the first piece of an epoch starts; the last one goes on at row 0.

        So the cuts lie elsewhere in each epoch, and so do the windows that do not fill a piece.
        """
        return int(np.random.default_rng([self.seed, epoch, 0, 1]).integers(self.windows))

    def block_of(self, place: int) -> tuple[int, int]:
        """Return where the block with this place of an epoch's order starts and ends.

        Behind the whole blocks comes a shorter one of whole lanes, and behind it what does not fill
        all lanes, less than ``LANES * piece`` windows, shuffled among themselves.
        """
        if not self.in_blocks:
            return 0, self.windows
        whole = self.windows // self.block_windows * self.block_windows
        if place < whole:
            start = place // self.block_windows * self.block_windows
            return start, start + self.block_windows
        laned = self.windows // (LANES * self.piece) * LANES * self.piece
        return (whole, laned) if place < laned else (laned, self.windows)


# Three: a batch may begin in one block and end in the next, while that after it is being read.
@lru_cache(maxsize=3)
def _block(sampler: EpochSampler, epoch: int, start: int) -> NDArray[np.int64]:
    """Rows of the block that starts at a place of an epoch's order, in order."""
    if not sampler.in_blocks:
        order = np.random.default_rng([sampler.seed, epoch]).permutation(sampler.windows)
    else:
        order = _of_pieces(sampler, epoch, start)
    order.setflags(write=False)
    return order


def _of_pieces(sampler: EpochSampler, epoch: int, start: int) -> NDArray[np.int64]:
    piece, windows = sampler.piece, sampler.windows
    _, end = sampler.block_of(start)
    pieces = windows // piece
    drawn = np.random.default_rng([sampler.seed, epoch]).permutation(pieces)
    drawn = drawn[start // piece : end // piece]
    rows = drawn[:, None] * piece + np.arange(piece)
    own = np.random.default_rng([sampler.seed, epoch, 1 + start])
    if end < windows or (end - start) % (LANES * piece) == 0:
        order = own.permuted(rows.reshape(LANES, -1), axis=1).T.reshape(-1)
    else:
        order = own.permutation(np.append(rows.reshape(-1), np.arange(pieces * piece, windows)))
    return (order + sampler.shift(epoch)) % windows
