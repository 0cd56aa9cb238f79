"""KoLeo: features spread evenly over the sphere, each away from its nearest neighbour.

Sablayrolles et al. 2019, arXiv:1806.03198, as in DINOv2 (arXiv:2304.07193): of the features on the
unit sphere, the mean of ``-ln`` of the distance to the nearest other window of the batch. The
entropy estimate of Kozachenko and Leonenko, up to constants.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dawnchorus.learning.ranks import Ranks

EPSILON = 1e-8
"""Keeps the logarithm finite where two windows have the same features."""
NEVER_NEAREST = -2.0
"""Below every cosine."""


def koleo(features: Tensor, ranks: Ranks) -> Tensor:
    """Return the KoLeo term of one view of a batch.

    The neighbours are looked for among the windows of all processes, with gradients: the mean over
    processes is the term of the whole batch.

    Parameters
    ----------
    features : Tensor, shape (n, d)
        Of this process's windows; float32 at least is computed with.
    ranks : Ranks

    Returns
    -------
    Tensor
        Mean over this process's windows; 0 if the batch is a single window, which has no neighbour.
    """
    with torch.autocast(features.device.type, enabled=False):
        own = F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
        everyone = ranks.gathered(own)
        if everyone.shape[0] < 2:
            return own.sum() * 0.0
        with torch.no_grad():
            cosine = own @ everyone.T
            rows = torch.arange(own.shape[0], device=own.device)
            cosine[rows, rows + ranks.rank * own.shape[0]] = NEVER_NEAREST
            nearest = cosine.argmax(dim=1)
        distance = F.pairwise_distance(own, everyone[nearest], p=2, eps=EPSILON)
        return -torch.log(distance + EPSILON).mean()
