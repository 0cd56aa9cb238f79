"""``dawnchorus export``: detections, attention boxes, labels or clusters as tables for other tools.

In: rows of :mod:`dawnchorus.sharing.rows` and the formats asked for. Out: a folder ``{out}/{what}``
(``{out}/{what}/{experiment}`` for what an experiment has) that is published whole::

    REC01/Data/x.wav.selections.txt          raven: one per recording that has any row
    REC01/Data/x.wav.labels.txt              audacity
    REC01/Data/x.wav.BirdNET.results.csv     birdnet-csv
    REC01/Data/x.wav.BirdNET.selection.table.txt   birdnet-raven
    camtrap-dp/                              datapackage.json and its three tables
    {what}.parquet                           parquet: all rows in one table
    REC01/2021-05-24.BirdNET.results.csv     the same of a recorder-day, if asked for so
    REC01/2021-05-24.BirdNET.selection.table.txt
    export.json                              counts, and what each file was when it was written

The same results give the same bytes. Rows are written a recorder-day at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from dawnchorus.birdnet.model import OF_BIRDNET
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.space import choose_experiment
from dawnchorus.exports import audacity, birdnet, raven
from dawnchorus.exports.camtrap_dp import PackageWriter
from dawnchorus.exports.parquet import writing_rows
from dawnchorus.results import Results
from dawnchorus.sharing.folder import exporting
from dawnchorus.sharing.licence import write_note
from dawnchorus.sharing.names import beside
from dawnchorus.sharing.package import CLAIMS, Season, parts_of
from dawnchorus.sharing.rows import KINDS, Kind, chosen_experiment, seconds_before

DEFAULT_FORMATS = ("raven", "parquet")
DEFAULT_DAY_FORMATS = ("birdnet-csv", "birdnet-raven")
Per = Literal["recording", "recorder-day"]
"""What has a file of its own."""


def _write_raven(path: Path, kind: Kind, rows: pl.DataFrame) -> None:
    raven.write_selections(path, _selections(rows, kind), list(kind.headings))


def _selections(rows: pl.DataFrame, kind: Kind) -> Iterator[raven.Selection]:
    for row in rows.iter_rows(named=True):
        annotations = {heading: _cell(row[column]) for heading, column in kind.headings.items()}
        yield raven.Selection(
            row["start_s"], row["end_s"], row["low_hz"], row["high_hz"], annotations
        )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _write_audacity(path: Path, kind: Kind, rows: pl.DataFrame) -> None:
    audacity.write_labels(
        path,
        (
            audacity.Label(
                row["start_s"], row["end_s"], kind.text(row), (row["low_hz"], row["high_hz"])
            )
            for row in rows.iter_rows(named=True)
        ),
    )


def _detections(
    rows: pl.DataFrame, before: Mapping[str, float] | None = None
) -> Iterator[birdnet.Detection]:
    """Yield rows in BirdNET's words; what a person named that is no species is both of its names.

    ``before`` says how many seconds of sound lie before a recording of the day.
    """
    for row in rows.iter_rows(named=True):
        label: str | None = row.get("label")
        known: tuple[str | None, str | None] = row["species"], row["common_name"]
        species, common = (name or label or "" for name in known)
        yield birdnet.Detection(
            row["recording"],
            row["start_s"],
            row["end_s"],
            row["low_hz"],
            row["high_hz"],
            species,
            common,
            row["confidence"] if label is None else 1.0,
            0.0 if before is None else before[row["recording"]],
            None if label is None else (label, row["who"]),
        )


def _write_birdnet_csv(path: Path, _kind: Kind, rows: pl.DataFrame) -> None:
    birdnet.write_csv(path, _detections(rows))


def _write_birdnet_raven(path: Path, _kind: Kind, rows: pl.DataFrame) -> None:
    birdnet.write_table(path, _detections(rows))


PER_RECORDING: dict[str, tuple[str, Callable[[Path, Kind, pl.DataFrame], None]]] = {
    "raven": (".selections.txt", _write_raven),
    "audacity": (".labels.txt", _write_audacity),
    "birdnet-csv": (".BirdNET.results.csv", _write_birdnet_csv),
    "birdnet-raven": (".BirdNET.selection.table.txt", _write_birdnet_raven),
}
PER_DAY: dict[str, tuple[str, Callable[[Path, Iterator[birdnet.Detection]], None]]] = {
    "birdnet-csv": (".BirdNET.results.csv", birdnet.write_csv),
    "birdnet-raven": (".BirdNET.selection.table.txt", birdnet.write_table),
}
"""Formats whose rows name their recording, so that one file may hold several."""
WORDS_OF_BIRDNET = {
    ("birdnet-csv", "detections"),
    ("birdnet-raven", "detections"),
    ("birdnet-csv", "labels"),
}
"""BirdNET's formats, and what they have columns for."""
FORMATS = (*PER_RECORDING, "camtrap-dp", "parquet")


