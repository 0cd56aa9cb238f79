"""Snakemake that runs all jobs at once, without scheduler, shell or threads: stubs written, provenance recorded.

A season of 909 recorder-days is so brought up to date in seconds instead of minutes. Called as Snakemake is, with
``DAWNCHORUS_STUB_RUN`` set.
"""

import json
from pathlib import Path
from typing import Any

from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

from dawnchorus.stub_run import stub_receipt


def schedule(scheduler: JobScheduler) -> bool:
    """Stand in for the scheduler's loop; the jobs of a level after those of the level before."""
    workflow: Any = scheduler.workflow
    dag, persistence = workflow.dag, workflow.persistence
    wanted = set(dag.needrun_jobs())
    jobs = [job for level in dag.toposorted() for job in level if job in wanted]

    async def finish() -> None:
        for job in jobs:
            receipt = stub_receipt(job.rule.name, dict(job.params.items()))
            for path in map(Path, job.output):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(receipt) if path.suffix == ".json" else "")
        for job in jobs:
            await persistence.finished(job)

    workflow.async_run(finish())
    return True


if __name__ == "__main__":
    JobScheduler.schedule = schedule
    main()
