"""One forward pass, and what the maps are made of.

In: a network and windows. Out: the tokens of its last block, and the input of the attention of the
blocks asked for, on the network's own grid of patches or on a finer one.

A finer grid lays the same patches more densely: each patch still sees as much sound as in training,
but they begin half (a quarter ...) of a patch apart, and the position embedding is interpolated to
the places between (Amir et al. 2021, "Deep ViT features as dense visual descriptors",
arXiv:2112.05814). The window is continued by its mirror image, so that the cells of the finer grid
divide the window exactly as the patches do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dawnchorus.config import Patch, sides
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.networks import Backbone


@dataclass(frozen=True)
class Tokens:
    """What a network makes of windows.

    Attributes
    ----------
    summary : Tensor (n, width)
        The class token after the last block and its norm.
    grid : Tensor (n, rows, columns, width)
        The patches' tokens after the last block and its norm.
    raw : Tensor (n, rows, columns, width)
        The same before that norm.
    inner : dict of int to Tensor (n, tokens, width)
        What the attention of a block is given, by the block's number.
    prefix : int
        Tokens before the patches: the class token and registers.
    """

    summary: Tensor
    grid: Tensor
    raw: Tensor
    inner: dict[int, Tensor]
    prefix: int


def of_transformer(module: Backbone) -> VisionTransformer:
    """Return the network, if the attention of its class token can be shown.

    Raises
    ------
    DawnChorusError
        If it has no class token.
    """
    if not (isinstance(module, VisionTransformer) and module.has_class_token):
        raise DawnChorusError("the network has no class token whose attention could be shown")
    return module


def finer_patch(patch: Patch, finer: int) -> tuple[int, int]:
    """Return mel rows and frames of a cell of a grid that is finer than the patches.

    A side that is too short to be divided stays as it is.

    Raises
    ------
    DawnChorusError
        If a side is no multiple of ``finer``.
    """
    if any(side % finer for side in sides(patch) if side > 1):
        raise DawnChorusError(
            f"a patch of {' x '.join(map(str, sides(patch)))} cannot be divided by {finer}",
            "attention.finer",
            "take 1, or a divisor of both sides",
        )
    rows, columns = (max(1, side // finer) for side in sides(patch))
    return rows, columns


@torch.inference_mode()
def run(module: Backbone, x: Tensor, blocks: Sequence[int] = (), finer: int = 1) -> Tokens:
    """Run a network and keep what maps are made of.

    Parameters
    ----------
    module : VisionTransformer
        In evaluation mode, with a class token; another network is refused.
    x : Tensor, shape (n, channels, mels, frames)
        What the network sees (:func:`dawnchorus.learning.backbone.model_input`).
    blocks : sequence of int
        Blocks whose attention's input is kept; negative ones count from the end.
    finer : int
        Cells of the grid along each side of a patch.

    Raises
    ------
    DawnChorusError
        If the network has no class token, or its patch cannot be divided so.
    """
    network = of_transformer(module)
    inner: dict[int, Tensor] = {}
    hooks = []
    try:
        for block in blocks:
            attention: Any = network.blocks[block].attn
            hooks.append(attention.register_forward_pre_hook(_keeper(inner, block)))
        placed = network._pos_embed(_patches(network, x, finer))
        tokens = network.blocks(network.norm_pre(network.patch_drop(placed)))
    finally:
        for hook in hooks:
            hook.remove()
    last = network.norm(tokens)
    prefix = network.num_prefix_tokens
    rows_columns = _shape(network, x, finer)
    return Tokens(
        summary=last[:, 0],
        grid=last[:, prefix:].unflatten(1, rows_columns),
        raw=tokens[:, prefix:].unflatten(1, rows_columns),
        inner=inner,
        prefix=prefix,
    )


def _keeper(inner: dict[int, Tensor], block: int) -> Any:
    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inner[block] = inputs[0]

    return keep


def _shape(network: VisionTransformer, x: Tensor, finer: int) -> tuple[int, int]:
    rows, columns = finer_patch(network.patch_embed.patch_size, finer)
    return x.shape[-2] // rows, x.shape[-1] // columns


def _patches(network: VisionTransformer, x: Tensor, finer: int) -> Tensor:
    """Embed the patches, without their places: as timm does, but for the distance between them."""
    embed: Any = network.patch_embed
    if finer == 1:
        patches: Tensor = embed(x)
        return patches
    stride = finer_patch(embed.patch_size, finer)
    margins = [size - step for size, step in zip(embed.patch_size, stride, strict=True)]
    (low, high), (start, end) = [(margin // 2, margin - margin // 2) for margin in margins]
    wider = nn.functional.pad(x, (start, end, low, high), mode="reflect")
    cells = nn.functional.conv2d(wider, embed.proj.weight, embed.proj.bias, stride=stride)
    cells = cells.permute(0, 2, 3, 1)
    patches = embed.norm(cells)
    return patches if network.dynamic_img_size else patches.flatten(1, 2)
