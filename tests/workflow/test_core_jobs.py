"""Jobs of the environments without torch do without it, and make the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from dawnchorus.results import Results

from .conftest import environment

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

WITHOUT_TORCH = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "torchvision", "torchaudio"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
"""


def test_core_and_birdnet_jobs_make_the_same_without_torch(season, tmp_path):
    """envs/core.yaml and envs/birdnet.yaml hold no torch: nothing may need it, however late."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TORCH)
    without = environment() | {"PYTHONPATH": os.fspath(tmp_path)}

    def dawnchorus(*arguments: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "dawnchorus", *arguments, "--config", "config.yaml"],
            cwd=season.root, env=without, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr

    blocked = subprocess.run(
        [sys.executable, "-c", "import torch"], env=without, capture_output=True, check=False
    )
    assert b"No module named 'torch'" in blocked.stderr

    results = Results(season.results)
    one, days = results.experiment("one"), results.days_with_receipts()
    made = [
        results.recordings, results.faults,
        *(results.spectrograms_receipt(day) for day in days),
        *(results.detections_receipt(day) for day in days),
        results.training_windows, one.clusters_receipt, one.members,
        *(one.assignment(day) for day in days),
        one.projection, one.map_receipt, *(one.points(day) for day in days),
        one.outliers("windows"), one.figure("outliers.html"),
        one.cards, one.figure("map_cluster.png"), one.figure("attention.png"),
        results.comparison("agreement.png"),
    ]  # fmt: skip
    before = {path: path.read_bytes() for path in made}
    for folder in ("inventory", "spectrograms", "birdnet", "training"):
        shutil.rmtree(results.root / folder)
    for folder in ("clusters", "map", "outliers", "figures"):
        shutil.rmtree(one.root / folder)

    listed = ",".join(map(str, days))
    dawnchorus("scan")
    for day in days:
        dawnchorus("spectrograms", "--recorder", day.recorder, "--date", day.date)
        dawnchorus("birdnet", "--recorder", day.recorder, "--date", day.date)
    dawnchorus("sample", "--days", listed)
    dawnchorus("cluster", "--experiment", "one")
    for day in days:
        dawnchorus("assign", "-e", "one", "--recorder", day.recorder, "--date", day.date)
    dawnchorus("map", "--fit", "--experiment", "one")
    dawnchorus("map", "--experiment", "one", "--days", listed)
    dawnchorus("outliers", "--experiment", "one", "--days", listed)
    dawnchorus("report", "--experiment", "one", "--days", listed)
    dawnchorus("report", "--comparison")
    changed = [path for path in made if path.read_bytes() != before[path]]
    assert changed == []
