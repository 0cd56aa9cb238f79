"""Look at windows: the maps of all heads and sources, from one forward pass per window.

In: codes of windows. Out: the attention of each head, a map per source, and the one merged map that the
masks and boxes are made of. Nothing is kept: memory is that of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from dawnchorus.attention.energy import agreement, energy_map
from dawnchorus.attention.heads import LAST, of_heads
from dawnchorus.attention.sources import HEADS, OF_TOKENS, merged
from dawnchorus.attention.tokens import finer_patch, run
from dawnchorus.config import Attention, MapSource, Pooling
from dawnchorus.embedding.encoder import device_named
from dawnchorus.learning.backbone import ModelMetadata, load_model, model_input
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.prepared import PreparedMetadata

BATCH_BYTES = 128 * 2**20
"""Most that a batch's largest activations may take: a finer grid means smaller batches."""
AGREEMENT_WINDOWS = 128
"""Windows on which heads and energy are compared."""


@dataclass(frozen=True)
class Look:
    """What is seen in some windows.

    Attributes
    ----------
    heads : float32 array (n, heads, rows, columns)
    maps : dict of str to float32 array (n, rows, columns)
        One map per source.
    """

    heads: NDArray[np.float32]
    maps: dict[MapSource, NDArray[np.float32]]


class Looker:
    """A network, and how its maps are made.

    Parameters
    ----------
    module : VisionTransformer
    metadata : ModelMetadata
    wanted : Attention
        Its grid and how its heads are merged.
    batch_size : int
        Most windows per forward pass.
    device : torch.device, optional
    """

    def __init__(
        self,
        module: Backbone,
        metadata: ModelMetadata,
        wanted: Attention,
        *,
        batch_size: int = 64,
        device: torch.device | None = None,
    ) -> None:
        self.metadata, self.wanted = metadata, wanted
        self.device = torch.device("cpu") if device is None else device
        self.cell = finer_patch(metadata.patch, wanted.finer)
        self.shape = (metadata.mels // self.cell[0], metadata.frames // self.cell[1])
        self.module = module.to(self.device)
        tokens = self.shape[0] * self.shape[1] + 1
        # A block's widest layer holds four times the width.
        self.batch_size = max(1, min(batch_size, BATCH_BYTES // (16 * tokens * metadata.width)))
        self.agreement: NDArray[np.float64] | None = None

    @classmethod
    def load(
        cls,
        path: Path,
        wanted: Attention,
        *,
        batch_size: int,
        device: str,
        pooling: Pooling | None = None,
    ) -> Looker:
        """Read a model file; ``pooling`` is that of the embedding, where it is another than the training's."""
        module, metadata = load_model(path)
        if pooling is not None:
            metadata = replace(metadata, pooling=pooling)
        return cls(module, metadata, wanted, batch_size=batch_size, device=device_named(device))

    def agree_on(self, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Take the heads' agreement with the energy above the noise floor from these windows.

        Parameters
        ----------
        codes : uint8 array (n, mels, frames)

        Returns
        -------
        float64 array (heads,)
            Pearson's correlation, mean over windows.
        """
        decibels = codes.astype(np.float32) * np.float32(self.metadata.db_step)
        heads = np.concatenate(
            [self._heads(codes[at : at + self.batch_size]) for at in self._batches(len(codes))]
        )
        self.agreement = agreement(heads, energy_map(decibels, self.cell))
        return self.agreement

    def look(self, codes: NDArray[np.uint8]) -> Look:
        """Return the maps of windows (n, mels, frames)."""
        parts = [self._look(codes[at : at + self.batch_size]) for at in self._batches(len(codes))]
        return Look(
            np.concatenate([part.heads for part in parts]),
            {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
        )

    def _batches(self, count: int) -> range:
        return range(0, count, self.batch_size)

    def _heads(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tokens = run(self.module, self._input(codes), (LAST,), self.wanted.finer)
            return np.asarray(of_heads(self.module, tokens).cpu().numpy())

    def _look(self, codes: NDArray[np.uint8]) -> Look:
        with torch.inference_mode():
            tokens = run(self.module, self._input(codes), (LAST,), self.wanted.finer)
            heads = of_heads(self.module, tokens)
            weights = None if self.agreement is None else torch.tensor(self.agreement).to(heads)
            maps = {HEADS: merged(heads, self.wanted.merge, weights)}
            for name, of_tokens in OF_TOKENS.items():
                maps[name] = of_tokens(tokens, self.metadata.pooling)
            return Look(
                heads.cpu().numpy(), {name: map_.cpu().numpy() for name, map_ in maps.items()}
            )

    def _input(self, codes: NDArray[np.uint8]) -> torch.Tensor:
        return model_input(torch.from_numpy(codes).to(self.device), self.metadata)


def lacks_attention(metadata: ModelMetadata | PreparedMetadata) -> str | None:
    """Say why nothing of a model can be looked at; None if it has heads."""
    if isinstance(metadata, ModelMetadata) and metadata.heads:
        return None
    name = metadata.backbone if isinstance(metadata, ModelMetadata) else metadata.title
    return f"{name} has no attention of a class token: nothing to show"


def agreement_sample(members: pl.DataFrame) -> pl.DataFrame:
    """Draw the windows that heads and energy are compared on, the same every time."""
    order = ["recorder", "date", "recording", "offset"]
    whole = members.sort(order)
    if whole.height <= AGREEMENT_WINDOWS:
        return whole
    rows = np.random.default_rng(0).choice(whole.height, AGREEMENT_WINDOWS, replace=False)
    return whole[np.sort(rows)]
