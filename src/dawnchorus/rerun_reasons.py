"""Has Snakemake see every reason that a job has to run again.

In: Snakemake's DAG class, receipts whose data somebody deleted. Out: a graph that runs what must run.

A receipt stands for a store that Snakemake does not watch. Where the store was deleted, the receipt's job
must run again, as if by ``--forcerun`` (which cannot be given from a Snakefile, and would also make the job
a target of calls that have nothing to do with it).

And one fault of Snakemake 9 is mended. It asks a job for reasons of its own (changed parameters, code, input
list) only if nothing above it runs: whoever stands below a running job will be told to run anyway. But an
``ancient()`` input tells nobody. So with a new recording, which makes ``scan`` run, a changed parameter of
any job behind an ancient input would go unseen until the next call. Here an edge whose files are all ancient
hides no reasons.

``tests/workflow/test_reruns.py`` holds it to exact numbers of jobs; a Snakemake that has mended it itself
gives the same numbers without this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from snakemake.dag import DAG

_update_needrun, _bfs = DAG.update_needrun, DAG.bfs
_deciding: set[int] = set()
"""Graphs that are deciding what must run, by identity."""
_forced: set[str] = set()
"""Outputs whose jobs must run again if they are in the graph."""


async def update_needrun(self: DAG, *arguments: Any, **options: Any) -> None:
    """Decide what must run; :func:`bfs` heeds ancient edges meanwhile."""
    self.forcefiles.update(_forced)
    _deciding.add(id(self))
    try:
        await _update_needrun(self, *arguments, **options)
    finally:
        _deciding.discard(id(self))


def bfs(self: DAG, direction: Any, *jobs: Any, **options: Any) -> Iterator[Any]:
    """Walk the graph; downwards, while it is being decided what must run, not along ancient edges."""
    if id(self) not in _deciding or direction is not self.depending:
        yield from _bfs(self, direction, *jobs, **options)
        return
    queue, visited = deque(jobs), set(jobs)
    while queue:
        job = queue.popleft()
        yield job
        for below, files in direction[job].items():
            if below not in visited and not all(file.is_ancient for file in files):
                queue.append(below)
                visited.add(below)


def forced_outputs() -> frozenset[str]:
    """Return the outputs whose jobs must run again because their data was deleted."""
    return frozenset(_forced)


def mend(forced: Iterable[Path]) -> None:
    """Put both in Snakemake's place.

    Parameters
    ----------
    forced : iterable of Path
        Outputs whose jobs must run again, spelled as in the rules.
    """
    _forced.clear()
    _forced.update(map(str, forced))
    DAG.update_needrun, DAG.bfs = update_needrun, bfs
