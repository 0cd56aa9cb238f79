"""Calibration of pseudo-labels, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from dawnchorus.config import Evaluation
from dawnchorus.evaluation.calibration_table import ANY, fill_calibration
from dawnchorus.evaluation.labels import ANNOTATIONS, BIRDNET, Labels

TRUTH = Labels(
    ANNOTATIONS,
    None,
    known=np.array([True, True, True, True, False]),
    top=np.array(["wren", "wren", "robin", None, None], dtype=object),
    species=["robin", "wren"],
    # Window 1 holds both.
    present=sparse.csr_matrix([[0, 1], [1, 1], [1, 0], [0, 0], [0, 0]], dtype=float),
)


def rows(detections: list[tuple[int, str, float]], truth: Labels | None = TRUTH) -> dict:
    bench = SimpleNamespace(
        tables={"calibration": []},
        labels=[] if truth is None else [truth],
        group=np.array(["g1", "g1", "g2", "g2", "g3"], dtype=object),
        settings=SimpleNamespace(evaluation=Evaluation(bootstrap=50)),
    )
    schema = {"window": pl.Int64, "species": pl.String, "confidence": pl.Float32}
    fill_calibration(bench, pl.DataFrame(detections, schema=schema, orient="row"))
    return {
        (row["labels"], "confidence_low" in row and round(row["confidence_low"], 1)): row
        for row in bench.tables["calibration"]
    }


def test_each_step_by_hand():
    found = rows(
        [
            (0, "wren", 0.7), (1, "robin", 0.75), (2, "wren", 0.72),  # right, right, wrong species
            (3, "wren", 0.79),  # nothing sings
            (0, "owl", 0.15),  # nobody annotated an owl
            (4, "wren", 0.99),  # nobody listened
        ]
    )  # fmt: skip
    assert len(found) == 20
    seven = found[BIRDNET, 0.7]
    assert (seven["detections"], seven["correct_share"]) == (4, 0.5)
    assert seven["mean_confidence"] == pytest.approx(0.74)
    # One group is wholly right and the other wholly wrong.
    assert (seven["low"], seven["high"]) == (0.0, 1.0)
    assert found[ANY, 0.7]["correct_share"] == 0.75
    owl = found[BIRDNET, 0.1]
    assert (owl["correct_share"], owl["low"], owl["note"]) == (0.0, None, "one group: no interval")
    assert found[ANY, 0.1]["correct_share"] == 1.0
    assert found[BIRDNET, 0.9]["detections"] == 0
    assert found[BIRDNET, 0.9]["note"] == "no detection of this confidence"


@pytest.mark.parametrize(
    ("detections", "truth", "note"),
    [
        ([], None, "evaluation.annotations is not set"),
        ([], TRUTH, "BirdNET has no detection in these windows"),
        ([(4, "wren", 0.5)], TRUTH, "BirdNET has no detection in annotated recordings"),
    ],
)
def test_nothing_to_compare_says_why(detections, truth, note):
    found = rows(detections, truth)
    assert {key: row["note"] for key, row in found.items()} == {
        (BIRDNET, False): note,
        (ANY, False): note,
    }


def test_names_that_never_meet_are_told():
    found = rows([(0, "Troglodytes troglodytes", 0.5)])
    assert found[BIRDNET, 0.5]["note"].startswith(
        "none of BirdNET's species is among the annotated names"
    )
