"""The commands of the output space: clusters, their passes and sweep, assignment, statistics, map and attention.

In: as every command (:mod:`dawnchorus.cli_options`), and embeddings. Out: what the step writes below the experiment's
folder.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dawnchorus.cli_options import (
    ConfigFiles,
    Days,
    Device,
    ExperimentName,
    Handed,
    Overrides,
    Workers,
    chosen_days,
    chosen_settings,
    say_receipt,
)
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say
from dawnchorus.results import RecorderDay

app = typer.Typer()

Named = Annotated[
    str | None,
    typer.Option("--pass", help="A named pass of the config, in place of the first clusters."),
]


@app.command()
def cluster(
    experiment: ExperimentName,
    named: Named = None,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Fit the clusters on a sample of an experiment's embeddings, or on all of them.

    With --pass: without what the pass leaves out of the first clusters.

    Example: dawnchorus cluster --experiment dino_vits16 --set clustering.k=100
    """
    from dawnchorus.clustering.fit import fit

    settings, results = chosen_settings(config_files, overrides, handed)
    receipt = fit(settings, results, experiment, named=named, workers=workers)
    say_receipt(" ".join(filter(None, ["cluster", experiment, named])), receipt)


@app.command()
def assign(
    experiment: ExperimentName,
    recorder: Annotated[str | None, typer.Option("--recorder", help="Id of the recorder.")] = None,
    date: Annotated[str | None, typer.Option("--date", help="Local date, YYYY-MM-DD.")] = None,
    named: Named = None,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Give every window of one recorder-day its cluster, or of all recorder-days that have embeddings.

    Example: dawnchorus assign --experiment dino_vits16 --recorder SM01 --date 2021-05-24
    """
    from dawnchorus.clustering.assignment import assign_all, assign_day

    settings, results = chosen_settings(config_files, overrides, handed)
    if recorder is None and date is None:
        receipt = assign_all(settings, results, experiment, named=named, workers=workers)
        say_receipt(f"assign {experiment}", receipt)
    elif recorder is None or date is None:
        raise DawnChorusError(
            "half a recorder-day", "--recorder, --date", "give both, or none for all of them"
        )
    else:
        day = RecorderDay(recorder, date)
        receipt = assign_day(settings, results, experiment, day, named=named)
        say_receipt(" ".join(filter(None, ["assign", experiment, named, str(day)])), receipt)


@app.command()
def sweep(
    experiment: ExperimentName,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Fit several numbers of clusters with several seeds: a table and a figure to choose clustering.k by.

    Example: dawnchorus sweep --experiment dino_vits16 --set sweep.k=[20,50,100,200]
    """
    from dawnchorus.clustering.sweep import sweep as fit_each
    from dawnchorus.report.space import draw_sweep

    settings, results = chosen_settings(config_files, overrides, handed)
    table = fit_each(settings, results, experiment, workers=workers)
    path = results.experiment(experiment).sweep
    draw_sweep(table, path.with_suffix(".png"))
    for row in table.iter_rows(named=True):
        silhouette = "none" if row["silhouette"] is None else f"{row['silhouette']:.3f}"
        say(
            f"k {row['k']}: mean distance {row['mean_distance']:.4f}, silhouette {silhouette}, "
            f"adjusted Rand index between seeds {row['ari']:.2f}"
        )
    say(f"sweep {experiment}: {path.with_suffix('.tsv')}")


@app.command()
def statistics(
    experiment: ExperimentName,
    days: Days = None,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Measure the output space over all embeddings, and say which recorder-days fit badly into the clusters.

    Example: dawnchorus statistics --experiment dino_vits16 --workers 4
    """
    from dawnchorus.clustering.statistics import statistics as measure

    settings, results = chosen_settings(config_files, overrides, handed)
    receipt = measure(settings, results, experiment, chosen_days(days, results), workers=workers)
    say_receipt(f"statistics {experiment}", receipt)
    say(receipt["drift"]["sentence"])


@app.command("map")
def map_(
    experiment: ExperimentName,
    fit: Annotated[bool, typer.Option("--fit", help="Fit the projection on a sample.")] = False,
    days: Days = None,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Draw the 2-D map: fit the projection (--fit), or place all windows in it.

    Example: dawnchorus map --experiment dino_vits16 --fit
    """
    from dawnchorus.clustering.projection import fit_map, place

    settings, results = chosen_settings(config_files, overrides, handed)
    if fit:
        say_receipt(f"map {experiment}", fit_map(settings, results, experiment))
    else:
        receipt = place(settings, results, experiment, chosen_days(days, results), workers=workers)
        say_receipt(f"map {experiment}", receipt)


@app.command()
def attend(
    experiment: ExperimentName,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    device: Device = "auto",
) -> None:
    """Look where the heads look: masks and boxes for each cluster's most central windows.

    Example: dawnchorus attend --experiment dino_vits16 --set attention.mass=0.5
    """
    from dawnchorus.attention.attend import attend

    settings, results = chosen_settings(config_files, overrides, handed)
    say_receipt(f"attend {experiment}", attend(settings, results, experiment, device=device))
