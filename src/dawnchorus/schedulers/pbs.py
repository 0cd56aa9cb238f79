"""PBS Pro and OpenPBS, the schedulers of Sophia and Polaris.

In: ``qsub``, ``qstat -x -f -F json`` and ``qdel``. Out: see :mod:`dawnchorus.schedulers.backend`.

A finished job stays in the server's history for days or weeks with its ``Exit_status``: below 256 the
script's own, from 256 on 256 + the signal that killed it, below 0 one of PBS's reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers.backend import (
    Answer,
    Ask,
    Backend,
    NoAnswerError,
    QueueFullError,
    Sight,
    State,
    in_words,
)

JOB_ID = re.compile(r"^\d+(\[\d*\])?(\.\S+)?$")
FULL = re.compile(
    r"would exceed .*limit|Maximum number of jobs|job violates .*limit", flags=re.IGNORECASE
)
DOWN = re.compile(
    r"cannot connect to server|Connection refused|Communication failure|End of File"
    r"|timed out|Server shutting down|No route to host",
    flags=re.IGNORECASE,
)
UNKNOWN = re.compile(r"Unknown Job Id|Job has finished", flags=re.IGNORECASE)
KILLED = {
    -29: "walltime: the job ran out of its time",
    -28: "it used more CPU time than it asked for",
    -27: "it used more memory than it asked for",
    -26: "it used more virtual memory than it asked for",
    -25: "it used more CPUs than it asked for",
    -24: "it used more CPUs than it asked for, for a moment",
    -3: "PBS could not start it; try again",
    -2: "PBS could not run it: after its files were staged",
    -1: "PBS could not run it: before its files were staged",
}
"""Exit statuses below 0 (``pbs_ifl.h``: JOB_EXEC_*)."""
WALLTIME = re.compile(r"walltime", flags=re.IGNORECASE)
DELETED = re.compile(r"(deleted|terminated) by (user )?(?P<who>\S+)", flags=re.IGNORECASE)
STOPPED = re.compile(r"terminated", flags=re.IGNORECASE)
DEPENDENCY = re.compile(r"depend", flags=re.IGNORECASE)
FIELD = re.compile(
    r'"(?P<key>job_state|Exit_status|comment|Hold_Types)"\s*:\s*'
    r'(?:"(?P<text>(?:[^"\\\n]|\\.)*)"|(?P<number>-?\d+))'
)


class Pbs(Backend):
    """PBS Pro as at ALCF: chunks, filesystems as a resource, output written where it belongs at once."""

    name = "pbs"
    bin_variable = "DAWNCHORUS_PBS_BIN"
    job_variable = "PBS_JOBID"

    def command(self, ask: Ask) -> list[str]:
        """Return ``qsub``; ``-r n``: a job that PBS starts again by itself would run beside our retry."""
        chunk = "".join(f":{key}={value}" for key, value in ask.chunk.items())
        hours, minutes = divmod(ask.minutes, 60)
        return [
            *("qsub", "-N", ask.name, "-A", ask.project, "-q", ask.queue),
            *("-l", f"select={ask.count}{chunk}"),
            *(("-l", f"place={ask.place}") if ask.place else ()),
            *("-l", f"walltime={hours:02}:{minutes:02}:00"),
            *(("-l", f"filesystems={':'.join(ask.filesystems)}") if ask.filesystems else ()),
            *("-r", "n", "-k", "doe", "-o", f"{ask.logs}/", "-e", f"{ask.logs}/"),
            str(ask.script),
        ]

    def read_submission(self, answer: Answer) -> str:
        """Return the id: the last line of standard output. See :meth:`Backend.read_submission`."""
        if answer.status == 0:
            lines = answer.out.split()
            if lines and JOB_ID.match(lines[-1]):
                return lines[-1]
            raise NoAnswerError(f"qsub gave no job id: {answer.out.strip()!r}")
        if FULL.search(answer.err):
            raise QueueFullError(answer.complaint)
        if DOWN.search(answer.err):
            raise NoAnswerError("PBS is down")
        raise DawnChorusError(answer.complaint.removeprefix("qsub: "), "qsub")

    def look(self, job: str) -> Sight:
        """Ask ``qstat`` for a job, also for one that is over. See :meth:`Backend.look`."""
        answer = self.run(["qstat", "-x", "-f", "-F", "json", job])
        fields = read_job(answer.out, job)
        if fields:
            return sight_of(job, fields)
        if UNKNOWN.search(answer.err):
            return Sight(State.GONE)
        raise NoAnswerError(f"qstat: {answer.complaint}"[:200])

    def delete(self, jobs: Sequence[str]) -> None:
        """Call ``qdel``. See :meth:`Backend.delete`."""
        answer = self.run(["qdel", *jobs])
        if answer.status != 0 and DOWN.search(answer.err):
            raise NoAnswerError(answer.complaint)


def read_job(text: str, job: str) -> dict[str, Any]:
    """Return the fields of a job from ``qstat -f -F json``; empty if it is not there.

    Some versions of PBS write JSON that is none (a quote inside a variable of the job). Then the four
    fields that count are looked for in the text: one job was asked for, so they are its own.
    """
    try:
        jobs = json.loads(text, strict=False)["Jobs"]
        found = {key: fields for key, fields in jobs.items() if number_of(key) == number_of(job)}
        return dict(next(iter(found.values()), {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        if f'"{number_of(job)}' not in text:
            return {}
    fields: dict[str, Any] = {}
    for field in FIELD.finditer(text):
        value = field["text"] if field["number"] is None else int(field["number"])
        fields.setdefault(field["key"], value)
    return fields


def number_of(job: str) -> str:
    """Return an id without its server: ``12.host`` and ``12.host.domain`` are one job."""
    return job.partition(".")[0]


def sight_of(job: str, fields: dict[str, Any]) -> Sight:
    """Say what the fields of a job mean for whoever waits for it."""
    state, comment = str(fields.get("job_state", "")), str(fields.get("comment", ""))
    if state == "H":
        if DEPENDENCY.search(comment) or "s" in str(fields.get("Hold_Types", "")):
            said = f"held by PBS ({comment})" if comment else "held by PBS"
        else:
            said = f"held; a filesystem that it asked for may be down; release it with: qrls {job}"
        return Sight(State.HELD, reason=said)
    if state not in {"F", "X"}:
        return Sight(State.LIVE) if state else Sight(State.GONE)
    status = fields.get("Exit_status")
    if status is None:
        return Sight(State.ENDED, reason=without_status(comment))
    code = int(status)
    if code == 0:
        return Sight(State.ENDED, 0)
    if code < 0:
        return Sight(State.ENDED, code, KILLED.get(code, f"PBS ended it with {code}"))
    if code >= 256:
        code = 128 + code - 256
    return Sight(State.ENDED, code, cause_of(comment) or in_words(code))


def cause_of(comment: str) -> str:
    """Say why a job was stopped, as far as its comment says."""
    if WALLTIME.search(comment):
        return "walltime: the job ran out of its time"
    deleted = DELETED.search(comment)
    if deleted:
        return f"deleted by user {deleted['who'].split('@')[0]}"
    return "deleted, or stopped by PBS" if STOPPED.search(comment) else ""


def without_status(comment: str) -> str:
    """Say why a job has ended that never ran."""
    if DEPENDENCY.search(comment):
        return "dependency failed"
    return cause_of(comment) or (
        f"ended before it ran ({comment})" if comment else "deleted before it ran"
    )
