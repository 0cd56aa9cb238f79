"""The map: blobs stay apart, a window's place depends on nothing but itself and the projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import brentq
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from dawnchorus.clustering import placement
from dawnchorus.clustering.placement import NeighbourPlacer, PcaPlacer, membership
from dawnchorus.clustering.projection import fit_map, fit_pca, load_projection, place
from dawnchorus.clustering.sphere import unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import SET_ASIDE, RecorderDay, read_receipt, write_receipt
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay("REC01", "2021-06-01"), RecorderDay("REC02", "2021-06-01")]
NEW = RecorderDay("REC02", "2021-06-02")


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(160, 2, seed=number)[0])
    season.set_pool(DAYS)
    return season


@pytest.fixture(scope="module")
def umap_season(tmp_path_factory: pytest.TempPathFactory) -> Season:
    """Fitted once: numba compiles UMAP for some ten seconds."""
    season = Season(tmp_path_factory.mktemp("umap") / "results")
    season.changes["map"] = {"method": "umap"}
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(160, 2, seed=number)[0])
    season.add_embeddings(NEW, blobs(100, 2, seed=5)[0])
    season.set_pool(DAYS)
    fit_map(season.settings, season.results, EXPERIMENT)
    return season


def points(season: Season, day: RecorderDay) -> np.ndarray:
    return pl.read_parquet(season.paths.points(day)).select("x", "y").to_numpy()


@pytest.mark.slow
def test_membership_is_umaps_own() -> None:
    """Row by row, where the batch's mean cannot enter, against umap-learn itself."""
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    generator = np.random.default_rng(0)
    distances = np.sort(generator.gamma(2.0, 0.1, (40, 15)), axis=1)
    distances[3] *= 1e-4
    distances[4, 0] = 0.0
    ours = membership(distances)
    for row in range(40):
        one = distances[row : row + 1].astype(np.float32)
        sigma, rho = smooth_knn_dist(one, 15.0, local_connectivity=0.0)
        *_, strength, _ = compute_membership_strengths(
            np.arange(15, dtype=np.int32)[None], one, sigma, rho, bipartite=True
        )
        np.testing.assert_allclose(ours[row], strength, rtol=1e-3, atol=1e-5)


def test_membership_of_degenerate_neighbours() -> None:
    for row in ([0.0] * 6, [0.5] * 6, [0.1, 0.2], [0.0, 1.0], [0.3]):
        strength = membership(np.array([row]))
        assert np.isfinite(strength).all()
        assert ((strength >= 0) & (strength <= 1)).all()
        assert strength.sum() > 0
    assert membership(np.array([[0.0] * 6]))[0].tolist() == [1.0] * 6


def test_neighbour_placer_on_known_places() -> None:
    sample = unit(np.eye(4, dtype=np.float32))
    places = np.array([[0, 0], [4, 0], [0, 4], [100, 100]], np.float32)
    placer = NeighbourPlacer(sample, places, neighbours=2)
    np.testing.assert_array_equal(placer(sample), places)
    # Two equally near neighbours count alike.
    between = unit(np.array([[1, 1, 0, 0], [0, 1, 1, 0]], np.float32))
    np.testing.assert_allclose(placer(between), [[2, 0], [2, 2]], atol=1e-4)
    # Three: exp(-d / s) of the second and third add up to log2(3) at the right s.
    placer = NeighbourPlacer(sample, places, neighbours=3)
    found = placer(unit(np.array([[3, 2, 1, 0]], np.float32)))[0]
    distance = 1 - np.array([3, 2, 1]) / np.sqrt(14)
    scale = brentq(lambda s: np.exp(-distance[1:] / s).sum() - np.log2(3), 1e-3, 1e3)
    weight = np.exp(-distance / scale)
    np.testing.assert_allclose(found, weight @ places[:3] / weight.sum(), rtol=1e-4)


def test_pca_is_sklearns() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32))
    mean, components = fit_pca(vectors)
    wanted = PCA(2, svd_solver="full").fit(vectors.astype(np.float64))
    places = PcaPlacer(mean, components)(vectors)
    np.testing.assert_allclose(np.abs(places), np.abs(wanted.transform(vectors)), atol=1e-5)


