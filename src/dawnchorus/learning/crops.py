"""The kinds of views that are cut from a window: how much they cover, and the shape they get.

In: an experiment's augmentation, the window's shape, the patch. Out: the global and the local crop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dawnchorus.config import Augmentation, Patch, sides
from dawnchorus.errors import DawnChorusError

Share = tuple[float, float]
"""Smallest and largest share of a window."""


@dataclass(frozen=True)
class Crop:
    """A kind of view.

    Attributes
    ----------
    mels, frames : int
        Shape that a crop is resized to; multiples of the patch.
    mel_share, time_share : tuple of float
        Smallest and largest share of the window's rows and frames that it covers.
    area : tuple of float, optional
        Smallest and largest share of the window's area, instead of the two shares.
    """

    mels: int
    frames: int
    mel_share: Share
    time_share: Share
    area: Share | None = None

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


def crops_of(settings: Augmentation, mels: int, frames: int, patch: Patch) -> tuple[Crop, Crop]:
    """Return the global and the local crop of windows of ``mels`` x ``frames``.

    Parameters
    ----------
    settings : Augmentation
    mels, frames : int
    patch : int or pair
        Crops are whole patches.

    Raises
    ------
    DawnChorusError
        If a shape that was asked for is not.
    """
    photo = settings.photographic

    def crop(mel: Share, time: Share, area: Share | None, shape: tuple[int, int] | None) -> Crop:
        made = replace(Crop.of(mels, frames, patch, mel, time), area=area)
        if shape is None:
            return made
        if any(size % side for size, side in zip(shape, sides(patch), strict=True)):
            raise DawnChorusError(
                f"a crop of {shape[0]} x {shape[1]} does not divide into patches of {patch}",
                "augmentation.photographic",
                "take multiples of the patch for global_shape and local_shape",
            )
        return replace(made, mels=shape[0], frames=shape[1])

    return (
        crop(settings.global_mel, settings.global_time, photo.global_area, photo.global_shape),
        crop(settings.local_mel, settings.local_time, photo.local_area, photo.local_shape),
    )
