"""The spaces that are compared: the experiments' and their baselines, on the same windows.

In: the drawn windows. Out: one :class:`Space` each, a vector per window:

- every experiment's embeddings;
- ``log-mel``: mean and deviation over time of each mel band, in decibels;
- ``log-mel, floor subtracted``: the same with each window's median per mel band subtracted, so that
  the contrast stays and the level goes;
- ``pca of log-mel``: 64 principal components of the log-mel image (fitted on a seeded part of the
  windows, without labels);
- ``untrained``: the experiment's own network with random weights;
- ``birdnet``: BirdNET's embedding, a supervised ceiling.

Memory holds the vectors of the drawn windows, and of the images a block and the part PCA is fitted
on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.evaluation.labels import BirdNetLink
from dawnchorus.evaluation.windows import Windows
from dawnchorus.learning.images import fitted_pca, statistics
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import counting, tracked
from dawnchorus.results import Results
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import VectorStore

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

    from dawnchorus.learning.backbone import ModelMetadata
    from dawnchorus.learning.networks import Backbone
    from dawnchorus.learning.prepared import PreparedMetadata

BLOCK = 256
"""Windows whose images are in memory at once (32 MB as float32 at 128 x 256)."""
COMPONENTS = 64
PCA_WINDOWS = 2048
"""Windows that PCA is fitted on at most (268 MB as float32 at 128 x 256)."""
PCA_NAME = "pca of log-mel"
EXPERIMENT, BASELINE, SUPERVISED = "experiment", "baseline", "supervised"


@dataclass(frozen=True)
class Space:
    """One output space on the drawn windows.

    Attributes
    ----------
    name : str
    kind : str
        ``experiment``, ``baseline`` or ``supervised``.
    vectors : float32 array (m, d)
        One row per True of ``held``.
    held : bool array (n,)
        Windows that have a vector here.
    note : str
    scale_each : bool
        Whether probes scale each feature to deviation 1.
    network : callable or None
        Builds the network that the vectors stem from, where it has patch tokens.
    no_tokens : str
        Why there is none.
    """

    name: str
    kind: str
    vectors: NDArray[np.float32]
    held: NDArray[np.bool_]
    note: str = ""
    scale_each: bool = True
    network: Callable[[], tuple[Backbone, ModelMetadata]] | None = None
    no_tokens: str = "its vectors come from no network with patch tokens"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])


def experiment_space(results: Results, name: str, windows: Windows) -> Space:
    """Read an experiment's embeddings of the windows."""
    from dawnchorus.learning.backbone import load_model, read_metadata

    parts = []
    for day, positions in windows.by_day():
        store = VectorStore.open(results.experiment(name).embeddings(day))
        rows = store.find(windows.recording[positions].tolist(), windows.offset[positions])
        parts.append(store.take(rows))
    model = results.experiment(name).model
    lacking = lacks_tokens(read_metadata(model))
    return Space(
        name,
        EXPERIMENT,
        np.concatenate(parts),
        np.ones(len(windows), dtype=bool),
        network=None if lacking else lambda: load_model(model),
        no_tokens=lacking,
    )


def lacks_tokens(metadata: ModelMetadata | PreparedMetadata) -> str:
    """Say why a model has no tokens of patches; empty if it has."""
    from dawnchorus.learning.backbone import ModelMetadata

    if isinstance(metadata, ModelMetadata):
        return "" if metadata.heads else f"{metadata.backbone} has no patch tokens"
    return f"{metadata.title} has no patch tokens"


def birdnet_space(results: Results, windows: Windows, link: BirdNetLink) -> Space | None:
    """Read BirdNET's embedding of the BirdNET window that shares most with each window.

    None if BirdNET's embeddings were not kept. The first of windows that share equally much.
    """
    nearest = (
        link.pairs.sort(["window", "shared_s", "offset"], descending=[False, True, False])
        .unique("window", keep="first", maintain_order=True)
        .sort("window")
    )
    vectors, held = [], np.zeros(len(windows), dtype=bool)
    for day, positions in windows.by_day():
        path = results.birdnet_embeddings(day)
        if not path.exists():
            continue
        wanted = nearest.filter(pl.col("window").is_between(int(positions[0]), int(positions[-1])))
        store = VectorStore.open(path)
        rows = store.find(wanted["recording"].to_list(), wanted["offset"].to_numpy())
        held[wanted["window"].to_numpy()[rows >= 0]] = True
        vectors.append(store.take(rows[rows >= 0]))
    if not held.any():
        return None
    without = int((~held).sum())
    note = f"{without} windows have no BirdNET embedding" if without else ""
    return Space("birdnet", SUPERVISED, np.concatenate(vectors), held, note)


