"""The workflow on a real Slurm: how many jobs it submits, and what it does when they end badly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from snakemake.profiles import ProfileConfigFileParser

from dawnchorus.results import Results
from workflow.conftest import Season, make_season

from .conftest import REPOSITORY, Submitter

PROFILE = REPOSITORY / "profiles" / "slurm" / "profile.v9+.yaml"
PARTITIONS = {"DAWNCHORUS_PARTITION": "days", "DAWNCHORUS_GPU_PARTITION": "gpus"}
EXPERIMENT = {
    "batch_size": 4, "epochs": 2,
    "resources": {"runtime_minutes": 1, "threads": 2, "memory_mb": 3000},
}  # fmt: skip
"""Four steps of training; a job's only minute is the margin in which to save, so each stops after one."""

# Its name is that of the workflow's rule: the profile packs it.
SNAKEFILE = """
rule all:
    input: expand("spectrograms.{day}", day=range(2))

rule spectrograms_day:
    output: "spectrograms.{day}"
    resources: mem_mb=100
    shell: "echo {wildcards.day} >> began; while [ ! -e go ]; do sleep 0.2; done; touch {output}"

localrules: all
"""
PACKED = "rule_spectrograms_spectrograms_day"
"""What the plugin calls a job of these recorder-days."""


def profile(monkeypatch, **environment: str) -> dict[str, Any]:
    """The profile as Snakemake reads it in this environment."""
    for name in [*PARTITIONS, "DAWNCHORUS_PROJECT", "SBATCH_ACCOUNT", "SBATCH_PARTITION"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with PROFILE.open() as stream:
        return dict(ProfileConfigFileParser().parse(stream))


@pytest.mark.parametrize(
    ("environment", "read"),
    [
        ({}, []),
        # Texts, whatever they look like: a number, a difference, the name of a function.
        ({"DAWNCHORUS_PROJECT": "0042"}, ["slurm_account='0042'"]),
        ({"SBATCH_ACCOUNT": "bio-birds"}, ["slurm_account='bio-birds'"]),
        ({"SBATCH_ACCOUNT": "a", "DAWNCHORUS_PROJECT": "max"}, ["slurm_account='max'"]),
        ({"SBATCH_PARTITION": "b", "DAWNCHORUS_PARTITION": "c"}, ["slurm_partition='c'"]),
    ],
)
def test_account_and_partition_come_from_the_environment(environment, read, monkeypatch):
    resources = profile(monkeypatch, **environment)["default-resources"]
    assert resources == ["runtime=60", "turn=1", *read]


@pytest.mark.parametrize("name", ["DAWNCHORUS_GPU_PARTITION", "SBATCH_PARTITION"])
def test_what_uses_a_gpu_goes_to_the_gpu_partition(name, monkeypatch):
    resources = profile(monkeypatch, **{name: "p"})["set-resources"]
    assert {line.split(":")[0] for line in resources if line.endswith("slurm_partition='p'")} == {
        "embed_day", "train_experiment", "attend", "labelled_set",
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(slurm, tmp_path_factory) -> tuple[Season, Submitter, str]:
    """A season of two recorder-days, all the way from the cards to the report."""
    season = make_season(
        tmp_path_factory.mktemp("whole") / "season", "--recorders", "2", "--days", "1",
        "--recordings", "1", "--seconds", "22",
    )  # fmt: skip
    values = yaml.safe_load((season.root / "config.yaml").read_text())
    season.configure(
        training_set={"windows": 8},
        experiments={"one": values["experiments"]["one"] | EXPERIMENT},
        clustering={"k": 2, "fit_windows": 8},
        map={"fit_windows": 10},
        evaluation={"windows": 12, "shots": [], "attentive_windows": 0},
    )
    submitter = Submitter(slurm, season.root, REPOSITORY / "Snakefile", PARTITIONS)
    running = submitter.start("--configfile", "config.yaml")
    said = submitter.finish(running, 1100)
    assert running.returncode == 0, said[-6000:]
    return season, submitter, said


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_season_goes_all_the_way_in_sixteen_submissions(whole):
    season, submitter, _ = whole
    assert (season.results / "report.html").exists()
    assert season.planned() == {}
    done = [
        "scan", "birdnet_birdnet_day", "spectrograms_spectrograms_day", "sample",
        "train_experiment_wildcards_one", "embed_embed_day", "cluster_wildcards_one",
        "map_map_map_fit", "assign_assign_day", "attend_wildcards_one", "outliers_wildcards_one",
        "evaluation_comparison_figures_evaluate", "figures_experiment_figures_statistics",
    ]  # fmt: skip
    expected = [(f"rule_{name}", "COMPLETED") for name in done]
    expected += 3 * [("rule_train_experiment_wildcards_one", "FAILED")]
    assert sorted(submitter.states()) == sorted(expected)
    # Members of a packed job run one after the other: threads, memory and GPU of one, the time of all.
    asked = {job["comment"]: job for job in submitter.jobs()}
    packed = {name: list(asked[name].values())[3:7] for name in (PACKED, "rule_embed_embed_day")}
    assert packed == {
        PACKED: ["days", "8", "2000M", "10:00"],
        "rule_embed_embed_day": ["gpus", "8", "16000M", "20:00"],
    }
    gpus = {name: submitter.slurm.told(job["job"]).get("TresPerJob") for name, job in asked.items()}
    assert gpus == dict.fromkeys(gpus) | {
        "rule_embed_embed_day": "gres:gpu:1",
        "rule_train_experiment_wildcards_one": "gres:gpu:1",
        "rule_attend_wildcards_one": "gres:gpu:1",
    }


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_cut_three_times_learns_what_an_uninterrupted_one_does(whole, tmp_path):
    season, submitter, said = whole
    trainings = [job for job in submitter.jobs() if "train_experiment" in job["comment"]]
    assert [job["state"] for job in trainings] == [*["FAILED"] * 3, "COMPLETED"]
    assert [job["minutes"] for job in trainings] == ["1:00"] * 4
    for step in (1, 2, 3):
        assert f"saved at step {step}; start again to go on" in said
    log = (season.results / "logs" / "train" / "one.log").read_text()
    assert "going on at step 3 of 4" in log
    assert said.count("Trying to restart job") == 3

    # The same once more, here and in one go.
    other = season.copy_to(tmp_path / "season")
    ours, theirs = (Results(one.results).experiment("one") for one in (season, other))
    theirs.model.unlink()
    shutil.rmtree(theirs.checkpoints)
    model = str(theirs.model.relative_to(other.root))
    other.run(model, "--set-resources", "train_experiment:runtime=600")
    log = (other.results / "logs" / "train" / "one.log").read_text()
    assert "going on" not in log and "training one: 4 steps" in log
    weights, again = load_file(ours.model), load_file(theirs.model)
    assert weights.keys() == again.keys()
    for name, tensor in weights.items():
        assert np.array_equal(tensor, again[name]), name


@pytest.mark.workflow
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_of_two_nodes_learns_what_one_does(whole, tmp_path):
    season, submitter, _ = whole
    other = season.copy_to(tmp_path / "season")
    theirs = Results(other.results).experiment("one")
    theirs.model.unlink()
    shutil.rmtree(theirs.checkpoints)
    experiment = yaml.safe_load((other.root / "config.yaml").read_text())["experiments"]["one"]
    resources = {"nodes": 2, "gpus": 0, "threads": 1, "memory_mb": 3000, "runtime_minutes": 30}
    other.configure(experiments={"one": experiment | {"resources": resources}})
    pair = Submitter(
        submitter.slurm, other.root, REPOSITORY / "Snakefile", {"DAWNCHORUS_PARTITION": "pair"}
    )
    running = pair.start(
        str(theirs.model.relative_to(other.root)), "--configfile", "config.yaml", "--set-resources",
        "train_experiment:tasks=2",
    )  # fmt: skip
    said = pair.finish(running)
    log = other.results / "logs" / "train" / "one.log"
    assert running.returncode == 0, said + log.read_text()
    (job,) = pair.jobs()
    assert pair.slurm.told(job["job"])["NumNodes"] == "2"
    # Two halves of a batch, added up in another order; nothing else differs.
    weights, again = (
        load_file(Results(season.results).experiment("one").model),
        load_file(theirs.model),
    )
    assert max(np.abs(weights[name] - again[name]).max() for name in weights) < 2e-4
    history = [json.loads(line) for line in theirs.log.read_text().splitlines()]
    assert [entry["step"] for entry in history] == [1, 2, 3, 4]


@pytest.fixture
def days(slurm, tmp_path) -> Iterator[Submitter]:
    """Two recorder-days that wait for the file `go`."""
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(SNAKEFILE)
    submitter = Submitter(slurm, tmp_path, snakefile)
    yield submitter
    submitter.end()


def began(days: Submitter) -> list[str]:
    path = days.folder / "began"
    return sorted(path.read_text().split()) if path.exists() else []


@pytest.mark.workflow
@pytest.mark.slow
def test_a_job_that_somebody_deleted_is_submitted_again(days):
    running = days.start()
    days.until(lambda: began(days))
    (victim,) = [job["job"] for job in days.jobs()]
    days.slurm.call("scancel", victim)
    days.until(lambda: len(days.jobs()) == 2)
    (days.folder / "go").touch()
    said = days.finish(running)
    assert running.returncode == 0, said
    assert "Trying to restart job" in said
    assert days.states() == [(PACKED, "CANCELLED"), (PACKED, "COMPLETED")]
    assert {path.name for path in days.folder.glob("spectrograms.*")} == {
        f"spectrograms.{day}" for day in range(2)
    }


@pytest.mark.workflow
@pytest.mark.slow
def test_slurm_itself_is_killed_and_comes_back(days):
    """Jobs run on without it, and Snakemake neither loses nor repeats any."""
    running = days.start("spectrograms.0")
    days.until(lambda: began(days))
    # slurmctld writes its jobs down within five seconds; one that dies before has forgotten them.
    time.sleep(6)
    days.slurm.kill_controller()
    try:
        # Some rounds of checks fall into this time; the job ends in it, unseen.
        (days.folder / "go").touch()
        time.sleep(5)
        assert running.poll() is None
    finally:
        days.slurm.start_controller()
    said = days.finish(running)
    assert running.returncode == 0, said
    assert days.states() == [(PACKED, "COMPLETED")]
    assert began(days) == ["0"]


@pytest.mark.workflow
@pytest.mark.slow
def test_ctrl_c_ends_the_jobs(days):
    running = days.start("spectrograms.0", patient=True)
    days.until(lambda: began(days))
    os.killpg(running.pid, signal.SIGINT)
    days.until(lambda: days.states() == [(PACKED, "CANCELLED")])
    assert not (days.folder / "spectrograms.0").exists()
