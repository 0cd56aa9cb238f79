"""What turns windows into vectors.

In: spectrogram codes (uint8) in blocks. Out: one float32 vector per window, in order. An
:class:`Encoder` is all that :func:`encoded` needs, so other encoders (:mod:`.encoders`) plug in beside
:class:`Network`, which runs a trained backbone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dawnchorus.config import Tokens
from dawnchorus.embedding.one_gpu import take_gpu
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import (
    ModelMetadata,
    features,
    load_model,
    load_whitening,
    model_input,
)
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.whitening import Whitening

READ_WINDOWS = 1024
"""Windows read at a time at least: a spectrogram store's shard, so that its index is read once."""

PASS_WINDOWS = 16
"""Windows per forward pass on a CPU at most: more do not fit its caches and are slower; the cores share
even a short recorder-day; and little is filled up at its end (``benchmarks/embedding.py``)."""

Precision = Literal["fp32", "bf16"]
Block = TypeVar("Block")


class Encoder(Protocol):
    """Turns a batch of windows into vectors; several threads may ask at once."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def batch_size(self) -> int:
        """Most windows that :meth:`encode` takes."""
        ...

    def encode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, dimension) for codes (n, mels, frames), n at most ``batch_size``."""
        ...


def device_named(name: str) -> torch.device:
    """Return a device: ``auto`` is a GPU of one's own where there are any.

    Raises
    ------
    DawnChorusError
        If it is unknown, or a GPU is asked for and there is none.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        own = torch.device("cuda", take_gpu(torch.cuda.device_count()))
        torch.cuda.set_device(own)
        return own
    try:
        device: torch.device | None = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise DawnChorusError(f"{name!r} is no device", "--device", "take auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DawnChorusError("there is no usable GPU", f"--device {name}", "take --device cpu")
    return device


def precision_on(device: torch.device, wanted: Precision) -> Precision:
    """Return the precision a forward pass has: bf16 on a GPU if wanted, else fp32."""
    return wanted if device.type == "cuda" else "fp32"


class FullPasses(ABC):
    """An :class:`Encoder` in torch.

    Every forward pass has exactly as many windows: a shorter batch is filled up and the filling
    thrown away, so that matrix products have one shape and a window's vector does not depend on the
    company it is in.

    Parameters
    ----------
    batch_size : int
        Windows per forward pass on a GPU; a CPU takes at most :data:`PASS_WINDOWS` of them at a time.
    device : torch.device
    precision : {"fp32", "bf16"}
        Of the forward pass on a GPU; the vectors are float32.
    """

    def __init__(self, *, batch_size: int, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision = precision_on(device, precision)
        self._most = batch_size
        self._pass = batch_size if device.type == "cuda" else min(batch_size, PASS_WINDOWS)

    @property
    def processor(self) -> str:
        """What kind of processor it runs on; another rounds in the last digit."""
        on_gpu = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if on_gpu else self.device.type

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length of a vector."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """Return (n, dimension) for codes (n, mels, frames) on the device."""

    def finish(self, vectors: Tensor) -> Tensor:
        """Do what is done outside the autocast: the small differences are what it is for."""
        return vectors

    @property
    def batch_size(self) -> int:
        """Windows per forward pass."""
        return self._pass

    def encode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (n, dimension) for codes (n, mels, frames), n at most what was asked for."""
        windows = len(codes)
        if not 0 < windows <= self._most:
            raise ValueError(f"{windows} windows for a batch of {self._most}")
        parts = [codes[first : first + self._pass] for first in range(0, windows, self._pass)]
        found = [self._passed(part) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _passed(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        windows = len(codes)
        if windows < self._pass:
            whole = np.zeros((self._pass, *codes.shape[1:]), dtype=np.uint8)
            whole[:windows] = codes
            codes = whole
        given = torch.from_numpy(np.ascontiguousarray(codes)).to(self.device)
        with torch.inference_mode():
            with torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
            ):
                vectors = self.vectors(given)
            return self.finish(vectors)[:windows].float().cpu().numpy()


class Network(FullPasses):
    """A backbone of ours.

    Parameters
    ----------
    module : VisionTransformer or ResNet
        In evaluation mode; moved to ``device``.
    metadata : ModelMetadata
    batch_size, device, precision
        As for :class:`FullPasses`.
    whitening : Whitening, optional
        Applied to the features, in float32.
    """

    def __init__(
        self,
        module: Backbone,
        metadata: ModelMetadata,
        *,
        batch_size: int,
        device: torch.device | None = None,
        precision: Precision = "fp32",
        whitening: Whitening | None = None,
    ) -> None:
        device = torch.device("cpu") if device is None else device
        super().__init__(batch_size=batch_size, device=device, precision=precision)
        self.metadata = metadata
        self._module = module.to(self.device)
        self._whitening = None if whitening is None else whitening.to(self.device)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        batch_size: int,
        device: str = "auto",
        precision: Precision = "fp32",
        tokens: Tokens | None = None,
    ) -> Network:
        """Read a model file (:func:`~dawnchorus.learning.backbone.load_model`).

        Parameters
        ----------
        path : Path
        batch_size, device, precision
        tokens : Tokens, optional
            Layer and pooling, where they are not those of the training.

        Raises
        ------
        DawnChorusError
            As ``load_model``; if the network has no such layer or pooling; if its embeddings are
            whitened, and other tokens are asked for than the whitening was learned for.
        """
        module, metadata = load_model(path)
        whitening = load_whitening(path)
        if tokens is not None and tokens != Tokens():
            if whitening is not None:
                raise DawnChorusError(
                    "its whitening was learned for the tokens of its training",
                    path,
                    "leave embedding.layer and embedding.pooling of the experiment out",
                )
            pooling = tokens.pooling or metadata.pooling
            metadata = replace(metadata, layer=tokens.layer, pooling=pooling)
            metadata.dimension  # noqa: B018 - raises what does not go together
        return cls(
            module,
            metadata,
            batch_size=batch_size,
            device=device_named(device),
            precision=precision,
            whitening=whitening,
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.metadata.dimension

    def vectors(self, codes: Tensor) -> Tensor:
        """Return the features of windows."""
        x = model_input(codes, self.metadata)
        return features(self._module, x, self.metadata.pooling, self.metadata.layer)

    def finish(self, vectors: Tensor) -> Tensor:
        """Whiten them, if they are to be."""
        return vectors if self._whitening is None else self._whitening(vectors)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a store says of how its vectors came about."""
        metadata = self.metadata
        return {
            "backbone": metadata.backbone,
            "patch": metadata.patch,
            "pooling": metadata.pooling,
            **({} if metadata.layer is None else {"layer": metadata.layer}),
            "training_set": metadata.training_set,
        }


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have each forward pass use one thread of the CPU.

    Batches side by side use the cores as well as one batch on many, and the sums then have the same
    order, hence the same bytes, whatever the number of workers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def encoded(
    encoder: Encoder,
    codes: Callable[[int, int], NDArray[np.uint8]],
    windows: int,
    workers: int = 1,
) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of all windows, in order, batch by batch.

    Parameters
    ----------
    encoder : Encoder
    codes : callable
        ``codes(start, stop)`` reads windows, uint8 (stop - start, mels, frames).
    windows : int
        How many there are.
    workers : int
        Batches computed at a time. The result does not depend on it.

    Yields
    ------
    float32 array (n, dimension)
    """
    block = block_windows(encoder)
    spans = ((start, min(start + block, windows)) for start in range(0, windows, block))
    blocks = ((start, codes(start, stop)) for start, stop in spans)
    for _, rows in encoded_blocks(encoder, blocks, workers):
        yield rows


def block_windows(encoder: Encoder) -> int:
    """How many windows are read at a time: whole batches."""
    size = encoder.batch_size
    return size * max(1, READ_WINDOWS // size)


def encoded_blocks(
    encoder: Encoder, blocks: Iterator[tuple[Block, NDArray[np.uint8]]], workers: int = 1
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield the vectors of blocks of windows, in order, batch by batch, each with its block's name.

    The next block is read while batches are computed; memory holds two blocks and ``workers + 1``
    batches. While there is no next block yet, what is computed is handed out.

    Parameters
    ----------
    encoder : Encoder
    blocks : iterator of (name, uint8 array (n, mels, frames))
        Advanced in a thread of its own.
    workers : int
        Batches computed at a time. The result does not depend on it.

    Yields
    ------
    name
    float32 array (n, dimension)
    """
    size = encoder.batch_size
    waiting: deque[tuple[Block, Future[NDArray[np.float32]]]] = deque()

    def first() -> tuple[Block, NDArray[np.float32]]:
        name, outcome = waiting.popleft()
        return name, outcome.result()

    with (
        one_thread_each(),
        ThreadPoolExecutor(1, thread_name_prefix="read") as reader,
        ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool,
    ):
        try:
            ahead = reader.submit(next, blocks, None)
            while True:
                while waiting and not ahead.done():
                    yield first()
                block = ahead.result()
                if block is None:
                    break
                ahead = reader.submit(next, blocks, None)
                name, held = block
                for start in range(0, len(held), size):
                    outcome = pool.submit(encoder.encode, held[start : start + size])
                    waiting.append((name, outcome))
                    if len(waiting) > workers:
                        yield first()
            while waiting:
                yield first()
        finally:
            for _, outcome in waiting:
                outcome.cancel()
