"""Why something runs, in lines that a person understands.

In: the jobs of a dry run (:class:`~dawnchorus.overview.plan.PlannedJob`) and the recorder-days that the last
inventory knew. Out: a few lines, each one cause ("1 new recorder-day", "spectrogram.f_max 15000.0 -> 14000.0"),
not one per job. A job that only follows from another one is not a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dawnchorus.overview.plan import Change, PlannedJob
from dawnchorus.overview.steps import counted, in_order, named, words_of
from dawnchorus.results import RecorderDay

EDITION = "training_set.edition"
NO_RECORDINGS = "no recordings left"
"""What the workflow says of a recorder-day whose recordings are all gone, instead of a fingerprint."""


def reasons(jobs: Sequence[PlannedJob], known: Collection[RecorderDay] | None) -> list[str]:
    """Say why these jobs run, causes only, each once.

    Parameters
    ----------
    jobs : sequence of PlannedJob
    known : collection of RecorderDay or None
        Recorder-days of the last inventory; None if there was none.

    Returns
    -------
    list of str
        Without full stops; most important first.
    """
    missing = [job for job in jobs if job.missing]
    new_days = {job.day for job in missing if job.day and job.day not in (known or ())}
    new_experiments = {
        str(job.experiment) for job in missing if job.rule == "train_experiment" and job.experiment
    }
    unmade = [
        job
        for job in missing
        if job.day not in new_days
        and job.experiment not in new_experiments
        # Of a season that has nothing at all it says nothing that there is no report yet.
        and (known is not None or job.day is not None)
    ]
    return [
        *_of_days("new recorder-day", new_days),
        *_of_recordings(jobs),
        *_of_settings(jobs),
        *(f"experiment {name} is not trained yet" for name in sorted(new_experiments)),
        *_of_days("recorder-day whose data was deleted", _days(jobs, lambda job: job.data_deleted)),
        *_by_step("not made yet", unmade),
        *_by_step("asked for again", [job for job in jobs if job.forced]),
        *_by_step("changed by hand, what is read by", [job for job in jobs if job.updated]),
        *_by_step("other inputs than before", [job for job in jobs if _reads_others(job)]),
        *_by_step("the workflow's own command changed", [job for job in jobs if job.code_changed]),
        *_by_step("another software environment", [job for job in jobs if job.software_changed]),
    ]


def _reads_others(job: PlannedJob) -> bool:
    """Tell whether other inputs are a reason of their own, not another list of recorder-days."""
    return job.inputs_changed and not any(change.name == "days" for change in job.changes)


def _days(jobs: Iterable[PlannedJob], wanted: Callable[[PlannedJob], bool]) -> set[RecorderDay]:
    return {job.day for job in jobs if job.day is not None and wanted(job)}


def _of_days(what: str, days: Collection[RecorderDay]) -> Iterator[str]:
    if days:
        yield f"{counted(len(days), what, _plural(what))} ({named(days)})"


def _plural(what: str) -> str:
    return what.replace("recorder-day", "recorder-days", 1)


def _of_recordings(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """Days whose recordings are not what they were; a change on the cards that no day shows."""
    seen = [
        (job.day, change)
        for job in jobs
        for change in job.changes
        if change.name == "recordings" and job.day is not None
    ]
    gone = {day for day, change in seen if change.now == NO_RECORDINGS}
    yield from _of_days("recorder-day with changed recordings", {day for day, _ in seen} - gone)
    yield from _of_days("recorder-day without recordings now", gone)
    moved = any(change.name == "season" for job in jobs for change in job.changes)
    if moved and not seen and not any(job.missing and job.day for job in jobs):
        yield "the cards are not what they were at the last inventory"


def _of_settings(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """Settings with their values before and now, and the steps that ask for them."""
    concerned: dict[str, set[str]] = {}
    lists: list[PlannedJob] = []
    for job in jobs:
        lines = [line for change in job.changes for line in _told(change)]
        for line in lines:
            concerned.setdefault(line, set()).add(job.rule)
        if not lines and any(change.name == "days" for change in job.changes):
            lists.append(job)
    for line, rules in sorted(
        concerned.items(), key=lambda item: (not _is_edition(item[0]), item[0])
    ):
        steps = "" if _is_edition(line) else f" ({', '.join(map(words_of, in_order(rules)))})"
        yield f"{line}{steps}"
    # Days that are new or gone are told by themselves.
    if not any(job.missing and job.day for job in jobs):
        yield from _by_step("another list of recorder-days", lists)


def _is_edition(line: str) -> bool:
    return line.startswith("training set edition")


def _told(change: Change) -> Iterator[str]:
    if change.name != "settings":
        return
    before, now = flattened(change.before), flattened(change.now)
    if change.before is None:
        yield "settings changed"
        return
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key == EDITION:
            yield f"training set edition {new} (was {old})"
        else:
            yield f"{key} {_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def flattened(settings: str | None) -> dict[str, Any]:
    """Return the settings of a rule by their dotted keys; empty for what is not such JSON."""
    try:
        sections = json.loads(settings or "")
    except json.JSONDecodeError:
        return {}
    return dict(_leaves(sections)) if isinstance(sections, dict) else {}


def _leaves(sections: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in sections.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _by_step(what: str, jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """One line for all steps; steps of recorder-days say how many."""
    if not jobs:
        return
    told = []
    for rule in in_order(job.rule for job in jobs):
        days = [job for job in jobs if job.rule == rule and job.day is not None]
        told.append(
            f"{words_of(rule)} of {counted(len({job.day for job in days}), 'recorder-day')}"
            if days
            else words_of(rule)
        )
    yield f"{what}: {', '.join(told)}"
