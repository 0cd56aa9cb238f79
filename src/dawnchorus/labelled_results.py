"""Where the output of a labelled data set lies, and what it shares with the season.

In: the season's results and the set's name. Out: paths below ``evaluation/sets/{set}``: inventory, spectrograms,
BirdNET, embeddings and attention as a season's, the tables at the top; models and clusters are the season's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dawnchorus.results import ClusterResults, ExperimentResults, Results


@dataclass(frozen=True)
class LabelledResults(Results):
    """Paths of a labelled set; ``trained`` is the season, whose models it is seen by."""

    trained: Results

    @property
    def evaluation(self) -> Path:
        """Folder of tables: the top."""
        return self.root

    @property
    def sound_receipt(self) -> Path:
        """Receipt of what was made of the set's files: inventory, spectrograms, BirdNET."""
        return self.root / "sound.json"

    @property
    def evaluation_receipt(self) -> Path:
        """Receipt of the tables."""
        return self.root / "evaluation.json"

    def experiment(self, name: str) -> ExperimentOnSet:
        """Paths of one experiment on this set."""
        return ExperimentOnSet(self.root / name, self.trained.experiment(name))


def labelled_results(season: Results, name: str) -> LabelledResults:
    """Return the paths of a labelled set."""
    return LabelledResults(season.evaluation / "sets" / name, season)


@dataclass(frozen=True)
class ExperimentOnSet(ExperimentResults):
    """Paths of one experiment on a labelled set; ``trained`` is it in the season."""

    trained: ExperimentResults

    @property
    def model(self) -> Path:
        """The model, trained on the season."""
        return self.trained.model

    def clustering(self, named: str | None = None) -> ClusterResults:
        """Paths of the season's clusters and of their assignment to the set's windows."""
        of_season = self.trained.clustering(named)
        return ClustersOnSet(super().clustering(named).root, of_season)


@dataclass(frozen=True)
class ClustersOnSet(ClusterResults):
    """Paths of the season's clusters on a labelled set; ``fitted`` are those."""

    fitted: ClusterResults

    @property
    def centroids(self) -> Path:
        """Cluster centres, fitted on the season."""
        return self.fitted.centroids

    @property
    def members(self) -> Path:
        """The season's windows that they were fitted on."""
        return self.fitted.members

    @property
    def receipt(self) -> Path:
        """Receipt of the fit."""
        return self.fitted.receipt
