"""DINO: the loss and centre of lightly, the average, the schedules, what keeps it from collapsing."""

from __future__ import annotations

import copy

import pytest
import torch
from lightly.loss import DINOLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules.heads import DINOProjectionHead
from torch import nn

from dawnchorus import config
from dawnchorus.config import Experiment
from dawnchorus.learning.dino import Dino, Head, Prototypes, balanced, centred, dino_loss
from dawnchorus.learning.measures import Usage
from dawnchorus.learning.method import decays
from dawnchorus.learning.monitors import measured
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock

ALONE = Ranks(0, 1, 0, torch.device("cpu"))
SMALL = {"out_dim": 32, "head_hidden": 24, "head_bottleneck": 16, "local_crops": 2}


def small_dino(clock: Clock | None = None, dino: dict | None = None, **changes) -> Dino:
    torch.manual_seed(0)
    settings = config.Dino(**{**SMALL, **(dino or {})})
    experiment = Experiment(backbone="vit_nano", dino=settings, drop_path=0.0, **changes)
    return Dino(experiment, 32, 64, clock or Clock(10, 100, 8), ALONE)


def small_views(method: Dino, windows: int = 4, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(windows, 1, crop.mels, crop.frames) for crop in method.crops]
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("locals_", [0, 1, 6])
def test_loss_gradient_and_centre_equal_lightlys(locals_):
    generator = torch.Generator().manual_seed(locals_)
    shape = (5, 40)

    def outputs(count: int) -> list[torch.Tensor]:
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]

    oracle = DINOLoss(output_dim=40, student_temp=0.1, center_momentum=0.9).double()
    center = torch.zeros(40, dtype=torch.float64)
    for step in range(4):  # the centre moves from step to step
        temperature = (1 + step) / 32  # exact in the float32 that lightly makes of it
        teacher, student = outputs(2), outputs(2 + locals_)
        ours = [value.clone().requires_grad_() for value in student]
        theirs = [value.clone().requires_grad_() for value in student]
        loss = dino_loss(centred(teacher, center, temperature), ours, 0.1)
        expected = oracle(teacher, theirs, teacher_temp=temperature)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
        loss.backward()
        expected.backward()
        for mine, its in zip(ours, theirs, strict=True):
            assert torch.allclose(mine.grad, its.grad, rtol=0, atol=1e-12)
        center = center.lerp(torch.stack(teacher).mean(dim=(0, 1)), 0.1)
        assert torch.allclose(center, oracle.center.flatten(), rtol=0, atol=1e-12)


def test_balanced_targets_are_lightlys_sinkhorn(monkeypatch):
    """Ours starts from each view's own largest prototype; both end at the same distributions."""
    monkeypatch.setattr("dawnchorus.learning.dino.SINKHORN_ROUNDS", 200)
    generator = torch.Generator().manual_seed(5)
    teacher = [torch.rand(12, 8, generator=generator, dtype=torch.float64) for _ in range(2)]
    ours = balanced(teacher, 0.2, ALONE)
    theirs = sinkhorn(torch.cat(teacher), iterations=200, epsilon=0.2)
    assert [part.shape for part in ours] == [(12, 8)] * 2
    assert torch.allclose(torch.cat(ours), theirs, atol=1e-9)
    assert torch.allclose(torch.cat(ours).sum(dim=0), torch.full((8,), 3.0).double(), atol=1e-6)


def test_balanced_targets_stay_balanced_where_one_prototype_wins_everywhere():
    logits = torch.zeros(16, 4)
    logits[:, 0] = 1.0
    logits[:, 1:] += 1e-3 * torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.cat(balanced([logits], 0.005, ALONE))
    assert torch.isfinite(targets).all()
    assert targets.sum(dim=0) == pytest.approx([4.0] * 4, abs=0.2)
    # The running mean gives the same prototype to all as long as it has not been learned.
    assert centred([logits], torch.zeros(4), 0.005)[0][:, 0].min() > 0.99


def test_sinkhorn_is_what_the_method_uses_when_asked():
    method = small_dino(dino={"centering": "sinkhorn"})
    views = small_views(method)
    with torch.no_grad():
        teacher, _ = method.teacher(views[:2])
        student, _ = method.student(views)
    temperature = method.schedules(3)["teacher_temperature"]
    loss, seen = method(views, 3)
    targets = balanced(teacher, temperature, ALONE)
    assert loss.item() == pytest.approx(dino_loss(targets, student, 0.1).item(), rel=1e-6)
    assert torch.equal(seen["targets"], torch.cat(targets))


