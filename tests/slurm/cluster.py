"""A real Slurm on one machine: munged, slurmctld and two slurmd on loopback, everything in a temporary folder.

It needs no systemd, no control groups and no database; Slurm believes in more cores, memory and GPUs than there
are. Without ``slurmdbd`` there is no ``sacct``: finished jobs are asked of ``squeue``, which keeps them for an hour.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
FOLDERS = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/sbin"])
"""Where daemons lie, beside PATH."""

CONFIGURATION = """
ClusterName=meadow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# The numbers below hold, whatever the machine has.
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
MinJobAge=3600
KillWait=5
# A busy machine is slow to start a job that asks for a minute.
OverTimeLimit=10
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 RealMemory=500000 Gres=gpu:4
NodeName=second NodeHostname={host} NodeAddr=127.0.0.1 Port={second_port} CPUs=64 RealMemory=500000
PartitionName=days Nodes={host} Default=YES MaxTime=1-00:00:00
PartitionName=gpus Nodes={host} MaxTime=1-00:00:00
PartitionName=pair Nodes={host},second MaxTime=1-00:00:00
"""
FIELDS = {
    "job": "%i", "state": "%T", "comment": "%k", "partition": "%P", "cpus": "%C", "memory": "%m",
    "minutes": "%l", "folder": "%Z",
}  # fmt: skip


def absent() -> str | None:
    """Say what is not installed; None if nothing is missing."""
    missing = [name for name in (*DAEMONS, *COMMANDS) if _program(name) is None]
    return f"Slurm is not installed here: no {', '.join(missing)}" if missing else None


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=FOLDERS)


def _free_ports(count: int) -> list[int]:
    with_port = [socket.socket() for _ in range(count)]
    try:
        for each in with_port:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_port]
    finally:
        for each in with_port:
            each.close()


@dataclass
class Slurm:
    """Its daemons run as children of this process: none outlives :meth:`stop`."""

    root: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be a client of this Slurm, and of no other."""
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Write the configuration and start all three; return when a job could run."""
        control_port, port, second_port = _free_ports(3)
        host = socket.gethostname().split(".")[0]
        for folder in ("state", "bin"):
            (self.root / folder).mkdir()
        # The plugin takes SLURM_CONF away from the srun within a job.
        srun = self.root / "bin" / "srun"
        settings = self.environment["SLURM_CONF"]
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={settings} exec {_program("srun")} "$@"\n')
        srun.chmod(0o755)
        (self.root / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, root=self.root, user=getpass.getuser(), control_port=control_port,
                port=port, second_port=second_port,
            )
        )  # fmt: skip
        for number in range(4):
            (self.root / f"gpu{number}").touch()
        (self.root / "gres.conf").write_text(f"Name=gpu File={self.root}/gpu[0-3]\n")
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._launch(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--pid-file={self.root}/munge.pid",
            f"--socket={self.root}/munge.socket", f"--log-file={self.root}/munged.log",
            f"--seed-file={self.root}/munge.seed",
        )  # fmt: skip
        self.until((self.root / "munge.socket").exists, 10, "munged listens")
        self.start_controller()
        for node in (host, "second"):
            (self.root / f"spool.{node}").mkdir()
            self._launch("slurmd", "-D", "-N", node, name=f"slurmd.{node}")
        self.until(
            lambda: set(self.call("sinfo", "-h", "-o", "%t").split()) == {"idle"},
            30,
            "both nodes are idle",
        )

    def start_controller(self) -> None:
        self._launch("slurmctld", "-D")

    def kill_controller(self) -> None:
        """As a failing machine would: no farewell."""
        self._daemons["slurmctld"].kill()
        self._daemons["slurmctld"].wait()

    def stop(self) -> None:
        """End all jobs, then the daemons."""
        if self._daemons.get("slurmctld"):
            self.call("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def call(self, command: str, *arguments: str) -> str:
        """What one of Slurm's commands prints; nothing where it fails."""
        return subprocess.run(
            [command, *arguments], env=os.environ | self.environment, capture_output=True,
            text=True, check=False, timeout=60,
        ).stdout  # fmt: skip

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """Everything that was submitted from a folder, in that order; ``asked`` is what sbatch was told."""
        form = "|".join(FIELDS.values())
        said = self.call("squeue", "--states=all", "--noheader", "--sort=i", f"--format={form}")
        rows = [dict(zip(FIELDS, line.split("|"), strict=True)) for line in said.splitlines()]
        return [row for row in rows if row["folder"] == str(folder)]

    def told(self, job: str) -> dict[str, str]:
        """What scontrol knows of a job."""
        words = self.call("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for a condition."""
        end = time.monotonic() + seconds
        while not condition():
            for name, daemon in self._daemons.items():
                assert daemon.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < end, (
                f"not within {seconds} s: {what}\n{self.log('slurmctld')}"
            )
            time.sleep(0.1)

    def log(self, name: str) -> str:
        path = self.root / f"{name}.log"
        return path.read_text()[-2000:] if path.exists() else f"{name} wrote no log"

    def _launch(self, daemon: str, *arguments: str, name: str | None = None) -> None:
        program = _program(daemon)
        assert program is not None
        self._daemons[name or daemon] = subprocess.Popen(
            [program, *arguments], env=os.environ | self.environment, cwd=self.root,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
