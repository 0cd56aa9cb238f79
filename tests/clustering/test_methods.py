"""Methods of clustering: scikit-learn's own labels, planted clusters found, a new day alone as among others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import HDBSCAN, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from dawnchorus.attention.attend import central_windows
from dawnchorus.birdnet import speaking
from dawnchorus.clustering.assignment import assign_day
from dawnchorus.clustering.density import hdbscan
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.fitted import NOISE, load_clusters
from dawnchorus.clustering.minibatch import minibatch_kmeans
from dawnchorus.clustering.projection import fit_map, place
from dawnchorus.clustering.sphere import nearest, unit
from dawnchorus.config import Clustering, validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import RecorderDay, read_receipt
from embedding.season import EXPERIMENT, NATIVE_RATE, WINDOW_SECONDS, Season, blobs

DAYS = [RecorderDay(f"REC0{number}", "2021-06-01") for number in range(3)]
NEW = RecorderDay("REC01", "2021-06-09")
HDBSCAN_PCA = {
    "method": "hdbscan", "reduction": "pca", "reduced_dimension": 5, "min_cluster_size": 15,
    "fit_windows": 700,
}  # fmt: skip
METHODS = {
    "kmeans": {"method": "kmeans", "k": 5},
    "minibatch": {"method": "minibatch", "k": 5, "batch": 64},
    "hdbscan": HDBSCAN_PCA,
}
MAPS = {
    "pca": {"method": "pca"},
    "tsne": {"method": "tsne", "perplexity": 12},
    "umap": {"method": "umap"},
}


def make_season(root: Path, **changes: object) -> Season:
    season = Season(root, {"clustering": {"restarts": 1, "stability": 0}, **changes})
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(300, 5, seed=number)[0])
    season.set_pool(DAYS)
    return season


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assign(season: Season, *days: RecorderDay, named: str | None = None) -> None:
    for day in days:
        assign_day(season.settings, season.results, EXPERIMENT, day, named=named)


@pytest.mark.parametrize("method", METHODS)
def test_planted_clusters_are_found_and_a_new_day_gets_what_it_would_get_alone(
    tmp_path: Path, method: str
) -> None:
    season = make_season(tmp_path / "among", clustering={"stability": 1, **METHODS[method]})
    vectors, kind = blobs(120, 5, seed=9)
    receipt = fit(season.settings, season.results, EXPERIMENT)
    assert (receipt["k"], receipt["method"]) == (5, method)
    assert receipt["stability"]["ari"]["mean"] == 1.0
    assign(season, *DAYS)
    clusters = season.paths.root / "clusters"
    before = digests(clusters)
    season.add_embeddings(NEW, vectors)
    assign(season, NEW)
    after = digests(clusters)
    assert {name: after[name] for name in before} == before
    table = pl.read_parquet(season.paths.assignment(NEW))
    own = table["cluster"].to_numpy() >= 0
    assert own.mean() > 0.9
    assert adjusted_mutual_info_score(kind[own], table["cluster"].to_numpy()[own]) > 0.99

    alone = make_season(tmp_path / "alone", clustering={"stability": 1, **METHODS[method]})
    fit(alone.settings, alone.results, EXPERIMENT)
    alone.add_embeddings(NEW, vectors)
    assign(alone, NEW)
    assert alone.paths.assignment(NEW).read_bytes() == season.paths.assignment(NEW).read_bytes()


@pytest.mark.parametrize("method", ["pca", "tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_a_new_day_is_placed_as_if_it_were_alone(tmp_path: Path, method: str) -> None:
    season = make_season(tmp_path / "results", map=MAPS[method])
    season.add_embeddings(NEW, blobs(90, 5, seed=9)[0])
    fit_map(season.settings, season.results, EXPERIMENT)
    place(season.settings, season.results, EXPERIMENT, DAYS)
    folder = season.paths.root / "map"
    before = digests(folder)
    place(season.settings, season.results, EXPERIMENT, [*DAYS, NEW])
    after = digests(folder)
    receipt = "map.json"
    assert {name: after[name] for name in before if name != receipt} == {
        name: digest for name, digest in before.items() if name != receipt
    }
    among = season.paths.points(NEW).read_bytes()
    for day in (*DAYS, NEW):
        season.paths.points(day).unlink()
    place(season.settings, season.results, EXPERIMENT, [NEW])
    assert season.paths.points(NEW).read_bytes() == among


def test_tsne_keeps_blobs_apart_and_places_the_sample_where_it_is(tmp_path: Path) -> None:
    from dawnchorus.clustering.projection import load_projection

    season = make_season(tmp_path / "results", map=MAPS["tsne"])
    fit_map(season.settings, season.results, EXPERIMENT)
    fitted = load_projection(season.paths.projection)
    assert fitted.method == "tsne"
    placer = fitted.placer()
    sample, places = fitted.tensors["vectors"], fitted.tensors["coordinates"]
    np.testing.assert_array_equal(placer(sample), places)
    kind = KMeans(5, n_init=3, random_state=0).fit_predict(sample)
    assert adjusted_rand_score(kind, KMeans(5, n_init=3, random_state=0).fit_predict(places)) > 0.99
    first = season.paths.projection.read_bytes()
    season.paths.projection.unlink()
    fit_map(season.settings, season.results, EXPERIMENT)
    assert season.paths.projection.read_bytes() == first


def test_minibatch_is_scikit_learns_and_comes_near_to_kmeans() -> None:
    vectors = unit(blobs(3000, 8, spread=0.8)[0])
    start = vectors[:8]
    ours = minibatch_kmeans(iter([vectors]), start, batch=256, seed=4)
    order = np.random.default_rng(4).permutation(len(vectors))
    theirs = MiniBatchKMeans(8, init=start, n_init=1, batch_size=256, random_state=4)
    for first in range(0, 3000, 256):
        theirs.partial_fit(vectors[order[first : first + 256]])
    np.testing.assert_allclose(ours, unit(theirs.cluster_centers_), atol=1e-6)
    best = KMeans(8, n_init=10, random_state=0).fit(vectors)
    start = unit(best.cluster_centers_)
    near = minibatch_kmeans(iter([vectors]), start, batch=256, seed=4)
    _, distance = nearest(vectors, near)
    _, wanted = nearest(vectors, start)
    assert distance.mean() < 1.02 * wanted.mean()


def test_hdbscan_on_the_sample_is_scikit_learns_and_noise_stays_noise(tmp_path: Path) -> None:
    season = make_season(tmp_path / "results", clustering={**HDBSCAN_PCA, "stability": 0})
    noise = np.random.default_rng(3).normal(size=(60, 16)).astype(np.float32)
    season.add_embeddings(DAYS[0], np.concatenate([blobs(300, 5)[0], noise]))
    receipt = fit(season.settings, season.results, EXPERIMENT)
    members = pl.read_parquet(season.paths.members)
    from dawnchorus.clustering.fit_sample import Selection, draw, embedded_days

    sample = draw(
        Selection(season.results, EXPERIMENT),
        embedded_days(season.results, EXPERIMENT, DAYS), 700, 0,
    )  # fmt: skip
    points = PCA(5, svd_solver="full").fit_transform(sample.vectors).astype(np.float32)
    theirs = HDBSCAN(min_cluster_size=15, copy=True).fit(points).labels_
    ours = members["hdbscan"].to_numpy()
    np.testing.assert_array_equal(ours == NOISE, theirs == NOISE)
    assert adjusted_rand_score(theirs, ours) == 1.0
    # What the prototypes make of it, for all windows and without HDBSCAN, says nearly the same.
    cluster = members["cluster"].to_numpy()
    assert receipt["same_as_hdbscan"] == pytest.approx((ours == cluster).mean(), abs=1e-6)
    assert receipt["same_as_hdbscan"] > 0.9 and receipt["ari_with_hdbscan"] > 0.9
    assert receipt["noise"] == (cluster == NOISE).sum() > 10
    own = np.bincount(ours[ours >= 0]).tolist()
    assert own == sorted(own, reverse=True)
    assert sum(receipt["sizes"]) + receipt["noise"] == members.height
    # Noise has no central windows, for cards and attention.
    central = central_windows(members, 3)
    assert set(central["cluster"]) == set(range(receipt["k"]))
    # Directions that are opposite to every cluster are in none.
    clusters = load_clusters(season.paths.centroids)
    found, _ = clusters.of(-clusters.centroids * 3)
    assert (found == NOISE).all()


def test_no_dense_region_is_one_line() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32))
    wanted = Clustering(
        method="hdbscan", reduction="pca", reduced_dimension=4, min_cluster_size=50, fit_windows=60
    )
    with pytest.raises(DawnChorusError, match="no dense region among 60 windows"):
        hdbscan(vectors, wanted, seed=0)


def test_hdbscan_of_all_windows_is_refused() -> None:
    with pytest.raises(DawnChorusError, match="hdbscan is fitted on a sample"):
        validate({"clustering": {"method": "hdbscan", "fit_windows": "all"}})


def test_minibatch_fit_has_the_same_bytes_with_any_workers(tmp_path: Path) -> None:
    made = []
    for workers in (1, 3):
        season = make_season(
            tmp_path / str(workers), clustering={**METHODS["minibatch"], "stability": 0}
        )
        fit(season.settings, season.results, EXPERIMENT, workers=workers)
        made.append(digests(season.paths.root / "clusters"))
    assert made[0] == made[1] and len(made[0]) == 3


PASS = {
    "clustering": {"k": 5, "restarts": 1, "stability": 0},
    "passes": {"rest": {"exclude": [0, 3], "k": 3}},
}


def test_a_pass_clusters_the_rest_and_takes_new_days_through_both(tmp_path: Path) -> None:
    season = make_season(tmp_path / "results", **PASS)
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    first = digests(season.paths.root / "clusters")
    receipt = fit(season.settings, season.results, EXPERIMENT, named="rest")
    paths = season.paths.clustering("rest")
    assert (receipt["k"], receipt["excluded"]) == (3, [0, 3])
    kept = [pl.read_parquet(season.paths.assignment(day)).filter(~pl.col("cluster").is_in([0, 3])) for day in DAYS]  # fmt: skip
    assert receipt["available"] == sum(map(len, kept))
    members = pl.read_parquet(paths.members)
    both = members.join(pl.concat(kept), on=["recording", "offset"])
    assert len(both) == members.height
    # Three kinds were left, so the three clusters are they.
    assert adjusted_rand_score(both["cluster"], both["cluster_right"]) == 1.0

    season.add_embeddings(NEW, blobs(120, 5, seed=9)[0])
    with pytest.raises(DawnChorusError, match=r"2021-06-09\.json: is not there"):
        assign(season, NEW, named="rest")
    assign(season, NEW)
    assign(season, *DAYS, NEW, named="rest")
    before = pl.read_parquet(season.paths.assignment(NEW))
    table = pl.read_parquet(paths.assignment(NEW))
    wanted = before.filter(~pl.col("cluster").is_in([0, 3]))
    assert table.select("recording", "offset").equals(wanted.select("recording", "offset"))
    assert adjusted_rand_score(wanted["cluster"], table["cluster"]) == 1.0
    told = read_receipt(paths.assignment_receipt(NEW))
    assert (told["windows"], told["left_out"]) == (len(wanted), 120 - len(wanted))
    # The first clusters and the other days are as they were.
    now = digests(season.paths.root / "clusters")
    assert {name: now[name] for name in first} == first


def test_a_pass_after_other_first_clusters_is_refused_and_done_again(tmp_path: Path) -> None:
    season = make_season(tmp_path / "results", **PASS)
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    fit(season.settings, season.results, EXPERIMENT, named="rest")
    season.changes = {**PASS, "clustering": {**PASS["clustering"], "k": 6}}
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    with pytest.raises(DawnChorusError, match="other clusters than the pass was fitted after"):
        assign(season, DAYS[0], named="rest")
    fit(season.settings, season.results, EXPERIMENT, named="rest")
    assign(season, DAYS[0], named="rest")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"exclude": [5]}, "there is no cluster 5; the fit has 5, from 0"),
        ({"exclude": [0, 1, 2, 3, 4]}, "leaves out all 5 clusters"),
    ],
)
def test_a_pass_that_cannot_be_is_one_line(tmp_path: Path, wanted: dict, told: str) -> None:
    season = make_season(tmp_path / "results", **{**PASS, "passes": {"rest": wanted}})
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    with pytest.raises(DawnChorusError, match=told):
        fit(season.settings, season.results, EXPERIMENT, named="rest")
    with pytest.raises(DawnChorusError, match="there is no pass 'other'"):
        fit(season.settings, season.results, EXPERIMENT, named="other")
    with pytest.raises(DawnChorusError, match="leaves nothing out"):
        validate({"passes": {"rest": {}}})


def test_a_pass_leaves_out_what_birdnet_does_not_hear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if BirdNET's windows were as short as these, and a detection belonged to one of them.
    monkeypatch.setattr(speaking, "WINDOW_SECONDS", WINDOW_SECONDS)
    season = make_season(tmp_path / "results", clustering=PASS["clustering"])
    season.changes["passes"] = {"birds": {"detected_below": 0.5, "k": 2}}
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    recordings = []
    for day in DAYS:
        table = pl.read_parquet(season.paths.assignment(day))
        recordings += table["recording"].unique().to_list()
        heard = table.filter(pl.col("cluster").is_in([1, 4])).select(
            "recording",
            "offset",
            species=pl.lit("Turdus merula"),
            common_name=pl.lit("blackbird"),
            confidence=pl.lit(0.5, pl.Float32),
        )
        path = season.results.detections(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        heard.write_parquet(path)
    season.results.recordings.parent.mkdir(parents=True)
    pl.DataFrame({"recording": recordings, "sample_rate": NATIVE_RATE}).write_parquet(
        season.results.recordings
    )
    receipt = fit(season.settings, season.results, EXPERIMENT, named="birds")
    assert receipt["excluded"] == [0, 2, 3]
    assert [row["detected"] for row in receipt["facts"]] == [0.0, 1.0, 0.0, 0.0, 1.0]
    assert receipt["available"] == sum(receipt["facts"][one]["windows"] for one in (1, 4))


def test_a_pass_leaves_out_clusters_in_which_nothing_stirs(tmp_path: Path) -> None:
    """By the mean activity of a cluster's windows: two clusters at 6 dB and, of one window, at 60."""
    season = make_season(tmp_path / "results", clustering=PASS["clustering"])
    season.changes["passes"] = {"loud": {"activity_below": 3.0, "k": 2}}
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    level = np.array([0.0, 6.0, 1.0, 2.0, 6.0])
    expected = np.zeros((2, 5))
    for day in DAYS:
        table = season.windows(day, 300)
        names = pl.DataFrame(
            {
                "recording": np.array(table.recordings, dtype=object)[table.recording].tolist(),
                "offset": table.offset,
            }
        )
        assigned = names.join(
            pl.read_parquet(season.paths.assignment(day)),
            on=["recording", "offset"],
            how="left",
            maintain_order="left",
        )
        cluster = assigned["cluster"].to_numpy()
        activity = level[cluster].astype(np.float32)
        activity[np.flatnonzero(cluster == 0)[0]] = 60.0  # a single bang does not make it loud
        np.add.at(expected, (0, cluster), activity)
        np.add.at(expected, (1, cluster), 1)
        season.add_spectrograms(day, np.zeros((300, 32, 64), np.uint8), activity)
    receipt = fit(season.settings, season.results, EXPERIMENT, named="loud")
    assert receipt["excluded"] == [0, 2, 3]
    stirs = [row["activity"] for row in receipt["facts"]]
    np.testing.assert_allclose(stirs, expected[0] / expected[1], rtol=1e-3)
    assert receipt["available"] == int(expected[1, [1, 4]].sum())
