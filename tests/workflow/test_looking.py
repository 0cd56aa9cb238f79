"""What a person sees before and after a run: real dry runs, the picture, a new training set."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from dawnchorus.overview.graph import READS

from .conftest import environment
from .test_reruns import renamed, song_meter_recording

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

BEGINS = re.compile(r"^(What would run, and why|Nothing would run)", re.MULTILINE)
ONE_DAY = [
    "Jobs",
    "  inventory                 1 job",
    "  spectrograms              1 recorder-day",
    "  BirdNET                   1 recorder-day",
    "  embeddings                1 recorder-day (one)",
    "  clusters: assignment      1 recorder-day (one)",
    "  statistics of the space   1 job (one)",
    "  map: placement            1 job (one)",
    "  outliers                  1 job (one)",
    "  evaluation                1 job",
    "  figures                   1 job (one)",
    "  figures of the evaluation 1 job",
    "  report                    1 job",
]


def summary(season, *arguments) -> list[str]:
    shown = season.run("--dry-run", *arguments)
    begins = BEGINS.search(shown)
    assert begins is not None, shown
    return shown[begins.start() :].splitlines()


def command(season, *arguments) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "dawnchorus", *arguments, "--config", "config.yaml"],
        cwd=season.root, capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def state(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def new_day(season) -> None:
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))


def test_a_fresh_season(season):
    shutil.rmtree(season.results)
    shutil.rmtree(season.root / ".snakemake")
    told = summary(season, "--quiet", "rules")
    size = sum(
        path.stat().st_size for path in season.cards.rglob("*") if path.suffix.lower() == ".wav"
    )
    megabytes = 27.15 * size / (44_100 * 2 * 3600)
    assert told == [
        "What would run, and why",
        "  4 new recorder-days (REC01/2021-05-24 and 3 more)",
        "  experiment one is not trained yet",
        "Jobs",
        "  inventory                 1 job",
        "  spectrograms              4 recorder-days",
        "  BirdNET                   4 recorder-days",
        "  training set              1 job",
        "  training                  1 job (one)",
        "  embeddings                4 recorder-days (one)",
        "  clusters: fit             1 job (one)",
        "  clusters: assignment      4 recorder-days (one)",
        "  statistics of the space   1 job (one)",
        "  map: fit                  1 job (one)",
        "  map: placement            1 job (one)",
        "  attention                 1 job (one)",
        "  outliers                  1 job (one)",
        "  evaluation                1 job",
        "  figures                   1 job (one)",
        "  figures of the evaluation 1 job",
        "  report                    1 job",
        "  29 jobs in all; nothing goes to a scheduler",
        "What it takes",
        "  inventory                 0 s                       benchmarks/results/scan.txt",
        f"  spectrograms              20 s CPU, {megabytes:.1f} MB          "
        "benchmarks/results/spectrograms.txt; new recordings taken as 16-bit mono WAV at 44.1 kHz",
        "  unknown, not measured yet: BirdNET, training set, training, embeddings, clusters: fit, "
        "clusters: assignment, statistics of the space, map: fit, map: placement, attention, outliers, evaluation, figures, "
        "figures of the evaluation, report",
        f"  what is known: 20 s CPU, {megabytes:.1f} MB",
        "Training set",
        "  the training set is not drawn yet",
        "  edition 1 is drawn from all 4 recorder-days in this run",
    ]
    assert not season.results.exists()


def test_nothing_to_do_one_new_day_and_a_changed_parameter(season):
    before = state(season.results)
    assert summary(season) == [
        "Nothing would run: all that was asked for is there.",
        "Training set",
        "  the training set (edition 1) was drawn from all 4 recorder-days",
    ]
    new_day(season)
    told = summary(season)
    assert told[:2] == ["What would run, and why", "  1 new recorder-day (REC02/2021-06-01)"]
    assert told[2:15] == ONE_DAY
    assert told[15:17] == ["  12 jobs in all; nothing goes to a scheduler", "What it takes"]
    measured = told[17:-3]
    assert [line[2:27].strip() for line in measured] == [line[2:27].strip() for line in ONE_DAY[1:]]
    assert all("  this season, mean of " in line for line in measured)
    assert "mean of 4 jobs" in measured[1] and "mean of 1 job" in measured[0]
    assert re.fullmatch(r"  in all: [\d,]+ (s|min) CPU, [\d.]+ [kM]B", told[-3])
    assert told[-2:] == [
        "Training set",
        "  1 of 5 recorder-days is not in the training set (20.0 %)",
    ]

    season.configure(spectrogram={"f_max": 14000}, training_set={"edition": 2})
    told = summary(season)
    assert told[1:4] == [
        "  1 new recorder-day (REC02/2021-06-01)",
        "  training set edition 2 (was 1)",
        "  spectrogram.f_max 15000.0 -> 14000.0 (spectrograms, training set)",
    ]
    assert told[4] == "Jobs"
    assert "  edition 2 is drawn from all 5 recorder-days in this run" in told
    # Five recorder-days in packs of three are two submissions; the report is made here.
    told = summary(
        season, "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "false", "--jobs", "5",
        "--groups", "spectrograms_day=cut", "embed_day=embed", "assign_day=assign",
        "--group-components", "cut=3", "embed=96", "assign=2",
    )  # fmt: skip
    (line,) = (line for line in told if " in all; " in line)
    assert line == (
        "  29 jobs in all; 19 submissions to the scheduler (inventory 1, spectrograms 2, BirdNET 1, "
        "training set 1, training 1, embeddings 1, clusters: fit 1, clusters: assignment 3, statistics of the space 1, "
        "map: fit 1, map: placement 1, attention 1, outliers 1, evaluation 1, figures 1, figures of the evaluation 1); "
        "1 job runs where Snakemake runs"
    )
    assert state(season.results) == before


def test_what_only_prints_is_left_alone(season):
    for arguments in (["--dag"], ["--rulegraph"], ["--summary"], ["--dry-run", "--quiet"]):  # fmt: skip
        ended = subprocess.run(
            season.command(*arguments), cwd=season.root, capture_output=True, text=True,
            check=True, env=environment(),
        )  # fmt: skip
        assert not BEGINS.search(ended.stdout + ended.stderr)
        if arguments == ["--dag"]:  # with --dry-run Snakemake itself logs to standard output
            assert re.fullmatch(r"digraph snakemake_dag \{\n.*\}\s*", ended.stdout, re.DOTALL)
        if arguments == ["--rulegraph"]:
            rules = dict(re.findall(r'(\d+)\[label = "(\w+)"', ended.stdout))
            edges = {(rules[a], rules[b]) for a, b in re.findall(r"(\d+) -> (\d+)", ended.stdout)}
    # The picture's edges are the workflow's own (indices and sweep are not asked for here).
    drawn = {edge for edge in READS if not {"indices_day", "sweep"} & set(edge)}
    assert drawn <= edges, drawn - edges


def test_a_new_training_set_is_proposed_and_begins_with_the_weights_there_are(season):
    assert "the same windows: there is nothing to adopt" in command(season, "freeze")
    new_day(season)
    told = command(season, "freeze").splitlines()
    assert told[1].startswith("a new one: edition 2, 40 windows, ")
    assert told[2:4] == [
        "1 recorder-day more than before: REC02/2021-06-01",
        "1 recorder-day without spectrograms yet, not counted here: REC02/2021-06-01; "
        "for exact numbers run 'snakemake ... spectrograms' first",
    ]
    season.run("spectrograms")
    before = state(season.results)
    told = command(season, "freeze").splitlines()
    assert state(season.results) == before
    assert told[0] == "the training set that stands: edition 1, 40 windows"
    new_windows = int(re.fullmatch(
        r"a new one: edition 2, 40 windows, (\d+) of them new, from 5 recorder-days", told[1]
    )[1])  # fmt: skip
    assert 0 < new_windows < 40
    assert told[2] == "1 recorder-day more than before: REC02/2021-06-01"
    assert [line.split()[0] for line in told[3:6]] == ["windows", "REC01", "REC02"]
    then = [int(line.split()[-1]) for line in told[4:6]]
    assert sum(then) == 40
    assert told[-5:] == [
        "training_set:",
        "  edition: 2",
        "experiments:",
        "  one:",
        "    warm_start: true  # with the weights of step 5; leave it out to begin anew",
    ]

    import polars as pl
    import yaml

    values = yaml.safe_load((season.root / "config.yaml").read_text())
    recipe = {**values["experiments"]["one"], "warm_start": True}
    season.configure(training_set={"edition": 2}, experiments={"one": recipe})
    season.run("train")
    log = (season.results / "logs" / "train" / "one.log").read_text()
    assert "starting from its weights" in log and "step-00000005" in log
    table = pl.read_parquet(season.results / "training" / "windows.parquet")
    assert table.group_by("recorder").len().sort("recorder")["len"].to_list() == then
    assert command(season, "status").splitlines()[-2] == (
        "training set: the training set (edition 2) was drawn from all 5 recorder-days"
    )
