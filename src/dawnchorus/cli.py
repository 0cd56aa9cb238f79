"""The commands: one small function per step.

In: ``dawnchorus COMMAND`` with a configuration (``--config``, ``--set``, ``--settings``). Out: what the
step writes below ``results``; exit status 0 only if all of it is there. A wrong input is one line on
standard error and exit status 1; ``--debug`` before the command shows where it came from.

Heavy libraries are imported by the step that needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dawnchorus import __version__, cli_outputs, cli_overview, cli_space, config
from dawnchorus.cli_options import (
    ConfigFiles,
    Days,
    Device,
    ExperimentName,
    Handed,
    LocalDate,
    Overrides,
    Processes,
    RecorderName,
    Workers,
    chosen_days,
    chosen_settings,
    say_receipt,
)
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say
from dawnchorus.results import SET_ASIDE, RecorderDay

app = typer.Typer(
    name="dawnchorus",
    help="From recorder cards to a labelled output space. Every step of the workflow is a command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_STATE = {"debug": False}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dawnchorus {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _STATE["debug"] = debug


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for cards, deployments and truth.")],
    recorders: Annotated[int, typer.Option(min=1)] = 3,
    days: Annotated[int, typer.Option(min=1)] = 2,
    recordings: Annotated[int, typer.Option(min=1, help="Recordings per recorder-day.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds per recording.")] = 150.0,
    start: Annotated[str, typer.Option(help="First local date, YYYY-MM-DD.")] = "2021-05-24",
    timezone: Annotated[str, typer.Option(help="IANA zone of the season.")] = "America/Chicago",
    schedule: Annotated[
        str, typer.Option(help="twilight (most at dawn and dusk) or interval (from midnight on).")
    ] = "twilight",
    species: Annotated[int, typer.Option(min=1)] = 12,
    seed: Annotated[int, typer.Option()] = 2021,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Tiny files instead of sound, for whole seasons.")
    ] = False,
    faults: Annotated[
        bool, typer.Option("--faults", help="Add a corrupt, an empty and a foreign file.")
    ] = False,
    rarities: Annotated[
        bool,
        typer.Option(
            "--rarities",
            help="Plant a sound that occurs five times and a muffled microphone's day.",
        ),
    ] = False,
    workers: Workers = 1,
) -> None:
    """Make a season with known truth: cards, deployments, Raven tables, truth.parquet.

    Example: dawnchorus simulate demo --recorders 3 --days 2
    """
    from dawnchorus.simulate.faults import add_faults
    from dawnchorus.simulate.plan import make_plan
    from dawnchorus.simulate.season import simulate

    plan = make_plan(
        recorders=recorders,
        days=days,
        start=start,
        timezone=timezone,
        recordings=recordings,
        seconds=seconds,
        schedule=schedule,
        species=species,
        seed=seed,
        tiny=tiny,
        rarities=rarities,
    )
    summary = simulate(out, plan, workers=workers)
    if faults:
        summary["faults"] = len(add_faults(out / "cards", seed))
    say_receipt("simulate", summary)


@app.command()
def scan(
    config_files: ConfigFiles = None, overrides: Overrides = None, handed: Handed = None
) -> None:
    """List what is on the cards: recordings.parquet, faults.tsv, calendar.html.

    Example: dawnchorus scan --set audio.root=/media/cards
    """
    from dawnchorus.recordings.inventory import scan

    settings, results = chosen_settings(config_files, overrides, handed)
    summary = scan(settings, results)
    say(f"scan: {summary}")


@app.command()
def spectrograms(
    recorder: RecorderName,
    date: LocalDate,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    workers: Workers = 1,
) -> None:
    """Cut one recorder-day into a spectrogram store.

    Example: dawnchorus spectrograms --recorder SM01 --date 2021-05-24
    """
    from dawnchorus.spectrograms.day import make_day

    settings, results = chosen_settings(config_files, overrides, handed)
    day = RecorderDay(recorder, date)
    say_receipt(f"spectrograms {day}", make_day(settings, results, day, workers=workers))


@app.command()
def indices(
    recorder: RecorderName,
    date: LocalDate,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    workers: Workers = 1,
) -> None:
    """Compute one recorder-day's acoustic indices and its false-colour picture.

    Where indices.enabled is set, the step spectrograms does so in its own pass.

    Example: dawnchorus indices --recorder SM01 --date 2021-05-24
    """
    from dawnchorus.spectrograms.minutes import make_indices

    settings, results = chosen_settings(config_files, overrides, handed)
    day = RecorderDay(recorder, date)
    say_receipt(f"indices {day}", make_indices(settings, results, day, workers=workers))


@app.command()
def verify(
    days: Days = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    workers: Workers = 1,
) -> None:
    """Compare spectrogram stores with their recordings, window by window; writes nothing.

    Example: dawnchorus verify --days SM01/2021-05-24
    """
    from dawnchorus.results import read_receipt
    from dawnchorus.spectrograms.verify import verify_day

    settings, results = chosen_settings(config_files, overrides, handed)
    wrong = 0
    for day in chosen_days(days, results):
        if days is None and read_receipt(results.spectrograms_receipt(day))["verdict"] == SET_ASIDE:
            continue
        found = verify_day(settings, results, day, workers=workers)
        for complaint in found.complaints:
            say(f"verify {day}: {complaint}")
        wrong += bool(found.complaints)
        if not found.complaints:
            say(f"verify {day}: {found.windows:,} windows are as their recordings say")
    if wrong:
        many = "recorder-day differs" if wrong == 1 else "recorder-days differ"
        raise DawnChorusError(f"{wrong:,} {many}", results.root, "see the lines above")


@app.command()
def sample(
    days: Days = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Draw the training set, once; from then on it is frozen.

    Example: dawnchorus sample --set training_set.windows=230000
    """
    from dawnchorus.learning.training_set import sample

    settings, results = chosen_settings(config_files, overrides, handed)
    say_receipt("sample", sample(settings, results, chosen_days(days, results)))


