"""A submission that is whole or undone, whatever happens to whoever asked for it.

In: a backend and what a job asks. Out: the id of a job, for somebody who takes it.

On Ctrl-C Snakemake kills the submission that it is waiting for. A ``qsub`` that was halfway would leave a job
that nobody knows and nobody cancels. So a clerk calls ``qsub``, a process out of reach of Ctrl-C, and
deletes the job again if nobody is left to take its id.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from types import TracebackType
from typing import Any, NoReturn

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers.backend import (
    Ask,
    Backend,
    NoAnswerError,
    QueueFullError,
    paced,
)

LATER = {"full": QueueFullError, "silent": NoAnswerError}
TRIES, PAUSE_S = 60, 5.0
"""How often, and how far apart, a clerk tries to delete a job that nobody took."""


class Submitted:
    """A job that was just submitted; it stays if the block ends well, and is deleted if not.

    Parameters
    ----------
    backend : Backend
    ask : Ask

    Attributes
    ----------
    job : str
        Its id.
    beside : str
        What the scheduler said beside it.

    Raises
    ------
    QueueFullError, NoAnswerError, DawnChorusError
        As :meth:`Backend.submit`.
    """

    def __init__(self, backend: Backend, ask: Ask) -> None:
        said, say = os.pipe()
        taken, self._take = os.pipe()
        self._clerk = os.fork()
        if self._clerk == 0:
            os.close(said)
            os.close(self._take)
            _work(backend, ask, say, taken)
        os.close(say)
        os.close(taken)
        with os.fdopen(said, encoding="utf-8") as stream:
            answer: dict[str, Any] = json.loads(stream.read() or '{"silent": "the clerk is gone"}')
        if "job" not in answer:
            self._part()
            for kind, error in LATER.items():
                if kind in answer:
                    raise error(answer[kind])
            raise DawnChorusError(answer["refused"])
        self.job: str = answer["job"]
        self.beside: str = answer["beside"]

    def __enter__(self) -> Submitted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # Without a word the clerk sees that nobody takes the job. Nobody waits for the clerk: the sooner
        # this process ends, the surer Snakemake has the id when a Ctrl-C comes.
        if error is None:
            with contextlib.suppress(
                BrokenPipeError
            ):  # a clerk that was killed deletes nothing either
                os.write(self._take, b"y")
        os.close(self._take)

    def _part(self) -> None:
        os.close(self._take)
        os.waitpid(self._clerk, 0)


def _work(backend: Backend, ask: Ask, say: int, taken: int) -> NoReturn:
    """What the clerk does; ends its process."""
    answer = {"refused": "the submission broke off"}
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nowhere, stream)
        answer = _ask(backend, ask)
    finally:
        with contextlib.suppress(BrokenPipeError):  # nobody listens: then nobody takes it either
            os.write(say, json.dumps(answer).encode())
        os.close(say)
        if "job" in answer and os.read(taken, 1) == b"":
            _withdraw(backend, answer["job"])
        os._exit(0)


def _ask(backend: Backend, ask: Ask) -> dict[str, str]:
    try:
        job, beside = backend.submit(ask)
    except QueueFullError as error:
        return {"full": str(error)}
    except NoAnswerError as error:
        return {"silent": str(error)}
    except DawnChorusError as error:
        return {"refused": str(error)}
    return {"job": job, "beside": beside}


def _withdraw(backend: Backend, job: str) -> None:
    for _ in range(TRIES):
        try:
            backend.delete([job])
        except NoAnswerError:
            time.sleep(paced(PAUSE_S))
        else:
            return
