"""The peer: lightly's own loop, with the same backbone, on images, augmented on the CPU.

As in lightly's examples: ``DINOTransform`` (or ``VICRegTransform``) in a DataLoader with as many workers
as there are cores, lightly's head and loss, AdamW, the teacher's average. The views have our crops' shapes instead
of lightly's 224 x 224 and 96 x 96, so that both sides have the same tokens; the head has our sizes.
Windows are images in memory: there is no file to open.
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch
from torch import nn

from learners import FRAMES, MELS, STEPS_PER_EPOCH, Task, autocast, build, timed

TOLD = {
    "dino": "lightly: DINOTransform(global_crop_size=(128, 256), local_crop_size=(128, 96)) on PIL images, DataLoader("
    "num_workers={workers}), DINOProjectionHead, DINOLoss, update_momentum, AdamW",
    "vicreg": "lightly: VICRegTransform(input_size=(128, 256)) on PIL images, DataLoader("
    "num_workers={workers}), VICRegProjectionHead, VICRegLoss, AdamW",
}
GREY = {"mean": [0.5], "std": [0.25]}


class Images(torch.utils.data.Dataset):
    """Windows as grey images: some, again and again."""

    def __init__(self, windows: int, transform) -> None:
        noise = np.random.default_rng(0).normal(80, 12, (64, MELS, FRAMES))
        self.codes, self.transform = np.clip(noise, 0, 255).astype(np.uint8), transform
        self.windows = windows

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, row: int) -> list[torch.Tensor]:
        from PIL import Image

        return self.transform(Image.fromarray(self.codes[row % len(self.codes)]))


def workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Backbone(nn.Module):
    """The class token of our backbone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(x)[:, 0]


def run(task: Task) -> dict[str, float]:
    os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"
    from lightly.loss import DINOLoss, VICRegLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.modules.heads import VICRegProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms.dino_transform import DINOTransform
    from lightly.transforms.vicreg_transform import VICRegTransform

    torch.manual_seed(0)
    method = build(task, "cpu")
    shapes = [(crop.mels, crop.frames) for crop in method.crops]
    if task.method == "dino":
        own = method.settings
        transform = DINOTransform(
            global_crop_size=shapes[0],
            local_crop_size=shapes[-1],
            n_local_views=own.local_crops,
            normalize=GREY,
        )
        sizes = (method.dimension, own.head_hidden, own.head_bottleneck, own.out_dim)
        student, teacher = (
            nn.Sequential(Backbone(branch.backbone), DINOProjectionHead(*sizes))
            for branch in (method.student, method.teacher)
        )
        teacher.load_state_dict(student.state_dict())
        deactivate_requires_grad(teacher)
        criterion = DINOLoss(own.out_dim, warmup_teacher_temp_epochs=5)
    else:
        own = method.settings
        transform = VICRegTransform(input_size=shapes[0], normalize=GREY)
        width = own.expander_width
        head = VICRegProjectionHead(method.dimension, width, width, own.expander_layers)
        student, teacher, criterion = (
            nn.Sequential(Backbone(method.network), head),
            None,
            VICRegLoss(),
        )
    student, criterion = student.to(task.device).train(), criterion.to(task.device)
    teacher = None if teacher is None else teacher.to(task.device).train()
    learned = [value for value in student.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    loader = torch.utils.data.DataLoader(
        Images(STEPS_PER_EPOCH * task.batch, transform),
        task.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers(),
        pin_memory=task.device == "cuda",
    )
    batches, waited = iter(loader), []

    def step() -> None:
        began = time.perf_counter()
        some = next(batches)
        waited.append(time.perf_counter() - began)
        views = [view.to(task.device, non_blocking=True) for view in some]
        optimizer.zero_grad()
        with autocast(task):
            if teacher is None:
                loss = criterion(*(student(view) for view in views))
            else:
                update_momentum(student, teacher, m=0.99)
                with torch.no_grad():
                    taught = [teacher(view) for view in views[:2]]
                loss = criterion(taught, [student(view) for view in views], epoch=0)
        loss.backward()
        optimizer.step()
        loss.item()

    found = timed(task, step)
    counted = task.batch * task.steps / found["rate"]
    return {**found, "data_wait_share": sum(waited[-task.steps :]) / counted}
