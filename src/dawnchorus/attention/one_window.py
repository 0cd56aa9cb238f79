"""Look at any window, or the windows around a moment, without the rest of the season.

In: an experiment's model, the spectrogram store of the window's day, and which window. Out: a folder that
the person names: ``heads.zarr``, ``windows.parquet``, ``boxes.parquet``, ``raven/`` as in the results, and
``attention.json``. Needs neither embeddings nor clusters.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from dawnchorus.attention.attend import look_at
from dawnchorus.attention.looking import Looker, agreement_sample, lacks_attention
from dawnchorus.attention.sources import HEADS
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import read_metadata
from dawnchorus.learning.training_set import find, load_codes
from dawnchorus.parquet import read_parquet
from dawnchorus.results import RecorderDay, Results, read_receipt, write_receipt
from dawnchorus.spectrograms.store import SpectrogramStore

ALONE = -1
"""Cluster of a window that was asked for by itself."""


def of_recording(results: Results, recording: str, offset: int) -> pl.DataFrame:
    """Return the window of a recording that holds a sample.

    Parameters
    ----------
    results : Results
    recording : str
        Path below ``audio.root``.
    offset : int
        A sample at the recording's own rate; the first one is what the tables call ``offset``.

    Returns
    -------
    DataFrame
        One row: recorder, date, recording, offset, time, cluster, rank.

    Raises
    ------
    DawnChorusError
        If no recorder-day has the recording, or no window of it holds the sample.
    """
    recorder = recording.split("/", 1)[0]
    for day in results.days_with_receipts():
        listed = read_receipt(results.spectrograms_receipt(day)).get("recordings", [])
        if day.recorder == recorder and any(one["recording"] == recording for one in listed):
            break
    else:
        raise DawnChorusError(
            "is in no recorder-day's spectrograms", recording, "name it as in recordings.parquet"
        )
    store = _store(results, day)
    (own,) = np.nonzero(np.array(store.recordings, dtype=object)[store.recording] == recording)
    before = own[store.offset[own] <= offset]
    if not len(before):
        raise DawnChorusError(f"no window holds sample {offset}", recording)
    row = int(before[np.argmax(store.offset[before])])
    rate = next(int(one["sample_rate"]) for one in listed if one["recording"] == recording)
    if offset >= store.offset[row] + round(_seconds(store) * rate):
        raise DawnChorusError(f"no window holds sample {offset}", recording)
    return _windows(store, day, row)


def at_time(results: Results, day: RecorderDay, moment: dt.datetime) -> pl.DataFrame:
    """Return the window of a recorder-day that holds a moment; else as :func:`of_recording`.

    Parameters
    ----------
    results : Results
    day : RecorderDay
    moment : datetime
        UTC where it has no offset of its own.

    Raises
    ------
    DawnChorusError
        If there was no recording then.
    """
    store = _store(results, day)
    utc = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    wanted = np.datetime64(utc, "us")
    before = np.flatnonzero(store.time <= wanted)
    if len(before):
        row = int(before[np.argmax(store.time[before])])
        if wanted < store.time[row] + np.timedelta64(round(_seconds(store) * 1e6), "us"):
            return _windows(store, day, row)
    span = f"{store.time.min()} to {store.time.max()} UTC" if len(store) else "no window"
    raise DawnChorusError(f"holds no window at {utc.isoformat()} UTC", day, f"it has {span}")


def attend_to(
    settings: Settings,
    results: Results,
    experiment: str,
    windows: pl.DataFrame,
    folder: Path,
    device: str = "auto",
) -> dict[str, Any]:
    """Write maps, masks and boxes of windows into a folder.

    Parameters
    ----------
    settings : Settings
        Uses ``attention`` and ``embedding.batch_size``.
    results : Results
    experiment : str
        Name in the config.
    windows : DataFrame
        From :func:`of_recording` or :func:`at_time`.
    folder : Path
        To be made.
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        What ``attention.json`` holds: counts, parameters, model.

    Raises
    ------
    DawnChorusError
        If the folder is not empty, the model is missing or has no attention, or heads are to be weighted
        by agreement and there are no clusters to draw windows from.
    """
    settings.experiment(experiment)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DawnChorusError("is not empty", folder, "choose another folder for --out")
    looker = looker_of(settings, results, experiment, device)
    boxes, content = look_at(results, looker, windows, folder)
    receipt = {
        "experiment": experiment,
        "windows": windows.height,
        "heads": looker.metadata.heads,
        "boxes": boxes.height,
        "parameters": settings.attention.model_dump(),
        "fingerprint": content,
    }
    write_receipt(folder / "attention.json", receipt)
    return receipt


def looker_of(
    settings: Settings, results: Results, experiment: str, device: str = "auto"
) -> Looker:
    """Return what an experiment looks at windows with, made ready as the config says.

    Parameters
    ----------
    settings : Settings
        Uses ``attention``, ``embedding.batch_size`` and the experiment's pooling.
    results : Results
    experiment : str
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    DawnChorusError
        If the model is missing or has no attention, or heads are to be weighted by agreement and there are
        no clusters to draw windows from.
    """
    wanted, paths = settings.attention, results.experiment(experiment)
    if lacking := lacks_attention(read_metadata(paths.model)):
        raise DawnChorusError(lacking, paths.model)
    looker = Looker.load(
        paths.model,
        wanted,
        batch_size=settings.embedding.batch_size,
        device=device,
        pooling=settings.experiment(experiment).embedding.pooling,
    )
    if wanted.source == HEADS and wanted.merge == "agreement":
        if not paths.members.exists():
            raise DawnChorusError(
                "is not there, and heads are merged by their agreement on its windows",
                paths.members,
                "run `dawnchorus cluster` first, or take attention.merge=mean",
            )
        members = read_parquet(paths.members)
        sample = agreement_sample(members.filter(pl.Series(find(results, members) >= 0)))
        looker.agree_on(load_codes(results, sample))
    return looker


def _store(results: Results, day: RecorderDay) -> SpectrogramStore:
    return SpectrogramStore.open(results.spectrograms(day))


def _seconds(store: SpectrogramStore) -> float:
    """How long a window is: its frames lie in its middle."""
    return float(store.frame_time[-1] + store.frame_time[0])


def _windows(store: SpectrogramStore, day: RecorderDay, row: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "recorder": [day.recorder],
            "date": [day.date],
            "recording": [store.recordings[int(store.recording[row])]],
            "offset": [int(store.offset[row])],
            "time": store.time[row : row + 1],
            "cluster": [ALONE],
            "rank": [0],
        },
        schema_overrides={"cluster": pl.Int32, "rank": pl.Int32, "time": pl.Datetime("us")},
    )
