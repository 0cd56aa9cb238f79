"""The commands that only look: how far the season is, its picture, and what a new training set would change.

In: as every command (:mod:`dawnchorus.cli_options`). Out: lines on standard output; nothing is written.

They stand apart from the steps of the workflow, which write results and are long enough for one file.
"""

from __future__ import annotations

import typer

from dawnchorus.cli_options import ConfigFiles, Handed, Overrides, chosen_settings

app = typer.Typer()


@app.command()
def status(
    config_files: ConfigFiles = None, overrides: Overrides = None, handed: Handed = None
) -> None:
    """Say how far the season is: steps, trainings, training set, disk; writes nothing.

    Example: dawnchorus status --config my.yaml
    """
    from dawnchorus.overview.status import status

    settings, results = chosen_settings(config_files, overrides, handed)
    typer.echo("\n".join(status(settings, results)))


@app.command()
def graph(
    config_files: ConfigFiles = None, overrides: Overrides = None, handed: Handed = None
) -> None:
    """Draw steps and recorders in Graphviz dot, with counts of recorder-days; writes nothing.

    Example: dawnchorus graph --config my.yaml | dot -Tsvg > season.svg
    """
    from dawnchorus.overview.census import count
    from dawnchorus.overview.graph import dot

    typer.echo(dot(count(*chosen_settings(config_files, overrides, handed))), nl=False)


@app.command()
def freeze(
    config_files: ConfigFiles = None, overrides: Overrides = None, handed: Handed = None
) -> None:
    """Say what a new training set would change, and the lines that adopt it; writes nothing.

    Example: dawnchorus freeze --config my.yaml
    """
    from dawnchorus.overview.freeze import lines_of, propose

    settings, results = chosen_settings(config_files, overrides, handed)
    typer.echo("\n".join(lines_of(propose(settings, results), settings)))
