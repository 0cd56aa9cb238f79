"""Fitted clusters as they lie on the disk, and the cluster of a vector.

In: centroids (k, d) of unit length, and, where one centroid is too little to stand for a cluster, prototypes with
the cluster that each belongs to and the distance beyond which a window is noise. Out:
``centroids.safetensors``, and for vectors of any origin their cluster and distance: nothing is fitted again for a
new recorder-day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.clustering.sphere import nearest
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing

METADATA_KEY = "dawnchorus"

NOISE = -1
"""Cluster of a window that belongs to none."""


@dataclass(frozen=True)
class Prototypes:
    """Vectors that stand for clusters which one centroid does not describe.

    Parameters
    ----------
    vectors : float32 array (p, d)
        Unit vectors.
    owner : int32 array (p,)
        Cluster of each.
    radius : float32 array (p,)
        Cosine distance beyond which a window is noise.
    """

    vectors: NDArray[np.float32]
    owner: NDArray[np.int32]
    radius: NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """Fitted clusters.

    Parameters
    ----------
    centroids : float32 array (k, d)
        Unit vectors, the largest cluster first.
    prototypes : Prototypes, optional
        If they, not the centroids, decide.
    fingerprint, model : str
        Of the fit, and of the model that embedded.
    """

    centroids: NDArray[np.float32]
    prototypes: Prototypes | None = None
    fingerprint: str = ""
    model: str = ""

    def of(self, vectors: NDArray[np.floating]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return cluster and cosine distance of vectors (n, d) of any length.

        The distance is that to the nearest centroid, or prototype; :data:`NOISE` is too far from it. A window's
        result depends on no other window.
        """
        if self.prototypes is None:
            return nearest(vectors, self.centroids, are_unit=False)
        found, distance = nearest(vectors, self.prototypes.vectors, are_unit=False)
        cluster = self.prototypes.owner[found]
        cluster[distance > self.prototypes.radius[found]] = NOISE
        return cluster, distance


def save_clusters(path: Path, clusters: Clusters) -> None:
    """Write ``centroids.safetensors``."""
    tensors: dict[str, NDArray[Any]] = {"centroids": clusters.centroids}
    if clusters.prototypes is not None:
        tensors |= {
            "prototypes": clusters.prototypes.vectors,
            "owner": clusters.prototypes.owner,
            "radius": clusters.prototypes.radius,
        }
    told = {"fingerprint": clusters.fingerprint, "model": clusters.model}
    with publishing(path) as partial:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            partial,
            metadata={METADATA_KEY: json.dumps(told)},
        )


def load_clusters(path: Path) -> Clusters:
    """Read ``centroids.safetensors``.

    Raises
    ------
    DawnChorusError
        If it is missing or something else.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            held = json.loads((handle.metadata() or {})[METADATA_KEY])
            names = set(handle.keys())
            prototypes = None
            if "prototypes" in names:
                prototypes = Prototypes(
                    *(
                        np.asarray(handle.get_tensor(name))
                        for name in ("prototypes", "owner", "radius")
                    )
                )
            return Clusters(
                np.asarray(handle.get_tensor("centroids")),
                prototypes,
                held["fingerprint"],
                held["model"],
            )
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus cluster` first") from None
    except (SafetensorError, KeyError, json.JSONDecodeError):
        raise DawnChorusError(
            "holds no centroids", path, "delete it and run `dawnchorus cluster` again"
        ) from None
