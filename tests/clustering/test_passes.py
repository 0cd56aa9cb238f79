"""Passes over all embeddings on Dask: the same bytes with any workers, wherever they are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dawnchorus import config
from dawnchorus.clustering import passes
from dawnchorus.clustering.assignment import assign_all, assign_day
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.fitted import load_clusters
from dawnchorus.clustering.sphere import nearest, unit
from dawnchorus.config import Dask, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import RecorderDay
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, blobs, files

DAYS = [RecorderDay(f"REC0{number % 3}", f"2021-06-0{1 + number // 3}") for number in range(7)]
KINDS = 5


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    for number, day in enumerate(DAYS):
        season.add_embeddings(day, blobs(100 + 37 * number, KINDS, seed=number)[0])
    season.set_pool(DAYS)
    return season


def settings_of(season: Season, **dask: object) -> Settings:
    season.changes = {"clustering": {"k": KINDS, "fit_windows": "all"}, "dask": dask}
    return season.settings


def test_results_come_in_the_order_of_the_items_whoever_is_done_first() -> None:
    with passes.workers(Dask(), 4) as client:
        found = list(passes.each(client, _late, [0.2, 0.0, 0.1, 0.0], 1, doing="waiting"))
    assert found == [1.2, 1.0, 1.1, 1.0]


def _late(seconds: float, more: int) -> float:
    time.sleep(seconds)
    return seconds + more


def test_a_fit_of_all_windows_is_a_fixed_point_over_all_of_them(season: Season) -> None:
    receipt = fit(settings_of(season), season.results, EXPERIMENT, workers=2)
    windows = sum(100 + 37 * number for number in range(len(DAYS)))
    assert receipt["windows"] == receipt["available"] == windows == sum(receipt["sizes"])
    assert receipt["sizes"] == sorted(receipt["sizes"], reverse=True)
    paths = season.results.experiment(EXPERIMENT)
    centroids = load_clusters(paths.centroids).centroids
    vectors = np.concatenate(
        [unit(VectorStore.open(paths.embeddings(day)).read()) for day in sorted(DAYS)]
    )
    cluster, distance = nearest(vectors, centroids)
    means = np.stack(
        [vectors[cluster == one].astype(np.float64).mean(axis=0) for one in range(KINDS)]
    )
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(centroids, means, atol=2e-3)
    members = pl.read_parquet(paths.members)
    assert members.height == windows
    assert np.array_equal(members["cluster"].to_numpy(), cluster)
    np.testing.assert_allclose(members["distance"].to_numpy(), distance, atol=1e-7)
    assert members.select("recorder", "date").unique(maintain_order=True).rows() == [
        (day.recorder, day.date) for day in sorted(DAYS)
    ]


def test_the_same_bytes_with_one_worker_and_four(season: Season) -> None:
    paths = season.results.experiment(EXPERIMENT)
    made = []
    for workers in (1, 4):
        fit(settings_of(season), season.results, EXPERIMENT, workers=workers)
        assign_all(settings_of(season), season.results, EXPERIMENT, workers=workers)
        made.append(files(paths.root / "clusters"))
        paths.clusters_receipt.unlink()
        for day in DAYS:
            paths.assignment_receipt(day).unlink()
    assert made[0] == made[1] and len(made[0]) >= 3 + 2 * len(DAYS)


def test_all_days_are_assigned_as_one_by_one(season: Season) -> None:
    settings = settings_of(season)
    fit(settings, season.results, EXPERIMENT)
    told = assign_all(settings, season.results, EXPERIMENT, workers=2)
    windows = sum(100 + 37 * number for number in range(len(DAYS)))
    assert told == {"recorder_days": len(DAYS), "windows": windows, "set_aside": 0}
    paths = season.results.experiment(EXPERIMENT)
    before = {day: paths.assignment(day).read_bytes() for day in DAYS}
    for day in DAYS:
        paths.assignment_receipt(day).unlink()
        assign_day(settings, season.results, EXPERIMENT, day)
        assert paths.assignment(day).read_bytes() == before[day]


@pytest.mark.slow
def test_a_scheduler_that_runs_already_does_the_same(season: Season, tmp_path: Path) -> None:
    """Another process, reached by its address; the bytes are those of local threads."""
    paths = season.results.experiment(EXPERIMENT)
    fit(settings_of(season), season.results, EXPERIMENT)
    here = paths.centroids.read_bytes(), paths.members.read_bytes()
    paths.clusters_receipt.unlink()
    told = tmp_path / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(told)]
    scheduler = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            *common,
            "--port",
            "0",
            "--host",
            "127.0.0.1",
        ]
    )
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            *common,
            "--nthreads",
            "2",
            "--no-nanny",
        ],
        cwd=tmp_path,
    )
    try:
        address = _address(told, scheduler)
        fit(settings_of(season, scheduler=address), season.results, EXPERIMENT)
        assert (paths.centroids.read_bytes(), paths.members.read_bytes()) == here
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait()


def _address(told: Path, scheduler: subprocess.Popen[bytes]) -> str:
    from distributed import Client

    while not told.exists():
        assert scheduler.poll() is None
        time.sleep(0.1)
    with Client(scheduler_file=str(told)) as client:
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler_info()["address"]
    return str(address)


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ("http://127.0.0.1:9", "no Dask scheduler answers at http://127.0.0.1:9"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch, scheduler: str, told: str) -> None:
    monkeypatch.setattr(passes, "SECONDS_TO_ANSWER", 1)
    with pytest.raises(DawnChorusError, match=told), passes.workers(Dask(scheduler=scheduler), 1):
        pass


def test_options_that_dask_jobqueue_does_not_know_are_one_line() -> None:
    pytest.importorskip("dask_jobqueue")
    wanted = Dask(scheduler="slurm", job={"cores": 1, "memory": "1 GB", "wings": 2})
    with (
        pytest.raises(DawnChorusError, match=r"dask\.job: dask-jobqueue does not take it"),
        passes.workers(wanted, 1),
    ):
        pass


def test_another_word_for_the_scheduler_is_refused() -> None:
    with pytest.raises(DawnChorusError, match="take local, slurm, pbs or an address"):
        config.validate({"dask": {"scheduler": "lsf"}})
