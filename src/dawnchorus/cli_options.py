"""The options that commands share, and the settings they choose.

In: what stands on the command line (``--config``, ``--set``, ``--settings``) and, in the workflow, its
environment. Out: the validated settings and where the results lie.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say
from dawnchorus.results import SET_ASIDE, RecorderDay, Results

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file; repeat to override key by key. Default: config/config.yaml.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value on top of the files.")
]
Handed = Annotated[
    list[str] | None,
    typer.Option("--settings", help="Sections as JSON, as the workflow hands them over."),
]
RecorderName = Annotated[str, typer.Option("--recorder", help="Id of the recorder.")]
LocalDate = Annotated[str, typer.Option("--date", help="Local date, YYYY-MM-DD.")]
ExperimentName = Annotated[str, typer.Option("--experiment", "-e", help="Name in the config.")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="Processes or threads; the result is the same.")
]
Processes = Annotated[
    int, typer.Option("--processes", min=0, help="Processes of this node; 0: one per GPU.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Days = Annotated[
    str | None,
    typer.Option(
        "--days", help="Recorder-days as recorder/date, by commas. Default: all there are."
    ),
]

DEFAULT_CONFIG = Path("config/config.yaml")
WORKFLOW_SETTINGS = "DAWNCHORUS_SETTINGS"
"""Environment variable in which the workflow hands every command the settings that say where and how
fast, never what: paths and batch sizes. They are no parameters of a rule and make nothing run again."""


def chosen_settings(
    files: Sequence[Path] | None, overrides: Sequence[str] | None, handed: Sequence[str] | None
) -> tuple[config.Settings, Results]:
    """Return the settings that the options choose, and the results they name.

    Raises
    ------
    DawnChorusError
        If they are not valid.
    """
    of_workflow = os.environ.get(WORKFLOW_SETTINGS)
    if not files and not of_workflow and DEFAULT_CONFIG.is_file():
        files = [DEFAULT_CONFIG]
    layers = [*([of_workflow] if of_workflow else []), *(handed or ())]
    settings = config.load(files or (), overrides or (), layers)
    return settings, Results(settings.results)


def chosen_days(text: str | None, results: Results) -> list[RecorderDay]:
    """Return the recorder-days that ``--days`` names; by default all that have a receipt.

    Raises
    ------
    DawnChorusError
        If one is not recorder/date.
    """
    if text is None:
        return results.days_with_receipts()
    days = []
    for item in filter(None, text.split(",")):
        recorder, slash, date = item.rpartition("/")
        if not slash:
            raise DawnChorusError(f"{item!r} is not recorder/date", "--days")
        days.append(RecorderDay(recorder, date))
    return days


def say_receipt(step: str, receipt: dict[str, Any]) -> None:
    """One line for the log: the verdict and the counts of a receipt."""
    counts = ", ".join(
        f"{value:,} {key}"
        for key, value in receipt.items()
        if type(value) is int and key != "edition"
    )
    verdict = receipt.get("verdict")
    reason = f" ({receipt['reason']})" if verdict == SET_ASIDE and receipt.get("reason") else ""
    say(f"{step}: {': '.join(filter(None, [verdict, counts]))}{reason}")