@app.command()
def train(
    experiment: ExperimentName,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    device: Device = "auto",
    processes: Processes = 0,
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, help="Machines of this job that train together.")
    ] = 1,
    meet: Annotated[
        str,
        typer.Option(
            "--meet", help="HOST:PORT of one of them, if you start this command on each yourself."
        ),
    ] = "",
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            min=0,
            help="Minutes of this job, if it ends no sooner; it saves before.",
        ),
    ] = None,
    show_recipe: Annotated[
        bool, typer.Option("--show-recipe", help="Print every setting and where it comes from.")
    ] = False,
) -> None:
    """Train one experiment's backbone (or prepare one that is not trained); goes on from its last checkpoint.

    Exit status 75 means that it was asked to stop, or its time was nearly up; it has saved and
    wants to go on later: give the same command again.

    Example: dawnchorus train --experiment dino_vits16 --processes 8
    """
    from dawnchorus.schedulers.allocation import allocation

    ends = [allocation().ends, None if time_limit is None else time.time() + 60 * time_limit]
    deadline = min((end for end in ends if end is not None), default=None)
    settings, results = chosen_settings(config_files, overrides, handed)
    if show_recipe:
        from dawnchorus.learning.training_set import windows_drawn

        recipe = config.resolve(settings.experiment(experiment), windows_drawn(settings, results))
        for key, entry in recipe.table().items():
            typer.echo(f"{key}\t{json.dumps(entry['value'])}\t{entry['from']}")
        return

    if settings.experiment(experiment).prepared:
        from dawnchorus.learning.prepare import prepare

        say_receipt("prepare", prepare(settings, results, experiment))
        return

    from dawnchorus.learning.launch import Nodes
    from dawnchorus.learning.training import train

    train(
        settings,
        results,
        experiment,
        device=device,
        processes=processes,
        nodes=Nodes(nodes, meet),
        deadline=deadline,
    )


