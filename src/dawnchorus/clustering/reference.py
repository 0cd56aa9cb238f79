"""The windows that every window of a season is compared with to say how far out it lies.

In: embeddings of the training set's recorder-days, and fitted clusters. Out:
``outliers/reference.safetensors``: a seeded draw of windows, with the reach and density of each among the
others, and centre and spread of the draw's own scores, in which all scores are measured.

The draw comes from the frozen pool, like the clusters and the map: a new recorder-day changes no score of an old one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.clustering.crowding import (
    Nearest,
    local_outlier_factor,
    nearest_others,
    reachable_density,
)
from dawnchorus.clustering.fit_sample import (
    Selection,
    draw,
    embedded_days,
    embeddings_fingerprint,
)
from dawnchorus.clustering.fitted import Clusters
from dawnchorus.clustering.sphere import one_core
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.training_set import pool
from dawnchorus.progress import say
from dawnchorus.results import RecorderDay, Results, fingerprint, publishing

LEVELS = ("recorder_day", "recording", "window")
"""What a window has in common with those that are not its company. A season of a single recorder-day takes its
recordings apart, one of a single recording its windows."""
METADATA_KEY = "dawnchorus"
EDITION = 1
"""Raised when the same windows come to be scored otherwise."""
MEASURES = ("centroid_distance", "neighbour_distance", "local_outlier_factor")
"""Cosine distance to the own centroid; mean distance to the neighbours; how much denser those lie."""
LEAST_REACH = 0.1
"""Of the median: beside windows that all but coincide, such as digital silence, everything else would be infinitely thin."""
KEPT = 0.95
"""Share of the variance whose directions count; the rest is hardly more than noise."""


def group_names(day: RecorderDay, windows: pl.DataFrame, level: str) -> list[str]:
    """Return the group of each window (columns recording, offset) of a recorder-day."""
    if level == "recorder_day":
        return [str(day)] * windows.height
    if level == "recording":
        return windows["recording"].to_list()
    return [f"{name}@{offset}" for name, offset in windows["recording", "offset"].iter_rows()]


@dataclass(frozen=True)
class Reference:
    """See the module.

    Attributes
    ----------
    origin : float32 array (d,)
        Mean of the drawn vectors.
    axes : float32 array (d, e)
        What makes the spread of the drawn vectors 1 in every direction that counts.
    vectors : float32 array (m, e)
        The drawn vectors, so whitened.
    group : int64 array (m,)
        Index into ``groups``.
    groups : list of str
    level : {"recorder_day", "recording", "window"}
        What the groups are.
    neighbours : int
        How many a window is compared with.
    reach, density : float64 arrays (m,)
        Distance to the last of a window's own neighbours, and how densely they lie.
    centre, spread : float64 arrays (3,)
        Mean and standard deviation of the draw's own measures.
    model, fingerprint : str
    """

    origin: NDArray[np.float32]
    axes: NDArray[np.float32]
    vectors: NDArray[np.float32]
    group: NDArray[np.int64]
    groups: list[str]
    level: str
    neighbours: int
    reach: NDArray[np.float64]
    density: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    model: str
    fingerprint: str

    def numbers(self, names: list[str]) -> NDArray[np.int64]:
        """Return the numbers of groups; -1 for those that the reference has no window of."""
        known = {name: number for number, name in enumerate(self.groups)}
        return np.array([known.get(name, -1) for name in names], np.int64)

    def measures(
        self,
        vectors: NDArray[np.float32],
        group: NDArray[np.int64],
        centroid_distance: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        """Return the measures of vectors, float64 (n, 3), in the order of :data:`MEASURES`."""
        near = nearest_others(
            ((vectors - self.origin) @ self.axes).astype(np.float32, copy=False),
            group,
            self.vectors,
            self.group,
            self.neighbours,
        )
        return _measures(near, centroid_distance, self.reach, self.density)

    def score(self, measures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one score per row (n,): the mean of the measures, each in its own standard deviations.

        The factor counts by its logarithm: it is a ratio. Averaging standardised scores of several
        detectors is what Aggarwal and Sathe (2015, doi:10.1145/2830544.2830549) recommend where nobody
        knows which of them is right; the scale of the reference stands for that of the season.
        """
        return ((_scaled(measures) - self.centre) / self.spread).mean(axis=1)


def _measures(
    near: Nearest,
    centroid_distance: NDArray[np.float32],
    reach: NDArray[np.float64],
    density: NDArray[np.float64],
) -> NDArray[np.float64]:
    own = reachable_density(near, reach)
    factor = local_outlier_factor(near, own, density)
    return np.stack([centroid_distance.astype(np.float64), near.mean(), factor], axis=1)


