"""How far the trainings are, from their logs.

In: an experiment's ``log.jsonl`` and ``recipe.json``, only read. Out: :class:`Training`, and one line of it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from dawnchorus.learning import history
from dawnchorus.learning.collapse import RECORD
from dawnchorus.learning.schedules import Clock
from dawnchorus.overview.steps import lasting
from dawnchorus.results import ExperimentResults, read_receipt

LAST_LINES = 20
"""Of the log, for the pace of now."""
CONCERNS = 3
"""So many of the last warnings and alarms are shown."""


@dataclass(frozen=True)
class Training:
    """How far a training is.

    Attributes
    ----------
    step, total : int
        Steps done, and of the whole training; ``total`` is None if nothing says it.
    epoch, loss : float
        Of the last line; ``loss`` is None if it was no number.
    pace : float
        Windows per second, median of the last lines; None if unknown.
    left_s : float
        Seconds left at this pace.
    silent_s : float
        Seconds since the last line was written.
    concerns : tuple of str
        The last warnings and alarms, with their steps.
    finished, collapsed : bool
    """

    step: int
    total: int | None
    epoch: float | None
    loss: float | None
    pace: float | None
    left_s: float | None
    silent_s: float
    concerns: tuple[str, ...]
    finished: bool
    collapsed: bool


def training_of(paths: ExperimentResults, now: float | None = None) -> Training | None:
    """Read how far an experiment's training is; None if it has not begun.

    Parameters
    ----------
    paths : ExperimentResults
    now : float, optional
        Seconds since 1970, for tests; default: the clock.
    """
    entries = history.read(paths.log)
    if not entries:
        return None
    last = entries[-1]
    step = int(last["step"])
    paces = [pace for entry in entries[-LAST_LINES:] if (pace := entry.get("windows_per_second"))]
    pace = statistics.median(paces) if paces else None
    clock = _clock(paths)
    left = None
    if clock is not None and pace:
        left = max(0, clock.total_steps - step) * clock.batch_size / pace
    concerns = [
        f"{kind} at step {entry['step']:,}: {entry[kind]}"
        for entry in entries
        for kind in ("alarm", "warning")
        if kind in entry
    ]
    written = paths.log.stat().st_mtime
    return Training(
        step=step,
        total=None if clock is None else clock.total_steps,
        epoch=last.get("epoch"),
        loss=last.get("loss"),
        pace=pace,
        left_s=left,
        silent_s=max(0.0, (time.time() if now is None else now) - written),
        concerns=tuple(concerns[-CONCERNS:]),
        finished=paths.model.exists(),
        collapsed=any(paths.checkpoints.glob(f"*/{RECORD}")),
    )


def _clock(paths: ExperimentResults) -> Clock | None:
    """How long the training is, as its recipe says."""
    if not paths.recipe.exists():
        return None
    recipe = read_receipt(paths.recipe)
    settings = recipe.get("settings", {})
    batch, epochs = (settings.get(key, {}).get("value") for key in ("batch_size", "epochs"))
    windows = recipe.get("windows")
    if not (windows and batch and epochs):
        return None
    return Clock.of(int(windows), int(batch), float(epochs))


def line_of(name: str, training: Training | None) -> str:
    """Say in one line how far a training is."""
    if training is None:
        return f"training of {name}: not begun"
    of = "" if training.total is None else f" of {training.total:,}"
    parts = [f"step {training.step:,}{of}"]
    if training.epoch is not None:
        parts[0] += f" (epoch {training.epoch:.1f})"
    parts.append("no finite loss" if training.loss is None else f"loss {training.loss:.3f}")
    if training.pace:
        parts.append(f"{training.pace:,.0f} windows/s")
    if training.collapsed:
        parts.append("collapsed, see its last alarm")
    elif training.finished:
        parts.append("finished")
    else:
        if training.left_s is not None:
            parts.append(f"about {lasting(training.left_s)} left")
        parts.append(f"last line {lasting(training.silent_s)} ago")
    return f"training of {name}: {', '.join(parts)}"
