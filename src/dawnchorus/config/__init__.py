"""The validated configuration, as frozen objects.

In: YAML files and overrides, or the JSON that a rule hands to its command. Out: :class:`Settings`.
"""

from dawnchorus.config.encoders import CHOSEN_LATER, PREPARED, Pca, Pooling, Tokens, Weights
from dawnchorus.config.evaluation import Evaluation, Grouping
from dawnchorus.config.experiments import (
    PACE,
    Augmentation,
    Dino,
    Experiment,
    Input,
    Patch,
    Photographic,
    TrainingResources,
    Vicreg,
    sides,
)
from dawnchorus.config.labelled import LabelColumns, LabelFormat, LabelledSet
from dawnchorus.config.publication import Contributor, Publication
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
    Indices,
    MapSource,
    Merge,
    Settings,
    Spectrogram,
    TrainingSet,
)
from dawnchorus.config.space import Clustering, Dask, Drift, Pass, Projection, Sweep

__all__ = [
    "CHOSEN_LATER",
    "PACE",
    "PREPARED",
    "RESERVED_NAMES",
    "Attention",
    "Audio",
    "Augmentation",
    "BirdNet",
    "Clustering",
    "Contributor",
    "Dask",
    "Dino",
    "Drift",
    "Embedding",
    "Evaluation",
    "Experiment",
    "Grouping",
    "Indices",
    "Input",
    "LabelColumns",
    "LabelFormat",
    "LabelledSet",
    "MapSource",
    "Merge",
    "Pass",
    "Patch",
    "Pca",
    "Photographic",
    "Pooling",
    "Projection",
    "Publication",
    "Recipe",
    "Section",
    "Settings",
    "Spectrogram",
    "Sweep",
    "Tokens",
    "TrainingResources",
    "TrainingSet",
    "Vicreg",
    "Weights",
    "as_written",
    "load",
    "read_values",
    "resolve",
    "schema",
    "sides",
    "validate",
]
