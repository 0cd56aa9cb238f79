"""Which windows each step learns from: a pure function of the seed and the step.

In: the size of the training set, the batch over all processes, the seed. Out: row numbers. There is
no state to save: a training resumes at the exact batch by asking for the next step, on any number
of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray


@dataclass(frozen=True)
class EpochSampler:
    """Every window at most once per epoch, in an order drawn anew for each epoch.

    Attributes
    ----------
    windows : int
        Size of the training set.
    batch_size : int
        Windows per step over all processes; at most ``windows``. The last, partial batch of an
        epoch is left out (other windows each time).
    seed : int
    """

    windows: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.windows // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the rows of a step over all processes, in order."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.batch_size
        return _order(self.windows, self.seed, epoch)[first : first + self.batch_size]

    def share(self, step: int, rank: int, world: int) -> NDArray[np.int64]:
        """Return the rows of a step that process ``rank`` of ``world`` takes."""
        return self.batch(step)[rank::world]

    def digest(self, step: int) -> str:
        """XXH3-64 of the rows of a step: two trainings with the same digests saw the same."""
        return xxhash.xxh3_64_hexdigest(self.batch(step).tobytes())


@lru_cache(maxsize=2)
def _order(windows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.random.default_rng([seed, epoch]).permutation(windows)
    order.setflags(write=False)
    return order
