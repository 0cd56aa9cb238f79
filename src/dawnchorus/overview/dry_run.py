"""The end of a dry run: what will run and why, what it takes, what waits, how old the training set is.

In: Snakemake's workflow (:func:`register`, called once while the Snakefile is read). Out: some lines on standard
error when the process ends, if it was a dry run that came to its end; never on standard output, which belongs
to ``--dag`` and the like, and nothing on the disk.

Snakemake calls no hook in a dry run. That is why the summary waits for the end of the process.
"""

from __future__ import annotations

import atexit
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.overview.plan import Plan, PlannedJob
from dawnchorus.overview.rates import Amounts, Cost, Rates
from dawnchorus.overview.reasons import reasons
from dawnchorus.overview.snakemake_graph import is_told, read_plan
from dawnchorus.overview.staleness import staleness, standing
from dawnchorus.overview.steps import STEPS, amount, counted, in_order, lasting, named, words_of
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import say
from dawnchorus.recordings.inventory import CardIndex
from dawnchorus.results import SET_ASIDE, RecorderDay, Results, read_receipt

BYTES_PER_HOUR = 44_100 * 2 * 3600
"""Of 16-bit mono WAV at 44.1 kHz: how long recordings are taken to be before they were opened."""
WIDTH = 26
"""Of the steps' words."""


def register(workflow: Any, settings: Settings, results: Results, cards: CardIndex) -> None:
    """Have the summary told when the process ends, if it was a dry run.

    Parameters
    ----------
    workflow
        Snakemake's; looked at only then.
    settings : Settings
    results : Results
    cards : CardIndex
        What is on the cards, from reading the Snakefile.
    """
    atexit.register(tell, workflow, settings, results, cards)


def tell(workflow: Any, settings: Settings, results: Results, cards: CardIndex) -> None:
    """Tell the summary of a dry run, or in one line why there is none; other runs are passed over."""
    try:
        if is_told(workflow):
            say("\n".join(["", *summary(read_plan(workflow), settings, results, cards)]))
    except (DawnChorusError, OSError) as error:
        say(f"dawnchorus: {error}")


def summary(plan: Plan, settings: Settings, results: Results, cards: CardIndex) -> list[str]:
    """Say what a dry run found.

    Parameters
    ----------
    plan : Plan
    settings : Settings
    results : Results
        Only read.
    cards : CardIndex

    Returns
    -------
    list of str
        Lines.

    Raises
    ------
    DawnChorusError
        If a receipt or the inventory cannot be read.
    """
    known = _known_hours(results)
    days = sorted({day.day for day in cards.days} | set(results.days_with_receipts()))
    if not plan.jobs:
        lines = ["Nothing would run: all that was asked for is there."]
    else:
        hours = {day.day: known.get(day.day, day.size_bytes / BYTES_PER_HOUR) for day in cards.days}
        amounts = Amounts(hours, sum(day.recordings for day in cards.days))
        guessed = any(day.day not in known for day in cards.days)
        lines = [
            "What would run, and why",
            *_indented(reasons(plan.jobs, None if not known else set(known))),
            "Jobs",
            *_indented(_jobs(plan)),
            "What it takes",
            *_indented(_costs(plan, Rates(settings, results, amounts), guessed)),
        ]
    waiting = [*_pending(cards, settings.audio.min_age_hours), *_aside(results, days)]
    if waiting:
        lines += ["What is left out", *_indented(waiting)]
    return [*lines, "Training set", *_indented(_training_set(plan, settings, results, days))]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _known_hours(results: Results) -> dict[RecorderDay, float]:
    """Hours of usable sound of the recorder-days that the last inventory knew."""
    if not results.recordings.exists():
        return {}
    try:
        table = read_parquet(
            results.recordings, columns=["recorder", "date", "duration_s", "status"]
        )
    except pl.exceptions.PolarsError:
        raise DawnChorusError(
            "is not a table of recordings", results.recordings, "run 'dawnchorus scan' again"
        ) from None
    usable = pl.when(pl.col("status").is_in(["ok", "partial"])).then("duration_s").otherwise(0.0)
    by_day = table.drop_nulls("date").group_by("recorder", "date").agg(usable.sum() / 3600)
    return {RecorderDay(recorder, date): hours for recorder, date, hours in by_day.rows()}


def _jobs(plan: Plan) -> list[str]:
    """One line per step, then all of them and how they are submitted."""
    lines = []
    for rule in in_order(job.rule for job in plan.jobs):
        jobs = [job for job in plan.jobs if job.rule == rule]
        lines.append(f"{words_of(rule):<{WIDTH}}{_extent(rule, jobs)}")
    lines.append(f"{counted(len(plan.jobs), 'job')} in all; {_submissions(plan)}")
    return lines


def _extent(rule: str, jobs: Sequence[PlannedJob]) -> str:
    experiments = sorted({job.experiment for job in jobs if job.experiment})
    of = f" ({', '.join(experiments)})" if experiments else ""
    if rule in STEPS and STEPS[rule].of_day:
        many = counted(len({job.day for job in jobs}), "recorder-day")
        if len(experiments) > 1:
            return f"{counted(len(jobs), 'job')}: {many}{of}"
        return f"{many}{of}"
    return f"{counted(len(jobs), 'job')}{of}"


