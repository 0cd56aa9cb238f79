"""Networks that take a window's spectrogram as it is: one or two channels, rectangular.

In: a name, the patch, the window's shape. Out: a timm module, and its :class:`Outline`, which says
what it makes of a window without building it. Vision transformers and residual networks.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import timm
import torch
from timm.layers import Attention, convert_sync_batchnorm
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dawnchorus.config import Patch, sides
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.ranks import Ranks

Backbone = VisionTransformer | ResNet


@dataclass(frozen=True)
class Size:
    """Width, depth and heads of a transformer."""

    width: int
    depth: int
    heads: int


SIZES = {
    # nano: the tests'. micro: what two cores can train (docs/recipes.md). The others are DeiT's and
    # DINO's own (arXiv:2012.12877, table 1): timm's vit_tiny_patch16_224, vit_small_patch16_224 and
    # _patch8_224, vit_base_patch16_224 and _patch8_224, parameter by parameter, but for channels,
    # window and classes.
    "vit_nano": Size(64, 4, 4),
    "vit_micro": Size(128, 4, 4),
    "vit_tiny": Size(192, 12, 3),
    "vit_small": Size(384, 12, 6),
    "vit_base": Size(768, 12, 12),
}
TRANSFORMERS = ("timm.models.vision_transformer", "timm.models.deit")
CONVOLUTIONAL = "timm.models.resnet"
RESIDUAL_STAGES = 4
REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, KeyError, AttributeError)
"""What timm's networks raise when they cannot be built as asked."""


@dataclass(frozen=True)
class Outline:
    """What a network makes of a window.

    Attributes
    ----------
    width : int
        Dimensions of a token (of a cell of the last feature map).
    rows, columns : int
        Patches (cells) along frequency and time.
    heads : int
        Attention heads of the last block; 0 if it has no attention that could be shown.
    class_token : bool
    """

    width: int
    rows: int
    columns: int
    heads: int
    class_token: bool


def check_shape(patch: Patch, mels: int, frames: int) -> None:
    """See that a window divides into patches.

    Raises
    ------
    DawnChorusError
        Naming the key, and the nearest values that would do.
    """
    keys = ("spectrogram.mels", "spectrogram.frames")
    for key, size, side in zip(keys, (mels, frames), sides(patch), strict=True):
        if size % side:
            below = size // side * side
            fits = " or ".join(str(value) for value in (below, below + side) if value > 0)
            raise DawnChorusError(
                f"{size} is no multiple of the transformer's patch of {side}", key, f"take {fits}"
            )


def build(
    backbone: str,
    patch: Patch,
    mels: int,
    frames: int,
    drop_path: float = 0.0,
    channels: int = 1,
) -> Backbone:
    """Build a network for windows of ``mels`` x ``frames``.

    Crops of another size are taken too. A transformer interpolates its position embedding to them
    (they are multiples of the patch).

    Parameters
    ----------
    backbone : str
        A key of :data:`SIZES`, or timm's name of a vision transformer or residual network.
    patch : int or tuple of int
        Side of a patch, or its mel rows and frames. A residual network has none.
    mels, frames : int
        Shape of a window; multiples of a transformer's patch.
    drop_path : float
        Largest rate of stochastic depth (rises linearly over the blocks).
    channels : int
        Of a window.

    Raises
    ------
    DawnChorusError
        If there is no such network, it does not take such windows, or they do not divide into
        patches.
    """
    if backbone not in SIZES:
        return _of_timm(backbone, patch, mels, frames, drop_path, channels)
    check_shape(patch, mels, frames)
    size = SIZES[backbone]
    return VisionTransformer(
        img_size=(mels, frames),
        patch_size=patch,
        in_chans=channels,
        num_classes=0,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        drop_path_rate=drop_path,
        dynamic_img_size=True,
    )


def _of_timm(
    name: str, patch: Patch, mels: int, frames: int, drop_path: float, channels: int
) -> Backbone:
    """Build one of timm's networks by timm's name, with random weights."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, [*SIZES, *timm.list_models()], n=3)
        raise DawnChorusError(
            f"{name!r} is no backbone, and timm {timm.__version__} knows no network of this name",
            "backbone",
            f"take {', '.join(near or [*SIZES, 'resnet50'])}",
        )
    family = timm.models.model_entrypoint(name).__module__
    wanted: dict[str, Any] = {"num_classes": 0, "global_pool": "", "in_chans": channels}
    if family in TRANSFORMERS:
        _check_named_patch(name, patch)
        check_shape(patch, mels, frames)
        wanted |= {"img_size": (mels, frames), "patch_size": patch, "dynamic_img_size": True}
    elif family != CONVOLUTIONAL:
        raise DawnChorusError(
            f"timm's {name} is neither a plain vision transformer nor a residual network",
            "backbone",
            f"take {', '.join(SIZES)}, resnet50 or another of these two kinds",
        )
    try:
        module = timm.create_model(name, pretrained=False, drop_path_rate=drop_path, **wanted)
    except REFUSALS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DawnChorusError(
            f"timm's {name} does not take windows of {channels} x {mels} x {frames}: {reason}",
            "backbone",
            f"take {', '.join(SIZES)} or resnet50",
        ) from None
    return cast(Backbone, module)


def _check_named_patch(name: str, patch: Patch) -> None:
    """A patch in a network's name is to be the patch that it gets."""
    named = re.search(r"_patch(\d+)", name)
    if named and sides(patch) != (int(named[1]), int(named[1])):
        raise DawnChorusError(
            f"{name} is named after patches of {named[1]}, and the patch is {patch_name(patch)}",
            "patch",
            f"take {named[1]}, or another backbone",
        )


