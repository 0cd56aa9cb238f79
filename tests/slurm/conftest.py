"""One Slurm for all tests of this folder, and a way to run Snakemake against it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .cluster import Slurm, absent

REPOSITORY = Path(__file__).parents[2]
IMPATIENT = Path(__file__).with_name("impatient.py")
PATIENCE_S = 300.0
"""Two Snakemakes start for each job; on a busy machine that is minutes."""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    if reason := absent():
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("Snakemake cannot submit to Slurm here: install the extra slurm")
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@dataclass
class Submitter:
    """A working folder whose Snakemake submits to Slurm, with the profile as it is but for its pace."""

    slurm: Slurm
    folder: Path
    snakefile: Path
    extra: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        ours = {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
        env = os.environ | ours | self.slurm.environment | self.extra
        # The jobs find `dawnchorus` beside the interpreter that runs the tests.
        beside_python = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        unset = ("DAWNCHORUS_PROJECT", "SBATCH_ACCOUNT", "SBATCH_PARTITION")
        return {key: value for key, value in env.items() if key not in unset} | {
            "PATH": beside_python
        }

    def start(self, *arguments: str, patient: bool = False) -> subprocess.Popen[str]:
        """Start Snakemake; a patient one does not ask for its jobs within the test."""
        program = ["-m", "snakemake"] if patient else [str(IMPATIENT)]
        running = subprocess.Popen(
            [
                sys.executable, *program, "--snakefile", str(self.snakefile), "--profile",
                str(REPOSITORY / "profiles" / "slurm"), "--latency-wait", "5",
                "--slurm-init-seconds-before-status-checks", "600" if patient else "1",
                *arguments,
            ],
            cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._started.append(running)
        return running

    def finish(self, running: subprocess.Popen[str], seconds: float = PATIENCE_S) -> str:
        """Wait until Snakemake ends; return what it said."""
        try:
            said, _ = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            said, _ = running.communicate()
            raise AssertionError(f"still running after {seconds} s:\n{said[-6000:]}") from None
        return said

    def end(self) -> None:
        """Leave nothing running, whatever the test came to."""
        for running in self._started:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.communicate()
        for job in self.jobs():
            self.slurm.call("scancel", job["job"])

    def jobs(self) -> list[dict[str, str]]:
        return self.slurm.jobs(self.folder)

    def states(self) -> list[tuple[str, str]]:
        """Rule and state of everything submitted, in that order."""
        return [(job["comment"], job["state"]) for job in self.jobs()]

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s; jobs: {self.states()}"
            time.sleep(0.1)
