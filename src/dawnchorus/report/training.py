"""Training curves: is it learning, and is it collapsing?

In: ``log.jsonl`` of an experiment. Out: one PNG with the method's own two curves (the loss and what
tells a collapse), spread of the embedding and learning rate over the steps.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from dawnchorus.config import Experiment
from dawnchorus.errors import DawnChorusError
from dawnchorus.report.style import ACCENT, COLOURS, FAINT, drawing


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Read a training log as columns; entries that lack a number hold NaN."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "train the experiment first") from None
    entries = [json.loads(line) for line in lines if line.strip()]
    entries = [entry for entry in entries if "loss" in entry]
    keys = sorted({key for entry in entries for key in entry})
    return {
        key: np.array(
            [
                float(value) if isinstance(value := entry.get(key), int | float) else math.nan
                for entry in entries
            ]
        )
        for key in keys
    }


def draw_training(log: dict[str, np.ndarray], experiment: Experiment, path: Path) -> None:
    """Draw the curves; a dotted line marks where nothing would be learned."""
    panels = (
        *experiment.own.curves,
        ("embedding_std", "spread of the embedding", 0.0, "collapsed"),
        ("learning_rate", "learning rate", None, ""),
    )
    with drawing(path, 9, 5.6) as figure:
        grid = figure.subplots(2, 2, sharex=True)
        for axes, (key, title, bound, meaning) in zip(grid.flat, panels, strict=True):
            axes.set_title(title)
            if key in log and key == "learning_rate":
                axes.plot(log["step"], log[key], color=ACCENT, linewidth=1.6)
            elif key in log:
                axes.plot(log["step"], log[key], color=COLOURS[0], linewidth=0.8, alpha=0.45)
                width = max(1, len(log[key]) // 40)
                smooth = np.convolve(log[key], np.ones(width) / width, mode="valid")
                axes.plot(log["step"][width - 1 :], smooth, color=ACCENT, linewidth=1.6)
            if bound is not None:
                axes.axhline(bound, color=FAINT, linestyle=":")
                axes.annotate(
                    meaning, (1, bound), xycoords=("axes fraction", "data"), ha="right", va="bottom"
                )
        for axes in grid[1]:
            axes.set_xlabel("step")
