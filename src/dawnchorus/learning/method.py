"""What a joint-embedding method is to the training loop.

In: an experiment's settings and the shape of its windows. Out: a :class:`Method`, a module that
owns its networks, heads, loss, schedules and state. The loop makes the views that it asks for,
calls it, steps the optimiser over the parameters that learn, and tells it when a step was taken;
all that must survive an interruption is in its ``state_dict``.

One step of the loop::

    method.start_step(step)
    for a part of the batch:            # one pass, or several when gradients are accumulated
        loss, figures = method(views, step)
        loss.backward()
    method.before_step(step)            # then gradients are clipped
    optimiser.step(); method.after_step(step)       # if loss and gradient are finite, else
    method.undo_step(step)

A new method is one file with a subclass, one line in :mod:`dawnchorus.learning.methods` and its
section in :mod:`dawnchorus.config.experiments`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dawnchorus.config import Experiment
from dawnchorus.learning import koleo
from dawnchorus.learning.collapse import Symptom
from dawnchorus.learning.crops import Crop
from dawnchorus.learning.networks import Backbone, build, outline
from dawnchorus.learning.pooling import dimension
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
    least_windows = 1
    """Windows that a process needs in one pass at least."""

    def __init__(
        self, experiment: Experiment, mels: int, frames: int, clock: Clock, ranks: Ranks
    ) -> None:
        super().__init__()
        self.experiment, self.clock, self.ranks = experiment, clock, ranks
        self.mels, self.frames = mels, frames
        self._statistics: list[Tensor] = []

    def build_backbone(self, drop_path: float = 0.0) -> Backbone:
        """Build the experiment's network."""
        wanted = self.experiment
        channels = len(wanted.input.split("+"))
        return build(wanted.backbone, wanted.patch, self.mels, self.frames, drop_path, channels)

    @property
    def dimension(self) -> int:
        """Length of the features that heads get and that become the embedding."""
        wanted = self.experiment
        seen = outline(wanted.backbone, wanted.patch, self.mels, self.frames)
        return dimension(seen, wanted.pooling)

    @property
    @abstractmethod
    def crops(self) -> tuple[Crop, ...]:
        """The views it wants of each window, in the order that :meth:`forward` gets them."""

    @property
    @abstractmethod
    def backbone(self) -> Backbone:
        """The network that embeds when the training is over."""

    @abstractmethod
    def forward(self, views: list[Tensor], step: int) -> tuple[Tensor, Figures]:
        """Return the loss (float32, of this process's windows) and figures for the log.

        May be called several times per step, each time with a part of the batch; the loss of the
        step is the mean. Must not change what lasts, but for the statistics of batch norms: a step
        with a bad loss is not taken.
        """

    def start_step(self, step: int) -> None:
        """Get ready for the passes of a step; keeps the batch norms' running statistics."""
        now = self._running_statistics()
        if now:
            if not self._statistics:
                self._statistics = [torch.empty_like(value) for value in now]
            torch._foreach_copy_(self._statistics, now)

    def undo_step(self, step: int) -> None:
        """Forget the passes of a step that was not taken: batch norms saw what was bad about it."""
        now = self._running_statistics()
        if now:
            torch._foreach_copy_(now, self._statistics)

    def _running_statistics(self) -> list[Tensor]:
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)]
        return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]

    def spread_out(self, loss: Tensor, views: Sequence[Tensor], figures: Figures) -> Tensor:
        """Add ``koleo_weight`` times the KoLeo term to a loss; note the term in the figures.

        Parameters
        ----------
        loss : Tensor
        views : sequence of Tensor, shape (n, d)
            Features of the global views. Of one view at a time: views of one window may be alike.
            The term is their sum, as in DINOv2 (arXiv:2304.07193).
        figures : dict
        """
        weight = self.experiment.koleo_weight
        if weight == 0:
            return loss
        term = torch.stack([koleo.koleo(view, self.ranks) for view in views]).sum()
        figures["koleo"] = term.detach()
        return loss + weight * term

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
