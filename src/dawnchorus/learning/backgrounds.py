"""The quiet of each recorder: what views are laid over, so that place and weather tell nothing.

In: the table of the training set and a way to read its windows. Out: :class:`Backgrounds`, some quiet
windows of each recorder on the device, as decibels above their own noise floor. They are few and
chosen once, so that a batch costs no further reading, whichever way the training set is fed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.config import Augmentation
from dawnchorus.learning.frozen import Read


@dataclass(frozen=True)
class Backgrounds:
    """Quiet windows, and which of them are of whose recorder.

    Attributes
    ----------
    codes : Tensor of int16, shape (p, mels, frames)
        Codes above each band's median, on the device.
    first, count : int64, shape (recorders,)
        The stretch of ``codes`` that each recorder's windows may be laid over.
    recorder : int64, shape (windows,)
        Number of the recorder of each window of the training set.
    """

    codes: Tensor
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    recorder: NDArray[np.int64]

    def choices(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return where the backgrounds for windows (by row) begin and how many there are."""
        of = self.recorder[rows]
        return torch.from_numpy(self.first[of]), torch.from_numpy(self.count[of])


def quiet_rows(
    table: pl.DataFrame, settings: Augmentation, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Choose the backgrounds.

    Parameters
    ----------
    table : DataFrame
        With recorder and activity.
    settings : Augmentation
        Of a recorder's windows the quietest ``background_quiet`` (one at least) may be chosen, and
        ``background_windows`` of them are.
    seed : int

    Returns
    -------
    rows : int64, shape (p,)
        Of the table, recorder by recorder.
    count : int64, shape (recorders,)
        How many there are of each.
    recorder : int64, shape (windows,)
        Number of each window's recorder.
    """
    names, recorder = np.unique(table["recorder"].cast(pl.String).to_numpy(), return_inverse=True)
    activity = table["activity"].to_numpy()
    chosen = []
    for number in range(len(names)):
        rows = np.flatnonzero(recorder == number)
        rows = rows[np.argsort(activity[rows], kind="stable")]
        rows = rows[: max(1, round(settings.background_quiet * len(rows)))]
        generator = np.random.default_rng([seed, 2, number])
        few = min(settings.background_windows, len(rows))
        chosen.append(np.sort(generator.choice(rows, few, replace=False)))
    count = np.array([len(rows) for rows in chosen], dtype=np.int64)
    return np.concatenate(chosen), count, recorder.astype(np.int64)


def gather(
    table: pl.DataFrame, read: Read, settings: Augmentation, seed: int, device: torch.device
) -> Backgrounds | None:
    """Read the backgrounds of a training set; none if the settings want none.

    Parameters
    ----------
    table : DataFrame
    read : callable
        Returns windows by row, uint8 (n, mels, frames).
    settings : Augmentation
    seed : int
    device : torch.device
    """
    if settings.background_probability == 0:
        return None
    rows, count, recorder = quiet_rows(table, settings, seed)
    codes = torch.from_numpy(read(rows)).to(device)
    codes = codes.to(torch.int16) - codes.median(dim=2, keepdim=True).values.to(torch.int16)
    if settings.background_from == "season":
        first, count = np.zeros_like(count), np.full_like(count, count.sum())
    else:
        first = np.cumsum(count) - count
    return Backgrounds(codes, first, count, recorder)
