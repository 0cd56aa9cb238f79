"""What the benchmark of the training shares: the experiment, and the sides that run it.

``ours`` is the product's loop, ``bare`` the forward and backward passes alone, ``peer`` lightly's loop,
``arithmetic`` counts operations and measures the device. Each side runs in a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MELS, FRAMES = 128, 256
SEASON_WINDOWS, SEASON_EPOCHS, SEASON_BATCH = 230_000, 50, 512
"""The reference training: the poster's windows and epochs, the recipe's batch."""
STEPS_PER_EPOCH = 100
"""Of the benchmark's own set: the log then has a line every second step."""
EVERY = 2


@dataclass(frozen=True)
class Task:
    """What one process measures.

    Attributes
    ----------
    method, backbone : str
    compiled : bool
    device : str
        ``cpu`` or ``cuda``.
    batch : int
        Windows per step.
    warm, steps : int
        Steps that are not counted, and steps that are.
    root : Path
        Of the results: spectrogram stores and training set.
    """

    method: str
    backbone: str
    compiled: bool
    device: str
    batch: int
    warm: int
    steps: int
    root: Path

    @property
    def precision(self) -> str:
        return "bf16" if self.device == "cuda" else "fp32"


def experiment(task: Task, **changes: object) -> dict[str, object]:
    """The experiment that the recipe makes of 230,000 windows, with the batch that was asked for.

    The last layer learns from the first step on: the recipe holds it still for one epoch of many.
    """
    from dawnchorus import config

    written = config.Experiment(method=task.method, backbone=task.backbone)
    values = config.resolve(written, SEASON_WINDOWS).experiment.model_dump(mode="json")
    values |= {
        "recipe": "none",
        "batch_size": task.batch,
        "precision": task.precision,
        "compile": task.compiled,
        **changes,
    }
    if task.method == "dino":
        values["dino"]["freeze_last_layer_epochs"] = 0
    for other in {"dino", "vicreg"} - {task.method}:
        del values[other]
    return values


def build(task: Task, device: str | None = None):
    """The product's method: networks, heads, loss."""
    import torch

    from dawnchorus import config
    from dawnchorus.learning.methods import METHODS
    from dawnchorus.learning.ranks import Ranks
    from dawnchorus.learning.schedules import Clock

    ranks = Ranks(0, 1, 0, torch.device(device or task.device))
    clock = Clock.of(SEASON_WINDOWS, task.batch, SEASON_EPOCHS)
    wanted = config.Experiment.model_validate(experiment(task))
    return METHODS[task.method](wanted, MELS, FRAMES, clock, ranks)


def autocast(task: Task):
    import torch

    return torch.autocast(task.device, torch.bfloat16, enabled=task.precision == "bf16")


def timed(task: Task, step: Callable[[], None]) -> dict[str, float]:
    """Run the steps that are not counted, then those that are; windows per second, memory."""
    import torch

    def finished() -> None:
        if task.device == "cuda":
            torch.cuda.synchronize()

    for _ in range(task.warm):
        step()
    finished()
    started, used = time.perf_counter(), time.process_time()
    for _ in range(task.steps):
        step()
    finished()
    wall, used = time.perf_counter() - started, time.process_time() - used
    windows = task.batch * task.steps
    return {"rate": windows / wall, "per_cpu": windows / used, "memory_gb": memory(task)}


def memory(task: Task) -> float:
    """Most memory in 10^9 bytes: of tensors on the GPU, or of the process."""
    import torch

    if task.device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9
