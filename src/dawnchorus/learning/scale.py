"""From stored codes to what the network sees.

In: codes (uint8) of windows, on any device. Out: decibels, either as they are stored (``level``) or
above the window's own median in each mel band (``contrast``), normalised by the mean and deviation
of the training set.

Contrast takes away the noise floor of place, recorder and weather, and leaves what moves: song.
Level keeps it: the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Input = Literal["level", "contrast"]

CODES = 256
ROWS_AT_ONCE = 1024
"""Windows counted at a time: the intermediates take several times the codes."""
SAMPLE_WINDOWS = 20_000
"""Windows that the mean and deviation are taken from. Where windows differ by 10 dB, the mean of so
many is within 0.07 dB of that of all."""


@dataclass(frozen=True)
class Scale:
    """Decibels of code 0, per code; the training set's mean and deviation; what is looked at."""

    db_min: float
    db_step: float
    mean: float
    std: float
    input: Input = "level"

    def decibels(self, codes: Tensor) -> Tensor:
        """Return decibels before normalisation: float32 (n, 1, mels, frames) for (n, mels, frames).

        The median is the lower one, a code that occurs, so that a batch changes nothing.
        """
        values = codes.to(torch.float32)
        if self.input == "contrast":
            # Differences of codes are whole numbers, exact in float32.
            values = values.sub_(values.median(dim=2, keepdim=True).values).mul_(self.db_step)
        else:
            values = values.mul_(self.db_step).add_(self.db_min)
        return values.unsqueeze(1)

    def normalised(self, decibels: Tensor) -> Tensor:
        """Return ``(dB - mean) / std``; changes its argument."""
        return decibels.sub_(self.mean).div_(self.std)


def measured(codes: NDArray[np.uint8], db_min: float, db_step: float, seen: Input) -> Scale:
    """Return the scale of a training set: mean and deviation exact, from a histogram.

    The deviation is at least one step, so that a silent set can still be divided by it.

    Parameters
    ----------
    codes : uint8 (n, mels, frames)
    db_min, db_step : float
        Decibels of code 0 and per code.
    seen : {"level", "contrast"}
    """
    return of_counts(counted(codes, seen), db_min, db_step, seen)


def sample_rows(windows: int) -> NDArray[np.int64]:
    """Return the rows of a training set that are measured, ascending: all, or a fixed sample.

    It follows from the size of the set alone: the same for every experiment, process, start and way
    of feeding.
    """
    if windows <= SAMPLE_WINDOWS:
        return np.arange(windows)
    return np.sort(np.random.default_rng(windows).choice(windows, SAMPLE_WINDOWS, replace=False))


def counted(codes: NDArray[np.uint8], seen: Input) -> NDArray[np.int64]:
    """Count the values (codes, or codes above the median) of windows, shape (512,), from -256."""
    count = np.zeros(2 * CODES, dtype=np.int64)
    for first in range(0, codes.shape[0], ROWS_AT_ONCE):
        some = torch.from_numpy(codes[first : first + ROWS_AT_ONCE])
        values = some.to(torch.int16)
        if seen == "contrast":
            values = values - some.median(dim=2, keepdim=True).values
        count += np.bincount(values.add_(CODES).numpy().reshape(-1), minlength=2 * CODES)
    return count


def of_counts(count: NDArray[np.int64], db_min: float, db_step: float, seen: Input) -> Scale:
    """Return the scale that counts of values stand for; see :func:`measured`."""
    value = np.arange(2 * CODES) - CODES
    mean = float((count * value).sum() / count.sum())
    variance = float((count * (value - mean) ** 2).sum() / count.sum())
    zero = 0.0 if seen == "contrast" else db_min
    return Scale(db_min, db_step, mean * db_step + zero, max(variance**0.5, 1.0) * db_step, seen)
