"""DINO: self-distillation without labels (Caron et al. 2021, arXiv:2104.14294), with multi-crop.

In: two global views and some local ones of each window. Out: the cross-entropy of the student's
prototypes on every view against the teacher's on the other global views. The teacher is the
exponential moving average of the student; its output is centred by a running mean and sharpened by
a low temperature, which together keep it from collapsing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import groupby

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
from dawnchorus.learning.schedules import Clock, cosine, linear

GLOBAL_CROPS = 2
SINKHORN_ROUNDS = 3
TINY = 1e-30
LOW_MOMENTUM = 0.9
SLOW_CENTER = 0.99
"""Values beyond which a setting is named as the likely cause of a collapse."""


class Prototypes(nn.Module):
    """A linear layer without bias whose rows have a norm of 1, or one that is learned.

    Weight normalisation (Salimans and Kingma 2016, arXiv:1602.07868): ``gain * v / |v|``.
    """

    def __init__(self, width: int, prototypes: int, norm_fixed: bool) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(prototypes, width))
        nn.init.kaiming_uniform_(self.direction, a=5**0.5)  # that of nn.Linear
        self.gain = None if norm_fixed else nn.Parameter(torch.ones(prototypes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, prototypes) for (n, width)."""
        weight = F.normalize(self.direction, dim=1)
        return F.linear(x, weight if self.gain is None else weight * self.gain)


class Head(nn.Module):
    """DINO's projection: two hidden layers, a bottleneck on the unit sphere, prototypes."""

    def __init__(self, width: int, settings: config.Dino) -> None:
        super().__init__()
        hidden, bottleneck = settings.head_hidden, settings.head_bottleneck
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                # DINO's 0.02 is 1 / sqrt(2048), right for its own width. In a narrow head it would
                # make the signal so small that the biases drown it: all outputs alike, collapse.
                nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
        self.last = Prototypes(bottleneck, settings.out_dim, settings.norm_last_layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out_dim) for (n, width)."""
        return self.last(F.normalize(self.layers(x), dim=1))


class Branch(nn.Module):
    """A backbone and its head: the student, or the teacher."""

    def __init__(self, backbone: Backbone, head: Head, pooling: config.Pooling) -> None:
        super().__init__()
        self.backbone, self.head, self.pooling = backbone, head, pooling

    def forward(self, views: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return each view's prototypes, (b, out_dim) in float32, and all features, (views * b, d).

        Views of one shape go through the backbone together.
        """
        together = [torch.cat(list(same)) for _, same in groupby(views, key=lambda v: v.shape)]
        found = torch.cat([features(self.backbone, x, self.pooling) for x in together])
        return list(self.head(found).float().split([view.shape[0] for view in views])), found


def centred(teacher: Sequence[Tensor], center: Tensor, temperature: float) -> list[Tensor]:
    """The teacher's distributions, after its running mean is taken away (DINO's own way).

    Parameters
    ----------
    teacher : sequence of Tensor, shape (b, k)
    center : Tensor, shape (k,)
    temperature : float
    """
    return [F.softmax((t - center) / temperature, dim=-1) for t in teacher]


def balanced(teacher: Sequence[Tensor], temperature: float, ranks: Ranks) -> list[Tensor]:
    """The teacher's distributions, such that the batch uses every prototype equally.

    Sinkhorn and Knopp's alternation, three rounds over the views of all processes together (SwAV,
    arXiv:2006.09882; in DINO's place of the centre: DINOv2, arXiv:2304.07193). It holds from the
    first step on, where a running mean still has to be learned, and so suits short trainings.

    Parameters
    ----------
    teacher : sequence of Tensor, shape (b, k)
    temperature : float
    ranks : Ranks
    """
    z = torch.cat(list(teacher)) / temperature
    # Neither line changes what the rounds end at; they keep the exponentials within float32.
    z = z - ranks.mean(z.mean(dim=0))
    q = torch.exp(z - z.amax(dim=1, keepdim=True))
    for _ in range(SINKHORN_ROUNDS):
        # The mean over processes: the constant factor goes in the next line.
        q = q / ranks.mean(q.sum(dim=0)).clamp_min(TINY)
        q = q / q.sum(dim=1, keepdim=True).clamp_min(TINY)
    return list(q.split([t.shape[0] for t in teacher]))


def dino_loss(
    targets: Sequence[Tensor], student: Sequence[Tensor], student_temperature: float
) -> Tensor:
    """Cross-entropy over all pairs of a teacher's and another, student's view.

    Parameters
    ----------
    targets : sequence of Tensor, shape (b, k)
        Teacher's distributions of the first views (:func:`centred` or :func:`balanced`).
    student : sequence of Tensor, shape (b, k)
        Student's prototypes of all views, the teacher's first.
    student_temperature : float

    Returns
    -------
    Tensor
        Mean over pairs and windows, in nats.

    Notes
    -----
    The sum over teachers is taken first, so that each student's view is met once:
    ``-sum_t q_t . log p_s = n_t logsumexp(z_s) - (sum_t q_t) . z_s``.
    """
    all_targets = torch.stack(list(targets)).sum(dim=0)
    total = student[0].new_zeros(())
    terms = 0
    for number, output in enumerate(student):
        own = number < len(targets)
        against = len(targets) - own
        if against == 0:
            continue
        target = all_targets - targets[number] if own else all_targets
        z = output / student_temperature
        total = total + (against * torch.logsumexp(z, dim=-1) - (target * z).sum(dim=-1)).mean()
        terms += against
    return total / terms


