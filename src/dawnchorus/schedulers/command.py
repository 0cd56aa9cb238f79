"""What the executables of a profile do: read the command line, answer as Snakemake expects.

In: ``sys.argv``. Out: exactly what the generic cluster executor reads, on standard output; words for people
on standard error and in ``logs/<scheduler>``. Light to import: a status is asked for every job, again and
again.
"""

from __future__ import annotations

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


def status(profile: Path) -> None:
    """``status.py ID``: print ``running``, ``success`` or ``failed``; exit status 0 whatever happens.

    Any other answer ends the whole workflow, so what goes wrong here is said on standard error, and the job
    counts as running: it is not known to have failed.
    """
    # Ctrl-C goes to the whole group; Snakemake trips over a status that dies of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    word = "running"
    try:
        word = _word_of(profile, sys.argv[1])
    except Exception as error:
        say(f"status of job {' '.join(sys.argv[1:])} is not known: {type(error).__name__}: {error}")
    print(word)


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
    """``cancel.py ID...``: have the jobs deleted, and return at once.

    Snakemake waits two seconds, ``qdel`` alone takes more than one: it is left to a process of its own.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == [DETACHED]:
        delete(profile, arguments[1:])
    elif arguments:
        subprocess.Popen(
            [sys.executable, str(Path(sys.argv[0]).absolute()), DETACHED, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def delete(profile: Path, jobs: list[str]) -> None:
    """Delete jobs, patiently; what goes wrong stands in ``logs/<scheduler>/cancel.log``."""
    from dawnchorus.schedulers import backend_of
    from dawnchorus.schedulers.backend import NoAnswerError, paced
    from dawnchorus.schedulers.journal import Journal

    scheduler = scheduler_of(profile)
    log = Journal.of(scheduler).logs / "cancel.log"
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
