"""Where windows lie in a fitted map.

In: a projection and embeddings of recorder-days. Out: a table (recording, offset, x, y) per
recorder-day, one row per window in the store's order, and the receipt ``map/map.json``.

Every window is placed by itself, so its place depends neither on the other windows nor on the
other recorder-days. The table carries the fingerprint of the embeddings and the projection it was
made from: what is there already is not made again, also after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dawnchorus.clustering.fit_sample import embedded_day
from dawnchorus.clustering.sphere import cosine_distance, one_core, unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import tracked
from dawnchorus.results import (
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    withdraw,
    write_receipt,
)
from dawnchorus.vectors import VectorStore

BLOCK_WINDOWS = 2048
"""Windows placed at a time."""

SAME = 1e-9
"""Cosine distance below which a window is one of the sample's own (float32 has no finer one)."""

BISECTIONS = 64
SMALLEST_SCALE = 1e-3
"""Of a row's mean distance; both as in UMAP."""

SOURCE_KEY = b"dawnchorus"


class Placer(Protocol):
    """Places windows, each by itself."""

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn unit vectors (n, d) into coordinates (n, 2)."""
        ...


@dataclass(frozen=True)
class PcaPlacer:
    """Coordinates along two principal components."""

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 (n, 2)."""
        centred = vectors.astype(np.float64) - self.mean
        # einsum adds each row by itself; a matrix product may add a row's terms by the row's place.
        return np.einsum("nd,cd->nc", centred, self.components, dtype=np.float64).astype(np.float32)


class NeighbourPlacer:
    """Weighted mean of the places of a window's nearest sample windows.

    This is the start of UMAP's own ``transform`` (``init_graph_transform``) without the
    optimisation after it, which draws random numbers and moves a window by the company it is in.

    Parameters
    ----------
    vectors : float32 array (n, d)
        The sample, unit vectors.
    coordinates : float32 array (n, 2)
        Their place in the map.
    neighbours : int
        How many take part.
    """

    def __init__(
        self, vectors: NDArray[np.float32], coordinates: NDArray[np.float32], neighbours: int
    ) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._vectors, self._coordinates = vectors, coordinates
        # Exact, in blocks; on unit vectors the Euclidean order is that of the cosine.
        self._index = NearestNeighbors(
            n_neighbors=min(neighbours, len(vectors)), algorithm="brute", metric="euclidean"
        ).fit(vectors)

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 (n, 2)."""
        found = self._index.kneighbors(vectors, return_distance=False)
        distance = cosine_distance(vectors[:, None, :], self._vectors[found]).astype(np.float64)
        order = np.argsort(distance, axis=1, kind="stable")
        found = np.take_along_axis(found, order, axis=1)
        distance = np.take_along_axis(distance, order, axis=1)
        weight = membership(distance)
        places = self._coordinates[found].astype(np.float64)
        mean = np.einsum("nk,nkc->nc", weight, places) / weight.sum(axis=1, keepdims=True)
        own = distance[:, 0] < SAME
        mean[own] = places[own, 0]
        return mean.astype(np.float32)


def membership(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how strongly each neighbour counts: ``exp(-d / scale)``.

    The scale of a row is such that its strengths but the first add up to log2(k) (UMAP's
    ``smooth_knn_dist`` as its ``transform`` uses it), but at least a thousandth of the row's mean
    distance. UMAP takes the mean over the whole batch there; by row, a window's place does not
    depend on the batch.

    Parameters
    ----------
    distance : float64 array (n, k)
        Ascending in each row.

    Returns
    -------
    float64 array (n, k)
        Between 0 and 1.
    """
    rows, neighbours = distance.shape
    target = np.log2(neighbours)
    low, high, scale = np.zeros(rows), np.full(rows, np.inf), np.ones(rows)
    for _ in range(BISECTIONS):
        total = np.exp(-distance[:, 1:] / scale[:, None]).sum(axis=1)
        above = total > target
        high = np.where(above, scale, high)
        low = np.where(above, low, scale)
        # Where the sum can reach the target at no scale, as with two neighbours, this grows on.
        scale = np.where(np.isinf(high), scale * 2, (low + high) / 2)
    smallest = SMALLEST_SCALE * distance.mean(axis=1)
    scale = np.maximum(scale, np.maximum(smallest, np.finfo(np.float64).tiny))
    return np.exp(-distance / scale[:, None])


@dataclass(frozen=True)
class Map:
    """A fitted map: how to place, and by which model and projection."""

    placer: Callable[[], Placer]
    model: str
    fingerprint: str
    method: str


def place_days(
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    fitted: Map,
    workers: int = 1,
) -> dict[str, Any]:
    """Place recorder-days; see :func:`dawnchorus.clustering.projection.place`."""
    paths = results.experiment(experiment)
    placed: dict[str, dict[str, Any]] = {}
    placer: Placer | None = None
    ordered = sorted(set(days))
    for day in tracked(ordered, f"map {experiment}", len(ordered), "days"):
        embedded = embedded_day(results, experiment, day)
        path = paths.points(day)
        if embedded is None:
            withdraw(path)
            placed[str(day)] = {"windows": 0, "embeddings": None}
            continue
        if embedded.model != fitted.model:
            raise DawnChorusError(
                "was embedded by another model than the map was fitted on",
                paths.embeddings(day),
                f"run `dawnchorus map --experiment {experiment} --fit` again",
            )
        placed[str(day)] = {"windows": embedded.windows, "embeddings": embedded.fingerprint}
        source = fingerprint([embedded.fingerprint, fitted.fingerprint])
        if _source(path) == source:
            continue
        if placer is None:
            placer = fitted.placer()
        _place_day(VectorStore.open(paths.embeddings(day)), placer, path, source, workers)
    receipt = {
        "verdict": "ok",
        "method": fitted.method,
        "windows": sum(one["windows"] for one in placed.values()),
        "projection": fitted.fingerprint,
        "days": placed,
        "fingerprint": fingerprint([fitted.fingerprint, placed]),
    }
    write_receipt(paths.map_receipt, receipt)
    return receipt


def _source(path: Path) -> str | None:
    """What a table of points was made from; None if there is no whole one."""
    try:
        held = pq.read_metadata(path).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    return held.get(SOURCE_KEY, b"").decode()


def _place_day(store: VectorStore, placer: Placer, path: Path, source: str, workers: int) -> None:
    starts = range(0, len(store), BLOCK_WINDOWS)
    points = np.empty((len(store), 2), dtype=np.float32)

    def placed(start: int) -> NDArray[np.float32]:
        return placer(unit(store.read(start, min(start + BLOCK_WINDOWS, len(store)))))

    # Each worker keeps to one core and to whole blocks, so their number changes no byte. OpenMP
    # counts its cores per thread: the limit is set in each.
    with (
        one_core(),
        ThreadPoolExecutor(workers, "map", initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        for start, block in zip(starts, pool.map(placed, starts), strict=True):
            points[start : start + len(block)] = block
    table = pa.table(
        {
            "recording": pa.array(store.windows.names(), pa.string()),
            "offset": pa.array(store.offset, pa.int64()),
            "x": pa.array(points[:, 0]),
            "y": pa.array(points[:, 1]),
        }
    ).replace_schema_metadata({SOURCE_KEY: source.encode()})
    with publishing(path) as partial:
        pq.write_table(table, partial, compression="zstd")
