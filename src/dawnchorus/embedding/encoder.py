"""What turns windows into vectors.

In: spectrogram codes (uint8) in blocks. Out: one float32 vector per window, in order. An
:class:`Encoder` is all that :func:`encoded` needs, so other encoders plug in beside
:class:`Network`, which runs a trained backbone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

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

Precision = Literal["fp32", "bf16"]


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


class Network:
    """A backbone as an :class:`Encoder`.

    Every forward pass has exactly ``batch_size`` windows: a shorter batch is filled up and the
    filling thrown away, so that matrix products have one shape and a window's vector does not
    depend on the company it is in.

    Parameters
    ----------
    module : VisionTransformer or ResNet
        In evaluation mode; moved to ``device``.
    metadata : ModelMetadata
    batch_size : int
        Windows per forward pass.
    device : torch.device
    precision : {"fp32", "bf16"}
        Of the forward pass on a GPU; the vectors are float32.
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
        self.device = torch.device("cpu") if device is None else device
        self.precision = precision_on(self.device, precision)
        self.metadata = metadata
        self._module = module.to(self.device)
        self._whitening = None if whitening is None else whitening.to(self.device)
        self._batch_size = batch_size

    @classmethod
    def load(
        cls, path: Path, *, batch_size: int, device: str = "auto", precision: Precision = "fp32"
    ) -> Network:
        """Read a model file (:func:`~dawnchorus.learning.backbone.load_model`)."""
        module, metadata = load_model(path)
        return cls(
            module,
            metadata,
            batch_size=batch_size,
            device=device_named(device),
            precision=precision,
            whitening=load_whitening(path),
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.metadata.dimension

    @property
    def batch_size(self) -> int:
        """Windows per forward pass."""
        return self._batch_size

    def encode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (n, dimension) for codes (n, mels, frames), n at most ``batch_size``."""
        windows = len(codes)
        if not 0 < windows <= self._batch_size:
            raise ValueError(f"{windows} windows for a batch of {self._batch_size}")
        if windows < self._batch_size:
            whole = np.zeros((self._batch_size, *codes.shape[1:]), dtype=np.uint8)
            whole[:windows] = codes
            codes = whole
        with (
            torch.inference_mode(),
            torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
            ),
        ):
            x = model_input(
                torch.from_numpy(np.ascontiguousarray(codes)).to(self.device), self.metadata
            )
            vectors = features(self._module, x, self.metadata.pooling)
        # Outside the autocast: the small axes are what it is for.
        with torch.inference_mode():
            vectors = vectors if self._whitening is None else self._whitening(vectors)
        return vectors[:windows].float().cpu().numpy()


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

    The next block is read while batches are computed; memory holds two blocks and ``workers + 1``
    batches.

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
    size = encoder.batch_size
    block = size * max(1, READ_WINDOWS // size)
    waiting: deque[Future[NDArray[np.float32]]] = deque()
    with (
        one_thread_each(),
        ThreadPoolExecutor(1, thread_name_prefix="read") as reader,
        ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool,
    ):

        def read(start: int) -> Future[NDArray[np.uint8]]:
            return reader.submit(codes, start, min(start + block, windows))

        try:
            ahead = read(0) if windows else None
            for start in range(0, windows, block):
                assert ahead is not None  # noqa: S101 - one block is always read ahead
                held = ahead.result()
                ahead = read(start + block) if start + block < windows else None
                for first in range(0, len(held), size):
                    waiting.append(pool.submit(encoder.encode, held[first : first + size]))
                    if len(waiting) > workers:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for outcome in waiting:
                outcome.cancel()


def attributes_of(network: Network) -> dict[str, Any]:
    """Say in a store's attributes how its vectors came about."""
    metadata = network.metadata
    return {
        "backbone": metadata.backbone,
        "patch": metadata.patch,
        "pooling": metadata.pooling,
        "precision": network.precision,
        "training_set": metadata.training_set,
    }
