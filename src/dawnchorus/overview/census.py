"""Counts what is there: recorder-days per step, experiment and recorder.

In: the results folder, only read. Out: :class:`Census`.

A recorder-day's receipt says that its step is done, or that the day was set aside. Where there is no receipt
but a log, the step has begun: it runs, was stopped, or failed, which is what a log tells that ends
with an error's line.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.overview.steps import STEPS, Step
from dawnchorus.recordings.table import days_of
from dawnchorus.results import SET_ASIDE, ExperimentResults, RecorderDay, Results, read_receipt

DONE, BEGUN, FAILED, WAITING = "done", "begun", "failed", "waiting"
STATES = (DONE, SET_ASIDE, BEGUN, FAILED, WAITING)

Key = tuple[str, str | None]
"""A rule, and an experiment if it is of one."""

ERROR = "dawnchorus: "
"""How a command's last line begins when it failed."""
END_OF_LOG = 4096


@dataclass
class Census:
    """What there is of each step."""

    days: list[RecorderDay]
    """Of the last inventory, and what has spectrograms."""
    per_recorder: dict[Key, dict[str, Counter[str]]] = field(default_factory=dict)
    """Per step of recorder-days and recorder: how many are in which of :data:`STATES`."""
    single: dict[Key, str] = field(default_factory=dict)
    """State of every other step."""
    failures: list[tuple[Key, RecorderDay | None, str]] = field(default_factory=list)
    """Step, recorder-day and what its log says."""

    def total(self, key: Key) -> Counter[str]:
        """Return the states of a step over all recorders."""
        return sum(self.per_recorder[key].values(), Counter())


def count(settings: Settings, results: Results) -> Census:
    """Count everything.

    Raises
    ------
    DawnChorusError
        If the inventory or a receipt cannot be read.
    """
    days = set(results.days_with_receipts())
    if results.recordings.exists():
        days |= set(days_of(results.recordings))
    census = Census(sorted(days))
    for key in keys(settings):
        if STEPS[key[0]].of_day:
            _count_days(census, results, key)
        else:
            state, told = _state(results, key, None, output_of(results, key))
            census.single[key] = state
            if state == FAILED:
                census.failures.append((key, None, told))
    return census


def keys(settings: Settings) -> list[Key]:
    """Return all steps that the configuration asks for, in the order of the data."""
    found: list[Key] = []
    for step in STEPS.values():
        if step.rule == "indices_day" and not settings.indices.enabled:
            continue
        if step.rule == "sweep" and not settings.sweep.enabled:
            continue
        # Passes and labelled sets have names of their own; what they did stands in their receipts.
        if step.rule in ("cluster_pass", "assign_pass", "labelled_sound", "labelled_set"):
            continue
        found += [
            (step.rule, name) for name in (settings.experiments if step.of_experiment else [None])
        ]
    return found


def _count_days(census: Census, results: Results, key: Key) -> None:
    receipt = receipt_of(results, key)
    recorders: dict[str, Counter[str]] = {}
    for day in census.days:
        state, told = _state(results, key, day, receipt(day))
        recorders.setdefault(day.recorder, Counter())[state] += 1
        if state == FAILED:
            census.failures.append((key, day, told))
    census.per_recorder[key] = recorders


def _state(results: Results, key: Key, day: RecorderDay | None, output: Path) -> tuple[str, str]:
    """State of a job by its output (a recorder-day's receipt), and what its log says if it failed."""
    if output.exists():
        if day is None:
            return DONE, ""
        try:
            is_aside = read_receipt(output).get("verdict") == SET_ASIDE
        except DawnChorusError:
            if output.exists():
                raise
            return BEGUN, ""  # gone between two looks: its job has just begun anew
        return (SET_ASIDE if is_aside else DONE), ""
    last = last_line(_log(results, key, day))
    if last is None:
        return WAITING, ""
    return (FAILED, last.removeprefix(ERROR)) if last.startswith(ERROR) else (BEGUN, "")


def last_line(log: Path) -> str | None:
    """Return the last line of a log that says anything; empty if none does, None if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - END_OF_LOG))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    return next((line for line in reversed(lines) if line.strip()), "")


def _log(results: Results, key: Key, day: RecorderDay | None) -> Path:
    rule, experiment = key
    path = results.root / "logs" / STEPS[rule].benchmarks
    if experiment is not None:
        path = path / experiment
    if day is not None:
        path = path / day.recorder / day.date
    return path.with_name(f"{path.name}.log")


def receipt_of(results: Results, key: Key) -> Callable[[RecorderDay], Path]:
    """Return the paths of a step's receipts, by recorder-day."""
    rule, experiment = key
    space = results.experiment(experiment or "")
    return {
        "spectrograms_day": results.spectrograms_receipt,
        "indices_day": results.indices_receipt,
        "birdnet_day": results.detections_receipt,
        "embed_day": space.embeddings_receipt,
        "assign_day": space.assignment_receipt,
    }[rule]


def output_of(results: Results, key: Key) -> Path:
    """Return what says that a step which is not one of recorder-days is done."""
    rule, experiment = key
    space: ExperimentResults = results.experiment(experiment or "")
    return {
        "scan": results.recordings,
        "sample": results.training_receipt,
        "train_experiment": space.model,
        "cluster": space.clusters_receipt,
        "sweep": space.sweep,
        "statistics": space.statistics_receipt,
        "map_fit": space.projection,
        "map": space.map_receipt,
        "attend": space.attention_receipt,
        "outliers": space.outliers_receipt,
        "evaluate": results.evaluation / "evaluation.json",
        "experiment_figures": space.cards,
        "comparison_figures": results.comparison_page,
        "snakemake_report": results.report,
    }[rule]


def title(key: Key) -> str:
    """Return what a person calls a step of an experiment."""
    step: Step = STEPS[key[0]]
    return step.words if key[1] is None else f"{step.words} ({key[1]})"
