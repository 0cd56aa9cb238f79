"""Whitening: the last turn of the embedding, so that a few loud directions do not drown the rest.

In: features of windows of the training set, without labels. Out: :class:`Whitening`, which centres
features, turns them to their principal axes and shrinks each by its deviation::

    y = (x - mean) V / sqrt(variance + shrinkage * mean variance)

The level of a scene spans the axes of large variance, a song those of small; cosine distances,
which neighbours and clusters go by, see only the former as they are. Without shrinkage the noise of
the smallest axes would count as much as anything; a large one changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """Centres, turns and scales features.

    Parameters
    ----------
    mean : Tensor, shape (d,)
    matrix : Tensor, shape (d, k)
        Principal axes of the largest variance first, each divided by its shrunk deviation.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    @classmethod
    def fit(
        cls, features: Iterable[Tensor], shrinkage: float, dimensions: int | None = None
    ) -> Whitening:
        """Learn from features, in one pass, in float64.

        Parameters
        ----------
        features : iterable of Tensor, shape (n, d)
        shrinkage : float
            Share of the mean variance that is added to every axis' own.
        dimensions : int, optional
            Axes kept, at most; all by default.

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
        variance, axes = variance.flip(0).clamp_min(0.0), axes.flip(1)
        # An axis has no sign of its own: the largest entry is positive, on every machine.
        largest = axes.abs().argmax(dim=0)
        axes = axes * torch.sign(axes[largest, torch.arange(axes.shape[1])])
        least = torch.finfo(torch.float64).tiny
        scale = (variance + shrinkage * variance.mean()).clamp_min(least).rsqrt()
        matrix = (axes * scale)[:, :dimensions]
        return cls((shift + off).float(), matrix.float().contiguous())

    def forward(self, features: Tensor) -> Tensor:
        """Return float32 (n, k) for features (n, d)."""
        return (features.float() - self.mean) @ self.matrix
