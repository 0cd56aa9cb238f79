"""The output space as the explorer shows it: one row per window, in columns.

In: the map points of an experiment, joined with the clusters, BirdNET's detections and the inventory.
Out: :class:`OutputSpace`, numpy columns of one length.

A row's number identifies its window as long as the server runs; regions and labels never name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.birdnet.speaking import HEARD, detections_of
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.regions import Membership
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import tracked
from dawnchorus.results import ExperimentResults, RecorderDay, Results, read_receipt
from dawnchorus.spectrograms.store import SpectrogramStore

NONE = 65_535
"""Code that stands for "not known" in the 16-bit columns."""
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class OutputSpace:
    """All placed windows of an experiment, sorted by recorder, date and the order of the day.

    Attributes
    ----------
    map, clusters : str
        Fingerprints of the fitted projection and of the fitted clusters (None without clusters).
    days : list of RecorderDay
    inventory : polars.DataFrame
        One row per recording that the windows name: recording, start_us (UTC, microseconds since
        1970), sample_rate; both null if the inventory does not know it.
    x, y : float32 array (n,)
    cluster, recorder, hour, species : uint16 array (n,)
        Codes; hour is the local hour of the window's start; :data:`NONE` where there is none.
    confidence : float32 array (n,)
        Of the best detection; 0 without one.
    habitat, date : uint16 array (n,)
        Codes: index into ``habitats`` (:data:`NONE` where no deployment says) and into ``dates``, the local
        dates of the recorder-days, ascending.
    activity : float32 array (n,)
        Decibels; NaN where the spectrograms are not there.
    distance : float32 array (n,)
        To the centroid of its cluster, in the output space; NaN where it is not known.
    recording : int32 array (n,)
        Row of ``inventory``.
    offset : int64 array (n,)
        First sample of the window, at the file's own rate.
    day : int32 array (n,)
        Index into ``days``.
    """

    experiment: str
    map: str
    clusters: str | None
    window_seconds: float
    days: list[RecorderDay]
    inventory: pl.DataFrame
    recorders: list[str]
    species_names: list[tuple[str, str]]
    habitats: list[str]
    dates: list[str]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    cluster: NDArray[np.uint16]
    recorder: NDArray[np.uint16]
    hour: NDArray[np.uint16]
    species: NDArray[np.uint16]
    confidence: NDArray[np.float32]
    habitat: NDArray[np.uint16]
    date: NDArray[np.uint16]
    activity: NDArray[np.float32]
    distance: NDArray[np.float32]
    recording: NDArray[np.int32]
    offset: NDArray[np.int64]
    day: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def membership(self) -> Membership:
        """Finds the rows in a region."""
        return Membership(self.x, self.y, self.cluster)

    @cached_property
    def _facts(self) -> dict[str, list[Any]]:
        return self.inventory.to_dict(as_series=False)

    def rate(self, row: int) -> int | None:
        """Sample rate of a window's recording; None if it is not in the inventory."""
        rate = self._facts["sample_rate"][int(self.recording[row])]
        return None if rate is None else int(rate)

    def window(self, row: int) -> dict[str, Any]:
        """Say which window a row is.

        Returns
        -------
        dict
            recorder, date, recording, offset, start_s (from the recording's start, None if the
            recording is not in the inventory), time (UTC, ISO 8601, None if not known), known (in
            the inventory).
        """
        number = int(self.recording[row])
        facts = {name: column[number] for name, column in self._facts.items()}
        known = facts["sample_rate"] is not None
        start_s = float(self.offset[row]) / facts["sample_rate"] if known else None
        time = None
        if start_s is not None and facts["start_us"] is not None:
            time = f"{np.datetime64(facts['start_us'] + round(start_s * 1e6), 'us')}Z"
        day = self.days[int(self.day[row])]
        return {
            "recorder": day.recorder,
            "date": day.date,
            "recording": facts["recording"],
            "offset": int(self.offset[row]),
            "start_s": start_s,
            "time": time,
            "known": known,
        }


def experiments_with_map(results: Results) -> list[str]:
    """Return the experiments whose map is fitted, by name."""
    return sorted(path.parts[-3] for path in results.root.glob("*/map/map.json"))


