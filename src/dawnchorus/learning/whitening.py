"""Whitening: the last turn of the embedding, so that a few loud directions do not drown the rest.

In: features of windows of the training set, without labels. Out: :class:`Whitening`, which centres
features and divides their principal axes V by their deviations, as far as the shrinkage allows::

    y = (x - mean) V diag(1 / sqrt(variance + shrinkage * mean variance)) V'

The last factor turns them back (ZCA), so that no dimension is all noise and what standardises
dimensions afterwards (probes do) changes little. The level of a scene spans the axes of large variance, a song those of small; cosine distances,
which neighbours and clusters go by, see only the former as they are. Without shrinkage the noise of
the smallest axes would count as much as anything; a large one changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """Centres features and evens out their axes.

    Parameters
    ----------
    mean : Tensor, shape (d,)
    matrix : Tensor, shape (d, d)
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    @classmethod
    def fit(cls, features: Iterable[Tensor], shrinkage: float) -> Whitening:
        """Learn from features, in one pass, in float64.

        Parameters
        ----------
        features : iterable of Tensor, shape (n, d)
        shrinkage : float
            Share of the mean variance that is added to every axis' own.

        Raises
        ------
        ValueError
            If there are no features.
        """
        count, shift, total, squares = 0, None, None, None
        for given in features:
            part = given.detach().cpu().to(torch.float64)
            if shift is None or total is None or squares is None:
                # Near the mean, so that the difference of large sums keeps its digits.
                shift = part.mean(dim=0)
                total, squares = torch.zeros_like(shift), part.new_zeros(2 * shift.shape)
            near = part - shift
            count += len(part)
            total += near.sum(dim=0)
            squares += near.T @ near
        if shift is None or total is None or squares is None:
            raise ValueError("no features to whiten")
        off = total / count
        covariance = squares / count - torch.outer(off, off)
        variance, axes = torch.linalg.eigh(covariance)
        variance = variance.clamp_min(0.0)
        least = torch.finfo(torch.float64).tiny
        scale = (variance + shrinkage * variance.mean()).clamp_min(least).rsqrt()
        matrix = (axes * scale) @ axes.T
        return cls((shift + off).float(), matrix.float())

    def forward(self, features: Tensor) -> Tensor:
        """Return float32 (n, d) for features (n, d)."""
        return (features.float() - self.mean) @ self.matrix
