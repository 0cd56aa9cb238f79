"""Which pipeline of codecs an array of Zarr gets; it keeps the one under which it was opened or made.

In: a choice. Out: a context, to be held for as long as arrays are opened or made, and not while they
are read or written. Zarr's settings belong to the process: without the lock a thread that opens a store
would change how another one writes, and the two pipelines order the chunks within a shard differently,
so the same values would make other bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import zarr

Pipeline = Literal["zarrs", "zarr"]

PATHS: dict[Pipeline, str] = {
    "zarrs": "zarrs.ZarrsCodecPipeline",
    "zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
}
_settings = threading.RLock()


@contextmanager
def codec_pipeline(pipeline: Pipeline, threads: int | None = None) -> Iterator[None]:
    """Have the arrays that are opened or made in this context use one pipeline.

    Parameters
    ----------
    pipeline : {"zarrs", "zarr"}
        zarrs reads and compresses three times as fast as Zarr's own, which is the one that writes
        uncompressed vectors in their order.
    threads : int, optional
        Most threads of the pipeline; what Zarr chooses if not given.
    """
    settings: dict[str, str | int] = {"codec_pipeline.path": PATHS[pipeline]}
    if threads is not None:
        settings["threading.max_workers"] = threads
    with _settings, zarr.config.set(settings):
        yield
