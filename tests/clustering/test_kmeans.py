"""Spherical k-means: blobs found, every window with its nearest centroid, the same bytes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import cosine_distances
from threadpoolctl import threadpool_limits

from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.fit_sample import Selection, draw, embedded_days
from dawnchorus.clustering.fitted import load_clusters
from dawnchorus.clustering.kmeans import spherical_kmeans
from dawnchorus.clustering.sphere import nearest, unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import SET_ASIDE, RecorderDay, read_receipt, write_receipt
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay("REC01", "2021-06-01"), RecorderDay("REC02", "2021-06-01")]


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(400, 4, seed=number)[0])
    season.set_pool(DAYS)
    return season


@given(arrays(np.float32, (7, 5), elements=st.floats(-(2.0**50), 2.0**50, width=32)))
def test_unit_rows(rows: np.ndarray) -> None:
    found = unit(rows)
    length = np.linalg.norm(found.astype(np.float64), axis=1)
    zero = ~rows.any(axis=1)
    np.testing.assert_allclose(length[~zero], 1.0, atol=1e-6)
    assert not found[zero].any()


def test_nearest_is_brute_force() -> None:
    generator = np.random.default_rng(3)
    vectors = unit(generator.normal(size=(9000, 24)).astype(np.float32))
    centres = unit(generator.normal(size=(50, 24)).astype(np.float32))
    index, distance = nearest(vectors, centres)
    wanted = cosine_distances(vectors.astype(np.float64), centres.astype(np.float64))
    np.testing.assert_allclose(distance, wanted.min(axis=1), atol=1e-6)
    chosen = wanted[np.arange(len(vectors)), index]
    np.testing.assert_allclose(chosen, wanted.min(axis=1), atol=1e-6)
    assert (index == wanted.argmin(axis=1)).mean() > 0.999


def test_distance_is_exact_where_vectors_nearly_coincide() -> None:
    """1 - u.c in float32 would say 0 or -6e-8 here."""
    angle = 1e-4
    centre = np.array([[1.0, 0.0]], np.float32)
    vector = np.array([[np.cos(angle), np.sin(angle)]], np.float32)
    _, distance = nearest(vector, centre)
    np.testing.assert_allclose(distance, angle**2 / 2, rtol=1e-3)


def test_blobs_are_found_whatever_their_lengths() -> None:
    vectors, kind = blobs(1500, 6)
    centroids = spherical_kmeans(unit(vectors), 6, seed=0)
    cluster, _ = nearest(unit(vectors), centroids)
    assert adjusted_rand_score(kind, cluster) == 1.0


def test_a_fixed_point_of_the_spherical_iteration() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(2000, 12)).astype(np.float32))
    centroids = spherical_kmeans(vectors, 17, seed=0, restarts=2)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1.0, atol=1e-6)
    cosine = vectors.astype(np.float64) @ centroids.T.astype(np.float64)
    cluster = cosine.argmax(axis=1)
    means = np.stack([vectors[cluster == one].mean(axis=0) for one in range(17)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(centroids, means, atol=1e-4)
    sizes = np.bincount(cluster, minlength=17)
    assert (np.diff(sizes) <= 0).all()


def test_same_bytes_with_any_number_of_cores() -> None:
    vectors = unit(blobs(3000, 9, spread=0.8)[0])
    made = []
    for cores in (1, 2, 4):
        with threadpool_limits(limits=cores):
            made.append(spherical_kmeans(vectors, 12, seed=5).tobytes())
    assert len(set(made)) == 1


def test_fit_and_members(season: Season) -> None:
    receipt = fit(season.settings, season.results, EXPERIMENT)
    members = pl.read_parquet(season.paths.members)
    clusters = load_clusters(season.paths.centroids)
    assert members.columns == [
        *("recorder", "date", "recording", "offset", "time", "cluster", "distance")
    ]
    assert members.schema["time"] == pl.Datetime("us")
    assert (members.schema["cluster"], members.schema["distance"]) == (pl.Int32, pl.Float32)
    assert receipt["windows"] == members.height == 500
    assert receipt["available"] == 800
    assert members.unique(["recording", "offset"]).height == 500
    assert members.rows() == members.sort("recorder", "date", maintain_order=True).rows()
    # Every member's cluster and distance are those of its own vector in its own store.
    for day in DAYS:
        rows = members.filter(pl.col("recorder") == day.recorder)
        store = VectorStore.open(season.paths.embeddings(day))
        index = store.find(rows["recording"].to_list(), rows["offset"].to_numpy())
        assert (index >= 0).all()
        np.testing.assert_array_equal(store.time[index], rows["time"].to_numpy())
        wanted = cosine_distances(store.take(index).astype(np.float64), clusters.centroids)
        np.testing.assert_array_equal(wanted.argmin(axis=1), rows["cluster"].to_numpy())
        np.testing.assert_allclose(wanted.min(axis=1), rows["distance"].to_numpy(), atol=1e-6)
    sizes = np.bincount(members["cluster"].to_numpy(), minlength=4)
    assert receipt["sizes"] == sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    kinds = [blobs(400, 4, seed=number)[1] for number in range(2)]
    truth = np.concatenate(kinds)[drawn_rows(season, members)]
    assert adjusted_rand_score(truth, members["cluster"].to_numpy()) == 1.0


def drawn_rows(season: Season, members: pl.DataFrame) -> np.ndarray:
    rows = []
    for number, day in enumerate(DAYS):
        here = members.filter(pl.col("recorder") == day.recorder)
        store = VectorStore.open(season.paths.embeddings(day))
        rows.append(
            400 * number + store.find(here["recording"].to_list(), here["offset"].to_numpy())
        )
    return np.concatenate(rows)


def test_same_bytes_again(season: Season) -> None:
    fit(season.settings, season.results, EXPERIMENT)
    first = files(season.paths.root / "clusters")
    assert set(first) == {"centroids.safetensors", "members.parquet", "clusters.json"}
    for name in first:
        (season.paths.root / "clusters" / name).unlink()
    fit(season.settings, season.results, EXPERIMENT)
    assert files(season.paths.root / "clusters") == first
    assert str(season.root).encode() not in b"".join(first.values())


def test_done_already_until_something_changes(season: Season) -> None:
    first = fit(season.settings, season.results, EXPERIMENT)
    before = season.paths.centroids.stat().st_mtime_ns
    assert fit(season.settings, season.results, EXPERIMENT) == first
    assert season.paths.centroids.stat().st_mtime_ns == before
    season.changes["clustering"] = {"seed": 1}
    assert fit(season.settings, season.results, EXPERIMENT)["fingerprint"] != first["fingerprint"]
    season.changes.clear()
    season.add_embeddings(DAYS[0], blobs(400, 4, seed=8)[0])
    assert fit(season.settings, season.results, EXPERIMENT)["fingerprint"] != first["fingerprint"]


def test_new_days_do_not_change_the_fit(season: Season) -> None:
    first = fit(season.settings, season.results, EXPERIMENT)
    season.add_embeddings(RecorderDay("REC03", "2021-06-02"), blobs(50, 4, seed=9)[0])
    for path in (season.paths.centroids, season.paths.clusters_receipt):
        path.unlink()
    assert fit(season.settings, season.results, EXPERIMENT) == first


def test_more_clusters_than_windows(season: Season) -> None:
    season.changes["clustering"] = {"k": 501}
    with pytest.raises(
        DawnChorusError, match=r"clustering\.k: 501 clusters.*500 windows.*fit_windows"
    ):
        fit(season.settings, season.results, EXPERIMENT)
    season.changes["clustering"] = {"k": 900, "fit_windows": 10_000}
    with pytest.raises(DawnChorusError, match=r"clustering\.k: 900 .* 800 windows; set it to 800"):
        fit(season.settings, season.results, EXPERIMENT)
    assert not season.paths.centroids.exists()


def test_as_many_clusters_as_windows(season: Season) -> None:
    season.add_embeddings(DAYS[0], np.eye(6, 16, dtype=np.float32) * 3)
    season.set_pool(DAYS[:1])
    season.changes["clustering"] = {"k": 6}
    assert fit(season.settings, season.results, EXPERIMENT)["sizes"] == [1] * 6
    assert pl.read_parquet(season.paths.members)["distance"].max() < 1e-6


def test_too_few_different_windows(season: Season) -> None:
    alike = np.repeat(np.eye(3, 16, dtype=np.float32), 20, axis=0)
    season.add_embeddings(DAYS[0], alike)
    season.set_pool(DAYS[:1])
    with pytest.raises(DawnChorusError, match=r"clustering\.k: 4 clusters.* 3 different windows"):
        fit(season.settings, season.results, EXPERIMENT)
    season.changes["clustering"] = {"k": 3}
    assert fit(season.settings, season.results, EXPERIMENT)["sizes"] == [20] * 3


def test_pool_days_set_aside_or_missing(season: Season) -> None:
    aside = RecorderDay("REC04", "2021-06-01")
    season.set_pool([*DAYS, aside])
    with pytest.raises(DawnChorusError, match="is not there"):
        fit(season.settings, season.results, EXPERIMENT)
    write_receipt(season.paths.embeddings_receipt(aside), {"verdict": SET_ASIDE, "windows": 0})
    receipt = fit(season.settings, season.results, EXPERIMENT)
    assert receipt["pool"] == [[day.recorder, day.date] for day in DAYS]


def test_days_by_different_models(season: Season) -> None:
    season.add_embeddings(DAYS[1], blobs(30, 4)[0], model="model-2")
    with pytest.raises(DawnChorusError, match="different models"):
        fit(season.settings, season.results, EXPERIMENT)


def test_draw_is_uniform_seeded_and_reads_what_it_says(season: Season) -> None:
    days = embedded_days(season.results, EXPERIMENT, DAYS)
    whole = draw(Selection(season.results, EXPERIMENT), days, 10_000, seed=0)
    assert whole.vectors.shape[0] == whole.windows.height == whole.available == 800
    position = {
        key: row for row, key in enumerate(whole.windows.select("recording", "offset").iter_rows())
    }
    counts = np.zeros(800, dtype=int)
    for seed in range(200):
        sample = draw(Selection(season.results, EXPERIMENT), days, 80, seed=seed)
        rows = [position[key] for key in sample.windows.select("recording", "offset").iter_rows()]
        assert rows == sorted(set(rows))
        assert len(rows) == 80
        np.testing.assert_array_equal(sample.vectors, whole.vectors[rows])
        counts[rows] += 1
    # 200 draws of a tenth: 20 each, binomial with deviation 4.2; five deviations either way.
    assert counts.min() > 0
    assert counts.max() < 42
    again = draw(Selection(season.results, EXPERIMENT), days, 80, seed=3)
    other = draw(Selection(season.results, EXPERIMENT), days, 80, seed=3)
    assert again.windows.equals(other.windows)


def test_receipt_is_plain(season: Season) -> None:
    receipt = fit(season.settings, season.results, EXPERIMENT)
    assert read_receipt(season.paths.clusters_receipt) == receipt


def test_centroids_missing_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(DawnChorusError, match="dawnchorus cluster"):
        load_clusters(tmp_path / "centroids.safetensors")
    (tmp_path / "centroids.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(DawnChorusError, match="holds no centroids"):
        load_clusters(tmp_path / "centroids.safetensors")
