"""Model files: a network's weights, and how to use them.

In: a trained network (:mod:`.networks`). Out: safetensors with the weights and one JSON entry that
says how to use them (:class:`ModelMetadata`), so that whoever embeds needs nothing but the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dawnchorus.config import Input, Patch, Pooling
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.networks import (
    SIZES,
    Backbone,
    Outline,
    build,
    check_shape,
    outline,
    patch_name,
)
from dawnchorus.learning.pooling import dimension, features
from dawnchorus.learning.prepared import METADATA_KEY, PreparedMetadata
from dawnchorus.learning.scale import PerChannel, Scale
from dawnchorus.learning.whitening import Whitening
from dawnchorus.results import publishing, sync

__all__ = [
    "SIZES",
    "ModelMetadata",
    "build",
    "check_shape",
    "dimension",
    "features",
    "load_model",
    "load_whitening",
    "model_input",
    "outline",
    "read_metadata",
    "save_model",
    "untrained",
]

WHITENING = "whitening."
"""What the names of the whitening's tensors begin with."""


@dataclass(frozen=True)
class ModelMetadata:
    """How to build a backbone and feed it.

    Attributes
    ----------
    backbone, patch, mels, frames
        What :func:`build` was given.
    pooling
        What of a block becomes the embedding (:mod:`.pooling`).
    layer
        Of which block; the last if None (:func:`.networks.token_grid`).
    mean, std
        Of the training set: the network sees ``(dB - mean) / std``; one of each per channel.
    db_min, db_step
        Decibels of code 0 and per code, for :func:`model_input`.
    whitening
        Shrinkage of the whitening (:mod:`.whitening`) in the file; None if there is none.
    input
        Whether it sees decibels as stored, above each band's median, or both (:mod:`.scale`).
    spectrograms
        Fingerprint of what the windows look like that it learned from.
    training_set
        Fingerprint of the frozen training set; empty for an untrained model.
    experiment
        The experiment's settings.
    version
        Of dawnchorus.
    """

    backbone: str
    patch: Patch
    mels: int
    frames: int
    pooling: Pooling
    mean: PerChannel
    std: PerChannel
    db_min: float
    db_step: float
    input: Input = "level"
    whitening: float | None = None
    spectrograms: str = ""
    training_set: str = ""
    experiment: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    layer: int | None = None

    @property
    def scale(self) -> Scale:
        """From codes to what the network sees."""
        return Scale(self.db_min, self.db_step, self.mean, self.std, self.input)

    def __post_init__(self) -> None:
        """JSON has no tuples."""
        for name in ("patch", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    @property
    def outline(self) -> Outline:
        """What the network makes of a window."""
        return outline(self.backbone, self.patch, self.mels, self.frames, self.layer)

    @property
    def channels(self) -> int:
        """Channels of a window."""
        return self.scale.channels

    @property
    def width(self) -> int:
        """Dimensions of a token."""
        return self.outline.width

    @property
    def heads(self) -> int:
        """Attention heads of the last block; 0 if there is no attention to show."""
        return self.outline.heads

    @property
    def dimension(self) -> int:
        """Dimensions of an embedding."""
        return dimension(self.outline, self.pooling)

    @property
    def title(self) -> str:
        """Say in a few words what it is: ``vit_small/16 cls``."""
        patch = f"/{patch_name(self.patch)}" if self.backbone.startswith(("vit", "deit")) else ""
        seen = "" if self.input == "level" else f" of {self.input}"
        whitened = "" if self.whitening is None else f" whitened by {self.whitening:g}"
        layer = "" if self.layer is None else f" of layer {self.layer}"
        return f"{self.backbone}{patch} {self.pooling}{layer}{seen}{whitened}"

    def build(self) -> Backbone:
        """Build the network, with random weights."""
        return build(self.backbone, self.patch, self.mels, self.frames, channels=self.channels)


def model_input(codes: Tensor, metadata: ModelMetadata) -> Tensor:
    """Turn stored codes into what the network sees.

    Parameters
    ----------
    codes : Tensor of uint8, shape (n, mels, frames)
    metadata : ModelMetadata

    Returns
    -------
    Tensor of float32, shape (n, channels, mels, frames)
        As in training, without variation.
    """
    scale = metadata.scale
    return scale.normalised(scale.decibels(codes))


def save_model(
    path: Path,
    state: dict[str, Tensor],
    metadata: ModelMetadata,
    whitening: Whitening | None = None,
) -> None:
    """Write a backbone's weights and metadata; the same bytes for the same content."""
    if whitening is not None:
        last = {f"{WHITENING}{name}": value for name, value in whitening.state_dict().items()}
        state = {**state, **last}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}
    text = json.dumps(asdict(metadata), sort_keys=True)
    with publishing(path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: text})
        sync(partial)


def read_metadata(path: Path) -> ModelMetadata | PreparedMetadata:
    """Read how a model file is to be used, without its weights.

    Returns
    -------
    ModelMetadata or PreparedMetadata
        Of a network of ours, or of another encoder (:mod:`.prepared`).

    Raises
    ------
    DawnChorusError
        If the file is missing or is not a model of ours.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            held = handle.metadata() or {}
        values = json.loads(held[METADATA_KEY])
        return PreparedMetadata(**values) if "method" in values else ModelMetadata(**values)
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus train` first") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        raise DawnChorusError("is not a model of dawnchorus", path, "train again") from None


def load_model(path: Path) -> tuple[Backbone, ModelMetadata]:
    """Read a model file.

    Returns
    -------
    module : VisionTransformer or ResNet
        In evaluation mode, on the CPU, without gradients.
    metadata : ModelMetadata

    Raises
    ------
    DawnChorusError
        If the file is missing, is not a model of ours, or does not fit its own metadata.
    """
    metadata = read_metadata(path)
    if isinstance(metadata, PreparedMetadata):
        raise DawnChorusError(
            f"is no network of ours but {metadata.title}", path, "choose another experiment"
        )
    module = metadata.build()
    try:
        with safe_open(path, framework="pt") as handle:
            names = [name for name in handle.keys() if not name.startswith(WHITENING)]  # noqa: SIM118 - no dict
            module.load_state_dict({name: handle.get_tensor(name) for name in names})
    except (SafetensorError, RuntimeError):
        raise DawnChorusError("its weights do not fit its backbone", path, "train again") from None
    return _frozen(module), metadata


def load_whitening(path: Path) -> Whitening | None:
    """Read a model file's whitening, if it has one.

    Raises
    ------
    DawnChorusError
        As :func:`load_model`.
    """
    if getattr(read_metadata(path), "whitening", None) is None:
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            mean, matrix = (handle.get_tensor(f"{WHITENING}{name}") for name in ("mean", "matrix"))
    except SafetensorError:
        raise DawnChorusError("has lost its whitening", path, "train again") from None
    return Whitening(mean, matrix)


def untrained(metadata: ModelMetadata, seed: int = 0) -> Backbone:
    """Build the same network with random weights: the baseline that learning has to beat.

    Used as a trained one, with the trained one's metadata (same normalisation, same pooling).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = metadata.build()
    return _frozen(module)


def _frozen(module: nn.Module) -> Any:
    return module.eval().requires_grad_(False)
