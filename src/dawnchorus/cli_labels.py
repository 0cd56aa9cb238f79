"""The commands of the labels: what the explorer's page does, as a batch.

In: results with a map, and the journal of labels. Out: entries in the journal, a classifier, tables on the screen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dawnchorus.cli_options import ConfigFiles, Handed, Overrides, chosen_settings, say_receipt
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import say

if TYPE_CHECKING:
    import polars as pl

    from dawnchorus.explorer.labels import LabelBook
    from dawnchorus.results import Results

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Name regions of the output space, and train a classifier on the names (docs/labels.md).

    Example: dawnchorus label region --cluster 17 --cluster 23 --name "House Wren"
    """,
)

Experiment = Annotated[
    str | None, typer.Option("--experiment", "-e", help="Whose map; default: the only one.")
]
Who = Annotated[
    str | None, typer.Option("--who", help="Who says so. Default: your name on this machine.")
]


def _opened(
    experiment: str | None,
    config_files: list[Path] | None,
    overrides: list[str] | None,
    handed: list[str] | None,
) -> tuple[Results, LabelBook]:
    from dawnchorus.explorer.explore import open_book

    _, results = chosen_settings(config_files, overrides, handed)
    book = open_book(results, experiment)
    for complaint in book.journal.complaints:
        say(complaint)
    return results, book


def _signed(who: str | None) -> str:
    from dawnchorus.explorer.explore import annotator

    return " ".join((who or "").split()) or annotator()


@app.command()
def region(
    name: Annotated[
        str | None, typer.Option("--name", help="Label; left out, the windows lose theirs.")
    ] = None,
    cluster: Annotated[
        list[int] | None, typer.Option("--cluster", min=0, help="A cluster; repeat for several.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--region", help="JSON file of a region as the journal has it (docs/labels.md)."
        ),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Only windows that no earlier region names.")
    ] = False,
    who: Who = None,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Name all windows of clusters, or of a region in a file.

    Example: dawnchorus label region --cluster 17 --name "House Wren" -e dino_vits16
    """
    from pydantic import TypeAdapter, ValidationError

    from dawnchorus.explorer.names import Names
    from dawnchorus.explorer.regions import Region

    if (file is None) == (not cluster):
        raise DawnChorusError("give one of both", "--cluster, --region")
    said = {"kind": "clusters", "clusters": cluster} if cluster else _read_json(file)
    if unlabelled:
        where = said.get("where")
        known = where if isinstance(where, dict) else {}
        said = {**said, "where": {**known, "unlabelled": True}}
    try:
        named = TypeAdapter(Region).validate_json(json.dumps(said))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DawnChorusError(f"{place}: {first['msg']}", file or "--cluster") from None
    _, book = _opened(experiment, config_files, overrides, handed)
    if name is not None:
        name = Names(book.space.species_names).spelled(" ".join(name.split()), book.state().names)
    try:
        entry = book.label(named, name, _signed(who))
    except ValueError as error:
        raise DawnChorusError(str(error), file or "--cluster") from None
    say(
        f"label {entry.id}: {entry.members:,} windows are {entry.label or 'without label'}; "
        f"{book.state().labelled:,} of {len(book.space):,} windows have a label"
    )


def _read_json(path: Path | None) -> dict[str, object]:
    from dawnchorus.exports.cells import read_text

    assert path is not None  # noqa: S101 - asked before
    try:
        said = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DawnChorusError(f"is no JSON ({error})", path) from None
    if not isinstance(said, dict):
        raise DawnChorusError("is no JSON object", path, "see docs/labels.md for what a region is")
    return said


@app.command("list")
def list_(
    overlaps: Annotated[
        bool, typer.Option("--overlaps", help="Which label gave way to which instead.")
    ] = False,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """List the labels that stand: what each covers, and what it holds by the rule for overlaps.

    Example: dawnchorus label list -e dino_vits16
    """
    import polars as pl

    from dawnchorus.explorer.labels import RULE

    _, book = _opened(experiment, config_files, overrides, handed)
    state = book.state()
    if overlaps:
        found = [(one.id, one.label, other.id, other.label, n) for one, other, n in book.overlaps()]
        columns = ["holds", "label", "gives way", "its label", "windows"]
        say(RULE)
        _show(pl.DataFrame(found, schema=columns, orient="row"))
        return
    rows = [
        (
            one.id,
            one.label,
            one.region.kind,
            one.who,
            f"{one.when:%Y-%m-%d %H:%M}",
            members,
            int(holds),
        )
        for one, members, holds in zip(state.standing, state.members, state.holds, strict=True)
    ]
    columns = ["id", "label", "region", "who", "when (UTC)", "members", "holds"]
    _show(pl.DataFrame(rows, schema=columns, orient="row"))
    say(
        f"{state.labelled:,} of {len(book.space):,} windows have a label, {int(state.inherited.sum()):,} of them "
        f"inherited; {int((state.heard & (state.codes > 0)).sum()):,} were heard"
    )


def _show(table: pl.DataFrame) -> None:
    """Print a table as tab-separated text, for a person and for the next program."""
    typer.echo(table.write_csv(separator="\t", float_precision=4), nl=False)


@app.command()
def undo(
    number: Annotated[int, typer.Argument(min=1, help="Id of the label (dawnchorus label list).")],
    who: Who = None,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Take a label back.

    Example: dawnchorus label undo 12 -e dino_vits16
    """
    from dawnchorus.explorer.labels import ConflictError

    _, book = _opened(experiment, config_files, overrides, handed)
    try:
        book.undo(number, _signed(who))
    except ConflictError as conflict:
        raise DawnChorusError(str(conflict), book.journal.path) from None
    say(f"label {number} is taken back; {book.state().labelled:,} windows have a label")


@app.command()
def redo(
    number: Annotated[int, typer.Argument(min=1, help="Id of the label that was taken back.")],
    who: Who = None,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Let a label that was taken back stand again.

    Example: dawnchorus label redo 12 -e dino_vits16
    """
    from dawnchorus.explorer.labels import ConflictError

    _, book = _opened(experiment, config_files, overrides, handed)
    try:
        book.redo(number, _signed(who))
    except ConflictError as conflict:
        raise DawnChorusError(str(conflict), book.journal.path) from None
    say(f"label {number} stands again; {book.state().labelled:,} windows have a label")


@app.command()
def agree(
    first: Annotated[str, typer.Argument(help="An annotator.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Say how far two annotators agree (Cohen's kappa), and where they differ.

    Example: dawnchorus label agree ada bo -e dino_vits16
    """
    from dawnchorus.explorer.concordance import concordance

    _, book = _opened(experiment, config_files, overrides, handed)
    found = concordance(book, first, second)
    if not found.windows:
        raise DawnChorusError(f"{first} and {second} have named no window both", book.journal.path)
    value = "not defined (one label only)" if found.kappa is None else f"{found.kappa:.3f}"
    bounds = "" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})"
    say(f"kappa {value}{bounds} over {found.windows:,} windows, {found.same:.1%} the same")
    _show(found.pairs)


