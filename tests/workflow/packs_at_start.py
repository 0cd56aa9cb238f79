"""Snakemake that prints which outputs its packs would make, as JSON, in place of running anything."""

import json
from typing import Any

from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler


def schedule(scheduler: JobScheduler) -> bool:
    """Stand in for the scheduler's loop."""
    dag: Any = scheduler.workflow.dag
    packs = {id(group): group for job in dag.needrun_jobs() if (group := dag.get_job_group(job))}
    print(
        json.dumps(
            sorted(
                sorted(str(output) for job in pack.jobs for output in job.output)
                for pack in packs.values()
            )
        )
    )
    return True


if __name__ == "__main__":
    JobScheduler.schedule = schedule
    main()
