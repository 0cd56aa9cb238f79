"""Sides run in turns, each in its own process, and are timed there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from sides import floors, ours, peers

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
PREPARE = ours.PREPARE | peers.PREPARE | floors.PREPARE
TOLD = ours.TOLD | peers.TOLD | floors.TOLD
Times = tuple[float, float]
"""Wall and CPU seconds."""


def cores() -> list[int | None]:
    """Cores that may be used, the last one first; None where a process cannot be bound to one."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * (os.cpu_count() or 1)
    return sorted(os.sched_getaffinity(0), reverse=True)


def serve(name: str, root: Path, path: Path, warm_up: Path, core: int | None, pipe) -> None:
    """One side's process: run when told, answer with the times."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
    PREPARE[name](root, warm_up)()  # imports and compiles
    run = PREPARE[name](root, path)
    pipe.send("ready")
    while pipe.recv() == "run":
        wall, processor = time.perf_counter(), time.process_time()
        run()
        pipe.send((time.perf_counter() - wall, time.process_time() - processor))


class Side:
    """A side in a process of its own; use it as a context manager."""

    def __init__(
        self, name: str, root: Path, path: Path, warm_up: Path, core: int | None = None
    ) -> None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (name, root, path, warm_up, core, theirs)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Side:
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("stop")
        self._process.join()

    def start(self) -> None:
        self._pipe.send("run")

    def times(self) -> Times:
        return self._pipe.recv()

    def run(self) -> Times:
        self.start()
        return self.times()


def evict(path: Path) -> None:
    """Take a file out of the page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def fill(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


PEAK = """
import pathlib, sys
from dawnchorus.cli import main
sys.argv = ["dawnchorus", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
status = pathlib.Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
"""
"""Runs the command and prints its peak memory. ru_maxrss would begin with the parent's."""


def peak_memory(command: list[str]) -> float:
    """Most memory in MiB that a command ``python -m dawnchorus ...`` took, in a fresh process."""
    done = subprocess.run(
        [command[0], "-c", PEAK, *command[3:]], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1]) / 1024