def images(
    results: Results, windows: Windows, positions: NDArray[np.int64] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], SpectrogramStore]]:
    """Yield (positions, codes (m, mels, frames), store) in blocks, over all or some windows."""
    wanted = np.zeros(len(windows), dtype=bool)
    wanted[slice(None) if positions is None else positions] = True
    for day, all_of_day in windows.by_day():
        of_day = all_of_day[wanted[all_of_day]]
        if not len(of_day):
            continue
        store = SpectrogramStore.open(results.spectrograms(day))
        for start in range(0, len(of_day), BLOCK):
            part = of_day[start : start + BLOCK]
            yield part, store.take(windows.row[part]), store


def image_spaces(settings: Settings, results: Results, windows: Windows) -> list[Space]:
    """Compute the baselines that need no network: log-mel statistics twice, and PCA."""
    from dawnchorus.clustering.sphere import one_core

    count = len(windows)
    vectors: dict[str, NDArray[np.float32]] = {}

    def put(name: str, positions: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        if name not in vectors:
            vectors[name] = np.empty((count, rows.shape[1]), dtype=np.float32)
        vectors[name][positions] = rows

    blocks = sum(-(-len(positions) // BLOCK) for _, positions in windows.by_day())
    with one_core():
        pca = _fitted_pca(settings, results, windows)
        for positions, codes, store in tracked(
            images(results, windows), "log-mel baselines", blocks, "blocks of windows"
        ):
            decibels = store.db(codes)
            as_is, subtracted = statistics(decibels)
            put("log-mel", positions, as_is)
            put("log-mel, floor subtracted", positions, subtracted)
            if pca is not None:
                flat = decibels.reshape(len(decibels), -1)
                put(PCA_NAME, positions, pca.transform(flat).astype(np.float32))
    everywhere = np.ones(count, dtype=bool)
    if PCA_NAME in vectors:
        # One scale for all components, so that the probes' penalty means the same as elsewhere.
        size = float(np.sqrt(np.mean(np.square(vectors[PCA_NAME], dtype=np.float64))))
        vectors[PCA_NAME] /= np.float32(size or 1.0)
    return [
        Space(name, BASELINE, rows, everywhere, scale_each=name != PCA_NAME)
        for name, rows in vectors.items()
    ]


def _fitted_pca(settings: Settings, results: Results, windows: Windows) -> PCA | None:
    """Fit PCA on a seeded part of the windows; None if there are fewer than two."""
    count = len(windows)
    if count < 2:
        return None
    generator = np.random.default_rng(settings.evaluation.seed)
    some = np.sort(generator.choice(count, min(count, PCA_WINDOWS), replace=False))
    flat = np.empty(
        (len(some), settings.spectrogram.mels * settings.spectrogram.frames), dtype=np.float32
    )
    at = 0
    for positions, codes, store in images(results, windows, some):
        flat[at : at + len(positions)] = store.db(codes).reshape(len(positions), -1)
        at += len(positions)
    return fitted_pca(flat, COMPONENTS, settings.evaluation.seed)


def untrained_spaces(
    settings: Settings,
    results: Results,
    windows: Windows,
    experiments: Sequence[str],
    *,
    device: str = "auto",
    workers: int = 1,
) -> list[Space]:
    """Embed the windows with the experiments' networks with random weights; equal ones once.

    Of experiments that are not trained there are none.

    The normalisation is the trained network's: only what was learned is missing. Where the trained
    network's embeddings are whitened, these are too, by the windows at hand.
    """
    import torch

    from dawnchorus.embedding.encoder import Network, device_named, encoded
    from dawnchorus.learning.backbone import ModelMetadata, read_metadata, untrained
    from dawnchorus.learning.whitening import Whitening

    spaces: dict[str, Space] = {}
    seed = settings.evaluation.seed
    for experiment in experiments:
        metadata = read_metadata(results.experiment(experiment).model)
        random = settings.experiment(experiment).method == "untrained"
        if random or not isinstance(metadata, ModelMetadata):
            continue  # nothing of it was learned here
        name = f"untrained {metadata.title}"
        if name in spaces:
            continue
        network = Network(
            untrained(metadata, seed),
            metadata,
            batch_size=min(settings.embedding.batch_size, BLOCK),
            device=device_named(device),
        )

        def codes(start: int, stop: int) -> NDArray[np.uint8]:
            wanted = np.arange(start, min(stop, len(windows)))
            return np.concatenate([block for _, block, _ in images(results, windows, wanted)])

        rows = np.empty((len(windows), network.dimension), dtype=np.float32)
        done = 0
        with counting(name, len(windows), "windows") as advance:
            for part in encoded(network, codes, len(windows), workers):
                rows[done : done + len(part)] = part
                done += len(part)
                advance(len(part))
        if metadata.whitening is not None:
            found = torch.from_numpy(rows)
            rows = Whitening.fit([found], metadata.whitening)(found).numpy()
        spaces[name] = Space(
            name,
            BASELINE,
            rows,
            np.ones(len(windows), dtype=bool),
            network=None if lacks_tokens(metadata) else partial(_as_drawn, metadata, seed),
            no_tokens=lacks_tokens(metadata),
        )
    return list(spaces.values())


def _as_drawn(metadata: ModelMetadata, seed: int) -> tuple[Backbone, ModelMetadata]:
    from dawnchorus.learning.backbone import untrained

    return untrained(metadata, seed), metadata


def directions(space: Space) -> NDArray[np.float32]:
    """Return a space's vectors as unit vectors: what clusters are found among.

    Log-mel statistics are standardised first: they are decibels far from zero, and their direction
    would be much the same for every window.
    """
    from dawnchorus.clustering.sphere import unit

    vectors = space.vectors
    if space.name.startswith("log-mel"):
        deviation = vectors.std(axis=0)
        deviation[deviation == 0] = 1.0
        vectors = (vectors - vectors.mean(axis=0)) / deviation
    return unit(vectors)


def clustered(space: Space, k: int, *, seed: int, restarts: int) -> tuple[NDArray[np.int64], str]:
    """Cluster a space's :func:`directions` as the experiments' are: spherical k-means.

    Returns
    -------
    clusters : int64 array (m,)
    note : str
        Says if there are fewer clusters than asked for.
    """
    from dawnchorus.clustering.kmeans import spherical_kmeans
    from dawnchorus.clustering.sphere import nearest, one_core

    vectors = directions(space)
    different = len(np.unique(vectors, axis=0))
    fitted = min(k, different)
    note = f"{fitted} clusters: there are no more different windows" if fitted < k else ""
    if fitted < 2:
        return np.zeros(len(vectors), dtype=np.int64), note
    centres = spherical_kmeans(vectors, fitted, seed=seed, restarts=restarts)
    with one_core():
        index, _ = nearest(vectors, centres)
    return index.astype(np.int64), note


NOT_ASSIGNED = -2


def assigned(results: Results, name: str, windows: Windows) -> NDArray[np.int64]:
    """Return each window's cluster as the season's centroids have it.

    -1 is noise (in no cluster), :data:`NOT_ASSIGNED` where the recorder-day has no assignment.
    """
    cluster = np.full(len(windows), NOT_ASSIGNED, dtype=np.int64)
    for day, positions in windows.by_day():
        path = results.experiment(name).assignment(day)
        if not path.exists():
            continue
        table = read_parquet(path, columns=["recording", "offset", "cluster"])
        here = pl.DataFrame(
            {
                "position": positions,
                "recording": windows.recording[positions].tolist(),
                "offset": windows.offset[positions],
            }
        ).join(table, on=["recording", "offset"], how="inner")
        cluster[here["position"].to_numpy()] = here["cluster"].to_numpy()
    return cluster
