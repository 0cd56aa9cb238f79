"""Submission: from Snakemake's jobscript to a job of the scheduler, once.

In: a jobscript, a profile's folder. Out: the id of a job that makes its outputs: a new one, or one that is
already at it. Waits while the queue is full or the scheduler is down.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers import backend_of
from dawnchorus.schedulers.backend import Ask, Backend, NoAnswerError, QueueFullError, paced
from dawnchorus.schedulers.clerk import Submitted
from dawnchorus.schedulers.jobscript import Job, carried, keep_payload, read_job, write_wrapper
from dawnchorus.schedulers.journal import Journal, Record, this_workflow
from dawnchorus.schedulers.site import (
    Queue,
    Site,
    System,
    count_for,
    minutes_for,
    queue_for,
    read_site,
)
from dawnchorus.schedulers.status import Word, judge

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
SECONDS_BETWEEN_LINES = 600.0
RECORD_PATIENCE_S = 120
"""How long a job waits for its record: longer than a network file system may take to show a new file."""
UNWRITTEN = Path("logs/<scheduler>/scripts/<job>.sh")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a jobscript would become.

    Attributes
    ----------
    job : Job
        What its script says.
    ask : Ask
        What it asks of the scheduler.
    limits : Queue
        Of the queue it goes to.
    environment : dict of str to str
        What the job is given.
    """

    job: Job
    ask: Ask
    limits: Queue
    environment: dict[str, str]


def plan(jobscript: Path, site: Site, journal: Journal, script: Path = UNWRITTEN) -> Plan:
    """Decide what to ask for, from what the jobscript says and the site allows. Writes nothing.

    Raises
    ------
    DawnChorusError
        If the site does not allow what the job wants, or no project is named.
    """
    job = read_job(jobscript)
    system: System = site.system(_text(job, "system"))
    queue, limits = queue_for(system, job.resources, packed=job.packed, job=job.name)
    filesystems = _text(job, "filesystems")
    ask = Ask(
        name=job.name,
        script=script,
        minutes=minutes_for(limits, queue, job.resources, job=job.name),
        queue=queue,
        count=count_for(limits, queue, job.resources, packed=job.packed, job=job.name),
        project=site.project_of(),
        filesystems=tuple(filesystems.replace(":", ",").split(","))
        if filesystems
        else system.filesystems,
        logs=journal.logs,
        chunk=system.chunk,
        place=system.place,
    )
    return Plan(job, ask, limits, carried(site.carry) | system.environment)


def submission_line(jobscript: Path, profile: Path) -> str:
    """Return the command that would submit a jobscript, as one would type it. Writes nothing.

    Raises
    ------
    DawnChorusError
        As :func:`plan`.
    """
    site = read_site(profile)
    backend = backend_of(site.scheduler)
    journal = Journal.of(site.scheduler)
    job = read_job(jobscript)
    script = journal.script(f"{job.name}.{job.key[:8]}.1")
    return shlex.join(backend.command(plan(jobscript, site, journal, script).ask))


def submit(jobscript: Path, profile: Path, say: Say, hand_over: Say) -> None:
    """Have the scheduler run a jobscript, once; hand over the id of the job that makes its outputs.

    Parameters
    ----------
    jobscript : Path
        As Snakemake wrote it. A copy stays under ``logs/``, this one may go.
    profile : Path
        Folder with a ``site.yaml``.
    say : callable
        Takes one line for a person.
    hand_over : callable
        Takes the id. If it is interrupted before it returns, the job is deleted again.

    Raises
    ------
    DawnChorusError
        If the job can never be submitted as it is, or another job makes its outputs in another way.
    """
    site = read_site(profile)
    backend = backend_of(site.scheduler)
    journal = Journal.of(site.scheduler)
    # Refused before anything is written or asked.
    job = plan(jobscript, site, journal).job
    with journal.lock(job.key):
        adopted = _already_at_it(backend, journal, job, say)
        if adopted is not None:
            hand_over(adopted)
            return
        token = journal.new_token(job.name, job.key)
        planned = plan(jobscript, site, journal, journal.script(token))
        keep_payload(jobscript, journal.payload(token))
        write_wrapper(
            planned.ask.script,
            job=job,
            payload=journal.payload(token),
            logs=journal.logs,
            token=token,
            scheduler=backend.name,
            job_variable=backend.job_variable,
            environment=planned.environment,
            patience_s=RECORD_PATIENCE_S,
        )
        with _taken(backend, planned, say) as submitted:
            journal.write(
                Record(
                    job=submitted.job,
                    token=token,
                    name=job.name,
                    makes=job.makes,
                    key=job.key,
                    params=job.params,
                    queue=planned.ask.queue,
                    minutes=planned.ask.minutes,
                    owner=this_workflow(),
                )
            )
            hand_over(submitted.job)


