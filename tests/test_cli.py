"""The commands: help with an example, one line for a person's mistake, status 0 only for all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONTRACT = [
    "scan",
    "spectrograms",
    "indices",
    "verify",
    "sample",
    "train",
    "embed",
    "attend",
    "cluster",
    "assign",
    "map",
    "outliers",
    "search",
    "birdnet",
    "evaluate",
    "report",
    "explore",
    "export",
    "label",
    "simulate",
    "submission",
    "status",
    "graph",
    "freeze",
]


def dawnchorus(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dawnchorus", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=120,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("command", CONTRACT)
def test_every_command_of_the_contract_helps_with_an_example(command):
    shown = dawnchorus(command, "--help", COLUMNS="200")
    assert shown.returncode == 0
    assert f"Example: dawnchorus {command}" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scan", "--set", "audio.root=nowhere"], ["nowhere"]),
        (["scan", "--set", "audio.rot=x"], ["audio.rot", "did you mean 'root'"]),
        (["scan", "--config", "missing.yaml"], ["missing.yaml", "No such file"]),
        (["scan", "--settings", "{"], ["--settings", "not JSON"]),
        (["cluster", "-e", "nope"], ["nope", "dino_vits16"]),
        (["map", "-e", "dino_vits16", "--days", "x"], ["--days", "recorder/date"]),
        (["report", "--snakefile", "none"], ["none", "is not there"]),
        (["spectrograms", "--recorder", "a", "--date", "2021-05-24"], ["recordings.parquet"]),
        (["sample"], ["recorder-days", "dawnchorus spectrograms"]),
        (["freeze"], ["windows.json", "not drawn yet", "run snakemake"]),
    ],
)
def test_a_mistake_is_one_line_and_status_1(tmp_path, arguments, words):
    ended = dawnchorus(*arguments, cwd=tmp_path)
    assert ended.returncode == 1
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("dawnchorus: ")
    for word in words:
        assert word in lines[0]
    assert list(Path(tmp_path).rglob("*.partial")) == []


def test_debug_shows_the_traceback(tmp_path):
    ended = dawnchorus("--debug", "scan", "--set", "audio.root=nowhere", cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_help_answers_without_loading_torch():
    loaded = subprocess.run(
        [sys.executable, "-c", "import dawnchorus.cli, sys; print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "False"
