"""From a network's patches to one vector per window.

In: a network and windows. Out: their features. With width ``d`` and ``r`` rows of patches:

=================  ======  ===================================================================
pooling            length  what
=================  ======  ===================================================================
``cls``            d       the class token (transformers only)
``mean``           d       mean over all patches
``max``            d       maximum over all patches: a song fills few
``cls+max``        2 d     class token beside the maximum (transformers only)
``mean+max``       2 d     mean beside the maximum
``bands``          r d     mean over time of each row of patches, one row beside the other, so
                           that pitch stays apart (M2D, arXiv:2210.14648; MSM-MAE,
                           arXiv:2204.12260)
``bands-max``      r d     maximum over time of each row
``bands-mean+max`` 2 r d   mean of each row beside each row's maximum over time
=================  ======  ===================================================================

The cells of a residual network's last feature map (32 mel rows by 32 frames each) count as patches.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from dawnchorus.config import Pooling
from dawnchorus.config.encoders import OF_CLASS_TOKEN
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.networks import Backbone, Outline, token_grid


def dimension(outline: Outline, pooling: Pooling) -> int:
    """Return how many dimensions an embedding has.

    Raises
    ------
    DawnChorusError
        If there is no such pooling, or it needs a class token and the network has none.
    """
    _check(pooling, outline.class_token)
    times = {"cls": 1, "mean": 1, "max": 1, "cls+max": 2, "mean+max": 2}
    rows = {"bands": outline.rows, "bands-max": outline.rows, "bands-mean+max": 2 * outline.rows}
    return outline.width * {**times, **rows}[pooling]


def features(
    module: Backbone, x: Tensor, pooling: Pooling = "cls", layer: int | None = None
) -> Tensor:
    """Embed windows.

    Parameters
    ----------
    module : VisionTransformer or ResNet
        From :func:`~dawnchorus.learning.networks.build` or a model file.
    x : Tensor, shape (n, channels, mels, frames)
        Normalised decibels (:func:`~dawnchorus.learning.backbone.model_input`).
    pooling : str
        See above.
    layer : int, optional
        Whose tokens (:func:`~dawnchorus.learning.networks.token_grid`); the last if None.

    Returns
    -------
    Tensor, shape (n, dimension)

    Raises
    ------
    DawnChorusError
        As :func:`dimension`, and if there is no such layer.
    """
    summary, grid = token_grid(module, x, layer)
    return pooled(summary, grid, pooling)


def pooled(summary: Tensor | None, grid: Tensor, pooling: Pooling) -> Tensor:
    """Pool tokens.

    Parameters
    ----------
    summary : Tensor, shape (n, width), or None
        The class token, if there is one.
    grid : Tensor, shape (n, rows, columns, width)
    pooling : str
        See above.

    Returns
    -------
    Tensor, shape (n, dimension)

    Raises
    ------
    DawnChorusError
        As :func:`dimension`.
    """
    _check(pooling, summary is not None)
    if pooling.startswith("bands"):
        bands = [] if pooling == "bands-max" else [grid.mean(dim=2).flatten(1)]
        if pooling != "bands":
            bands.append(grid.amax(dim=2).flatten(1))
        return torch.cat(bands, dim=1)
    patches = grid.flatten(1, 2)
    parts = [] if summary is None or "cls" not in pooling else [summary]
    if "mean" in pooling:
        parts.append(patches.mean(dim=1))
    if "max" in pooling:
        parts.append(patches.amax(dim=1))
    return torch.cat(parts, dim=1)


def _check(pooling: Pooling, class_token: bool) -> None:
    known = get_args(Pooling)
    if pooling not in known:
        raise DawnChorusError(f"{pooling!r} is no pooling", "pooling", f"take {', '.join(known)}")
    if pooling in OF_CLASS_TOKEN and not class_token:
        others = [name for name in known if name not in OF_CLASS_TOKEN]
        raise DawnChorusError(
            f"{pooling} needs a class token, and the network has none",
            "pooling",
            f"take {', '.join(others)}",
        )
