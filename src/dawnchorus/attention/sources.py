"""Maps of where the song is in a window, each by a name.

In: a network's tokens (:mod:`.tokens`), its heads' attention and its pooling. Out: one map per window, not
negative, over the cells of the grid.

``heads``
    The class token's attention in the last block (Caron et al. 2021, arXiv:2104.14294): the poster's
    protocol. Of all heads one map is made (:func:`merged`).
``departure``
    How far a patch's token, before the last norm, is from the median token of its row: what the noise floor
    is to decibels, in the network's own space. Close to anomaly maps from a network's patches (PaDiM,
    Defard et al. 2020, arXiv:2011.08785), but each window is its own reference. The square root is taken, so
    that the loudest syllable does not outweigh the others.
``pooled``
    Which patches carry a vector that is a maximum over patches: for each feature the patch that wins
    the maximum, weighted by how far it stands above the median of those that compete. What the window's
    vector is made of, exactly.
``similarity``
    How alike a patch and the window's vector are (cosine), both less the window's median token.
``norm``
    Length of a patch's token before the last norm, above its row's median.

The heads say what the class token looks at, be it song or scene; where no loss asks anything of the
class token (poolings without ``cls``), they say little. The others look for what stands out of its own
band. None needs a label. What was measured: docs/attention.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from dawnchorus.attention.tokens import Tokens
from dawnchorus.config import MapSource, Merge, Pooling

SOURCES: tuple[MapSource, ...] = get_args(MapSource)
HEADS: MapSource = "heads"


def standing_out(map_: Tensor) -> Tensor:
    """Return what stands out of a map: above its median, and of that what is above its own mean.

    Parameters
    ----------
    map_ : Tensor (n, rows, columns)

    Returns
    -------
    Tensor of the same shape, at least 0
        Without the second step, a mask that keeps a share of the mass would spend it on the many
        cells that are a little above the median.
    """
    flat = map_.flatten(1)
    above = (flat - flat.median(dim=1, keepdim=True).values).clamp_min(0)
    return (above - above.mean(dim=1, keepdim=True)).clamp_min(0).reshape(map_.shape)


def merged(heads: Tensor, merge: Merge, agreement: Tensor | None = None) -> Tensor:
    """Make one map of all heads.

    Parameters
    ----------
    heads : Tensor (n, heads, rows, columns)
    merge : {"mean", "max", "agreement"}
        The mean; the maximum, each head as a share of its own sum; or the sum of the heads, each
        standardised and times its agreement with the energy above the noise floor, so that a head that
        looks away from it says where it is too. Of that sum, what stands out.
    agreement : Tensor (heads,), optional
        For ``agreement``: from :func:`dawnchorus.attention.energy.agreement`.

    Returns
    -------
    Tensor (n, rows, columns)
    """
    if merge == "mean":
        return heads.double().mean(dim=1).to(heads.dtype)
    if merge == "max":
        return (heads / heads.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)).amax(dim=1)
    if agreement is None:
        raise ValueError("heads are weighted by their agreement, and there is none")
    centred = heads - heads.mean(dim=(2, 3), keepdim=True)
    scale = centred.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    return standing_out((centred / scale * agreement[None, :, None, None]).sum(dim=1))


def departure(tokens: Tokens, _: Pooling = "cls") -> Tensor:
    """Return how far each token is from its row's median token, before the last norm.

    That norm gives every token the same length: what is a faint noise to the network would come out as
    large as a song.
    """
    raw = tokens.raw.float()
    away = raw - raw.median(dim=2, keepdim=True).values
    return standing_out(away.norm(dim=-1).sqrt())


def pooled(tokens: Tokens, pooling: Pooling) -> Tensor:
    """Return which patches carry the maximum.

    The patches of one row compete where the pooling takes bands apart, else all of a window.
    """
    grid = tokens.grid.float()
    rows, columns = grid.shape[1:3]
    field = grid if pooling.startswith("bands") else grid.flatten(1, 2).unsqueeze(1)
    top, winner = field.max(dim=2, keepdim=True)
    margin = top - field.median(dim=2, keepdim=True).values
    won = torch.zeros_like(field).scatter_(2, winner, margin)
    return standing_out(won.sum(dim=-1).reshape(-1, rows, columns))


def similarity(tokens: Tokens, pooling: Pooling) -> Tensor:
    """Return how alike patches and the window's vector are, both less the window's median token."""
    grid = tokens.grid.float()
    centre = grid.flatten(1, 2).median(dim=1).values[:, None, None]
    if pooling == "cls":
        whole = tokens.summary.float()[:, None, None]
    elif "max" not in pooling:
        whole = grid.mean(dim=2 if pooling == "bands" else (1, 2), keepdim=True)
    else:
        whole = grid.amax(dim=2 if pooling.startswith("bands") else (1, 2), keepdim=True)
    return standing_out(
        torch.nn.functional.cosine_similarity(grid - centre, whole - centre, dim=-1)
    )


def norm(tokens: Tokens, _: Pooling = "cls") -> Tensor:
    """Return the lengths of the tokens before the last norm, above their row's median."""
    length = tokens.raw.float().norm(dim=-1)
    return standing_out(length - length.median(dim=2, keepdim=True).values)


OF_TOKENS: dict[MapSource, Callable[[Tokens, Pooling], Tensor]] = {
    "departure": departure,
    "pooled": pooled,
    "similarity": similarity,
    "norm": norm,
}
"""The sources that need no attention, by name."""
