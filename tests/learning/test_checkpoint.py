"""Checkpoints: whole or not there, everything in them, the last N kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from dawnchorus import config
from dawnchorus.config import Experiment
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import checkpoint, optimizers, training
from dawnchorus.learning.checkpoint import Position
from dawnchorus.learning.dino import Dino
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def small(seed: int = 0, out_dim: int = 16) -> tuple[Dino, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    settings = config.Dino(
        out_dim=out_dim,
        head_hidden=8,
        head_bottleneck=8,
        local_crops=0,
        freeze_last_layer_epochs=0.2,
    )
    experiment = Experiment(backbone="vit_nano", drop_path=0.0, dino=settings)
    method = Dino(experiment, 16, 32, Clock(10, 100, 4), ALONE)
    return method, optimizers.build("adamw", method)


def learn(method: Dino, optimizer: torch.optim.AdamW, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        views = [
            torch.randn(4, 1, crop.mels, crop.frames, generator=generator) for crop in method.crops
        ]
        training._set_rates(optimizer, method.experiment, method.clock, step)
        optimizer.zero_grad()
        method(views, step)[0].backward()
        method.before_step(step)
        optimizer.step()
        method.after_step(step)


def test_a_restored_training_goes_on_bit_for_bit(tmp_path):
    method, optimizer = small()
    learn(method, optimizer, range(5))
    checkpoint.save(tmp_path, Position(5, 0, 1), method, optimizer, keep=2)
    learn(method, optimizer, range(5, 9))

    other, its_optimizer = small(seed=1)
    [saved] = checkpoint.complete(tmp_path)
    checkpoint.restore(saved, other, its_optimizer)
    assert saved.position == Position(5, 0, 1)
    learn(other, its_optimizer, range(5, 9))
    for name, value in method.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    for (name, mine), (_, its) in zip(method.learned(), other.learned(), strict=True):
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            ours = optimizer.state[mine][moment]
            assert torch.equal(ours, its_optimizer.state[its][moment]), (name, moment)


def test_a_parameter_that_has_not_learned_yet_has_no_moments(tmp_path):
    """The last layer is held for 0.2 epochs = 2 steps; a checkpoint before that must restore too."""
    method, optimizer = small()
    learn(method, optimizer, range(1))
    checkpoint.save(tmp_path, Position(1, 0, 0), method, optimizer, keep=2)
    learn(method, optimizer, range(1, 4))
    other, its_optimizer = small(seed=1)
    checkpoint.restore(checkpoint.complete(tmp_path)[0], other, its_optimizer)
    learn(other, its_optimizer, range(1, 4))
    assert torch.equal(method.student.head.last.direction, other.student.head.last.direction)


def test_the_last_n_are_kept(tmp_path):
    method, optimizer = small()
    for step in (2, 4, 100_000_000, 6):
        checkpoint.save(tmp_path, Position(step, 0, 0), method, optimizer, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000006", "step-100000000"]
    assert [held.position.step for held in checkpoint.complete(tmp_path)] == [6, 100_000_000]


def test_a_warm_start_takes_the_weights_of_the_latest_other_lineage(tmp_path):
    method, optimizer = small()
    learn(method, optimizer, range(3))
    checkpoint.save(tmp_path / "aaaa", Position(900, 0, 0), method, optimizer, keep=2)
    learn(method, optimizer, range(3, 5))
    checkpoint.save(tmp_path / "bbbb", Position(5, 1, 0), method, optimizer, keep=2)
    latest = checkpoint.latest_of_others(tmp_path, "cccc")
    assert latest is not None and latest.position == Position(5, 1, 0)
    assert checkpoint.latest_of_others(tmp_path, "bbbb").position.step == 900

    other, its_optimizer = small(seed=1)
    checkpoint.restore_weights(latest, other)
    assert torch.equal(other.center, method.center)
    assert torch.equal(other.student.backbone.pos_embed, method.student.backbone.pos_embed)
    assert not its_optimizer.state
    with pytest.raises(DawnChorusError, match="another network"):
        checkpoint.restore_weights(latest, small(out_dim=17)[0])

    checkpoint.remove_others(tmp_path, "bbbb")
    assert [path.name for path in tmp_path.iterdir()] == ["bbbb"]


def test_what_is_not_whole_is_passed_over_and_what_cannot_be_read_is_said(tmp_path):
    method, optimizer = small()
    checkpoint.save(tmp_path, Position(3, 0, 0), method, optimizer, keep=3)
    (tmp_path / "step-00000009").mkdir()
    (tmp_path / "notes").mkdir()
    [held] = checkpoint.complete(tmp_path)
    assert held.position.step == 3
    tensors = held.path / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    with pytest.raises(DawnChorusError, match="cannot be read"):
        checkpoint.restore(held, method, optimizer)


def _die_while_writing(folder: Path, point: str) -> None:
    method, optimizer = small(seed=2)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "before the tensors are synced":
        checkpoint.sync = die  # type: ignore[assignment]
    elif point == "before the state is written":
        checkpoint.asdict = die  # type: ignore[assignment]
    elif point == "before the rename":
        Path.rename = die  # type: ignore[assignment, method-assign]
        Path.replace = die  # type: ignore[assignment, method-assign]
    checkpoint.save(folder / "aaaa", Position(7, 0, 0), method, optimizer, keep=1)


@pytest.mark.parametrize(
    "point",
    ["before the tensors are synced", "before the state is written", "before the rename"],
)
def test_killed_while_writing_the_former_checkpoint_stands(tmp_path, point):
    method, optimizer = small()
    checkpoint.save(tmp_path / "aaaa", Position(5, 0, 0), method, optimizer, keep=1)
    process = multiprocessing.get_context("spawn").Process(
        target=_die_while_writing, args=(tmp_path, point)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "aaaa").glob(".step-00000007*"))  # it was killed halfway
    [held] = checkpoint.complete(tmp_path / "aaaa")
    assert held.position.step == 5
    other, its_optimizer = small(seed=1)
    checkpoint.restore(held, other, its_optimizer)
    for name, value in method.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    checkpoint.remove_leftovers(tmp_path)
    assert [path.name for path in (tmp_path / "aaaa").iterdir()] == ["step-00000005"]
