"""The history of a training: ``log.jsonl``, one JSON object per logged step.

In: the figures of a step. Out: a line; after a resume the lines beyond the checkpoint are gone, so
that each step stands once. Numbers that JSON has no word for (NaN, infinity) are written as null.

Keys: ``step`` (steps done), ``epoch``, ``loss``, ``learning_rate``, ``weight_decay``, the method's
schedules and figures (each method's file says which; all have ``embedding_std``: 1 is even, 0 is
collapsed; ``koleo`` if it has a weight), ``gradient_norm`` (before
clipping), ``windows_per_second``, ``taken`` (false if the loss was bad and the step was not taken),
``batch`` (XXH3-64 of the rows of the training set in the step).
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock
from dawnchorus.results import publishing

Entry = dict[str, Any]


class Meter:
    """Writes a log line now and then, with the rate since the line before.

    Parameters
    ----------
    path : Path
        The log.
    clock : Clock
    lines_per_epoch : int
        At most so many; the last step has one always.
    ranks : Ranks
        Figures are averaged over the processes; the first one writes.
    """

    def __init__(self, path: Path, clock: Clock, lines_per_epoch: int, ranks: Ranks) -> None:
        self._path, self._clock, self._ranks = path, clock, ranks
        self._every = max(1, clock.steps_per_epoch // lines_per_epoch)
        self._since, self._steps = time.monotonic(), 0

    def log(
        self, step: int, figures: dict[str, Tensor], *, always: bool, **numbers: float | bool | str
    ) -> None:
        """Take note of a step that was done; write a line if one is due, or ``always``."""
        done = step + 1
        self._steps += 1
        if not (always or done % self._every == 0 or done == self._clock.total_steps):
            return
        values = torch.stack([value.detach().float() for value in figures.values()])
        averaged = dict(zip(figures, self._ranks.mean(values).tolist(), strict=True))
        now = time.monotonic()
        rate = self._steps * self._clock.batch_size / (now - self._since)
        self._since, self._steps = now, 0
        if self._ranks.first:
            place = {"step": done, "epoch": self._clock.epoch(done)}
            append(self._path, {**place, **numbers, **averaged, "windows_per_second": rate})


def read(path: Path) -> list[Entry]:
    """Return the entries of a log; a line that a killed process left half-written is not one."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def cut(path: Path, step: int) -> None:
    """Keep only the entries up to ``step``; 0 starts the log anew."""
    kept = [entry for entry in read(path) if entry["step"] <= step]
    with publishing(path) as partial:
        partial.write_text("".join(_line(entry) for entry in kept), encoding="utf-8")


def append(path: Path, entry: Entry) -> None:
    """Add one entry."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(entry))


def _line(entry: Entry) -> str:
    said = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }
    return json.dumps(said, allow_nan=False) + "\n"
