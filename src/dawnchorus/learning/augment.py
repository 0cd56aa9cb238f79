"""Views of a window, varied as sound varies; batched, on the device, not flipped.

In: stored codes (uint8) of a batch, the crops that a method wants. Out: one normalised float32
tensor per crop. Each view is a crop in time and frequency of the window or of a neighbour in time,
resized to the crop's fixed shape; for some, laid over the noise of a quiet window
(:mod:`dawnchorus.learning.backgrounds`), or mixed with the same crop of another window of the batch
(log-mixup-exp of BYOL-A, arXiv:2103.06695), both in the power domain; a gain and a
frequency response in decibels; bands and spans masked with the mean (SpecAugment, arXiv:1904.08779).

Time and frequency are never reversed: a crop's scale is a share of the window, so always positive.
(The poster's training did; that and the rest of what it took from photographs is
:mod:`dawnchorus.learning.photographic`, and off.)

What is random is drawn on the CPU for the whole batch of all processes from (seed, step, view), and
a process takes the rows of its own windows. So a window's crops, gain and masks depend neither on
the number of processes, nor on how many passes a batch is cut into, nor on the kind of device, and
there is no generator state to save. Only the partner of a mix is chosen among the windows of the
same process and pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dawnchorus.config import Augmentation, Photographic
from dawnchorus.learning import photographic
from dawnchorus.learning.crops import Crop, Share
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.scale import CODES, LN10_OVER_10, Scale, power_sum

WAVES = 5
"""Half waves that make up a random frequency response."""


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
    response: Tensor
    mel_masks: tuple[Tensor, Tensor]
    time_masks: tuple[Tensor, Tensor]
    laid_over: Tensor
    background: Tensor
    background_start: Tensor
    background_db: Tensor
    from_neighbour: Tensor
    blur: Tensor
    solarised: Tensor
    reversed: Tensor


def draw(
    settings: Augmentation,
    crop: Crop,
    window_frames: int,
    batch: int,
    generator: torch.Generator,
    own: slice = slice(None),
    *,
    number: int = 0,
    choices: tuple[Tensor, Tensor] | None = None,
) -> Draw:
    """Draw one view's random numbers for a batch and keep the rows of ``own``.

    Masks are drawn in rows and frames of the crop. A time mask is scaled with the crop's width, so
    that it hides the same share of a narrow crop as of a whole window.

    Parameters
    ----------
    settings : Augmentation
    crop : Crop
    window_frames : int
    batch : int
        Windows of the step, over all processes and passes.
    generator : torch.Generator
    own : slice
        The rows of the batch that are here.
    number : int
        Which view it is, from 0.
    choices : pair of Tensor of int64, shape (b,), optional
        First and count of the backgrounds of each window here; without them there are none.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand((batch, *shape), generator=generator)[own]

    def share(span: Share) -> Tensor:
        return span[0] + (span[1] - span[0]) * uniform()

    def masks(count: int, largest: int, size: int) -> tuple[Tensor, Tensor]:
        width = torch.floor(uniform(count) * (min(largest, size) + 1))
        start = torch.floor(uniform(count) * (size - width + 1))
        return start, start + width

    photo, kind = settings.photographic, min(number, 2)
    if crop.area is None:
        mel_share, time_share = share(crop.mel_share), share(crop.time_share)
    else:
        mel_share, time_share = photographic.shares_by_area(share(crop.area), uniform())
    widest = round(settings.time_mask_frames * crop.frames / window_frames)
    mel_start, time_start = uniform() * (1 - mel_share), uniform() * (1 - time_share)
    mixed = uniform() < settings.mix_probability
    mix_share = settings.mix_share * uniform()
    another = uniform()
    here = another.shape[0]
    partner = (torch.arange(here) + 1 + torch.floor(another * (here - 1)).long()) % here
    gain = settings.gain_db * (2 * uniform() - 1)
    waves = torch.randn((batch, WAVES), generator=generator)[own]
    mel_masks = masks(settings.frequency_masks, settings.frequency_mask_mels, crop.mels)
    time_masks = masks(settings.time_masks, widest, crop.frames)
    laid_over = uniform() < settings.background_probability
    quietest, loudest = settings.background_db
    background_db = quietest + (loudest - quietest) * uniform()
    background_start, chosen = uniform() * (1 - time_share), uniform()
    if choices is None:
        laid_over, background = torch.zeros(here, dtype=torch.bool), torch.zeros(here).long()
    else:
        background = choices[0] + torch.floor(chosen * choices[1]).long()
    from_neighbour = (uniform() < settings.neighbour_probability) & (number > 0)
    low, high = photographic.BLUR_SIGMA
    sigma = low + (high - low) * uniform()
    blurred = uniform() < photo.blur_probability[kind]
    return Draw(
        mel_share=mel_share,
        mel_start=mel_start,
        time_share=time_share,
        time_start=time_start,
        mixed=mixed & (partner != torch.arange(here)),
        mix_share=mix_share,
        partner=partner,
        gain=gain,
        response=response(settings.response_db * waves, crop.mels),
        mel_masks=mel_masks,
        time_masks=time_masks,
        laid_over=laid_over,
        background=background,
        background_start=background_start,
        background_db=background_db,
        from_neighbour=from_neighbour,
        blur=torch.where(blurred, sigma, 0.0),
        solarised=uniform() < photo.solarise_probability[kind],
        reversed=uniform() < photo.reverse_probability,
    )


