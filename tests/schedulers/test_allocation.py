"""What the environment of a job says of its nodes and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers.allocation import Allocation, allocation, of_job
from dawnchorus.schedulers.site import read_site

from .conftest import REPOSITORY


def test_without_a_scheduler_there_is_this_machine():
    assert allocation({}) == Allocation(1, None, None, None)


def test_a_list_of_nodes_counts_each_once(tmp_path):
    # Cobalt has a line per node, PBS Pro one per chunk.
    nodes = tmp_path / "nodes"
    nodes.write_text("thetagpu01\nthetagpu02\nthetagpu01\n")
    found = allocation({"COBALT_NODEFILE": str(nodes), "COBALT_ENDTIME": "1795416500"})
    assert found == Allocation(2, nodes, 1795416500.0, None)
    assert allocation({"PBS_NODEFILE": str(nodes)}) == Allocation(2, nodes, None, None)
    with pytest.raises(DawnChorusError, match=r"gone: the list of nodes cannot be read"):
        allocation({"PBS_NODEFILE": str(tmp_path / "gone")})


def test_slurm_starts_by_itself_what_the_others_are_told_to():
    found = allocation({"SLURM_JOB_ID": "3", "SLURM_JOB_END_TIME": "12"})
    assert (found.nodes, found.ends) == (None, 12.0)
    assert found.on_each(2)[:4] == ["srun", "--overlap", "--jobid=3", "--nodes=2"]
    # Within a step, Slurm's variables tell of the step: of one node, say.
    step = {"SLURM_JOB_ID": "3", "SLURM_JOB_NODELIST": "one", "SLURMD_NODENAME": "one", "HOME": "/"}
    assert of_job(step) == {"SLURM_JOB_ID": "3", "HOME": "/"}
    assert allocation({"SLURM_JOB_ID": "3", "DAWNCHORUS_LAUNCH": "other"}).on_each(2) == ["other"]


@pytest.mark.parametrize(
    ("profile", "system", "words"),
    [
        ("cobalt", "thetagpu", "mpirun -hostfile /n -n 4 -npernode 1"),
        ("pbs", "sophia", "mpirun -hostfile /n -n 4 -npernode 1"),
        ("pbs", "polaris", "mpiexec --hostfile /n -n 4 --ppn 1"),
    ],
)
def test_each_site_says_how(profile, system, words):
    environment = read_site(REPOSITORY / "profiles" / profile).systems[system].environment
    given = Allocation(4, Path("/n"), None, environment["DAWNCHORUS_LAUNCH"])
    assert given.on_each(4) == words.split()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Allocation(1), "2 nodes are wanted, and this job has 1; submit it"),
        (Allocation(2), "DAWNCHORUS_LAUNCH: does not say how a command is started"),
        (Allocation(2, None, None, "run {hosts}"), "DAWNCHORUS_LAUNCH: cannot be read"),
        (Allocation(2, None, None, "run '"), "DAWNCHORUS_LAUNCH: cannot be read"),
    ],
)
def test_what_is_missing_is_said_in_one_line(given, words):
    with pytest.raises(DawnChorusError, match=words):
        given.on_each(2)
