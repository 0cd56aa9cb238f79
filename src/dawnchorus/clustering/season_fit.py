"""Spherical k-means over every window of the fit's recorder-days, in passes over their stores.

In: centroids of a fit on a sample, the windows that take part, and Dask's workers. Out: centroids that are the mean directions of their own
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

from dawnchorus.clustering.fit_sample import Embedded, Selection, store_of, windows_of
from dawnchorus.clustering.passes import each
from dawnchorus.clustering.sphere import cluster_sums, directions, nearest, unit
from dawnchorus.progress import say

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
    selection: Selection,
    days: Sequence[Embedded],
    start: NDArray[np.float32],
) -> SeasonFit:
    """Move centroids until they are the mean directions of all their windows.

    Parameters
    ----------
    client : Client
        From :func:`dawnchorus.clustering.passes.workers`.
    selection : Selection
    days : sequence of Embedded
    start : float32 array (k, d)
    """
    centroids, number = start, 0
    for number in range(1, PASSES + 1):
        sums = np.zeros(start.shape)
        for part in each(client, sums_of_day, days, selection, centroids, doing=f"pass {number}"):
            sums += part
        before, centroids = centroids, directions(sums, centroids)
        moved = float(np.square(centroids - before).sum(axis=1).max() / 2)
        say(f"pass {number}: the centroid that moved most moved by {moved:.2g}")
        if moved <= STILL:
            break
    order = _by_size(client, selection, days, centroids)
    tables = each(client, members_of_day, days, selection, centroids[order], doing="windows")
    return SeasonFit(centroids[order], pl.concat(list(tables)), number)


def _by_size(
    client: Client,
    selection: Selection,
    days: Sequence[Embedded],
    centroids: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Return the clusters' numbers, the largest first; equally large ones as they were."""
    sizes = np.zeros(len(centroids), dtype=np.int64)
    for part in each(client, sizes_of_day, days, selection, centroids, doing="sizes"):
        sizes += part
    return np.argsort(-sizes, kind="stable")


def sums_of_day(
    one: Embedded, selection: Selection, centroids: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the sum (k, d) of the unit vectors of each cluster in a recorder-day."""
    sums = np.zeros(centroids.shape)
    for _, vectors in selection.blocks(one):
        rows = unit(vectors)
        cluster, _ = nearest(rows, centroids)
        sums += cluster_sums(rows, cluster, len(centroids))
    return sums


def sizes_of_day(
    one: Embedded, selection: Selection, centroids: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return how many windows of a recorder-day each cluster has."""
    sizes = np.zeros(len(centroids), dtype=np.int64)
    for _, vectors in selection.blocks(one):
        cluster, _ = nearest(vectors, centroids, are_unit=False)
        sizes += np.bincount(cluster, minlength=len(centroids))
    return sizes


def members_of_day(
    one: Embedded, selection: Selection, centroids: NDArray[np.float32]
) -> pl.DataFrame:
    """Return the windows of a recorder-day with their cluster and distance."""
    rows, clusters, distances = [np.zeros(0, np.int64)], [], []
    for some, vectors in selection.blocks(one):
        cluster, distance = nearest(vectors, centroids, are_unit=False)
        rows.append(some)
        clusters.append(cluster)
        distances.append(distance)
    store = store_of(selection.results, selection.experiment, one)
    return windows_of(one.day, store, np.concatenate(rows)).with_columns(
        pl.Series("cluster", np.concatenate([*clusters, np.zeros(0, np.int32)]), dtype=pl.Int32),
        pl.Series(
            "distance", np.concatenate([*distances, np.zeros(0, np.float32)]), dtype=pl.Float32
        ),
    )
