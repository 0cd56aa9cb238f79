"""How much the tokens look at each other, per head, from a block's own weights.

In: what a block's attention is given (:mod:`.tokens`). Out: ``softmax(q k^T / sqrt(head dimension))``:
the row of the class token of each head, for the patches alone. Only that row is computed: nothing of
the size tokens x tokens is held.

timm computes attention fused (``scaled_dot_product_attention``), which gives no weights. The weights
are computed here beside it, from the input of the block's attention; the network's own forward pass,
fused or not, stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dawnchorus.attention.tokens import Tokens, of_transformer, run
from dawnchorus.learning.networks import Backbone

LAST = -1


@torch.inference_mode()
def class_attention(module: Backbone, x: Tensor, finer: int = 1) -> Tensor:
    """Return the attention of the class token to the patches in the last block.

    Parameters
    ----------
    module : VisionTransformer
        In evaluation mode; another network is refused.
    x : Tensor, shape (n, channels, mels, frames)
        What the network sees (:func:`dawnchorus.learning.backbone.model_input`).
    finer : int
        Cells along each side of a patch (:mod:`.tokens`).

    Returns
    -------
    Tensor of float32, shape (n, heads, rows, columns)
        Rows and columns of patches, as in ``x``. A head's weights add up to 1 less what the class
        token gives to itself (and to registers).

    Raises
    ------
    DawnChorusError
        If the network has no class token.
    """
    return of_heads(module, run(module, x, (LAST,), finer))


@torch.inference_mode()
def of_heads(module: Backbone, tokens: Tokens) -> Tensor:
    """Return the class token's attention from a pass that kept the last block's input."""
    attention: Any = of_transformer(module).blocks[LAST].attn
    weights = class_row(attention, tokens.inner[LAST])
    return weights[..., tokens.prefix :].unflatten(-1, tuple(tokens.grid.shape[1:3]))


def class_row(attention: Any, tokens: Tensor) -> Tensor:
    """Row of the class token (token 0) in a block's attention, float32 (n, heads, tokens)."""
    count, length, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(count, length, 3, attention.num_heads, attention.head_dim)
    queries, keys, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    query = attention.q_norm(queries[:, :, :1]).float() * attention.scale
    keys = attention.k_norm(keys).float()
    return (query @ keys.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]
