"""The plan of a training: all that decides its course, checked before anything heavy starts.

In: the settings and the frozen training set. Out: :class:`Plan`, or one line that says what does not
go together.
"""

from __future__ import annotations

from dataclasses import dataclass

from dawnchorus.config import CHOSEN_LATER, PACE, PREPARED, Experiment, Recipe, Settings, resolve
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import backbone, training_set
from dawnchorus.learning.acceleration import passes
from dawnchorus.learning.crops import crops_of
from dawnchorus.learning.frozen import FrozenSet
from dawnchorus.learning.methods import METHODS
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.learning.schedules import Clock
from dawnchorus.results import Results, fingerprint

NOT_LEARNED = {*PACE, *CHOSEN_LATER, *PREPARED, "recipe"}
"""Keys of an experiment that change nothing of what a training makes."""


@dataclass(frozen=True)
class Plan:
    """All that decides the course of a training, checked before anything heavy starts."""

    name: str
    recipe: Recipe
    frozen: FrozenSet
    mels: int
    frames: int
    window_seconds: float
    sampler: EpochSampler
    clock: Clock

    @property
    def experiment(self) -> Experiment:
        """The settings, none of them open."""
        return self.recipe.experiment

    @property
    def lineage(self) -> str:
        """Fingerprint of all that decides the course of the training."""
        decisive = self.experiment.model_dump(mode="json", exclude=NOT_LEARNED)
        return fingerprint([decisive, self.frozen.fingerprint, self.mels, self.frames])[:16]


def plan(settings: Settings, results: Results, experiment: str, processes: int = 1) -> Plan:
    """Check an experiment against the training set there is.

    Raises
    ------
    DawnChorusError
        If the training set is missing or smaller than a batch, the network does not take the
        windows or has no such pooling, a crop does not divide into patches, or the batch does not
        divide among the processes and passes.
    """
    written, shape = settings.experiment(experiment), settings.spectrogram
    key = f"experiments.{experiment}.batch_size"
    frozen = training_set.open_frozen(results)
    windows = frozen.table.height
    recipe = resolve(written, windows + frozen.lost)
    wanted = recipe.experiment
    dimension(wanted, shape.mels, shape.frames)
    crops_of(wanted.augmentation, shape.mels, shape.frames, wanted.patch)
    if wanted.batch_size % processes:
        raise DawnChorusError(
            f"{wanted.batch_size} windows do not divide among {processes} processes",
            key,
            f"take a multiple of {processes}",
        )
    least, share = METHODS[wanted.method].least_windows, wanted.batch_size // processes
    if share < least:
        raise DawnChorusError(
            f"{wanted.method} needs {least} windows per process at least, and {processes} processes "
            f"share {wanted.batch_size}",
            key,
            f"take at least {least * processes}",
        )
    if min(part.stop - part.start for part in passes(share, wanted.micro_batch)) < least:
        raise DawnChorusError(
            f"{wanted.method} needs {least} windows per pass at least, and {share} in passes of "
            f"{wanted.micro_batch} at most leave fewer",
            f"experiments.{experiment}.micro_batch",
            f"take at least {2 * least - 1}",
        )
    if windows < wanted.batch_size:
        raise DawnChorusError(
            f"{wanted.batch_size} windows are more than the {windows} of the training set",
            key,
            f"take at most {windows}, or draw more (training_set.windows)",
        )
    sampler = EpochSampler(windows, wanted.batch_size, wanted.seed, wanted.shuffle_windows)
    clock = Clock.of(windows, wanted.batch_size, wanted.epochs)
    seconds = shape.window_seconds
    return Plan(experiment, recipe, frozen, shape.mels, shape.frames, seconds, sampler, clock)


def dimension(experiment: Experiment, mels: int, frames: int) -> int:
    """Length of an embedding; raises what is wrong with backbone, patch or pooling."""
    seen = backbone.outline(experiment.backbone, experiment.patch, mels, frames)
    return backbone.dimension(seen, experiment.pooling)
