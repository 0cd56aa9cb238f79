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
SRUN = "srun --overlap --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1"
"""Slurm's own way; ``--overlap`` because Snakemake itself runs in a step of the job."""


@dataclass(frozen=True)
class Allocation:
    """Of the job around us; of a process that no scheduler started, the machine it is on.

    Attributes
    ----------
    nodes : int
    nodefile : Path or None
        Lists them; Slurm has none.
    ends : float or None
        When its time is up, in seconds of the UNIX clock.
    launch : str or None
        Starts a command once per node.
    """

    nodes: int = 1
    nodefile: Path | None = None
    ends: float | None = None
    launch: str | None = None

    def on_each(self, nodes: int) -> list[str]:
        """Return the words before a command that start it once on each of so many nodes.

        Raises
        ------
        DawnChorusError
            If there are fewer nodes, or nobody said how to start anything on another.
        """
        if nodes > self.nodes:
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
                word.format(nodes=nodes, nodefile=self.nodefile)
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
    slurm = environment.get("SLURM_JOB_NUM_NODES") or environment.get("SLURM_NNODES")
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
    if slurm is not None and slurm.isdecimal():
        return Allocation(int(slurm), None, _ends(environment), launch or SRUN)
    return Allocation(1, None, _ends(environment), launch)


def _ends(environment: Mapping[str, str]) -> float | None:
    for name in ENDS:
        try:
            return float(environment[name])
        except (KeyError, ValueError):
            continue
    return None
