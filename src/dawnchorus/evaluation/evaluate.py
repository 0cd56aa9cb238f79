"""The evaluation of all experiments, beside their baselines.

In: embeddings, assignments and attention of every experiment of the config, BirdNET's detections,
annotations, for the given recorder-days. Out: the tables of :mod:`dawnchorus.evaluation.tables` in
``evaluation/``, ``lost.tsv`` (training windows whose recording is gone) and the receipt.

Every figure of every space is taken from the same windows in the same way. What cannot be measured
(no detections, one group, an experiment not trained yet) is a row without a value and with the
reason.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation import tables as table_of
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.cost import cost_rows
from dawnchorus.evaluation.coverage_table import fill_coverage, lost_windows
from dawnchorus.evaluation.labels import (
    annotation_labels,
    birdnet_labels,
    link_birdnet,
    read_boxes,
)
from dawnchorus.evaluation.measure import measure
from dawnchorus.evaluation.windows import LeftOut, draw, usable_days
from dawnchorus.progress import say
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


def evaluate(
    settings: Settings,
    results: Results,
    days: Sequence[RecorderDay],
    *,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Measure all experiments and baselines, and write tables and receipt.

    Parameters
    ----------
    settings : Settings
        All experiments of the config are measured; see the section ``evaluation``.
    results : Results
    days : sequence of RecorderDay
        Recorder-days to draw windows from.
    device : str
        For networks: ``auto``, ``cpu`` or ``cuda``.
    workers : int, optional
        Probes at the same time (default: the cores there are). No figure depends on it.

    Returns
    -------
    dict
        The receipt ``evaluation.json``.

    Raises
    ------
    DawnChorusError
        If the inventory or the annotations are missing or wrong.
    """
    if not results.recordings.exists():
        raise DawnChorusError("is not there", results.recordings, "run `dawnchorus scan` first")
    present, missing = _experiments(settings, results, days)
    usable, left_out = usable_days(results, days, present)
    windows = draw(settings, results, usable, present)
    link = link_birdnet(results, windows)
    labels = birdnet_labels(results, windows, link, settings.evaluation.confidences)
    boxes = None
    if settings.evaluation.annotations is not None:
        boxes = read_boxes(settings.evaluation.annotations)
        labels.append(annotation_labels(settings, windows, boxes))
    bench = Bench(
        settings,
        results,
        windows,
        labels,
        [],
        {name: [] for name in table_of.COLUMNS},
        workers or len(os.sched_getaffinity(0)),
        device,
    )
    fill_coverage(bench, days, left_out, missing)
    measure(bench, present, missing, link, boxes)
    bench.tables["cost"] += cost_rows(results, days, bench.spaces, missing)
    return _finish(bench, usable, left_out, missing)


def _experiments(
    settings: Settings, results: Results, days: Sequence[RecorderDay]
) -> tuple[list[str], dict[str, str]]:
    """Part the experiments into those that can be measured and those that cannot, with the
    reason."""
    present, missing = [], {}
    for name in settings.experiments:
        paths = results.experiment(name)
        if not paths.model.exists():
            missing[name] = "not trained"
        elif not any(paths.embeddings(day).exists() for day in days):
            missing[name] = "no recorder-day is embedded"
        else:
            present.append(name)
    return present, missing


def _finish(
    bench: Bench,
    usable: Sequence[RecorderDay],
    left_out: Sequence[LeftOut],
    missing: dict[str, str],
) -> dict[str, Any]:
    """Write everything; return the receipt."""
    settings, results = bench.settings, bench.results
    folder = results.evaluation
    lost = lost_windows(results)
    if len(lost):
        say(
            f"{int(lost['windows'].sum())} training windows lost their recording: see {folder}/lost.tsv"
        )
    table_of.write_tsv(folder / "lost.tsv", lost)
    counts = table_of.write_tables(folder, bench.tables)
    # What a machine took is no content: the same spaces have the same fingerprint wherever they were made.
    measured = {name: rows for name, rows in bench.tables.items() if name != "cost"}
    parameters = settings.evaluation.model_dump(mode="json", exclude={"annotations"})
    receipt = {
        "verdict": SET_ASIDE if not len(bench.windows) else PARTIAL if missing or left_out else OK,
        "reason": None if len(bench.windows) else "no window could be evaluated",
        "windows": len(bench.windows),
        "windows_available": bench.windows.total,
        "days": [[day.recorder, day.date] for day in usable],
        "days_left_out": {str(one.day): one.reason for one in left_out},
        "experiments": [name for name in settings.experiments if name not in missing],
        "experiments_left_out": missing,
        "spaces": [space.name for space in bench.spaces],
        "lost_training_windows": int(lost["windows"].sum()),
        "tables": counts,
        "parameters": parameters,
        "clustering": settings.clustering.model_dump(mode="json"),
        "fingerprint": fingerprint([_inputs(bench, usable, missing), parameters, measured]),
        "version": __version__,
    }
    write_receipt(folder / "evaluation.json", receipt)
    return receipt


def _inputs(bench: Bench, usable: Sequence[RecorderDay], missing: dict[str, str]) -> list[Any]:
    """Return the fingerprints of what was measured."""
    results = bench.results
    paths = []
    for day in usable:
        paths += [results.spectrograms_receipt(day), results.detections_receipt(day)]
        for name in bench.settings.experiments:
            if name not in missing:
                experiment = results.experiment(name)
                paths += [experiment.embeddings_receipt(day), experiment.assignment_receipt(day)]
    return [read_receipt(path).get("fingerprint") for path in paths if path.exists()]