@app.command()
def meter(
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Say how many windows each annotator labels per hour, and how many were confirmed by listening.

    Example: dawnchorus label meter -e dino_vits16
    """
    from dataclasses import asdict

    import polars as pl

    from dawnchorus.explorer.meter import meters

    _, book = _opened(experiment, config_files, overrides, handed)
    found = [asdict(one) for one in meters(book)]
    if not found:
        raise DawnChorusError("nobody has labelled anything yet", book.journal.path)
    _show(pl.DataFrame(found, infer_schema_length=None))


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="File, or folder as the export writes it.")],
    form: Annotated[
        str,
        typer.Option("--format", "-f", help="raven, audacity, birdnet-csv, camtrap-dp or parquet."),
    ],
    who: Who = None,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Take labels over from a file; the windows they meet are named by themselves.

    Example: dawnchorus label import tables/labels/dino_vits16 --format raven -e dino_vits16
    """
    from dawnchorus.sharing.importing import import_labels

    results, book = _opened(experiment, config_files, overrides, handed)
    say_receipt("label import", import_labels(results, book, path, form, _signed(who)))


@app.command()
def train(
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Train a linear classifier on the labels so far; precision and recall are of recordings held out.

    Example: dawnchorus label train -e dino_vits16
    """
    from dawnchorus.explorer.classifier import ClassifierPaths
    from dawnchorus.explorer.predictions import held_out_table
    from dawnchorus.explorer.predictions import train as learn

    results, book = _opened(experiment, config_files, overrides, handed)
    say_receipt("label train", learn(results, book, seed=seed))
    _show(held_out_table(results, book.space.experiment))
    say(f"{ClassifierPaths.of(results, book.space.experiment).folder}")


@app.command("next")
def next_(
    label: Annotated[
        str | None,
        typer.Option(
            "--likely", help="Likely positives of this label; default: the least certain."
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1)] = 20,
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """List windows that are worth hearing next, of those that nobody has named or heard.

    Example: dawnchorus label next --likely "House Wren" -e dino_vits16
    """
    from dawnchorus.explorer.predictions import next_windows

    results, book = _opened(experiment, config_files, overrides, handed)
    table = next_windows(results, book, label, count)
    _show(table.drop("list", "row"))


@app.command()
def apply(
    experiment: Experiment = None,
    config_files: ConfigFiles = None,
    overrides: Overrides = None,
    handed: Handed = None,
) -> None:
    """Say of every window which label is the likeliest (export: dawnchorus export --what predictions).

    Example: dawnchorus label apply -e dino_vits16
    """
    from dawnchorus.explorer.predictions import apply as say_of_all

    results, book = _opened(experiment, config_files, overrides, handed)
    said = say_of_all(results, book)
    say_receipt("label apply", said)
    for name, count in said["labels"].items():
        say(f"{count:>12,}  {name}")
