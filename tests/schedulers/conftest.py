"""A scheduler to submit to: the stand-in, or the real one where its commands are named.

``DAWNCHORUS_COBALT_BIN`` (or ``DAWNCHORUS_PBS_BIN``) names a folder with the real ``qsub``, ``qstat`` and
``qdel``; then the same tests run against them, at their own pace, and those that need a hand on the
scheduler (to take it down, to fill a queue) are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "stand_in"
BIN = {"cobalt": "DAWNCHORUS_COBALT_BIN", "pbs": "DAWNCHORUS_PBS_BIN"}
PATIENCE = 5
"""How many times longer than usual something may take before a test says that it does not happen."""
SECOND = 0.02
"""Real seconds of a scheduler's second: five minutes, the shortest run time, are six seconds."""


def jobscript(path: Path, command: str, *, rule="work", output=("out.txt",), packed=False, **wants):
    """Write a jobscript as Snakemake does."""
    properties = {
        "type": "group" if packed else "single",
        **({"groupid": rule} if packed else {"rule": rule, "wildcards": {}, "params": {"a": 1}}),
        "local": False, "input": [], "output": list(output), "threads": 1,
        "resources": {"runtime": 10, **wants}, "jobid": 1,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\n{command}\n")
    path.chmod(0o755)
    return path


@dataclass
class Cluster:
    """A working folder, a profile, and a scheduler."""

    root: Path
    scheduler: str
    second: float = SECOND
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def logs(self) -> Path:
        return self.work / "logs" / self.scheduler

    @property
    def profile(self) -> Path:
        return REPOSITORY / "profiles" / self.scheduler

    @property
    def is_stand_in(self) -> bool:
        return BIN[self.scheduler] not in os.environ

    @property
    def environment(self) -> dict[str, str]:
        beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        theirs = {
            BIN[self.scheduler]: str(STAND_IN / self.scheduler),
            "DAWNCHORUS_STAND_IN": str(self.root / "machine"),
            "DAWNCHORUS_STAND_IN_SECOND": str(self.second),
            "DAWNCHORUS_GRACE_S": "0.6",
            "DAWNCHORUS_PACE": "0.1",
        }  # fmt: skip
        # The package of this checkout, wherever the environment's own comes from.
        base = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
        project = {"DAWNCHORUS_PROJECT": os.environ.get("DAWNCHORUS_PROJECT", "birds")}
        ours = theirs if self.is_stand_in else {}
        return base | project | ours | {"PATH": beside_python} | self.extra

    def settle(self, **settings) -> None:
        """Change what the machine allows: queues, nodes, down, filesystems_down, signal_all."""
        if not self.is_stand_in:
            pytest.skip("needs a hand on the scheduler")
        path = self.root / "machine" / "settings.json"
        path.parent.mkdir(exist_ok=True)
        before = json.loads(path.read_text()) if path.exists() else {}
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(before | settings))
        partial.replace(path)

    def call(self, command: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
        """Call an executable of the profile, as Snakemake does."""
        return subprocess.run(
            [str(self.profile / f"{command}.py"), *map(str, arguments)], cwd=self.work, text=True,
            capture_output=True, env=self.environment, check=False, timeout=60, **options,
        )  # fmt: skip

    def script(self, command: str, **properties) -> Path:
        folder = self.work / ".snakemake" / "tmp.abc"
        number = len(list(folder.glob("*"))) if folder.exists() else 0
        return jobscript(folder / f"snakejob.{number}.sh", command, **properties)

    def submit(self, command: str, **properties) -> str:
        """Submit a command; return the id of its job."""
        ended = self.call("submit", self.script(command, **properties))
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()[0]

    def status(self, job: str) -> tuple[str, str]:
        """The word and what is said beside it; any other answer would end a workflow."""
        ended = self.call("status", job)
        assert ended.returncode == 0
        (word,) = ended.stdout.splitlines()
        assert word in {"running", "success", "failed"}
        return word, ended.stderr.strip()

    def outcome(self, job: str, seconds: float = 30) -> tuple[str, str]:
        """Wait until a job is not running any more."""
        until = time.monotonic() + seconds * (PATIENCE if self.is_stand_in else 60)
        while time.monotonic() < until:
            word, said = self.status(job)
            if word != "running":
                return word, said
            time.sleep(0.2)
        raise AssertionError(f"job {job} is still running after {seconds} s")

    def reason(self, job: str) -> str:
        return (self.logs / f"{job}.reason").read_text().strip()

    def native(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Call a command of the scheduler itself."""
        program = Path(self.environment[BIN[self.scheduler]], command)
        return subprocess.run(
            [str(program), *map(str, arguments)], cwd=self.work, text=True, capture_output=True,
            env=self.environment, check=False, timeout=60,
        )  # fmt: skip

    def history(self) -> list[dict]:
        path = self.root / "machine" / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.history())

    def until(self, condition, seconds: float = 20, what: str = "it"):
        """Wait for a condition; return what it said."""
        end = time.monotonic() + PATIENCE * seconds
        while time.monotonic() < end:
            said = condition()
            if said:
                return said
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen within {seconds} s")


def make(tmp_path: Path, scheduler: str, **options) -> Cluster:
    cluster = Cluster(tmp_path, scheduler, **options)
    cluster.work.mkdir()
    return cluster


@pytest.fixture
def cobalt(tmp_path) -> Cluster:
    return make(tmp_path, "cobalt")


@pytest.fixture
def pbs(tmp_path) -> Cluster:
    return make(tmp_path, "pbs")


@pytest.fixture(params=["cobalt", "pbs"])
def cluster(request, tmp_path) -> Cluster:
    """Each of them."""
    return make(tmp_path, request.param)
