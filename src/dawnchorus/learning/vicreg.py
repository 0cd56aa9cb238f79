"""VICReg: variance, invariance, covariance (Bardes et al. 2021, arXiv:2105.04906).

In: two global views of each window. Out: how far the two embeddings of a window are from each other
(invariance), how much each dimension's deviation over the batch falls short of 1 (variance: without
it all windows would become one), and what different dimensions have in common (covariance: without
it all dimensions would become one). There is no teacher and nothing that lasts beside the weights.

Variance and covariance are those of one pass over all processes together. When gradients are
accumulated over several passes, the statistics are of each pass, not of the step: half the windows
in a pass is another, noisier loss.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dawnchorus import config
from dawnchorus.learning.collapse import Symptom
from dawnchorus.learning.crops import Crop, crops_of
from dawnchorus.learning.method import Figures, Method
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.pooling import features
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock

LEAST_BALANCE = 4.0
"""How many times the variance's weight the invariance's may be before it is named as the cause of a
collapse."""
VIEWS = 2


def expander(width: int, settings: config.Vicreg) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them, the last without bias."""
    sizes = [width] + [settings.expander_width] * settings.expander_layers
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1], bias=False))


def missing_deviation(centred: Tensor, epsilon: float) -> Tensor:
    """Mean over dimensions of ``max(0, 1 - sqrt(variance + epsilon))``.

    Parameters
    ----------
    centred : Tensor, shape (n, d)
        Embeddings less their mean. The variance is over n - 1; of a single one it is 0.
    epsilon : float
    """
    variance = centred.square().sum(dim=0) / max(centred.shape[0] - 1, 1)
    return F.relu(1.0 - torch.sqrt(variance + epsilon)).mean()


def squared_covariance(centred: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, over the number of dimensions.

    Parameters
    ----------
    centred : Tensor, shape (n, d)

    Notes
    -----
    The squares of all of ``Z'Z`` add up to those of ``ZZ'``. With fewer windows than dimensions the
    latter is the smaller matrix: 512 windows of 8192 dimensions need 1 MB instead of 256.
    """
    windows, dimensions = centred.shape
    inner = centred @ centred.T if windows < dimensions else centred.T @ centred
    diagonal = centred.square().sum(dim=0)
    apart = inner.square().sum() - diagonal.square().sum()
    return apart / (max(windows - 1, 1) ** 2 * dimensions)


def vicreg_terms(
    one: Tensor, other: Tensor, epsilon: float, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor]:
    """Return invariance, variance and covariance, unweighted.

    Parameters
    ----------
    one, other : Tensor, shape (n, d)
        Embeddings of the two views of this process's windows, in float32 or finer.
    epsilon : float
    ranks : Ranks

    Returns
    -------
    invariance : Tensor
        Mean squared difference, of this process's windows.
    variance : Tensor
        :func:`missing_deviation`, mean over the two views, of all processes' windows.
    covariance : Tensor
        :func:`squared_covariance`, sum over the two views, of all processes' windows.
    """
    everyone = [ranks.gathered(view) for view in (one, other)]
    centred = [view - view.mean(dim=0) for view in everyone]
    variance = torch.stack([missing_deviation(view, epsilon) for view in centred]).mean()
    covariance = torch.stack([squared_covariance(view) for view in centred]).sum()
    return F.mse_loss(one, other), variance, covariance


class Vicreg(Method):
    """One network, its expander, and the loss between two views."""

    least_windows = 2
    """A single window has no variance, and batch norm refuses it."""

    def __init__(
        self, experiment: config.Experiment, mels: int, frames: int, clock: Clock, ranks: Ranks
    ) -> None:
        super().__init__(experiment, mels, frames, clock, ranks)
        self.settings = experiment.vicreg
        self.network = self.build_backbone(experiment.drop_path)
        self.expander = expander(self.dimension, self.settings)

    @property
    def crops(self) -> tuple[Crop, ...]:
        """Two global crops; there are no local ones."""
        experiment = self.experiment
        whole, _ = crops_of(experiment.augmentation, self.mels, self.frames, experiment.patch)
        return (whole,) * VIEWS

    @property
    def backbone(self) -> Backbone:
        """The network without its expander."""
        return self.network

    def causes(self, symptom: Symptom) -> tuple[str, ...]:
        """What in these settings lets all windows have one embedding."""
        own, found = self.settings, []
        if own.variance < own.invariance / LEAST_BALANCE:
            found.append(
                f"vicreg.variance is {own.variance:g}, too little beside invariance "
                f"{own.invariance:g}: take as much"
            )
        if symptom == "few dimensions" and own.covariance == 0:
            found.append("vicreg.covariance is 0: take 0.5 or 1")
        return tuple(found)

    def forward(self, views: list[Tensor], step: int) -> tuple[Tensor, Figures]:
        """Return the loss and its three terms, unweighted.

        The views go through the network one after the other: batch norms see them apart.
        """
        found = [features(self.network, view, self.experiment.pooling) for view in views]
        embedded = [self.expander(one) for one in found]
        weights = self.settings
        with torch.autocast(views[0].device.type, enabled=False):
            one, other = (value.float() for value in embedded)
            invariance, variance, covariance = vicreg_terms(one, other, weights.epsilon, self.ranks)
            loss = (
                weights.invariance * invariance
                + weights.variance * variance
                + weights.covariance * covariance
            )
        figures = {
            "invariance": invariance.detach(),
            "variance": variance.detach(),
            "covariance": covariance.detach(),
            "embeddings": torch.cat(found).detach(),
            "outputs": torch.cat(embedded).detach(),
        }
        return self.spread_out(loss, found, figures), figures
