"""What the executables of a profile do: read the command line, answer as Snakemake expects.

In: ``sys.argv``. Out: exactly what the generic cluster executor reads, on standard output; words for people
on standard error and in ``logs/<scheduler>``. Light to import: a status is asked for every job, again and
again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dawnchorus.errors import DawnChorusError

DETACHED = "--detached"
CANCEL_PATIENCE_S, CANCEL_PAUSE_S = 300.0, 5.0


def say(line: str) -> None:
    """Print one line for a person on standard error."""
    print(f"dawnchorus: {' '.join(line.split())}", file=sys.stderr, flush=True)


def submit(profile: Path) -> None:
    """``submit.py JOBSCRIPT``: print the id of the job that runs it; exit status 1 and a line if none can."""
    from dawnchorus.schedulers.submission import submit as submit_script

    if len(sys.argv) != 2:
        say("usage: submit.py JOBSCRIPT")
        sys.exit(2)
    try:
        submit_script(Path(sys.argv[1]), profile, say, lambda job: print(job, flush=True))
    except DawnChorusError as error:
        say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; no job of it stays")
        sys.exit(130)
    # At once: Snakemake has the id only when this process is gone, and a Ctrl-C until then would lose it.
    os._exit(0)


def status(profile: Path) -> None:
    """``status.py ID``: print ``running``, ``success`` or ``failed``; exit status 0 whatever happens.

    Any other answer ends the whole workflow, so what goes wrong here is said on standard error, and the job
    counts as running: it is not known to have failed.
    """
    # Ctrl-C goes to the whole group; Snakemake trips over a status that dies of it. And while it asks for
    # statuses its own list of jobs to cancel is empty, so they are cancelled from here.
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    word = "running"
    try:
        word = _word_of(profile, sys.argv[1])
    except Exception as error:
        say(f"status of job {' '.join(sys.argv[1:])} is not known: {type(error).__name__}: {error}")
    print(word)
    if stopped:
        _detach(profile, [])


def _word_of(profile: Path, job: str) -> str:
    from dawnchorus.schedulers import backend_of
    from dawnchorus.schedulers.journal import Journal, publish
    from dawnchorus.schedulers.status import Word, judge

    scheduler = scheduler_of(profile)
    journal = Journal.of(scheduler)
    verdict = judge(backend_of(scheduler), journal, job)
    record = journal.by_id(job)
    line = f"job {job} ({record.name}) " if record else f"job {job} "
    if verdict.word is Word.FAILED:
        say(f"{line}failed: {verdict.reason}")
        publish(journal.reason(job), f"{line}failed: {verdict.reason}\n")
    elif verdict.reason and verdict.sure:
        # Held: once is enough, the job will be asked for many times.
        told = journal.stamp(job, "held")
        if not told.exists():
            told.touch()
            say(f"{line}waits: {verdict.reason}")
    return verdict.word.value


def scheduler_of(profile: Path) -> str:
    """Return the scheduler that a ``site.yaml`` names; the rest of the file is no matter of a status."""
    import yaml

    from dawnchorus.schedulers import SITE_FILE

    return str(yaml.safe_load((profile / SITE_FILE).read_text(encoding="utf-8"))["scheduler"])


def cancel(profile: Path) -> None:
    """``cancel.py ID...``: have all jobs of this workflow deleted, and return at once.

    Snakemake waits two seconds, ``qdel`` alone takes more than one: it is left to a process of its own.
    Snakemake calls this at its end only, and forgets the jobs whose status it was just asking for: they
    are deleted too.
    """
    if sys.argv[1:2] == [DETACHED]:
        delete(profile, sys.argv[2], sys.argv[3:])
    else:
        _detach(profile, sys.argv[1:])


def _detach(profile: Path, jobs: list[str]) -> None:
    """Have jobs deleted, and all that this workflow waits for, by a process that nobody waits for."""
    from dawnchorus.schedulers.journal import this_workflow

    subprocess.Popen(
        [sys.executable, str(profile / "cancel.py"), DETACHED, this_workflow(), *jobs],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def delete(profile: Path, owner: str, named: list[str]) -> None:
    """Delete jobs, patiently; ``logs/<scheduler>/cancel.log`` says which, or what went wrong.

    Parameters
    ----------
    profile : Path
    owner : str
        The workflow whose unfinished jobs are deleted, as in their records.
    named : list of str
        Jobs to delete beside.
    """
    from dawnchorus.schedulers import backend_of
    from dawnchorus.schedulers.backend import NoAnswerError, paced
    from dawnchorus.schedulers.journal import Journal

    scheduler = scheduler_of(profile)
    journal = Journal.of(scheduler)
    jobs = list(dict.fromkeys([*named, *journal.unfinished_of(owner)]))
    if not jobs:
        return
    log = journal.logs / "cancel.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    backend = backend_of(scheduler)
    until = time.monotonic() + paced(CANCEL_PATIENCE_S)
    with log.open("a", encoding="utf-8") as lines:
        while True:
            try:
                backend.delete(jobs)
            except NoAnswerError as silence:
                if time.monotonic() < until:
                    time.sleep(paced(CANCEL_PAUSE_S))
                    continue
                lines.write(f"not deleted: {' '.join(jobs)}: {silence}\n")
            except DawnChorusError as error:
                lines.write(f"not deleted: {' '.join(jobs)}: {error}\n")
            else:
                lines.write(f"deleted: {' '.join(jobs)}\n")
            return
