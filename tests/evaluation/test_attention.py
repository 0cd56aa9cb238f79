"""Geometry of boxes against a raster, and the three figures by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.evaluation.attention import area, attention_figures, clip, common_area, score
from dawnchorus.evaluation.labels import read_boxes
from dawnchorus.results import Results
from dawnchorus.spectrograms.mel import mel_of

FRAME = (0.0, 12.0, 0.0, 12.0)
edges = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted).filter(lambda e: e[0] < e[1])
boxes = st.lists(st.tuples(edges, edges), min_size=0, max_size=6).map(
    lambda found: np.array([[*across, *up] for across, up in found], float).reshape(-1, 4)
)


def raster(found) -> np.ndarray:
    cells = np.zeros((12, 12), bool)
    for start, end, low, high in found.astype(int):
        cells[start:end, low:high] = True
    return cells


@settings(deadline=None)
@given(boxes, boxes)
def test_areas_equal_a_raster(first, second):
    assert area(first) == raster(first).sum()
    assert common_area(first, second) == (raster(first) & raster(second)).sum()


def test_clip_cuts_and_drops():
    found = np.array([[-1, 2, 3, 20], [13, 14, 1, 2], [3, 4, 5, 6]], float)
    assert clip(found, FRAME).tolist() == [[0, 2, 3, 12], [3, 4, 5, 6]]


def test_figures_of_one_window_by_hand():
    song = np.array([[2, 6, 4, 8]], float)  # 16 of 144
    attended = np.array([[4, 8, 4, 8], [0, 2, 0, 1]], float)  # half of the first lies in the song
    found = score(attended, np.array([0.6, 0.2]), song, FRAME)
    assert found.energy == pytest.approx(0.6 * 0.5 / 0.8)
    # Densest: 0.2 / 2 against 0.6 / 16; its middle (1, 0.5) is off the song.
    assert found.pointing == 0.0
    assert found.overlap == pytest.approx(8 / (16 + 2 + 16 - 8))
    assert found.chance == pytest.approx(16 / 144)


def test_attention_everywhere_gives_chance_and_on_the_song_gives_one():
    song = np.array([[1, 4, 2, 5], [3, 6, 4, 9]], float)
    everywhere = score(np.array([FRAME]), np.array([1.0]), song, FRAME)
    assert everywhere.energy == pytest.approx(everywhere.chance)
    assert everywhere.overlap == pytest.approx(everywhere.chance)
    on_it = score(song, np.array([0.5, 0.5]), song, FRAME)
    assert (on_it.energy, on_it.pointing, on_it.overlap) == pytest.approx((1, 1, 1))


def test_windows_without_song_do_not_count_and_without_attention_score_zero():
    outside = np.array([[20, 22, 1, 2]], float)
    assert score(np.array([FRAME]), np.array([1.0]), outside, FRAME) is None
    nothing = score(np.empty((0, 4)), np.empty(0), np.array([[1, 2, 1, 2]], float), FRAME)
    assert (nothing.energy, nothing.pointing, nothing.overlap) == (0, 0, 0)


def test_figures_of_an_experiment(season):
    """Attention boxes that are the songs score 1, whole windows score chance; others do not count."""
    songs = pl.read_parquet(season.truth).filter(pl.col("kind") == "song")
    day = season.all_days[0]
    window = {
        "recorder": day.recorder,
        "date": day.date,
        "recording": season.name(day),
        "offset": 0,
        "cluster": 0,
    }
    first = songs.filter(pl.col("recording") == season.name(day)).row(0, named=True)
    on_it = window | {"head": -1, "mass": 0.6}
    on_it |= {key: first[key] for key in ("start_s", "end_s", "low_hz", "high_hz")}
    astray = on_it | {"head": 2, "low_hz": 3000.0, "high_hz": 3800.0}  # one head's: not looked at
    # A silent window (the fourth of the plan) is central too, but has no annotated box.
    silent = window | {"offset": 3 * 3 * 8000}
    folder = season.results.experiment("toy").attention
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([on_it, astray]).write_parquet(folder / "boxes.parquet")
    pl.DataFrame([window | {"rank": 0}, silent | {"rank": 1}]).write_parquet(
        folder / "windows.parquet"
    )
    boxes = read_boxes(season.truth)
    found = {
        one.metric: one for one in attention_figures(season.settings, season.results, "toy", boxes)
    }
    assert [one.value for one in found.values()] == pytest.approx([1.0, 1.0, 1.0])
    high, low = mel_of(first["high_hz"]), mel_of(first["low_hz"])
    share = (high - low) / (mel_of(3900.0) - mel_of(150.0)) / 3.0
    assert found["energy_in_boxes"].chance == pytest.approx(float(share))
    assert {one.windows for one in found.values()} == {1}


@pytest.mark.parametrize("case", ["no annotations", "no frequencies", "not computed"])
def test_why_there_are_no_figures(season, case, tmp_path):
    boxes = None if case == "no annotations" else read_boxes(season.truth)
    if case == "no frequencies":
        boxes = boxes.with_columns(low_hz=pl.lit(None, pl.Float64))
    found = attention_figures(season.settings, Results(tmp_path), "toy", boxes)
    assert all(one.value is None and one.windows == 0 for one in found)
    expected = {
        "no annotations": "there are no annotations",
        "no frequencies": "the annotations have no boxes with frequencies",
        "not computed": "the attention was not computed",
    }
    assert {one.note for one in found} == {expected[case]}
