"""Networks by name: timm's own, rectangular, any patch, any channels; and what is pooled of them."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models.resnet import ResNet

from dawnchorus import config
from dawnchorus.config import Experiment, Pooling
from dawnchorus.embedding.encoder import Network
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import backbone, networks
from dawnchorus.learning.backbone import ModelMetadata
from dawnchorus.learning.pooling import features

METADATA = ModelMetadata("vit_nano", 16, 64, 96, "cls", -80.0, 8.0, -120.0, 0.5)


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("ours", "patch", "theirs"),
    [
        ("vit_tiny", 16, "vit_tiny_patch16_224"),
        ("vit_small", 16, "vit_small_patch16_224"),
        ("vit_small", 8, "vit_small_patch8_224"),
        ("vit_base", 16, "vit_base_patch16_224"),
        ("vit_base", 8, "vit_base_patch8_224"),
    ],
)
def test_our_sizes_are_timms(ours, patch, theirs):
    with torch.device("meta"):
        module = networks.build(ours, patch, 128, 256)
        other = timm.create_model(theirs, num_classes=0, in_chans=1, img_size=(128, 256))
    assert shapes(module) == shapes(other)
    assert str(module.blocks[3]) == str(other.blocks[3])
    assert module.norm.eps == other.norm.eps


@pytest.mark.parametrize(
    ("name", "patch", "outline"),
    [
        ("vit_nano", 16, (64, 4, 6, 4, True)),
        ("vit_nano", (16, 8), (64, 4, 12, 4, True)),
        ("vit_nano", (64, 4), (64, 1, 24, 4, True)),
        ("vit_tiny_patch16_224", 16, (192, 4, 6, 3, True)),
        ("vit_medium_patch16_gap_256", 16, (512, 4, 6, 0, False)),
        ("resnet10t", 16, (512, 2, 3, 0, False)),
        ("resnet50", 16, (2048, 2, 3, 0, False)),
    ],
)
def test_an_outline_is_what_the_network_does(name, patch, outline):
    found = networks.outline(name, patch, 64, 96)
    assert dataclasses.astuple(found) == outline
    module = networks.build(name, patch, 64, 96, channels=2).eval()
    x = torch.randn(2, 2, 64, 96)
    for pooling in get_args(Pooling):
        if pooling in ("cls", "cls+max") and not found.class_token:
            with pytest.raises(DawnChorusError, match=r"^pooling: .* needs a class token"):
                features(module, x, pooling)
            with pytest.raises(DawnChorusError, match=r"take mean, max, mean\+max, bands"):
                backbone.dimension(found, pooling)
            continue
        with torch.no_grad():
            assert features(module, x, pooling).shape == (2, backbone.dimension(found, pooling))


def test_a_residual_network_is_timms_with_one_channel():
    module = networks.build("resnet50", 16, 64, 96).eval()
    assert isinstance(module, ResNet)
    assert module.conv1.weight.shape == (64, 1, 7, 7)
    other = timm.create_model("resnet50", in_chans=1, num_classes=0).eval()
    other.load_state_dict(module.state_dict())
    x = torch.randn(2, 1, 64, 96)
    with torch.no_grad():  # timm pools it globally by itself
        assert torch.allclose(features(module, x, "mean"), other(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "patch", "line"),
    [
        ("resnet49", 16, "^backbone: 'resnet49' is no backbone.*resnet"),
        ("resnetv2_50", 16, "^backbone: timm's resnetv2_50 is neither"),
        ("vit_small_r26_s32_224", 16, "^backbone: timm's vit_small_r26_s32_224 is neither"),
        ("deit_small_distilled_patch16_224", 16, "^backbone: timm's .* does not take windows of 1"),
        ("vit_small_patch16_224", 8, "^patch: vit_small_patch16_224 is named after .* 16.* is 8"),
        ("vit_nano", (16, 7), "^spectrogram.frames: 96 is no multiple .* of 7; take 91 or 98"),
        ("vit_nano", (24, 8), "^spectrogram.mels: 64 is no multiple .* of 24; take 48 or 72"),
    ],
)
def test_what_does_not_fit_is_one_line(name, patch, line):
    with pytest.raises(DawnChorusError, match=line) as caught:
        networks.outline(name, patch, 64, 96)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"backbone": "vit_huge"},
            r"experiments.a.backbone: .*take vit_nano, .*resnet50, or timm's",
        ),
        ({"backbone": "vit_smal"}, r"experiments.a.backbone: did you mean 'vit_small'"),
        ({"patch": 4}, r"experiments.a.patch: take 8, 16, or \[mel rows, frames\] \(got 4\)"),
        ({"patch": [16, 0]}, r"experiments.a.patch: take 8, 16"),
        ({"patch": [16, 8, 8]}, r"experiments.a.patch: take 8, 16"),
        ({"backbone": "resnet50"}, "experiments.a: pooling: cls needs a class token, resnet50"),
        ({"backbone": "resnet18", "pooling": "cls+max"}, r"pooling: cls\+max needs a class token"),
        (
            {"pooling": "bands", "augmentation": {"local_mel": [0.5, 0.9]}},
            "experiments.a: augmentation.local_mel: pooling bands needs crops of all rows",
        ),
    ],
)
def test_what_the_configuration_alone_can_tell_is_one_line(values, line):
    with pytest.raises(DawnChorusError, match=line) as caught:
        config.validate({"experiments": {"a": values}}, where="")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("patch", [8, 16, [16, 8], [8, 16], [14, 14], [16, 16]])
def test_a_patch_survives_the_way_to_the_command(patch):
    first = Experiment(patch=patch)
    assert Experiment(**first.model_dump(mode="json")) == first
    high, wide = config.sides(first.patch)
    assert [high, wide] == (patch if isinstance(patch, list) else [patch, patch])
    assert Experiment(patch=[16, 16]) == Experiment(patch=16)


@pytest.mark.parametrize("size", [(64, 48), (32, 96), (64, 96), (16, 16)])
def test_positions_of_crops_are_the_learned_ones_interpolated(size):
    """Bicubic over the grid of patches, rows by frequency: the class token's stays as it is."""
    module = networks.build("vit_nano", (16, 8), 64, 96).eval()
    with torch.no_grad():
        learned = torch.randn(1, 1 + 4 * 12, 64)
        module.pos_embed.copy_(learned)
        patches = module.patch_embed(torch.zeros(1, 1, *size))
        placed = module._pos_embed(patches) - torch.cat(
            [module.cls_token, patches.flatten(1, 2)], dim=1
        )
    grid = learned[:, 1:].unflatten(1, (4, 12)).permute(0, 3, 1, 2)
    rows, columns = size[0] // 16, size[1] // 8
    wanted = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    assert torch.allclose(placed[:, 1:], wanted.flatten(2).transpose(1, 2), atol=1e-5)
    assert torch.allclose(placed[:, 0], learned[:, 0], atol=1e-6)


