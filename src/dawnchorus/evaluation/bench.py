"""What is measured together: the windows, their labels, the spaces, and the tables that fill.

In: settings, results, drawn windows and labels. Out: one :class:`Bench` that the tables' modules
(:mod:`~dawnchorus.evaluation.agreement_table` and its siblings) take and fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.evaluation.labels import Labels
from dawnchorus.evaluation.spaces import Space
from dawnchorus.evaluation.tables import Row
from dawnchorus.evaluation.windows import Windows
from dawnchorus.results import Results

NOTHING = "none"
"""Label of a window without any, where that is a class."""


@dataclass
class Bench:
    """Everything that is measured, and the tables that fill.

    ``workers`` do things at the same time; ``device`` is where networks run.
    """

    settings: Settings
    results: Results
    windows: Windows
    labels: list[Labels]
    spaces: list[Space]
    tables: dict[str, list[Row]]
    workers: int
    device: str = "auto"

    @property
    def group(self) -> NDArray[np.object_]:
        """Group of each window, as the config has it."""
        return self.windows.group(self.settings.evaluation.group)
