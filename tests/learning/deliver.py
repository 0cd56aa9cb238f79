"""Takes the batches of a feed in a process of its own, and keeps what it got.

``python -m torch.distributed.run ... deliver.py settings results first end folder``, or without
torchrun. Each process writes ``{rank}.npz``: rows and codes of its windows, step by step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from dawnchorus import config
from dawnchorus.learning import feed, training_set
from dawnchorus.learning.ranks import joined
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.results import Results


def main() -> None:
    settings = config.validate(json.loads(sys.argv[1]))
    first, end, folder = int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
    wanted = settings.experiments["toy"]
    shape = (settings.spectrogram.mels, settings.spectrogram.frames)
    with joined("cpu") as ranks:
        frozen = training_set.open_frozen(Results(Path(sys.argv[2])))
        windows = frozen.table.height
        sampler = EpochSampler(windows, wanted.batch_size, wanted.seed, wanted.shuffle_windows)
        source = feed.open_feed(frozen, shape, sampler, ranks, wanted)
        scale = feed.measured(source, frozen, windows, wanted.input, ranks)
        batches = list(source.batches(first, end))
        np.savez(
            folder / f"{ranks.rank}.npz",
            kind=np.array(type(source).__name__),
            scale=np.array([scale.mean, scale.std]),
            rows=np.stack([batch.rows for batch in batches]),
            codes=np.stack([batch.codes.numpy() for batch in batches]),
        )
        ranks.wait()


if __name__ == "__main__":
    main()
