"""How long a job takes and how much it writes, as measured; nothing is made up.

In: the season's own notes (``results/benchmarks/**/*.tsv``, ``log.jsonl``, sizes on the disk), and where there
are none, the few numbers of ``rates.json``, each from a benchmark that it names. Out: a :class:`Cost`, or None.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from dawnchorus.config import Settings, resolve
from dawnchorus.learning import history
from dawnchorus.learning.schedules import Clock
from dawnchorus.overview.plan import PlannedJob
from dawnchorus.overview.staleness import standing
from dawnchorus.overview.steps import STEPS, counted
from dawnchorus.results import RecorderDay, Results, read_receipt

T = TypeVar("T")

MOST_NOTES, MOST_STORES = 100, 30
"""So many jobs of a step are looked at, evenly over the season; all 909 tell no more."""
LAST_LINES = 50
"""Of a training's log, for its pace."""
DECIDES_THE_PACE = ("method", "backbone", "patch", "precision", "batch_size")
"""A training of other settings than these says nothing of how fast one is."""


@dataclass(frozen=True)
class Cost:
    """What one job takes. None: not measured."""

    seconds: float
    cpu_seconds: float | None
    megabytes: float | None
    """That stay on the disk, 10^6 bytes."""
    source: str


@dataclass(frozen=True)
class Amounts:
    """How much sound there is to work on."""

    hours: Mapping[RecorderDay, float]
    recordings: int


class Rates:
    """What jobs of this season take.

    Parameters
    ----------
    settings : Settings
    results : Results
    amounts : Amounts
    """

    def __init__(self, settings: Settings, results: Results, amounts: Amounts) -> None:
        self._settings, self._results, self._amounts = settings, results, amounts
        self._own: dict[tuple[str, str | None], Cost | None] = {}

    def of(self, job: PlannedJob) -> Cost | None:
        """Return what a job takes; None if nobody has measured such a one."""
        key = job.rule, job.experiment
        if key not in self._own:
            trains = job.rule == "train_experiment"
            self._own[key] = self._training(job) if trains else self._noted(*key)
        return self._own[key] or self._shipped(job)

    def _noted(self, rule: str, experiment: str | None) -> Cost | None:
        if rule not in STEPS:
            return None
        found = list(_notes(self._results.root / "benchmarks" / STEPS[rule].benchmarks, experiment))
        notes = [(path, took) for path in _spread(found, MOST_NOTES) if (took := read_note(path))]
        if not notes:
            return None
        seconds = statistics.fmean(took[0] for _, took in notes)
        cpu = [took[1] for _, took in notes if took[1] is not None]
        source = f"this season, mean of {counted(len(notes), 'job')}"
        return Cost(
            seconds,
            statistics.fmean(cpu) if cpu else None,
            self._megabytes(rule, experiment, [path for path, _ in notes]),
            source,
        )

    def _megabytes(self, rule: str, experiment: str | None, notes: Sequence[Path]) -> float | None:
        """Mean size of what the jobs of these notes left, where that is still there."""
        data = STEPS[rule].data
        if data is None:
            return None
        root = (
            self._results.root if experiment is None else self._results.experiment(experiment).root
        )
        sizes = []
        for note in _spread(notes, MOST_STORES):
            folder = root / data / note.parent.name
            kept = [size_of(path) for path in folder.glob(f"{note.stem}.*")]
            if kept:
                sizes.append(sum(kept) / 1e6)
        return statistics.fmean(sizes) if sizes else None

    def _training(self, job: PlannedJob) -> Cost | None:
        """From the pace of the experiment's last training, if it was of the same kind."""
        paths = self._results.experiment(str(job.experiment))
        entries = history.read(paths.log)[-LAST_LINES:]
        paces = [pace for entry in entries if (pace := entry.get("windows_per_second"))]
        if not paces or not paths.recipe.exists():
            return None
        receipt = standing(self._results)
        windows = int((receipt or {}).get("windows", self._settings.training_set.windows))
        wanted = resolve(self._settings.experiment(str(job.experiment)), windows).experiment
        then = read_receipt(paths.recipe).get("settings", {})
        now = wanted.model_dump(mode="json")
        if any(then.get(key, {}).get("value") != now[key] for key in DECIDES_THE_PACE):
            return None
        clock = Clock.of(windows, wanted.batch_size, wanted.epochs)
        seconds = clock.total_steps * clock.batch_size / statistics.median(paces)
        note = read_note(self._results.root / "benchmarks" / "train" / f"{job.experiment}.tsv")
        cpu = None
        if note and note[1] is not None and note[0] > 0:
            cpu = seconds * note[1] / note[0]
        return Cost(
            seconds, cpu, None, f"the last training's {statistics.median(paces):,.0f} windows/s"
        )

    def _shipped(self, job: PlannedJob) -> Cost | None:
        rate = shipped().get(job.rule)
        if rate is None:
            return None
        hours = None if job.day is None else self._amounts.hours.get(job.day)
        amounts = {"per_job": 1.0, "per_hour": hours, "per_recording": self._amounts.recordings}

        def amount(kind: str) -> float | None:
            parts = [(factor, amounts[per]) for per, factor in rate.get(kind, {}).items()]
            if not parts or any(of is None for _, of in parts):
                return None
            return sum(factor * of for factor, of in parts if of is not None)

        seconds = amount("seconds")
        if seconds is None:
            return None
        return Cost(seconds, amount("cpu_seconds"), amount("megabytes"), str(rate["source"]))


@cache
def shipped() -> dict[str, Any]:
    """Return the rates that come with the package, by rule, each with its source."""
    text = files("dawnchorus.overview").joinpath("rates.json").read_text(encoding="utf-8")
    rates: dict[str, Any] = json.loads(text)
    return rates


def read_note(path: Path) -> tuple[float, float | None] | None:
    """Read one of Snakemake's benchmark files.

    Returns
    -------
    tuple or None
        Seconds by the clock, and CPU seconds (None where Snakemake could not tell); None if the file
        is missing or says nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if len(lines) < 2:
        return None
    row = dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=False))
    seconds = _number(row.get("s"))
    return None if seconds is None else (seconds, _number(row.get("cpu_time")))


def _number(text: str | None) -> float | None:
    """Read a number of seconds; None for ``NA``, ``-`` and the like."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _notes(where: Path, experiment: str | None) -> Iterator[Path]:
    """Benchmark files of a step, sorted; of one experiment, if it has any."""
    if experiment is not None:
        where = where / experiment
    alone = where.with_name(f"{where.name}.tsv")
    if alone.exists():
        yield alone
    yield from sorted(where.glob("*/*.tsv"))


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    total = 0
    todo = [os.fspath(path)] if path.is_dir() else []
    try:
        if not todo:
            return path.stat().st_size
    except FileNotFoundError:
        return 0
    while todo:
        try:
            with os.scandir(todo.pop()) as listing:
                for item in listing:
                    if item.is_dir(follow_symlinks=False):
                        todo.append(item.path)
                    else:
                        total += item.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return total
