"""What a dry run is about to do, in our own terms.

In: nothing of Snakemake; :mod:`dawnchorus.overview.snakemake_graph` fills these. Out: plain objects that
the reasons, the costs and the tests work with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dawnchorus.results import RecorderDay


@dataclass(frozen=True)
class Change:
    """A parameter of a rule that is not what it was when the job last ran."""

    name: str
    """As the rule calls it."""
    before: str | None
    """None if it cannot be told which of the earlier values it was."""
    now: str


@dataclass(frozen=True)
class PlannedJob:
    """A job that a dry run would run, and what makes it run by itself.

    A job that only follows from others has none of the reasons.
    """

    rule: str
    day: RecorderDay | None = None
    experiment: str | None = None
    missing: tuple[str, ...] = ()
    """Outputs that are not there and somebody wants."""
    forced: bool = False
    data_deleted: bool = False
    """Its receipt is there, and the store it stands for is not."""
    changes: tuple[Change, ...] = ()
    updated: tuple[str, ...] = ()
    """Inputs that are newer, though no job makes them."""
    inputs_changed: bool = False
    code_changed: bool = False
    software_changed: bool = False
    threads: int = 1
    nodes: int = 1
    """Machines that it takes for itself; members of a packed job share one."""
    submission: int | None = None
    """Jobs of the same number go to the scheduler together; None: where Snakemake runs."""


@dataclass(frozen=True)
class Plan:
    """All of it."""

    jobs: Sequence[PlannedJob]
    cores: int
    """Of a node (or of this machine)."""
    remote: bool | None
    """Whether jobs go to a scheduler; None if this Snakemake does not tell."""
