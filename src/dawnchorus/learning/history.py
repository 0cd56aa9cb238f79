"""The history of a training: ``log.jsonl``, one JSON object per logged step.

In: the figures of a step. Out: a line; after a resume the lines beyond the checkpoint are gone, so
that each step stands once. Numbers that JSON has no word for (NaN, infinity) are written as null.

Keys: ``step`` (steps done), ``epoch``, ``loss`` (nats), ``learning_rate``, ``weight_decay``, the
method's schedules (``teacher_momentum``, ``teacher_temperature``) and figures (``teacher_entropy`` in
nats, ``center_norm``, ``embedding_std``: 1 is even, 0 is collapsed), ``gradient_norm`` (before
clipping), ``windows_per_second``, ``taken`` (false if the loss was bad and the step was not taken),
``batch`` (XXH3-64 of the rows of the training set in the step).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dawnchorus.results import publishing

Entry = dict[str, Any]


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
