"""Statistics over all embeddings: numpy's own figures, the same bytes with any workers, drift where it was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.clustering import moments as moments_of
from dawnchorus.clustering.assignment import assign_day
from dawnchorus.clustering.drift import flagged, limits, sentence, share_beyond
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.moments import Moments, effective_rank
from dawnchorus.clustering.statistics import statistics
from dawnchorus.clustering.sweep import sweep
from dawnchorus.config import Drift
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import SET_ASIDE, RecorderDay, read_receipt, write_receipt
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay(f"REC0{number % 2}", f"2021-06-0{1 + number // 2}") for number in range(6)]
LIKE, UNLIKE = RecorderDay("REC00", "2021-06-08"), RecorderDay("REC01", "2021-06-08")


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(
        tmp_path / "results", {"clustering": {"k": 4, "fit_windows": 2000, "restarts": 1}}
    )
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(400, 4, spread=0.5, seed=number)[0] + 3)
    season.set_pool(DAYS)
    fit(season.settings, season.results, EXPERIMENT)
    assign(season, *DAYS)
    return season


def assign(season: Season, *days: RecorderDay) -> None:
    for day in days:
        assign_day(season.settings, season.results, EXPERIMENT, day)


def measure(season: Season, *days: RecorderDay, workers: int = 1) -> dict:
    return statistics(season.settings, season.results, EXPERIMENT, days, workers=workers)


def test_the_season_is_numpys(season: Season) -> None:
    receipt = measure(season, *DAYS)
    stores = {day: VectorStore.open(season.paths.embeddings(day)).read() for day in DAYS}
    vectors = np.concatenate([stores[day] for day in sorted(DAYS)]).astype(np.float64)
    wanted = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert receipt["windows"] == len(vectors) == 2400
    np.testing.assert_allclose(receipt["variance"], wanted.sum(), rtol=1e-5)
    np.testing.assert_allclose(receipt["spectrum"], wanted / wanted.sum(), atol=1e-6)
    share = wanted / wanted.sum()
    assert receipt["effective_rank"] == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-4
    )
    mean = vectors.mean(axis=0)
    assert receipt["mean_length"] == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    length = np.linalg.norm(vectors, axis=1)
    for quantile, found in receipt["lengths"].items():
        assert found == pytest.approx(
            np.quantile(length, float(quantile), method="inverted_cdf"), rel=0.006
        )
    table = pl.read_parquet(season.paths.statistics)
    for row in table.iter_rows(named=True):
        own = stores[RecorderDay(row["recorder"], row["date"])].astype(np.float64)
        assert row["variance"] == pytest.approx(np.trace(np.cov(own.T)), rel=1e-5)
        away = np.linalg.norm(own.mean(axis=0) - mean) / np.sqrt(wanted.sum())
        assert row["from_season"] == pytest.approx(away, rel=1e-4)
        assigned = pl.read_parquet(
            season.paths.assignment(RecorderDay(row["recorder"], row["date"]))
        )
        assert row["mean_distance"] == pytest.approx(assigned["distance"].mean(), abs=1e-6)


def test_the_same_bytes_with_any_workers_and_only_what_is_new_is_read(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = season.paths.root / "statistics"
    measure(season, *DAYS, workers=1)
    one = files(folder)
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    measure(season, *DAYS, workers=3)
    assert files(folder) == one and len(one) == 4 + len(DAYS)

    read: list[RecorderDay] = []
    make = moments_of.store_of

    def noted(results, experiment, one):
        read.append(one.day)
        return make(results, experiment, one)

    monkeypatch.setattr(moments_of, "store_of", noted)
    season.add_embeddings(LIKE, blobs(100, 4, spread=0.5, seed=20)[0] + 3)
    assign(season, LIKE)
    measure(season, *DAYS, LIKE)
    assert read == [LIKE]
    assert {name: data for name, data in files(folder).items() if name in one and "-" in name} == {
        name: data for name, data in one.items() if "-" in name
    }


def test_a_recorder_day_that_is_unlike_the_fit_is_flagged_and_no_other(season: Season) -> None:
    season.add_embeddings(LIKE, blobs(400, 4, spread=0.5, seed=20)[0] + 3)
    strange = blobs(400, 4, spread=0.5, seed=21)[0] + 3
    strange[::5] = np.random.default_rng(0).normal(size=(80, 16)) * 5
    season.add_embeddings(UNLIKE, strange)
    write_receipt(season.paths.embeddings_receipt(RecorderDay("REC01", "2021-06-09")), {"verdict": SET_ASIDE, "windows": 0})  # fmt: skip
    gone = RecorderDay("REC01", "2021-06-09")
    assign(season, LIKE, UNLIKE, gone)
    receipt = measure(season, *DAYS, LIKE, UNLIKE, gone)
    assert receipt["drift"]["flagged"] == [[UNLIKE.recorder, UNLIKE.date]]
    assert "drift: 1 of 8 recorder-days fits badly" in receipt["drift"]["sentence"]
    assert str(UNLIKE) in receipt["drift"]["sentence"]
    table = pl.read_csv(season.paths.drift, separator="\t")
    assert table.select("recorder", "date").rows() == [(UNLIKE.recorder, UNLIKE.date)]
    every = pl.read_parquet(season.paths.statistics)
    of = {(row["recorder"], row["date"]): row for row in every.iter_rows(named=True)}
    assert of[UNLIKE.recorder, UNLIKE.date]["beyond"] == pytest.approx(0.2, abs=0.03)
    assert of[LIKE.recorder, LIKE.date]["beyond"] < 0.03
    assert of[gone.recorder, gone.date]["windows"] == 0
    assert of[gone.recorder, gone.date]["beyond"] is None
    assert not of[gone.recorder, gone.date]["flagged"]
    # As many of the fit's own windows lie beyond as the quantile says.
    assert every.filter("in_fit")["beyond"].mean() == pytest.approx(0.01, abs=0.005)


def test_limits_are_the_quantiles_and_small_clusters_take_the_common_one() -> None:
    generator = np.random.default_rng(0)
    distance = generator.gamma(4.0, [[0.1], [0.3]], (2, 500))
    few = np.array([0.4, 0.8, 1.2])
    members = pl.DataFrame(
        {
            "cluster": np.repeat([0, 1, 2, -1], [500, 500, 3, 1]).astype(np.int32),
            "distance": np.concatenate([distance.ravel(), few, [9.0]]),
        }
    )
    found = limits(members, 4, 0.99)
    np.testing.assert_allclose(found[:2], np.quantile(distance, 0.99, axis=1))
    ratio = np.concatenate(
        [(distance / np.median(distance, axis=1, keepdims=True)).ravel(), few / 0.8]
    )
    assert found[2] == pytest.approx(0.8 * np.quantile(ratio, 0.99))
    assert np.isfinite(found[3])


def test_the_interval_is_wide_where_recordings_differ() -> None:
    """The same share of windows: spread evenly, or all in one recording of eight."""
    recording = np.repeat([f"r{number}" for number in range(8)], 100)
    limit = np.array([0.5])

    def share(beyond: np.ndarray):
        return share_beyond(
            pl.DataFrame(
                {
                    "recording": recording,
                    "cluster": np.zeros(800, np.int32),
                    "distance": np.where(beyond, 0.9, 0.1),
                }
            ),
            limit,
            [1],
        )

    even = share(np.arange(800) % 100 < 12)
    one = share((recording == "r3") & (np.arange(800) % 100 < 96))
    assert even.beyond == one.beyond == pytest.approx(0.12)
    assert (even.low, even.high) == (pytest.approx(0.12), pytest.approx(0.12))
    assert one.low == 0 and one.high > 0.3


def test_a_restless_fit_raises_the_bar() -> None:
    days = pl.DataFrame(
        {
            "recorder": ["A"] * 4, "date": ["1", "2", "3", "4"], "in_fit": [True] * 3 + [False],
            "beyond": [0.01, 0.02, 0.2, 0.15], "low": [0.0, 0.01, 0.15, 0.1],
        }
    )  # fmt: skip
    found, limit = flagged(days, Drift())
    assert limit == 0.2 and not found["flagged"].any()
    assert "all 4 recorder-days" in sentence(found, 0.99)
    found, limit = flagged(days.with_columns(in_fit=pl.lit(False)), Drift())
    assert limit == pytest.approx(0.03)
    assert found["flagged"].to_list() == [False, False, True, True]
    assert "A/3 20 %, A/4 15 %" in sentence(found, 0.99)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(-1e4, 1e4))
def test_moments_of_parts_are_those_of_the_whole(sizes: list[int], middle: float) -> None:
    vectors = (
        np.random.default_rng(sum(sizes)).normal(middle, 1, (sum(sizes), 5)).astype(np.float32)
    )
    total = Moments.none(5)
    for part in np.split(vectors, np.cumsum(sizes)[:-1]):
        total = total + Moments.of(part)
    wide = vectors.astype(np.float64)
    np.testing.assert_allclose(total.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-12)
    away = wide - wide.mean(axis=0)
    np.testing.assert_allclose(total.scatter, away.T @ away, rtol=1e-4, atol=1e-4)
    assert total.windows == len(vectors) == total.lengths.sum()


def test_effective_rank() -> None:
    assert effective_rank(np.array([3.0, 3.0, 3.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.array([5.0, 0.0])) == 1
    assert effective_rank(np.zeros(3)) == 0


def test_an_assignment_to_other_clusters_is_refused(season: Season) -> None:
    season.changes["clustering"] = {**season.changes["clustering"], "k": 3}
    fit(season.settings, season.results, EXPERIMENT)
    with pytest.raises(DawnChorusError, match=r"dawnchorus assign --experiment toy"):
        measure(season, *DAYS)


def test_the_sweep_knows_the_planted_number(tmp_path: Path) -> None:
    """Six blobs: the silhouette and the agreement between seeds are best at six."""
    season = Season(tmp_path / "results", {"sweep": {"k": [3, 6, 12], "seeds": 3, "windows": 400, "silhouette_windows": 200}})  # fmt: skip
    season.add_embeddings(DAYS[0], blobs(400, 6, spread=0.3)[0])
    season.set_pool(DAYS[:1])
    table = sweep(season.settings, season.results, EXPERIMENT, workers=2)
    assert table["k"].to_list() == [3, 6, 12]
    best = table.row(1, named=True)
    assert best["ari_min"] == best["ari"] == 1.0
    assert best["silhouette"] > 0.6
    for other in (table.row(0, named=True), table.row(2, named=True)):
        assert other["silhouette"] < best["silhouette"] and other["ari"] < 1
    distances = table["mean_distance"].to_list()
    assert distances == sorted(distances, reverse=True)
    before = season.paths.sweep.read_bytes()
    sweep(season.settings, season.results, EXPERIMENT, workers=1)
    assert season.paths.sweep.read_bytes() == before
    shown = pl.read_csv(season.paths.sweep.with_suffix(".tsv"), separator="\t")
    assert shown["k"].to_list() == [3, 6, 12]
    season.changes["sweep"] = {"k": [3, 400]}
    with pytest.raises(DawnChorusError, match="needs numbers below the 400 different windows"):
        sweep(season.settings, season.results, EXPERIMENT)


def test_receipt_of_the_fit_tells_its_stability(season: Season) -> None:
    told = read_receipt(season.paths.clusters_receipt)["stability"]
    assert told["seeds"] == 4 and told["windows"] == 2000
    assert 0 < told["ari"]["min"] <= told["ari"]["mean"] <= told["ari"]["max"] <= 1
