"""Reads a dry run's graph out of Snakemake: the only place that knows its insides.

In: Snakemake's workflow object. Out: a :class:`~dawnchorus.overview.plan.Plan`, or
:class:`NotAsExpected` where this Snakemake is built otherwise; the dry run itself does not mind.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any

from snakemake.api import DAGApi
from snakemake.settings.enums import Quietness

from dawnchorus.errors import DawnChorusError
from dawnchorus.overview.plan import Change, Plan, PlannedJob
from dawnchorus.rerun_reasons import forced_outputs
from dawnchorus.results import RecorderDay

SILENT = frozenset({Quietness.PROGRESS, Quietness.ALL})
"""``--quiet`` and ``--quiet all``; ``--quiet rules`` leaves out the jobs one by one, not the summary."""


class NotAsExpected(DawnChorusError):  # noqa: N818 - it is what happened
    """Snakemake's insides are not those this version was written for."""


def is_told(workflow: Any) -> bool:
    """Tell whether this was a dry run that came to its end and may be spoken of.

    Calls that only print (``--dag``, ``--summary``, ``--lint`` ...) never choose an executor; one that
    failed has no scheduler yet.
    """
    try:
        if not workflow.is_main_process or not workflow.dryrun or workflow.scheduler is None:
            return False
        return SILENT.isdisjoint(workflow.output_settings.quiet or ())
    except AttributeError as error:
        raise _unexpected(error) from None


def read_plan(workflow: Any) -> Plan:
    """Read what would run, and why.

    Raises
    ------
    NotAsExpected
        If something that is needed is not there.
    """
    try:
        remote = _is_remote(workflow)
        deleted = forced_outputs()
        submissions: dict[int, int] = {}
        # To a dry run all jobs are local ones.
        here = None if remote is False else frozenset(workflow._localrules)
        jobs = [
            _planned(job, workflow.dag, here, submissions, deleted)
            for job in workflow.dag.needrun_jobs(exclude_finished=False)
            if not job.rule.norun
        ]
        return Plan(jobs, int(workflow.resource_settings.cores or 1), remote)
    except (AttributeError, TypeError, KeyError) as error:
        raise _unexpected(error) from None


def _unexpected(error: Exception) -> NotAsExpected:
    return NotAsExpected(f"no summary: this Snakemake is built otherwise than known here ({error})")


def _is_remote(workflow: Any) -> bool | None:
    """Tell whether jobs would go to a scheduler.

    A dry run has an executor of its own. What the wanted one leaves behind: it needs a number of jobs, and
    has threads used. Before Snakemake had a pseudo executor for dry runs it left nothing.
    """
    if "pseudo_executor" not in inspect.signature(DAGApi.execute_workflow).parameters:
        return None
    is_wanted = workflow.resource_settings.nodes is not None
    return bool(is_wanted and workflow.execution_settings.use_threads)


def _planned(
    job: Any,
    dag: Any,
    here: frozenset[str] | None,
    submissions: dict[int, int],
    deleted: frozenset[str],
) -> PlannedJob:
    """Put a job of Snakemake's into our terms; ``here``: rules that run where Snakemake does, None for all."""
    reason, wildcards = dag.reason(job), job.wildcards_dict
    submission = None
    if here is not None and not (job.group is None and job.rule.name in here):
        together = dag.get_job_group(job) if job.group is not None else None
        submission = submissions.setdefault(id(together or job), len(submissions))
    day = None
    if "recorder" in wildcards and "date" in wildcards:
        day = RecorderDay(wildcards["recorder"], wildcards["date"])
    data_deleted = bool(reason.forced) and not deleted.isdisjoint(map(str, job.output))
    return PlannedJob(
        rule=job.rule.name,
        day=day,
        experiment=wildcards.get("experiment"),
        missing=_texts(reason.missing_output),
        forced=bool(reason.forced) and not data_deleted,
        data_deleted=data_deleted,
        changes=_changes(job, reason.params_changed),
        updated=_texts(reason.updated_input - reason.updated_input_run),
        inputs_changed=bool(reason.input_changed),
        code_changed=bool(reason.code_changed),
        software_changed=bool(reason.software_stack_changed),
        threads=int(job.threads),
        nodes=1 if job.group is not None else int(job.resources.get("nodes") or 1),
        submission=submission,
    )


def _texts(files: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(map(str, files)))


def _changes(job: Any, changed: Any) -> tuple[Change, ...]:
    """Name the parameters that changed; Snakemake keeps only their values."""
    if not changed:
        return ()
    before = sorted(filter(None, map(_text, changed.only_old)))
    changes = []
    for name, value in job.params.items():
        if repr(value) in changed.only_new:
            now = str(value)
            alike = [old for old in before if _kind(old) == _kind(now)]
            if alike:
                before.remove(alike[0])
            changes.append(Change(name, alike[0] if alike else None, now))
    return tuple(changes)


def _text(shown: str) -> str | None:
    """Undo ``repr``; None for what is no literal."""
    try:
        return str(ast.literal_eval(shown))
    except (ValueError, SyntaxError):
        return None


def _kind(value: str) -> str:
    """Tell the JSON of settings, lists of recorder-days and fingerprints apart."""
    if value.startswith("{"):
        return "settings"
    return "days" if "/" in value else "fingerprint"
