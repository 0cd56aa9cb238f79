"""The views of a batch: what a method gets to see of the windows that the feed gives.

In: an experiment's augmentation and its training set. Out: :class:`ViewMaker`, which turns a pass of a
batch into views, with all that they take from other windows: neighbours in time, backgrounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from torch import Tensor

from dawnchorus.config import Experiment
from dawnchorus.learning import augment
from dawnchorus.learning.backgrounds import Backgrounds, gather
from dawnchorus.learning.crops import Crop
from dawnchorus.learning.feed import Batch
from dawnchorus.learning.frozen import Read
from dawnchorus.learning.partners import Neighbours
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.scale import Scale


@dataclass(frozen=True)
class ViewMaker:
    """Turns batches into views.

    Attributes
    ----------
    experiment : Experiment
    crops : tuple of Crop
        The views that the method wants.
    scale : Scale
    ranks : Ranks
    backgrounds : Backgrounds, optional
    partner : Neighbours, optional
        For the feed: it brings each window's neighbour in time along.
    """

    experiment: Experiment
    crops: tuple[Crop, ...]
    scale: Scale
    ranks: Ranks
    backgrounds: Backgrounds | None
    partner: Neighbours | None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        crops: tuple[Crop, ...],
        scale: Scale,
        table: pl.DataFrame,
        read: Read,
        ranks: Ranks,
    ) -> ViewMaker:
        """Prepare what views take from other windows of the training set.

        Parameters
        ----------
        experiment : Experiment
        crops : tuple of Crop
        scale : Scale
        table : DataFrame
            Of the training set.
        read : callable
            Returns its windows by row.
        ranks : Ranks
        """
        settings, seed = experiment.augmentation, experiment.seed
        quiet = gather(table, read, settings, seed, ranks.device)
        near = settings.neighbour_seconds
        partner = Neighbours(table, near, seed) if near > 0 else None
        return cls(experiment, crops, scale, ranks, quiet, partner)

    def views(self, batch: Batch, part: slice) -> list[Tensor]:
        """Make the views of some of this process's windows of a step.

        Parameters
        ----------
        batch : Batch
        part : slice
            Which of its windows.

        Returns
        -------
        list of Tensor of float32, shape (b, channels, crop.mels, crop.frames)
        """
        quiet, beside = self.backgrounds, batch.companions
        return augment.views(
            batch.codes[part],
            self.crops,
            self.experiment.augmentation,
            self.scale,
            (self.experiment.seed, batch.step),
            self.ranks,
            batch=self.experiment.batch_size,
            first=part.start,
            backgrounds=None if quiet is None else quiet.codes,
            choices=None if quiet is None else quiet.choices(batch.rows[part]),
            neighbours=None if beside is None else beside[part],
        )
