"""What a site allows and how jobs there ask for it: the ``site.yaml`` of a profile.

In: the file, a job's resources. Out: a validated :class:`Site`, and the queue a job belongs in. Queue limits
stand in this one file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers import SITE_FILE


class Strict(BaseModel):
    """A section that knows all of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Queue(Strict):
    """Limits of a queue."""

    unit: Literal["node", "gpu"] = "node"
    min_minutes: int = Field(ge=1)
    max_minutes: int = Field(ge=1)
    counts: tuple[int, ...] = (1,)
    """How many units a job may ask for."""
    max_queued: int = Field(ge=1)
    max_running: int = Field(ge=1)


class Choice(Strict):
    """A queue, and the jobs that belong in it; the first choice that fits a job is taken."""

    queue: str
    packed: bool | None = None
    """Only jobs of many (true), only single ones (false), or both."""
    at_least: dict[str, int] = {}
    at_most: dict[str, int] = {}

    def fits(self, resources: Mapping[str, Any], *, packed: bool) -> bool:
        """Whether a job belongs here; a resource that it does not name counts as 0."""
        if self.packed is not None and self.packed != packed:
            return False
        wants = {key: _number(resources, key) for key in {*self.at_least, *self.at_most}}
        return all(wants[key] >= least for key, least in self.at_least.items()) and all(
            wants[key] <= most for key, most in self.at_most.items()
        )


class System(Strict):
    """One machine of the site."""

    filesystems: tuple[str, ...] = ()
    chunk: dict[str, str] = {}
    """What each chunk must have (PBS Pro's select)."""
    place: str = ""
    """How chunks are placed (PBS Pro's place)."""
    environment: dict[str, str] = {}
    """Set in every job: proxies, for example. Jobs inherit nothing by themselves."""
    queues: dict[str, Queue]
    choose: tuple[Choice, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known_queues(self) -> System:
        for choice in self.choose:
            if choice.queue not in self.queues:
                raise ValueError(f"choose: no queue {choice.queue!r} among {sorted(self.queues)}")
        return self


class Site(Strict):
    """The whole file."""

    scheduler: str
    project: tuple[str, ...] = Field(min_length=1)
    """Environment variables that may name the project; the first that is set counts."""
    carry: tuple[str, ...] = ()
    """Environment variables that jobs get from whoever submits them, where set; ``NAME*`` for several."""
    systems: dict[str, System] = Field(min_length=1)
    """The first is meant where a job does not name its ``system``."""

    def system(self, name: str | None) -> System:
        """Return a machine by name, or the first.

        Raises
        ------
        DawnChorusError
            If there is none of that name.
        """
        if name is None:
            return next(iter(self.systems.values()))
        if name not in self.systems:
            raise DawnChorusError(
                f"no system {name!r}", "resource system", f"{SITE_FILE} has {sorted(self.systems)}"
            )
        return self.systems[name]

    def project_of(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the project that pays.

        Raises
        ------
        DawnChorusError
            If the environment names none.
        """
        for variable in self.project:
            if environment.get(variable):
                return environment[variable]
        raise DawnChorusError(
            "no project to charge", " or ".join(self.project), f"export {self.project[0]}=..."
        )


def read_site(profile: Path) -> Site:
    """Read the ``site.yaml`` of a profile's folder.

    Raises
    ------
    DawnChorusError
        If it is missing or says something that it cannot.
    """
    path = profile / SITE_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DawnChorusError(
            f"has no {SITE_FILE}", profile, "name the folder of a cluster's profile"
        ) from None
    except yaml.YAMLError as error:
        raise DawnChorusError(f"is not YAML: {error}", path) from None
    try:
        return Site.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DawnChorusError(f"{key}: {first['msg']}", path) from None


def queue_for(
    system: System, resources: Mapping[str, Any], *, packed: bool, job: str
) -> tuple[str, Queue]:
    """Return the queue of a job and its limits: the resource ``queue``, or the first choice that fits.

    Raises
    ------
    DawnChorusError
        If it names one that is not there, or none fits.
    """
    name = resources.get("queue")
    if name is None:
        fitting = [choice for choice in system.choose if choice.fits(resources, packed=packed)]
        if not fitting:
            raise DawnChorusError(
                "no queue fits",
                f"job {job}",
                f"add one to choose: in {SITE_FILE}, or set its queue",
            )
        name = fitting[0].queue
    if name not in system.queues:
        raise DawnChorusError(
            f"no queue {name!r}", f"job {job}", f"{SITE_FILE} has {sorted(system.queues)}"
        )
    return name, system.queues[name]


def minutes_for(limits: Queue, queue: str, resources: Mapping[str, Any], *, job: str) -> int:
    """Return the run time to ask for, in minutes: the job's own, lifted to the queue's minimum.

    Raises
    ------
    DawnChorusError
        If the job names none, or more than the queue allows.
    """
    minutes = _number(resources, "runtime")
    if minutes < 1:
        raise DawnChorusError(
            "no run time", f"job {job}", "set its resource runtime, in minutes, in the profile"
        )
    if minutes > limits.max_minutes:
        raise DawnChorusError(
            f"{minutes} minutes are more than the {limits.max_minutes} that queue {queue} allows",
            f"job {job}",
            "lower its runtime, pack fewer into one job (group-components), or choose another queue",
        )
    return max(minutes, limits.min_minutes)


def count_for(
    limits: Queue, queue: str, resources: Mapping[str, Any], *, packed: bool, job: str
) -> int:
    """Return how many nodes or GPUs to ask for.

    Snakemake sums numbers over the members of a packed job: 32 recorder-days with a GPU each would be
    32 GPUs. A packed job is made for one unit, whatever the sum.

    Raises
    ------
    DawnChorusError
        If the queue does not give so many.
    """
    if packed:
        return 1
    wanted = max(1, _number(resources, "nodes" if limits.unit == "node" else "gpu"))
    enough = [count for count in sorted(limits.counts) if count >= wanted]
    if not enough:
        raise DawnChorusError(
            f"{wanted} {limits.unit}s are more than the {max(limits.counts)} of queue {queue}",
            f"job {job}",
            "ask for fewer, or choose another queue",
        )
    return enough[0]


def _number(resources: Mapping[str, Any], key: str) -> int:
    """A numeric resource; 0 if it is missing, or not known before its input is there."""
    value = resources.get(key, 0)
    return int(value) if isinstance(value, (int, float)) else 0
