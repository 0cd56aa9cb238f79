"""Starting several training processes on this machine with torchrun.

In: the settings, handed on as JSON. Out: the end of all of them; asked to stop (SIGTERM), they are
asked too and save their state.
"""

from __future__ import annotations

import os
import subprocess
import sys

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.interruption import GoOnLater, Watch
from dawnchorus.results import Results

SECONDS_BETWEEN_LOOKS = 0.5


def torchrun(
    settings: Settings, results: Results, experiment: str, device: str, processes: int
) -> None:
    """Run :mod:`dawnchorus.learning.worker` in ``processes`` processes and wait for them.

    The cores are shared out: every process computes with its part of ``OMP_NUM_THREADS`` (or of the
    cores this process may use).

    Raises
    ------
    DawnChorusError
        If they do not end well.
    GoOnLater
        If this process was asked to stop.
    """
    cores = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes), "-m", "dawnchorus.learning.worker"),
        *("--settings", settings.model_dump_json(), "--results", str(results.root)),
        *("--experiment", experiment, "--device", device),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // processes))}
    with Watch() as watch:
        status = _wait(subprocess.Popen(command, env=environment), watch)
    if watch.asked:
        raise GoOnLater
    if status != 0:
        raise DawnChorusError(
            f"the {processes} training processes ended with status {status}",
            f"experiments.{experiment}",
            "see the first error above",
        )


def _wait(run: subprocess.Popen[bytes], watch: Watch) -> int:
    """Wait for the processes; hand SIGTERM on to them, once."""
    handed_on = False
    try:
        while True:
            try:
                return run.wait(timeout=SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                if watch.asked and not handed_on:
                    run.terminate()
                    handed_on = True
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
