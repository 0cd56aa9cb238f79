"""The encoder of an experiment, whatever its method.

In: the experiment's model file, the spectrogram store of a recorder-day and, where the vectors are
BirdNET's, its store. Out: :class:`Opened`: an :class:`~.encoder.Encoder`, what it reads of each window,
and what the store and the receipt say of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.birdnet.overlap import Listened
from dawnchorus.config import Settings, Tokens
from dawnchorus.embedding.encoder import (
    Encoder,
    FullPasses,
    Network,
    Precision,
    device_named,
)
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import images, own_weights
from dawnchorus.learning.backbone import read_metadata
from dawnchorus.learning.pooling import pooled
from dawnchorus.learning.prepared import PreparedMetadata, load_arrays
from dawnchorus.learning.scale import Scale
from dawnchorus.results import SET_ASIDE, RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import VectorStore


@dataclass(frozen=True)
class Opened:
    """An encoder, ready for a recorder-day.

    Attributes
    ----------
    encoder : Encoder
    read : callable
        ``read(start, stop)`` gives what :meth:`Encoder.encode` takes of these windows.
    spectrograms : str
        Fingerprint of the parameters of the spectrograms it was made for; empty if any will do.
    precision : {"fp32", "bf16"}
    attributes : dict
        For the store of vectors.
    without : int
        Windows that have no vector; theirs is zeros.
    """

    encoder: Encoder
    read: Callable[[int, int], NDArray[Any]]
    spectrograms: str
    precision: Precision
    attributes: dict[str, Any]
    without: int = 0


def opened(
    settings: Settings,
    results: Results,
    experiment: str,
    day: RecorderDay,
    store: SpectrogramStore,
    *,
    device: str = "auto",
) -> Opened:
    """Open an experiment's encoder for a recorder-day.

    Raises
    ------
    DawnChorusError
        If the model file is missing or damaged, the network has no such layer or pooling, or
        BirdNET's embeddings are missing.
    """
    metadata = read_metadata(results.experiment(experiment).model)
    if isinstance(metadata, PreparedMetadata) and metadata.method == "birdnet":
        found = birdnet_rows(settings, results, day, store)
        vectors = VectorStore.open(results.birdnet_embeddings(day))
        heard = BirdNetVectors(vectors, found, settings.embedding.batch_size)
        attributes = {
            "method": metadata.method,
            "training_set": metadata.training_set,
            "licence": metadata.parameters["licence"],
        }
        return Opened(heard, np.arange, "", "fp32", attributes, int((found < 0).sum()))
    encoder, attributes = of_codes(settings, results, experiment, device=device)
    precision: Precision = getattr(encoder, "precision", "fp32")
    return Opened(encoder, store.codes, metadata.spectrograms, precision, attributes)


def of_codes(
    settings: Settings, results: Results, experiment: str, *, device: str = "auto"
) -> tuple[Encoder, dict[str, Any]]:
    """Open an experiment's encoder for windows of any origin, an uploaded clip's say.

    Returns
    -------
    encoder : Encoder
    attributes : dict
        What a store says of how its vectors came about.

    Raises
    ------
    DawnChorusError
        If the model file is missing or damaged, the network has no such layer or pooling, or the
        vectors are BirdNET's, which are there only of the windows that the step birdnet has heard.
    """
    path, size = results.experiment(experiment).model, settings.embedding.batch_size
    tokens, metadata = settings.experiment(experiment).embedding, read_metadata(path)
    precision = settings.embedding.precision
    if not isinstance(metadata, PreparedMetadata):
        network = Network.load(
            path, batch_size=size, device=device, precision=precision, tokens=tokens
        )
        return network, network.attributes
    attributes = {"method": metadata.method, "training_set": metadata.training_set}
    if metadata.method == "weights":
        own = OwnWeights(
            path,
            metadata,
            tokens,
            batch_size=size,
            device=device_named(device),
            precision=precision,
        )
        attributes |= {"backbone": metadata.parameters["network"], "pooling": own.pooling}
        layer = {} if tokens.layer is None else {"layer": tokens.layer}
        return own, {**attributes, **layer}
    if metadata.method == "birdnet":
        raise DawnChorusError(
            "its vectors are BirdNET's, and are there only of windows that BirdNET has heard",
            path,
            "choose another experiment",
        )
    attributes["input"] = metadata.parameters["input"]
    kind = Statistics if metadata.method == "statistics" else Components
    return kind(load_arrays(path), metadata, size), attributes


def computes_on_device(path: Path) -> bool:
    """Whether an encoder runs on the GPU, if there is one, in the precision asked for."""
    metadata = read_metadata(path)
    return not isinstance(metadata, PreparedMetadata) or metadata.method == "weights"


class Statistics:
    """Mean and deviation of each log-mel band, each less its mean and over its deviation in the training
    set."""

    def __init__(
        self, arrays: dict[str, NDArray[Any]], metadata: PreparedMetadata, batch_size: int
    ) -> None:
        self.batch_size, self.dimension = batch_size, metadata.dimension
        self._mean, self._deviation = arrays["mean"], arrays["deviation"]
        self._step, self._minimum = np.float32(metadata.db_step), np.float32(metadata.db_min)
        self._subtracted = metadata.parameters["input"] == "contrast"

    def encode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, dimension) for codes (n, mels, frames)."""
        decibels = codes * self._step + self._minimum
        found = images.statistics(decibels)[self._subtracted]
        return (found - self._mean) / self._deviation


