"""The 2-D map: a projection of the output space, fitted once on a sample.

In: embeddings of the training set's recorder-days. Out: ``map/projection.safetensors``, which holds
all that placing a window needs (:mod:`dawnchorus.clustering.placement`), without pickle: under UMAP
and t-SNE the sample's vectors and where they lie in the map, under PCA a mean and two components.

The map is for looking: distances in it are not the space's. Nothing is computed from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.clustering import placement
from dawnchorus.clustering.fit_sample import (
    Selection,
    draw,
    embedded_days,
    embeddings_fingerprint,
)
from dawnchorus.clustering.layout import fit_pca, tsne_layout, umap_layout
from dawnchorus.config import Projection, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.training_set import pool
from dawnchorus.progress import say
from dawnchorus.results import RecorderDay, Results, fingerprint, publishing

METADATA_KEY = "dawnchorus"

TENSORS = {
    "pca": ("mean", "components"),
    "umap": ("vectors", "coordinates"),
    "tsne": ("vectors", "coordinates"),
}

FEWEST_WINDOWS = 10
"""Fewer windows have no shape that a map could show."""


@dataclass(frozen=True)
class FittedProjection:
    """A projection as it lies on disk.

    Attributes
    ----------
    method : {"umap", "tsne", "pca"}
    neighbours : int
        Neighbours that place a window under UMAP and t-SNE.
    tensors : dict
        ``vectors`` (n, d) unit and ``coordinates`` (n, 2), or ``mean`` (d,) and ``components``
        (2, d).
    model, fingerprint : str
        Of the model that embedded the sample, and of the whole projection.
    inputs : dict
        Parameters and embeddings that it was fitted on.
    """

    method: str
    neighbours: int
    tensors: dict[str, NDArray[np.float32]]
    model: str
    fingerprint: str
    inputs: dict[str, Any]

    def placer(self) -> placement.Placer:
        """Return what places vectors in this map."""
        if self.method == "pca":
            return placement.PcaPlacer(self.tensors["mean"], self.tensors["components"])
        return placement.NeighbourPlacer(
            self.tensors["vectors"], self.tensors["coordinates"], self.neighbours
        )


def _tensors(
    vectors: NDArray[np.float32], wanted: Projection, neighbours: int
) -> dict[str, NDArray[np.float32]]:
    if wanted.method == "pca":
        mean, components = fit_pca(vectors)
        return {"mean": mean, "components": components}
    if wanted.method == "tsne":
        layout = tsne_layout(vectors, perplexity=wanted.perplexity, seed=wanted.seed)
    else:
        layout = umap_layout(
            vectors, neighbours=neighbours, min_distance=wanted.min_distance, seed=wanted.seed
        )
    return {"vectors": vectors, "coordinates": layout}


def fit_map(settings: Settings, results: Results, experiment: str) -> dict[str, Any]:
    """Fit the projection of an experiment on windows of the training set's recorder-days.

    Parameters
    ----------
    settings : Settings
        Uses ``map``.
    results : Results
    experiment : str
        Name in the config.

    Returns
    -------
    dict
        Method, windows of the sample, fingerprints.

    Raises
    ------
    DawnChorusError
        If there are too few windows, or a recorder-day was not embedded yet.
    """
    wanted = settings.map
    settings.experiment(experiment)
    path = results.experiment(experiment).projection
    days = embedded_days(results, experiment, pool(results))
    inputs = {
        "parameters": wanted.model_dump(),
        "model": days[0].model,
        "embeddings": embeddings_fingerprint(days),
    }
    if path.exists():
        standing = load_projection(path)
        if standing.inputs == inputs:
            say(f"{path}: fitted already, on the same embeddings with the same settings")
            return _summary(standing)

    sample = draw(Selection(results, experiment), days, wanted.fit_windows, wanted.seed)
    if len(sample.vectors) < FEWEST_WINDOWS:
        raise DawnChorusError(
            f"a map needs at least {FEWEST_WINDOWS} windows, there are {len(sample.vectors)}",
            "map.fit_windows",
        )
    # A window is not its own neighbour.
    neighbours = min(wanted.neighbours, len(sample.vectors) - 1)
    say(f"map of {len(sample.vectors):,} of {sample.available:,} windows by {wanted.method}")
    tensors = _tensors(sample.vectors, wanted, neighbours)
    content = {name: _digest(tensor) for name, tensor in tensors.items()}
    held = {
        "method": wanted.method,
        "neighbours": neighbours,
        "inputs": inputs,
        "fingerprint": fingerprint([inputs, content]),
    }
    with publishing(path) as partial:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            partial,
            metadata={METADATA_KEY: json.dumps(held, sort_keys=True)},
        )
    return {**_summary(load_projection(path)), "windows": len(sample.vectors)}


def _digest(tensor: NDArray[np.float32]) -> str:
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(tensor))


def _summary(fitted: FittedProjection) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "verdict": "ok",
        "method": fitted.method,
        "fingerprint": fitted.fingerprint,
    }
    if "vectors" in fitted.tensors:
        summary["windows"] = len(fitted.tensors["vectors"])
    return summary


def load_projection(path: Path) -> FittedProjection:
    """Read ``projection.safetensors``.

    Raises
    ------
    DawnChorusError
        If it is missing or something else.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            held = json.loads((handle.metadata() or {})[METADATA_KEY])
            names = TENSORS[held["method"]]
            return FittedProjection(
                method=held["method"],
                neighbours=int(held["neighbours"]),
                tensors={name: np.asarray(handle.get_tensor(name)) for name in names},
                model=held["inputs"]["model"],
                fingerprint=held["fingerprint"],
                inputs=held["inputs"],
            )
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus map --fit` first") from None
    except (SafetensorError, KeyError, json.JSONDecodeError):
        raise DawnChorusError(
            "holds no projection", path, "delete it and run `dawnchorus map --fit` again"
        ) from None


def place(
    settings: Settings,
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    *,
    workers: int = 1,
) -> dict[str, Any]:
    """Place all windows of some recorder-days in the map and say so in ``map/map.json``.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    days : sequence of RecorderDay
        The days that the map shall show. One that lies there already, from the same embeddings and
        the same projection, is left as it is.
    workers : int
        Blocks of windows placed at a time. The result does not depend on it.

    Returns
    -------
    dict
        The receipt: ``days`` maps ``recorder/date`` to its windows (0: set aside) and embeddings.

    Raises
    ------
    DawnChorusError
        If projection or embeddings are missing or stem from different models.
    """
    settings.experiment(experiment)
    fitted = load_projection(results.experiment(experiment).projection)
    return placement.place_days(
        results,
        experiment,
        days,
        placement.Map(fitted.placer, fitted.model, fitted.fingerprint, fitted.method),
        workers,
    )
