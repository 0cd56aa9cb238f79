"""What a joint-embedding method is to the training loop.

In: an experiment's settings and the shape of its windows. Out: a :class:`Method`, a module that
owns its networks, heads, loss, schedules and state. The loop makes the views that it asks for,
calls it, steps the optimiser over the parameters that learn, and tells it when a step was taken;
all that must survive an interruption is in its ``state_dict``.

A new method is one file with a subclass and one line in :mod:`dawnchorus.learning.methods`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dawnchorus.config import Experiment
from dawnchorus.learning.augment import Crop
from dawnchorus.learning.collapse import Symptom
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock

Figures = dict[str, Tensor]
"""What the monitors see of a step, detached and on the device.

Scalars are logged as they are, averaged over the processes. Three names are tensors of this
process's rows, which :mod:`dawnchorus.learning.monitors` measures when a line of the log is due:

- ``embeddings`` (n, dimension): what will be the output space, of some views;
- ``outputs`` (n, k): what the loss compares (prototypes' scores before any centre or temperature,
  an expander's projection), alike for all windows if the method has collapsed;
- ``targets`` (n, k): distributions over prototypes that teach, where a method has such.
"""


class Method(nn.Module, ABC):
    """A joint-embedding method.

    Parameters
    ----------
    experiment : Experiment
        All of the experiment's settings; a method reads its own section and the shared ones.
    mels, frames : int
        Shape of a window.
    clock : Clock
        How long the training is, for the schedules.
    ranks : Ranks
        The processes; whoever needs statistics of the whole batch asks them.
    """

    experiment: Experiment
    clock: Clock
    ranks: Ranks

    def __init__(
        self, experiment: Experiment, mels: int, frames: int, clock: Clock, ranks: Ranks
    ) -> None:
        super().__init__()
        self.experiment, self.clock, self.ranks = experiment, clock, ranks
        self.mels, self.frames = mels, frames

    @property
    @abstractmethod
    def crops(self) -> tuple[Crop, ...]:
        """The views it wants of each window, in the order that :meth:`forward` gets them."""

    @property
    @abstractmethod
    def backbone(self) -> VisionTransformer:
        """The network that embeds when the training is over."""

    @abstractmethod
    def forward(self, views: list[Tensor], step: int) -> tuple[Tensor, Figures]:
        """Return the loss (float32, of this process's windows) and figures for the log.

        Must not change what lasts: a step with a bad loss is not taken.
        """

    def before_step(self, step: int) -> None:
        """Change the gradients before they are clipped and applied."""

    def after_step(self, step: int) -> None:
        """Update what is not learned by gradient (averages); only called if the step was taken."""

    @property
    def uniform_loss(self) -> float | None:
        """The loss of a method that tells nothing apart, if its loss has such a value."""
        return None

    def causes(self, symptom: Symptom) -> tuple[str, ...]:
        """What in the method's own settings may have led to a collapse, the likeliest first.

        Parts of a sentence that name the key and what to do, for the line that ends the training.
        """
        return ()

    def schedules(self, step: int) -> dict[str, float]:
        """The method's own scheduled values at a step, for the log."""
        return {}

    def learned(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that the optimiser steps, by name."""
        return ((name, value) for name, value in self.named_parameters() if value.requires_grad)


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: not to biases, norms and gains."""
    return not (name.endswith((".bias", ".gain")) or parameter.ndim <= 1)