def chosen_formats(asked: Sequence[str] | None, what: str, per: Per = "recording") -> list[str]:
    """Return the formats asked for, in a fixed order.

    Parameters
    ----------
    asked : sequence of str or None
        Names, also several in one by commas; None: :data:`DEFAULT_FORMATS`, per recorder-day
        :data:`DEFAULT_DAY_FORMATS`.
    what : str
        What is exported.
    per : {"recording", "recorder-day"}

    Raises
    ------
    DawnChorusError
        If there is no such format, or it has no words for what is exported.
    """
    default = DEFAULT_FORMATS if per == "recording" else DEFAULT_DAY_FORMATS
    names = [name.strip() for text in asked or default for name in text.split(",")]
    names = [name for name in names if name]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise DawnChorusError(
            f"{', '.join(map(repr, unknown)) or 'nothing'} is not {', '.join(FORMATS)}", "--format"
        )
    for name in names:
        if name.startswith("birdnet-") and (name, what) not in WORDS_OF_BIRDNET:
            raise DawnChorusError(
                f"{name} has columns for species and confidence, which {what} have not",
                "--format",
                "take raven, audacity or parquet, or --what detections",
            )
        if per == "recorder-day" and name in PER_RECORDING and name not in PER_DAY:
            raise DawnChorusError(
                f"{name} does not say which recording a row belongs to",
                "--per",
                f"take {' or '.join(PER_DAY)}, or --per recording",
            )
        if name == "camtrap-dp" and what not in CLAIMS:
            raise DawnChorusError(
                f"camtrap-dp is for observations, and {what} claim none",
                "--format",
                "take raven, audacity or parquet, or label the clusters and export labels",
            )
    return [name for name in FORMATS if name in names]


def export_tables(
    settings: Settings,
    results: Results,
    out: Path,
    what: str,
    experiment: str | None,
    formats: Sequence[str] | None = None,
    per: Per = "recording",
) -> dict[str, Any]:
    """Write rows of one kind in one or several formats.

    Parameters
    ----------
    settings : Settings
    results : Results
    out : Path
        Folder; ``what`` (and the experiment) become a folder in it.
    what : {"detections", "boxes", "labels", "predictions", "clusters"}
        BirdNET's detections, attention boxes, the windows that regions label, or all windows with what the
        classifier of the labels says of them, or with their cluster.
    experiment : str or None
        Whose; None takes the only one there is.
    formats : sequence of str or None
        Of :data:`FORMATS`; None: :data:`DEFAULT_FORMATS`.
    per : {"recording", "recorder-day"}
        What has a file of its own, where a format has many.

    Returns
    -------
    dict
        what, experiment, formats, rows, recordings.

    Raises
    ------
    DawnChorusError
        If there is nothing to export, a format has no words for it, or the folder was worked in.
    """
    if what not in KINDS:
        raise DawnChorusError(f"{what!r} is not {', '.join(KINDS)}", "--what")
    if per not in get_args(Per):
        raise DawnChorusError(f"{per!r} is not {' or '.join(get_args(Per))}", "--per")
    chosen = chosen_formats(formats, what, per)
    if what in ("labels", "predictions"):
        experiment = choose_experiment(results, experiment)
    elif not KINDS[what].of_experiment:
        if experiment is not None:
            raise DawnChorusError(f"{what} belong to no experiment", "--experiment", "leave it out")
    else:
        experiment = chosen_experiment(settings, experiment)
    folder = out.absolute() / what
    if experiment is not None:
        folder = folder / experiment
    counts: dict[str, Any] = {"what": what, "experiment": experiment, "formats": chosen}
    with exporting(folder, counts) as partial:
        days = KINDS[what].days(settings, results, experiment)
        season = Season(settings, results) if "camtrap-dp" in chosen else None
        before = seconds_before(results) if per == "recorder-day" else None
        counts.update(_write(partial, what, days, chosen, season, experiment, before))
        if what == "detections":
            write_note(partial)
    return counts


def _write_day(
    folder: Path, rows: pl.DataFrame, formats: Sequence[str], before: Mapping[str, float]
) -> None:
    """Write a recorder-day's detections into one file per format."""
    recorder, date = rows["recorder"][0], rows["date"][0]
    for name in formats:
        if name in PER_DAY:
            suffix, write = PER_DAY[name]
            write(folder / recorder / f"{date}{suffix}", _detections(rows, before))


def _write(
    folder: Path,
    what: str,
    days: Iterator[pl.DataFrame],
    formats: Sequence[str],
    season: Season | None,
    experiment: str | None,
    before: Mapping[str, float] | None,
) -> dict[str, int]:
    """Write all formats in one pass over the rows; return their number and that of the recordings.

    ``before`` says of each recording how many seconds of the recorder-day lie before it; None: each
    recording has files of its own.
    """
    kind = KINDS[what]
    rows = recordings = 0
    with ExitStack() as stack:
        append = package = None
        if "parquet" in formats:
            table = folder / f"{what}.parquet"
            note = OF_BIRDNET if what == "detections" else None
            append = stack.enter_context(writing_rows(table, kind.schema, note))
        if season is not None:
            package = stack.enter_context(PackageWriter(folder / "camtrap-dp"))
        for day in days:
            typed = day.select(pl.col(name).cast(dtype) for name, dtype in kind.schema.items())
            rows += typed.height
            if append is not None:
                append(typed)
            if before is not None and typed.height:
                _write_day(folder, typed, formats, before)
            for part in parts_of(typed):
                recordings += 1
                recording = part["recording"][0]
                for name in formats:
                    if name in PER_RECORDING and before is None:
                        suffix, write = PER_RECORDING[name]
                        write(folder / beside(recording, suffix), kind, part)
                if season is not None and package is not None:
                    package.add(season.observations(what, part))
        if season is not None and package is not None:
            season.finish(package, what, experiment)
    return {"rows": rows, "recordings": recordings}
