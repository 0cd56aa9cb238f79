"""Preparing an experiment that is not trained: a random network, log-mel statistics, PCA, BirdNET, a
network of the user's own.

In: the frozen training set and the experiment's settings. Out: ``{experiment}/model.safetensors``, as
a training leaves it, so that every step after it runs on these spaces too; and an empty
``log.jsonl``, for there is no history. Takes seconds to a minute and no GPU. What is fitted is fitted
on the training set: on all of it up to 20,000 windows, else on a fixed sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.birdnet.model import EMBEDDING_DIMENSION, LICENCE
from dawnchorus.config import CHOSEN_LATER, PACE, Experiment, Input, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import backbone, images, own_weights, training_set
from dawnchorus.learning.frozen import FrozenSet
from dawnchorus.learning.pooling import pooled
from dawnchorus.learning.prepared import PreparedMetadata, save_prepared
from dawnchorus.learning.scale import Scale, counted, of_counts, sample_rows
from dawnchorus.progress import counting
from dawnchorus.results import ExperimentResults, Results, publishing

READ_WINDOWS = 1024


def prepare(settings: Settings, results: Results, experiment: str) -> dict[str, Any]:
    """Make an experiment's model file.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Its name in ``settings.experiments``; its method is one of :data:`dawnchorus.config.PREPARED`.

    Returns
    -------
    dict
        ``experiment``, ``method``, ``windows`` of the training set, ``dimension``.

    Raises
    ------
    DawnChorusError
        If the training set is missing, or the settings do not fit it or the weights.
    """
    wanted, paths = settings.experiment(experiment), results.experiment(experiment)
    frozen = training_set.open_frozen(results)
    if frozen.table.height < 2:
        raise DawnChorusError(
            f"holds {frozen.table.height} windows", results.training_windows, "draw more"
        )
    paths.root.mkdir(parents=True, exist_ok=True)
    dimension = MAKERS[wanted.method](wanted, frozen, paths)
    with publishing(paths.log) as partial:
        partial.touch()
    return {
        "experiment": experiment,
        "method": wanted.method,
        "windows": frozen.table.height,
        "dimension": dimension,
    }


def _said(wanted: Experiment) -> dict[str, Any]:
    """The settings that the model file is made of, without those that are the defaults."""
    keys = type(wanted).model_fields.keys() - PACE - CHOSEN_LATER
    return wanted.model_dump(mode="json", include=set(keys), exclude_defaults=True)


def _metadata(wanted: Experiment, frozen: FrozenSet, **own: Any) -> PreparedMetadata:
    shape = next(_codes(frozen, np.arange(1))).shape
    return PreparedMetadata(
        method=wanted.method,
        mels=shape[1],
        frames=shape[2],
        db_min=frozen.db_min,
        db_step=frozen.db_step,
        spectrograms=frozen.appearance,
        training_set=frozen.fingerprint,
        experiment=_said(wanted),
        version=__version__,
        **own,
    )


def _codes(frozen: FrozenSet, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    with counting("reading windows", len(rows), "windows") as done:
        for first in range(0, len(rows), READ_WINDOWS):
            part = rows[first : first + READ_WINDOWS]
            yield frozen.read(part)
            done(len(part))


def _scale(frozen: FrozenSet, seen: Input) -> Scale:
    """Mean and deviation of the training set, as a training measures them."""
    rows = sample_rows(frozen.table.height)
    count = np.zeros((), dtype=np.int64)
    for codes in _codes(frozen, rows):
        count = count + counted(codes, seen)
    return of_counts(count, frozen.db_min, frozen.db_step, seen)


def _untrained(wanted: Experiment, frozen: FrozenSet, paths: ExperimentResults) -> int:
    scale = _scale(frozen, wanted.input)
    shape = next(_codes(frozen, np.arange(1))).shape
    metadata = backbone.ModelMetadata(
        backbone=wanted.backbone,
        patch=wanted.patch,
        mels=shape[1],
        frames=shape[2],
        pooling=wanted.pooling,
        mean=scale.mean,
        std=scale.std,
        db_min=scale.db_min,
        db_step=scale.db_step,
        input=scale.input,
        spectrograms=frozen.appearance,
        training_set=frozen.fingerprint,
        experiment=_said(wanted),
        version=__version__,
    )
    dimension = metadata.dimension
    network = backbone.untrained(metadata, wanted.seed)
    backbone.save_model(paths.model, network.state_dict(), metadata)
    return dimension


def _statistics(wanted: Experiment, frozen: FrozenSet, paths: ExperimentResults) -> int:
    """Keep mean and deviation of each statistic: they are decibels far from zero, and their direction
    would be much the same for every window."""
    found = []
    for codes in _codes(frozen, sample_rows(frozen.table.height)):
        decibels = codes * np.float32(frozen.db_step) + np.float32(frozen.db_min)
        found.append(images.statistics(decibels)[wanted.input == "contrast"])
    rows = np.concatenate(found).astype(np.float64)
    deviation = rows.std(axis=0)
    deviation[deviation == 0] = 1.0
    arrays = {
        "mean": rows.mean(axis=0).astype(np.float32),
        "deviation": deviation.astype(np.float32),
    }
    metadata = _metadata(
        wanted, frozen, dimension=rows.shape[1], parameters={"input": wanted.input}
    )
    save_prepared(paths.model, arrays, metadata)
    return metadata.dimension


def _pca(wanted: Experiment, frozen: FrozenSet, paths: ExperimentResults) -> int:
    """Keep the components over one number, so that scores have a mean square of 1."""
    count = frozen.table.height
    generator = np.random.default_rng(wanted.seed)
    some = np.sort(generator.choice(count, min(count, wanted.pca.windows), replace=False))
    scale = Scale(frozen.db_min, frozen.db_step, 0.0, 1.0, wanted.input)
    flat = np.concatenate(
        [
            scale.decibels(torch.from_numpy(codes)).flatten(1).numpy()
            for codes in _codes(frozen, some)
        ]
    )
    pca = images.fitted_pca(flat, wanted.pca.components, wanted.seed)
    size = float(np.sqrt(pca.explained_variance_.mean())) or 1.0
    arrays = {
        "mean": pca.mean_.astype(np.float32),
        "components": (pca.components_ / size).astype(np.float32),
    }
    metadata = _metadata(
        wanted,
        frozen,
        dimension=len(pca.components_),
        parameters={
            "input": wanted.input,
            "windows": len(some),
            "explained": [round(float(share), 6) for share in pca.explained_variance_ratio_],
        },
    )
    save_prepared(paths.model, arrays, metadata)
    return metadata.dimension


def _birdnet(wanted: Experiment, frozen: FrozenSet, paths: ExperimentResults) -> int:
    """Nothing to fit: each recorder-day's vectors are in the store that the step birdnet keeps."""
    metadata = _metadata(
        wanted, frozen, dimension=EMBEDDING_DIMENSION, parameters={"licence": LICENCE}
    )
    save_prepared(paths.model, {}, metadata)
    return metadata.dimension


