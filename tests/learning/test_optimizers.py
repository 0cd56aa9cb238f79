"""LARS by hand; every optimiser's state survives a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dawnchorus import config
from dawnchorus.learning import checkpoint, optimizers, training, training_set
from dawnchorus.learning.checkpoint import Position
from dawnchorus.results import Results

from .test_training import RECIPE, SHAPE, closest, outcome
from .test_vicreg import small_vicreg, small_views
from .toy import ToyFrozen, song_windows


class Small(nn.Module):
    """A method as far as optimisers are concerned."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)

    def learned(self):
        return self.named_parameters()


def small() -> Small:
    torch.manual_seed(0)
    return Small().double()


def with_gradients(method: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for value in method.parameters():
        value.grad = torch.randn(value.shape, generator=generator, dtype=value.dtype)


def set_rates(optimizer, learning_rate: float, weight_decay: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        group["weight_decay"] = weight_decay if group["decay"] else 0.0


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_biases_and_norms_are_a_group_of_their_own(name):
    method = small()
    optimizer = optimizers.build(name, method)
    decayed, spared = optimizer.param_groups
    assert (decayed["decay"], spared["decay"]) == (True, False)
    assert [id(value) for value in decayed["params"]] == [id(method.layer.weight)]
    assert len(spared["params"]) == 3


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6, 0.1])
def test_lars_by_hand(weight_decay):
    """The paper's rule; and, at VICReg's weight decay, VICReg's, which divides by |g + b w|."""
    method = small()
    optimizer = optimizers.build("lars", method)
    paper = {name: value.detach().clone() for name, value in method.named_parameters()}
    source = {name: value.clone() for name, value in paper.items()}
    moved = {name: torch.zeros_like(value) for name, value in paper.items()}
    moved_there = {name: torch.zeros_like(value) for name, value in paper.items()}
    for step, rate in enumerate((0.3, 0.2, 0.1)):
        with_gradients(method, step)
        set_rates(optimizer, rate, weight_decay)
        optimizer.step()
        for name, value in method.named_parameters():
            for weights, momentum in ((paper, moved), (source, moved_there)):
                w, g = weights[name], value.grad
                if name == "layer.weight":
                    update = g + weight_decay * w
                    below = (
                        g.norm() + weight_decay * w.norm() if weights is paper else update.norm()
                    )
                    update = 0.001 * w.norm() / below * update
                else:
                    update = g
                momentum[name] = 0.9 * momentum[name] + update
                weights[name] = w - rate * momentum[name]
            assert torch.allclose(value, paper[name], rtol=0, atol=1e-12), name
            if weight_decay <= 1e-6:
                assert torch.allclose(value, source[name], rtol=1e-8, atol=1e-9), name


def test_lars_leaves_alone_what_has_no_gradient():
    method = small()
    optimizer = optimizers.build("lars", method)
    before = method.layer.weight.detach().clone()
    with_gradients(method, 0)
    method.layer.weight.grad = None
    set_rates(optimizer, 0.3, 1e-6)
    optimizer.step()
    assert torch.equal(method.layer.weight, before)
    tensors, _ = optimizers.state_of(optimizer, method)
    assert set(tensors) == {
        f"momentum_buffer.{name}" for name in ("layer.bias", "norm.weight", "norm.bias")
    }


