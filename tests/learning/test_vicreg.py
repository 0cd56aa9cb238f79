"""VICReg: lightly's loss and gradients, the expander, what the figures say."""

from __future__ import annotations

import copy

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import nn

from dawnchorus import config
from dawnchorus.config import Experiment
from dawnchorus.learning import measures
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock
from dawnchorus.learning.vicreg import Vicreg, expander, squared_covariance, vicreg_terms

ALONE = Ranks(0, 1, 0, torch.device("cpu"))
WEIGHTS = (25.0, 25.0, 1.0)


def small_vicreg(vicreg: dict | None = None, **changes) -> Vicreg:
    torch.manual_seed(0)
    settings = config.Vicreg(**{"expander_width": 32, **(vicreg or {})})
    wanted = {"backbone": "vit_nano", "drop_path": 0.0, **changes}
    experiment = Experiment(method="vicreg", vicreg=settings, **wanted)
    return Vicreg(experiment, 32, 64, Clock(10, 100, 8), ALONE)


def small_views(method: Vicreg, windows: int = 6, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(windows, 1, crop.mels, crop.frames) for crop in method.crops]
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize(("windows", "dimensions"), [(6, 20), (20, 20), (40, 7), (2, 3)])
def test_loss_and_gradient_equal_lightlys(windows, dimensions):
    """No factor between them: both are the authors' own, mean over dimensions, n - 1."""
    generator = torch.Generator().manual_seed(windows)
    shape = (windows, dimensions)
    views = [0.7 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    ours = [view.clone().requires_grad_() for view in views]
    theirs = [view.clone().requires_grad_() for view in views]
    terms = vicreg_terms(*ours, 1e-4, ALONE)
    loss = sum(weight * term for weight, term in zip(WEIGHTS, terms, strict=True))
    expected = VICRegLoss(*WEIGHTS, eps=1e-4)(*theirs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-9)
    loss.backward()
    expected.backward()
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, its.grad, rtol=0, atol=1e-9)
        assert mine.grad.abs().max() > 1e-3


@pytest.mark.parametrize(("windows", "dimensions"), [(5, 30), (30, 5)])
def test_the_small_matrix_gives_what_the_covariances_give(windows, dimensions):
    z = torch.randn(windows, dimensions, generator=torch.Generator().manual_seed(1)).double()
    covariance = torch.cov(z.T)
    apart = covariance.square().sum() - covariance.diagonal().square().sum()
    found = squared_covariance(z - z.mean(dim=0))
    assert found.item() == pytest.approx(apart.item() / dimensions, rel=1e-12)


def test_terms_of_known_embeddings():
    """Two dimensions that go together, a third on its own; the views differ by 0.5 everywhere."""
    column = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()
    other = torch.tensor([0.1, 0.1, -0.1, -0.1]).double()
    z = torch.stack([column, column, other], dim=1)
    invariance, variance, covariance = vicreg_terms(z, z + 0.5, 1e-4, ALONE)
    assert invariance == pytest.approx(0.25)
    lacking = 1 - (0.04 / 3 + 1e-4) ** 0.5  # the first two have more than 1
    assert variance == pytest.approx(lacking / 3)
    assert covariance == pytest.approx(
        2 * 2 * (4 / 3) ** 2 / 3
    )  # views, both sides of the diagonal


@pytest.mark.parametrize("windows", [1, 2])
def test_few_windows_give_finite_losses_and_gradients(windows):
    z = torch.randn(windows, 4, requires_grad=True)
    loss = torch.stack(vicreg_terms(z, z.detach() + 1, 1e-4, ALONE)).sum()
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()
    same = torch.ones(windows, 4, requires_grad=True)  # no variance at all
    torch.stack(vicreg_terms(same, same, 1e-4, ALONE)).sum().backward()
    assert same.grad.isfinite().all()


def test_expander_is_the_authors():
    layers = list(expander(10, config.Vicreg(expander_width=16)))
    kinds = [type(layer) for layer in layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [layer.weight.shape for layer in layers if isinstance(layer, nn.Linear)] == [
        (16, 10), (16, 16), (16, 16),
    ]  # fmt: skip
    assert layers[0].bias is not None and layers[-1].bias is None
    assert len(expander(10, config.Vicreg(expander_layers=1))) == 1


def test_all_parameters_learn_and_all_that_lasts_is_theirs():
    method = small_vicreg()
    loss, figures = method(small_views(method), 0)
    loss.backward()
    assert all(value.grad is not None for _, value in method.learned())
    assert {name.split(".")[0] for name, _ in method.learned()} == {"network", "expander"}
    assert method.backbone is method.network
    weighted = 25 * figures["invariance"] + 25 * figures["variance"] + figures["covariance"]
    assert loss.item() == pytest.approx(weighted.item(), rel=1e-6)


def test_two_global_crops_and_no_local_ones():
    method = small_vicreg(augmentation={"global_time": (0.4, 0.5)})
    assert [(crop.mels, crop.frames) for crop in method.crops] == [(32, 32)] * 2
    assert method.crops[0].time_share == (0.4, 0.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expander_width", 48),
        ("expander_layers", 2),
        ("invariance", 1.0),
        ("variance", 1.0),
        ("covariance", 25.0),
        ("epsilon", 1e-2),
    ],
)
def test_every_setting_of_the_loss_changes_it(key, value):
    def loss(settings: dict) -> float:
        method = small_vicreg(settings)
        return method(small_views(method), 5)[0].item()

    assert loss({key: value}) != pytest.approx(loss({}), rel=1e-6)


def test_figures_tell_a_healthy_network_from_a_collapsed_one():
    method = small_vicreg()
    _, healthy = method(small_views(method, 16), 0)
    with torch.no_grad():  # all windows get the same embedding
        method.network.norm.weight.zero_()
        method.network.norm.bias.normal_()
    loss, collapsed = method(small_views(method, 16), 0)
    assert measures.spread(healthy["embeddings"], ALONE) > 0.05
    assert measures.spread(collapsed["embeddings"], ALONE) < 1e-3
    assert measures.deviation(collapsed["outputs"], ALONE) < 1e-2
    # The hinge of a deviation of 0 is 1 less the root of epsilon; nothing else is left of the loss.
    assert collapsed["variance"].item() == pytest.approx(0.99, abs=1e-3)
    assert loss.item() == pytest.approx(25 * 0.99, rel=1e-2)


def test_bf16_forward_has_a_float32_loss_near_that_of_float32():
    method = small_vicreg()
    views = small_views(method)
    exact, _ = copy.deepcopy(method)(views, 0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = method(views, 0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.03)
    loss.backward()
    assert all(value.grad.dtype == torch.float32 for _, value in method.learned())


@pytest.mark.parametrize("pooling", ["cls", "mean", "bands", "bands-mean+max"])
def test_the_expander_learns_on_what_becomes_the_embedding(pooling):
    method = small_vicreg(pooling=pooling)
    rows = {"bands": 2, "bands-mean+max": 4}.get(pooling, 1)
    assert method.expander[0].in_features == 64 * rows
    assert method(small_views(method), 0)[0].isfinite()