def patch_name(patch: Patch) -> str:
    """Say a patch in a word: ``16`` or ``16x8``."""
    return str(patch) if isinstance(patch, int) else f"{patch[0]}x{patch[1]}"


@lru_cache(maxsize=64)
def outline(
    backbone: str, patch: Patch, mels: int, frames: int, layer: int | None = None
) -> Outline:
    """Tell what a network makes of a window; none is built that takes memory.

    Parameters
    ----------
    backbone, patch, mels, frames
        As for :func:`build`.
    layer : int, optional
        As for :func:`token_grid`.

    Raises
    ------
    DawnChorusError
        As :func:`build` and :func:`token_grid`.
    """
    if backbone in SIZES:
        check_shape(patch, mels, frames)
        size, (high, wide) = SIZES[backbone], sides(patch)
        _check_layer(layer, size.depth, backbone)
        return Outline(size.width, mels // high, frames // wide, size.heads, class_token=True)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = build(backbone, patch, mels, frames).eval()
        summary, grid = token_grid(module, torch.empty(1, 1, mels, frames), layer)
    rows, columns, width = grid.shape[1:]
    return Outline(width, rows, columns, _heads(module), summary is not None)


def _heads(module: Backbone) -> int:
    """Heads of the class token's attention in the last block; 0 if it cannot be shown."""
    if not isinstance(module, VisionTransformer) or not module.has_class_token:
        return 0
    attention = getattr(module.blocks[-1], "attn", None)
    return attention.num_heads if isinstance(attention, Attention) else 0


def token_grid(
    module: Backbone, x: Tensor, layer: int | None = None
) -> tuple[Tensor | None, Tensor]:
    """Run a network, as far as is needed.

    Parameters
    ----------
    module : VisionTransformer or ResNet
    x : Tensor, shape (n, channels, mels, frames)
    layer : int, optional
        Whose tokens: the first block is 1 (of a residual network: the first of its four stages).
        The last if None. A transformer's last norm is applied to every block's tokens, as DINO's
        ``get_intermediate_layers`` does.

    Returns
    -------
    summary : Tensor, shape (n, width), or None
        The class token, if there is one.
    grid : Tensor, shape (n, rows, columns, width)
        Patches (cells of the last feature map), rows from low to high frequency.

    Raises
    ------
    DawnChorusError
        If there is no such layer.
    """
    if isinstance(module, ResNet):
        if layer is None:
            return None, module.forward_features(x).permute(0, 2, 3, 1)
        _check_layer(layer, RESIDUAL_STAGES, "the network")
        # timm counts what comes before the first stage as 0.
        (stage,) = cast(
            list[Tensor],
            module.forward_intermediates(
                x, indices=[layer], stop_early=True, intermediates_only=True
            ),
        )
        return None, stage.permute(0, 2, 3, 1)
    depth = len(module.blocks)
    _check_layer(layer, depth, "the network")
    prefix: Tensor | None
    if layer is None or layer == depth:
        found = module.forward_features(x)
        prefix = found[:, : module.num_prefix_tokens]
        patches = found[:, module.num_prefix_tokens :]
    else:
        # Without prefix tokens timm returns the patches alone.
        (taken,) = cast(
            list[Any],
            module.forward_intermediates(
                x,
                indices=[layer - 1],
                return_prefix_tokens=True,
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            ),
        )
        patches, prefix = taken if isinstance(taken, tuple) else (taken, None)
    rows_columns = module.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
    grid = patches.unflatten(1, rows_columns)
    return (prefix[:, 0] if prefix is not None and module.has_class_token else None), grid


def _check_layer(layer: int | None, depth: int, network: str) -> None:
    if layer is not None and not 1 <= layer <= depth:
        raise DawnChorusError(
            f"{network} has {depth} layers to take tokens from, and {layer} is none of them",
            "embedding.layer",
            f"take 1 to {depth}, or null for the last",
        )


def synchronised(module: nn.Module, ranks: Ranks) -> None:
    """Have batch norms of several processes on GPUs take the statistics of the whole batch.

    On the CPU torch has no such layer: there each process normalises its own share of the batch.
    """
    if ranks.world > 1 and ranks.device.type == "cuda":
        convert_sync_batchnorm(module)
