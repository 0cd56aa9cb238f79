"""Packed jobs as a season needs them: the same recorder-days in the same pack at every start, found in seconds.

In: Snakemake's DAG class, whose ``group-components`` (how many recorder-days make a pack) come from the profile.
Out: packs whose members follow from the season alone.

Snakemake packs whatever is left to do, in the order of a set: killed and started again, it would put other
recorder-days together, and a packed job that still runs would not be known again. Here recorder-days are
counted by experiment, date and recorder, over the whole season, done or not, so that days that are added come last and
what is left of a pack is always a part of that pack.

And its check that no pack depends on itself walks through the whole graph once for every pair of members
(minutes for 909 recorder-days in packs of 96). Here the packs are contracted to single nodes and sorted
topologically, once; only if that fails, Snakemake's own check is asked, for its words.
"""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from typing import Any

from snakemake.dag import DAG

_validate_group, _check_groups = DAG.validate_group, DAG._check_groups


def update_group_components(self: DAG) -> None:
    """Merge the groups of single recorder-days into packs."""
    sizes = self.workflow.group_settings.group_components
    packs: dict[tuple[str, int], Any] = {}
    for name, jobs in _packed(self).items():
        size = sizes.get(self.workflow.parent_groupids.get(name, name), 1)
        for place, job in enumerate(sorted(jobs, key=_place)):
            group = self._group.get(job)
            if group is None:
                continue  # done already: its place stays empty
            pack = packs.setdefault((name, place // max(size, 1)), group)
            if pack is not group:
                pack.merge(group)
    for pack in packs.values():
        for job in pack.jobs:
            self._group[job] = pack
        pack.finalize()


def _packed(dag: DAG) -> dict[str, list[Any]]:
    """All jobs that belong to a group, to do or done, by the group's name."""
    packed = defaultdict(list)
    for job in dag.jobs:
        if job.group is not None:
            packed[job.group].append(job)
    return packed


def _place(job: Any) -> tuple[str, ...]:
    known = dict(job.wildcards.items())
    return (*(known.get(name, "") for name in ("experiment", "date", "recorder")), str(job.output))


def check_groups(self: DAG) -> None:
    """Raise Snakemake's own error if a pack depends on itself by way of jobs outside."""
    below: dict[int, set[int]] = defaultdict(set)
    for job in self.needrun_jobs():
        node = id(self._group.get(job, job))
        for needed in self._dependencies[job]:
            if self.needrun(needed):
                above = id(self._group.get(needed, needed))
                if above != node:
                    below[node].add(above)
    try:
        TopologicalSorter(below).prepare()
    except CycleError:
        for group in set(self._group.values()):
            _validate_group(self, group)
        _check_groups(self)
        raise


def mend() -> None:
    """Put both in Snakemake's place."""
    DAG._update_group_components = update_group_components
    DAG._check_groups = check_groups
    DAG.validate_group = lambda self, group: None
