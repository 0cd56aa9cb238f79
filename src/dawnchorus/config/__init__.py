"""The validated configuration, as frozen objects.

In: YAML files and overrides, or the JSON that a rule hands to its command. Out: :class:`Settings`.
"""

from dawnchorus.config.experiments import (
    PACE,
    Augmentation,
    Dino,
    Experiment,
    Input,
    Patch,
    Photographic,
    Pooling,
    TrainingResources,
    Vicreg,
    sides,
)
from dawnchorus.config.reading import load, read_values, validate
from dawnchorus.config.recipes import Recipe, as_written, resolve
from dawnchorus.config.reference import schema
from dawnchorus.config.section import Section
from dawnchorus.config.sections import (
    RESERVED_NAMES,
    Attention,
    Audio,
    BirdNet,
    Embedding,
    Evaluation,
    Indices,
    Settings,
    Spectrogram,
    TrainingSet,
)
from dawnchorus.config.space import Clustering, Dask, Drift, Pass, Projection, Sweep

__all__ = [
    "PACE",
    "RESERVED_NAMES",
    "Attention",
    "Audio",
    "Augmentation",
    "BirdNet",
    "Clustering",
    "Dask",
    "Dino",
    "Drift",
    "Embedding",
    "Evaluation",
    "Experiment",
    "Indices",
    "Input",
    "Pass",
    "Patch",
    "Photographic",
    "Pooling",
    "Projection",
    "Recipe",
    "Section",
    "Settings",
    "Spectrogram",
    "Sweep",
    "TrainingResources",
    "TrainingSet",
    "Vicreg",
    "as_written",
    "load",
    "read_values",
    "resolve",
    "schema",
    "sides",
    "validate",
]
