"""Whether BirdNET's confidence is the share of its detections that are right.

In: BirdNET's detections and a person's labels of the same windows. Out: the table ``calibration``: per
step of confidence the detections, their mean confidence and the share that is right, with a 95 %
interval by bootstrap over groups.

Two questions: is it that species (``birdnet``), and does anything annotated sing in the window at all
(``birdnet, any species``)? Only windows of annotated recordings count, each species once per window.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.bootstrap import interval, per_group
from dawnchorus.evaluation.labels import ANNOTATIONS, BIRDNET, Labels
from dawnchorus.evaluation.tables import number

EDGES = np.linspace(0, 1, 11)
ANY = f"{BIRDNET}, any species"


def fill_calibration(bench: Bench, detections: pl.DataFrame) -> None:
    """Fill the table calibration.

    Parameters
    ----------
    bench : Bench
    detections : DataFrame
        From :func:`~dawnchorus.evaluation.labels.detections_of`.
    """
    rows = bench.tables["calibration"]
    truth = next((labels for labels in bench.labels if labels.source == ANNOTATIONS), None)
    reason = _nothing(bench, truth, detections)
    if truth is None or reason:
        rows += [{"labels": name, "note": reason} for name in (BIRDNET, ANY)]
        return
    window = detections["window"].to_numpy()
    known = truth.known[window]
    window, species = window[known], detections["species"].to_numpy()[known]
    confidence = detections["confidence"].to_numpy()[known]
    column = {name: number for number, name in enumerate(truth.species)}
    at = np.array([column.get(name, -1) for name in species], dtype=np.int64)
    held = truth.present.tocoo()
    cells = held.row.astype(np.int64) * len(truth.species) + held.col
    right = (at >= 0) & np.isin(window * len(truth.species) + at, cells)
    note = "" if (at >= 0).any() else "none of BirdNET's species is among the annotated names"
    for name, correct, said in (
        (BIRDNET, right, note),
        (ANY, truth.labelled[window], ""),
    ):
        rows += [
            {"labels": name, **row} for row in _steps(bench, window, confidence, correct, said)
        ]


def _nothing(bench: Bench, truth: Labels | None, detections: pl.DataFrame) -> str:
    """Say why there is nothing to compare; empty if there is."""
    if truth is None:
        return "evaluation.annotations is not set"
    if not truth.known.any():
        return "no annotated recording among the windows"
    if not detections.height:
        return "BirdNET has no detection in these windows"
    if not truth.known[detections["window"].to_numpy()].any():
        return "BirdNET has no detection in annotated recordings"
    return ""


def _steps(
    bench: Bench,
    window: NDArray[np.int64],
    confidence: NDArray[np.float32],
    correct: NDArray[np.bool_],
    note: str,
) -> list[dict[str, object]]:
    # As float32, as BirdNET gives them: 0.7 belongs to the step from 0.7.
    step = np.searchsorted(EDGES.astype(np.float32), confidence, side="right") - 1
    step = np.clip(step, 0, len(EDGES) - 2)
    rows = []
    for place, (low, high) in enumerate(pairwise(EDGES)):
        here = step == place
        row: dict[str, object] = {
            "confidence_low": float(low),
            "confidence_high": float(high),
            "detections": int(here.sum()),
            "note": note or None,
        }
        if here.any():
            _, member = np.unique(bench.group[window[here]].astype(str), return_inverse=True)
            counts = np.stack([correct[here], np.ones(here.sum())], axis=1).astype(np.float64)
            (bounds,) = interval(
                per_group(member, counts),
                lambda total: np.array([total[0] / total[1]]),
                bench.settings.evaluation.bootstrap,
                bench.settings.evaluation.seed,
            )
            row |= {
                "mean_confidence": float(confidence[here].mean(dtype=np.float64)),
                "correct_share": float(correct[here].mean()),
                "low": number(bounds.low),
                "high": number(bounds.high),
            }
            if row["low"] is None:
                row["note"] = "; ".join(filter(None, [note, "one group: no interval"]))
        else:
            row["note"] = "no detection of this confidence"
        rows.append(row)
    return rows