def test_the_methods_loss_and_centre_are_lightlys_on_its_own_outputs():
    method = small_dino()
    oracle = DINOLoss(output_dim=32, student_temp=0.1)
    for step in range(3):
        views = small_views(method, seed=step)
        with torch.no_grad():
            teacher, _ = method.teacher(views[:2])
            student, _ = method.student(views)
        temperature = method.schedules(step)["teacher_temperature"]
        expected = oracle(teacher, student, teacher_temp=temperature)
        before = method.center.clone()
        loss, _ = method(views, step)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
        assert torch.equal(method.center, before)  # nothing lasts before the step is taken
        method.after_step(step)
        assert torch.allclose(method.center, oracle.center.flatten(), atol=1e-6)
    assert method.center.norm() > 0


@pytest.mark.parametrize("norm_fixed", [True, False])
def test_head_equals_lightlys_with_the_same_weights(norm_fixed):
    settings = config.Dino(**{**SMALL, "norm_last_layer": norm_fixed})
    ours = Head(20, settings)
    theirs = DINOProjectionHead(20, 24, 16, 32, norm_last_layer=norm_fixed)
    linear = [layer for layer in theirs.layers if isinstance(layer, nn.Linear)]
    for mine, its in zip([ours.layers[0], ours.layers[2], ours.layers[4]], linear, strict=True):
        its.load_state_dict(mine.state_dict())
    with torch.no_grad():
        theirs.last_layer.weight_v.copy_(ours.last.direction)
        if not norm_fixed:
            ours.last.gain.uniform_(0.5, 2.0)
            theirs.last_layer.weight_g.copy_(ours.last.gain)
    x = torch.randn(7, 20)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert sum(p.requires_grad for p in ours.parameters()) == sum(
        p.requires_grad for p in theirs.parameters()
    )


def test_prototypes_are_on_the_unit_sphere_whatever_their_parameters():
    last = Prototypes(4, 9, norm_fixed=True)
    with torch.no_grad():
        last.direction.mul_(17.0)
    weight = last(torch.eye(4)).T
    assert torch.allclose(weight.norm(dim=1), torch.ones(9))


def test_the_teacher_is_the_average_of_the_students():
    """After steps with momenta m1, m2: t = m2 (m1 t0 + (1-m1) s1) + (1-m2) s2, parameter by
    parameter, with the momenta of the cosine."""
    method = small_dino(dino={"teacher_momentum": 0.9})
    names = [name for name, _ in method.student.named_parameters()]
    expected = {name: value.clone() for name, value in method.teacher.named_parameters()}
    for step in (0, 50, 99):
        method(small_views(method), step)
        with torch.no_grad():
            for value in method.student.parameters():
                value.add_(torch.randn_like(value))
        method.after_step(step)
        momentum = {0: 0.9, 50: method.schedules(50)["teacher_momentum"], 99: 1.0}[step]
        for name in names:
            now = method.student.get_parameter(name).detach()
            expected[name] = momentum * expected[name] + (1 - momentum) * now
            assert torch.allclose(method.teacher.get_parameter(name), expected[name], atol=1e-6)
    assert 0.9 < method.schedules(50)["teacher_momentum"] < 1.0


def test_only_the_student_learns_and_the_teacher_starts_as_it_is():
    method = small_dino()
    assert {name.split(".")[0] for name, _ in method.learned()} == {"student"}
    for name, value in method.student.state_dict().items():
        assert torch.equal(method.teacher.state_dict()[name], value)
    loss, _ = method(small_views(method), 0)
    loss.backward()
    assert all(value.grad is not None for _, value in method.learned())
    assert all(value.grad is None for value in method.teacher.parameters())


def test_no_weight_decay_on_biases_norms_and_gains():
    method = small_dino(dino={"norm_last_layer": False})
    spared = {name.removeprefix("student.") for name, v in method.learned() if not decays(name, v)}
    assert "head.last.gain" in spared
    assert "backbone.norm.weight" in spared
    assert "backbone.blocks.0.attn.qkv.bias" in spared
    decayed = {name.removeprefix("student.") for name, v in method.learned() if decays(name, v)}
    assert "backbone.blocks.0.attn.qkv.weight" in decayed
    assert "head.last.direction" in decayed
    assert not any(name.endswith("bias") or "norm" in name for name in decayed)


def test_the_last_layer_is_held_at_first():
    method = small_dino(dino={"freeze_last_layer_epochs": 1.5, "norm_last_layer": False})
    for step, held in ((0, True), (14, True), (15, False)):
        loss, _ = method(small_views(method), step)
        method.zero_grad()
        loss.backward()
        method.before_step(step)
        last = method.student.head.last
        assert (last.direction.grad is None) == (last.gain.grad is None) == held
        assert method.student.head.layers[0].weight.grad is not None


