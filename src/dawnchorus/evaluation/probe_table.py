"""Probes of every space for every target.

In: the bench. Out: its table ``probes``, filled: species and BirdNET's labels (what a space should
hold), recorder and hour (what it should hold less of).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dawnchorus.evaluation import probes as probing
from dawnchorus.evaluation.bench import NOTHING, Bench
from dawnchorus.evaluation.bootstrap import NONE
from dawnchorus.evaluation.spaces import BASELINE, Space
from dawnchorus.evaluation.tables import Row, figure
from dawnchorus.progress import counting


def probed_confidence(confidences: Sequence[float]) -> float:
    """Return the confidence whose labels are probed: the middle one, the lower of two."""
    return sorted(confidences)[(len(confidences) - 1) // 2]


def _targets(bench: Bench) -> dict[str, NDArray[np.object_]]:
    """Return what is read out of the spaces; None where a window has no such label."""
    windows = bench.windows
    targets: dict[str, NDArray[np.object_]] = {}
    for labels in bench.labels:
        if labels.source == "birdnet":
            if labels.confidence != probed_confidence(bench.settings.evaluation.confidences):
                continue
            targets[f"birdnet species at {labels.confidence}"] = labels.top
        else:
            targets["species"] = labels.top
            filled = labels.top.copy()
            filled[labels.known & ~labels.labelled] = NOTHING
            targets["species or none"] = filled
    targets["recorder"] = windows.recorder
    hour = windows.hour.astype(object)
    hour[windows.hour < 0] = None
    targets["hour"] = hour
    return targets


def fill_probes(bench: Bench) -> None:
    """Fill the table probes."""
    evaluation = bench.settings.evaluation
    targets = _targets(bench)
    makers: dict[str, probing.Make] = {
        f"{evaluation.neighbours}-nearest neighbours": probing.neighbours(evaluation.neighbours),
        "linear": probing.linear,
    }
    splits: tuple[probing.Split, ...] = ("grouped", "leaky")
    total = len(targets) * len(splits) * len(bench.spaces) * len(makers)
    with counting("probes", total, "probes") as advance:
        for target, values in targets.items():
            whole = probing.prepare(
                values, bench.group, folds=evaluation.folds, seed=evaluation.seed
            )
            usual = probing.majority(whole, resamples=evaluation.bootstrap, seed=evaluation.seed)
            _add(bench, {"space": "majority class", "kind": BASELINE}, target, usual)
            for space in bench.spaces:
                task = whole
                if not space.held.all():
                    task = probing.prepare(
                        values[space.held],
                        bench.group[space.held],
                        folds=evaluation.folds,
                        seed=evaluation.seed,
                    )
                for name, make in makers.items():
                    for split in splits:
                        _probe(bench, space, target, task, name, make, split)
                        advance(1, note=f"{target} from {space.name}")


def _probe(
    bench: Bench,
    space: Space,
    target: str,
    task: probing.Task,
    name: str,
    make: probing.Make,
    split: probing.Split,
) -> None:
    evaluation = bench.settings.evaluation
    outcome = probing.probe(
        space.vectors[task.kept],
        task,
        make,
        name,
        split,
        resamples=evaluation.bootstrap,
        seed=evaluation.seed,
        workers=bench.workers,
        scale_each=space.scale_each,
    )
    head = {"space": space.name, "kind": space.kind, "dimension": space.dimension}
    _add(bench, head, target, outcome, space.note)


def _add(bench: Bench, head: Row, target: str, outcome: probing.Outcome, remark: str = "") -> None:
    """Add an outcome's rows, one per metric."""
    row = {
        **head,
        "target": target,
        "probe": outcome.probe,
        "split": outcome.split,
        "group": bench.settings.evaluation.group,
        "windows": outcome.windows,
        "classes": outcome.classes,
        "groups": outcome.groups,
        "folds": outcome.folds,
        "note": "; ".join(filter(None, [outcome.note, remark])),
    }
    for metric in probing.METRICS:
        value, bounds = outcome.figures.get(metric, (None, NONE))
        bench.tables["probes"].append(row | figure(metric, value, bounds))
