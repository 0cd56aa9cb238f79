"""Compiled blocks, recomputed activations and batches in parts learn what a plain pass learns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.learning import acceleration, backbone


def gradients(module: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    found = backbone.features(module, x)
    (found * torch.linspace(-1.0, 1.0, found.shape[1])).square().sum().backward()
    return {name: value.grad.clone() for name, value in module.named_parameters()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return backbone.build("vit_nano", 16, 32, 64)


@given(windows=st.integers(1, 300), most=st.none() | st.integers(1, 300))
def test_passes_hold_every_window_once_and_are_even(windows, most):
    parts = list(acceleration.passes(windows, most))
    rows = [row for part in parts for row in range(part.start, part.stop)]
    assert rows == list(range(windows))
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes) <= (most or windows) and max(sizes) - min(sizes) <= 1
    assert len(parts) == (1 if most is None else -(-windows // most))


def test_recomputed_activations_give_the_same_gradients_bit_for_bit(network):
    x = torch.randn(3, 1, 32, 64, generator=torch.Generator().manual_seed(1))
    plain = gradients(network, x)
    assert acceleration.checkpoint_activations(network) == 1
    assert network.grad_checkpointing
    for name, value in gradients(network, x).items():
        assert torch.equal(value, plain[name]), name


def test_a_network_that_does_not_learn_keeps_what_it_has(network):
    assert acceleration.checkpoint_activations(network.requires_grad_(False)) == 0


def test_recomputing_holds_less_memory(network):
    """Counted in tensors that the graph keeps, not in megabytes of a busy machine."""
    held: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.numel())
        return tensor

    def size() -> int:
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            backbone.features(network, torch.zeros(8, 1, 32, 64))
        return sum(held)

    before = size()
    acceleration.checkpoint_activations(network)
    assert size() < before / 4


@pytest.mark.slow
def test_compiled_blocks_compute_the_same_for_every_crop_and_keep_their_names(network):
    crops = [torch.randn(3, 1, 32, 64), torch.randn(3, 1, 32, 32)]
    names = list(network.state_dict())
    plain = [gradients(network, x) for x in crops]
    assert acceleration.compile_blocks(network) == 4
    assert list(network.state_dict()) == names
    for x, expected in zip(crops, plain, strict=True):
        for name, value in gradients(network, x).items():
            assert (value - expected[name]).norm() < 1e-4 * expected[name].norm(), name