def test_schedules_are_logged_as_they_are_used():
    method = small_dino(
        dino={
            "teacher_temperature_start": 0.03,
            "teacher_temperature": 0.07,
            "temperature_warmup_epochs": 2.0,
            "teacher_momentum": 0.99,
        }
    )
    assert method.schedules(0) == {"teacher_momentum": 0.99, "teacher_temperature": 0.03}
    assert method.schedules(10)["teacher_temperature"] == pytest.approx(0.05)
    assert method.schedules(20)["teacher_temperature"] == 0.07
    assert method.schedules(99) == {"teacher_momentum": 1.0, "teacher_temperature": 0.07}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("out_dim", 48),
        ("head_hidden", 32),
        ("head_bottleneck", 8),
        ("student_temperature", 0.2),
        ("teacher_temperature", 0.09),
        ("teacher_temperature_start", 0.02),
        ("temperature_warmup_epochs", 0.0),
        ("local_crops", 3),
        ("centering", "sinkhorn"),
    ],
)
def test_every_setting_of_the_loss_changes_it(key, value):
    settings = {"temperature_warmup_epochs": 2.0}

    def loss(dino: dict) -> float:
        method = small_dino(dino={**settings, **dino})
        return method(small_views(method), 5)[0].item()

    assert loss({key: value}) != pytest.approx(loss({}), abs=1e-6)


def test_center_momentum_decides_how_fast_the_centre_moves():
    norms = []
    for momentum in (0.9, 0.5, 1.0):
        method = small_dino(dino={"center_momentum": momentum})
        method(small_views(method), 0)
        method.after_step(0)
        norms.append(method.center.norm().item())
    assert norms[1] == pytest.approx(5 * norms[0], rel=1e-4) and norms[2] == 0


def test_crops_are_two_wide_ones_and_the_local_ones():
    method = small_dino()
    shapes = [(crop.mels, crop.frames) for crop in method.crops]
    assert shapes == [(32, 64)] * 2 + [(32, 32)] * 2
    assert method.crops[0].time_share == (0.6, 1.0)
    assert method.crops[2].time_share == method.experiment.augmentation.local_time


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "cls+max"])
def test_the_head_learns_on_what_becomes_the_embedding(pooling):
    method = small_dino(pooling=pooling)
    assert method.student.head.layers[0].in_features == (128 if pooling == "cls+max" else 64)
    loss, _ = method(small_views(method), 0)
    assert loss.isfinite()


def test_what_it_lets_the_monitors_see_tells_a_healthy_teacher_from_a_collapsed_one():
    def figures(method: Dino) -> dict:
        return measured(method(small_views(method, 16), 0)[1], Usage(), ALONE)

    healthy = figures(small_dino())
    assert healthy["embedding_std"] > 0.05 and healthy["teacher_information"] > 0.05

    same = small_dino()
    with torch.no_grad():  # all windows get the same embedding
        for branch in (same.teacher, same.student):
            branch.backbone.norm.weight.zero_()
            branch.backbone.norm.bias.normal_()
    collapsed = figures(same)
    assert collapsed["embedding_std"] < 1e-3 and collapsed["output_std"] < 1e-3
    assert collapsed["teacher_information"] < 1e-5
    # Without a centre one prototype wins everywhere: entropy far below ln(32) = 3.47; with the
    # centre all are alike: entropy ln(32).
    assert collapsed["teacher_entropy"] < 3.0
    for step in range(200):
        same(small_views(same, 2), step)
        same.center.lerp_(same._batch_center, 0.5)
    centred = figures(same)
    assert centred["teacher_entropy"] == pytest.approx(3.4657, abs=0.01)
    assert centred["teacher_uniform_kl"] == pytest.approx(0.0, abs=0.01)
    assert centred["teacher_information"] < 1e-5


def test_without_centring_the_centre_stays_zero_and_the_targets_are_the_teachers_own():
    method = small_dino(dino={"centering": "none"})
    views = small_views(method)
    _, seen = method(views, 0)
    method.after_step(0)
    assert method.center.abs().max() == 0
    temperature = method.schedules(0)["teacher_temperature"]
    assert torch.allclose(seen["targets"], (seen["outputs"] / temperature).softmax(dim=-1))


def test_bf16_forward_has_a_float32_loss_near_that_of_float32():
    method = small_dino()
    views = small_views(method)
    exact, _ = copy.deepcopy(method)(views, 0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = method(views, 0)
    assert loss.dtype == torch.float32
    assert method._batch_center.dtype == method.center.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.03)
    loss.backward()
    assert all(value.grad.dtype == torch.float32 for _, value in method.learned())
    assert all(value.dtype == torch.float32 for value in method.teacher.parameters())
