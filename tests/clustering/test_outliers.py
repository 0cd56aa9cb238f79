"""Outliers: the measures equal scikit-learn's, old days stay as they are, what is planted comes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from dawnchorus.clustering.assignment import assign_all
from dawnchorus.clustering.crowding import local_outlier_factor, nearest_others, reachable_density
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.fitted import load_clusters
from dawnchorus.clustering.outlier_lists import WINDOWS, robust_z, season_lists
from dawnchorus.clustering.outliers import find_outliers
from dawnchorus.clustering.reference import load_reference, make_reference
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import RecorderDay
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay(recorder, f"2021-06-0{day}") for recorder in ("REC01", "REC02") for day in (1, 2, 3, 4, 5)]  # fmt: skip
NEW = RecorderDay("REC02", "2021-06-09")
PLANTED = {0: 17, 6: 50}


def vectors_of(number: int) -> np.ndarray:
    vectors = np.random.default_rng([3, number]).normal(size=(72, 16)).astype(np.float32)
    kind = np.random.default_rng([4, number]).integers(0, 4, 72)
    vectors += 6 * np.eye(16, dtype=np.float32)[kind]
    if number in PLANTED:  # the same rare thing on two days
        vectors[PLANTED[number]] = -12 * np.eye(16, dtype=np.float32)[9]
    if number == 2:  # all windows of a day, moved
        vectors = 0.3 * vectors + 5 * np.eye(16, dtype=np.float32)[12]
    return vectors


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    season.changes["outliers"] = {"neighbours": 8}
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, vectors_of(number))
    season.set_pool(DAYS)
    fit(season.settings, season.results, EXPERIMENT)
    assign_all(season.settings, season.results, EXPERIMENT)
    return season


def found(season: Season, days=DAYS, **options) -> dict:
    return find_outliers(season.settings, season.results, EXPERIMENT, days, **options)


def test_neighbours_and_factor_are_scikit_learns() -> None:
    """Every vector a group of its own: nothing but itself is left out, as in scikit-learn."""
    others = blobs(150, 4, spread=1.5)[0]
    group = np.arange(150)
    near = nearest_others(others, group, others, group, 7, block=13)
    distance, index = NearestNeighbors(n_neighbors=7).fit(others).kneighbors()
    np.testing.assert_array_equal(near.index, index)
    np.testing.assert_allclose(near.distance, distance, rtol=1e-5)
    reach = near.distance[:, -1].astype(float)
    density = reachable_density(near, reach)
    expected = LocalOutlierFactor(n_neighbors=7).fit(others).negative_outlier_factor_
    np.testing.assert_allclose(local_outlier_factor(near, density, density), -expected, rtol=1e-4)

    new = blobs(40, 4, spread=2.0, seed=5)[0]
    near = nearest_others(new, np.full(40, -1), others, group, 7)
    oracle = LocalOutlierFactor(n_neighbors=7, novelty=True).fit(others)
    factor = local_outlier_factor(near, reachable_density(near, reach), density)
    np.testing.assert_allclose(factor, -oracle.score_samples(new), rtol=1e-4)


def test_a_group_is_not_its_own_company() -> None:
    vectors = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]], np.float32)
    group = np.array([0, 0, 0, 1, 1, 2])
    near = nearest_others(vectors, group, vectors, group, 2)
    assert near.index.tolist() == [[3, 4], [3, 4], [3, 4], [5, 2], [5, 2], [4, 3]]


def test_scores_are_what_they_are_said_to_be(season: Season) -> None:
    receipt = found(season)
    whole = np.concatenate([vectors_of(number) for number in range(len(DAYS))]).astype(float)
    parts = PCA(0.95, whiten=True).fit(whole)
    group = np.repeat(np.arange(len(DAYS)), 72)
    mine = pl.read_parquet(season.paths.outlier_scores(DAYS[1]))
    rest = NearestNeighbors(n_neighbors=8).fit(parts.transform(whole[group != 1]))
    distance, _ = rest.kneighbors(parts.transform(vectors_of(1).astype(float)))
    np.testing.assert_allclose(mine["neighbour_distance"], distance.mean(axis=1), rtol=1e-4)
    assigned = pl.read_parquet(season.paths.assignment(DAYS[1]))
    assert (mine["centroid_distance"] == assigned["distance"]).all()
    assert (mine["cluster"] == assigned["cluster"]).all()
    # In the reference's own measure all windows together have mean 0: they are the reference here.
    scores = pl.concat([pl.read_parquet(season.paths.outlier_scores(day)) for day in DAYS])
    assert receipt["windows"] == receipt["reference_windows"] == scores.height == 720
    assert abs(float(scores["score"].mean())) < 1e-4
    assert receipt["company"] == "windows of another recorder-day"


def test_what_is_planted_comes_first(season: Season) -> None:
    found(season)
    days = pl.read_parquet(season.paths.outliers("days"))
    assert days.row(0, named=True)["date"] == "2021-06-03"
    assert days.row(0, named=True)["recorder"] == "REC01"
    assert days["score"][0] > 3 > days["score"][1]
    assert "differs as a whole" in days["hint"][0] and days["hint"][1] == ""
    windows = pl.read_parquet(season.paths.outliers("windows"))
    assert windows.columns == list(WINDOWS)
    single = windows.filter(pl.col("day_score").is_null())
    first = {(row["recorder"], row["date"]) for row in single.head(2).iter_rows(named=True)}
    assert first == {("REC01", "2021-06-01"), ("REC02", "2021-06-02")}
    per_day = windows.group_by("recorder", "date").len()["len"]
    assert per_day.max() == season.settings.outliers.per_day
    told = pl.read_csv(season.paths.outliers("windows").with_suffix(".tsv"), separator="\t")
    assert told["recording"].to_list() == windows["recording"].to_list()
    assert windows["rank"].to_list() == list(range(1, windows.height + 1))


def test_a_new_day_is_scored_and_no_other_again(season: Season) -> None:
    found(season)
    folder = season.paths.root / "outliers"
    before = files(folder)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
    season.add_embeddings(NEW, vectors_of(9))
    assign_all(season.settings, season.results, EXPERIMENT)
    receipt = found(season, [*DAYS, NEW])
    assert receipt["windows"] == 792
    after = files(folder)
    assert {name for name in before if before[name] != after[name]} == {
        "days.parquet", "days.tsv", "windows.parquet", "windows.tsv", "outliers.json",
    }  # fmt: skip
    assert set(after) - set(before) == {"REC02/2021-06-09.parquet", "REC02/2021-06-09.json"}
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert str(NEW) in receipt["days"]
    # The new day alone gets the scores it gets among the others.
    season.paths.outlier_scores_receipt(NEW).unlink()
    found(season, [NEW])
    assert files(folder)["REC02/2021-06-09.parquet"] == after["REC02/2021-06-09.parquet"]


def test_workers_make_no_difference(season: Season) -> None:
    found(season)
    folder = season.paths.root / "outliers"
    one = files(folder)
    for path in [*folder.glob("*/*"), *folder.glob("*.*")]:
        path.unlink()
    found(season, workers=3)
    assert files(folder) == one


def test_windows_that_coincide_make_no_outliers_of_their_neighbours(season: Season) -> None:
    """Digital silence on every day, and one window that is all but silent."""
    silence = np.full(16, -3, np.float32)
    for number, day in enumerate(DAYS):
        vectors = vectors_of(number)
        vectors[:20] = silence
        if number == 5:
            vectors[3] += 0.01
        season.add_embeddings(day, vectors)
    fit(season.settings, season.results, EXPERIMENT)
    assign_all(season.settings, season.results, EXPERIMENT)
    found(season)
    scores = pl.read_parquet(season.paths.outlier_scores(DAYS[5]))
    assert scores["local_outlier_factor"][3] < 1.1
    assert scores["score"].rank(descending=True)[3] > 30


def test_lists_are_as_long_as_asked(season: Season) -> None:
    season.changes["outliers"] = {"neighbours": 8, "listed": 12, "per_day": 5}
    found(season)
    windows = pl.read_parquet(season.paths.outliers("windows"))
    assert windows["rank"].drop_nulls().to_list() == list(range(1, 13))
    of_recorder = windows.filter(pl.col("recorder") == "REC02")["recorder_rank"].to_list()
    assert of_recorder == list(range(1, 13))


def test_a_single_recorder_day_takes_its_recordings_apart(season: Season) -> None:
    season.set_pool(DAYS[:1])
    fit(season.settings, season.results, EXPERIMENT)
    assign_all(season.settings, season.results, EXPERIMENT)
    assert found(season, DAYS[:1])["company"] == "windows of another recording"
    assert pl.read_parquet(season.paths.outliers("days"))["score"].to_list() == [None]


def test_mistakes_are_one_line(season: Season) -> None:
    season.paths.assignment_receipt(DAYS[0]).unlink()
    with pytest.raises(DawnChorusError, match="is not there"):
        found(season)
    assign_all(season.settings, season.results, EXPERIMENT)
    season.add_embeddings(DAYS[0], vectors_of(0), model="model-2")
    with pytest.raises(DawnChorusError, match="different models"):
        found(season)
    with pytest.raises(DawnChorusError, match="outliers"):
        load_reference(season.root / "none")
    # A reference of another make is made anew.
    season.add_embeddings(DAYS[0], vectors_of(0))
    season.paths.outlier_reference.parent.mkdir(parents=True, exist_ok=True)
    season.paths.outlier_reference.write_bytes(b"nothing of the kind")
    clusters = load_clusters(season.paths.centroids)
    made = make_reference(season.settings, season.results, EXPERIMENT, clusters)
    assert len(made.vectors) == 720


def test_nothing_to_list(season: Season) -> None:
    empty = pl.DataFrame(schema={"recorder": pl.String, "date": pl.String, "score": pl.Float64})
    assert season_lists(season.results, empty, {}, 10, 3.0).height == 0
    np.testing.assert_allclose(robust_z(np.array([1.0, 1.0, 1.0])), 0)
    np.testing.assert_allclose(robust_z(np.array([0.0, 1.0, 2.0]))[2], 1 / 1.4826)