def _submissions(plan: Plan) -> str:
    if plan.remote is None:
        return "this Snakemake does not tell a dry run whether they go to a scheduler"
    if not plan.remote:
        return "nothing goes to a scheduler"
    steps: dict[int, str] = {}
    for rule in in_order(job.rule for job in plan.jobs):
        for job in plan.jobs:
            if job.rule == rule and job.submission is not None:
                steps.setdefault(job.submission, words_of(rule))
    here = sum(job.submission is None for job in plan.jobs)
    counts = Counter(steps.values())
    told = ", ".join(f"{words} {number:,}" for words, number in counts.items())
    beside = f"; {counted(here, 'job runs', 'jobs run')} where Snakemake runs" if here else ""
    if not steps:
        return f"nothing goes to a scheduler{beside}"
    return f"{counted(len(steps), 'submission')} to the scheduler ({told}){beside}"


def _costs(plan: Plan, rates: Rates, guessed: bool) -> list[str]:
    """One line per step whose rate is known, the steps whose is not, and the sum."""
    costs = [(job, rates.of(job)) for job in plan.jobs]
    lines, unknown = [], []
    for rule in in_order(job.rule for job in plan.jobs):
        of_rule = [cost for job, cost in costs if job.rule == rule]
        found = [cost for cost in of_rule if cost is not None]
        if len(found) < len(of_rule):
            unknown.append(words_of(rule))
        if found:
            sources = list(dict.fromkeys(cost.source for cost in found))
            if guessed and any(source.endswith(".txt") for source in sources) and rule != "scan":
                sources.append("new recordings taken as 16-bit mono WAV at 44.1 kHz")
            clock = ""
            if rule == "train_experiment":
                clock = f"{lasting(sum(cost.seconds for cost in found))} by the clock, "
            amounts = f"{clock + _amounts(found):<{WIDTH}}"
            lines.append(f"{words_of(rule):<{WIDTH}}{amounts}{'; '.join(sources)}")
    if unknown:
        lines.append(f"{'unknown, not measured yet:':<{WIDTH}} {', '.join(unknown)}")
    every = [cost for _, cost in costs if cost is not None]
    if every:
        what = "what is known" if unknown else "in all"
        lines.append(f"{what}: {_amounts(every)}{_node_hours(plan, costs)}")
    return lines


def _amounts(costs: Sequence[Cost]) -> str:
    """``1.6 CPU-hours, 197 GB``; the clock's time where CPU time was not measured."""
    cpu = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
    written = [cost.megabytes for cost in costs if cost.megabytes is not None]
    told = f"{lasting(sum(cpu))} CPU" if cpu else lasting(sum(cost.seconds for cost in costs))
    return f"{told}, {amount(1e6 * sum(written))}" if written else told


def _node_hours(plan: Plan, costs: Sequence[tuple[PlannedJob, Cost | None]]) -> str:
    """Sum of what the submissions take by the clock, each on nodes of its own; members of a packed
    submission run side by side as far as the node's cores go."""
    if not plan.remote:
        return ""
    members: dict[tuple[int, str], list[tuple[PlannedJob, Cost]]] = {}
    for job, cost in costs:
        if cost is not None and job.submission is not None:
            members.setdefault((job.submission, job.rule), []).append((job, cost))
    seconds = 0.0
    for found in members.values():
        beside = max(1, plan.cores // max(job.threads for job, _ in found))
        layers = math.ceil(len(found) / beside)
        nodes = max(job.nodes for job, _ in found)
        seconds += nodes * layers * sum(cost.seconds for _, cost in found) / len(found)
    return f", {seconds / 3600:,.1f} node-hours on nodes of {counted(plan.cores, 'core')}"


def _pending(cards: CardIndex, min_age_hours: float) -> list[str]:
    if not cards.pending:
        return []
    recordings = sum(cards.pending.values())
    return [
        f"pending: {counted(recordings, 'recording')} younger than {min_age_hours:g} hours "
        f"(audio.min_age_hours): {named(cards.pending.keys())}"
    ]


def _aside(results: Results, days: Iterable[RecorderDay]) -> list[str]:
    """Recorder-days of which nothing can be used, by reason."""
    found: dict[str, list[RecorderDay]] = {}
    for day in days:
        path = results.spectrograms_receipt(day)
        if not path.exists():
            continue
        receipt = read_receipt(path)
        if receipt.get("verdict") == SET_ASIDE:
            found.setdefault(str(receipt.get("reason")), []).append(day)
    return [
        f"set aside: {counted(len(some), 'recorder-day')} ({named(some)}): {reason}"
        for reason, some in sorted(found.items())
    ]


def _training_set(
    plan: Plan, settings: Settings, results: Results, days: Sequence[RecorderDay]
) -> list[str]:
    receipt = standing(results)
    lines = [staleness(days, receipt)]
    if any(job.rule == "sample" for job in plan.jobs):
        of = f"edition {settings.training_set.edition} is drawn"
        lines.append(f"{of} from all {counted(len(days), 'recorder-day')} in this run")
    return lines
