"""Figures of known tensors: spectra, assignments, distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dawnchorus.learning.measures import (
    Usage,
    deviation,
    entropy,
    information,
    rankme,
    spread,
)
from dawnchorus.learning.monitors import measured
from dawnchorus.learning.ranks import Ranks

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def with_spectrum(values: list[float], rows: int = 50) -> torch.Tensor:
    """A matrix with these singular values and random singular vectors."""
    generator = torch.Generator().manual_seed(0)
    count = len(values)
    left = torch.linalg.qr(torch.randn(rows, count, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(count, count, generator=generator, dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize("values", [[1.0] * 8, [1.0], [3.0, 1.0], [1.0, 0.5, 0.25, 0.125, 0.0]])
def test_rankme_of_a_known_spectrum(values):
    share = np.array(values) / sum(values) + 1e-7
    expected = math.exp(-(share * np.log(share)).sum())
    assert rankme(with_spectrum(values)) == pytest.approx(expected, rel=1e-6)
    assert rankme(with_spectrum(values, rows=50).T) == pytest.approx(expected, rel=1e-6)


def test_rankme_is_between_one_and_the_number_of_dimensions():
    generator = torch.Generator().manual_seed(1)
    even = torch.randn(5000, 16, generator=generator)
    assert rankme(even) == pytest.approx(16, abs=0.1)
    assert rankme(torch.ones(30, 16) * torch.rand(30, 1)) == pytest.approx(1.0, abs=1e-4)
    # By numpy's singular values, which come another way.
    z = torch.randn(40, 60, generator=generator)
    share = np.linalg.svd(z.numpy(), compute_uv=False)
    share = share / share.sum() + 1e-7
    assert rankme(z) == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-5)
    assert math.isfinite(rankme(torch.zeros(4, 3)))


def test_entropy_of_known_distributions():
    rows = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert entropy(rows).tolist() == pytest.approx([math.log(4), 0.0, math.log(2)])


def test_information_is_that_of_window_and_prototype():
    sure = torch.eye(4).repeat(3, 1)  # four prototypes, each window sure of one
    assert [x.item() for x in information(sure, ALONE)] == pytest.approx([0, math.log(4), 4])
    uniform = torch.full((6, 4), 0.25)
    within, shared, effective = information(uniform, ALONE)
    assert (within.item(), shared.item(), effective.item()) == pytest.approx((math.log(4), 0, 4))
    one = torch.zeros(6, 4)
    one[:, 2] = 1
    assert [x.item() for x in information(one, ALONE)] == pytest.approx([0, 0, 1])
    # Against the definition: sum over p(w, k) ln(p(w, k) / (p(w) p(k))).
    p = torch.rand(7, 5, generator=torch.Generator().manual_seed(2)).softmax(dim=1).double()
    joint, overall = p / 7, p.mean(dim=0)
    expected = (joint * (joint / (overall / 7)).log()).sum().item()
    assert information(p, ALONE)[1].item() == pytest.approx(expected, abs=1e-6)


def test_deviation_is_numpys():
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 6) + 100
    assert deviation(x, ALONE).item() == pytest.approx(x.numpy().std(axis=0).mean(), rel=1e-5)


def test_spread_is_one_for_even_and_zero_for_equal_directions():
    even = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    assert spread(even, ALONE).item() == pytest.approx(1.0, abs=0.01)
    assert spread(torch.ones(10, 64) * torch.rand(10, 1), ALONE).item() < 1e-3


def test_prototypes_used_are_those_of_the_last_windows():
    usage = Usage(passes=2)  # 8 prototypes, 4 windows per step: the last 4 steps

    def step(*likeliest: int) -> float | None:
        usage.note(torch.eye(8)[list(likeliest)], ALONE)
        share = usage.share(ALONE)
        return None if share is None else share.item()

    assert step(0, 1, 2, 3) is None
    assert step(0, 0, 0, 0) is None
    assert step(4, 4, 5, 5) is None
    assert step(0, 0, 0, 0) == 6 / 8
    assert step(0, 0, 0, 0) == 3 / 8  # 1, 2 and 3 are too long ago
    assert step(7, 6, 0, 0) == 5 / 8
    assert step(0, 0, 0, 0) == 3 / 8  # and so are 4 and 5
    for _ in range(4):
        last = step(0, 0, 0, 0)
    assert last == 1 / 8


def test_a_method_without_distributions_is_measured_as_far_as_it_goes():
    generator = torch.Generator().manual_seed(4)
    figures = {"variance": torch.tensor(0.25), "outputs": torch.randn(50, 6, generator=generator)}
    found = measured(figures, Usage(), ALONE)
    assert set(found) == {"variance", "output_std"} and found["variance"] == 0.25
    assert measured({}, Usage(), ALONE) == {}
