"""The steps as a person calls them, in the order of the data.

In: a rule of the workflow. Out: its words, and where Snakemake notes what its jobs took.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dawnchorus.results import RecorderDay


@dataclass(frozen=True)
class Step:
    """A rule of the workflow."""

    rule: str
    words: str
    benchmarks: str
    """Folder (or file, without suffix) below ``benchmarks``."""
    of_day: bool = False
    """A job per recorder-day, else one."""
    of_experiment: bool = False
    """Jobs per experiment, else one for all."""
    data: str | None = None
    """Folder below ``results`` (or below the experiment's) of what a recorder-day's job writes."""


STEPS: dict[str, Step] = {
    step.rule: step
    for step in (
        Step("scan", "inventory", "scan"),
        Step("spectrograms_day", "spectrograms", "spectrograms", of_day=True, data="spectrograms"),
        Step("indices_day", "acoustic indices", "indices", of_day=True, data="indices"),
        Step("birdnet_day", "BirdNET", "birdnet", of_day=True, data="birdnet"),
        Step("sample", "training set", "sample"),
        Step("train_experiment", "training", "train", of_experiment=True),
        Step(
            "embed_day", "embeddings", "embed", of_day=True, of_experiment=True, data="embeddings"
        ),
        Step("cluster", "clusters: fit", "cluster", of_experiment=True),
        Step(
            "assign_day",
            "clusters: assignment",
            "assign",
            of_day=True,
            of_experiment=True,
            data="clusters",
        ),
        Step("cluster_pass", "clusters: passes", "passes", of_experiment=True),
        Step("assign_pass", "clusters: assignment in passes", "passes_assign", of_experiment=True),
        Step("sweep", "clusters: sweep", "sweep", of_experiment=True),
        Step("statistics", "statistics of the space", "statistics", of_experiment=True),
        Step("map_fit", "map: fit", "map_fit", of_experiment=True),
        Step("map", "map: placement", "map", of_experiment=True),
        Step("attend", "attention", "attend", of_experiment=True),
        Step("outliers", "outliers", "outliers", of_experiment=True),
        Step("evaluate", "evaluation", "evaluate"),
        Step("labelled_sound", "labelled sets: sound", "labelled_sound"),
        Step("labelled_set", "labelled sets", "labelled"),
        Step("experiment_figures", "figures", "figures", of_experiment=True),
        Step("comparison_figures", "figures of the evaluation", "comparison_figures"),
        Step("snakemake_report", "report", "report"),
    )
}
ORDER = {rule: number for number, rule in enumerate(STEPS)}


def words_of(rule: str) -> str:
    """Return what a person calls a rule; a rule that is not known here keeps its name."""
    return STEPS[rule].words if rule in STEPS else rule


def in_order(rules: Iterable[str]) -> list[str]:
    """Sort rules as the data flows; what is not known here comes last, by name."""
    return sorted(set(rules), key=lambda rule: (ORDER.get(rule, len(ORDER)), rule))


def counted(number: int, what: str, many: str | None = None) -> str:
    """Return ``1 job``, ``2 jobs``, ``1,234 jobs``."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


NAMED = 3
"""So many are named; of more, only the first."""


def named(days: Collection[RecorderDay]) -> str:
    """Name a few recorder-days, or the first of many."""
    listed = [str(day) if day.date else day.recorder for day in sorted(days)]
    if len(listed) <= NAMED:
        return ", ".join(listed)
    return f"{listed[0]} and {len(listed) - 1:,} more"


def lasting(seconds: float) -> str:
    """Return a time as a person reads it: ``12 s``, ``34 min``, ``5.6 h``."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.1f} h"


def amount(number: float) -> str:
    """Return bytes as a person reads them, in powers of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            digits = 0 if unit == "bytes" or number >= 10 else 1
            return f"{number:,.{digits}f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