@app.command()
def embed(
    recorder: RecorderName,
    date: LocalDate,
    experiment: ExperimentName,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    device: Device = "auto",
    workers: Workers = 1,
    processes: Processes = 1,
) -> None:
    """Embed every window of one recorder-day; goes on from what is done, shares it with other nodes.

    Example: dawnchorus embed --experiment dino_vits16 --recorder SM01 --date 2021-05-24
    """
    from dawnchorus.embedding.day import embed_day

    settings, results = chosen_settings(config_files, overrides, handed)
    day = RecorderDay(recorder, date)
    receipt = embed_day(
        settings, results, experiment, day, device=device, workers=workers, processes=processes
    )
    say_receipt(f"embed {experiment} {day}", receipt)


@app.command()
def birdnet(
    recorder: RecorderName,
    date: LocalDate,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
    workers: Workers = 1,
) -> None:
    """Pseudo-label one recorder-day with BirdNET (its model is CC BY-NC-SA 4.0).

    Example: dawnchorus birdnet --recorder SM01 --date 2021-05-24
    """
    from dawnchorus.birdnet.pseudo_labels import label_day

    settings, results = chosen_settings(config_files, overrides, handed)
    day = RecorderDay(recorder, date)
    say_receipt(f"birdnet {day}", label_day(settings, results, day, workers=workers))


@app.command()
def evaluate(
    days: Days = None,
    workers: Workers = 1,
    device: Device = "auto",
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Measure the output spaces beside their baselines.

    Example: dawnchorus evaluate --set evaluation.annotations=truth.parquet
    """
    from dawnchorus.evaluation.evaluate import evaluate

    settings, results = chosen_settings(config_files, overrides, handed)
    chosen = chosen_days(days, results)
    receipt = evaluate(settings, results, chosen, device=device, workers=workers)
    say_receipt("evaluate", receipt)


@app.command()
def labelled(
    name: Annotated[str, typer.Argument(help="Of the set, in labelled_sets of the config.")],
    sound: Annotated[
        bool,
        typer.Option("--sound", help="Only read its sound: inventory, spectrograms, BirdNET."),
    ] = False,
    workers: Workers = 1,
    device: Device = "auto",
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Measure the output spaces on a labelled data set (docs/labelled-data.md): --sound first, then without.

    Example: dawnchorus labelled esc10 --sound && dawnchorus labelled esc10
    """
    from dawnchorus.evaluation.labelled import evaluate_set, take_in_set

    settings, results = chosen_settings(config_files, overrides, handed)
    if sound:
        receipt = take_in_set(settings, results, name, workers=workers)
    else:
        receipt = evaluate_set(settings, results, name, device=device, workers=workers)
    say_receipt(f"labelled {name}", receipt)


@app.command()
def submission(
    jobscript: Annotated[Path, typer.Argument(help="As Snakemake wrote it, or kept under logs/.")],
    profile: Annotated[Path, typer.Option(help="Folder of a cluster's profile.")],
) -> None:
    """Print the command that would submit a jobscript; nothing is submitted or written.

    Example: dawnchorus submission logs/cobalt/scripts/train.payload.sh --profile profiles/cobalt
    """
    from dawnchorus.schedulers.submission import submission_line

    typer.echo(submission_line(jobscript, profile))


# The output space, what leaves the workflow, and what only looks stand in files of their own.
for group in (cli_space, cli_outputs, cli_overview):
    app.add_typer(group.app)


def main() -> None:
    """Run a command; say a person's error in one line."""
    # One handler for all commands: what the person did is one line, what we did is a traceback.
    try:
        app()
    except DawnChorusError as error:
        if _STATE["debug"]:
            raise
        print(f"dawnchorus: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if _STATE["debug"]:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"dawnchorus: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if _STATE["debug"]:
            raise
        print(
            f"dawnchorus: unexpected {type(error).__name__}: {' '.join(str(error).split())}; "
            "this is a fault of the program: 'dawnchorus --debug ...' shows where",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("dawnchorus: stopped", file=sys.stderr)
        sys.exit(130)


__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