class Dino(Method):
    """Student and teacher, the loss between them, and what keeps the teacher from collapsing."""

    center: Tensor

    def __init__(
        self, experiment: config.Experiment, mels: int, frames: int, clock: Clock, ranks: Ranks
    ) -> None:
        super().__init__(experiment, mels, frames, clock, ranks)
        self.settings = experiment.dino
        pooling = experiment.pooling
        body = self.build_backbone(experiment.drop_path)
        self.student = Branch(body, Head(self.dimension, self.settings), pooling)
        # The same weights, without stochastic depth: the teacher is to be as sure as it can.
        self.teacher = Branch(self.build_backbone(), copy.deepcopy(self.student.head), pooling)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.register_buffer("center", torch.zeros(self.settings.out_dim))
        self._center_sum, self._seen = torch.zeros(self.settings.out_dim), 0

    @property
    def _batch_center(self) -> Tensor:
        """Mean of the teacher's outputs over the passes of the step."""
        return self._center_sum / max(self._seen, 1)

    @property
    def crops(self) -> tuple[Crop, ...]:
        """Two global crops, then the local ones."""
        whole, part = crops_of(
            self.experiment.augmentation, self.mels, self.frames, self.experiment.patch
        )
        return (whole,) * GLOBAL_CROPS + (part,) * self.settings.local_crops

    @property
    def backbone(self) -> Backbone:
        """The teacher's: the average is better than the student at any time."""
        return self.teacher.backbone

    @property
    def uniform_loss(self) -> float:
        """ln(out_dim): every prototype equally likely for every window."""
        return math.log(self.settings.out_dim)

    def causes(self, symptom: Symptom) -> tuple[str, ...]:
        """What in these settings leads to one prototype, to none, or to one output for all."""
        own = self.settings
        found = []
        sharp = own.teacher_temperature < 0.8 * own.student_temperature
        if not sharp and symptom != "one prototype":
            found.append(
                f"dino.teacher_temperature is {own.teacher_temperature:g}, too high beside "
                f"student_temperature {own.student_temperature:g}: take 0.02 to 0.07"
            )
        if own.centering == "none" and symptom != "uniform":
            found.append("dino.centering is none (centering is off): take mean or sinkhorn")
        if own.teacher_momentum < LOW_MOMENTUM:
            found.append(
                f"dino.teacher_momentum is {own.teacher_momentum:g}, too low (the teacher runs "
                "after the student): take 0.98 or more"
            )
        if own.centering == "mean" and own.center_momentum > SLOW_CENTER:
            found.append(f"dino.center_momentum is {own.center_momentum:g}, too slow: take 0.9")
        if found:
            return tuple(found)
        if symptom == "one prototype":
            return ("the running mean does not keep up: set dino.centering to sinkhorn",)
        if symptom in ("uniform", "same output"):
            return (
                "the centre outweighs what the teacher knows: lower dino.teacher_temperature, "
                "lengthen warmup_epochs, or lower learning_rate",
            )
        return ()

    def schedules(self, step: int) -> dict[str, float]:
        """Teacher momentum (cosine to 1) and temperature (linear, then constant)."""
        settings, clock = self.settings, self.clock
        return {
            "teacher_momentum": cosine(step, clock.total_steps, settings.teacher_momentum, 1.0),
            "teacher_temperature": linear(
                step,
                clock.steps(settings.temperature_warmup_epochs),
                settings.teacher_temperature_start,
                settings.teacher_temperature,
            ),
        }

    def start_step(self, step: int) -> None:
        """Forget the batch before: the centre moves once per step, towards all of its passes."""
        super().start_step(step)
        self._center_sum, self._seen = torch.zeros_like(self.center), 0

    def forward(self, views: list[Tensor], step: int) -> tuple[Tensor, Figures]:
        """Return the loss and, of the teacher, embeddings, prototypes and what it teaches."""
        temperature = self.schedules(step)["teacher_temperature"]
        with torch.no_grad():
            teacher, found = self.teacher(views[:GLOBAL_CROPS])
        student, learning = self.student(views)
        with torch.autocast(views[0].device.type, enabled=False):
            if self.settings.centering == "sinkhorn":
                targets = balanced(teacher, temperature, self.ranks)
            else:
                targets = centred(teacher, self.center, temperature)
            loss = dino_loss(targets, student, self.settings.student_temperature)
        with torch.no_grad():
            outputs, windows = torch.stack(teacher), views[0].shape[0]
            center = self.ranks.mean(outputs.mean(dim=(0, 1)))
            self._center_sum = self._center_sum + windows * center
            self._seen += windows
            figures = {
                "embeddings": found,
                "outputs": outputs.flatten(0, 1),
                "targets": torch.cat(targets),
                "center_norm": self.center.norm(),
            }
        sizes = [view.shape[0] for view in views]
        return self.spread_out(loss, learning.split(sizes)[:GLOBAL_CROPS], figures), figures

    def before_step(self, step: int) -> None:
        """Hold the last layer still at first, so that the prototypes do not run after noise."""
        if step < self.clock.steps(self.settings.freeze_last_layer_epochs):
            for parameter in self.student.head.last.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher towards the student, and the centre towards the batch's."""
        towards_student = 1.0 - self.schedules(step)["teacher_momentum"]
        torch._foreach_lerp_(
            list(self.teacher.parameters()), list(self.student.parameters()), towards_student
        )
        if self.settings.centering != "none":
            self.center.lerp_(self._batch_center, 1.0 - self.settings.center_momentum)
        self._center_sum, self._seen = torch.zeros_like(self.center), 0
