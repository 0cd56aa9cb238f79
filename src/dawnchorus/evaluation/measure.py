"""All spaces, measured on the same windows: of a season, or of a labelled set.

In: the bench with its windows and labels. Out: its spaces and all its tables but ``coverage``, filled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from dawnchorus.clustering.sphere import one_core
from dawnchorus.evaluation import spaces as space_of
from dawnchorus.evaluation.agreement_table import fill_agreement
from dawnchorus.evaluation.attention import attention_figures
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.calibration_table import fill_calibration
from dawnchorus.evaluation.labels import BirdNetLink, detections_of
from dawnchorus.evaluation.probe_table import fill_probes
from dawnchorus.evaluation.spaces import EXPERIMENT
from dawnchorus.evaluation.tables import figure, number


def measure(
    bench: Bench,
    present: Sequence[str],
    missing: Mapping[str, str],
    link: BirdNetLink,
    boxes: pl.DataFrame | None,
) -> None:
    """Fill the bench's spaces and tables.

    Parameters
    ----------
    bench : Bench
    present : sequence of str
        Experiments that have embedded the windows.
    missing : mapping of str to str
        Experiments that have not, with the reason.
    link : BirdNetLink
        Which of BirdNET's windows speaks for which of the bench's.
    boxes : DataFrame or None
        A person's annotations, from :func:`~dawnchorus.evaluation.labels.read_boxes`.
    """
    settings, results, windows = bench.settings, bench.results, bench.windows
    fill_calibration(bench, detections_of(results, windows, link))
    if len(windows):
        bench.spaces += [space_of.experiment_space(results, name, windows) for name in present]
        bench.spaces += space_of.image_spaces(settings, results, windows)
        bench.spaces += space_of.untrained_spaces(
            settings, results, windows, present, device=bench.device, workers=bench.workers
        )
        ceiling = space_of.birdnet_space(results, windows, link)
        if ceiling is not None:
            bench.spaces.append(ceiling)
        # Sums over several cores have an order of their own in every run.
        with one_core():
            fill_agreement(bench)
            fill_probes(bench)
    for name in present:
        _fill_attention(bench, name, boxes)
    for name, reason in missing.items():
        bench.tables["agreement"].append({"space": name, "kind": EXPERIMENT, "note": reason})
        bench.tables["probes"].append({"space": name, "kind": EXPERIMENT, "note": reason})
        bench.tables["attention"].append({"experiment": name, "note": reason})


def _fill_attention(bench: Bench, experiment: str, boxes: pl.DataFrame | None) -> None:
    for one in attention_figures(bench.settings, bench.results, experiment, boxes):
        bench.tables["attention"].append(
            {
                "experiment": experiment,
                "map": one.map,
                **figure(one.metric, one.value, one.interval),
                "chance": number(one.chance),
                "windows": one.windows,
                "note": one.note,
            }
        )
