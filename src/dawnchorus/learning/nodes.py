"""One training on several machines of a job: each runs torchrun, and all of them meet.

In: the settings, and the job's nodes (:mod:`dawnchorus.schedulers.allocation`). Out: the end of all of them.

What the nodes have to tell each other beside the training lies as empty files in a folder of the experiment that all
of them see: ``stop`` (we were asked to stop: save and end) and ``go-on-later`` (saved, not done). Signals and exit
statuses would have to pass a launcher that may end the other nodes while the first still writes its
checkpoint.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dawnchorus import config
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import launch
from dawnchorus.learning.interruption import GoOnLater, Watch
from dawnchorus.results import Results
from dawnchorus.schedulers.allocation import allocation, of_job

STOP, LATER = "stop", "go-on-later"
CARRIED = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "NUMBA_CACHE_DIR")
"""Launchers leave the environment behind; these come along, and all of ``DAWNCHORUS_*`` and ``NCCL_*``."""
FAMILIES = ("DAWNCHORUS_", "NCCL_")


def train_on_nodes(
    settings: Settings,
    results: Results,
    experiment: str,
    device: str,
    processes: int,
    count: int,
    deadline: float | None = None,
) -> None:
    """Start a training on ``count`` nodes of this job and wait for all of them.

    Parameters
    ----------
    settings : Settings
    results : Results
        On a file system that all nodes see under the same path.
    experiment : str
    device : str
    processes : int
        Per node.
    count : int
        Nodes.
    deadline : float, optional
        When the job's time is up, in seconds of the UNIX clock.

    Raises
    ------
    DawnChorusError
        If the job has not so many nodes, or the training does not end well.
    GoOnLater
        If it was asked to stop and has saved.
    """
    launcher = allocation().on_each(count)
    root = results.experiment(experiment).root
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".nodes-", dir=root.absolute()))
    command = [
        *launcher,
        "env",
        *(f"{name}={os.environ[name]}" for name in sorted(os.environ) if _is_carried(name)),
        *(sys.executable, "-m", "dawnchorus.learning.nodes", "--folder", str(folder)),
        *("--settings", settings.model_dump_json(exclude_unset=True)),
        *("--results", str(results.root.absolute()), "--experiment", experiment),
        *("--device", device, "--processes", str(processes), "--nodes", str(count)),
        *("--meet", f"{socket.gethostname()}:{_free_port()}"),
        *(() if deadline is None else ("--deadline", str(deadline))),
    ]
    try:
        # A session of its own: a request to stop reaches this process alone, and the nodes by the file.
        with Watch() as watch, _started(command) as run:
            while True:
                try:
                    status = run.wait(timeout=launch.SECONDS_BETWEEN_LOOKS)
                    break
                except subprocess.TimeoutExpired:
                    if watch.asked:
                        (folder / STOP).touch()
        later = (folder / LATER).exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if later:
        raise GoOnLater
    if status != 0:
        raise DawnChorusError(
            f"the training on {count} nodes ended with status {status}",
            f"experiments.{experiment}",
            "see the first error above",
        )


def _is_carried(name: str) -> bool:
    return name in CARRIED or name.startswith(FAMILIES)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    run = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, env=of_job())
    try:
        yield run
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait()


def main(arguments: list[str] | None = None) -> int:
    """Be one of the nodes: run torchrun here, and leave word if it wants to go on later.

    Returns
    -------
    int
        Exit status; 0 also for a training that goes on later, so that no launcher ends the others.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dawnchorus.learning.nodes", description=__doc__
    )
    parser.add_argument("--settings", required=True, help="the whole configuration, as JSON")
    parser.add_argument("--results", required=True, type=Path)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--processes", required=True, type=int)
    parser.add_argument("--nodes", required=True, type=int)
    parser.add_argument("--meet", required=True, help="HOST:PORT of the first node")
    parser.add_argument("--folder", required=True, type=Path, help="seen by all nodes")
    parser.add_argument("--deadline", type=float, help="when the time is up, UNIX seconds")
    given = parser.parse_args(arguments)
    try:
        launch.torchrun(
            config.load(handed=[given.settings]),
            Results(given.results),
            given.experiment,
            given.device,
            given.processes,
            launch.Nodes(given.nodes, given.meet),
            given.deadline,
            stop=given.folder / STOP,
        )
    except GoOnLater:
        (given.folder / LATER).touch()
    except DawnChorusError as error:
        print(f"dawnchorus: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
