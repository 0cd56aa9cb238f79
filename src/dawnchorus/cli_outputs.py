"""The commands for what leaves the workflow: report, explorer, exports.

In: as every command (:mod:`dawnchorus.cli_options`), and results. Out: pages, a local server, or files in a folder that
the person names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

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
from dawnchorus.errors import DawnChorusError
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
    out: Annotated[Path, typer.Argument(help="Folder for what is exported.")],
    what: Annotated[
        str, typer.Option("--what", help="detections, boxes, labels, clusters or clips.")
    ] = "detections",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="raven, audacity, birdnet-csv, birdnet-raven, camtrap-dp or parquet; repeat, or several "
            "by commas. Default: raven,parquet.",
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Whose boxes, labels or clusters.")
    ] = None,
    per: Annotated[
        str | None,
        typer.Option(
            "--per", help="A file per recording or, for BirdNET's own formats, per recorder-day."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Clips: a folder per cluster, species or label.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Clips: most per folder. Default: 50.")
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option("--choose", help="Clips: best (most central, most certain), random or all."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Clips: of the random choice.")] = 0,
    channel: Annotated[
        int | None,
        typer.Option("--channel", min=1, help="Clips: only this channel, from 1. Default: all."),
    ] = None,
    cards: Annotated[
        Path | None, typer.Option("--cards", help="Clips: recorder cards; default: the config's.")
    ] = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Write tables that other programs open, or cut clips into folders (docs/exports.md).

    Example: dawnchorus export tables --what boxes --experiment dino_vits16 --format raven,audacity
    """
    settings, results = chosen_settings(config_files, overrides, handed)
    if what != "clips":
        given = {
            "--by": by,
            "--count": count,
            "--choose": choose,
            "--channel": channel,
            "--cards": cards,
        }
        if stray := [name for name, value in given.items() if value is not None]:
            raise DawnChorusError(f"{', '.join(stray)} choose clips", "--what", "take --what clips")
        from dawnchorus.sharing.tables import Per, export_tables

        counts = export_tables(
            settings, results, out, what, experiment, formats, cast("Per", per or "recording")
        )
        say_receipt(f"export {what}", counts)
        return
    from dawnchorus.sharing.clips import CLIPS_PER_CLASS, NOT_CUT, export_clips

    if formats or per:
        raise DawnChorusError("clips are WAV files", "--format, --per", "leave them out")
    if choose == "all" and count is not None:
        raise DawnChorusError("contradicts --choose all", "--count", "leave one of them out")
    by = by or "cluster"
    counts = export_clips(
        settings, results, out, by, experiment, count=count or CLIPS_PER_CLASS,
        choose=choose or "best", seed=seed, channel=channel, cards=cards,
    )  # fmt: skip
    say_receipt("export clips", counts)
    if counts["not_cut"]:
        folder = out / "clips" / by / (counts["experiment"] or "")
        raise DawnChorusError(
            f"{counts['not_cut']:,} of {counts['not_cut'] + counts['clips']:,} clips could not be cut; the "
            "others are there",
            folder / NOT_CUT,
            "it names them, and says why",
        )
