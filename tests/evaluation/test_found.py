"""Songs and boxes by hand, the ceiling against brute force, and every map of a season side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from dawnchorus.attention.attend import attend
from dawnchorus.attention.masks import PatchGrid
from dawnchorus.clustering.fit import fit
from dawnchorus.embedding.day import embed_day
from dawnchorus.evaluation.attention_songs import covered, map_figures
from dawnchorus.evaluation.box_precision import average_precision, matched
from dawnchorus.evaluation.found import best_overlaps, ceiling, overlaps, songs_in_windows
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms.store import SpectrogramStore
from embedding.season import EXPERIMENT, NATIVE_RATE, Season, random_codes

EDGES = ["start_s", "end_s", "low_hz", "high_hz"]


def test_overlap_by_hand() -> None:
    first = np.array([[0, 2, 0, 2], [5, 6, 0, 1]], float)
    second = np.array([[1, 3, 0, 2], [0, 2, 0, 2], [0, 2, 2, 4]], float)
    expected = [[2 / 6, 1.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(overlaps(first, second), expected)


def test_a_song_is_looked_for_where_most_of_it_is() -> None:
    songs = pl.DataFrame(
        {
            "recording": ["a", "a", "b", "a"],
            "start_s": [2.5, 2.9, 0.0, 20.0],
            "end_s": [3.2, 5.0, 1.0, 21.0],
            "low_hz": [100.0, 1000.0, 1000.0, 1000.0],
            "high_hz": [500.0, 2000.0, 2000.0, 2000.0],
            "species": ["wren", "rail", "rail", "rail"],
        }
    )
    windows = pl.DataFrame(
        {"recording": ["a", "a", "b"], "start_s": [0.0, 3.0, 0.0], "window": [10, 11, 12]}
    )
    found = songs_in_windows(songs, windows, 3.0, (150.0, 1500.0))
    assert found["window"].to_list() == [10, 11, 12]
    assert found.select(EDGES).rows() == [
        (2.5, 3.0, 150.0, 500.0),
        (3.0, 5.0, 1000.0, 1500.0),
        (0.0, 1.0, 1000.0, 1500.0),
    ]
    every = songs_in_windows(songs, windows, 3.0, (150.0, 1500.0), every_window=True)
    assert sorted(every["window"]) == [10, 10, 11, 11, 12]
    boxes = {10: np.array([[2.5, 3.0, 150, 325], [0, 1, 150, 500]], float), 12: np.empty((0, 4))}
    assert best_overlaps(found, boxes).tolist() == pytest.approx([0.5, 0.0, 0.0])


def test_the_ceiling_is_what_trying_all_boxes_finds() -> None:
    low, step = np.arange(0.0, 800, 100), 0.25
    columns = np.arange(12) * step
    grid = PatchGrid.of(low, low + 150, columns + step / 2, step, (1, 1))
    random = np.random.default_rng(0)
    start, low_edge = random.uniform(0, 2, 12), random.uniform(0, 500, 12)
    songs = pl.DataFrame(
        {
            "window": np.zeros(12, int),
            "start_s": 30 + start,
            "end_s": 30 + start + random.uniform(0.05, 1, 12),
            "low_hz": low_edge,
            "high_hz": low_edge + random.uniform(20, 300, 12),
        }
    )
    boxes = np.array(
        [
            [a, b, c, d]
            for a in grid.start_s
            for b in grid.end_s[grid.end_s > a]
            for c in grid.low_hz
            for d in grid.high_hz[grid.high_hz > c]
        ]
    )
    edges = songs.select(EDGES).to_numpy() - np.array([30, 30, 0, 0])
    expected = overlaps(edges, boxes).max(axis=1)
    np.testing.assert_allclose(ceiling(songs, grid, np.array([30.0])), expected)


def test_every_map_of_a_season(tmp_path: Path) -> None:
    season = Season(tmp_path / "results")
    season.changes["attention"] = {"windows_per_cluster": 2, "source": "heads", "finer": 1}
    day = RecorderDay("REC01", "2021-06-01")
    season.add_spectrograms(day, random_codes(40))
    season.add_model()
    season.set_pool([day])
    embed_day(season.settings, season.results, EXPERIMENT, day)
    fit(season.settings, season.results, EXPERIMENT)
    attend(season.settings, season.results, EXPERIMENT)
    boxes = pl.read_parquet(season.paths.attention / "boxes.parquet").filter(pl.col("head") == -1)
    strongest = boxes.group_by("recording", "offset", maintain_order=True).first()
    songs = strongest.select("recording", *EDGES, snr_db=pl.lit(7.0))
    faint = songs.with_columns(low_hz=pl.lit(200.0), high_hz=pl.lit(210.0), snr_db=pl.lit(5.0))
    rate = dict.fromkeys(songs["recording"], NATIVE_RATE)
    settings = season.settings
    found = map_figures(settings, season.results, EXPERIMENT, pl.concat([songs, faint]), rate)
    value = {(one.map, one.metric): one for one in found}
    assert {one.map for one in found} == {
        *("heads", "departure", "pooled", "similarity", "norm", "energy"),
        *(f"head {head}" for head in range(1, 5)),
    }
    # The faint ones are not looked for; the others are the boxes themselves.
    assert value["heads", "songs_found"].value == 1.0
    assert value["heads", "songs_found"].windows == songs.height
    assert value["heads", "song_overlap"].value == pytest.approx(1.0)
    assert 0 < value["energy", "song_overlap"].value < 1
    assert value["heads", "energy_in_boxes"].value > value["heads", "energy_in_boxes"].chance
    # The faint ones count here, and no box finds them.
    precision = value["heads", "average_precision"]
    assert 0 < precision.value <= 0.5
    # The song's share of a window's power, counted once more.
    store = SpectrogramStore.open(season.results.spectrograms(day))
    shares = []
    for song in strongest.iter_rows(named=True):
        (row,) = store.find([song["recording"]], [song["offset"]])
        power = 10 ** (store.db(store.codes(row, row + 1))[0].astype(float) / 10)
        start = song["offset"] / NATIVE_RATE
        edges = [
            [song["start_s"] - start, song["end_s"] - start, song["low_hz"], song["high_hz"]],
            [song["start_s"] - start, song["end_s"] - start, 200.0, 210.0],
        ]
        inside = covered(np.array(edges), store.band_frequency, store.frame_time)
        shares.append(power[inside].sum() / power.sum())
    one = value["heads", "song_energy"]
    assert one.chance == pytest.approx(np.mean(shares), rel=1e-4)
    assert one.value > one.chance
    nothing = songs.with_columns(start_s=pl.lit(1e6), end_s=pl.lit(1e6 + 1))
    assert map_figures(settings, season.results, EXPERIMENT, nothing, rate) == []


def test_average_precision_is_sklearns_over_all_songs() -> None:
    """With every song found it is scikit-learn's; songs that no box finds count as 0; groups weigh."""
    random = np.random.default_rng(3)
    scores = random.integers(0, 12, 60) / 12
    found = random.random(60) < scores
    ours = average_precision(scores, found, np.ones(60), float(found.sum()))
    assert ours == pytest.approx(average_precision_score(found, scores))
    assert average_precision(scores, found, np.ones(60), 2.0 * found.sum()) == pytest.approx(
        ours / 2
    )
    weight = random.integers(0, 3, 60).astype(float)
    expected = average_precision_score(found, scores, sample_weight=weight)
    songs = float(weight[found].sum())
    assert average_precision(scores, found, weight, songs) == pytest.approx(expected)
    assert np.isnan(average_precision(scores, found, np.ones(60), 0.0))
    assert average_precision(np.empty(0), np.empty(0, bool), np.empty(0), 3.0) == 0.0


def test_a_song_is_found_once_by_the_surest_box() -> None:
    song = [0.0, 1.0, 100.0, 200.0]
    beside = [5.0, 6.0, 100.0, 200.0]
    half = [0.0, 1.0, 100.0, 150.0]
    far = [8.0, 9.0, 100.0, 200.0]
    boxes, songs = np.array([song, half, beside, far]), np.array([song, beside])
    assert matched(boxes, np.array([0.1, 0.9, 0.5, 1.0]), songs).tolist() == [
        False,
        True,
        True,
        False,
    ]
    assert matched(boxes, np.array([0.9, 0.1, 0.5, 1.0]), songs).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert not matched(boxes, np.ones(4), np.empty((0, 4))).any()
