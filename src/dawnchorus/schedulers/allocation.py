"""What a scheduler gave the job that this process is part of: its nodes, and until when.

In: the environment of the job, as Cobalt, PBS Pro and Slurm set it. Out: an :class:`Allocation`, and the command that
starts something once on each of its nodes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.errors import DawnChorusError

NODEFILES = ("COBALT_NODEFILE", "PBS_NODEFILE")
"""Name a file with a line per node (PBS Pro: per chunk)."""
ENDS = ("COBALT_ENDTIME", "SLURM_JOB_END_TIME")
"""Hold the moment at which the job's time is up, in seconds of the UNIX clock. PBS Pro tells none."""
LAUNCH = "DAWNCHORUS_LAUNCH"
"""How a site starts a command once per node, with ``{nodes}`` and ``{nodefile}``; ``site.yaml`` sets it."""
SRUN = "srun --overlap --jobid={job} --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1"
"""Slurm's own way; ``--overlap`` because Snakemake itself runs in a step of the job."""
OF_JOB = ("SLURM_JOB_ID", "SLURM_CONF")
"""What is true of the whole job; the rest of ``SLURM_*`` tells of the step that we are in, and would keep
``srun`` on its one node."""


@dataclass(frozen=True)
class Allocation:
    """Of the job around us; of a process that no scheduler started, the machine it is on.

    Attributes
    ----------
    nodes : int or None
        None if only the launcher knows: within a step, where Snakemake runs, Slurm tells of the step alone.
    nodefile : Path or None
        Lists them; Slurm has none.
    ends : float or None
        When its time is up, in seconds of the UNIX clock.
    launch : str or None
        Starts a command once per node.
    job : str or None
        Slurm's number.
    """

    nodes: int | None = 1
    nodefile: Path | None = None
    ends: float | None = None
    launch: str | None = None
    job: str | None = None

    def on_each(self, nodes: int) -> list[str]:
        """Return the words before a command that start it once on each of so many nodes.

        Raises
        ------
        DawnChorusError
            If there are fewer nodes, or nobody said how to start anything on another.
        """
        if self.nodes is not None and nodes > self.nodes:
            raise DawnChorusError(
                f"{nodes} nodes are wanted, and this job has {self.nodes}",
                "nodes",
                "submit it to a scheduler, or start it on each node yourself with --meet HOST:PORT",
            )
        if self.launch is None:
            raise DawnChorusError(
                "does not say how a command is started on each node",
                LAUNCH,
                "set it, for example to 'mpirun -hostfile {nodefile} -n {nodes} -npernode 1'",
            )
        try:
            return [
                word.format(nodes=nodes, nodefile=self.nodefile, job=self.job)
                for word in shlex.split(self.launch)
            ]
        except (KeyError, IndexError, ValueError) as error:
            raise DawnChorusError(
                f"cannot be read: {error}", LAUNCH, "it may hold {nodes} and {nodefile}"
            ) from None


def allocation(environment: Mapping[str, str] = os.environ) -> Allocation:
    """Read what the job's environment says.

    Raises
    ------
    DawnChorusError
        If it names a list of nodes that cannot be read.
    """
    named = next((environment[name] for name in NODEFILES if environment.get(name)), None)
    launch = environment.get(LAUNCH) or None
    if named is not None:
        nodefile = Path(named)
        try:
            hosts = set(nodefile.read_text(encoding="utf-8").split())
        except OSError as error:
            raise DawnChorusError(
                f"the list of nodes cannot be read: {error.strerror}", nodefile
            ) from None
        return Allocation(max(1, len(hosts)), nodefile, _ends(environment), launch)
    if job := environment.get("SLURM_JOB_ID"):
        return Allocation(None, None, _ends(environment), launch or SRUN, job)
    return Allocation(1, None, _ends(environment), launch)


def of_job(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment without what Slurm says of the step we are in."""
    return {
        name: value
        for name, value in environment.items()
        if name in OF_JOB or not name.startswith(("SLURM_", "SLURMD_", "SRUN_"))
    }


def _ends(environment: Mapping[str, str]) -> float | None:
    for name in ENDS:
        try:
            return float(environment[name])
        except (KeyError, ValueError):
            continue
    return None
