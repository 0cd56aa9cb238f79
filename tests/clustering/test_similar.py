"""Search: exact, whatever the blocks, the workers, and with or without preparation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from dawnchorus.clustering import similar
from dawnchorus.clustering.fit_sample import embedded_days
from dawnchorus.clustering.prepared import encode, open_prepared, prepare
from dawnchorus.clustering.similar import FOUND, Exclusion, most_similar
from dawnchorus.clustering.sphere import unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import RecorderDay
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay("REC01", "2021-06-01"), RecorderDay("REC01", "2021-06-02"), RecorderDay("REC02", "2021-06-01")]  # fmt: skip


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(230, 4, spread=1.0, seed=number)[0])
    return season


def everything(season: Season) -> np.ndarray:
    return np.concatenate([blobs(230, 4, spread=1.0, seed=n)[0] for n in range(len(DAYS))])


def looked(season: Season, queries: np.ndarray, count: int = 10, **options) -> pl.DataFrame:
    days = embedded_days(season.results, EXPERIMENT, DAYS)
    return most_similar(season.results, EXPERIMENT, days, queries, count, **options)


def rows_of(found: pl.DataFrame, query: int) -> np.ndarray:
    mine = found.filter(pl.col("query") == query)
    days = [DAYS.index(RecorderDay(*pair)) for pair in mine.select("recorder", "date").iter_rows()]
    second = mine["recording"].str.ends_with("_1.wav").to_numpy() * 115
    within = mine["offset"].to_numpy() // 36_000
    return np.array(days) * 230 + second + within


def test_the_same_as_scikit_learn(season: Season) -> None:
    queries = np.random.default_rng(3).normal(size=(6, 16)) * 40
    found = looked(season, queries)
    assert list(found.columns) == list(FOUND)
    index = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute")
    distance, expected = index.fit(everything(season).astype(np.float64)).kneighbors(queries)
    for query in range(len(queries)):
        np.testing.assert_array_equal(rows_of(found, query), expected[query])
        mine = found.filter(pl.col("query") == query)
        assert mine["rank"].to_list() == list(range(1, 11))
        np.testing.assert_allclose(mine["similarity"], 1 - distance[query], atol=1e-6)


def test_blocks_workers_and_preparation_change_nothing(season: Season, monkeypatch) -> None:
    queries = np.random.default_rng(4).normal(size=(3, 16))
    whole = looked(season, queries, 25)
    assert whole.equals(looked(season, queries, 25, block=7, workers=3))
    days = embedded_days(season.results, EXPERIMENT, DAYS)
    made = prepare(season.results, EXPERIMENT, days[:2])
    assert made == {"recorder_days": 2, "windows": 460, "made": 2}
    assert whole.equals(looked(season, queries, 25, block=50))
    # Candidates that pile up are compared on the way.
    monkeypatch.setattr(similar, "MOST_WAITING", 1)
    assert whole.equals(looked(season, queries, 25, workers=2))


def test_codes_keep_within_their_bound(season: Season) -> None:
    vectors = unit(everything(season))
    records = encode(vectors)
    back = records["code"] * records["scale"][:, None].astype(np.float64)
    away = np.linalg.norm(back - vectors, axis=1)
    bound = records["scale"] * np.sqrt(16) / 2
    assert (away <= bound * (1 + 1e-3)).all()
    assert bound.max() < 1e-4


def test_equal_windows_stand_in_the_order_of_the_season(season: Season) -> None:
    """Fifty times the same vector, in three recorder-days: more than are wanted."""
    same = np.ones(16, np.float32)
    for day in DAYS:
        vectors = blobs(60, 4, seed=9)[0]
        vectors[5:55] = same * np.linspace(0.5, 2, 50, dtype=np.float32)[:, None]
        season.add_embeddings(day, vectors)
    for prepared in (False, True):
        if prepared:
            prepare(season.results, EXPERIMENT, embedded_days(season.results, EXPERIMENT, DAYS))
        found = looked(season, same[None], 20, block=8)
        assert found["recorder"].unique().to_list() == ["REC01"]
        assert found["date"].unique().to_list() == ["2021-06-01"]
        assert found.sort("recording", "offset").equals(found)
        assert found["similarity"].min() > 1 - 1e-6


def test_what_is_excluded_is_not_found(season: Season) -> None:
    store = season.windows(DAYS[1], 230)
    query = blobs(230, 4, spread=1.0, seed=1)[0][[40]]
    name, offset = store.recordings[0], int(store.offset[40])
    first = looked(season, query, 3).row(0, named=True)
    assert (first["recording"], first["offset"]) == (name, offset)
    assert first["similarity"] == pytest.approx(1, abs=1e-6)
    found = looked(season, query, 3, exclude=[Exclusion(DAYS[1], name, offset)])
    assert (name, offset) not in set(found.select("recording", "offset").iter_rows())
    found = looked(season, query, 400, exclude=[Exclusion(DAYS[1], name)])
    assert found.height == 400 and name not in set(found["recording"])


def test_a_new_day_is_added_and_a_changed_one_is_not_believed(season: Season) -> None:
    days = embedded_days(season.results, EXPERIMENT, DAYS)
    prepare(season.results, EXPERIMENT, days[:2])
    folder = season.paths.root / "search"
    before = files(folder)
    assert prepare(season.results, EXPERIMENT, days)["made"] == 1
    after = files(folder)
    assert {name: after[name] for name in before} == before
    season.add_embeddings(DAYS[0], blobs(90, 4, seed=77)[0])
    changed = embedded_days(season.results, EXPERIMENT, DAYS)
    assert open_prepared(season.results, EXPERIMENT, changed[0]) is None
    query = blobs(90, 4, seed=77)[0][[8]]
    found = most_similar(season.results, EXPERIMENT, changed, query, 1)
    assert found["similarity"][0] == pytest.approx(1, abs=1e-6)
    assert prepare(season.results, EXPERIMENT, changed)["made"] == 1
    season.paths.prepared(DAYS[0]).write_bytes(b"nothing of the kind")
    with pytest.raises(DawnChorusError, match="made again"):
        most_similar(season.results, EXPERIMENT, changed, query, 1)
