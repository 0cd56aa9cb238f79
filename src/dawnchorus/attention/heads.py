"""How much the class token looks at each patch, per head of the last block.

In: a backbone and windows. Out: ``softmax(q k^T / sqrt(head dimension))`` in the row of the class
token, for the patches alone. Only that row is computed: nothing of the size tokens x tokens is held.

timm computes attention fused (``scaled_dot_product_attention``), which gives no weights. The weights
are computed here beside it, from the input of the last block's attention; the network's own forward
pass, fused or not, stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.networks import Backbone


@torch.inference_mode()
def class_attention(module: Backbone, x: Tensor) -> Tensor:
    """Return the attention of the class token to the patches in the last block.

    Parameters
    ----------
    module : VisionTransformer
        In evaluation mode; another network is refused.
    x : Tensor, shape (n, channels, mels, frames)
        What the network sees (:func:`dawnchorus.learning.backbone.model_input`).

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
    if not (isinstance(module, VisionTransformer) and module.has_class_token):
        raise DawnChorusError("the network has no class token whose attention could be shown")
    attention: Any = module.blocks[-1].attn
    seen: list[Tensor] = []
    hook = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        module.forward_features(x)
    finally:
        hook.remove()
    (tokens,) = seen
    weights = _class_row(attention, tokens)
    height, width = module.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
    patches = weights[..., module.num_prefix_tokens :]
    return patches.reshape(*patches.shape[:2], height, width)


def _class_row(attention: Any, tokens: Tensor) -> Tensor:
    """Row of the class token (token 0) in a block's attention, float32 (n, heads, tokens)."""
    count, length, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(count, length, 3, attention.num_heads, attention.head_dim)
    queries, keys, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    query = attention.q_norm(queries[:, :, :1]).float() * attention.scale
    keys = attention.k_norm(keys).float()
    return (query @ keys.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]
