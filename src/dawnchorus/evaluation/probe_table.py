"""Probes of every space for every target.

In: the bench. Out: its table ``probes``, filled: every target and space by nearest neighbours and a
linear probe, over each grouping and over the leaky split; few-shot curves and the attentive probe of
what sings. Shuffled labels, few-shot curves and the attentive probe go by the first grouping.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dawnchorus.config import Grouping
from dawnchorus.evaluation import probes as probing
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.bootstrap import NONE
from dawnchorus.evaluation.few_shot import few_shot
from dawnchorus.evaluation.spaces import BASELINE, Space
from dawnchorus.evaluation.tables import Row, figure, number
from dawnchorus.evaluation.targets import Target, targets_of
from dawnchorus.evaluation.tasks import LEFT_OUT, Split, Task, prepare
from dawnchorus.progress import counting

LINEAR = "linear"


@dataclass(frozen=True)
class _Asked:
    """One target by one grouping, and its tasks."""

    target: Target
    grouping: Grouping
    first: bool
    """Whether it is the first grouping."""
    whole: Task
    """Over all windows."""
    task_of: Callable[[Space], Task]
    """Over the windows that a space holds."""


@dataclass(frozen=True)
class _Job:
    """Some rows to be computed."""

    head: Row
    asked: _Asked
    run: Callable[[], list[probing.Outcome]]
    remark: str = ""


def fill_probes(bench: Bench) -> None:
    """Fill the table probes."""
    from sklearn.exceptions import ConvergenceWarning

    asked = [
        _asked(bench, target, grouping)
        for target in targets_of(bench)
        for grouping in bench.settings.evaluation.groups
    ]
    jobs = [job for one in asked for job in _jobs(bench, one)]
    # Filters of warnings are not per thread, so they are set here; an outcome's note tells the same.
    with (
        warnings.catch_warnings(),
        counting("probes", len(jobs), "probes") as advance,
        ThreadPoolExecutor(bench.workers) as pool,
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for job, outcomes in zip(jobs, pool.map(lambda job: job.run(), jobs), strict=True):
            for outcome in outcomes:
                _add(bench, job.head, job.asked, outcome, job.remark)
            advance(1, note=f"{job.asked.target.name} from {job.head['space']}")
    _attend(bench, [one for one in asked if one.first and one.target.of_birds])


def _asked(bench: Bench, target: Target, grouping: Grouping) -> _Asked:
    evaluation = bench.settings.evaluation
    group = bench.windows.group(grouping)

    def task(held: NDArray[np.bool_]) -> Task:
        return prepare(
            target.values[held],
            group[held],
            folds=evaluation.folds,
            seed=evaluation.seed,
            leave_one_out=grouping in LEFT_OUT,
        )

    whole = task(np.ones(len(group), dtype=bool))
    return _Asked(
        target,
        grouping,
        grouping == evaluation.group,
        whole,
        lambda space: whole if space.held.all() else task(space.held),
    )


def _jobs(bench: Bench, asked: _Asked) -> Iterator[_Job]:
    """Yield what is to be computed for one target by one grouping."""
    evaluation = bench.settings.evaluation
    resampled: dict[str, Any] = {"resamples": evaluation.bootstrap, "seed": evaluation.seed}
    makers: dict[str, probing.Make] = {
        f"{evaluation.neighbours}-nearest neighbours": probing.neighbours(evaluation.neighbours),
        LINEAR: partial(probing.linear, balanced=evaluation.balanced),
    }
    yield _Job(
        {"space": "majority class", "kind": BASELINE},
        asked,
        lambda: [probing.majority(asked.whole, **resampled)],
    )
    for space in bench.spaces:
        job = partial(_Job, _head(space), asked, remark=space.note)
        task = asked.task_of(space)
        for name, make in makers.items():
            of_probe = partial(_probe, space, task, make, name, **resampled)
            yield job(partial(of_probe, "grouped", shuffled=asked.first))
            if asked.first:
                yield job(partial(of_probe, "leaky"))
        if asked.first and asked.target.of_birds and evaluation.shots:
            yield job(partial(_few_shot, space, task, evaluation.shots, **resampled))


def _probe(
    space: Space, task: Task, make: probing.Make, name: str, split: Split, **more: Any
) -> list[probing.Outcome]:
    # The features are taken when it is their turn: all tasks' at once would be many copies.
    features = space.vectors[task.kept]
    return [probing.probe(features, task, make, name, split, scale_each=space.scale_each, **more)]


def _few_shot(space: Space, task: Task, shots: Sequence[int], **more: Any) -> list[probing.Outcome]:
    return few_shot(space.vectors[task.kept], task, shots, scale_each=space.scale_each, **more)


def _attend(bench: Bench, asked: list[_Asked]) -> None:
    """Probe the patch tokens of every space that has some."""
    evaluation = bench.settings.evaluation
    if not evaluation.attentive_windows:
        return
    from dawnchorus.evaluation.attentive import NAME, of_space

    with counting("attentive probes", len(bench.spaces) * len(asked), "probes") as advance:
        for one in asked:
            for space in bench.spaces:
                if space.network is None:
                    outcomes = [probing.impossible(NAME, "grouped", one.whole, space.no_tokens)]
                elif one.whole.reason:
                    outcomes = [probing.impossible(NAME, "grouped", one.whole)]
                else:
                    outcomes = of_space(bench, space, space.network(), one.target, one.whole)
                for outcome in outcomes:
                    _add(bench, _head(space), one, outcome, space.note)
                advance(1, note=f"{one.target.name} from {space.name}")


def _head(space: Space) -> Row:
    return {"space": space.name, "kind": space.kind, "dimension": space.dimension}


def _add(
    bench: Bench, head: Row, asked: _Asked, outcome: probing.Outcome, remark: str = ""
) -> None:
    """Add an outcome's rows, one per metric."""
    row = {
        **head,
        "target": asked.target.name,
        "probe": outcome.probe,
        "split": outcome.split,
        "group": asked.grouping,
        "shots": outcome.shots,
        "windows": outcome.windows,
        "classes": outcome.classes,
        "groups": outcome.groups,
        "folds": outcome.folds,
        "note": "; ".join(filter(None, [outcome.note, remark])),
    }
    for metric in probing.METRICS:
        value, bounds = outcome.figures.get(metric, (None, NONE))
        shuffled = number(outcome.shuffled.get(metric))
        bench.tables["probes"].append(row | figure(metric, value, bounds) | {"shuffled": shuffled})
