"""Whitening against scikit-learn's, by hand, and on its way through a model file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dawnchorus.embedding.encoder import Network
from dawnchorus.learning import backbone
from dawnchorus.learning.whitening import Whitening


def features_of(windows: int = 500, seed: int = 0) -> torch.Tensor:
    """Correlated, far from zero, with deviations from 30 down to 0.1."""
    generator = np.random.default_rng(seed)
    deviation = np.geomspace(30.0, 0.1, 12)
    turn = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    return torch.from_numpy((generator.normal(size=(windows, 12)) * deviation) @ turn + 1000.0)


def test_without_shrinkage_all_axes_are_even():
    x = features_of()
    found = Whitening.fit([x], 1e-12)(x)
    # float32 features of a thousand have 1e-4 to spare beside the smallest axis.
    assert torch.allclose(torch.cov(found.T, correction=0), torch.eye(12), atol=1e-2)
    assert found.mean(dim=0).abs().max() < 1e-2


def test_shrinkage_adds_its_share_of_the_mean_variance_to_every_axis():
    """Along the axes that scikit-learn finds, and turned back: distances are PCA's own, rescaled."""
    x = features_of()
    plain = PCA().fit(x.numpy())
    variance = plain.explained_variance_ * 499 / 500
    for shrinkage in (0.1, 1.0):
        scale = 1 / np.sqrt(variance + shrinkage * variance.mean())
        expected = plain.transform(x.numpy()) * scale @ plain.components_
        assert np.allclose(Whitening.fit([x], shrinkage)(x).numpy(), expected, atol=2e-3)


def test_parts_give_what_the_whole_gives():
    x = features_of()
    whole, parts = Whitening.fit([x], 0.1), Whitening.fit(x.split(77), 0.1)
    assert torch.allclose(whole.matrix, parts.matrix, atol=1e-6)
    assert torch.allclose(whole.mean, parts.mean)


def test_axes_without_any_variance_do_no_harm():
    x = torch.cat([features_of(), torch.full((500, 3), 7.0, dtype=torch.float64)], dim=1)
    found = Whitening.fit([x], 0.1)(x)
    assert found.isfinite().all() and found[:, 12:].abs().max() < 1e-2
    with pytest.raises(ValueError, match="no features"):
        Whitening.fit([], 0.1)


def test_a_model_file_brings_its_whitening_along_and_embeds_with_it(tmp_path):
    metadata = backbone.ModelMetadata("vit_nano", 16, 32, 64, "mean+max", -80.0, 10.0, -120.0, 0.5)
    network = backbone.untrained(metadata)
    codes = np.random.default_rng(0).integers(0, 256, (40, 32, 64), dtype=np.uint8)
    plain = Network(network, metadata, batch_size=40).encode(codes)
    turn = Whitening.fit([torch.from_numpy(plain)], 0.5)
    path = tmp_path / "model.safetensors"
    backbone.save_model(path, network.state_dict(), replace(metadata, whitening=0.5), turn)
    held = Network.load(path, batch_size=40, device="cpu")
    assert np.allclose(held.encode(codes), turn(torch.from_numpy(plain)).numpy(), atol=1e-5)
    backbone.save_model(path, network.state_dict(), metadata)
    assert backbone.load_whitening(path) is None
