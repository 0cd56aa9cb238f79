"""The draw of windows and the spaces measured on them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from dawnchorus.evaluation import spaces
from dawnchorus.evaluation.labels import link_birdnet
from dawnchorus.evaluation.windows import draw, usable_days
from dawnchorus.learning.backbone import ModelMetadata, save_model
from dawnchorus.results import SET_ASIDE, RecorderDay, write_receipt
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import VectorStore, WindowTable, write_vectors

from .season import EXPERIMENT, PLAN, RATE, SPECIES, Season


def drawn(season: Season, **evaluation):
    season.changes = {"evaluation": evaluation}
    return draw(season.settings, season.results, season.all_days, [EXPERIMENT])


def test_all_windows_are_drawn_if_there_are_fewer_than_asked_for(season):
    windows = drawn(season, windows=20_000)
    assert (len(windows), windows.total) == (60, 60)
    assert windows.start_s[:10].tolist() == [3.0 * at for at in range(10)]
    assert windows.end_s[:3].tolist() == [3.0, 6.0, 9.0]
    # 05:15 in Chicago (summer, UTC-5) is the card's own clock; the store has UTC.
    assert set(windows.hour.tolist()) == {5}
    assert windows.time[0] == np.datetime64("2021-05-24T10:15:00")


def test_the_draw_is_seeded_spread_and_in_order(season):
    one, again, other = (drawn(season, windows=20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.row, again.row)
    assert np.array_equal(one.day, again.day)
    assert not (np.array_equal(one.row, other.row) and np.array_equal(one.day, other.day))
    assert len(one) == 20
    assert len(set(zip(one.day.tolist(), one.row.tolist(), strict=True))) == 20
    assert len(set(one.day.tolist())) == 6
    assert (np.diff(one.day * 100 + one.row) > 0).all()


def test_groups(season):
    windows = drawn(season)
    assert len(set(windows.group("recorder"))) == 2
    assert len(set(windows.group("recorder_day"))) == 6
    assert len(set(windows.group("recording"))) == 6
    assert windows.group("recorder_day")[0] == "R0/2021-05-24"


def test_windows_that_an_experiment_lacks_are_not_drawn(season):
    day = season.all_days[0]
    path = season.results.experiment(EXPERIMENT).embeddings(day)
    store = VectorStore.open(path)
    kept = np.flatnonzero(store.offset != 2 * 3 * RATE)
    table = WindowTable(
        store.recordings, store.recording[kept], store.offset[kept], store.time[kept]
    )
    write_vectors(path, [store.take(kept)], dimension=12, windows=table, attributes={})
    windows = drawn(season)
    assert len(windows) == 59
    assert 2 not in windows.row[windows.day == 0]
    space = spaces.experiment_space(season.results, EXPERIMENT, windows)
    best = space.vectors.argmax(axis=1)
    names = [*SPECIES, None]
    assert [names[one] for one in best] == [PLAN[int(at) // (3 * RATE)] for at in windows.offset]


def test_days_that_cannot_be_used_are_named(season):
    first, second, third = season.all_days[:3]
    aside = {"verdict": SET_ASIDE, "reason": "no usable recording"}
    write_receipt(season.results.spectrograms_receipt(first), aside)
    season.results.experiment(EXPERIMENT).embeddings_receipt(second).unlink()
    nowhere = RecorderDay("R9", "2021-01-01")
    usable, left_out = usable_days(season.results, [*season.all_days, nowhere], [EXPERIMENT])
    assert third in usable
    assert {str(one.day): one.reason for one in left_out} == {
        str(first): "spectrograms set aside: no usable recording",
        str(second): "no embeddings of toy",
        str(nowhere): "no spectrograms",
    }


def test_log_mel_statistics():
    generator = np.random.default_rng(0)
    images = generator.normal(-80, 10, size=(5, 8, 16)).astype(np.float32)
    as_is, subtracted = spaces.statistics(images)
    assert as_is[:, :8] == pytest.approx(images.mean(axis=2), abs=1e-4)
    assert as_is[:, 8:] == pytest.approx(images.std(axis=2), abs=1e-4)
    assert subtracted[:, :8] == pytest.approx(
        images.mean(axis=2) - np.median(images, axis=2), abs=1e-4
    )
    # A louder floor in any band changes the first and not the second.
    louder = images + np.arange(8, dtype=np.float32)[None, :, None]
    as_is_louder, subtracted_louder = spaces.statistics(louder)
    assert subtracted_louder == pytest.approx(subtracted, abs=1e-3)
    assert np.abs(as_is_louder - as_is).max() > 5


def test_image_baselines_equal_plain_computation(season):
    windows = drawn(season, windows=25)
    found = {one.name: one for one in spaces.image_spaces(season.settings, season.results, windows)}
    images = np.concatenate(
        [
            (store := SpectrogramStore.open(season.results.spectrograms(day))).db(
                store.codes()[windows.row[at]]
            )
            for day, at in windows.by_day()
        ]
    )
    assert found["log-mel"].vectors == pytest.approx(spaces.statistics(images)[0])
    flat = images.reshape(25, -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    _, singular, axes = np.linalg.svd(flat, full_matrices=False)
    pca = found[spaces.PCA_NAME]
    assert pca.dimension == 24
    assert not pca.scale_each
    projected = flat @ axes[:3].T
    for component in range(3):  # up to sign and one scale for all
        ours = pca.vectors[:, component] / np.linalg.norm(pca.vectors[:, 0]) * singular[0]
        sign = np.sign(ours @ projected[:, component])
        assert ours * sign == pytest.approx(projected[:, component], abs=singular[0] * 1e-3)


def test_untrained_networks_are_seeded_and_built_once(season):
    season.changes = {"experiments": {"toy": {"backbone": "vit_nano"}}}
    windows = drawn(season, windows=10)
    arguments = (season.settings, season.results, windows, [EXPERIMENT, EXPERIMENT])
    (one,) = spaces.untrained_spaces(*arguments, device="cpu", workers=1)
    (two,) = spaces.untrained_spaces(*arguments, device="cpu", workers=2)
    assert one.name == "untrained vit_nano/16 cls"
    assert one.vectors.shape == (10, 64)
    assert np.array_equal(one.vectors, two.vectors)
    assert len(np.unique(one.vectors.round(4), axis=0)) == 10


def test_untrained_networks_of_other_kinds_are_baselines_of_their_own(season):
    """A residual network without a class token, two channels, patches that are no squares."""
    others = {
        "res": ModelMetadata("resnet10t", 16, 32, 64, "mean", -80.0, 10.0, -120.0, 0.5),
        "two": ModelMetadata(
            "vit_nano", (16, 8), 32, 64, "bands", (-80.0, 3.0), (10.0, 5.0), -120.0, 0.5,
            "level+contrast",
        ),
    }  # fmt: skip
    season.changes = {"experiments": {name: {} for name in others}}
    for name, metadata in others.items():
        save_model(season.results.experiment(name).model, metadata.build().state_dict(), metadata)
    found = spaces.untrained_spaces(
        season.settings, season.results, drawn(season, windows=10), list(others), device="cpu"
    )
    assert {one.name: one.vectors.shape for one in found} == {
        "untrained resnet10t mean": (10, 512),
        "untrained vit_nano/16x8 bands of level+contrast": (10, 128),
    }
    assert all(np.isfinite(one.vectors).all() for one in found)


def test_birdnet_space_leaves_out_what_it_has_not_heard(season):
    windows = drawn(season)
    season.results.birdnet_embeddings(season.all_days[0]).rename(season.root / "elsewhere")
    found = spaces.birdnet_space(season.results, windows, link_birdnet(season.results, windows))
    assert found.held.tolist() == [False] * 10 + [True] * 50
    assert found.vectors.shape == (50, 1024)
    assert found.note == "10 windows have no BirdNET embedding"
    of_day = VectorStore.open(season.results.birdnet_embeddings(season.all_days[1])).read()
    assert np.array_equal(found.vectors[:10], of_day)


def test_no_birdnet_embeddings_at_all(season):
    windows = drawn(season)
    for day in season.all_days:
        season.results.detections_receipt(day).unlink()
    link = link_birdnet(season.results, windows)
    assert spaces.birdnet_space(season.results, windows, link) is None


def test_clusters_of_a_space_follow_its_directions():
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 20)
    vectors = (np.eye(3)[truth] * 9 + generator.normal(size=(60, 3)) * 0.1).astype(np.float32)
    space = spaces.Space("any", "baseline", vectors, np.ones(60, bool))
    clusters, note = spaces.clustered(space, 3, seed=0, restarts=2)
    assert note == ""
    assert len(set(zip(clusters.tolist(), truth.tolist(), strict=True))) == 3


def test_fewer_different_windows_than_clusters():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    space = spaces.Space("any", "baseline", vectors, np.ones(3, bool))
    clusters, note = spaces.clustered(space, 5, seed=0, restarts=1)
    assert note == "2 clusters: there are no more different windows"
    assert clusters[0] == clusters[1] != clusters[2]
    same = spaces.Space("any", "baseline", np.ones((4, 2), np.float32), np.ones(4, bool))
    assert spaces.clustered(same, 5, seed=0, restarts=1)[0].tolist() == [0, 0, 0, 0]


def test_assigned_clusters_are_joined_by_window(season):
    windows = drawn(season, windows=30)
    names = [*SPECIES, None]
    expected = [names.index(PLAN[int(at) // (3 * RATE)]) for at in windows.offset]
    assert spaces.assigned(season.results, EXPERIMENT, windows).tolist() == expected
    # The order of the rows does not matter, and a missing row is no cluster.
    path = season.results.experiment(EXPERIMENT).assignment(season.all_days[0])
    pl.read_parquet(path).reverse().head(9).write_parquet(path)
    again = spaces.assigned(season.results, EXPERIMENT, windows)
    gone = (windows.day == 0) & (windows.offset == 0)
    assert again[~gone].tolist() == np.array(expected)[~gone].tolist()
    assert (again[gone] == spaces.NOT_ASSIGNED).all()
