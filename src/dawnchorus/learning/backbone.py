"""Vision transformers that take a window's spectrogram as it is: one channel, rectangular.

In: the name of a size, the patch, the window's shape. Out: timm modules, their pooled features, and
model files: safetensors with the weights and one JSON entry that says how to use them
(:class:`ModelMetadata`), so that whoever embeds needs nothing but the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.scale import Input, Scale
from dawnchorus.results import publishing, sync

Pooling = Literal["cls", "mean", "max", "cls+max"]


@dataclass(frozen=True)
class Size:
    """Width, depth and heads of a transformer."""

    width: int
    depth: int
    heads: int


SIZES = {
    # nano: the demo's and the tests'. The others are DeiT's and DINO's own (arXiv:2012.12877, table
    # 1).
    "vit_nano": Size(64, 4, 4),
    "vit_tiny": Size(192, 12, 3),
    "vit_small": Size(384, 12, 6),
    "vit_base": Size(768, 12, 12),
}

METADATA_KEY = "dawnchorus"
"""One entry only: safetensors writes several in an order that changes from run to run."""


@dataclass(frozen=True)
class ModelMetadata:
    """How to build a backbone and feed it.

    Attributes
    ----------
    backbone, patch, mels, frames
        What :func:`build` was given.
    pooling
        What of the last block becomes the embedding (:func:`features`).
    mean, std
        Of the training set: the network sees ``(dB - mean) / std``.
    db_min, db_step
        Decibels of code 0 and per code, for :func:`model_input`.
    input
        Whether it sees decibels as stored or above each band's median (:mod:`.scale`).
    spectrograms
        Fingerprint of the parameters of the spectrograms it learned from.
    training_set
        Fingerprint of the frozen training set; empty for an untrained model.
    experiment
        The experiment's settings.
    version
        Of dawnchorus.
    """

    backbone: str
    patch: int
    mels: int
    frames: int
    pooling: Pooling
    mean: float
    std: float
    db_min: float
    db_step: float
    input: Input = "level"
    spectrograms: str = ""
    training_set: str = ""
    experiment: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def scale(self) -> Scale:
        """From codes to what the network sees."""
        return Scale(self.db_min, self.db_step, self.mean, self.std, self.input)

    @property
    def width(self) -> int:
        """Dimensions of a token."""
        return SIZES[self.backbone].width

    @property
    def heads(self) -> int:
        """Attention heads per block."""
        return SIZES[self.backbone].heads

    @property
    def dimension(self) -> int:
        """Dimensions of an embedding."""
        return dimension(self.backbone, self.pooling)


def dimension(backbone: str, pooling: Pooling) -> int:
    """Return how many dimensions an embedding has."""
    width = SIZES[backbone].width
    return 2 * width if pooling == "cls+max" else width


def check_shape(patch: int, mels: int, frames: int) -> None:
    """See that a window divides into patches.

    Raises
    ------
    DawnChorusError
        Naming the key, and the nearest values that would do.
    """
    for key, size in (("spectrogram.mels", mels), ("spectrogram.frames", frames)):
        if size % patch:
            below = size // patch * patch
            fits = " or ".join(str(value) for value in (below, below + patch) if value > 0)
            raise DawnChorusError(
                f"{size} is no multiple of the transformer's patch of {patch}", key, f"take {fits}"
            )


def build(
    backbone: str, patch: int, mels: int, frames: int, drop_path: float = 0.0
) -> VisionTransformer:
    """Build a vision transformer for windows of ``mels`` x ``frames``.

    Crops of another size (multiples of the patch) are taken too: the position embedding is
    interpolated to them.

    Parameters
    ----------
    backbone : str
        A key of :data:`SIZES`.
    patch : int
        Side of a patch in mel rows and frames.
    mels, frames : int
        Shape of a window; both multiples of ``patch``.
    drop_path : float
        Largest rate of stochastic depth (rises linearly over the blocks).

    Raises
    ------
    DawnChorusError
        If the size is unknown or the window does not divide into patches.
    """
    if backbone not in SIZES:
        raise DawnChorusError(
            f"{backbone!r} is no backbone", "backbone", f"take {', '.join(SIZES)}"
        )
    check_shape(patch, mels, frames)
    size = SIZES[backbone]
    return VisionTransformer(
        img_size=(mels, frames),
        patch_size=patch,
        in_chans=1,
        num_classes=0,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        drop_path_rate=drop_path,
        dynamic_img_size=True,
    )


def features(module: VisionTransformer, x: Tensor, pooling: Pooling = "cls") -> Tensor:
    """Embed windows.

    Parameters
    ----------
    module : VisionTransformer
        From :func:`build` or :func:`load_model`.
    x : Tensor, shape (n, 1, mels, frames)
        Normalised decibels (:func:`model_input`).
    pooling : {"cls", "mean", "max", "cls+max"}
        Class token; mean or maximum over the patch tokens; class token beside the maximum.

    Returns
    -------
    Tensor, shape (n, dimension)
    """
    tokens = module.forward_features(x)
    summary, patches = tokens[:, 0], tokens[:, module.num_prefix_tokens :]
    if pooling == "cls":
        return summary
    if pooling == "mean":
        return patches.mean(dim=1)
    if pooling == "max":
        return patches.amax(dim=1)
    if pooling == "cls+max":
        return torch.cat([summary, patches.amax(dim=1)], dim=1)
    raise DawnChorusError(f"{pooling!r} is no pooling", "pooling", "take cls, mean, max or cls+max")


def model_input(codes: Tensor, metadata: ModelMetadata) -> Tensor:
    """Turn stored codes into what the network sees.

    Parameters
    ----------
    codes : Tensor of uint8, shape (n, mels, frames)
    metadata : ModelMetadata

    Returns
    -------
    Tensor of float32, shape (n, 1, mels, frames)
        As in training, without variation.
    """
    scale = metadata.scale
    return scale.normalised(scale.decibels(codes))


def save_model(path: Path, state: dict[str, Tensor], metadata: ModelMetadata) -> None:
    """Write a backbone's weights and metadata; the same bytes for the same content."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}
    text = json.dumps(asdict(metadata), sort_keys=True)
    with publishing(path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: text})
        sync(partial)