def _own_weights(wanted: Experiment, frozen: FrozenSet, paths: ExperimentResults) -> int:
    """Copy the weights: the model file is whole in itself, whatever becomes of the user's."""
    given = wanted.weights
    metadata = _metadata(wanted, frozen, dimension=1)
    size = given.size or (metadata.mels, metadata.frames)
    module = own_weights.build(given.network, given.channels, size)
    if given.file is None:
        raise DawnChorusError("is not given", own_weights.FILE_KEY, "name the safetensors file")
    state = own_weights.read_weights(module, given.file)
    module.load_state_dict(state)
    if given.mean is None or given.std is None:
        scale = _scale(frozen, "level")
        mean, std = np.ravel(scale.mean), np.ravel(scale.std)
    else:
        mean, std = np.array(given.mean), np.array(given.std)
    low, high = given.decibels or (0.0, 1.0)
    parameters = {
        "network": given.network,
        "channels": given.channels,
        "size": list(size),
        "per_code": frozen.db_step / (high - low),
        "at_zero": (frozen.db_min - low) / (high - low),
        "mean": np.broadcast_to(mean, given.channels).tolist(),
        "std": np.broadcast_to(std, given.channels).tolist(),
        "pooling": wanted.pooling,
    }
    # Run once, to know the dimension, and to say now what would go wrong then.
    codes = torch.from_numpy(frozen.read(np.arange(1)))
    try:
        with torch.inference_mode():
            summary, grid = own_weights.token_grid(module, own_weights.seen(codes, parameters))
            found = pooled(summary, grid, wanted.pooling)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise DawnChorusError(
            f"timm's {given.network} does not take windows of {size[0]} x {size[1]}: "
            f"{str(error).splitlines()[0]}",
            own_weights.NETWORK_KEY,
            "set weights.size to what it was trained on",
        ) from None
    metadata = replace(metadata, dimension=int(found.shape[1]), parameters=parameters)
    save_prepared(paths.model, {name: value.numpy() for name, value in state.items()}, metadata)
    return metadata.dimension


MAKERS: dict[str, Callable[[Experiment, FrozenSet, ExperimentResults], int]] = {
    "untrained": _untrained,
    "statistics": _statistics,
    "pca": _pca,
    "birdnet": _birdnet,
    "weights": _own_weights,
}
"""By method; each writes the model file and returns the dimension of its vectors."""
