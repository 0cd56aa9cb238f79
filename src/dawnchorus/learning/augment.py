"""Views of a window, varied as sound varies; batched, on the device, never flipped.

In: stored codes (uint8) of a batch, the crops that a method wants. Out: one normalised float32
tensor per crop. Each view is a crop in time and frequency, resized to the crop's fixed shape; for
some, mixed with the same crop of another window of the batch in the power domain (log-mixup-exp of
BYOL-A, arXiv:2103.06695); a gain in decibels; bands and spans masked with the mean (SpecAugment,
arXiv:1904.08779).

Time and frequency are never reversed: a crop's scale is a share of the window, so always positive.

What is random is drawn on the CPU for the whole batch of all processes from (seed, step, view), and
a process takes the rows of its own windows. So a window's crops, gain and masks depend neither on
the number of processes nor on the kind of device, and there is no generator state to save. Only the
partner of a mix is chosen among the windows of the same process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dawnchorus.config import Augmentation, Patch, sides
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.scale import Scale

LN10_OVER_10 = math.log(10.0) / 10.0
"""Decibels to natural logarithms of power."""

Share = tuple[float, float]


@dataclass(frozen=True)
class Crop:
    """A kind of view.

    Attributes
    ----------
    mels, frames : int
        Shape that a crop is resized to; multiples of the patch.
    mel_share, time_share : tuple of float
        Smallest and largest share of the window's rows and frames that it covers.
    """

    mels: int
    frames: int
    mel_share: Share
    time_share: Share

    @classmethod
    def of(cls, mels: int, frames: int, patch: Patch, mel_share: Share, time_share: Share) -> Crop:
        """Crop of a window, resized to the largest it may be, in whole patches.

        So sound is hardly ever shrunk, and no detail lost to it; small crops are cheap.
        """

        def side(size: int, largest: float, patch: int) -> int:
            return max(1, round(size * largest / patch)) * patch

        high, wide = sides(patch)
        return cls(
            side(mels, mel_share[1], high),
            side(frames, time_share[1], wide),
            mel_share,
            time_share,
        )


@dataclass(frozen=True)
class Draw:
    """The random numbers of one view of a batch; all tensors are (b,) or (b, masks), on the CPU."""

    mel_share: Tensor
    mel_start: Tensor
    time_share: Tensor
    time_start: Tensor
    mixed: Tensor
    mix_share: Tensor
    partner: Tensor
    gain: Tensor
    mel_masks: tuple[Tensor, Tensor]
    time_masks: tuple[Tensor, Tensor]


def draw(
    settings: Augmentation,
    crop: Crop,
    window_frames: int,
    batch: int,
    generator: torch.Generator,
    own: slice = slice(None),
) -> Draw:
    """Draw one view's random numbers for a batch and keep the rows of ``own``.

    Masks are drawn in rows and frames of the crop. A time mask is scaled with the crop's width, so
    that it hides the same share of a narrow crop as of a whole window.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand((batch, *shape), generator=generator)[own]

    def share(span: Share) -> Tensor:
        return span[0] + (span[1] - span[0]) * uniform()

    def masks(count: int, largest: int, size: int) -> tuple[Tensor, Tensor]:
        width = torch.floor(uniform(count) * (min(largest, size) + 1))
        start = torch.floor(uniform(count) * (size - width + 1))
        return start, start + width

    mel_share, time_share = share(crop.mel_share), share(crop.time_share)
    widest = round(settings.time_mask_frames * crop.frames / window_frames)
    mel_start, time_start = uniform() * (1 - mel_share), uniform() * (1 - time_share)
    mixed = uniform() < settings.mix_probability
    mix_share = settings.mix_share * uniform()
    another = uniform()
    here = another.shape[0]
    partner = (torch.arange(here) + 1 + torch.floor(another * (here - 1)).long()) % here
    return Draw(
        mel_share=mel_share,
        mel_start=mel_start,
        time_share=time_share,
        time_start=time_start,
        mixed=mixed & (partner != torch.arange(here)),
        mix_share=mix_share,
        partner=partner,
        gain=settings.gain_db * (2 * uniform() - 1),
        mel_masks=masks(settings.frequency_masks, settings.frequency_mask_mels, crop.mels),
        time_masks=masks(settings.time_masks, widest, crop.frames),
    )


