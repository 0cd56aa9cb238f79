"""A season small enough for real Snakemake runs, made once and copied for each event."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from filelock import FileLock

from . import warm

REPOSITORY = Path(__file__).parents[2]

CONFIG = {
    "results": "results",
    "audio": {"root": "cards", "deployments": "deployments.csv", "timezone": "America/Chicago"},
    "training_set": {"windows": 40, "seed": 1},
    "experiments": {
        "one": {
            "recipe": "none", "backbone": "vit_nano", "epochs": 1, "batch_size": 8,
            "warmup_epochs": 0, "precision": "fp32", "drop_path": 0.0,
            "dino": {
                "out_dim": 32, "head_hidden": 16, "head_bottleneck": 8, "local_crops": 1,
                "temperature_warmup_epochs": 0,
            },
        }
    },
    "embedding": {"batch_size": 16},
    "clustering": {"k": 4, "fit_windows": 40, "restarts": 1},
    "map": {"method": "pca", "fit_windows": 40},
    "attention": {"windows_per_cluster": 1},
    "evaluation": {
        "windows": 60, "bootstrap": 10, "folds": 2, "annotations": "truth.parquet",
        "confidences": [0.1, 0.25, 0.5], "groups": ["recorder_day"], "shots": [],
        "attentive_windows": 0,
    },
}  # fmt: skip


@dataclass
class Season:
    """A working folder with cards, deployments and a config."""

    root: Path
    commands: ClassVar[tuple[Path, ...]] = ()
    """Folder of the ``dawnchorus`` that jobs call, if it is not the real one: :mod:`~tests.workflow.warm`."""

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    def configure(self, **sections) -> None:
        path = self.root / "config.yaml"
        values = yaml.safe_load(path.read_text())
        for section, changes in sections.items():
            if isinstance(changes, dict):
                values[section] = {**values.get(section, {}), **changes}
            else:
                values[section] = changes
        path.write_text(yaml.safe_dump(values))

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"),
            "--profile", str(REPOSITORY / "profiles" / "local"), "--configfile", "config.yaml",
            "--cores", str(cores), *arguments,
        ]  # fmt: skip

    def snakemake(self, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, cores=cores), cwd=self.root, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(*self.commands), timeout=900,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        ended = self.snakemake(*arguments)
        assert ended.returncode == 0, ended.stdout[-6000:]
        return ended.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry run lists, by rule."""
        return self.counted(self.run("--dry-run", *arguments))

    @staticmethod
    def counted(shown: str) -> dict[str, int]:
        """Jobs in what a dry run has shown, by rule."""
        if "Nothing to be done" in shown:
            return {}
        table = shown.rsplit("Job stats:", maxsplit=1)[-1]
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE))
        jobs.pop("total")
        return {rule: int(count) for rule, count in jobs.items()}

    def copy_to(self, root: Path) -> Season:
        shutil.copytree(self.root, root, symlinks=True)
        return Season(root)


def environment(*folders: Path) -> dict[str, str]:
    """That of the jobs: they find `dawnchorus` in the folders, or beside the interpreter of the tests."""
    path = [*map(str, folders), str(Path(sys.executable).parent), os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session", autouse=True)
def warm_jobs(tmp_path_factory) -> Iterator[None]:
    """Have the jobs of :meth:`Season.snakemake` forked from a process that has everything imported."""
    folder = tmp_path_factory.mktemp("warm")
    address = folder / "asked"
    command = [sys.executable, "-m", "tests.workflow.warm", str(address)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment())
    while not address.exists():
        assert process.poll() is None, "it says why above"
        time.sleep(0.1)
    Season.commands = (warm.install(folder / "bin", address),)
    yield
    Season.commands = ()
    process.terminate()
    process.wait()


def make_season(root: Path, *options: str) -> Season:
    subprocess.run(
        [sys.executable, "-m", "dawnchorus", "simulate", str(root), *options],
        check=True, capture_output=True, env=environment(),
    )  # fmt: skip
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return Season(root)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Season:
    """Two recorders, two days, run to the end; do not change it, copy it.

    Made once, by whichever process of the tests comes first.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    root, whole = shared / "finished" / "season", shared / "finished" / "whole"
    with FileLock(shared / "finished.lock"):
        if not whole.exists():
            season = make_season(
                root, "--recorders", "2", "--days", "2", "--recordings", "2", "--seconds", "22",
                "--workers", "2",
            )  # fmt: skip
            season.run()
            whole.touch()
    return Season(root)


@pytest.fixture
def season(finished, tmp_path) -> Season:
    """A finished season of one's own."""
    return finished.copy_to(tmp_path / "season")
