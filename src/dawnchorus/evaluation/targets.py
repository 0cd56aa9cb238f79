"""What is read out of the spaces.

In: the bench. Out: the targets of the probes: species and BirdNET's labels (what a space should hold),
recorder, hour, week and month (what it should hold less of: they are of the place and the weather as
much as of the birds). A labelled set has labels alone: its clips have no recorder and no date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation.bench import NOTHING, Bench
from dawnchorus.evaluation.labels import BIRDNET, Labels, probed_confidence


@dataclass(frozen=True)
class Target:
    """Something that is read out of the spaces.

    Attributes
    ----------
    name : str
    values : object array (n,)
        The class of each window, None where it has none.
    of_birds : bool
        Whether it names what sings, and nothing else: few-shot curves and the attentive probe are of
        these.
    """

    name: str
    values: NDArray[np.object_]
    of_birds: bool = False


def targets_of(bench: Bench) -> list[Target]:
    """Return all targets; of BirdNET's labels those of the middle confidence."""
    windows = bench.windows
    middle = probed_confidence(bench.settings.evaluation.confidences)
    targets = []
    for labels in bench.labels:
        if labels.source == BIRDNET:
            if labels.confidence != middle:
                continue
            names = f"birdnet species at {middle}", f"birdnet species or none at {middle}"
        else:
            names = "species", "species or none"
        targets += [Target(names[0], labels.top, of_birds=True), Target(names[1], _filled(labels))]
    if not windows.is_dated:
        return targets
    hour = windows.hour.astype(object)
    hour[windows.hour < 0] = None
    return [
        *targets,
        Target("recorder", windows.recorder),
        Target("hour", hour),
        Target("week", windows.local_dates("%G-W%V")),
        Target("month", windows.local_dates("%Y-%m")),
    ]


def _filled(labels: Labels) -> NDArray[np.object_]:
    """Return the leading labels, with windows known to have none as a class of their own."""
    filled = labels.top.copy()
    filled[labels.known & ~labels.labelled] = NOTHING
    return filled