def views(
    codes: Tensor,
    crops: tuple[Crop, ...],
    settings: Augmentation,
    scale: Scale,
    seed: tuple[int, int],
    ranks: Ranks,
) -> list[Tensor]:
    """Make the views of a batch.

    Parameters
    ----------
    codes : Tensor of uint8, shape (b, mels, frames)
        This process's windows: every ``ranks.world``-th of the batch from ``ranks.rank``.
    crops : tuple of Crop
        One per view.
    settings : Augmentation
    scale : Scale
    seed : tuple of int
        Training seed and step.
    ranks : Ranks

    Returns
    -------
    list of Tensor of float32, shape (b, channels, crop.mels, crop.frames)
    """
    decibels = scale.decibels(codes)
    batch = codes.shape[0] * ranks.world
    own = slice(ranks.rank, None, ranks.world)
    made = []
    for number, crop in enumerate(crops):
        generator = torch.Generator().manual_seed(stream(*seed, number))
        drawn = draw(settings, crop, codes.shape[2], batch, generator, own)
        made.append(view(decibels, crop, drawn, scale))
    return made


def view(decibels: Tensor, crop: Crop, drawn: Draw, scale: Scale) -> Tensor:
    """Make one view of a batch from its random numbers.

    Parameters
    ----------
    decibels : Tensor of float32, shape (b, channels, mels, frames)
        From :meth:`Scale.decibels`.
    crop : Crop
    drawn : Draw
    scale : Scale

    Returns
    -------
    Tensor of float32, shape (b, channels, crop.mels, crop.frames)
        Normalised.
    """
    device = decibels.device
    grid = sampling_grid(crop, drawn, device)
    out = _resample(decibels, grid)
    # Which windows are mixed is known on the CPU: no waiting for the device, no work for the
    # others.
    rows = torch.nonzero(drawn.mixed).squeeze(1)
    if rows.numel():
        partners, where = drawn.partner[rows].to(device), rows.to(device)
        other = _resample(decibels[partners], grid[where])
        out[where] = mix(out[where], other, drawn.mix_share[rows].to(device))
    if scale.hears_gain:
        out = out + column(drawn.gain, device)
    out = scale.normalised(out)
    hidden = masked(drawn.mel_masks, crop.mels, device)[:, None, :, None]
    hidden = hidden | masked(drawn.time_masks, crop.frames, device)[:, None, None, :]
    return out.masked_fill_(hidden, 0.0)


def mix(x: Tensor, y: Tensor, share: Tensor) -> Tensor:
    """Add two sounds given in decibels: ``10 lg((1 - a) 10^(x/10) + a 10^(y/10))``.

    Parameters
    ----------
    x, y : Tensor, shape (n, channels, mels, frames)
        Decibels.
    share : Tensor, shape (n,)
        ``a``, the power share of ``y``, in [0, 1).
    """
    own = (x * LN10_OVER_10).add_(column(torch.log1p(-share), x.device))
    other = (y * LN10_OVER_10).add_(column(torch.log(share), x.device))
    return torch.logaddexp(own, other).div_(LN10_OVER_10)


def sampling_grid(crop: Crop, drawn: Draw, device: torch.device) -> Tensor:
    """Where a crop's cells lie in the window, for ``grid_sample`` (-1 and 1 are the outer edges).

    Returns
    -------
    Tensor of float32, shape (b, crop.mels, crop.frames, 2)
        Along both axes rising: nothing is ever flipped.
    """

    def places(start: Tensor, share: Tensor, size: int) -> Tensor:
        cell = (torch.arange(size, device=device) + 0.5) / size
        return 2 * (start.to(device)[:, None] + share.to(device)[:, None] * cell) - 1

    mel = places(drawn.mel_start, drawn.mel_share, crop.mels)[:, :, None]
    time = places(drawn.time_start, drawn.time_share, crop.frames)[:, None, :]
    shape = (-1, crop.mels, crop.frames)
    return torch.stack([time.expand(shape), mel.expand(shape)], dim=-1)


def masked(spans: tuple[Tensor, Tensor], size: int, device: torch.device) -> Tensor:
    """Which of ``size`` cells lie in one of the spans; Tensor of bool, shape (b, size)."""
    start, end = (edge.to(device, non_blocking=True)[:, :, None] for edge in spans)
    cell = torch.arange(size, device=device)
    return ((cell >= start) & (cell < end)).any(dim=1)


def column(values: Tensor, device: torch.device) -> Tensor:
    """One value per window, ready to meet (b, 1, mels, frames)."""
    return values.to(device, non_blocking=True)[:, None, None, None]


def stream(*numbers: int) -> int:
    """A generator's seed from several numbers; neighbours have nothing in common (SplitMix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state % 2**63


def _resample(decibels: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(
        decibels, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
