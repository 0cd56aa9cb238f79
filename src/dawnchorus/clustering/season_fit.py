"""Spherical k-means over every window of the fit's recorder-days, in passes over their stores.

In: centroids of a fit on a sample, and Dask's workers. Out: centroids that are the mean directions of their own
windows among all of them, and the table of these windows. Each pass reads every embedding once: a worker
sums up a recorder-day per cluster, and the sums are added in the order of the recorder-days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.fit_sample import Embedded, store_of, windows_of
from dawnchorus.clustering.passes import each
from dawnchorus.clustering.sphere import cluster_sums, directions, nearest, unit
from dawnchorus.progress import say
from dawnchorus.results import Results

if TYPE_CHECKING:
    from distributed import Client

PASSES = 100
"""At most; it ends before when no centroid moves."""
STILL = 1e-6
"""Cosine distance that no centroid moved further than: it would take many passes to settle a handful of
windows among millions."""


@dataclass(frozen=True)
class SeasonFit:
    """Unit centroids (k, d), the largest cluster first, and all windows with cluster and distance."""

    centroids: NDArray[np.float32]
    members: pl.DataFrame
    passes: int


def of_all_windows(
    client: Client,
    results: Results,
    experiment: str,
    days: Sequence[Embedded],
    start: NDArray[np.float32],
) -> SeasonFit:
    """Move centroids until they are the mean directions of all their windows.

    Parameters
    ----------
    client : Client
        From :func:`dawnchorus.clustering.passes.workers`.
    results : Results
    experiment : str
    days : sequence of Embedded
    start : float32 array (k, d)
    """
    centroids, number = start, 0
    for number in range(1, PASSES + 1):
        sums = np.zeros(start.shape)
        for part in each(
            client, sums_of_day, days, results, experiment, centroids, doing=f"pass {number}"
        ):
            sums += part
        before, centroids = centroids, directions(sums, centroids)
        moved = float(np.square(centroids - before).sum(axis=1).max() / 2)
        say(f"pass {number}: the centroid that moved most moved by {moved:.2g}")
        if moved <= STILL:
            break
    order = _by_size(client, results, experiment, days, centroids)
    tables = each(
        client, members_of_day, days, results, experiment, centroids[order], doing="windows"
    )
    return SeasonFit(centroids[order], pl.concat(list(tables)), number)


def _by_size(
    client: Client,
    results: Results,
    experiment: str,
    days: Sequence[Embedded],
    centroids: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Return the clusters' numbers, the largest first; equally large ones as they were."""
    sizes = np.zeros(len(centroids), dtype=np.int64)
    for part in each(client, sizes_of_day, days, results, experiment, centroids, doing="sizes"):
        sizes += part
    return np.argsort(-sizes, kind="stable")


def sums_of_day(
    one: Embedded, results: Results, experiment: str, centroids: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the sum (k, d) of the unit vectors of each cluster in a recorder-day."""
    sums = np.zeros(centroids.shape)
    for _, vectors in store_of(results, experiment, one).blocks():
        rows = unit(vectors)
        cluster, _ = nearest(rows, centroids)
        sums += cluster_sums(rows, cluster, len(centroids))
    return sums


def sizes_of_day(
    one: Embedded, results: Results, experiment: str, centroids: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return how many windows of a recorder-day each cluster has."""
    sizes = np.zeros(len(centroids), dtype=np.int64)
    for _, vectors in store_of(results, experiment, one).blocks():
        cluster, _ = nearest(unit(vectors), centroids)
        sizes += np.bincount(cluster, minlength=len(centroids))
    return sizes


def members_of_day(
    one: Embedded, results: Results, experiment: str, centroids: NDArray[np.float32]
) -> pl.DataFrame:
    """Return the windows of a recorder-day with their cluster and distance."""
    store = store_of(results, experiment, one)
    found = [nearest(unit(vectors), centroids) for _, vectors in store.blocks()]
    return windows_of(one.day, store, np.arange(len(store))).with_columns(
        pl.Series("cluster", np.concatenate([cluster for cluster, _ in found]), dtype=pl.Int32),
        pl.Series(
            "distance", np.concatenate([distance for _, distance in found]), dtype=pl.Float32
        ),
    )
