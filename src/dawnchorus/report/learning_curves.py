"""Training curves of all experiments beside one another.

In: ``log.jsonl`` of each. Out: one PNG over the epochs: the loss (a panel per method: losses of different methods are no
comparison), how many dimensions the space uses, and what nearest neighbours name right while it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dawnchorus.report.comparison_figures import NAMED, looks, name_ends
from dawnchorus.report.style import ACCENT, ACCENT_TEXT, drawing, say_only, settle
from dawnchorus.report.training import Log, curve

NEIGHBOURS = ("species", "recorder")


def draw_learning(logs: Mapping[str, Log], methods: Mapping[str, str], path: Path) -> str | None:
    """Draw the curves.

    Parameters
    ----------
    logs : mapping
        By experiment, as from :func:`dawnchorus.report.training.read_log`; an empty one was not trained.
    methods : mapping
        Method of each experiment.
    path : Path
    """
    logs = {name: log for name, log in logs.items() if log}
    if not logs:
        return say_only(path, "no experiment has a history of training: there are no curves")
    look = looks((name, "experiment") for name in methods)
    panels = [
        (f"loss ({method})", "loss", [name for name in logs if methods[name] == method])
        for method in dict.fromkeys(methods[name] for name in logs)
    ]
    panels += [
        (title, key, names)
        for key, title in (
            ("rankme_centred", "RankMe: dimensions that are used"),
            *((f"knn_{label}", f"nearest neighbours name the {label}") for label in NEIGHBOURS),
        )
        if (
            names := [name for name, log in logs.items() if np.isfinite(log.get(key, np.nan)).any()]
        )
    ]
    lines = -(-len(panels) // 2)
    with drawing(path, 11, 3.0 * lines, settled=True) as figure:
        grid = figure.subplots(lines, 2, squeeze=False)
        settle(figure, lines, 2, NAMED)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, key, names) in zip(grid.flat, panels, strict=False):
            axes.set_title(title, fontsize=10)
            ends = {
                name: curve(axes, logs[name], key, look[name].colour, over="epoch")
                for name in names
            }
            chances = [
                chance[np.isfinite(chance)][-1]
                for name in names
                if np.isfinite(chance := logs[name].get(f"{key}_chance", np.array([np.nan]))).any()
            ]
            if chances:
                axes.axhline(np.mean(chances), color=ACCENT, linestyle=":", linewidth=1.3)
                axes.annotate(
                    "chance", (0.01, np.mean(chances)), xycoords=("axes fraction", "data"),
                    xytext=(0, 3), textcoords="offset points", fontsize=8, color=ACCENT_TEXT,
                )  # fmt: skip
                axes.set_ylim(0, 1)
            elif key != "loss":
                axes.set_ylim(bottom=0)
            axes.set_xlabel("epoch")
            last = max(end[0] for end in ends.values() if end is not None)
            name_ends(
                axes, {name: end[1] for name, end in ends.items() if end is not None}, last, look
            )
    return None