class Counting(torch.optim.SGD):
    """State that is no tensor, per parameter and per group."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["seen"] = group.get("seen", 0) + 1
            for value in group["params"]:
                self.state[value]["count"] = self.state[value].get("count", 0) + 1
                value.data.mul_(1 + 0.01 * self.state[value]["count"] + 0.1 * group["seen"])
        super().step(closure)


KINDS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1),
    "amsgrad": lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.9), amsgrad=True),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=0.1),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "plain": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "rprop": lambda groups: torch.optim.Rprop(groups, lr=0.1),
    "counting": lambda groups: Counting(groups, lr=0.1, momentum=0.9),
    "lars": optimizers.OPTIMIZERS["lars"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_with_any_optimiser_a_resumed_course_is_the_same_to_the_bit(kind, monkeypatch, tmp_path):
    monkeypatch.setitem(optimizers.OPTIMIZERS, kind, KINDS[kind])
    whole, method = small(), small()
    steps = range(6)
    optimizer = optimizers.build(kind, whole)
    for step in steps:
        with_gradients(whole, step)
        set_rates(optimizer, 0.1, 1e-3)
        optimizer.step()
    first = optimizers.build(kind, method)
    for step in steps[:3]:
        with_gradients(method, step)
        set_rates(first, 0.1, 1e-3)
        first.step()
    checkpoint.save(tmp_path / "lineage", Position(3, 0, 0), method, first, 1)
    resumed = Small().double()
    second = optimizers.build(kind, resumed)
    [held] = checkpoint.complete(tmp_path / "lineage")
    checkpoint.restore(held, resumed, second)
    for step in steps[3:]:
        with_gradients(resumed, step)
        set_rates(second, 0.1, 1e-3)
        second.step()
    for name, value in whole.named_parameters():
        assert torch.equal(resumed.get_parameter(name), value), name


def test_what_cannot_be_kept_is_refused():
    method = small()
    optimizer = optimizers.build("adamw", method)
    optimizer.state[method.layer.weight]["hook"] = print
    with pytest.raises(TypeError, match="hook"):
        optimizers.state_of(optimizer, method)


def test_a_checkpoint_tells_the_optimisers_settings(tmp_path):
    method = small_vicreg()
    optimizer = optimizers.build("lars", method)
    method(small_views(method), 0)[0].backward()
    set_rates(optimizer, 0.3, 1e-6)
    optimizer.step()
    path = checkpoint.save(tmp_path, Position(1, 0, 0), method, optimizer, 1)
    plain = json.loads((path / "optimizer.json").read_text())
    assert [group["weight_decay"] for group in plain["groups"]] == [1e-6, 0.0]
    assert [group["always_adapt"] for group in plain["groups"]] == [True, False]
    held = {key for key in load_file(path / "state.safetensors") if key.startswith("optimizer.")}
    assert held == {f"optimizer.momentum_buffer.{name}" for name, _ in method.learned()}
    assert "method.expander.1.running_mean" in load_file(path / "state.safetensors")


@pytest.mark.parametrize(
    "recipe",
    [
        {"method": "vicreg", "optimizer": "lars", "learning_rate": 0.3, "weight_decay": 1e-6,
         "final_weight_decay": 1e-6, "clip_gradient": 0, "koleo_weight": 0.1},
        {"method": "vicreg", "optimizer": "adamw", "backbone": "resnet10t", "pooling": "mean"},
    ],
    ids=["lars", "resnet"],
)  # fmt: skip
def test_a_training_stopped_and_resumed_is_the_same_to_the_bit(tmp_path, monkeypatch, recipe):
    codes, _ = song_windows(40, 0, SHAPE["mels"], SHAPE["frames"])
    monkeypatch.setattr(training_set, "open_frozen", lambda results: ToyFrozen(codes))
    shared = {key: value for key, value in RECIPE.items() if key != "dino"}
    settings = config.validate(
        {
            "spectrogram": SHAPE,
            "experiments": {"toy": {**shared, "vicreg": {"expander_width": 32}, **recipe}},
        }
    )

    def run(folder: Path) -> tuple:
        training.train(settings, Results(folder), "toy", device="cpu")
        return outcome(folder)

    model, log = run(tmp_path / "whole")

    class StoppedError(Exception):
        pass

    method = training.METHODS["vicreg"]
    before = method.start_step

    def stop(self, step: int) -> None:
        before(self, step)
        if step == 8:
            raise StoppedError

    with monkeypatch.context() as stopped:
        stopped.setattr(method, "start_step", stop)
        with pytest.raises(StoppedError):
            run(tmp_path / "stopped")
    resumed, entries = run(tmp_path / "stopped")
    assert closest(resumed, model) == 0.0
    same = ("step", "batch", "loss", "variance", "covariance", "embedding_std")
    assert [[e[k] for k in same] for e in entries] == [[e[k] for k in same] for e in log]
    assert log[-1]["loss"] != log[0]["loss"]