def choose_experiment(results: Results, experiment: str | None) -> str:
    """Return ``experiment``, or the only one that has a map.

    Raises
    ------
    DawnChorusError
        If there is none, it is not there, or there are several to choose from.
    """
    there = experiments_with_map(results)
    if experiment is None and len(there) == 1:
        return there[0]
    if not there:
        raise DawnChorusError(
            "holds no map of any experiment", results.root, "run the workflow first"
        )
    if experiment is None:
        raise DawnChorusError(
            f"there are maps of {', '.join(there)}", results.root, "choose one with --experiment"
        )
    if experiment not in there:
        raise DawnChorusError(
            f"there is no map of {experiment!r}", results.root, f"there is {', '.join(there)}"
        )
    return experiment


def placed_days(receipt: dict[str, Any]) -> list[RecorderDay]:
    """Return the recorder-days that have windows in a map, sorted, from the map's receipt."""
    return sorted(
        RecorderDay(*name.rsplit("/", 1))
        for name, placed in receipt["days"].items()
        if placed["windows"]
    )


def news(results: Results, space: OutputSpace) -> dict[str, Any]:
    """Say what has come into the map since ``space`` was read.

    Returns
    -------
    dict
        recorder_days (how many are new), refitted (the map is another one).
    """
    path = results.experiment(space.experiment).map_receipt
    if not path.is_file():  # just being made anew
        return {"recorder_days": 0, "refitted": False}
    receipt = read_receipt(path)
    return {
        "recorder_days": len(set(placed_days(receipt)) - set(space.days)),
        "refitted": receipt["projection"] != space.map,
    }


def load(results: Results, experiment: str, window_seconds: float) -> OutputSpace:
    """Read the map of an experiment and what is known of its windows.

    Raises
    ------
    DawnChorusError
        If no window is placed, or the inventory is missing.
    """
    paths = results.experiment(experiment)
    receipt = read_receipt(paths.map_receipt)
    days = placed_days(receipt)
    if not days:
        raise DawnChorusError(
            "no window is placed in the map", paths.map_receipt, "run 'dawnchorus map' first"
        )
    if not results.recordings.is_file():
        raise DawnChorusError("is not there", results.recordings, "run 'dawnchorus scan' first")
    inventory = (
        read_parquet(
            results.recordings,
            columns=["recording", "start_utc", "utc_offset_minutes", "sample_rate", "habitat"],
        )
        .filter(pl.col("sample_rate") > 0)
        .with_columns(start_us=pl.col("start_utc").dt.timestamp("us"))
        .drop("start_utc")
    )
    parts = [
        _read_day(results, paths, day, number, inventory, window_seconds)
        for number, day in enumerate(tracked(days, "reading the map", len(days), "recorder-days"))
    ]
    windows = pl.concat(parts)
    fitted = paths.clusters_receipt
    return _assemble(
        windows,
        experiment=experiment,
        map_=receipt["projection"],
        clusters=read_receipt(fitted)["fingerprint"] if fitted.is_file() else None,
        days=days,
        inventory=inventory,
        window_seconds=window_seconds,
    )


