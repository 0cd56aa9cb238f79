"""Values that change over a training: pure functions of the step.

In: the step (0 is the first), how many there are, where a value starts and ends. Out: the value.
Epochs may be fractional; :class:`Clock` turns them into steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

REFERENCE_BATCH = 256
"""Windows per step for which learning rates are given (Goyal et al. 2017, arXiv:1706.02677)."""


@dataclass(frozen=True)
class Clock:
    """How long a training is.

    Attributes
    ----------
    steps_per_epoch : int
        Whole batches in the training set.
    total_steps : int
        Steps of the whole training.
    batch_size : int
        Windows per step over all processes.
    """

    steps_per_epoch: int
    total_steps: int
    batch_size: int

    @classmethod
    def of(cls, windows: int, batch_size: int, epochs: float) -> Clock:
        """Clock of ``epochs`` over ``windows``; at least one step. The last, partial batch is left."""
        steps_per_epoch = windows // batch_size
        return cls(steps_per_epoch, max(1, round(epochs * steps_per_epoch)), batch_size)

    def steps(self, epochs: float) -> int:
        """Steps in so many epochs."""
        return round(epochs * self.steps_per_epoch)

    def epoch(self, step: int) -> float:
        """Epochs done when ``step`` steps are done."""
        return step / self.steps_per_epoch


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """Go from ``start`` at step 0 to ``end`` at step ``steps - 1`` by half a cosine, and stay there."""
    done = step / max(steps - 1, 1)
    if done <= 0.0 or done >= 1.0:  # exactly, not by way of rounding
        return start if done <= 0.0 else end
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * done))


def linear(step: int, steps: int, start: float, end: float) -> float:
    """Go from ``start`` at step 0 to ``end`` at step ``steps`` in a straight line, and stay there."""
    if step >= steps:
        return end
    return start + (end - start) * step / steps


def warmup_cosine(step: int, warmup: int, steps: int, peak: float, end: float) -> float:
    """Rise in a straight line to ``peak`` over ``warmup`` steps, then fall to ``end`` by half a
    cosine.

    The first step already learns (``peak / warmup``), the last of the warm-up is at the peak.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return cosine(step - warmup, steps - warmup, peak, end)


def scaled_learning_rate(learning_rate: float, batch_size: int) -> float:
    """Scale a learning rate given for a batch of 256 linearly with the batch."""
    return learning_rate * batch_size / REFERENCE_BATCH
