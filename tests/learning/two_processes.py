"""What two processes compute of a batch that they share: run once, by several tests.

``python -m torch.distributed.run --nproc-per-node 2 two_processes.py FOLDER`` writes
``FOLDER/rank-N.safetensors``: losses, and gradients as DistributedDataParallel averages them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from lightly.loss import DINOLoss, VICRegLoss
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dawnchorus.learning.dino import balanced, centred, dino_loss
from dawnchorus.learning.koleo import koleo
from dawnchorus.learning.ranks import Ranks, joined
from dawnchorus.learning.vicreg import vicreg_terms

WINDOWS, WIDTH, PROTOTYPES = 12, 10, 16
Loss = Callable[[list[Tensor], Ranks], Tensor]


def views() -> list[Tensor]:
    """Two views of the whole batch, alike but not equal."""
    generator = torch.Generator().manual_seed(7)
    shape = (WINDOWS, WIDTH)
    whole = torch.randn(shape, generator=generator, dtype=torch.float64)
    other = torch.randn(shape, generator=generator, dtype=torch.float64)
    return [whole, whole + 0.3 * other]


def layer(dimensions: int) -> nn.Linear:
    torch.manual_seed(dimensions)
    return nn.Linear(WIDTH, dimensions).double()


def own(values: Tensor, ranks: Ranks) -> Tensor:
    """A process's rows, as the sampler deals them."""
    return values[ranks.rank :: ranks.world]


def ours(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    invariance, variance, covariance = vicreg_terms(outputs[0], outputs[1], 1e-4, ranks)
    return 25 * invariance + 25 * variance + covariance


def lightlys(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    return VICRegLoss(gather_distributed=ranks.world > 1)(*outputs)


def spread(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    return koleo(outputs[0], ranks)


def teacher() -> list[Tensor]:
    generator = torch.Generator().manual_seed(8)
    shape = (WINDOWS, PROTOTYPES)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def sinkhorn(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    targets = balanced([own(t, ranks) for t in teacher()], 0.3, ranks)
    return dino_loss(targets, outputs, 0.1)


def mean_centred(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    center = ranks.mean(torch.stack([own(t, ranks) for t in teacher()]).mean(dim=(0, 1)))
    return dino_loss(centred([own(t, ranks) for t in teacher()], center, 0.25), outputs, 0.1)


def lightlys_centred(outputs: list[Tensor], ranks: Ranks) -> Tensor:
    """Its centre after one batch, with momentum 0: the batch's mean over all processes."""
    loss = DINOLoss(output_dim=PROTOTYPES, student_temp=0.1, center_momentum=0.0).double()
    mine = [own(t, ranks) for t in teacher()]
    with torch.no_grad():
        loss(mine, outputs, teacher_temp=0.25)
    return loss(mine, outputs, teacher_temp=0.25)


LOSSES: dict[str, tuple[Loss, int]] = {
    "vicreg, fewer windows than dimensions": (ours, 2 * WINDOWS),
    "vicreg, more windows than dimensions": (ours, WINDOWS // 2),
    "lightly's, fewer windows than dimensions": (lightlys, 2 * WINDOWS),
    "lightly's, more windows than dimensions": (lightlys, WINDOWS // 2),
    "koleo": (spread, 8),
    "sinkhorn": (sinkhorn, PROTOTYPES),
    "centred": (mean_centred, PROTOTYPES),
    "lightly's centred": (lightlys_centred, PROTOTYPES),
}


def computed(ranks: Ranks) -> dict[str, Tensor]:
    """Loss (mean over processes) and gradient of each, and Sinkhorn's targets."""
    found = {}
    for name, (loss_of, dimensions) in LOSSES.items():
        network: nn.Module = layer(dimensions)
        parameters = list(network.parameters())
        if ranks.world > 1:
            network = DistributedDataParallel(network)
        both = network(torch.cat([own(view, ranks) for view in views()]))
        loss = loss_of(list(both.chunk(2)), ranks)
        loss.backward()
        found[f"{name}: loss"] = ranks.mean(loss.detach().clone())
        for number, parameter in enumerate(parameters):
            found[f"{name}: gradient {number}"] = parameter.grad
    targets = balanced([own(t, ranks) for t in teacher()], 0.3, ranks)
    found["targets"] = torch.stack(targets)
    found["gathered"] = ranks.gathered(own(torch.arange(WINDOWS), ranks).double())
    return found


if __name__ == "__main__":
    with joined("cpu") as here:
        save_file(computed(here), Path(sys.argv[1]) / f"rank-{here.rank}.safetensors")
