"""What a space costs: hours of training, hours of GPUs, and how fast it embeds.

In: ``log.jsonl`` and ``recipe.json`` of each experiment, its model file, and the times that Snakemake notes of
embedding and BirdNET jobs (``benchmarks/``). Out: the rows of the table ``cost``, one per space.

Nothing is timed here: a table that is made again from the same results is the same. What nobody has measured is null, and
the note says so.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dawnchorus.evaluation.spaces import EXPERIMENT, SUPERVISED, Space
from dawnchorus.evaluation.tables import Row
from dawnchorus.learning import history
from dawnchorus.overview.rates import read_note
from dawnchorus.overview.steps import STEPS
from dawnchorus.results import RecorderDay, Results, read_receipt

SECONDS_PER_HOUR = 3600
CPU, GPU = "CPU", "GPU"
NOT_TRAINED_HERE = "nothing was trained here"
NOT_TIMED = "embedding was not timed: no notes of its jobs"
PART_OF_EVALUATION = "computed within the evaluation, not timed"


@dataclass(frozen=True)
class Training:
    """What a training took, from its log; None where the log does not tell.

    ``device`` is as ``4 x NVIDIA H200``; ``gpu_hours`` are hours of one GPU, 0 without any.
    """

    hours: float | None
    gpu_hours: float | None
    device: str | None
    note: str = ""


def training_cost(log: Sequence[Mapping[str, Any]], batch_size: int) -> Training:
    """Add up the time of a training from its log.

    A line's ``windows_per_second`` is over the steps since the line before, so these steps took
    (steps x batch) / rate. Monitors and waiting for data are in it; checkpoints are too; starting up, and
    what was lost between the last checkpoint and a kill, is not.

    Parameters
    ----------
    log : sequence of dict
        As from :func:`dawnchorus.learning.history.read`, at least one line.
    batch_size : int
        Windows in a step, all processes together.
    """
    seconds = gpu_seconds = 0.0
    device: str | None = None
    counted = True
    for before, line in itertools.pairwise([{"step": 0}, *log]):
        rate = line.get("windows_per_second")
        if not rate:
            return Training(None, None, device, "the log does not say how fast the training was")
        took = (line["step"] - before["step"]) * batch_size / rate
        processes, on_gpu = line.get("processes"), "gpu_memory_gb" in line
        name = line.get("device") or (GPU if on_gpu else CPU)
        device = f"{processes} x {name}" if processes and processes > 1 else name
        seconds += took
        gpu_seconds += took * (processes or 0) if on_gpu else 0.0
        counted = counted and (processes is not None or not on_gpu)
    hours, gpu_hours = seconds / SECONDS_PER_HOUR, gpu_seconds / SECONDS_PER_HOUR
    if counted:
        return Training(hours, gpu_hours, device)
    return Training(hours, None, device, "the log does not say how many GPUs there were")


def pace(notes: Path, windows: Mapping[RecorderDay, int]) -> float | None:
    """Return windows per second of jobs of recorder-days, from Snakemake's notes; starting up is in it.

    Parameters
    ----------
    notes : Path
        Folder of ``{recorder}/{date}.tsv``.
    windows : mapping
        How many windows each recorder-day has. Days without a note do not count.
    """
    done, took = 0, 0.0
    for day, count in windows.items():
        note = read_note(notes / day.recorder / f"{day.date}.tsv")
        if note is not None and count:
            done, took = done + count, took + note[0]
    return done / took if took > 0 else None


def parameters_of(model: Path) -> int:
    """Return how many numbers a model file holds, without reading them; the whitening is not the network's."""
    from safetensors import safe_open

    from dawnchorus.learning.backbone import WHITENING

    with safe_open(model, framework="numpy") as file:
        return sum(
            math.prod(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118 - not a dict
            if not name.startswith(WHITENING)
        )


def cost_rows(
    results: Results,
    days: Iterable[RecorderDay],
    spaces: Sequence[Space],
    missing: Mapping[str, str],
) -> list[Row]:
    """Return a row per space, then one per experiment that is not there, with the reason."""
    days = list(days)
    rows: list[Row] = []
    for space in spaces:
        head = {"space": space.name, "kind": space.kind, "dimension": space.dimension}
        if space.kind == EXPERIMENT:
            rows.append(head | _experiment(results, space.name, days))
        elif space.kind == SUPERVISED:
            rows.append(head | _birdnet(results, days))
        else:
            rows.append(head | {"note": f"{NOT_TRAINED_HERE}; {PART_OF_EVALUATION}"})
    rows += [
        {"space": name, "kind": EXPERIMENT, "note": reason} for name, reason in missing.items()
    ]
    return rows


def _experiment(results: Results, name: str, days: Sequence[RecorderDay]) -> Row:
    paths = results.experiment(name)
    row: Row = {"parameters": parameters_of(paths.model)}
    notes = []
    log, recipe = history.read(paths.log), _recipe(paths.recipe)
    if not log:
        notes.append(NOT_TRAINED_HERE)
    elif recipe is None:
        notes.append(f"{paths.recipe.name} is not there: what the training took is not known")
    else:
        took = training_cost(log, int(recipe["settings"]["batch_size"]["value"]))
        row |= {
            "device": took.device,
            "training_hours": took.hours,
            "gpu_hours": took.gpu_hours,
            "training_windows": recipe["windows"],
        }
        notes.append(took.note)
    rate = pace(
        results.root / "benchmarks" / STEPS["embed_day"].benchmarks / name,
        _windows(paths.embeddings_receipt(day) for day in days),
    )
    notes.append("" if rate else NOT_TIMED)
    return row | {"windows_per_second": rate, "note": "; ".join(filter(None, notes))}


def _birdnet(results: Results, days: Sequence[RecorderDay]) -> Row:
    rate = pace(
        results.root / "benchmarks" / STEPS["birdnet_day"].benchmarks,
        _windows(results.detections_receipt(day) for day in days),
    )
    note = f"{NOT_TRAINED_HERE}; its rate includes reading the recordings and the detections"
    return {
        "windows_per_second": rate,
        "note": note if rate else f"{NOT_TRAINED_HERE}; {NOT_TIMED}",
    }


def _windows(receipts: Iterable[Path]) -> dict[RecorderDay, int]:
    """Return how many windows each recorder-day's receipt counts."""
    return {
        RecorderDay(path.parent.name, path.stem): int(read_receipt(path).get("windows") or 0)
        for path in receipts
        if path.exists()
    }


def _recipe(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recipe
