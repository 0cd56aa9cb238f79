"""How far the season is: ``dawnchorus status``.

In: the results folder, only read; quick also for a season. Out: lines for a person.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dawnchorus.config import Settings
from dawnchorus.overview.census import (
    BEGUN,
    DONE,
    FAILED,
    STATES,
    WAITING,
    Census,
    count,
    title,
)
from dawnchorus.overview.rates import size_of
from dawnchorus.overview.staleness import staleness, standing
from dawnchorus.overview.steps import amount, counted
from dawnchorus.overview.trainings import line_of, training_of
from dawnchorus.results import ExperimentResults, Results, read_receipt

SHOWN_FAILURES = 5
LOCKS = Path("/proc/locks")


def status(settings: Settings, results: Results) -> list[str]:
    """Say what is done, what runs and what is left.

    Parameters
    ----------
    settings : Settings
    results : Results

    Returns
    -------
    list of str
        Lines.

    Raises
    ------
    DawnChorusError
        If the inventory or a receipt cannot be read.
    """
    census = count(settings, results)
    process = holder(results.root / ".workflow.lock")
    lines = [
        f"{results.root}: "
        + (
            f"a workflow is at work (process {process})"
            if process is not None
            else "no workflow is at work on this machine"
        )
    ]
    lines += _table(census, running=process is not None)
    lines += _single(census)
    lines += _failures(census)
    for name, experiment in settings.experiments.items():
        if experiment.prepared:
            state = "prepared" if results.experiment(name).model.exists() else "not prepared yet"
            lines.append(f"{name}: {state} ({experiment.method}, nothing is trained)")
            continue
        training = training_of(results.experiment(name))
        lines.append(line_of(name, training))
        lines += [f"  {concern}" for concern in (training.concerns if training else ())]
        lines += _drift(results.experiment(name))
    lines.append(f"training set: {staleness(census.days, standing(results))}")
    lines.append(_disk(results.root))
    return lines


def _table(census: Census, running: bool) -> list[str]:
    """Recorder-days per step. What has begun runs, if a workflow is at work."""
    if not census.days:
        return ["no inventory yet"]
    heads = ["running" if running and state == BEGUN else state for state in STATES]
    rows = [["recorder-days", *heads, "of"]]
    for key in census.per_recorder:
        states = census.total(key)
        rows.append(
            [title(key), *(f"{states[state]:,}" for state in STATES), f"{states.total():,}"]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]


def _single(census: Census) -> list[str]:
    """The other steps, by their state."""
    lines = []
    for state in (DONE, BEGUN, FAILED, WAITING):
        some = [title(key) for key, found in census.single.items() if found == state]
        if some:
            lines.append(f"{state}: {', '.join(some)}")
    return lines


def _failures(census: Census) -> list[str]:
    lines = [
        f"failed: {title(key)}{f' {day}' if day else ''}: {told}"
        for key, day, told in census.failures
    ]
    more = len(lines) - SHOWN_FAILURES
    return lines[:SHOWN_FAILURES] + ([f"and {more:,} more that failed"] if more > 0 else [])


def _drift(space: ExperimentResults) -> list[str]:
    """The sentence of the statistics: which recorder-days fit badly into the clusters."""
    if not space.statistics_receipt.exists():
        return []
    return [f"  {read_receipt(space.statistics_receipt)['drift']['sentence']}"]


def _disk(root: Path) -> str:
    there = root
    while not there.exists() and there != there.parent:
        there = there.parent
    free = amount(shutil.disk_usage(there).free)
    return f"disk: {amount(size_of(root)) if root.exists() else counted(0, 'byte')} in results, {free} free"


def holder(lock: Path, locks: Path = LOCKS) -> int | None:
    """Return the process of this machine that holds a file's lock, without touching it; None if none does.

    Parameters
    ----------
    lock : Path
    locks : Path
        Linux's table of locks; where there is none, nothing is seen.
    """
    try:
        state = lock.stat()
        table = locks.read_text()
    except OSError:
        return None
    device = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
    for line in table.splitlines():
        fields = line.split()
        # "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; one that waits has "->" behind its number.
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == device:
            return int(fields[4])
    return None