def test_positions_follow_their_axis():
    """An embedding that only changes with frequency is the same in every frame of a crop."""
    module = networks.build("vit_nano", 16, 64, 96).eval()
    with torch.no_grad():
        ramp = torch.arange(4.0)[:, None, None].expand(4, 6, 64)
        module.pos_embed[:, 1:] = ramp.reshape(1, 24, 64)
        patches = module.patch_embed(torch.zeros(1, 1, 64, 48))
        placed = (module._pos_embed(patches)[:, 1:] - patches.flatten(1, 2)).unflatten(1, (4, 3))
    assert torch.allclose(placed, ramp[:, :3], atol=1e-5)


def test_bands_keep_pitch_apart_and_forget_time():
    """Of tokens that are known: row r, column c, dimension d."""

    class Known(ResNet):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def forward_features(self, x):
            return x

    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(2, 5, 3, 4, generator=generator)  # n, d, rows, columns
    module = Known()
    bands = features(module, grid, "bands")
    both = features(module, grid, "bands-mean+max")
    for row in range(3):
        assert torch.allclose(bands[:, 5 * row : 5 * row + 5], grid[:, :, row].mean(dim=2))
    assert torch.equal(both[:, :15], bands)
    assert torch.equal(both[:, 15:].unflatten(1, (3, 5)), grid.amax(dim=3).transpose(1, 2))
    turned = features(module, grid.flip(3), "bands")
    assert torch.allclose(turned, bands, atol=1e-6)
    assert not torch.allclose(features(module, grid.flip(2), "bands"), bands, atol=1e-2)
    beside = features(module, grid, "mean+max")
    assert torch.allclose(beside[:, :5], grid.mean(dim=(2, 3)), atol=1e-6)
    assert torch.equal(beside[:, 5:], grid.amax(dim=(2, 3)))


