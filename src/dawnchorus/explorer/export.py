"""``dawnchorus export``: detections, attention boxes or labels for other tools.

In: the results. Out: a folder ``{out}/{what}`` (``{out}/{what}/{experiment}`` for boxes and labels)
that is published whole::

    REC01/Data/x.wav.selections.txt   Raven selection table, one per recording that has any row
    {what}.parquet                    the same rows in one table
    export.json                       counts, and what each file was when it was written

The same results give the same bytes. A folder that someone has worked in (other files, or a table
that was changed in Raven) is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import xxhash

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import journal_path
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.space import BIRDNET_SECONDS, choose_experiment, load
from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.progress import tracked
from dawnchorus.results import (
    Results,
    publishing,
    read_receipt,
    set_aside_because,
    write_receipt,
)

BIRDNET_HERTZ = (0.0, 15_000.0)
"""What BirdNET listens to; its own selection tables say the same."""
MANIFEST = "export.json"


@dataclass(frozen=True)
class _Kind:
    """One kind of rows.

    Attributes
    ----------
    schema : mapping
        Columns of the Parquet; all have recording, start_s, end_s (from the recording's start),
        low_hz, high_hz.
    headings : mapping
        Annotation columns of the selection tables and the columns they show.
    days : callable
        The rows, a recorder-day at a time.
    """

    schema: Mapping[str, Any]
    headings: Mapping[str, str]
    days: Callable[[Settings, Results, str | None], Iterator[pl.DataFrame]]


_PLACE: dict[str, Any] = {
    "recorder": pl.String,
    "date": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us", "UTC"),
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "low_hz": pl.Float64,
    "high_hz": pl.Float64,
}


def _inventory(results: Results) -> pl.DataFrame:
    if not results.recordings.is_file():
        raise DawnChorusError("is not there", results.recordings, "run 'dawnchorus scan' first")
    columns = ["recording", "start_utc", "sample_rate"]
    return pl.read_parquet(results.recordings, columns=columns).filter(pl.col("sample_rate") > 0)


def _in_seconds(
    rows: pl.DataFrame, inventory: pl.DataFrame, seconds: float, hertz: tuple[float, float]
) -> pl.DataFrame:
    """Say in seconds and hertz where windows lie, and in UTC when they begin."""
    rows = rows.join(inventory, on="recording", how="left", maintain_order="left")
    lost = rows.filter(pl.col("sample_rate").is_null())["recording"]
    if len(lost):
        raise DawnChorusError("is not in the inventory", lost[0], "run the workflow again")
    start = pl.col("offset") / pl.col("sample_rate")
    return rows.with_columns(
        start_s=start,
        end_s=start + seconds,
        time=pl.col("start_utc") + pl.duration(microseconds=(start * 1e6).round().cast(pl.Int64)),
        low_hz=pl.lit(hertz[0]),
        high_hz=pl.min_horizontal(pl.lit(hertz[1]), pl.col("sample_rate") / 2),
    )


def _detections(
    _settings: Settings, results: Results, _experiment: str | None
) -> Iterator[pl.DataFrame]:
    paths = [results.detections(day) for day in results.days_with_receipts()]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise DawnChorusError("holds no detections", results.root / "birdnet", "run the workflow")
    inventory = _inventory(results)
    for path in tracked(paths, "export detections", len(paths), "recorder-days"):
        rows = pl.read_parquet(path).drop("time")
        yield _in_seconds(rows, inventory, BIRDNET_SECONDS, BIRDNET_HERTZ)


def _boxes(settings: Settings, results: Results, experiment: str | None) -> Iterator[pl.DataFrame]:
    if experiment is None:
        if len(settings.experiments) != 1:
            raise DawnChorusError(
                f"there are {', '.join(settings.experiments)}", "experiments", "choose --experiment"
            )
        experiment = next(iter(settings.experiments))
    settings.experiment(experiment)
    nothing = set_aside_because(results.experiment(experiment).attention_receipt)
    path = results.experiment(experiment).attention / "boxes.parquet"
    if nothing:
        raise DawnChorusError(nothing, experiment, "export detections or labels instead")
    if not path.is_file():
        raise DawnChorusError("is not there", path, "run 'dawnchorus attend' first")
    order = ["recorder", "date", "recording", "offset", "head", "start_s", "low_hz"]
    rows = pl.read_parquet(path).sort(order, maintain_order=True)
    if rows.height:
        yield from rows.partition_by("recorder", "date", maintain_order=True)


def _labels(settings: Settings, results: Results, experiment: str | None) -> Iterator[pl.DataFrame]:
    spectrogram = settings.spectrogram
    experiment = choose_experiment(results, experiment)
    space = load(results, experiment, spectrogram.window_seconds)
    state = LabelBook(Journal(journal_path(results)), space).state()
    inventory = _inventory(results)
    labelled = np.flatnonzero(state.codes)
    names = space.inventory["recording"].to_numpy()
    entries = pl.DataFrame(
        {
            "entry": [entry.id for entry in state.standing],
            "label": [entry.label for entry in state.standing],
            "region": [entry.region.kind for entry in state.standing],
            "who": [entry.who for entry in state.standing],
            "when": [entry.when for entry in state.standing],
        },
        schema={
            "entry": pl.Int64, "label": pl.String, "region": pl.String, "who": pl.String,
            "when": pl.Datetime("us", "UTC"),
        },
    )  # fmt: skip
    days = np.unique(space.day[labelled])
    for number in tracked(days, "export labels", len(days), "recorder-days"):
        rows = labelled[space.day[labelled] == number]
        day = space.days[number]
        windows = pl.DataFrame(
            {"recording": names[space.recording[rows]], "offset": space.offset[rows]}
        ).with_columns(
            recorder=pl.lit(day.recorder), date=pl.lit(day.date), experiment=pl.lit(experiment)
        )
        windows = windows.hstack(entries[state.winner[rows]])
        hertz = (spectrogram.f_min, spectrogram.f_max)
        yield _in_seconds(windows, inventory, spectrogram.window_seconds, hertz)


KINDS: dict[str, _Kind] = {
    "detections": _Kind(
        {**_PLACE, "species": pl.String, "common_name": pl.String, "confidence": pl.Float64},
        {"Common Name": "common_name", "Scientific Name": "species", "Confidence": "confidence"},
        _detections,
    ),
    "boxes": _Kind(
        {**_PLACE, "cluster": pl.Int32, "head": pl.Int32, "mass": pl.Float64},
        {"Cluster": "cluster", "Head": "head", "Mass": "mass"},
        _boxes,
    ),
    "labels": _Kind(
        {
            **_PLACE,
            "label": pl.String,
            "experiment": pl.String,
            "entry": pl.Int64,
            "region": pl.String,
            "who": pl.String,
            "when": pl.Datetime("us", "UTC"),
        },
        {"Label": "label", "Region": "region", "Annotator": "who", "When": "when"},
        _labels,
    ),
}


def export_tables(
    settings: Settings, results: Results, out: Path, what: str, experiment: str | None
) -> dict[str, Any]:
    """Write Raven selection tables, one per recording, and one Parquet of all rows.

    Parameters
    ----------
    settings : Settings
    results : Results
    out : Path
        Folder; ``what`` (and the experiment) become a folder in it.
    what : {"detections", "boxes", "labels"}
        BirdNET's detections, attention boxes, or the windows that regions label.
    experiment : str or None
        Whose boxes or labels; None takes the only one there is.

    Returns
    -------
    dict
        what, experiment, rows, recordings.

    Raises
    ------
    DawnChorusError
        If there is nothing to export, or the folder was worked in.
    """
    if what not in KINDS:
        raise DawnChorusError(f"{what!r} is not {', '.join(KINDS)}", "--what")
    if what == "labels":
        experiment = choose_experiment(results, experiment)
    elif what == "boxes" and experiment is None and len(settings.experiments) == 1:
        experiment = next(iter(settings.experiments))
    elif what == "detections" and experiment is not None:
        raise DawnChorusError("detections belong to no experiment", "--experiment", "leave it out")
    folder = out.absolute() / what
    if what != "detections" and experiment is not None:
        folder = folder / experiment
    _refuse_changed(folder)
    kind = KINDS[what]
    with publishing(folder) as partial:
        partial.mkdir()
        rows, files = _write(partial, what, kind, kind.days(settings, results, experiment))
        counts = {
            "what": what,
            "experiment": experiment,
            "rows": rows,
            "recordings": len(files) - 1,
        }
        write_receipt(partial / MANIFEST, {**counts, "files": files})
    return counts


def _write(
    folder: Path, what: str, kind: _Kind, days: Iterator[pl.DataFrame]
) -> tuple[int, dict[str, str]]:
    """Write a folder; return the number of rows and the files' fingerprints."""
    files: dict[str, str] = {}
    total = 0
    table = folder / f"{what}.parquet"
    empty = pl.DataFrame(schema=dict(kind.schema)).to_arrow()
    with pq.ParquetWriter(table, empty.schema, compression="zstd") as writer:
        for day in days:
            rows = day.select(pl.col(name).cast(dtype) for name, dtype in kind.schema.items())
            writer.write_table(rows.to_arrow().cast(empty.schema))
            total += rows.height
            parts = rows.partition_by("recording", maintain_order=True)
            for part in parts:
                name = f"{part['recording'][0]}.selections.txt"
                write_selections(folder / name, _selections(part, kind), list(kind.headings))
                files[name] = _digest(folder / name)
    files[table.name] = _digest(table)
    return total, files


def _selections(rows: pl.DataFrame, kind: _Kind) -> Iterator[Selection]:
    for row in rows.iter_rows(named=True):
        annotations = {heading: _cell(row[column]) for heading, column in kind.headings.items()}
        yield Selection(row["start_s"], row["end_s"], row["low_hz"], row["high_hz"], annotations)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _digest(path: Path) -> str:
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


def _refuse_changed(folder: Path) -> None:
    """Raise if a folder holds anything but an export as it was written."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DawnChorusError("is a file", folder, "choose another folder")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if not there:
        return
    keep = "choose another folder, so that nothing of it is lost"
    if MANIFEST not in there:
        raise DawnChorusError("holds something else than an export", folder, keep)
    written: dict[str, str] = read_receipt(folder / MANIFEST)["files"]
    foreign = there - set(written) - {MANIFEST}
    changed = [
        name for name in sorted(there & set(written)) if _digest(folder / name) != written[name]
    ]
    if foreign or changed:
        name = (sorted(foreign) or changed)[0]
        raise DawnChorusError(f"{name} was added or changed since the export", folder, keep)
