"""Starting several training processes on this machine with torchrun.

In: the settings, handed on as JSON. Out: the end of all of them; asked to stop (SIGTERM), they are
asked too and save their state.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.interruption import GoOnLater, Watch
from dawnchorus.results import Results

SECONDS_BETWEEN_LOOKS = 0.5
ENDING = "DAWNCHORUS_ENDING"
"""Names a file that a process makes when it stops to go on later: torchrun itself ends with 1 then."""


@dataclass(frozen=True)
class Nodes:
    """The machines that train together.

    Attributes
    ----------
    count : int
    meeting : str
        ``HOST:PORT`` of one of them, where all find each other.
    """

    count: int = 1
    meeting: str = ""


ONE_NODE = Nodes()


def torchrun(
    settings: Settings,
    results: Results,
    experiment: str,
    device: str,
    processes: int,
    nodes: Nodes = ONE_NODE,
    deadline: float | None = None,
    stop: Path | None = None,
) -> None:
    """Run :mod:`dawnchorus.learning.worker` in ``processes`` processes and wait for them.

    With several nodes this is called on each; they meet before anything starts.

    Asked to stop - by SIGTERM, or because the file ``stop`` appears - they save and end.

    The cores are shared out: every process computes with its part of ``OMP_NUM_THREADS`` (or of the
    cores this process may use).

    Raises
    ------
    DawnChorusError
        If they do not end well.
    GoOnLater
        If this process was asked to stop.
    """
    if nodes.count > 1 and not nodes.meeting:
        raise DawnChorusError(
            f"{nodes.count} nodes do not know where to meet",
            "--meet",
            "give HOST:PORT of one of them",
        )
    meeting = ["--standalone"]
    if nodes.count > 1:
        meeting = ["--nnodes", str(nodes.count), "--rdzv-backend", "c10d"]
        meeting += ["--rdzv-id", experiment, "--rdzv-endpoint", nodes.meeting]
    cores = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", *meeting),
        *("--nproc-per-node", str(processes), "-m", "dawnchorus.learning.worker"),
        *(
            "--settings",
            settings.model_dump_json(exclude_unset=True),
            "--results",
            str(results.root),
        ),
        *("--experiment", experiment, "--device", device),
        *(() if deadline is None else ("--deadline", str(deadline))),
    ]
    with tempfile.TemporaryDirectory(prefix="dawnchorus-") as folder, Watch() as watch:
        ending = Path(folder, "go-on-later")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(max(1, cores // processes)),
            ENDING: str(ending),
        }
        status = _wait(subprocess.Popen(command, env=environment), watch, stop)
        if _asked(watch, stop) or ending.exists():
            raise GoOnLater
    if status != 0:
        raise DawnChorusError(
            f"the {processes} training processes ended with status {status}",
            f"experiments.{experiment}",
            "see the first error above",
        )


def _asked(watch: Watch, stop: Path | None) -> bool:
    return watch.asked or (stop is not None and stop.exists())


def _wait(run: subprocess.Popen[bytes], watch: Watch, stop: Path | None) -> int:
    """Wait for the processes; hand a request to stop on to them, once."""
    handed_on = False
    try:
        while True:
            try:
                return run.wait(timeout=SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                if _asked(watch, stop) and not handed_on:
                    run.terminate()
                    handed_on = True
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
