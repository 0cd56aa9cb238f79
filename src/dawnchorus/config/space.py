"""What may stand in the configuration about the output space: clusters, their passes and sweep, map, drift.

As :mod:`dawnchorus.config.sections`, whose sections of the whole these are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dawnchorus.config.section import Positive, Section, Share

Clusters = Annotated[int, Field(ge=2)]


class Clustering(Section):
    """Clusters of the output space, in its full dimension (docs/clustering.md)."""

    method: Literal["kmeans", "minibatch", "hdbscan"] = "kmeans"
    """`kmeans`: spherical k-means on a sample; `minibatch`: scikit-learn's MiniBatchKMeans once over every window
    of the training set's recorder-days; `hdbscan`: dense regions of a reduced space, the rest is noise (-1)."""
    k: Clusters = 100
    """Clusters; HDBSCAN finds their number itself."""
    fit_windows: Annotated[int, Field(ge=2)] | Literal["all"] = 50_000
    """Windows drawn for the fit; `all` fits every window of the training set's recorder-days, in passes
    over the stores that begin where a fit of 50,000 windows ends."""
    seed: Annotated[int, Field(ge=0)] = 0
    restarts: Positive = 5
    """k-means++ starts; the best inertia is kept."""
    stability: Annotated[int, Field(ge=0, le=20)] = 3
    """Fits with other seeds, on at most 10,000 of the windows drawn, that tell how far the clusters depend on the
    seed: their adjusted Rand index, pair by pair. 0: none."""
    batch: Annotated[int, Field(ge=16)] = 4096
    """`minibatch`: windows per step."""
    reduction: Literal["umap", "pca"] = "umap"
    """`hdbscan`: how the space is reduced before dense regions are looked for."""
    reduced_dimension: Annotated[int, Field(ge=2, le=100)] = 10
    """`hdbscan`: dimensions of the reduced space."""
    min_cluster_size: Annotated[int, Field(ge=2)] = 50
    """`hdbscan`: fewer windows of the sample are no cluster."""
    min_samples: Positive | None = None
    """`hdbscan`: neighbours that make a window dense; `min_cluster_size` if not said. More: more noise."""
    prototypes: Positive = 8
    """`hdbscan`: most prototypes that stand for a cluster in the full dimension, where it need not be round."""
    noise_quantile: Annotated[float, Field(gt=0, le=1)] | None = None
    """`hdbscan`: a window is noise beyond the distance from its prototype within which so large a share of the
    prototype's own windows lies; if not said, what agrees best with HDBSCAN on the sample."""

    @model_validator(mode="after")
    def _sampled(self) -> Clustering:
        if self.method == "hdbscan" and self.fit_windows == "all":
            raise ValueError("fit_windows: hdbscan is fitted on a sample; give a number")
        return self


class Pass(Section):
    """Clusters of what an exclusion leaves over: results beside the first (docs/clustering.md)."""

    exclude: tuple[Annotated[int, Field(ge=-1)], ...] = ()
    """Clusters of the first fit whose windows are left out; -1 is noise."""
    detected_below: Share | None = None
    """Leave out, too, clusters in which BirdNET found a species in a smaller share of the windows of the
    training set's recorder-days."""
    activity_below: float | None = None
    """Leave out, too, clusters whose mean activity is below so many decibels there: silence."""
    k: Clusters | None = None
    """Clusters; as many as `clustering.k`, if not said. All else is as in `clustering`."""

    @model_validator(mode="after")
    def _excludes(self) -> Pass:
        if not self.exclude and self.detected_below is None and self.activity_below is None:
            raise ValueError("leaves nothing out: give exclude, detected_below or activity_below")
        return self


class Sweep(Section):
    """Fits for several numbers of clusters and seeds, to choose `clustering.k` by."""

    enabled: bool = False
    """Have the workflow do it, once per experiment. `dawnchorus sweep` does it at any time."""
    k: tuple[Clusters, ...] = (10, 20, 50, 100, 200)
    """Numbers of clusters."""
    seeds: Annotated[int, Field(ge=2, le=50)] = 5
    """Fits per number, with the seeds from `clustering.seed` on."""
    windows: Annotated[int, Field(ge=10)] = 20_000
    """Windows drawn for them."""
    silhouette_windows: Annotated[int, Field(ge=10)] = 2_000
    """Of these, for the silhouette, which compares each with each."""


class Drift(Section):
    """When a recorder-day counts as fitting badly into the clusters."""

    quantile: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    """A window lies beyond its cluster if it is farther from the centroid than so large a share of the cluster's
    windows in the fit."""
    factor: Annotated[float, Field(ge=1)] = 3.0
    """A recorder-day is flagged if surely (by the lower end of a 95 % interval) more than so many times the
    expected share of its windows lie beyond, and more than on nearly all recorder-days of the fit."""


class Dask(Section):
    """Who does the passes over all embeddings: clustering, assignment, statistics of a whole season at once."""

    scheduler: str = "local"
    """`local` (threads of the job), `slurm` or `pbs` (workers are submitted by dask-jobqueue), or the address
    of a Dask scheduler that runs already (`tcp://login1:8786`)."""
    workers: Positive | None = None
    """Jobs to submit for `slurm` and `pbs`; 1, if not said."""
    job: dict[str, str | int] = Field(default_factory=dict)
    """For `slurm` and `pbs`: options of dask-jobqueue's cluster (queue, account, cores, memory, walltime)."""

    @field_validator("scheduler")
    @classmethod
    def _known(cls, scheduler: str) -> str:
        if scheduler not in ("local", "slurm", "pbs") and "://" not in scheduler:
            raise ValueError("take local, slurm, pbs or an address like tcp://host:8786")
        return scheduler


class Projection(Section):
    """The 2-D map. Distances in it are not the space's."""

    method: Literal["umap", "tsne", "pca"] = "umap"
    fit_windows: Annotated[int, Field(ge=10)] = 50_000
    neighbours: Annotated[int, Field(ge=2)] = 15
    """Of a window, that lay out the map (UMAP) and that place further windows in it (UMAP, t-SNE)."""
    min_distance: Annotated[float, Field(ge=0, le=1)] = 0.3
    """UMAP: how near windows may lie in the map. More fills the picture, less draws groups together."""
    perplexity: Annotated[float, Field(ge=2)] = 30.0
    """t-SNE: about how many neighbours a window has; fewer, if the sample is small."""
    seed: Annotated[int, Field(ge=0)] = 0