def test_pca_places_every_window(season: Season) -> None:
    summary = fit_map(season.settings, season.results, EXPERIMENT)
    assert (summary["method"], summary["windows"]) == ("pca", 300)
    receipt = place(season.settings, season.results, EXPERIMENT, DAYS)
    assert receipt["windows"] == 320
    fitted = load_projection(season.paths.projection)
    for day in DAYS:
        store = VectorStore.open(season.paths.embeddings(day))
        table = pl.read_parquet(season.paths.points(day))
        assert table.columns == ["recording", "offset", "x", "y"]
        assert table["recording"].to_list() == store.windows.names().tolist()
        np.testing.assert_array_equal(table["offset"].to_numpy(), store.offset)
        vectors = unit(store.read()).astype(np.float64) - fitted.tensors["mean"]
        wanted = vectors @ fitted.tensors["components"].T
        np.testing.assert_allclose(points(season, day), wanted, atol=1e-5)


@pytest.mark.slow
def test_maps_keep_blobs_apart(season: Season, umap_season: Season) -> None:
    fit_map(season.settings, season.results, EXPERIMENT)
    for one in (season, umap_season):
        place(one.settings, one.results, EXPERIMENT, DAYS)
        for number, day in enumerate(DAYS):
            kind = blobs(160, 2, seed=number)[1]
            assert silhouette_score(points(one, day), kind) > 0.7


