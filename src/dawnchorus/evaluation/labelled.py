"""Labelled data sets: sound with a person's labels goes the season's way, and every output space is measured on it.

In: the set's sound and labels as the configuration names them, the season's models and clusters. Out, below
``evaluation/sets/{set}``: what the steps of a season make of its files (:func:`take_in_set`: inventory, spectrograms,
BirdNET; then embeddings, clusters, attention), by the same code, and the same tables as of the season
(:func:`evaluate_set`).

Figures are of windows, not of clips: every window of a clip has the clip's label.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.attention.attend import attend_windows
from dawnchorus.birdnet.pseudo_labels import label_day
from dawnchorus.clustering.assignment import assign_day
from dawnchorus.config import Settings
from dawnchorus.embedding.day import embed_day
from dawnchorus.evaluation import tables as table_of
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.labelled_coverage import fill_coverage_of_set
from dawnchorus.evaluation.labelled_files import (
    LabelledFiles,
    boxes_of,
    labelled_files,
    settings_of_set,
)
from dawnchorus.evaluation.labels import annotation_labels, birdnet_labels, link_birdnet
from dawnchorus.evaluation.measure import measure
from dawnchorus.evaluation.tables import Row
from dawnchorus.evaluation.windows import Windows, draw, usable_days
from dawnchorus.labelled_results import LabelledResults, labelled_results
from dawnchorus.progress import say
from dawnchorus.recordings.table import read_recordings
from dawnchorus.recordings.undated import take_in, undated
from dawnchorus.results import (
    OK,
    PARTIAL,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    read_receipt,
    write_receipt,
)
from dawnchorus.spectrograms.day import make_day

SOURCE, FOLD, RECORDING = "source", "fold", "recording"
"""Groupings of a set: what its labels call a group, its official folds, and a file."""
FEWEST_FOLDS = 2


@dataclass(frozen=True)
class _Set:
    """A labelled set: how it is named, where it lies, its own settings."""

    name: str
    settings: Settings
    results: LabelledResults
    files: LabelledFiles

    @property
    def day(self) -> RecorderDay:
        return undated(self.name)


def _opened(settings: Settings, results: Results, name: str) -> _Set:
    own = settings_of_set(settings, name)
    files = labelled_files(settings, name)
    return _Set(name, own, labelled_results(results, name), files)


def take_in_set(
    settings: Settings, results: Results, name: str, *, workers: int = 1
) -> dict[str, Any]:
    """Read a set's sound: inventory, spectrograms, BirdNET. No model of ours is needed.

    Parameters
    ----------
    settings : Settings
        The season's, with the set in ``labelled_sets``.
    results : Results
        The season's.
    name : str
        Of the set.
    workers : int
        The result does not depend on it.

    Returns
    -------
    dict
        The receipt ``sound.json``. Its verdict is ``set aside`` if no file holds a window.

    Raises
    ------
    DawnChorusError
        If sound or labels are missing or wrong, or BirdNET is.
    """
    one = _opened(settings, results, name)
    paths, day = one.results, one.day
    rows = take_in(one.settings.audio, paths, name, one.files.entries)
    spectrograms = make_day(one.settings, paths, day, workers=workers)
    birdnet = label_day(one.settings, paths, day, workers=workers)
    usable = sum(row.is_usable for row in rows)
    receipt = {
        "verdict": spectrograms["verdict"],
        "reason": spectrograms["reason"],
        "files": len(rows),
        "usable": usable,
        "windows": spectrograms["windows"],
        "birdnet_windows": birdnet["windows"],
        "licence": birdnet["licence"],
        "fingerprint": fingerprint([spectrograms["fingerprint"], birdnet["fingerprint"]]),
        "version": __version__,
    }
    write_receipt(paths.sound_receipt, receipt)
    return receipt


def evaluate_set(
    settings: Settings,
    results: Results,
    name: str,
    *,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Embed a set's windows by every trained experiment, and measure all spaces on its labels.

    Parameters
    ----------
    settings : Settings
        The season's, with the set in ``labelled_sets``.
    results : Results
        The season's.
    name : str
        Of the set.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    workers : int, optional
        By default the cores there are. No figure depends on it.

    Returns
    -------
    dict
        The receipt ``evaluation.json``.

    Raises
    ------
    DawnChorusError
        If sound or labels are missing or wrong, or :func:`take_in_set` was not run.
    """
    one = _opened(settings, results, name)
    paths, day = one.results, one.day
    sound = read_receipt(paths.sound_receipt)
    count = workers or len(os.sched_getaffinity(0))
    recordings = read_recordings(paths.recordings)
    boxes, notes = boxes_of(one.files, recordings, settings.labelled_set(name))
    present, missing = [], {}
    for experiment in settings.experiments:
        if not paths.experiment(experiment).model.exists():
            missing[experiment] = "not trained"
            continue
        embed_day(one.settings, paths, experiment, day, device=device, workers=count)
        if paths.experiment(experiment).centroids.exists():
            assign_day(one.settings, paths, experiment, day)
        present.append(experiment)
    usable, left_out = usable_days(paths, [day], present)
    windows = _grouped(draw(one.settings, paths, usable, present), one.files)
    own = _with_groups(one.settings, windows, one.files, settings.labelled_set(name).clusters)
    link = link_birdnet(paths, windows)
    labels = [
        *birdnet_labels(paths, windows, link, own.evaluation.confidences),
        annotation_labels(own, windows, boxes),
    ]
    tables: dict[str, list[Row]] = {table: [] for table in table_of.COLUMNS}
    bench = Bench(own, paths, windows, labels, [], tables, count, device)
    tables["coverage"] += [*one.files.notes, *notes]
    fill_coverage_of_set(bench, recordings)
    chosen = _looked_at(windows, boxes, settings.labelled_set(name).attention_windows, own)
    for experiment in present:
        if chosen.height:
            attend_windows(own, paths, experiment, chosen, device)
    measure(bench, present, missing, link, boxes)
    for note in bench.tables["coverage"]:
        if note["what"] in ("files", "labels", "boxes", "file left out") and note.get("note"):
            say(f"{name}: {note['what']} {note['name']}: {note['note']}")
    counts = table_of.write_tables(paths.root, bench.tables)
    whole = not missing and not left_out
    receipt = {
        "verdict": SET_ASIDE if not len(windows) else OK if whole else PARTIAL,
        "reason": sound["reason"] if not len(windows) else None,
        "windows": len(windows),
        "windows_available": windows.total,
        "files": len(recordings),
        "labels": int(boxes["song"].sum()),
        "groupings": list(own.evaluation.groups),
        "clusters": own.clustering.k,
        "experiments": present,
        "experiments_left_out": missing,
        "spaces": [space.name for space in bench.spaces],
        "tables": counts,
        "fingerprint": fingerprint([sound["fingerprint"], boxes.rows(), bench.tables]),
        "version": __version__,
    }
    write_receipt(paths.evaluation_receipt, receipt)
    return receipt