def _scaled(measures: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = measures.copy()
    scaled[:, 2] = np.log(measures[:, 2])
    return scaled


def make_reference(
    settings: Settings, results: Results, experiment: str, clusters: Clusters
) -> Reference:
    """Draw the reference and measure it against itself, unless it stands.

    Raises
    ------
    DawnChorusError
        If the pool has no embeddings, or a single window.
    """
    wanted = settings.outliers
    path = results.experiment(experiment).outlier_reference
    days = embedded_days(results, experiment, pool(results))
    mark = fingerprint(
        {
            "edition": EDITION,
            "embeddings": embeddings_fingerprint(days),
            "clusters": clusters.fingerprint,
            "windows": wanted.reference_windows,
            "neighbours": wanted.neighbours,
            "seed": wanted.seed,
        }
    )
    # What cannot be read, or is of an older version, is made anew.
    with suppress(DawnChorusError):
        standing = load_reference(path)
        if standing.fingerprint == mark:
            say(f"{path}: stands already")
            return standing
    if days[0].model != clusters.model:
        raise DawnChorusError(
            "were embedded by another model than the clusters were fitted on",
            results.experiment(experiment).root / "embeddings",
            f"run `dawnchorus cluster --experiment {experiment}` again",
        )
    sample = draw(
        Selection(results, experiment),
        days,
        wanted.reference_windows,
        wanted.seed,
        as_they_are=True,
    )
    origin = sample.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    with one_core():
        axes = _whitening(sample.vectors - origin)
        vectors = (sample.vectors - origin) @ axes
    level, names = _groups(sample.windows, path)
    groups = sorted(set(names))
    known = {name: number for number, name in enumerate(groups)}
    group = np.array([known[name] for name in names], np.int64)
    most = len(names) - int(np.bincount(group).max())
    neighbours = min(wanted.neighbours, most)
    with one_core():
        near = nearest_others(vectors, group, vectors, group, neighbours)
        _, centroid_distance = clusters.of(sample.vectors)
    reach = near.distance[:, -1].astype(np.float64)
    reach = np.maximum(reach, LEAST_REACH * np.median(reach))
    density = reachable_density(near, reach)
    measures = _measures(near, centroid_distance, reach, density)
    scaled = _scaled(measures)
    spread = scaled.std(axis=0)
    reference = Reference(
        origin,
        axes,
        vectors,
        group,
        groups,
        level,
        neighbours,
        reach,
        density,
        scaled.mean(axis=0),
        np.where(spread > 0, spread, 1.0),
        days[0].model,
        mark,
    )
    _save(path, reference)
    return reference


def _whitening(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (d, e): principal axes over the standard deviation along them, of :data:`KEPT` of the variance.

    Distances are then Mahalanobis's. Without it they are those along the few directions in which sounds vary
    most, such as loudness, and what is unusual otherwise goes unnoticed.
    """
    covariance = np.cov(vectors, rowvar=False, dtype=np.float64).reshape(vectors.shape[1], -1)
    variance, axes = np.linalg.eigh(covariance)
    variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1]
    if not variance[0] > 0:
        return np.eye(vectors.shape[1], 1, dtype=np.float32)
    kept = int(np.searchsorted(np.cumsum(variance) / variance.sum(), KEPT)) + 1
    kept = min(kept, int(np.count_nonzero(variance > variance[0] * np.finfo(np.float32).eps)))
    return (axes[:, :kept] / np.sqrt(variance[:kept])).astype(np.float32)


def _groups(windows: pl.DataFrame, where: Path) -> tuple[str, list[str]]:
    """Return the coarsest level on which there are two groups, and the group of each window."""
    for level in LEVELS:
        names: list[str] = []
        for (recorder, date), rows in windows.group_by(["recorder", "date"], maintain_order=True):
            names += group_names(RecorderDay(str(recorder), str(date)), rows, level)
        if len(set(names)) > 1:
            return level, names
    raise DawnChorusError(
        "one window alone has nothing to be compared with", where, "embed more recordings"
    )


def _save(path: Path, reference: Reference) -> None:
    said = {
        "groups": reference.groups,
        "level": reference.level,
        "neighbours": reference.neighbours,
        "model": reference.model,
        "fingerprint": reference.fingerprint,
    }
    arrays: dict[str, NDArray[Any]] = {
        name: np.ascontiguousarray(getattr(reference, name))
        for name in ("origin", "axes", "vectors", "group", "reach", "density", "centre", "spread")
    }
    with publishing(path) as partial:
        save_file(arrays, partial, metadata={METADATA_KEY: json.dumps(said, sort_keys=True)})


def load_reference(path: Path) -> Reference:
    """Read ``reference.safetensors``.

    Raises
    ------
    DawnChorusError
        If it is missing or something else.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            said = json.loads((handle.metadata() or {})[METADATA_KEY])
            names = list(handle.keys())
            arrays: dict[str, Any] = {name: np.asarray(handle.get_tensor(name)) for name in names}
        return Reference(**arrays, **said)
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus outliers` first") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        raise DawnChorusError(
            "holds no reference", path, "delete it and run `dawnchorus outliers` again"
        ) from None