class Components(FullPasses):
    """Scores on the principal components of the log-mel image."""

    def __init__(
        self, arrays: dict[str, NDArray[Any]], metadata: PreparedMetadata, batch_size: int
    ) -> None:
        super().__init__(batch_size=batch_size, device=torch.device("cpu"), precision="fp32")
        self._mean = torch.from_numpy(arrays["mean"])
        self._components = torch.from_numpy(arrays["components"])
        self._scale = Scale(
            metadata.db_min, metadata.db_step, 0.0, 1.0, metadata.parameters["input"]
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return len(self._components)

    def vectors(self, codes: Tensor) -> Tensor:
        """Return the scores of windows."""
        return (self._scale.decibels(codes).flatten(1) - self._mean) @ self._components.T


class OwnWeights(FullPasses):
    """A network that was trained elsewhere (:mod:`dawnchorus.learning.own_weights`)."""

    def __init__(
        self,
        path: Path,
        metadata: PreparedMetadata,
        tokens: Tokens,
        *,
        batch_size: int,
        device: torch.device,
        precision: Precision,
    ) -> None:
        super().__init__(batch_size=batch_size, device=device, precision=precision)
        self._parameters = parameters = metadata.parameters
        size = tuple(parameters["size"])
        module = own_weights.build(parameters["network"], parameters["channels"], size)
        module.load_state_dict(own_weights.read_weights(module, path))
        self._module = module.to(device)
        self._layer, self.pooling = tokens.layer, tokens.pooling or parameters["pooling"]
        self._dimension = metadata.dimension
        if tokens != Tokens():
            codes = torch.zeros(1, metadata.mels, metadata.frames, dtype=torch.uint8, device=device)
            with torch.inference_mode():
                self._dimension = int(self.vectors(codes).shape[1])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def vectors(self, codes: Tensor) -> Tensor:
        """Return the pooled tokens of windows."""
        x = own_weights.seen(codes, self._parameters)
        return pooled(*own_weights.token_grid(self._module, x, self._layer), self.pooling)


class BirdNetVectors:
    """BirdNET's own embedding of the window of its that shares most with each of ours.

    Parameters
    ----------
    store : VectorStore
        BirdNET's.
    rows : int64 array (n,)
        Row of it for each of our windows; -1 where there is none.
    batch_size : int
    """

    def __init__(self, store: VectorStore, rows: NDArray[np.int64], batch_size: int) -> None:
        self.batch_size, self.dimension = batch_size, store.dimension
        self._store, self._rows = store, rows

    def encode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Return (n, dimension); what stands for codes here are the numbers of windows (n,)."""
        rows = self._rows[codes]
        found = np.zeros((len(rows), self.dimension), dtype=np.float32)
        found[rows >= 0] = self._store.take(rows[rows >= 0])
        return found


def birdnet_rows(
    settings: Settings, results: Results, day: RecorderDay, store: SpectrogramStore
) -> NDArray[np.int64]:
    """Find the row of BirdNET's embedding for each window of a recorder-day.

    Returns
    -------
    int64 array (n,)
        -1 where BirdNET has heard no window that shares at least half with it.

    Raises
    ------
    DawnChorusError
        If BirdNET was not run, heard nothing, or its embeddings were not kept.
    """
    path = results.detections_receipt(day)
    receipt = read_receipt(path)
    if receipt["verdict"] == SET_ASIDE or not results.birdnet_embeddings(day).exists():
        raise DawnChorusError(
            f"BirdNET has left no embeddings of {day}"
            + (f": {receipt['reason']}" if receipt.get("reason") else ""),
            path,
            "run `dawnchorus birdnet` with birdnet.embeddings: true",
        )
    heard = Listened.of(receipt)
    names = np.array(store.recordings, dtype=object)[store.recording]
    rate = np.array([heard.recordings.get(name, (1, 0))[0] for name in names], dtype=np.float64)
    start = store.offset / rate
    length = np.rint(settings.spectrogram.window_seconds * rate) / rate
    best = heard.pairs(names, start, start + length).best()
    rows = np.full(len(store), -1, dtype=np.int64)
    rows[best.window] = VectorStore.open(results.birdnet_embeddings(day)).find(
        names[best.window].tolist(), best.offset
    )
    return rows
