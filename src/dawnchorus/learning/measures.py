"""What is measured of a training: pure functions of tensors.

In: embeddings (n, d), a method's outputs (n, k), or the distributions (n, k) that teach. Out:
numbers, as tensors on the device. With several processes each holds its own rows; what is a
property of all rows together is computed from moments that :class:`Ranks` averages, so that two
processes measure what one does. All work in float32, RankMe in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dawnchorus.learning.ranks import Ranks

RANKME_EPSILON = 1e-7
"""Added to each share, as in the paper."""


def entropy(distributions: Tensor) -> Tensor:
    """Shannon entropy in nats of each row of (n, k); shape (n,)."""
    return torch.special.entr(distributions.float()).sum(dim=-1)


def information(distributions: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
    """How much a prototype tells about the window, and what that is made of.

    Parameters
    ----------
    distributions : Tensor, shape (n, k)
        A distribution over prototypes per window.
    ranks : Ranks

    Returns
    -------
    entropy : Tensor
        Mean entropy of a window's distribution, H(k | window), in nats: at ln(k) all are uniform,
        at 0 each is one prototype.
    information : Tensor
        Mutual information I(window; k) = H(mean distribution) - H(k | window), in nats: 0 if and
        only if all windows have the same distribution, whatever it is.
    effective : Tensor
        exp(H(mean distribution)): as many prototypes as if all were used equally.
    """
    within = ranks.mean(entropy(distributions).mean())
    overall = entropy(ranks.mean(distributions.float().mean(dim=0)))
    return within, (overall - within).clamp_min(0.0), overall.exp()


def deviation(values: Tensor, ranks: Ranks) -> Tensor:
    """Mean over the columns of (n, k) of the standard deviation over the rows."""
    values = values.float()
    middle = ranks.mean(values.mean(dim=0))
    return ranks.mean((values - middle).square().mean(dim=0)).sqrt().mean()


def spread(embeddings: Tensor, ranks: Ranks) -> Tensor:
    """Mean standard deviation per dimension of L2-normalised embeddings, times sqrt(dimension).

    1 when they point evenly in all directions, 0 when all are the same: collapse. (VICReg and
    SimSiam, arXiv:2011.10566 section 4.1, watch the same figure: there 1/sqrt(d) is even.)
    """
    unit = F.normalize(embeddings.float(), dim=1)
    return deviation(unit, ranks) * embeddings.shape[1] ** 0.5


def rankme(embeddings: Tensor) -> float:
    """Effective rank of embeddings: RankMe (Garrido et al. 2023, arXiv:2210.02885, equation 1).

    ``exp(-sum p log p)`` with ``p = s / sum(s) + 1e-7`` of the singular values ``s``; the embeddings
    are neither centred nor normalised. Between 1 (all on one line) and min(n, d).

    The singular values come from the smaller Gram matrix in float64: exact to 1e-8 of the largest.

    Parameters
    ----------
    embeddings : Tensor, shape (n, d)
    """
    z = embeddings.double()
    gram = z.T @ z if z.shape[0] >= z.shape[1] else z @ z.T
    singular = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    share = singular / singular.sum().clamp_min(torch.finfo(z.dtype).tiny) + RANKME_EPSILON
    return float(torch.special.entr(share).sum().exp())


class Usage:
    """Which prototypes were some window's likeliest of late.

    Looks at every step (without waiting for the device) and remembers, per prototype, when it was
    last the argmax of a distribution.

    Parameters
    ----------
    passes : float
        How far back: so many distributions per prototype, over all processes. At 4, prototypes
        drawn by chance would all but 1.8 % (exp(-4)) have been met.
    """

    def __init__(self, passes: float = 4.0) -> None:
        self._passes = passes
        self._last: Tensor | None = None
        self._step, self._steps_back = 0, 0

    def note(self, distributions: Tensor, ranks: Ranks) -> None:
        """Take note of one step's distributions, (n, k)."""
        rows, prototypes = distributions.shape
        if self._last is None:
            self._last = torch.full((prototypes,), -1, device=distributions.device)
            self._steps_back = max(1, round(self._passes * prototypes / (rows * ranks.world)))
        self._last[distributions.argmax(dim=1)] = self._step
        self._step += 1

    def share(self, ranks: Ranks) -> Tensor | None:
        """Share of the prototypes that were used; None before enough was seen."""
        if self._last is None or self._step < self._steps_back:
            return None
        used = (self._last >= self._step - self._steps_back).float()
        return (ranks.mean(used) > 0).float().mean()
