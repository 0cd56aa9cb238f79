"""The validated configuration, as frozen objects.

In: YAML files and overrides, or the JSON that a rule hands to its command. Out: :class:`Settings`.
"""

from dawnchorus.config.experiments import (
    Augmentation,
    Dino,
    Experiment,
    Input,
    Patch,
    Pooling,
    Vicreg,
    sides,
)
from dawnchorus.config.reading import load, read_values, validate
from dawnchorus.config.reference import schema
from dawnchorus.config.section import Section
from dawnchorus.config.sections import (
    RESERVED_NAMES,
    Attention,
    Audio,
    BirdNet,
    Clustering,
    Embedding,
    Evaluation,
    Indices,
    Projection,
    Settings,
    Spectrogram,
    TrainingSet,
)

__all__ = [
    "RESERVED_NAMES",
    "Attention",
    "Audio",
    "Augmentation",
    "BirdNet",
    "Clustering",
    "Dino",
    "Embedding",
    "Evaluation",
    "Experiment",
    "Indices",
    "Input",
    "Patch",
    "Pooling",
    "Projection",
    "Section",
    "Settings",
    "Spectrogram",
    "TrainingSet",
    "Vicreg",
    "load",
    "read_values",
    "schema",
    "sides",
    "validate",
]