def read_metadata(path: Path) -> ModelMetadata:
    """Read how a model file is to be used, without its weights.

    Raises
    ------
    DawnChorusError
        If the file is missing or is not a model of ours.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            held = handle.metadata() or {}
        return ModelMetadata(**json.loads(held[METADATA_KEY]))
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus train` first") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        raise DawnChorusError("is not a model of dawnchorus", path, "train again") from None


def load_model(path: Path) -> tuple[VisionTransformer, ModelMetadata]:
    """Read a model file.

    Returns
    -------
    module : VisionTransformer
        In evaluation mode, on the CPU, without gradients.
    metadata : ModelMetadata

    Raises
    ------
    DawnChorusError
        If the file is missing, is not a model of ours, or does not fit its own metadata.
    """
    metadata = read_metadata(path)
    module = build(metadata.backbone, metadata.patch, metadata.mels, metadata.frames)
    try:
        with safe_open(path, framework="pt") as handle:
            names = list(handle.keys())
            module.load_state_dict({name: handle.get_tensor(name) for name in names})
    except (SafetensorError, RuntimeError):
        raise DawnChorusError("its weights do not fit its backbone", path, "train again") from None
    return _frozen(module), metadata


def untrained(metadata: ModelMetadata, seed: int = 0) -> VisionTransformer:
    """Build the same network with random weights: the baseline that learning has to beat.

    Used as a trained one, with the trained one's metadata (same normalisation, same pooling).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(metadata.backbone, metadata.patch, metadata.mels, metadata.frames)
    return _frozen(module)


def _frozen(module: nn.Module) -> Any:
    return module.eval().requires_grad_(False)
