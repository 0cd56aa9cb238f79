"""The variations of photographs, which the poster's own training gave to its spectrograms.

In: views in decibels, random numbers per window. Out: views blurred, solarised, reversed in time. They
are here for parity with that training (recipe ``seed2022``) and off everywhere else: a song does
not run backwards, and the loudest cell is not the quietest.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR_SIGMA = (0.1, 2.0)
"""Smallest and largest standard deviation in cells (DINO, arXiv:2104.14294, after BYOL)."""
BLUR_RADIUS = 6
"""Cells on each side that a blur looks at: three of the largest standard deviation."""
SHAPE_RATIO = (3.0 / 4.0, 4.0 / 3.0)
"""Of width to height of a crop drawn by area, where the window's own shape counts as a square."""


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur each view with a Gaussian of its own width.

    Parameters
    ----------
    x : Tensor, shape (b, c, mels, frames)
    sigma : Tensor, shape (b,)
        Standard deviation in cells; 0 leaves a view as it is.

    Returns
    -------
    Tensor, shape (b, c, mels, frames)
        Edges are repeated outwards.
    """
    views, channels, mels, frames = x.shape
    offset = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=x.device, dtype=x.dtype)
    weight = torch.exp(-0.5 * (offset / sigma[:, None].clamp_min(1e-3)) ** 2)
    weight = weight / weight.sum(dim=1, keepdim=True)
    weight = weight.repeat_interleave(channels, dim=0)
    # One group per view: all are blurred in one call, each with its own kernel.
    flat = x.reshape(1, views * channels, mels, frames)
    flat = F.pad(flat, (BLUR_RADIUS,) * 4, mode="replicate")
    flat = F.conv2d(flat, weight[:, None, None, :], groups=views * channels)
    flat = F.conv2d(flat, weight[:, None, :, None], groups=views * channels)
    return flat.reshape(x.shape)


def solarised(x: Tensor, chosen: Tensor, low: float, high: float) -> Tensor:
    """Turn the louder half of the scale of the chosen views upside down: ``low + high - x``.

    Parameters
    ----------
    x : Tensor, shape (b, c, mels, frames)
    chosen : Tensor of bool, shape (b,)
    low, high : float
        Ends of the scale, as 0 and 255 are in a photograph.
    """
    loud = chosen[:, None, None, None] & (x >= (low + high) / 2)
    return torch.where(loud, low + high - x, x)


def reversed_in_time(x: Tensor, chosen: Tensor) -> Tensor:
    """Run the chosen views, (b,) of bool, backwards."""
    return torch.where(chosen[:, None, None, None], x.flip(-1), x)


def shares_by_area(area: Tensor, ratio_draw: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of rows and frames of crops of a given area and a random shape.

    As torchvision's RandomResizedCrop on a window that was made square: the logarithm of width over
    height is uniform; a side that would stand over is cut to the window's.

    Parameters
    ----------
    area : Tensor, shape (b,)
        Share of the window's area.
    ratio_draw : Tensor, shape (b,)
        Uniform in [0, 1).

    Returns
    -------
    mel_share, time_share : Tensor, shape (b,)
    """
    low, high = (math.log(ratio) for ratio in SHAPE_RATIO)
    ratio = torch.exp(low + (high - low) * ratio_draw)
    return (area / ratio).sqrt().clamp_max(1.0), (area * ratio).sqrt().clamp_max(1.0)
