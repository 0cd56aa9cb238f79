"""A network that was trained elsewhere: any of timm's, with weights from a safetensors file.

In: the experiment's section ``weights``. Out: the network, in evaluation mode; what it sees of a
window; its tokens. A window is resized to what the network takes, its decibels become the network's
units, and one channel becomes three where three are taken.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import networks

NETWORK_KEY, FILE_KEY = "weights.network", "weights.file"


def build(network: str, channels: int, size: tuple[int, int]) -> nn.Module:
    """Build one of timm's networks without its classifier, with random weights.

    Parameters
    ----------
    network : str
        timm's name.
    channels : int
    size : tuple of int
        Rows and columns of what it will see.

    Raises
    ------
    DawnChorusError
        If timm has no such network, or it does not take such images.
    """
    if not timm.is_model(network):
        near = difflib.get_close_matches(network, timm.list_models(), n=3)
        raise DawnChorusError(
            f"timm {timm.__version__} knows no network {network!r}",
            NETWORK_KEY,
            f"take {', '.join(near)}" if near else "see timm.list_models()",
        )
    wanted: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels}
    try:
        try:
            module = timm.create_model(network, img_size=size, **wanted)
        except TypeError:  # one that takes images of any size has no such option
            module = timm.create_model(network, **wanted)
    except networks.REFUSALS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DawnChorusError(
            f"timm's {network} does not take {channels} x {size[0]} x {size[1]}: {reason}",
            NETWORK_KEY,
            "set weights.size to what it was trained on",
        ) from None
    return module.eval().requires_grad_(False)


def read_weights(module: nn.Module, path: Path) -> dict[str, Tensor]:
    """Read the weights of a network from the user's file; those of a classifier are left out.

    Returns
    -------
    dict of Tensor
        Exactly the network's own.

    Raises
    ------
    DawnChorusError
        If the file is missing, no safetensors, or of another network or size.
    """
    try:
        held = load_file(path)
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, f"look at {FILE_KEY}") from None
    except SafetensorError as error:
        raise DawnChorusError(
            f"is no safetensors file ({str(error).splitlines()[0]})",
            path,
            "save the weights with safetensors.torch.save_file; pickled ones are never opened",
        ) from None
    return _fitting(module, held, path)


def _fitting(module: nn.Module, held: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    wanted = module.state_dict()
    named = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    heads = tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))
    foreign = [name for name in held if name not in wanted and not name.startswith(heads or "\0")]
    lacking = [name for name in wanted if name not in held]
    if foreign or lacking:
        what = f"holds {foreign[0]!r}" if foreign else f"lacks {lacking[0]!r}"
        raise DawnChorusError(
            f"{what}: its weights are another network's ({len(lacking)} lack, {len(foreign)} are foreign)",
            path,
            f"look at {NETWORK_KEY}",
        )
    for name, value in wanted.items():
        if held[name].shape != value.shape:
            raise DawnChorusError(
                f"{name} is {tuple(held[name].shape)}, the network's is {tuple(value.shape)}",
                path,
                "set weights.size and weights.channels to what it was trained on",
            )
    return {name: held[name].to(value.dtype) for name, value in wanted.items()}


def seen(codes: Tensor, parameters: Mapping[str, Any]) -> Tensor:
    """Turn codes into what the network sees.

    Parameters
    ----------
    codes : Tensor of uint8, shape (n, mels, frames)
    parameters : mapping
        ``channels``, ``size`` (rows, columns), ``per_code`` and ``at_zero`` (the network's units of
        code 0 and per code, before normalisation), ``mean`` and ``std`` per channel.

    Returns
    -------
    Tensor of float32, shape (n, channels, rows, columns)
    """
    x = codes.to(torch.float32).mul_(parameters["per_code"]).add_(parameters["at_zero"])
    x = x.unsqueeze(1)
    size = tuple(parameters["size"])
    if tuple(x.shape[-2:]) != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    mean, std = (
        torch.tensor(parameters[key], dtype=x.dtype, device=x.device)[None, :, None, None]
        for key in ("mean", "std")
    )
    return (x.expand(-1, parameters["channels"], -1, -1) - mean) / std


def token_grid(
    module: nn.Module, x: Tensor, layer: int | None = None
) -> tuple[Tensor | None, Tensor]:
    """Run a network; as :func:`.networks.token_grid`, for any of timm's.

    Raises
    ------
    DawnChorusError
        If it has no tokens, or a layer is asked for that cannot be had.
    """
    if isinstance(module, VisionTransformer | ResNet):
        return networks.token_grid(module, x, layer)
    if layer is not None:
        raise DawnChorusError(
            "only vision transformers and residual networks have layers to choose from",
            "embedding.layer",
            "take null",
        )
    found = module.forward_features(x)  # type: ignore[operator]  # every network of timm's has it
    if found.ndim == 4:
        last = getattr(module, "output_fmt", "NCHW") == "NHWC"
        return None, found if last else found.permute(0, 2, 3, 1)
    embed = getattr(module, "patch_embed", None)
    if found.ndim != 3 or embed is None:
        raise DawnChorusError(
            f"its features are {tuple(found.shape[1:])}, neither tokens nor a map", NETWORK_KEY
        )
    prefix = int(getattr(module, "num_prefix_tokens", 0))
    grid = found[:, prefix:].unflatten(1, tuple(embed.grid_size))
    return (found[:, 0] if getattr(module, "has_class_token", prefix > 0) else None), grid