def _grouped(windows: Windows, files: LabelledFiles) -> Windows:
    """Give windows the groups of their labels: a file that is in none is one of its own."""
    source, fold = files.of("group"), files.of("fold")
    groups: dict[str, NDArray[np.object_]] = {}
    if source:
        told = [source.get(name, name) for name in windows.recording]
        groups[SOURCE] = np.array(told, dtype=object)
    if len({fold.get(name) for name in windows.recording} - {None}) >= FEWEST_FOLDS:
        groups[FOLD] = np.array([fold.get(name, "") for name in windows.recording], dtype=object)
    return replace(windows, named_groups=groups)


def _with_groups(
    settings: Settings, windows: Windows, files: LabelledFiles, clusters: int | None
) -> Settings:
    """Return settings whose groupings and number of clusters are the set's."""
    groups = [one for one in (SOURCE, FOLD) if one in windows.named_groups] + [RECORDING]
    if SOURCE not in groups:
        groups = [RECORDING, *groups[:-1]]
    classes = files.rows["label"].drop_nulls().n_unique()
    return settings.model_copy(
        update={
            "evaluation": settings.evaluation.model_copy(update={"groups": tuple(groups)}),
            "clustering": settings.clustering.model_copy(
                update={"k": max(2, classes) if clusters is None else clusters}
            ),
        }
    )


def _looked_at(
    windows: Windows, boxes: pl.DataFrame, most: int, settings: Settings
) -> pl.DataFrame:
    """Draw windows of annotated recordings whose attention is compared with boxes; none without boxes in hertz."""
    with_hertz = boxes.filter(pl.col("low_hz").is_not_null() & pl.col("high_hz").is_not_null())
    annotated = set(boxes["recording"]) if with_hertz.height else set()
    where = np.flatnonzero([name in annotated for name in windows.recording])
    if len(where) > most:
        generator = np.random.default_rng(settings.evaluation.seed)
        where = np.sort(generator.choice(where, most, replace=False))
    days = [windows.days[number] for number in windows.day[where]]
    return pl.DataFrame(
        {
            "recorder": [day.recorder for day in days],
            "date": [day.date for day in days],
            "recording": windows.recording[where].tolist(),
            "offset": windows.offset[where],
            "time": windows.time[where],
            "cluster": np.full(len(where), -1, dtype=np.int32),
            "rank": np.zeros(len(where), dtype=np.int32),
            **{
                name: [str(one) for one in values[where]]
                for name, values in windows.named_groups.items()
            },
        },
        schema_overrides=dict.fromkeys(
            ("recorder", "date", "recording", *windows.named_groups), pl.String
        ),
    )
