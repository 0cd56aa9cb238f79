"""Model files of encoders that are no network of ours.

In: what such an encoder has fitted, and how it is fed. Out: safetensors with one JSON entry, at the
place of a trained network's (:mod:`.backbone`), so that every step finds it there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing, sync

METADATA_KEY = "dawnchorus"
"""One entry only: safetensors writes several in an order that changes from run to run."""

SAID = {
    "statistics": "mean and deviation of the log-mel bands",
    "pca": "principal components of the log-mel image",
    "birdnet": "BirdNET's own embedding",
    "weights": "a network trained elsewhere",
}


@dataclass(frozen=True)
class PreparedMetadata:
    """How an encoder that is no network of ours makes vectors.

    Attributes
    ----------
    method
        As the experiment's: ``statistics``, ``pca``, ``birdnet`` or ``weights``.
    dimension
        Length of a vector.
    mels, frames, db_min, db_step
        Of the windows: shape, decibels of code 0 and per code.
    parameters
        The method's own.
    spectrograms, training_set, experiment, version
        As for :class:`.backbone.ModelMetadata`.
    """

    method: str
    dimension: int
    mels: int
    frames: int
    db_min: float
    db_step: float
    parameters: dict[str, Any] = field(default_factory=dict)
    spectrograms: str = ""
    training_set: str = ""
    experiment: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    heads = 0
    """Attention heads that could be shown."""

    @property
    def title(self) -> str:
        """Say in a few words what it is."""
        network = self.parameters.get("network")
        return f"{SAID[self.method]} ({network})" if network else SAID[self.method]


def save_prepared(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: PreparedMetadata
) -> None:
    """Write what an encoder has fitted; the same bytes for the same content."""
    tensors = {name: np.array(value, order="C") for name, value in sorted(arrays.items())}
    text = json.dumps(asdict(metadata), sort_keys=True)
    with publishing(path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: text})
        sync(partial)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what an encoder has fitted.

    Raises
    ------
    DawnChorusError
        If the file is damaged.
    """
    try:
        with safe_open(path, framework="np") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no dict
    except SafetensorError:
        raise DawnChorusError("cannot be read", path, "run `dawnchorus train` again") from None