FILES = {
    "pair": {"patch": (16, 8)},
    "bands": {"pooling": "bands"},
    "channels": {"input": "level+contrast", "mean": (-80.0, 3.0), "std": (8.0, 5.0)},
    "resnet": {"backbone": "resnet10t", "pooling": "mean"},
    "timm": {"backbone": "vit_tiny_patch16_224"},
}


@pytest.mark.parametrize("kind", FILES)
def test_a_model_file_gives_back_the_same_network_and_company_changes_nothing(tmp_path, kind):
    metadata = dataclasses.replace(METADATA, **FILES[kind])
    torch.manual_seed(0)
    module = metadata.build().train()
    with torch.no_grad():  # batch norms have seen something
        features(module, torch.randn(8, metadata.channels, 64, 96), metadata.pooling)
    path = tmp_path / "model.safetensors"
    backbone.save_model(path, module.state_dict(), metadata)
    loaded, again = backbone.load_model(path)
    assert again == metadata and not loaded.training
    codes = np.random.default_rng(0).integers(0, 256, (9, 64, 96), dtype=np.uint8)
    with torch.no_grad():
        x = backbone.model_input(torch.from_numpy(codes), metadata)
        assert x.shape == (9, metadata.channels, 64, 96)
        expected = features(module.eval(), x, metadata.pooling)
        assert torch.equal(features(loaded, x, metadata.pooling), expected)
    network = Network.load(path, batch_size=8, device="cpu")
    assert network.dimension == expected.shape[1]
    whole = network.encode(codes[:8])
    np.testing.assert_allclose(whole, expected[:8], rtol=1e-4, atol=1e-4)
    for company in ([0], [0, 8, 3], [0, 5, 5, 5, 5, 5, 5, 5]):
        np.testing.assert_array_equal(network.encode(codes[company])[0], whole[0])


def test_models_of_before_still_load(tmp_path):
    """A file whose entry has a plain patch, mean and deviation, as version 0.1 wrote them."""
    path, entry = tmp_path / "model.safetensors", tmp_path / "old.safetensors"
    module = METADATA.build()
    backbone.save_model(path, module.state_dict(), METADATA)
    with safe_open(path, framework="pt") as handle:
        told = json.loads(handle.metadata()[backbone.METADATA_KEY])
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    assert (told["patch"], told["mean"], told["std"]) == (16, -80.0, 8.0)
    save_file(tensors, entry, metadata={backbone.METADATA_KEY: json.dumps(told)})
    assert backbone.load_model(entry)[1] == METADATA


def test_titles_tell_networks_apart():
    def title(**changes) -> str:
        return dataclasses.replace(METADATA, **changes).title

    assert title() == "vit_nano/16 cls"
    assert title(patch=(16, 8)) == "vit_nano/16x8 cls"
    assert title(backbone="resnet50", pooling="mean") == "resnet50 mean"
    assert title(input="contrast") == "vit_nano/16 cls of contrast"
