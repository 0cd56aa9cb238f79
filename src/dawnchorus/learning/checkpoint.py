"""Checkpoints of a training: whole or not there, without pickle.

Layout below ``{experiment}/checkpoints/``::

    {lineage}/step-00001234/state.safetensors    method.<name>                 all of the method's
    state
                                                 optimizer.<moment>.<name>     all of the
                                                 optimiser's
    {lineage}/step-00001234/optimizer.json       the optimiser's settings and what is no tensor
    {lineage}/step-00001234/state.json           step, generation, and what the tensors cannot say

A *lineage* is the fingerprint of everything that decides the course of a training (settings,
training set): only a checkpoint of the same lineage is resumed. Generations count the lineages of
an experiment, so that a warm start finds the latest without a clock.

What a step draws at random depends on (seed, step, process) alone, so the step is also the position
of the sampler, of the schedules and of every process's random numbers.

A checkpoint is written to a temporary sibling, synced and renamed: killed at any moment, the one
before it is still there and whole.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import optimizers
from dawnchorus.learning.method import Method
from dawnchorus.progress import say
from dawnchorus.results import publishing, sync

STATE, TENSORS, OPTIMIZER = "state.json", "state.safetensors", "optimizer.json"
STEP = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Position:
    """Where a training is.

    Attributes
    ----------
    step : int
        Steps done.
    generation : int
        How many trainings of other lineages the experiment had before.
    skipped : int
        Steps not taken in a row, up to here, because of a bad loss.
    """

    step: int
    generation: int
    skipped: int


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    position: Position


def complete(lineage: Path) -> list[Checkpoint]:
    """Return a lineage's complete checkpoints, oldest first."""
    found = []
    for path in lineage.glob("step-*"):
        if STEP.fullmatch(path.name) and (state := _state(path)) is not None:
            found.append(Checkpoint(path, Position(**state)))
    return sorted(found, key=lambda checkpoint: checkpoint.position.step)


def latest_of_others(checkpoints: Path, lineage: str) -> Checkpoint | None:
    """Return the last checkpoint of the latest other lineage: what a warm start starts from."""
    others = [
        complete(path)[-1]
        for path in sorted(checkpoints.glob("*"))
        if path.is_dir() and path.name != lineage and complete(path)
    ]
    return max(others, key=lambda checkpoint: checkpoint.position.generation, default=None)


def save(
    lineage: Path,
    position: Position,
    method: Method,
    optimizer: torch.optim.Optimizer,
    keep: int,
    good: int | None = None,
) -> Path:
    """Write a checkpoint, then remove all but the last ``keep`` of its lineage.

    Parameters
    ----------
    lineage : Path
        ``checkpoints/{lineage}``.
    position : Position
    method, optimizer
        Their whole state is written.
    keep : int
        At least 1.
    good : int, optional
        The last checkpoint of so many steps or fewer stays too: what came after is suspected.
    """
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    moments, plain = optimizers.state_of(optimizer, method)
    tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
    path = lineage / f"step-{position.step:08d}"
    with publishing(path) as partial:
        partial.mkdir()
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())},
            partial / TENSORS,
        )
        sync(partial / TENSORS)
        (partial / OPTIMIZER).write_text(json.dumps(plain, sort_keys=True) + "\n", encoding="utf-8")
        sync(partial / OPTIMIZER)
        (partial / STATE).write_text(
            json.dumps(asdict(position), sort_keys=True) + "\n", encoding="utf-8"
        )
        sync(partial / STATE)
    there = complete(lineage)
    trusted = [one.path for one in there if good is not None and one.position.step <= good][-1:]
    for old in there[:-keep]:
        if old.path not in trusted:
            shutil.rmtree(old.path)
    return path


def restore(checkpoint: Checkpoint, method: Method, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's state into a method and its optimiser.

    Raises
    ------
    DawnChorusError
        If the file cannot be read or does not fit.
    """
    tensors = _tensors(checkpoint)
    _load_method(checkpoint, method, tensors)
    moments = {
        key.removeprefix("optimizer."): value
        for key, value in tensors.items()
        if key.startswith("optimizer.")
    }
    try:
        plain = json.loads((checkpoint.path / OPTIMIZER).read_text(encoding="utf-8"))
        optimizers.put_state(optimizer, method, moments, plain)
    except (OSError, ValueError, KeyError):
        raise DawnChorusError(
            "the optimiser's state cannot be read",
            checkpoint.path,
            "delete it; the one before it is taken",
        ) from None


def restore_weights(checkpoint: Checkpoint, method: Method) -> None:
    """Put only the method's state (networks, heads, averages) in: a warm start.

    Raises
    ------
    DawnChorusError
        If the networks are of another shape.
    """
    _load_method(checkpoint, method, _tensors(checkpoint))


def remove_after(lineage: Path, step: int) -> None:
    """Remove a lineage's checkpoints of more than ``step`` steps: what they hold is no good."""
    for one in complete(lineage):
        if one.position.step > step:
            shutil.rmtree(one.path)


def remove_others(checkpoints: Path, lineage: str) -> None:
    """Remove all lineages but one: the trainings before this one, now that it is finished."""
    for path in checkpoints.glob("*"):
        if path.is_dir() and path.name != lineage:
            shutil.rmtree(path)


def remove_leftovers(checkpoints: Path) -> None:
    """Remove what a killed process was writing."""
    for path in checkpoints.glob("*/.step-*"):
        shutil.rmtree(path)


def _state(path: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        say(f"{path}: not a whole checkpoint; passed over")
        return None
    return state if (path / TENSORS).exists() else None


def _tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    try:
        return load_file(checkpoint.path / TENSORS)
    except (SafetensorError, OSError):
        raise DawnChorusError(
            "the checkpoint cannot be read",
            checkpoint.path,
            "delete it; the one before it is taken",
        ) from None


def _load_method(checkpoint: Checkpoint, method: Method, tensors: dict[str, Tensor]) -> None:
    state = {
        key.removeprefix("method."): value
        for key, value in tensors.items()
        if key.startswith("method.")
    }
    try:
        method.load_state_dict(state)
    except RuntimeError:
        raise DawnChorusError(
            "the checkpoint is of another network",
            checkpoint.path,
            "keep backbone, patch and head as they were, or set warm_start to false",
        ) from None
