"""KoLeo: lightly's term and gradient, safe where there is no neighbour or an equal one."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import KoLeoLoss

from dawnchorus.learning.koleo import koleo
from dawnchorus.learning.ranks import Ranks

from .test_dino import small_dino
from .test_dino import small_views as dino_views
from .test_vicreg import small_vicreg
from .test_vicreg import small_views as vicreg_views

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


@pytest.mark.parametrize("windows", [2, 5, 40])
def test_term_and_gradient_equal_lightlys(windows):
    generator = torch.Generator().manual_seed(windows)
    ours = torch.randn(windows, 12, generator=generator, dtype=torch.float64).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    found, expected = koleo(ours, ALONE), KoLeoLoss()(theirs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    found.backward()
    expected.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-9)
    assert ours.grad.abs().max() > 1e-3


def test_of_three_known_directions():
    """Distances on the unit circle are chords: 2 sin(angle / 2); lengths do not matter."""
    angle = torch.tensor([0.0, 0.5, 2.0]).double()
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.tensor([[3.0], [1.0], [0.2]])
    nearest = [0.5, 0.5, 1.5]
    expected = -sum(math.log(2 * math.sin(away / 2)) for away in nearest) / 3
    assert koleo(points, ALONE).item() == pytest.approx(expected, rel=1e-6)


def test_a_single_window_has_no_neighbour_and_no_gradient():
    alone = torch.randn(1, 6, requires_grad=True)
    term = koleo(alone, ALONE)
    term.backward()
    assert term.item() == 0.0 and torch.equal(alone.grad, torch.zeros(1, 6))


def test_equal_windows_and_empty_features_stay_finite():
    same = torch.ones(4, 6, requires_grad=True)
    term = koleo(same, ALONE)
    term.backward()
    assert term.isfinite() and same.grad.isfinite().all()
    assert koleo(torch.zeros(3, 6), ALONE).isfinite()


def test_in_bf16_it_is_computed_in_float32():
    features = torch.randn(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert koleo(features, ALONE).item() == koleo(features.clone(), ALONE).item()
        half = koleo(features.bfloat16(), ALONE)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(koleo(features.bfloat16().float(), ALONE).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "views_of"), [(small_dino, dino_views), (small_vicreg, vicreg_views)]
)
def test_both_methods_add_the_term_of_their_global_views(make, views_of):
    plain, pushed = make(), make(koleo_weight=0.1)
    views = views_of(plain)
    loss, figures = plain(views, 3)
    assert "koleo" not in figures
    more, figures = pushed(views, 3)
    assert more.item() == pytest.approx(loss.item() + 0.1 * figures["koleo"].item(), rel=1e-5)
    network = pushed.student.backbone if hasattr(pushed, "student") else pushed.network
    with torch.no_grad():
        of_views = [KoLeoLoss()(network.forward_features(view)[:, 0]) for view in views[:2]]
    assert figures["koleo"].item() == pytest.approx(sum(of_views).item(), rel=1e-4)
