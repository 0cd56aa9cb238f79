"""Backbones: shapes, pooling, crops, model files."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import backbone
from dawnchorus.learning.backbone import ModelMetadata

METADATA = ModelMetadata(
    backbone="vit_nano",
    patch=16,
    mels=128,
    frames=256,
    pooling="cls",
    mean=-80.0,
    std=8.0,
    db_min=-120.0,
    db_step=0.5,
    spectrograms="abc",
    training_set="def",
    experiment={"method": "dino", "dino": {"out_dim": 8}},
    version="0",
)


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"),
    [("vit_tiny", 192, 12, 3), ("vit_small", 384, 12, 6), ("vit_base", 768, 12, 12)],
)
def test_sizes_are_those_of_deit(name, width, depth, heads):
    with torch.device("meta"):
        module = backbone.build(name, 16, 128, 256)
    assert (module.embed_dim, len(module.blocks)) == (width, depth)
    assert module.blocks[0].attn.num_heads == heads
    # Parameters of a ViT: 12 d^2 + 13 d per block, patches, positions, class token, last norm.
    expected = depth * (12 * width**2 + 13 * width) + 256 * width + width + 129 * width + 3 * width
    assert sum(value.numel() for value in module.parameters()) == expected


@pytest.mark.parametrize("patch", [8, 16])
def test_a_window_is_taken_as_it_is_one_channel_rectangular(patch):
    module = backbone.build("vit_nano", patch, 128, 256).eval()
    tokens = module.forward_features(torch.zeros(2, 1, 128, 256))
    assert tokens.shape == (2, 1 + (128 // patch) * (256 // patch), 64)
    assert module.patch_embed.proj.weight.shape == (64, 1, patch, patch)


def test_crops_get_interpolated_positions():
    module = backbone.build("vit_nano", 16, 128, 256).eval()
    assert module.forward_features(torch.zeros(3, 1, 128, 96)).shape == (3, 1 + 8 * 6, 64)
    # At the full size the positions are the learned ones themselves.
    with torch.no_grad():
        patches = module.patch_embed(torch.ones(1, 1, 128, 256))
        placed = module._pos_embed(patches)
    assert torch.equal(placed[:, 1:], patches.flatten(1, 2) + module.pos_embed[:, 1:])


def test_pooling():
    module = backbone.build("vit_nano", 16, 128, 256).eval()
    x = torch.randn(3, 1, 128, 256)
    with torch.no_grad():
        tokens = module.forward_features(x)
        assert torch.equal(backbone.features(module, x, "cls"), tokens[:, 0])
        assert torch.allclose(backbone.features(module, x, "mean"), tokens[:, 1:].mean(1))
        assert torch.equal(backbone.features(module, x, "max"), tokens[:, 1:].max(1).values)
        both = backbone.features(module, x, "cls+max")
    assert torch.equal(both, torch.cat([tokens[:, 0], tokens[:, 1:].max(1).values], 1))
    for pooling in ("cls", "mean", "max", "cls+max"):
        expected = dataclasses.replace(METADATA, pooling=pooling).dimension
        assert backbone.features(module, x, pooling).shape == (3, expected)
    with pytest.raises(DawnChorusError, match="no pooling"):
        backbone.features(module, x, "median")


@pytest.mark.parametrize(
    ("mels", "frames", "key", "fits"),
    [(120, 256, "spectrogram.mels", "112 or 128"), (128, 250, "spectrogram.frames", "240 or 256")],
)
def test_a_window_that_does_not_divide_into_patches_is_refused_by_key(mels, frames, key, fits):
    with pytest.raises(DawnChorusError, match=f"^{key}: .*16; take {fits}$"):
        backbone.build("vit_nano", 16, mels, frames)
    backbone.build("vit_nano", 8, 120, 256)


def test_a_model_file_gives_back_the_same_network(tmp_path):
    path = tmp_path / "model.safetensors"
    module = backbone.build("vit_nano", 16, 128, 256).eval()
    backbone.save_model(path, module.state_dict(), METADATA)
    loaded, metadata = backbone.load_model(path)
    assert metadata == METADATA
    assert (metadata.dimension, metadata.width, metadata.heads) == (64, 64, 4)
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())
    x = torch.randn(2, 1, 128, 256)
    with torch.no_grad():
        assert torch.equal(backbone.features(loaded, x), backbone.features(module, x))
    before = path.read_bytes()
    backbone.save_model(path, loaded.state_dict(), metadata)
    assert path.read_bytes() == before


def test_files_that_are_no_models_are_said_so(tmp_path):
    with pytest.raises(DawnChorusError, match="is not there"):
        backbone.load_model(tmp_path / "none")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(DawnChorusError, match="is not a model"):
        backbone.load_model(tmp_path / "text")
    other = backbone.build("vit_nano", 8, 128, 256)
    backbone.save_model(tmp_path / "other", other.state_dict(), METADATA)
    with pytest.raises(DawnChorusError, match="do not fit"):
        backbone.load_model(tmp_path / "other")


def test_model_input_is_normalised_decibels():
    codes = torch.tensor([[[0, 80], [255, 96]]], dtype=torch.uint8)
    x = backbone.model_input(codes, METADATA)
    expected = (torch.tensor([[-120.0, -80.0], [7.5, -72.0]]) + 80.0) / 8.0
    assert torch.equal(x, expected[None, None])


def test_untrained_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, two = backbone.untrained(METADATA, 5), backbone.untrained(METADATA, 5)
    assert torch.equal(torch.rand(3), expected)
    state, same = one.state_dict(), two.state_dict()
    assert all(torch.equal(state[name], same[name]) for name in state)
    other = backbone.untrained(METADATA, 6).state_dict()
    assert not torch.equal(state["pos_embed"], other["pos_embed"])
    assert not one.training
