"""Labels of windows: joined by overlap in time, ranked, and never invented."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from dawnchorus.birdnet.detections import COLUMNS
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.labels import (
    annotation_labels,
    birdnet_labels,
    link_birdnet,
    read_boxes,
)
from dawnchorus.evaluation.windows import Windows
from dawnchorus.results import OK, SET_ASIDE, RecorderDay, Results, write_receipt

DAY = RecorderDay("R1", "2021-05-24")
NAME = "R1/a.wav"
RATE = 22_000


def windows_of(length_s: float, count: int, rate: int = RATE, name: str = NAME) -> Windows:
    step = round(length_s * rate)
    offset = np.arange(count) * step
    return Windows(
        [DAY],
        np.zeros(count, int),
        np.arange(count),
        np.array([name] * count, object),
        offset,
        np.zeros(count, "datetime64[us]"),
        offset / rate,
        (offset + step) / rate,
        np.zeros(count, int),
        count,
    )


def write_birdnet(results: Results, heard: int, found, rate: int = RATE, verdict: str = OK) -> None:
    """``found``: (number of the BirdNET window, species, confidence)."""
    rows = [
        [DAY.recorder, DAY.date, NAME, number * 3 * rate, None, species, "", confidence]
        for number, species, confidence in found
    ]
    path = results.detections(DAY)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(path)
    recordings = [{"recording": NAME, "sample_rate": rate, "windows": heard}]
    write_receipt(results.detections_receipt(DAY), {"verdict": verdict, "recordings": recordings})


FOUND = [(0, "owl", 0.3), (0, "wren", 0.9), (1, "owl", 0.2), (3, "rook", 0.1)]


def labelled(results, windows, confidence=0.1):
    link = link_birdnet(results, windows)
    return birdnet_labels(results, windows, link, (confidence,))[0]


def test_windows_of_3_s_take_the_same_windows_detections(tmp_path):
    results = Results(tmp_path)
    write_birdnet(results, 4, FOUND)
    labels = labelled(results, windows_of(3.0, 5))
    assert labels.top.tolist() == ["wren", "owl", None, "rook", None]
    assert labels.known.tolist() == [True, True, True, True, False]  # it heard four windows only
    assert labels.species == ["owl", "rook", "wren"]
    assert labels.present.toarray()[0].tolist() == [1, 0, 1]


def test_a_confidence_counts_from_its_own_value_on(tmp_path):
    results = Results(tmp_path)
    write_birdnet(results, 4, FOUND)
    for confidence, expected in [
        (0.1, ["wren", "owl", None, "rook"]),
        (0.11, ["wren", "owl", None, None]),
        (0.25, ["wren", None, None, None]),
        (0.95, [None] * 4),
    ]:
        labels = labelled(results, windows_of(3.0, 4), confidence)
        assert labels.top.tolist() == expected
        assert labels.known.all()


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        # 1 s: each lies within one BirdNET window.
        (1.0, 5, ["wren", "wren", "wren", "owl", "owl"]),
        # 2 s: the second lies half in each and takes the surer.
        (2.0, 4, ["wren", "wren", "owl", None]),
        # 9 s: three BirdNET windows each.
        (9.0, 2, ["wren", "rook"]),
        # 4 s: 0-4 holds the first and 1 s of the second (less than half of it).
        (4.0, 2, ["wren", "owl"]),
    ],
)
def test_windows_of_other_lengths_are_joined_by_overlap(tmp_path, length, count, expected):
    results = Results(tmp_path)
    write_birdnet(results, 6, FOUND)
    assert labelled(results, windows_of(length, count)).top.tolist() == expected


def test_every_window_in_reach_of_birdnet_has_a_partner(tmp_path):
    results = Results(tmp_path)
    write_birdnet(results, 100, [])
    for length in (0.5, 1.0, 1.7, 2.5, 2.9, 3.0, 3.1, 4.4, 5.0, 7.3, 10.0):
        windows = windows_of(length, int(290 / length))
        assert labelled(results, windows).known.all(), length


def test_no_detections_at_all(tmp_path):
    results = Results(tmp_path)
    write_birdnet(results, 4, [])
    labels = labelled(results, windows_of(3.0, 4))
    assert labels.known.all()
    assert not labels.labelled.any()
    assert labels.species == []
    assert labels.present.shape == (4, 0)


def test_a_day_that_birdnet_set_aside_or_never_saw_is_not_silence(tmp_path):
    results = Results(tmp_path)
    assert not labelled(results, windows_of(3.0, 4)).known.any()
    write_birdnet(results, 4, FOUND, verdict=SET_ASIDE)
    assert not labelled(results, windows_of(3.0, 4)).known.any()


def boxes(*rows, **more) -> pl.DataFrame:
    names = ("recording", "start_s", "end_s", "species", "song")
    table = pl.DataFrame(rows, schema=names, orient="row")
    return table.with_columns(low_hz=pl.lit(1000.0), high_hz=pl.lit(2000.0), **more)


def annotated(table: pl.DataFrame, count: int = 4, **evaluation):
    settings = Settings.model_validate({"evaluation": evaluation})
    return annotation_labels(settings, windows_of(3.0, count), table)


def test_the_box_with_the_largest_overlap_leads_and_others_are_kept():
    table = boxes((NAME, 0.5, 1.5, "wren", True), (NAME, 1.0, 4.0, "owl", True))
    labels = annotated(table)
    assert labels.top.tolist() == ["owl", "owl", None, None]
    assert labels.species == ["owl", "wren"]
    assert labels.present.toarray()[:2].tolist() == [[1, 1], [1, 0]]
    assert labels.known.all()


def test_min_overlap_of_the_window_or_of_the_box():
    # 0.2 s of a 2-s box reach into the second window: 7 % of the window, 10 % of the box.
    table = boxes((NAME, 1.2, 3.2, "wren", True))
    assert annotated(table, min_overlap=0.1).top.tolist() == ["wren", "wren", None, None]
    assert annotated(table, min_overlap=0.11).top.tolist() == ["wren", None, None, None]
    # A whole call of 0.05 s counts, however short it is.
    short = boxes((NAME, 4.0, 4.05, "wren", True))
    assert annotated(short, min_overlap=0.5).top.tolist() == [None, "wren", None, None]


def test_a_long_box_labels_every_window_it_covers():
    assert annotated(boxes((NAME, 0.0, 12.0, "wren", True))).top.tolist() == ["wren"] * 4


def test_noise_says_that_somebody_listened_and_no_more():
    labels = annotated(boxes((NAME, 0.0, 12.0, "rain", False)))
    assert labels.known.all()
    assert not labels.labelled.any()


def test_a_recording_nobody_annotated_is_not_known_to_be_silent():
    labels = annotated(boxes(("R1/other.wav", 0.0, 12.0, "wren", True)))
    assert not labels.known.any()
    assert not labels.labelled.any()


def test_equal_overlaps_go_to_the_earlier_box_then_by_name():
    table = boxes((NAME, 1.5, 2.5, "a", True), (NAME, 0.5, 1.5, "z", True))
    assert annotated(table).top[0] == "z"
    same = boxes((NAME, 0.5, 1.5, "z", True), (NAME, 0.5, 1.5, "b", True))
    assert annotated(same).top[0] == "b"


def test_reading_boxes(tmp_path):
    path = tmp_path / "truth.parquet"
    row = {"recording": NAME, "start_s": 0, "end_s": 1.0, "species": "wren"}
    pl.DataFrame([row]).write_parquet(path)
    table = read_boxes(path)
    assert table["song"].to_list() == [True]  # without a column 'kind', all are song
    assert table["low_hz"].to_list() == [None]
    pl.DataFrame([row | {"kind": "noise"}]).write_parquet(path)
    assert read_boxes(path)["song"].to_list() == [False]


def test_wrong_annotations_are_named(tmp_path):
    path = tmp_path / "truth.parquet"
    with pytest.raises(DawnChorusError, match=r"is not there; check evaluation\.annotations"):
        read_boxes(path)
    path.write_text("recording,start_s\n")
    with pytest.raises(DawnChorusError, match="is no Parquet table"):
        read_boxes(path)
    pl.DataFrame({"recording": ["a"], "start_s": [0.0]}).write_parquet(path)
    with pytest.raises(DawnChorusError, match="lacks the columns end_s, species"):
        read_boxes(path)
