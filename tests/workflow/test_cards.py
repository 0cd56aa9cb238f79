"""What real cards bring: a run that is killed, two at once, recordings of other rates."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore

from .conftest import CONFIG, Season, environment, make_season

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def started(season: Season) -> subprocess.Popen[bytes]:
    with (season.root / "snakemake.log").open("wb") as log:
        return subprocess.Popen(
            season.command("train"), cwd=season.root, env=environment(), start_new_session=True,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def finished_jobs(season: Season, rule: str) -> int:
    return (season.root / "snakemake.log").read_text().count(f"(Rule: {rule})")


def wait_for(condition, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As a node loss does: the workflow and all its jobs, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_at_any_moment_and_started_again_it_goes_on(finished, tmp_path):
    season = finished.copy_to(tmp_path / "season")
    shutil.rmtree(season.results)
    shutil.rmtree(season.root / ".snakemake")
    recipe = {**CONFIG["experiments"]["one"], "epochs": 24}
    season.configure(experiments={"one": recipe})
    results = Results(season.results)

    # First among the recorder-days.
    process = started(season)
    wait_for(lambda: finished_jobs(season, "spectrograms_day") >= 2)
    kill(process)
    made = {
        day: results.spectrograms_receipt(day).stat().st_mtime_ns
        for day in results.days_with_receipts()
    }
    assert len(made) >= 2

    # Then in the training, behind a checkpoint.
    log = results.experiment("one").log
    process = started(season)
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 8)
    kill(process)
    at = len(log.read_text().splitlines())
    assert not results.experiment("one").model.exists()

    season.run("train")
    # What had been finished before the first kill was not made again.
    now = {day: results.spectrograms_receipt(day).stat().st_mtime_ns for day in made}
    assert sum(now[day] == made[day] for day in made) >= 2
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert len(steps) > at
    told = (season.results / "logs" / "train" / "one.log").read_text()
    assert "going on at step" in told
    assert not list(season.results.rglob("*.partial"))
    assert season.planned("train") == {}


def test_two_at_once_are_refused(season):
    (season.results / "report.html").unlink()
    lock = Results(season.results).hold()
    try:
        ended = season.snakemake()
    finally:
        lock.release()
    assert ended.returncode != 0
    assert "another snakemake is at work here" in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.fixture(scope="module")
def real_season(tmp_path_factory) -> Season:
    if "DAWNCHORUS_AUDIO" not in os.environ:
        pytest.skip("needs real recordings: set DAWNCHORUS_AUDIO to their folder")
    source = Path(os.environ["DAWNCHORUS_AUDIO"])
    root = tmp_path_factory.mktemp("real") / "season"
    shutil.copytree(source / "recorder_day_S4A03895", root / "cards" / "S4A03895")
    (root / "cards" / "BIRDNET").mkdir()
    shutil.copy2(
        source / "birdnet_example" / "soundscape.wav",
        root / "cards" / "BIRDNET" / "BIRDNET_20210524_050000.wav",
    )
    config = {**CONFIG, "audio": {"root": "cards", "timezone": "America/New_York"}}
    config["birdnet"] = {"min_confidence": 0.1, "top": 100}
    config["evaluation"] = {
        "windows": 200, "bootstrap": 10, "folds": 2, "shots": [], "attentive_windows": 0,
    }  # fmt: skip
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    season = Season(root)
    season.run()
    return season


@pytest.mark.real_audio
def test_a_song_meters_day_goes_all_the_way(real_season):
    """24 recordings of 10 s at 22,000 Hz with a constant offset."""
    results = Results(real_season.results)
    day = RecorderDay("S4A03895", "2019-05-22")
    store = SpectrogramStore.open(results.spectrograms(day))
    assert len(store) == 24 * 3
    assert set(store.attributes["recording_sample_rate"]) == {22_000}
    assert "22000 Hz to 44100 Hz" in store.attributes["resampling"]
    assert set(store.offset.tolist()) == {0, 66_000, 132_000}
    # Above the file's Nyquist frequency there is nothing to hear; below there is.
    above = store.band_low > 11_500
    between = (store.band_frequency > 500) & (store.band_frequency < 9000)
    codes = store.codes()
    assert store.db(codes[:, above]).mean() < store.db(codes[:, between]).mean() - 20
    assert (real_season.results / "report.html").stat().st_size > 100_000
    assert real_season.planned() == {}


@pytest.mark.real_audio
def test_the_example_soundscape_gives_the_reference_detections(real_season):
    reference = pl.read_csv(
        Path(os.environ["DAWNCHORUS_AUDIO"]) / "birdnet_example" / "birdnet_v2.4_reference.csv"
    )
    found = pl.read_parquet(
        Results(real_season.results).detections(RecorderDay("BIRDNET", "2021-05-24"))
    )
    ours = {
        (row["offset"] // 48_000, row["species"]): row["confidence"]
        for row in found.iter_rows(named=True)
    }
    assert reference.height == 36
    theirs = {
        (int(row["start_s"]), row["label"].split("_")[0]): row["conf_birdnet_pkg_0.1.6_testresult"]
        for row in reference.iter_rows(named=True)
    }
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_the_simulator_makes_what_the_workflow_expects(tmp_path):
    season = make_season(
        tmp_path / "s", "--recorders", "1", "--days", "1", "--recordings", "1", "--tiny"
    )
    assert season.planned("inventory") == {"scan": 1, "inventory": 1}
