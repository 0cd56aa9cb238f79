"""The commands for what leaves the workflow: report, explorer, exports.

In: as every command (:mod:`dawnchorus.cli_options`), and results. Out: pages, a local server, or files in a folder that
the person names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dawnchorus.cli_options import (
    ConfigFiles,
    Days,
    Handed,
    Overrides,
    chosen_days,
    chosen_settings,
    say_receipt,
)
from dawnchorus.progress import say

app = typer.Typer()


@app.command()
def report(
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Draw this experiment's figures.")
    ] = None,
    comparison: Annotated[
        bool, typer.Option("--comparison", help="Draw the figures across experiments.")
    ] = False,
    days: Days = None,
    snakefile: Annotated[Path, typer.Option(help="Workflow to report on.")] = Path("Snakefile"),
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Draw figures, or put Snakemake's report of everything together.

    Example: dawnchorus report --experiment dino_vits16
    """
    from dawnchorus import report as pages

    settings, results = chosen_settings(config_files, overrides, handed)
    if experiment is not None:
        pages.draw_experiment(settings, results, experiment, chosen_days(days, results))
    elif comparison:
        pages.draw_comparison(settings, results)
    else:
        pages.write_report(settings, results, snakefile)
        say(f"report: {results.report}")


@app.command()
def explore(
    results_folder: Annotated[
        Path | None, typer.Argument(help="Folder of results; default: the config's.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Whose map; default: the only one.")
    ] = None,
    cards: Annotated[
        Path | None, typer.Option(help="Recorder cards to hear from; default: the config's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    check: Annotated[
        bool, typer.Option("--check", help="Serve, fetch the page and the points once, and stop.")
    ] = False,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Hear and label regions of the output space, in the browser, on this machine only.

    Labels are saved at once in results/labels/journal.jsonl.

    Example: dawnchorus explore results --experiment dino_vits16
    """
    from dawnchorus.explorer.explore import explore

    settings, results = chosen_settings(config_files, overrides, handed)
    explore(
        results_folder or results.root,
        experiment=experiment,
        cards=cards or settings.audio.root,
        port=port,
        browser=browser,
        check=check,
    )


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder for the exported tables.")],
    what: Annotated[
        str, typer.Option("--what", help="detections, boxes or labels.")
    ] = "detections",
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Whose boxes or labels.")
    ] = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Write Raven selection tables, one per recording, and one Parquet of all rows.

    Example: dawnchorus export tables --what boxes --experiment dino_vits16
    """
    from dawnchorus.explorer.export import export_tables

    settings, results = chosen_settings(config_files, overrides, handed)
    say_receipt(f"export {what}", export_tables(settings, results, out, what, experiment))
