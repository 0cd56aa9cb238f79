"""Cobalt, the scheduler of ThetaGPU.

In: its ``qsub``, ``qstat`` and ``qdel``, and the ``.cobaltlog`` it writes for each job. Out: see
:mod:`dawnchorus.schedulers.backend`.

A job that has ended is simply gone from ``qstat`` (nothing on either stream, exit status 1), one to four
seconds before its exit status is in the log. A job that was deleted or ran out of time never gets such a
line. When the scheduler's server is down the exit status is 1 too, but with words on standard error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

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

FULL = re.compile(r"The limit of \d+ jobs per user in the '[^']*' queue has been reached")
DOWN = re.compile(r"<Fault 20:|Connection refused|[Ff]ailed to connect|timed out")
REFUSAL = re.compile(r"<Fault \d+: (?P<quote>['\"])(?P<words>.*?)(?:\\n)?(?P=quote)>")
EXIT_CODE = re.compile(r"task completed normally with an exit code of (-?\d+)")
BLOCK = re.compile(r"^Jobid: ", flags=re.MULTILINE)
WITHOUT_CODE = {
    "maximum execution time exceeded": "walltime: the job ran out of its time",
    "user delete requested": "deleted by {by}",
    "execution failure": "Cobalt could not run it",
}
"""What the log says of jobs that never get an exit status, and what it means."""
NOTHING = Answer(1, "", "")
"""How ``qstat`` says that there is no such job (any more)."""
BY = re.compile(r"user delete requested .*by user (\S+)")
HOLDS = {
    "user_hold": "held: a filesystem that it asked for may be down; release it with: qrls {job}",
    "admin_hold": "held by the scheduler's administrators",
    "maxrun_hold": "",
    "dep_hold": "",
}
"""Held for a reason that passes by itself: nothing to say."""


class Cobalt(Backend):
    """Cobalt as on a cluster system: script mode, no arrays, nothing of the user's environment."""

    name = "cobalt"
    bin_variable = "DAWNCHORUS_COBALT_BIN"
    job_variable = "COBALT_JOBID"

    def command(self, ask: Ask) -> list[str]:
        """Return ``qsub`` with everything on its command line: a jobscript's second line is not Cobalt's."""
        attributes = f"filesystems={','.join(ask.filesystems)}" if ask.filesystems else ""
        return [
            *("qsub", "-n", str(ask.count), "-t", str(ask.minutes)),
            *("-q", ask.queue, "-A", ask.project),
            *(("--attrs", attributes) if attributes else ()),
            *("--jobname", ask.name),
            *("-o", f"{ask.logs}/$jobid.output", "-e", f"{ask.logs}/$jobid.error"),
            *("--debuglog", f"{ask.logs}/$jobid.cobaltlog"),
            str(ask.script),
        ]

    def read_submission(self, answer: Answer) -> str:
        """Return the id: the last line of standard output. See :meth:`Backend.read_submission`."""
        if answer.status == 0:
            lines = answer.out.split()
            if lines and lines[-1].isdigit():
                return lines[-1]
            raise NoAnswerError(f"qsub gave no job id: {answer.out.strip()!r}")
        if FULL.search(answer.err):
            raise QueueFullError(answer.complaint)
        if DOWN.search(answer.err):
            raise NoAnswerError("Cobalt is down")
        refusal = REFUSAL.search(answer.err)
        raise DawnChorusError(refusal["words"] if refusal else answer.complaint, "qsub")

    def look(self, job: str) -> Sight:
        """Ask ``qstat`` for a job. See :meth:`Backend.look`."""
        answer = self.run(["qstat", "--header", "JobID:State", job])
        states = read_table(answer.out)
        if job in states:
            return sight_of(job, states[job])
        if answer == NOTHING:
            return Sight(State.GONE)
        raise NoAnswerError(f"qstat: {answer.complaint}"[:200])

    def logged(self, job: str, logs: Path, script: Path | None) -> Sight | None:
        """Read the job's ``.cobaltlog``. See :meth:`Backend.logged`."""
        try:
            text = (logs / f"{job}.cobaltlog").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return read_log(text, script)

    def delete(self, jobs: Sequence[str]) -> None:
        """Call ``qdel``. See :meth:`Backend.delete`."""
        answer = self.run(["qdel", *jobs])
        if answer.status != 0:
            raise NoAnswerError(answer.complaint)


def read_table(text: str) -> dict[str, str]:
    """Return the state of each job of ``qstat --header JobID:State``.

    Parameters
    ----------
    text : str
        A line of names, a line of ``=``, a line per job; or nothing.
    """
    rows = [line.split() for line in text.splitlines()]
    rules = [
        number
        for number, line in enumerate(text.splitlines())
        if line.strip() and set(line.strip()) == {"="}
    ]
    if not rules or rows[rules[0] - 1] != ["JobID", "State"]:
        return {}
    return {row[0]: row[1] for row in rows[rules[0] + 1 :] if len(row) == 2}


def sight_of(job: str, state: str) -> Sight:
    """Say what a state of ``qstat`` means for whoever waits for the job."""
    if state == "dep_fail":
        return Sight(
            State.DEAD, reason=f"dependency failed; it stays in the queue until: qdel {job}"
        )
    if state in HOLDS:
        said = HOLDS[state].format(job=job)
        return Sight(State.HELD if said else State.LIVE, reason=said)
    return Sight(State.LIVE)


def read_log(text: str, script: Path | None) -> Sight | None:
    """Read what a ``.cobaltlog`` says of how its job ended.

    Parameters
    ----------
    text : str
        The log. Cobalt appends to one that is there: the last block counts.
    script : Path or None
        If given, a block that does not name it is of another job.

    Returns
    -------
    Sight or None
        See :meth:`Backend.logged`.
    """
    block = BLOCK.split(text)[-1]
    if script is not None and script.name not in block:
        return None
    codes = EXIT_CODE.findall(block)
    causes = [meaning for words, meaning in WITHOUT_CODE.items() if words in block]
    by = BY.search(block)
    reason = causes[0].format(by=f"user {by[1]}" if by else "a user") if causes else ""
    if codes:
        code = int(codes[-1])
        return Sight(State.ENDED, code, reason or (in_words(code) if code else ""))
    return Sight(State.GONE, reason=reason) if reason else None