def views(
    codes: Tensor,
    crops: tuple[Crop, ...],
    settings: Augmentation,
    scale: Scale,
    seed: tuple[int, int],
    ranks: Ranks,
    *,
    batch: int | None = None,
    first: int = 0,
    backgrounds: Tensor | None = None,
    choices: tuple[Tensor, Tensor] | None = None,
    neighbours: Tensor | None = None,
) -> list[Tensor]:
    """Make the views of a batch, or of one pass of it.

    Parameters
    ----------
    codes : Tensor of uint8, shape (b, mels, frames)
        This process's windows: every ``ranks.world``-th of the batch from ``ranks.rank``, or a run
        of them.
    crops : tuple of Crop
        One per view.
    settings : Augmentation
    scale : Scale
    seed : tuple of int
        Training seed and step.
    ranks : Ranks
    batch : int, optional
        Windows of the whole step; by default these are all there are of this process.
    first : int
        How many of this process's windows came in earlier passes of the step.
    backgrounds : Tensor of int16, shape (p, mels, frames), optional
        Codes of quiet windows above their noise floor, on the device.
    choices : pair of Tensor of int64, shape (b,), optional
        First and count of each window's among them.
    neighbours : Tensor of uint8, shape (b, mels, frames), optional
        A neighbour in time of each window, or the window itself.

    Returns
    -------
    list of Tensor of float32, shape (b, channels, crop.mels, crop.frames)
    """
    decibels = scale.decibels(codes)
    beside = None if neighbours is None else scale.decibels(neighbours)
    floor, floor_beside = (
        None if x is None or backgrounds is None else scale.floor(x) for x in (decibels, beside)
    )
    here, world = codes.shape[0], ranks.world
    own = slice(ranks.rank + first * world, ranks.rank + (first + here) * world, world)
    made = []
    for number, crop in enumerate(crops):
        generator = torch.Generator().manual_seed(stream(*seed, number))
        drawn = draw(
            settings,
            crop,
            codes.shape[2],
            here * world if batch is None else batch,
            generator,
            own,
            number=number,
            choices=None if backgrounds is None else choices,
        )
        source, under = decibels, floor
        if beside is not None and bool(drawn.from_neighbour.any()):
            taken = column(drawn.from_neighbour, codes.device)
            source = torch.where(taken, beside, decibels)
            if floor is not None and floor_beside is not None:
                under = torch.where(taken, floor_beside, floor)
        photo = settings.photographic
        made.append(view(source, crop, drawn, scale, photo, backgrounds, under))
    return made


