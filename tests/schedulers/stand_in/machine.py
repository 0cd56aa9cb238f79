"""A machine that runs jobs as processes: what the stand-ins of both schedulers have in common.

Everything lies in the folder that ``DAWNCHORUS_STAND_IN`` names: ``settings.json`` (queues, nodes, what is
down), ``jobs/<number>.json``, ``history.jsonl`` (what happened, with how many jobs there were). A second of
the scheduler takes ``DAWNCHORUS_STAND_IN_SECOND`` real ones. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(os.environ["DAWNCHORUS_STAND_IN"])
SECOND = float(os.environ.get("DAWNCHORUS_STAND_IN_SECOND", "0.02"))
POLL_S = 0.04
KILL_AFTER_S = 300
"""Between TERM and KILL, in the scheduler's seconds (Cobalt's DEFAULT_FORCE_KILL_DELAY)."""
DEFAULTS: dict[str, Any] = {
    "down": False,
    "nodes": 24,
    "filesystems_down": [],
    "signal_all": True,
    "queues": {
        "full-node": {"queued": 20, "running": 10, "min": 5, "max": 720},
        "single-gpu": {"queued": 1, "running": 1, "min": 5, "max": 60},
        "by-node": {"queued": 20, "running": 5, "min": 5, "max": 1440},
        "by-gpu": {"queued": 20, "running": 5, "min": 5, "max": 1440},
    },
}
Job = dict[str, Any]


def settings() -> dict[str, Any]:
    path = ROOT / "settings.json"
    return DEFAULTS | (json.loads(path.read_text()) if path.exists() else {})


@contextmanager
def locked() -> Iterator[None]:
    (ROOT / "jobs").mkdir(parents=True, exist_ok=True)
    with (ROOT / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def path_of(number: int) -> Path:
    return ROOT / "jobs" / f"{number}.json"


def read(number: int) -> Job | None:
    try:
        return json.loads(path_of(number).read_text())
    except FileNotFoundError:
        return None


def write(job: Job) -> None:
    partial = path_of(job["number"]).with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(job))
    partial.replace(path_of(job["number"]))


def change(number: int, **values: Any) -> Job:
    with locked():
        job = read(number)
        assert job is not None
        job.update(values)
        write(job)
    return job


def present() -> list[Job]:
    """Jobs in the queue or running, by number."""
    numbers = sorted(int(path.stem) for path in (ROOT / "jobs").glob("*.json"))
    jobs = [job for job in map(read, numbers) if job]
    return [job for job in jobs if not job["gone"]]


def note(event: str, number: int | None, **more: Any) -> None:
    """Add to the history; call it locked."""
    line = {"event": event, "job": number, "at": time.time(), "present": len(present()), **more}
    with (ROOT / "history.jsonl").open("a") as history:
        history.write(json.dumps(line) + "\n")


def full(queue: str) -> bool:
    limit = settings()["queues"][queue]["queued"]
    return sum(job["queue"] == queue for job in present()) >= limit


def enqueue(**job: Any) -> Job:
    """Add a job and start the process that looks after it; call it locked."""
    counter = ROOT / "next"
    number = int(counter.read_text()) if counter.exists() else 1
    counter.write_text(str(number + 1))
    held = job.pop("held", False) or bool(
        set(job.get("filesystems", [])) & set(settings()["filesystems_down"])
    )
    job = {
        "number": number, "state": "user_hold" if held else "queued", "gone": False, "delete": False,
        "code": None, "cause": "", "started": None, "dependencies": [], **job,
    }  # fmt: skip
    write(job)
    note("submitted", number, argv=job["argv"])
    return job


def look_after(number: int) -> None:
    """Leave a job to a process of its own, which lives as long as the job."""
    # Neither this process nor the workflow waits for it, and no signal to them reaches it.
    subprocess.Popen(
        [sys.executable, *("-S", "-E"), sys.argv[0], "--look-after", str(number)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def simulated(seconds: float) -> None:
    time.sleep(seconds * SECOND)


class Scheduler:
    """How one scheduler goes about its jobs."""

    def environment(self, job: Job) -> dict[str, str]:
        raise NotImplementedError

    def folder(self, job: Job) -> str:
        return job["cwd"]

    def stopping(self, job: Job, cause: str) -> None:
        """A job is asked to stop: ``walltime`` or ``deleted``."""

    def ended(self, job: Job) -> None:
        """A job has left the queue."""

    def run(self, number: int) -> None:
        """Wait for a place, run the job, end it when its time is up or somebody wants it deleted."""
        if not self._wait_for_a_place(number):
            return
        job = read(number)
        assert job is not None
        with open(job["out"], "a") as out, open(job["err"], "a") as err:  # noqa: PTH123
            process = subprocess.Popen(
                [job["run"]], cwd=self.folder(job), env=self.environment(job), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
        until = job["started"] + job["minutes"] * 60 * SECOND
        killed_at = None
        while process.poll() is None:
            time.sleep(POLL_S)
            job = read(number) or job
            late = time.time() > until
            if killed_at is None and (late or job["delete"]):
                job = change(
                    number, cause="deleted" if job["delete"] else "walltime", state="killing"
                )
                self.stopping(job, job["cause"])
                self._signal(process, signal.SIGTERM)
                killed_at = time.time() + KILL_AFTER_S * SECOND
            elif killed_at is not None and time.time() > killed_at:
                self._signal(process, signal.SIGKILL)
        code = process.returncode
        with locked():
            job = read(number) or job
            job.update(gone=True, code=128 - code if code < 0 else code, state="done")
            write(job)
            note("ended", number, code=job["code"], cause=job["cause"])
        self.ended(job)

    def _wait_for_a_place(self, number: int) -> bool:
        while True:
            with locked():
                job = read(number)
                assert job is not None
                if job["delete"]:
                    job.update(gone=True, cause="deleted", state="done")
                    write(job)
                    note("deleted", number)
                    self.stopping(job, "deleted")
                    return False
                self._dependencies(job)
                queue = settings()["queues"][job["queue"]]
                running = [other for other in present() if other["started"]]
                here = [other for other in running if other["queue"] == job["queue"]]
                if (
                    job["state"] == "queued"
                    and len(running) < settings()["nodes"]
                    and len(here) < queue["running"]
                ):
                    job.update(state="running", started=time.time())
                    write(job)
                    note("started", number)
                    return True
            time.sleep(POLL_S)

    def _dependencies(self, job: Job) -> None:
        if not job["dependencies"] or job["state"] == "dep_fail":
            return
        others = [read(number) for number in job["dependencies"]]
        if any(other and other["gone"] and (other["code"] or other["cause"]) for other in others):
            job["state"] = "dep_fail"
        elif all(other is None or other["gone"] for other in others):
            job.update(state="queued", dependencies=[])
        else:
            job["state"] = "dep_hold"
        write(job)

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        try:
            if settings()["signal_all"] or number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        except ProcessLookupError:
            return