def _read_day(
    results: Results,
    paths: ExperimentResults,
    day: RecorderDay,
    number: int,
    inventory: pl.DataFrame,
    window_seconds: float,
) -> pl.DataFrame:
    """One recorder-day in the order of its map points; null where something is not known."""
    windows = read_parquet(paths.points(day), columns=["recording", "offset", "x", "y"])
    windows = windows.join(inventory, on="recording", how="left", maintain_order="left")
    if paths.assignment(day).is_file():
        columns = ["recording", "offset", "cluster", "distance"]
        clusters = read_parquet(paths.assignment(day), columns=columns)
        windows = windows.join(
            clusters, on=["recording", "offset"], how="left", maintain_order="left"
        )
    else:
        windows = windows.with_columns(
            cluster=pl.lit(None, pl.Int32), distance=pl.lit(None, pl.Float32)
        )
    rate = pl.col("sample_rate")
    detections = pl.DataFrame(schema=HEARD)
    if results.detections(day).is_file():
        detections = detections_of(
            windows, read_parquet(results.detections(day), columns=list(HEARD)), window_seconds
        ).unique(["recording", "offset"], keep="first", maintain_order=True)
    windows = windows.join(
        detections, on=["recording", "offset"], how="left", maintain_order="left"
    )
    local = (
        pl.col("start_us")
        + pl.col("offset") * 1_000_000 // rate
        + pl.col("utc_offset_minutes").cast(pl.Int64) * 60_000_000
    )
    return windows.select(
        "recording",
        "offset",
        pl.col("x", "y").cast(pl.Float32),
        # Noise (-1) is a window without a cluster, as one that was not assigned.
        pl.when(pl.col("cluster") >= 0).then("cluster").cast(pl.Int32),
        "species",
        "common_name",
        "habitat",
        pl.col("distance").cast(pl.Float32).fill_null(np.nan),
        pl.col("confidence").fill_null(0).cast(pl.Float32),
        _activity(results, day, windows),
        hour=(local % (24 * HOUR_US) // HOUR_US).cast(pl.UInt16),
        day=pl.lit(number, pl.Int32),
    )


def _activity(results: Results, day: RecorderDay, windows: pl.DataFrame) -> pl.Series:
    """Activity of windows; NaN where the day's spectrograms, or the window in them, are not there."""
    activity = np.full(windows.height, np.nan, dtype=np.float32)
    if results.spectrograms(day).is_dir():
        store = SpectrogramStore.open(results.spectrograms(day))
        rows = store.find(windows["recording"].to_list(), windows["offset"].to_numpy())
        activity[rows >= 0] = store.activity[rows[rows >= 0]]
    return pl.Series("activity", activity)


def _assemble(
    windows: pl.DataFrame,
    *,
    experiment: str,
    map_: str,
    clusters: str | None,
    days: list[RecorderDay],
    inventory: pl.DataFrame,
    window_seconds: float,
) -> OutputSpace:
    names = windows.select(pl.col("recording").unique(maintain_order=True))
    facts = names.join(inventory, on="recording", how="left", maintain_order="left").select(
        "recording", "start_us", "sample_rate"
    )
    recorders = sorted({day.recorder for day in days})
    dates = sorted({day.date for day in days})
    habitats = windows["habitat"].drop_nulls().unique().sort()
    species = (
        windows.filter(pl.col("species").is_not_null())
        .group_by("species")
        .agg(pl.col("common_name").first(), pl.len())
        .sort(["len", "species"], descending=[True, False])
    )
    number_of = pl.DataFrame(
        {"recording": facts["recording"], "number": np.arange(len(facts), dtype=np.int32)}
    )
    code_of = pl.DataFrame(
        {"species": species["species"], "code": np.arange(len(species), dtype=np.uint16)}
    )
    windows = windows.join(number_of, on="recording", how="left", maintain_order="left").join(
        code_of, on="species", how="left", maintain_order="left"
    )
    habitat_of = pl.DataFrame(
        {"habitat": habitats, "place": np.arange(len(habitats), dtype=np.uint16)}
    )
    windows = windows.join(habitat_of, on="habitat", how="left", maintain_order="left")
    day = windows["day"].to_numpy()
    date_of_day = np.array([dates.index(item.date) for item in days], dtype=np.uint16)
    recorder_of_day = np.array([recorders.index(item.recorder) for item in days], dtype=np.uint16)

    def codes(name: str) -> NDArray[np.uint16]:
        return windows[name].fill_null(NONE).cast(pl.UInt16).to_numpy()

    return OutputSpace(
        experiment=experiment,
        map=map_,
        clusters=clusters,
        window_seconds=window_seconds,
        days=days,
        inventory=facts,
        recorders=recorders,
        species_names=list(zip(species["species"], species["common_name"], strict=True)),
        habitats=habitats.to_list(),
        dates=dates,
        x=windows["x"].to_numpy(),
        y=windows["y"].to_numpy(),
        cluster=codes("cluster"),
        recorder=recorder_of_day[day],
        hour=codes("hour"),
        species=codes("code"),
        confidence=windows["confidence"].to_numpy(),
        habitat=codes("place"),
        date=date_of_day[day],
        activity=windows["activity"].to_numpy(),
        distance=windows["distance"].to_numpy(),
        recording=windows["number"].to_numpy(),
        offset=windows["offset"].to_numpy(),
        day=day,
    )
