"""Training curves: is it learning, is it collapsing, and what did it cost?

In: ``log.jsonl`` of an experiment. Out: one PNG over the steps, with a panel for each thing that
the log holds: loss and entropy against uniform output, spread and rank of the space, prototypes in
use, nearest neighbours beside chance, schedules, and pace. What a method does not measure has no
panel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dawnchorus.errors import DawnChorusError
from dawnchorus.report.style import ACCENT, COLOURS, FAINT, INK, PAPER, drawing

Log = dict[str, np.ndarray]

SMOOTHED = 40
"""A curve is drawn as logged, faint, and averaged over one in so many of its points."""
OWN_FIGURES = {
    *("step", "epoch", "taken", "loss", "gradient_norm", "learning_rate", "weight_decay"),
    *("windows_per_second", "views_per_second", "data_wait_share", "monitor_share", "processes"),
    *("gpu_memory_gb", "memory_gb", "rankme", "rankme_centred", "embedding_std", "center_norm"),
}
"""Figures that have a panel of their own, or none; what else a method logs shares one."""
LEGEND: dict[str, Any] = {
    **{"fontsize": 8, "handlelength": 1.2, "borderaxespad": 0.2},
    **{"frameon": True, "facecolor": PAPER, "edgecolor": "none", "framealpha": 0.8},
}
LABELS = ("hour", "recorder", "species")


def read_log(path: Path) -> Log:
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


def draw_training(log: Log, path: Path) -> None:
    """Draw the curves; dotted lines mark where nothing would be learned.

    Of an encoder that is not trained the log is empty, and the picture says so.
    """
    if not log:
        with drawing(path, 5, 1.2) as figure:
            figure.text(0.5, 0.5, "not trained: there are no curves", ha="center", va="center")
        return
    uniform = None
    if "teacher_entropy" in log:  # ln(prototypes), from its two parts
        uniform = float(np.nanmean(log["teacher_entropy"] + log["teacher_uniform_kl"]))
    panels = _panels(log, uniform)
    rows = math.ceil(len(panels) / 2)
    with drawing(path, 10, 2.5 * rows + 0.4) as figure:
        grid = np.atleast_2d(figure.subplots(rows, 2, sharex=True))
        for axes, (title, draw) in zip(grid.flat, panels, strict=False):
            axes.set_title(title)
            draw(axes)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for number, axes in enumerate(grid.flat):
            if number < len(panels) <= number + 2:
                axes.set_xlabel("step")
                axes.tick_params(labelbottom=True)


def _panels(log: Log, uniform: float | None) -> list[tuple[str, Callable[[Axes], None]]]:
    """The panels that the log has something for, in order."""

    def has(*keys: str) -> bool:
        return any(key in log and np.isfinite(log[key]).any() for key in keys)

    panels: list[tuple[str, Callable[[Axes], None]]] = [
        ("loss", lambda axes: _loss(axes, log, uniform))
    ]
    if has("teacher_entropy"):
        panels.append(("teacher, in nats", lambda axes: _teacher(axes, log, uniform)))
    if has("embedding_std"):
        panels.append(("spread of the embeddings", lambda axes: _spread(axes, log)))
    if has("rankme"):
        panels.append(("RankMe: dimensions that are used", lambda axes: _ranks(axes, log)))
    if has("prototypes_used"):
        panels.append(("prototypes in use, of all", lambda axes: _used(axes, log)))
    if has(*(f"knn_{label}" for label in LABELS)):
        panels.append(
            ("neighbours name right (dotted: chance)", lambda axes: _neighbours(axes, log))
        )
    extra = [
        key
        for key in log
        if key not in OWN_FIGURES
        and not (key == "output_std" and has("teacher_entropy"))
        and not key.startswith(("teacher_", "prototypes_", "knn_"))
        and has(key)
    ]
    if extra:
        panels.append(("the method's own figures", lambda axes: _extra(axes, log, extra)))
    panels.append(("schedules, of their highest value", lambda axes: _schedules(axes, log)))
    if has("data_wait_share"):
        panels.append(("pace", lambda axes: _pace(axes, log)))
    return panels


def curve(
    axes: Axes, log: Log, key: str, colour: str, label: str = "", over: str = "step"
) -> tuple[float, float] | None:
    """Draw one figure: points as they are if there are few, else with their mean; return where the curve ends."""
    there = np.isfinite(log[key])
    step, value = log[over][there], log[key][there]
    width = max(1, len(value) // SMOOTHED)
    if width > 1:
        axes.plot(step, value, color=colour, linewidth=0.7, alpha=0.3)
        value, step = np.convolve(value, np.ones(width) / width, mode="valid"), step[width - 1 :]
        axes.plot(step, value, color=colour, linewidth=1.7, label=label)
    else:
        marker = "o" if len(value) < 30 else ""
        axes.plot(step, value, color=colour, linewidth=1.5, marker=marker, ms=3, label=label)
    return (float(step[-1]), float(value[-1])) if len(value) else None


def _bound(axes: Axes, value: float, meaning: str, colour: str = INK) -> None:
    axes.axhline(value, color=colour, linestyle=":", linewidth=1)
    if meaning:
        axes.annotate(
            meaning,
            (0.995, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
        )


def _legend(axes: Axes) -> None:
    axes.legend(loc="best", **LEGEND)


def _loss(axes: Axes, log: Log, uniform: float | None) -> None:
    curve(axes, log, "loss", ACCENT)
    if uniform is not None:
        _bound(axes, uniform, f"ln(prototypes) = {uniform:.2f}: uniform")


def _teacher(axes: Axes, log: Log, uniform: float | None) -> None:
    curve(axes, log, "teacher_entropy", COLOURS[0], "entropy")
    if "teacher_information" in log:
        curve(axes, log, "teacher_information", COLOURS[4], "information about the window")
    if uniform is not None:
        _bound(axes, uniform, "uniform")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _spread(axes: Axes, log: Log) -> None:
    curve(axes, log, "embedding_std", COLOURS[0])
    _bound(axes, 0.0, "all alike")
    _bound(axes, 1.0, "even")
    axes.set_ylim(-0.05, 1.15)


def _ranks(axes: Axes, log: Log) -> None:
    curve(axes, log, "rankme", COLOURS[0], "as in the paper")
    if "rankme_centred" in log:
        curve(axes, log, "rankme_centred", COLOURS[1], "without the mean")
        _legend(axes)
    _bound(axes, 1.0, "one")
    axes.set_ylim(bottom=0)


def _used(axes: Axes, log: Log) -> None:
    curve(axes, log, "prototypes_used", COLOURS[2])
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _neighbours(axes: Axes, log: Log) -> None:
    for number, label in enumerate(LABELS):
        if f"knn_{label}" not in log:
            continue
        colour = COLOURS[(0, 4, 2)[number]]
        curve(axes, log, f"knn_{label}", colour, label)
        chance = log.get(f"knn_{label}_chance", np.array([math.nan]))
        if np.isfinite(chance).any():
            _bound(axes, float(chance[np.isfinite(chance)][-1]), "", colour)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _legend(axes)


def _extra(axes: Axes, log: Log, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        curve(axes, log, key, COLOURS[number % len(COLOURS)], key.replace("_", " "))
    _legend(axes)


def _schedules(axes: Axes, log: Log) -> None:
    """All on one scale; the legend says what 1 is."""
    names = {
        "learning_rate": "learning rate",
        "weight_decay": "weight decay",
        "teacher_momentum": "teacher momentum",
        "teacher_temperature": "teacher temperature",
    }
    for number, (key, name) in enumerate(names.items()):
        if key in log and (most := np.nanmax(log[key])) > 0:
            label = f"{name} (1 is {most:.3g})"
            axes.plot(log["step"], log[key] / most, color=COLOURS[number], lw=1.5, label=label)
    axes.set_ylim(0, 1.05)
    _legend(axes)


def _pace(axes: Axes, log: Log) -> None:
    """Windows per second, and the share of the time that went to waiting and to monitors."""
    curve(axes, log, "windows_per_second", COLOURS[0], "windows per second")
    axes.set_ylim(0, 1.3 * float(np.nanmax(log["windows_per_second"])))  # room for the legend
    axes.set_ylabel("windows per second")
    share = axes.twinx()
    curve(share, log, "data_wait_share", COLOURS[4], "waiting for data")
    if "monitor_share" in log:
        curve(share, log, "monitor_share", COLOURS[3], "monitors")
    share.set_ylim(0, 1)
    share.spines["right"].set_visible(True)
    share.spines["right"].set_color(FAINT)
    share.set_ylabel("share of the time")
    share.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    lines = [line for one in (axes, share) for line in one.get_lines()]
    named = {str(line.get_label()): line for line in lines}
    named = {label: line for label, line in named.items() if not label.startswith("_")}
    share.legend(list(named.values()), list(named), loc="upper right", **LEGEND)
