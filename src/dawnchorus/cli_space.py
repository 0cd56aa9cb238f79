"""The commands of the output space: clusters, their passes and sweep, assignment, statistics, map, outliers, search, attention.

In: as every command (:mod:`dawnchorus.cli_options`), and embeddings. Out: what the step writes below the experiment's
folder.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
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
def search(
    experiment: ExperimentName,
    recording: Annotated[
        str | None, typer.Option("--recording", help="Of a window: path below the cards.")
    ] = None,
    offset: Annotated[
        int | None, typer.Option("--offset", min=0, help="Of a window: its first sample.")
    ] = None,
    clip: Annotated[
        Path | None, typer.Option("--clip", help="An audio file, of any rate; a query per window.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Windows per query.")] = 20,
    recorder: Annotated[
        str | None, typer.Option("--recorder", help="Only this recorder's windows.")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Only from this local date on, YYYY-MM-DD.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Only up to this local date.")] = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Not in the window's own recording.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the table: .tsv or .parquet.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Folder for a page with pictures and clips.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Make the season ready for fast searches.")
    ] = False,
    device: Device = "auto",
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Find the windows most like a window of the season, or like an audio file.

    Example: dawnchorus search --experiment dino_vits16 --clip wren.wav --page found
    """
    from dawnchorus.clustering import search as finding

    settings, results = chosen_settings(config_files, overrides, handed)
    settings.experiment(experiment)
    if prepare:
        from dawnchorus.clustering.prepared import prepare as make_ready

        made = make_ready(results, experiment, finding.days_of(results, experiment))
        say_receipt(f"search {experiment}: ready", made)
        if recording is None and clip is None:
            return
    wanted = finding.Wanted(
        recording, offset, clip, count, recorder, first, last, elsewhere=elsewhere
    )
    if out is not None:
        finding.check_ending(out)
    queries, found = finding.search(
        settings, results, experiment, wanted, device=device, workers=workers
    )
    typer.echo(finding.as_text(found))
    if out is not None:
        finding.write_found(found, out)
    if page is not None:
        from dawnchorus.report.similar import draw_found

        shown = draw_found(settings, results, experiment, queries, wanted.name, found, page)
        say(f"search: {shown}")


@app.command()
def outliers(
    experiment: ExperimentName,
    days: Days = None,
    page: Annotated[bool, typer.Option(help="Also make the page with pictures and clips.")] = True,
    workers: Workers = 1,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """List windows and recorder-days that lie far from everything else, with pictures and clips.

    Example: dawnchorus outliers --experiment dino_vits16 --set outliers.per_day=20
    """
    from dawnchorus.clustering.outliers import find_outliers

    settings, results = chosen_settings(config_files, overrides, handed)
    chosen = chosen_days(days, results)
    receipt = find_outliers(settings, results, experiment, chosen, workers=workers)
    if page:
        from dawnchorus.report.outliers import draw_outliers

        draw_outliers(settings, results, experiment)
    say_receipt(f"outliers {experiment}", receipt)


@app.command()
def attend(
    experiment: ExperimentName,
    out: Annotated[
        Path | None, typer.Option("--out", help="One window: folder for maps, boxes and a picture.")
    ] = None,
    recording: Annotated[
        str | None, typer.Option("--recording", help="One window: path below audio.root.")
    ] = None,
    offset: Annotated[
        int, typer.Option("--offset", min=0, help="A sample of the window, at the file's rate.")
    ] = 0,
    recorder: Annotated[
        str | None, typer.Option("--recorder", help="One window: id of the recorder.")
    ] = None,
    date: Annotated[str | None, typer.Option("--date", help="Local date, YYYY-MM-DD.")] = None,
    time: Annotated[
        datetime | None,
        typer.Option(
            "--time",
            formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="Moment, UTC if without an offset.",
        ),
    ] = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    device: Device = "auto",
) -> None:
    """Look where the song is: masks and boxes for each cluster's central windows, or for one window.

    Example: dawnchorus attend --experiment dino_vits16 --recording SM01/a.wav --offset 132300 --out seen
    """
    settings, results = chosen_settings(config_files, overrides, handed)
    if out is None and recording is None and recorder is None:
        from dawnchorus.attention.attend import attend

        say_receipt(f"attend {experiment}", attend(settings, results, experiment, device=device))
        return
    from dawnchorus.attention.one_window import at_time, attend_to, of_recording
    from dawnchorus.report.attention_window import draw_windows

    if out is None:
        raise DawnChorusError(
            "one window needs a folder", "--out", "name one that is not there yet"
        )
    if recording is not None:
        windows = of_recording(results, recording, offset)
    elif recorder is not None and date is not None and time is not None:
        windows = at_time(results, RecorderDay(recorder, date), time)
    else:
        raise DawnChorusError(
            "no window is named",
            "attend --out",
            "give --recording and --offset, or --recorder, --date and --time",
        )
    say_receipt(f"attend {out}", attend_to(settings, results, experiment, windows, out, device))
    for picture in draw_windows(results, out):
        say(f"attend: {picture}")