def view(
    decibels: Tensor,
    crop: Crop,
    drawn: Draw,
    scale: Scale,
    photo: Photographic | None = None,
    backgrounds: Tensor | None = None,
    floor: Tensor | None = None,
) -> Tensor:
    """Make one view of a batch from its random numbers.

    Parameters
    ----------
    decibels : Tensor of float32, shape (b, channels, mels, frames)
        From :meth:`Scale.decibels`.
    crop : Crop
    drawn : Draw
    scale : Scale
    photo : Photographic, optional
        How a crop is resized.
    backgrounds : Tensor of int16, shape (p, mels, frames), optional
        Needed if any is drawn.
    floor : Tensor of float32, shape (b, 1, mels, frames or 1), optional
        From :meth:`Scale.floor`: needed with backgrounds, if there is one.

    Returns
    -------
    Tensor of float32, shape (b, channels, crop.mels, crop.frames)
        Normalised.
    """
    device = decibels.device
    interpolation = "bilinear" if photo is None else photo.interpolation
    grid = sampling_grid(crop, drawn, device)
    out = _resample(decibels, grid, interpolation)
    # Which windows are laid over or mixed is known on the CPU: no waiting for the device, no work
    # for the others.
    rows = torch.nonzero(drawn.laid_over).squeeze(1)
    if rows.numel() and backgrounds is not None:
        where = rows.to(device)
        noise = backgrounds[drawn.background[rows].to(device)].to(torch.float32)
        noise = noise.mul_(scale.db_step).add_(column(drawn.background_db[rows], device)[:, 0])
        elsewhere = sampling_grid(crop, drawn, device, drawn.background_start)[where]
        noise = _resample(noise.unsqueeze(1), elsewhere, interpolation)
        under = None if floor is None else _resample(floor[where], grid[where], interpolation)
        out[where] = scale.laid_over(out[where], noise, under, drawn.background_db[rows].to(device))
    rows = torch.nonzero(drawn.mixed).squeeze(1)
    if rows.numel():
        partners, where = drawn.partner[rows].to(device), rows.to(device)
        other = _resample(decibels[partners], grid[where], interpolation)
        out[where] = mix(out[where], other, drawn.mix_share[rows].to(device))
    if scale.hears_gain:
        louder = drawn.gain[:, None] + drawn.response
        out = out + louder.to(device, non_blocking=True)[:, None, :, None]
    out = _photographed(out, drawn, scale)
    out = scale.normalised(out)
    hidden = masked(drawn.mel_masks, crop.mels, device)[:, None, :, None]
    hidden = hidden | masked(drawn.time_masks, crop.frames, device)[:, None, None, :]
    return out.masked_fill_(hidden, 0.0)


def _photographed(x: Tensor, drawn: Draw, scale: Scale) -> Tensor:
    """Vary views as photographs are varied, where that was drawn for any."""
    if bool(drawn.reversed.any()):
        x = photographic.reversed_in_time(x, drawn.reversed.to(x.device))
    if bool(drawn.blur.any()):
        x = photographic.blurred(x, drawn.blur.to(x.device))
    if scale.input == "level" and bool(drawn.solarised.any()):
        highest = scale.db_min + (CODES - 1) * scale.db_step
        x = photographic.solarised(x, drawn.solarised.to(x.device), scale.db_min, highest)
    return x


def response(waves: Tensor, mels: int) -> Tensor:
    """Return smooth frequency responses in decibels, (b, mels).

    Parameters
    ----------
    waves : Tensor, shape (b, n)
        Amplitudes of half waves over the rows, the widest first; the k-th is divided by k.
    mels : int
    """
    place = (torch.arange(mels) + 0.5) / mels
    number = torch.arange(1, waves.shape[1] + 1)
    return (waves / number) @ torch.cos(math.pi * number[:, None] * place[None, :])


def mix(x: Tensor, y: Tensor, share: Tensor) -> Tensor:
    """Add two sounds given in decibels: ``10 lg((1 - a) 10^(x/10) + a 10^(y/10))``.

    Parameters
    ----------
    x, y : Tensor, shape (n, channels, mels, frames)
        Decibels.
    share : Tensor, shape (n,)
        ``a``, the power share of ``y``, in [0, 1).
    """
    own = x + column(torch.log1p(-share) / LN10_OVER_10, x.device)
    return power_sum(own, y + column(torch.log(share) / LN10_OVER_10, x.device))


def sampling_grid(
    crop: Crop, drawn: Draw, device: torch.device, time_start: Tensor | None = None
) -> Tensor:
    """Where a crop's cells lie in the window, for ``grid_sample`` (-1 and 1 are the outer edges).

    Parameters
    ----------
    crop : Crop
    drawn : Draw
    device : torch.device
    time_start : Tensor, shape (b,), optional
        Where it begins in time, instead of where it was drawn.

    Returns
    -------
    Tensor of float32, shape (b, crop.mels, crop.frames, 2)
        Along both axes rising: nothing is ever flipped.
    """

    def places(start: Tensor, share: Tensor, size: int) -> Tensor:
        cell = (torch.arange(size, device=device) + 0.5) / size
        return 2 * (start.to(device)[:, None] + share.to(device)[:, None] * cell) - 1

    mel = places(drawn.mel_start, drawn.mel_share, crop.mels)[:, :, None]
    time = places(
        drawn.time_start if time_start is None else time_start, drawn.time_share, crop.frames
    )[:, None, :]
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


def _resample(decibels: Tensor, grid: Tensor, interpolation: str = "bilinear") -> Tensor:
    return F.grid_sample(
        decibels, grid, mode=interpolation, padding_mode="border", align_corners=False
    )
