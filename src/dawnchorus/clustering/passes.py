"""Passes over a season's embeddings, one recorder-day at a time, on Dask's workers.

In: recorder-days, and a function of one of them. Out: what it returned for each, in the order of the recorder-days
whoever was done first, so that whatever is summed up has the same bytes with any number of workers.

The workers are threads of this process, unless the section ``dask`` of the configuration names a Dask scheduler
that runs already, or a batch system whose jobs become workers (dask-jobqueue). Functions read the stores
themselves: workers elsewhere need the results below the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from dawnchorus.config import Dask
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say, tracked

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 4
"""Groups per worker that are handed out before the first of them is taken back: bounds memory."""
TOGETHER, SHARES = 8, 8
"""Most recorder-days in a group: to hand one out takes Dask milliseconds, a fifth of what is done with it. Every
worker gets at least so many shares."""
SECONDS_TO_ANSWER = 30


def one_core_each() -> Any:
    """Return the plugin that has BLAS use one core in every worker: sums have one order, hence the same bytes."""
    from distributed import WorkerPlugin

    class OneCoreEach(WorkerPlugin):
        """Limits BLAS and OpenMP as long as the worker lives."""

        name = "dawnchorus-one-core-each"

        def setup(self, worker: Any) -> None:
            self.limits = threadpool_limits(limits=1)

        def teardown(self, worker: Any) -> None:
            self.limits.restore_original_limits()

    return OneCoreEach()


@contextmanager
def workers(wanted: Dask, threads: int) -> Iterator[Client]:
    """Give access to workers; those that were started for it end with it.

    Parameters
    ----------
    wanted : Dask
        Section of the config.
    threads : int
        How many threads this process may use for it, if they are local.

    Raises
    ------
    DawnChorusError
        If the scheduler does not answer, or dask-jobqueue is not there or does not take the options.
    """
    from distributed import Client, LocalCluster

    with ExitStack() as held:
        if wanted.scheduler == "local":
            cluster = held.enter_context(
                LocalCluster(
                    n_workers=1,
                    threads_per_worker=threads,
                    processes=False,
                    dashboard_address=None,
                    memory_limit=0,
                )
            )
            client = held.enter_context(Client(cluster))
        elif wanted.scheduler in ("slurm", "pbs"):
            cluster = held.enter_context(_submitted(wanted))
            client = held.enter_context(Client(cluster))
            say(
                f"waiting for the first of {wanted.workers or 1} Dask workers from {wanted.scheduler}"
            )
            client.wait_for_workers(1)
        else:
            try:
                client = held.enter_context(Client(wanted.scheduler, timeout=SECONDS_TO_ANSWER))
            except (OSError, ValueError, TimeoutError) as error:
                raise DawnChorusError(
                    f"no Dask scheduler answers at {wanted.scheduler} ({type(error).__name__})",
                    "dask.scheduler",
                    "start one with `dask scheduler`, or set it to local",
                ) from None
            _check_is_peopled(client, wanted.scheduler)
        client.register_plugin(one_core_each())
        yield client


def _submitted(wanted: Dask) -> Any:
    try:
        from dask_jobqueue import PBSCluster, SLURMCluster
    except ImportError:
        raise DawnChorusError(
            f"workers from {wanted.scheduler} need dask-jobqueue",
            "dask.scheduler",
            "pip install dask-jobqueue, or set it to local",
        ) from None
    kind: Any = {"slurm": SLURMCluster, "pbs": PBSCluster}[wanted.scheduler]
    try:
        cluster = kind(**wanted.job)
    except (TypeError, ValueError) as error:
        raise DawnChorusError(
            f"dask-jobqueue does not take it: {error}", "dask.job", "see its documentation"
        ) from None
    cluster.scale(wanted.workers or 1)
    return cluster


def _check_is_peopled(client: Client, address: str) -> None:
    if not client.scheduler_info()["workers"]:
        raise DawnChorusError(
            f"the Dask scheduler at {address} has no workers",
            "dask.scheduler",
            f"start some with `dask worker {address}`",
        )


def each(
    client: Client, function: Callable[..., Any], items: Sequence[Any], *others: Any, doing: str
) -> Iterator[Any]:
    """Call ``function(item, *others)`` for each item; yield the results in the order of the items.

    Parameters
    ----------
    client : Client
        From :func:`workers`.
    function : callable
        Of a module, not of a test or a closure.
    items : sequence
        Recorder-days, for example; anything that can be sent.
    *others
        Sent along.
    doing : str
        What a person is told that is being done.
    """
    handed = [client.scatter(other, broadcast=True, hash=False) for other in others]
    cores = max(1, sum(client.nthreads().values()))
    together = max(1, min(TOGETHER, len(items) // (SHARES * cores)))
    groups = [items[first : first + together] for first in range(0, len(items), together)]
    waiting: list[Any] = []
    left = iter(groups)
    found: list[Any] = []
    for _ in tracked(items, doing, len(items), "days"):
        while len(waiting) < AHEAD * cores and (group := next(left, None)) is not None:
            waiting.append(client.submit(_of_group, function, group, *handed, pure=False))
        if not found:
            found = waiting.pop(0).result()
        yield found.pop(0)


def _of_group(function: Callable[..., Any], group: Sequence[Any], *others: Any) -> list[Any]:
    return [function(item, *others) for item in group]
