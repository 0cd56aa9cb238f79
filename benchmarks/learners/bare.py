"""The floor: forward and backward passes of the same networks on the same crops, and nothing else.

No windows to fetch, no augmentation, no optimiser, no average, no log: the crops are random numbers
that lie on the device. The student sees all crops, the teacher (without gradients) the global ones,
then the method's loss; precision and compiled blocks as in the training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dawnchorus.learning import acceleration, dino, vicreg
from dawnchorus.learning.method import Method
from dawnchorus.learning.pooling import features
from learners import Task, autocast, build, timed

TOLD = "forward and backward of the method's networks and loss on random crops of the same shapes"


def _in_float32(view: Tensor) -> torch.autocast:
    return torch.autocast("cuda" if view.is_cuda else "cpu", enabled=False)


def loss(method: Method, views: list[Tensor]) -> Tensor:
    """The method's loss, without what monitors want to know."""
    if isinstance(method, dino.Dino):
        with torch.no_grad():
            teacher, _ = method.teacher(views[: dino.GLOBAL_CROPS])
        student, _ = method.student(views)
        with _in_float32(views[0]):
            targets = dino.centred(teacher, method.center, 0.04)
            return dino.dino_loss(targets, student, method.settings.student_temperature)
    assert isinstance(method, vicreg.Vicreg)
    one, other = (method.expander(features(method.network, view)) for view in views)
    with _in_float32(views[0]):
        terms = vicreg.vicreg_terms(one.float(), other.float(), 1e-4, method.ranks)
        return 25 * terms[0] + 25 * terms[1] + terms[2]


def crops(method: Method, windows: int, device: str) -> list[Tensor]:
    """Random numbers in the shape of the method's crops."""
    return [torch.randn(windows, 1, crop.mels, crop.frames, device=device) for crop in method.crops]


def step(task: Task) -> Callable[[], None]:
    """What is timed: one pass forward, one back."""
    torch.manual_seed(0)
    method = build(task).to(task.device).train()
    if task.compiled:
        acceleration.compile_blocks(method)
    views = crops(method, task.batch, task.device)

    def run() -> None:
        method.zero_grad(set_to_none=True)
        with autocast(task):
            value = loss(method, views)
        value.backward()

    return run


def run(task: Task) -> dict[str, float]:
    return timed(task, step(task))
