"""A run in which no step does anything, so that the workflow's engine can be measured and tested alone.

In: the rules, as Snakemake has read them, and the environment variable ``DAWNCHORUS_STUB_RUN``. Out: jobs that
write the smallest content to the outputs that their rule names, and nothing else: a receipt where it is a
receipt, an empty file where it is not.

Graph, parameters, resources, logs, provenance and the order of jobs stay what they are; a dry run without
the variable finds a season that a stub run has made up to date. Its receipts say ``set aside``, so that
nobody takes it for one with data. A job costs one start of the shell, as every job does, and in it
nothing but builtins.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from snakemake.shell import shell

from dawnchorus.progress import say
from dawnchorus.results import SET_ASIDE

SWITCH = "DAWNCHORUS_STUB_RUN"
"""Environment variable; any content but the empty one switches it on."""


def stub_jobs(workflow: Any) -> None:
    """Have every job of the workflow write stubs, if the environment asks for it.

    Parameters
    ----------
    workflow
        Snakemake's, with all rules read.
    """
    if not os.environ.get(SWITCH):
        return
    if workflow.is_main_process:
        say(f"{SWITCH} is set: no step does anything, its outputs are empty stubs")
    for rule in workflow.rules:
        if rule.shellcmd is not None:
            rule.run_func = write_stubs


def write_stubs(*handed: Any) -> None:
    """Stand in for the function that Snakemake makes of a rule's command.

    Parameters
    ----------
    *handed
        What it is called with, in its order: input, output, params, wildcards, threads, resources, log, rule, ...
    """
    _, output, params, _, threads, resources, log, rule = handed[:8]
    bench_record, jobid = handed[13:15]
    shell(
        "{stubs}",
        stubs=command(output, log, stub_receipt(rule, dict(params.items()))),
        threads=threads,
        resources=resources,
        bench_record=bench_record,
        jobid=jobid,
        is_shell=True,  # Snakemake's word for a rule's own `shell:`; every path in it is quoted
    )


def command(outputs: Any, logs: Any, receipt: Mapping[str, Any]) -> str:
    """Return shell builtins that write the receipt, and everything else empty."""
    text = shlex.quote(json.dumps(receipt, sort_keys=True))
    written = [
        f"printf '%s\\n' {text} > {shlex.quote(path)}"
        if path.endswith(".json")
        else f": > {shlex.quote(path)}"
        for path in map(str, [*logs, *outputs])
    ]
    return "; ".join(written)


def stub_receipt(rule: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receipt of a job that did nothing; that of the training set names its recorder-days."""
    receipt: dict[str, Any] = {"verdict": SET_ASIDE, "reason": "stub run"}
    if rule == "sample":
        receipt["edition"] = json.loads(params["settings"])["training_set"]["edition"]
        receipt["pool"] = [day.rsplit("/", 1) for day in params["days"].split(",")]
    return receipt
