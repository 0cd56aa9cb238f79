"""How a job is doing: two witnesses, and ``failed`` only when it is known.

In: a job id. Out: a :class:`Verdict`.

The first witness is the exit file that the job writes itself, the second is the scheduler. Gone from the
scheduler is no failure yet: its own log lags behind, and so may a network file system. Snakemake removes the
outputs of a job that failed, so a good job called failed costs all its work, and a failed one called running
costs a minute.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dawnchorus.schedulers.backend import Backend, NoAnswerError, Sight, State, in_words
from dawnchorus.schedulers.journal import ExitFile, Journal, Record

DEFAULT_GRACE_S = 60.0
"""How long a job may be gone from its scheduler before no word of it means that it failed."""
GRACE_VARIABLE = "DAWNCHORUS_GRACE_S"
VANISHED = "vanished: the scheduler has forgotten it, and it left no exit status"


class Word(Enum):
    """What Snakemake's executor understands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """How a job is doing.

    Attributes
    ----------
    word : Word
    reason : str
        Why it failed, or what somebody should know; may be empty.
    sure : bool
        False where ``running`` only means that nothing is known yet.
    """

    word: Word
    reason: str = ""
    sure: bool = True


def judge(backend: Backend, journal: Journal, job: str) -> Verdict:
    """Find out how a job is doing. Writes stamps beside the job's record, nothing else."""
    record = journal.by_id(job)
    script = journal.script(record.token) if record else None
    said = journal.exit_file(job, record.token if record else None)
    logged = backend.logged(job, journal.logs, script)
    if said is not None:
        return _by_exit_file(backend, journal, job, said, logged, record)
    if logged is not None and logged.state is State.ENDED:
        return _by_code(logged, record)
    try:
        sight = backend.look(job)
    except NoAnswerError as silence:
        return Verdict(Word.RUNNING, str(silence), sure=False)
    # It may have said so while the scheduler was asked.
    said = journal.exit_file(job, record.token if record else None)
    if said is not None:
        return _by_exit_file(backend, journal, job, said, logged, record)
    return _by_sight(journal, job, sight, logged, record)


def _by_sight(
    journal: Journal, job: str, sight: Sight, logged: Sight | None, record: Record | None
) -> Verdict:
    """The job has said nothing itself: the scheduler's word counts, if it has one."""
    gone = journal.stamp(job, "gone")
    if sight.state in (State.LIVE, State.HELD):
        gone.unlink(missing_ok=True)
        return Verdict(Word.RUNNING, sight.reason)
    if sight.state is State.ENDED:
        return _by_code(sight, record)
    if sight.state is State.DEAD:
        return Verdict(Word.FAILED, sight.reason)
    if not _waited(gone):
        return Verdict(Word.RUNNING, sure=False)
    reason = _with_minutes(logged.reason, record) if logged else VANISHED
    return Verdict(Word.FAILED, reason)


def _by_exit_file(
    backend: Backend,
    journal: Journal,
    job: str,
    said: ExitFile,
    logged: Sight | None,
    record: Record | None,
) -> Verdict:
    """The job's own word counts; the scheduler may know why it was asked to stop."""
    if said.code == 0:
        return Verdict(Word.SUCCESS)
    code = in_words(said.code)
    cause = logged.reason if logged and _says_more(logged) else ""
    if said.asked != "-" and not cause:
        cause = _cause(backend, job)
        if not cause and not _waited(journal.stamp(job, "gone")):
            return Verdict(Word.RUNNING, sure=False)
        cause = cause or f"asked to stop with SIG{said.asked}"
    return Verdict(Word.FAILED, f"{_with_minutes(cause, record)} ({code})" if cause else code)


def _says_more(sight: Sight) -> bool:
    """Whether a sight has a reason beyond its exit status."""
    return bool(sight.reason) and (sight.code is None or sight.reason != in_words(sight.code))


def _cause(backend: Backend, job: str) -> str:
    """Why a scheduler stopped a job, if it says so now."""
    try:
        sight = backend.look(job)
    except NoAnswerError:
        return ""
    return sight.reason if sight.state is State.ENDED and _says_more(sight) else ""


def _by_code(sight: Sight, record: Record | None) -> Verdict:
    if sight.code == 0:
        return Verdict(Word.SUCCESS)
    return Verdict(Word.FAILED, _with_minutes(sight.reason, record))


def _with_minutes(reason: str, record: Record | None) -> str:
    """Say how long the time was that a job ran out of."""
    if record and reason.startswith("walltime"):
        return f"{reason} ({record.minutes} minutes)"
    return reason


def _waited(stamp: Path) -> bool:
    """Whether the grace period is over that began when this was asked for the first time."""
    grace = float(os.environ.get(GRACE_VARIABLE, DEFAULT_GRACE_S))
    try:
        began = stamp.stat().st_mtime
    except FileNotFoundError:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        return grace <= 0
    return time.time() - began >= grace