def _text(job: Job, resource: str) -> str | None:
    """A resource that is a text; None where it is not set."""
    value = job.resources.get(resource)
    return value if isinstance(value, str) and value else None


def _already_at_it(backend: Backend, journal: Journal, job: Job, say: Say) -> str | None:
    """Return the id of a live job that makes these outputs; say which live jobs make some of them."""
    before = journal.by_key(job.key)
    if before is not None and _is_live(backend, journal, before, say):
        if None not in (before.params, job.params) and before.params != job.params:
            raise DawnChorusError(
                f"job {before.job} is at the same outputs with other parameters",
                f"job {job.name}",
                f"let it end, or qdel {before.job}, and start again",
            )
        say(f"{job.name}: job {before.job} is already at it; waiting for that one")
        journal.write(replace(before, owner=this_workflow()))
        return before.job
    for other in journal.overlapping(job.key, job.makes):
        if judge(backend, journal, other.job).word is Word.RUNNING:
            shared = sorted(set(other.makes) & set(job.makes))
            if job.packed and len(shared) == len(job.makes):
                # What is left of a pack whose job was sent off by an earlier start and is not done yet.
                say(
                    f"{job.name}: job {other.job} is already at these {len(shared)} of its "
                    f"{len(other.makes)} outputs; waiting for that one"
                )
                journal.write(replace(other, owner=this_workflow()))
                return other.job
            say(
                f"{job.name}: job {other.job} ({other.name}) may still be at {len(shared)} of its "
                f"outputs, {shared[0]} for one"
            )
    return None


def _is_live(backend: Backend, journal: Journal, record: Record, say: Say) -> bool:
    """Whether a job is still there; waits until that is known."""
    for pause in _pauses():
        verdict = judge(backend, journal, record.job)
        if verdict.sure:
            return verdict.word is Word.RUNNING
        pause(f"{record.name}: is job {record.job} still there? {verdict.reason}", say)
    raise AssertionError("pauses never end")


def _taken(backend: Backend, planned: Plan, say: Say) -> Submitted:
    """Submit until the scheduler takes the job."""
    name, queue, limits = planned.job.name, planned.ask.queue, planned.limits
    for pause in _pauses():
        try:
            submitted = Submitted(backend, planned.ask)
        except QueueFullError:
            pause(
                f"{name}: queue {queue} is full ({limits.max_queued} queued, "
                f"{limits.max_running} running at most); waiting",
                say,
            )
        except NoAnswerError as silence:
            pause(f"{name}: {silence}; waiting for {backend.name}", say)
        else:
            if submitted.beside:
                say(f"{name}: qsub: {submitted.beside}")
            return submitted
    raise AssertionError("pauses never end")


def _pauses() -> Iterator[Callable[[str, Say], None]]:
    """Yield pauses, each twice as long as the one before up to a minute; they speak now and then."""
    length, spoke = FIRST_PAUSE_S, float("-inf")

    def pause(line: str, say: Say) -> None:
        nonlocal length, spoke
        if time.monotonic() - spoke >= SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            say(line)
        time.sleep(paced(length))
        length = min(2 * length, LONGEST_PAUSE_S)

    while True:
        yield pause
