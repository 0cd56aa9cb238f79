"""Assignment: the nearest centroid for every window, day by day, no other day touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_distances

from dawnchorus.clustering.assignment import assign_day
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.fitted import load_clusters
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import SET_ASIDE, RecorderDay, read_receipt, write_receipt
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, blobs, files

DAY = RecorderDay("REC01", "2021-06-01")
NEW = RecorderDay("REC01", "2021-06-02")


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    season.add_embeddings(DAY, blobs(700, 4, spread=1.0)[0])
    season.set_pool([DAY])
    fit(season.settings, season.results, EXPERIMENT)
    return season


def test_every_window_with_its_nearest_centroid(season: Season) -> None:
    receipt = assign_day(season.settings, season.results, EXPERIMENT, DAY)
    table = pl.read_parquet(season.paths.assignment(DAY))
    assert table.columns == ["recording", "offset", "time", "cluster", "distance"]
    store = VectorStore.open(season.paths.embeddings(DAY))
    assert table["recording"].to_list() == store.windows.names().tolist()
    np.testing.assert_array_equal(table["offset"].to_numpy(), store.offset)
    np.testing.assert_array_equal(table["time"].to_numpy(), store.time)
    centroids = load_clusters(season.paths.centroids).centroids
    wanted = cosine_distances(store.read().astype(np.float64), centroids.astype(np.float64))
    np.testing.assert_array_equal(table["cluster"].to_numpy(), wanted.argmin(axis=1))
    np.testing.assert_allclose(table["distance"].to_numpy(), wanted.min(axis=1), atol=1e-6)
    assert receipt["windows"] == 700
    assert receipt["mean_distance"] == pytest.approx(wanted.min(axis=1).mean(), abs=1e-6)


def test_members_agree_with_the_assignment(season: Season) -> None:
    assign_day(season.settings, season.results, EXPERIMENT, DAY)
    both = pl.read_parquet(season.paths.members).join(
        pl.read_parquet(season.paths.assignment(DAY)), on=["recording", "offset"]
    )
    assert both.height == 500
    assert (both["cluster"] == both["cluster_right"]).all()
    np.testing.assert_allclose(both["distance"], both["distance_right"], atol=1e-7)


def test_a_new_day_changes_no_other(season: Season) -> None:
    assign_day(season.settings, season.results, EXPERIMENT, DAY)
    before = files(season.paths.root / "clusters")
    season.add_embeddings(NEW, blobs(90, 4, seed=4)[0])
    assign_day(season.settings, season.results, EXPERIMENT, NEW)
    after = files(season.paths.root / "clusters")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"REC01/2021-06-02.parquet", "REC01/2021-06-02.json"}


def test_blocks_make_no_difference(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    assign_day(season.settings, season.results, EXPERIMENT, DAY)
    whole = pl.read_parquet(season.paths.assignment(DAY))
    blocks = VectorStore.blocks
    monkeypatch.setattr(VectorStore, "blocks", lambda store: blocks(store, 33))
    season.paths.assignment(DAY).unlink()
    assign_day(season.settings, season.results, EXPERIMENT, DAY)
    parts = pl.read_parquet(season.paths.assignment(DAY))
    assert whole.equals(parts)


def test_done_already(season: Season) -> None:
    first = assign_day(season.settings, season.results, EXPERIMENT, DAY)
    before = season.paths.assignment(DAY).stat().st_mtime_ns
    assert assign_day(season.settings, season.results, EXPERIMENT, DAY) == first
    assert season.paths.assignment(DAY).stat().st_mtime_ns == before
    season.changes["clustering"] = {"seed": 3, "k": 5}
    fit(season.settings, season.results, EXPERIMENT)
    second = assign_day(season.settings, season.results, EXPERIMENT, DAY)
    assert second["fingerprint"] != first["fingerprint"]
    assert pl.read_parquet(season.paths.assignment(DAY))["cluster"].max() == 4


def test_set_aside(season: Season) -> None:
    assign_day(season.settings, season.results, EXPERIMENT, DAY)
    write_receipt(
        season.paths.embeddings_receipt(DAY),
        {"verdict": SET_ASIDE, "windows": 0, "reason": "all files empty"},
    )
    receipt = assign_day(season.settings, season.results, EXPERIMENT, DAY)
    assert (receipt["verdict"], receipt["windows"]) == (SET_ASIDE, 0)
    assert receipt["reason"] == "all files empty"
    assert not season.paths.assignment(DAY).exists()
    assert read_receipt(season.paths.assignment_receipt(DAY)) == receipt


def test_clusters_of_another_model(season: Season) -> None:
    season.add_embeddings(NEW, blobs(9, 4)[0], model="model-2")
    with pytest.raises(DawnChorusError, match="another model"):
        assign_day(season.settings, season.results, EXPERIMENT, NEW)


def test_not_embedded_yet(season: Season) -> None:
    with pytest.raises(DawnChorusError, match=r"2021-06-02\.json: is not there"):
        assign_day(season.settings, season.results, EXPERIMENT, NEW)
