"""What an experiment says of encoders that are not trained here, and of what is taken of any.

Out: the sections ``embedding``, ``pca`` and ``weights`` of an experiment, and which of its keys each
method that does not train makes use of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from dawnchorus.config.section import Positive, Section

Pooling = Literal[
    "cls", "mean", "max", "cls+max", "mean+max", "bands", "bands-max", "bands-mean+max"
]
OF_CLASS_TOKEN = ("cls", "cls+max")
"""Poolings that need a class token: a convolutional network has none."""

PREPARED: dict[str, frozenset[str]] = {
    "untrained": frozenset({"backbone", "patch", "input", "pooling", "seed"}),
    "statistics": frozenset({"input"}),
    "pca": frozenset({"input", "seed"}),
    "birdnet": frozenset(),
    "weights": frozenset({"pooling"}),
}
"""Methods that do not train, and the keys of an experiment that they use, beside ``method``,
``resources``, a section of their own name and, where there are tokens, ``embedding``."""
OF_TOKENS = ("untrained", "weights")
"""Those among them that have layers and tokens to choose from."""

CHOSEN_LATER = frozenset({"embedding"})
"""Keys of an experiment that say what is taken of it, not how it is made: a changed value embeds
again and trains nothing."""


class Tokens(Section):
    """What an embedding is taken from, where it is not what the training looked at. Changing it
    embeds again; nothing is trained."""

    layer: Positive | None = None
    """Whose tokens: the first block of a transformer (stage of a residual network) is 1; null takes
    the last."""
    pooling: Pooling | None = None
    """What of them; null takes the experiment's own ``pooling``."""


class MethodSettings(Section):
    """Settings of one method; stand in its own section of an experiment.

    ``title`` is what people read, where it is written otherwise than the method's name.
    """

    title: ClassVar[str | None] = None


class Pca(MethodSettings):
    """Principal components of the log-mel image (method ``pca``)."""

    components: Positive = 64
    """Dimensions of the embedding."""
    windows: Annotated[int, Field(ge=2)] = 2048
    """Windows of the training set that they are fitted on; their images are held in memory (0.13 MB
    each at 128 x 256)."""


class Weights(MethodSettings):
    """A network that was trained elsewhere (method ``weights``)."""

    network: str = ""
    """timm's name of the network."""
    file: Path | None = None
    """Its weights, as safetensors; those of a classifier's head are left out."""
    channels: Literal[1, 3] = 3
    """Channels that it takes; three are three times the same."""
    size: tuple[Positive, Positive] | None = None
    """Rows and columns that a window is resized to (bilinear); null leaves it as it is."""
    decibels: tuple[float, float] | None = None
    """Decibels that are the network's 0 and 1 before ``mean`` and ``std``, as black and white of a
    picture are; null takes decibels as they are."""
    mean: tuple[float, ...] | None = None
    """Taken away from each channel (one number, or one per channel); null measures it on the
    training set."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Each channel is then divided by this; null measures it."""

    @field_validator("decibels")
    @classmethod
    def _rising(cls, span: tuple[float, float] | None) -> tuple[float, float] | None:
        if span is not None and not span[0] < span[1]:
            raise ValueError(f"needs lower < upper, got {span[0]:g} and {span[1]:g}")
        return span

    @model_validator(mode="after")
    def _fits_together(self) -> Weights:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both, or neither")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, self.channels):
                raise ValueError(f"{name}: take 1 number, or {self.channels}, one per channel")
        if self.decibels is not None and self.mean is None:
            raise ValueError("decibels: only together with mean and std")
        return self


def used_keys(method: str) -> set[str]:
    """Return the keys of an experiment that a method uses which does not train."""
    tokens = {"embedding"} if method in OF_TOKENS else set()
    return {"method", "resources", method, *tokens, *PREPARED[method]}


def check_uses_all(experiment: Any) -> None:
    """See that an experiment that is not trained is given nothing that its method would not use.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    ValueError
        Naming the first such key.
    """
    method = experiment.method
    used = used_keys(method)
    for name, field in type(experiment).model_fields.items():
        if name not in used and getattr(experiment, name) != field.default:
            raise ValueError(
                f"{name}: the method is {method}, this would not be used; leave it out"
            )
    if method in ("statistics", "pca") and experiment.input == "level+contrast":
        raise ValueError(f"input: {method} takes level or contrast")
    if method == "weights" and not (experiment.weights.network and experiment.weights.file):
        raise ValueError("weights: needs network (timm's name) and file (safetensors)")
