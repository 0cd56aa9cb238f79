"""What the network looks at in a window, when somebody asks.

In: the config, an experiment's model, the window's spectrogram. Out: the attention of each head and the map of
each source over the grid. The model is loaded at the first question; the last answers are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.results import RecorderDay, Results

if TYPE_CHECKING:  # torch takes a second to import: the page must not wait for it
    from dawnchorus.attention.looking import Looker

KEPT = 256
"""Answers kept: some 10 MB."""


class Gaze:
    """Looks at windows with the network of one experiment; safe to use from several threads.

    Parameters
    ----------
    settings : Settings
        Uses ``attention`` and the experiment's own section.
    results : Results
    experiment : str
    """

    def __init__(self, settings: Settings, results: Results, experiment: str) -> None:
        self._settings, self._results, self._experiment = settings, results, experiment
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    @cached_property
    def _looker(self) -> Looker:
        from dawnchorus.attention.one_window import looker_of

        return looker_of(self._settings, self._results, self._experiment, "cpu")

    def at(self, day: RecorderDay, recording: str, offset: int) -> dict[str, Any]:
        """Return the maps of a window.

        Returns
        -------
        dict
            ``maps``: what there is to see, name and values (rows of the grid, the lowest frequencies
            first; each map as a share of its own maximum); ``source``: the one that masks are made of.

        Raises
        ------
        DawnChorusError
            If the experiment is not in the config, it has no model or one without attention, or the
            window's spectrogram is not there.
        """
        with self._lock:
            key = (recording, offset)
            if key not in self._kept:
                self._kept[key] = self._look(day, recording, offset)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def _look(self, day: RecorderDay, recording: str, offset: int) -> dict[str, Any]:
        from dawnchorus.learning.training_set import load_codes

        window = pl.DataFrame(
            {
                "recorder": [day.recorder],
                "date": [day.date],
                "recording": [recording],
                "offset": [offset],
            }
        )
        self._settings.experiment(self._experiment)
        looker = self._looker
        seen = looker.look(load_codes(self._results, window))
        maps: list[dict[str, Any]] = [
            {"name": f"head {number}", "values": _share(head)}
            for number, head in enumerate(seen.heads[0], start=1)
        ]
        maps += [{"name": name, "values": _share(map_[0])} for name, map_ in seen.maps.items()]
        return {"maps": maps, "source": looker.wanted.source}


def _share(map_: NDArray[np.float32]) -> list[list[float]]:
    highest = float(map_.max())
    share = map_ / highest if highest > 0 else np.zeros_like(map_)
    rows: list[list[float]] = np.round(share.astype(np.float64), 3).tolist()
    return rows
