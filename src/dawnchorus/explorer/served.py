"""What the explorer's application serves: one object that all routes are given.

In: the output space, the labels, the cards. Out: :class:`Explorer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.explorer.clips import Spectrograms
from dawnchorus.explorer.gaze import Gaze
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.space import OutputSpace
from dawnchorus.results import Results

Export = Callable[[Path, str], object]
"""Writes the labels into a folder (first) in a format (second)."""


@dataclass(frozen=True)
class Explorer:
    """What the application serves.

    Attributes
    ----------
    cards : Path
        Root of the recorder cards, or of a copy.
    band_frequency, frame_time : list of float
        Axes of all spectrograms: centres of the bands in hertz, middles of the frames in seconds.
    annotator : str
        Who labels, where the page does not say.
    export : callable or None
        Writes the labels into a folder in a format; the rooms above know how.
    gaze : Gaze or None
        Looks at windows with the experiment's network; None: there is no config to say how.
    """

    results: Results
    cards: Path
    space: OutputSpace
    book: LabelBook
    spectrograms: Spectrograms
    band_frequency: list[float]
    frame_time: list[float]
    annotator: str
    export: Export | None = None
    gaze: Gaze | None = None
