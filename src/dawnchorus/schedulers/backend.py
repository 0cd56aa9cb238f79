"""What a scheduler must be able to do, and the words in which it answers.

In: an :class:`Ask`, or the ids of jobs. Out: a job id, a :class:`Sight` of a job, or one of the two
exceptions that mean "later": :class:`QueueFullError` and :class:`NoAnswerError`. What is refused for good is a
:class:`~dawnchorus.errors.DawnChorusError`.
"""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from dawnchorus.errors import DawnChorusError

DEFAULT_TIMEOUT_S = 30.0
"""A scheduler whose server hangs keeps its commands waiting for minutes; nobody waits so long."""
TIMEOUT_VARIABLE = "DAWNCHORUS_SCHEDULER_TIMEOUT_S"


PACE_VARIABLE = "DAWNCHORUS_PACE"
"""Environment variable: a factor on every pause of ours, for tests against a scheduler that runs faster."""


def paced(seconds: float) -> float:
    """Return how long a pause of so many seconds takes."""
    return seconds * float(os.environ.get(PACE_VARIABLE, "1"))


class QueueFullError(Exception):
    """The queue takes no more jobs of this person now."""


class NoAnswerError(Exception):
    """The scheduler says nothing, or nothing that can be believed."""


class State(Enum):
    """Where a job is, as far as its scheduler knows."""

    LIVE = "live"
    """Queued, running, on its way out: it is there."""
    HELD = "held"
    """There, but will not start before somebody does something."""
    DEAD = "dead"
    """There, and will never start."""
    ENDED = "ended"
    """Over, and the scheduler says how."""
    GONE = "gone"
    """Not there any more; the scheduler does not say how it ended."""


@dataclass(frozen=True)
class Sight:
    """What a scheduler says of a job.

    Attributes
    ----------
    state : State
    code : int or None
        Exit status, where the scheduler gives one (128 + n: signal n).
    reason : str
        In a person's words; empty where there is nothing to say.
    """

    state: State
    code: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Ask:
    """What a job asks of its scheduler.

    Attributes
    ----------
    name : str
        For the list of jobs.
    script : Path
        What runs; must stay where it is until the job has started.
    minutes : int
        Run time.
    queue : str
    count : int
        Nodes, or GPUs where the queue counts in GPUs.
    project : str
        Who pays.
    filesystems : tuple of str
        Those that must be up.
    logs : Path
        Folder for what the scheduler writes.
    chunk : mapping of str to str
        What each node must have (PBS Pro).
    place : str
        How chunks lie on nodes (PBS Pro); empty for the queue's own way.
    """

    name: str
    script: Path
    minutes: int
    queue: str
    count: int
    project: str
    filesystems: tuple[str, ...]
    logs: Path
    chunk: Mapping[str, str] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True)
class Answer:
    """What a scheduler's command said: exit status and both streams."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The first line on standard error that says something."""
        lines = [line.strip() for line in self.err.splitlines()]
        telling = [line for line in lines if line and not line.startswith("No handlers could be")]
        return telling[0] if telling else f"exit status {self.status} and not a word"


class Backend(ABC):
    """One scheduler; stateless, everything it knows it asks its commands or reads from their logs."""

    name: str
    """As in ``site.yaml``; the folder below ``logs/``."""
    bin_variable: str
    """Environment variable that names a folder with the commands, before those on PATH."""
    job_variable: str
    """Environment variable in which a running job finds its own id."""

    @abstractmethod
    def command(self, ask: Ask) -> list[str]:
        """Return the whole command that submits a job."""

    @abstractmethod
    def read_submission(self, answer: Answer) -> str:
        """Return the job's id from what the submission said.

        Raises
        ------
        QueueFullError, NoAnswerError
            Later, perhaps.
        DawnChorusError
            Never as it is.
        """

    @abstractmethod
    def look(self, job: str) -> Sight:
        """Ask the scheduler for a job.

        Raises
        ------
        NoAnswerError
            If it does not answer.
        """

    def logged(self, job: str, logs: Path, script: Path | None) -> Sight | None:
        """Read how a job ended from the log that the scheduler keeps of it, if it keeps one.

        Parameters
        ----------
        job : str
        logs : Path
            The folder that the job was submitted with.
        script : Path or None
            What was submitted: tells this job from an older one with the same id.

        Returns
        -------
        Sight or None
            ``ENDED`` with its code; ``GONE`` with a reason if the log says why there will be no code;
            None while it says nothing.
        """
        return None

    @abstractmethod
    def delete(self, jobs: Sequence[str]) -> None:
        """Remove jobs, queued or running; ids that are gone already are no fault.

        Raises
        ------
        NoAnswerError
            If the scheduler does not answer.
        """

    def submit(self, ask: Ask) -> tuple[str, str]:
        """Submit; return the job's id and what the scheduler said beside it.

        Raises
        ------
        QueueFullError, NoAnswerError, DawnChorusError
            As :meth:`read_submission`.
        """
        answer = self.run(self.command(ask))
        return self.read_submission(answer), answer.err.strip()

    def run(self, command: Sequence[str]) -> Answer:
        """Run one of the scheduler's commands within a time of our own.

        Raises
        ------
        NoAnswerError
            If it takes longer.
        DawnChorusError
            If there is no such command.
        """
        folder = os.environ.get(self.bin_variable)
        program = str(Path(folder, command[0])) if folder else command[0]
        limit = float(os.environ.get(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_S))
        try:
            # In a session of its own: a Ctrl-C that is meant for the workflow must not stop it halfway.
            ended = subprocess.run(
                [program, *command[1:]],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise NoAnswerError(f"{command[0]} said nothing for {limit:g} s") from None
        except (FileNotFoundError, PermissionError):
            raise DawnChorusError(
                "is no command here",
                program,
                f"load the scheduler's module on a host that submits, or set {self.bin_variable}",
            ) from None
        return Answer(ended.returncode, ended.stdout, ended.stderr)


def in_words(code: int) -> str:
    """Say an exit status as a person would: ``exit 7``, ``signal 9``."""
    return f"signal {code - 128}" if 128 < code < 128 + 65 else f"exit {code}"
