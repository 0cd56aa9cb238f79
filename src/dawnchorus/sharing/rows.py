"""The rows of an export, whatever its format: gathered from the results, a recorder-day at a time.

In: the results. Out: a :class:`Kind` per thing that can be exported (detections, attention boxes, labels,
clusters): its columns, what the formats need to know of it, and its rows. All rows have ``recording``,
``offset`` (first sample, at the file's own rate), ``time`` (UTC), ``start_s`` and ``end_s`` (from the
recording's start), ``low_hz`` and ``high_hz``. Memory is bounded by the recorder-day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dawnchorus.birdnet.model import WINDOW_SECONDS
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import journal_path
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.space import OutputSpace, choose_experiment, load
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import Results, set_aside_because

BIRDNET_HERTZ = (0.0, 15_000.0)
"""What BirdNET listens to; its own selection tables say the same."""

Days = Callable[[Settings, Results, str | None], Iterator[pl.DataFrame]]


@dataclass(frozen=True)
class Kind:
    """One kind of rows.

    Attributes
    ----------
    schema : mapping
        Columns of the Parquet.
    headings : mapping
        Annotation columns of Raven's selection tables, and the columns they show.
    text : callable
        What an Audacity label says of a row.
    days : callable
        The rows, a recorder-day at a time.
    of_experiment : bool
        Whether an experiment has them.
    """

    schema: Mapping[str, Any]
    headings: Mapping[str, str]
    text: Callable[[Mapping[str, Any]], str]
    days: Days
    of_experiment: bool = True


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


def read_inventory(results: Results) -> pl.DataFrame:
    """Return start and rate of every readable recording: recording, start_utc, sample_rate.

    Raises
    ------
    DawnChorusError
        If there is no inventory.
    """
    if not results.recordings.is_file():
        raise DawnChorusError("is not there", results.recordings, "run 'dawnchorus scan' first")
    columns = ["recording", "start_utc", "sample_rate"]
    return read_parquet(results.recordings, columns=columns).filter(pl.col("sample_rate") > 0)


def seconds_before(results: Results) -> dict[str, float]:
    """Return how many seconds of sound its recorder-day has before each recording, in order of their starts."""
    columns = ["recording", "recorder", "date", "start_utc", "duration_s", "sample_rate"]
    table = read_parquet(results.recordings, columns=columns).filter(pl.col("sample_rate") > 0)
    table = table.sort("start_utc", "recording").with_columns(
        before=pl.col("duration_s").cum_sum().over("recorder", "date") - pl.col("duration_s")
    )
    return dict(table.select("recording", "before").iter_rows())


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


def chosen_experiment(settings: Settings, experiment: str | None) -> str:
    """Return an experiment of the config by name; None: the only one.

    Raises
    ------
    DawnChorusError
        If there are several, or none of that name.
    """
    if experiment is None:
        if len(settings.experiments) != 1:
            raise DawnChorusError(
                f"there are {', '.join(settings.experiments)}", "experiments", "choose --experiment"
            )
        experiment = next(iter(settings.experiments))
    settings.experiment(experiment)
    return experiment


def _detections(
    _settings: Settings, results: Results, _experiment: str | None
) -> Iterator[pl.DataFrame]:
    paths = [results.detections(day) for day in results.days_with_receipts()]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise DawnChorusError("holds no detections", results.root / "birdnet", "run the workflow")
    inventory = read_inventory(results)
    for path in tracked(paths, "export detections", len(paths), "recorder-days"):
        rows = read_parquet(path).drop("time")
        yield _in_seconds(rows, inventory, WINDOW_SECONDS, BIRDNET_HERTZ)


def _boxes(settings: Settings, results: Results, experiment: str | None) -> Iterator[pl.DataFrame]:
    experiment = chosen_experiment(settings, experiment)
    nothing = set_aside_because(results.experiment(experiment).attention_receipt)
    path = results.experiment(experiment).attention / "boxes.parquet"
    if nothing:
        raise DawnChorusError(nothing, experiment, "export detections or labels instead")
    if not path.is_file():
        raise DawnChorusError("is not there", path, "run 'dawnchorus attend' first")
    order = ["recorder", "date", "recording", "offset", "head", "start_s", "low_hz"]
    rows = read_parquet(path).sort(order, maintain_order=True)
    if rows.height:
        yield from rows.partition_by("recorder", "date", maintain_order=True)


def _clusters(
    settings: Settings, results: Results, experiment: str | None
) -> Iterator[pl.DataFrame]:
    experiment = chosen_experiment(settings, experiment)
    paths = results.experiment(experiment)
    days = [day for day in results.days_with_receipts() if paths.assignment(day).is_file()]
    if not days:
        raise DawnChorusError(
            "holds no assigned windows",
            paths.centroids.parent,
            f"run 'dawnchorus assign --experiment {experiment}' first",
        )
    inventory = read_inventory(results)
    seconds = settings.spectrogram.window_seconds
    hertz = (settings.spectrogram.f_min, settings.spectrogram.f_max)
    columns = ["recording", "offset", "cluster", "distance"]
    for day in tracked(days, "export clusters", len(days), "recorder-days"):
        rows = read_parquet(paths.assignment(day), columns=columns).with_columns(
            recorder=pl.lit(day.recorder), date=pl.lit(day.date)
        )
        yield _in_seconds(rows, inventory, seconds, hertz)


def _species_of_labels(space: OutputSpace, labels: list[str]) -> pl.DataFrame:
    """Return the species a label names, if BirdNET heard one of that scientific or common name."""
    known: dict[str, tuple[str, str]] = {}
    for species, common in space.species_names:
        known.setdefault(common.casefold(), (species, common))
        known.setdefault(species.casefold(), (species, common))
    named = [known.get(label.casefold(), (None, None)) for label in labels]
    return pl.DataFrame(
        {"species": [name for name, _ in named], "common_name": [name for _, name in named]},
        schema={"species": pl.String, "common_name": pl.String},
    )


def _labels(settings: Settings, results: Results, experiment: str | None) -> Iterator[pl.DataFrame]:
    spectrogram = settings.spectrogram
    experiment = choose_experiment(results, experiment)
    space = load(results, experiment, spectrogram.window_seconds)
    state = LabelBook(Journal(journal_path(results)), space).state()
    inventory = read_inventory(results)
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
    entries = entries.hstack(_species_of_labels(space, entries["label"].to_list()))
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


KINDS: dict[str, Kind] = {
    "detections": Kind(
        {**_PLACE, "species": pl.String, "common_name": pl.String, "confidence": pl.Float64},
        {"Common Name": "common_name", "Scientific Name": "species", "Confidence": "confidence"},
        lambda row: f"{row['common_name']} {row['confidence']:.2f}",
        _detections,
        of_experiment=False,
    ),
    "boxes": Kind(
        {**_PLACE, "cluster": pl.Int32, "head": pl.Int32, "mass": pl.Float64},
        {"Cluster": "cluster", "Head": "head", "Mass": "mass"},
        lambda row: (
            f"cluster {row['cluster']}" + (f" head {row['head']}" if row["head"] >= 0 else "")
        ),
        _boxes,
    ),
    "labels": Kind(
        {
            **_PLACE,
            "label": pl.String,
            "experiment": pl.String,
            "entry": pl.Int64,
            "region": pl.String,
            "who": pl.String,
            "when": pl.Datetime("us", "UTC"),
            "species": pl.String,
            "common_name": pl.String,
        },
        {"Label": "label", "Region": "region", "Annotator": "who", "When": "when"},
        lambda row: str(row["label"]),
        _labels,
    ),
    "clusters": Kind(
        {**_PLACE, "cluster": pl.Int32, "distance": pl.Float64},
        {"Cluster": "cluster", "Distance": "distance"},
        lambda row: f"cluster {row['cluster']}",
        _clusters,
    ),
}
"""What can be exported as tables. In ``boxes``, head -1 is all heads merged."""
