"""From stored codes to what the network sees.

In: codes (uint8) of windows, on any device. Out: decibels, either as they are stored (``level``),
above the window's own median in each mel band (``contrast``), or both as two channels
(``level+contrast``), normalised by the mean and deviation of the training set, channel by channel.

Contrast takes away the noise floor of place, recorder and weather, and leaves what moves: song.
Level keeps it: the scene.

Where both are seen, a window on its way through the augmentations is its level beside its noise
floor (the median of each band, the same in all frames); contrast is taken at the very end, as the
difference. So whatever is done to both alike is right for both: a crop is above the floor of its
whole window, not of what the crop shows; the floor of a mix is the mix of the floors (the median of
two equal noises together is up to 1 dB higher, as they fill each other's gaps); a gain changes the
level and not the contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.config import Input

LN10_OVER_10 = math.log(10.0) / 10.0
"""Decibels to natural logarithms of power."""
PerChannel = float | tuple[float, ...]
"""One number, or one for each of several channels."""

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
    mean: PerChannel
    std: PerChannel
    input: Input = "level"

    @property
    def channels(self) -> int:
        """Channels of what the network sees."""
        return 2 if self.input == "level+contrast" else 1

    @property
    def hears_gain(self) -> bool:
        """Whether a louder window is another window: above its own median it is not."""
        return self.input != "contrast"

    def decibels(self, codes: Tensor) -> Tensor:
        """Return decibels before normalisation: float32 (n, channels, mels, frames).

        Of ``level+contrast``, the level and the noise floor.

        Parameters
        ----------
        codes : Tensor of uint8, shape (n, mels, frames)

        Notes
        -----
        The median is the lower one, a code that occurs, so that a batch changes nothing.
        """
        values = codes.to(torch.float32)
        if self.input == "level":
            return values.mul_(self.db_step).add_(self.db_min).unsqueeze(1)
        floor = values.median(dim=2, keepdim=True).values
        if self.input == "contrast":
            # Differences of codes are whole numbers, exact in float32.
            return values.sub_(floor).mul_(self.db_step).unsqueeze(1)
        both = torch.stack([values, floor.expand_as(values)], dim=1)
        return both.mul_(self.db_step).add_(self.db_min)

    def floor(self, decibels: Tensor) -> Tensor | None:
        """Return the noise floor of windows in decibels; None where it is 0.

        Parameters
        ----------
        decibels : Tensor, shape (n, channels, mels, frames)
            From :meth:`decibels`.

        Returns
        -------
        Tensor, shape (n, 1, mels, frames)
            Or (n, 1, mels, 1): it is the same in all frames.
        """
        if self.input == "contrast":
            return None
        if self.input == "level":
            return decibels.median(dim=3, keepdim=True).values
        return decibels[:, 1:]

    def laid_over(self, view: Tensor, noise: Tensor, floor: Tensor | None, above: Tensor) -> Tensor:
        """Lay views over noise of a known level.

        Parameters
        ----------
        view : Tensor, shape (n, channels, mels, frames)
            Decibels.
        noise : Tensor, shape (n, 1, mels, frames)
            Decibels above the views' own noise floor.
        floor : Tensor, shape (n, 1, mels, frames), optional
            That floor.
        above : Tensor, shape (n,)
            The noise's median above the floor.
        """
        if floor is None:  # contrast: what stands out now stands out above a higher floor
            together = power_sum(view, noise)
            return together.sub_(together.median(dim=3, keepdim=True).values)
        level = power_sum(view[:, :1], noise + floor)
        if self.input == "level":
            return level
        higher = power_sum(torch.zeros_like(above), above)[:, None, None, None]
        return torch.cat([level, view[:, 1:] + higher], dim=1)

    def normalised(self, decibels: Tensor) -> Tensor:
        """Return what the network sees, ``(dB - mean) / std``; changes its argument."""
        if self.input == "level+contrast":
            decibels[:, 1].neg_().add_(decibels[:, 0])
        both = zip(each_channel(self.mean), each_channel(self.std), strict=True)
        for channel, (mean, std) in enumerate(both):
            decibels[:, channel].sub_(mean).div_(std)
        return decibels


def power_sum(x: Tensor, y: Tensor) -> Tensor:
    """Return ``10 lg(10^(x/10) + 10^(y/10))``: two sounds together, in decibels."""
    return torch.logaddexp(x * LN10_OVER_10, y * LN10_OVER_10).div_(LN10_OVER_10)


def each_channel(values: PerChannel) -> tuple[float, ...]:
    """One number per channel."""
    return values if isinstance(values, tuple) else (values,)


def sample_rows(windows: int) -> NDArray[np.int64]:
    """Return the rows of a training set that are measured, ascending: all, or a fixed sample.

    It follows from the size of the set alone: the same for every experiment, process, start and way
    of feeding.
    """
    if windows <= SAMPLE_WINDOWS:
        return np.arange(windows)
    return np.sort(np.random.default_rng(windows).choice(windows, SAMPLE_WINDOWS, replace=False))


def counted(codes: NDArray[np.uint8], seen: Input) -> NDArray[np.int64]:
    """Count the values (codes, or codes above the median) of windows.

    Returns
    -------
    ndarray of int64, shape (channels, 512)
        How often each value from -256 occurs in each channel.
    """
    channels = seen.split("+")
    count = np.zeros((len(channels), 2 * CODES), dtype=np.int64)
    for first in range(0, codes.shape[0], ROWS_AT_ONCE):
        some = torch.from_numpy(codes[first : first + ROWS_AT_ONCE])
        for channel, name in enumerate(channels):
            values = some.to(torch.int16)
            if name == "contrast":
                values = values - some.median(dim=2, keepdim=True).values
            shifted = values.add_(CODES).numpy().reshape(-1)
            count[channel] += np.bincount(shifted, minlength=2 * CODES)
    return count


def of_counts(count: NDArray[np.int64], db_min: float, db_step: float, seen: Input) -> Scale:
    """Return the scale that counts of values stand for.

    The deviation is at least one step, so that a silent set can still be divided by it.

    Parameters
    ----------
    count : int64 array (channels, 512)
        From :func:`counted`.
    db_min, db_step : float
        Decibels of code 0 and per code.
    seen : {"level", "contrast", "level+contrast"}
    """
    channels = seen.split("+")
    value = np.arange(2 * CODES) - CODES
    means, deviations = [], []
    for of_channel, name in zip(count, channels, strict=True):
        mean = float((of_channel * value).sum() / of_channel.sum())
        variance = float((of_channel * (value - mean) ** 2).sum() / of_channel.sum())
        means.append(mean * db_step + (0.0 if name == "contrast" else db_min))
        deviations.append(max(variance**0.5, 1.0) * db_step)
    if len(channels) == 1:
        return Scale(db_min, db_step, means[0], deviations[0], seen)
    return Scale(db_min, db_step, tuple(means), tuple(deviations), seen)