@pytest.mark.slow
def test_umap_places_new_windows_in_their_blob(umap_season: Season) -> None:
    place(umap_season.settings, umap_season.results, EXPERIMENT, [*DAYS, NEW])
    known = np.concatenate([points(umap_season, day) for day in DAYS])
    kind = np.concatenate([blobs(160, 2, seed=number)[1] for number in range(2)])
    centres = np.stack([known[kind == one].mean(axis=0) for one in range(2)])
    new = points(umap_season, NEW)
    nearest = np.linalg.norm(new[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, blobs(100, 2, seed=5)[1])


@pytest.mark.slow
def test_the_sample_lies_where_it_was_fitted(umap_season: Season) -> None:
    fitted = load_projection(umap_season.paths.projection)
    placed = fitted.placer()(fitted.tensors["vectors"])
    np.testing.assert_array_equal(placed, fitted.tensors["coordinates"])


@pytest.mark.slow
def test_place_does_not_depend_on_company(umap_season: Season) -> None:
    fitted = load_projection(umap_season.paths.projection)
    vectors = unit(blobs(500, 2, seed=11)[0])
    placer = fitted.placer()
    whole = placer(vectors)
    np.testing.assert_allclose(
        np.concatenate([placer(vectors[row : row + 1]) for row in range(0, 500, 7)]),
        whole[::7],
        rtol=1e-6,
    )
    np.testing.assert_allclose(placer(vectors[::-1].copy())[::-1], whole, rtol=1e-6)


@pytest.mark.slow
def test_days_alone_or_together_give_the_same_bytes(umap_season: Season) -> None:
    place(umap_season.settings, umap_season.results, EXPERIMENT, [*DAYS, NEW])
    folder = umap_season.paths.root / "map"
    together = files(folder)
    for day in [*DAYS, NEW]:
        umap_season.paths.points(day).unlink()
    for day in (NEW, DAYS[1], DAYS[0]):
        place(umap_season.settings, umap_season.results, EXPERIMENT, [day])
    place(umap_season.settings, umap_season.results, EXPERIMENT, [NEW, *DAYS])
    assert files(folder) == together


@pytest.mark.slow
def test_workers_change_no_byte(umap_season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "BLOCK_WINDOWS", 33)
    made = []
    for workers in (1, 3):
        for day in DAYS:
            umap_season.paths.points(day).unlink(missing_ok=True)
        place(umap_season.settings, umap_season.results, EXPERIMENT, DAYS, workers=workers)
        made.append([umap_season.paths.points(day).read_bytes() for day in DAYS])
        assert np.isfinite(points(umap_season, DAYS[1])).all()
    assert made[0] == made[1]


@pytest.mark.slow
def test_umap_same_bytes_again(umap_season: Season) -> None:
    first = umap_season.paths.projection.read_bytes()
    umap_season.paths.projection.unlink()
    fit_map(umap_season.settings, umap_season.results, EXPERIMENT)
    assert umap_season.paths.projection.read_bytes() == first


@pytest.mark.slow
def test_small_umap(tmp_path: Path, umap_season: Season) -> None:
    """So few windows that the spectral start and the neighbours run short."""
    season = Season(tmp_path / "results")
    season.changes["map"] = {"method": "umap", "neighbours": 30}
    season.add_embeddings(DAYS[0], blobs(11, 2)[0])
    season.set_pool(DAYS[:1])
    fit_map(season.settings, season.results, EXPERIMENT)
    assert load_projection(season.paths.projection).neighbours == 10
    place(season.settings, season.results, EXPERIMENT, DAYS[:1])
    assert np.isfinite(points(season, DAYS[0])).all()


def test_only_what_is_new_is_placed(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    fit_map(season.settings, season.results, EXPERIMENT)
    placed: list[Path] = []
    work = placement._place_day

    def counted(store: VectorStore, placer, path: Path, source: str, workers: int) -> None:
        placed.append(path)
        work(store, placer, path, source, workers)

    monkeypatch.setattr(placement, "_place_day", counted)

    def run(days: list[RecorderDay]) -> list[Path]:
        placed.clear()
        place(season.settings, season.results, EXPERIMENT, days)
        return list(placed)

    assert run(DAYS) == [season.paths.points(day) for day in DAYS]
    assert run(DAYS) == []
    season.add_embeddings(NEW, blobs(20, 2, seed=9)[0])
    assert run([*DAYS, NEW]) == [season.paths.points(NEW)]
    assert read_receipt(season.paths.map_receipt)["days"][str(NEW)]["windows"] == 20
    season.add_embeddings(DAYS[0], blobs(30, 2, seed=10)[0])
    assert run([*DAYS, NEW]) == [season.paths.points(DAYS[0])]
    season.changes["map"] = {"seed": 4, "fit_windows": 200}
    fit_map(season.settings, season.results, EXPERIMENT)
    assert len(run([*DAYS, NEW])) == 3
    # A table that a kill left half written is no table.
    season.paths.points(NEW).write_bytes(season.paths.points(NEW).read_bytes()[:50])
    assert run([*DAYS, NEW]) == [season.paths.points(NEW)]


def test_fit_done_already(season: Season) -> None:
    first = fit_map(season.settings, season.results, EXPERIMENT)
    before = season.paths.projection.stat().st_mtime_ns
    again = fit_map(season.settings, season.results, EXPERIMENT)
    assert again["fingerprint"] == first["fingerprint"]
    assert season.paths.projection.stat().st_mtime_ns == before


def test_set_aside(season: Season) -> None:
    fit_map(season.settings, season.results, EXPERIMENT)
    place(season.settings, season.results, EXPERIMENT, DAYS)
    write_receipt(season.paths.embeddings_receipt(DAYS[1]), {"verdict": SET_ASIDE, "windows": 0})
    receipt = place(season.settings, season.results, EXPERIMENT, DAYS)
    assert receipt["days"][str(DAYS[1])] == {"windows": 0, "embeddings": None}
    assert not season.paths.points(DAYS[1]).exists()
    assert season.paths.points(DAYS[0]).exists()


def test_errors(season: Season) -> None:
    with pytest.raises(DawnChorusError, match="--fit"):
        place(season.settings, season.results, EXPERIMENT, DAYS)
    fit_map(season.settings, season.results, EXPERIMENT)
    season.add_embeddings(NEW, blobs(9, 2)[0], model="model-2")
    with pytest.raises(DawnChorusError, match="another model"):
        place(season.settings, season.results, EXPERIMENT, [NEW])
    season.set_pool([NEW])
    with pytest.raises(DawnChorusError, match="at least 10 windows"):
        fit_map(season.settings, season.results, EXPERIMENT)
    season.paths.projection.write_bytes(b"else")
    with pytest.raises(DawnChorusError, match="holds no projection"):
        place(season.settings, season.results, EXPERIMENT, DAYS)
