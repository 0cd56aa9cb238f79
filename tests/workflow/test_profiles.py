"""What people call before they submit anything works with each profile, and writes nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import REPOSITORY, Season, environment

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

PROFILES = ("local", "cobalt", "pbs", "slurm")
CALLS = {
    "--lint": "Congratulations",
    "--rulegraph": "digraph snakemake_dag",
    "--summary": "output_file\tdate\trule",
    "--list-changes params": "",
}


@pytest.mark.parametrize("profile", PROFILES)
def test_it_can_be_looked_at(finished: Season, profile: str):
    if profile == "slurm":
        pytest.importorskip("snakemake_executor_plugin_slurm")
    before = {path: path.stat().st_mtime_ns for path in finished.results.rglob("*")}
    for call, expected in CALLS.items():
        ended = subprocess.run(
            [
                sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"),
                "--profile", str(REPOSITORY / "profiles" / profile), "--configfile", "config.yaml",
                *call.split(),
            ],
            cwd=finished.root, text=True, capture_output=True, check=False, timeout=120,
            env=environment() | {"DAWNCHORUS_PROJECT": "birds"},
        )  # fmt: skip
        assert ended.returncode == 0, f"{call}\n{ended.stderr}"
        assert expected in ended.stdout + (ended.stderr if call == "--lint" else ""), call
        assert "Traceback" not in ended.stderr
    assert {path: path.stat().st_mtime_ns for path in finished.results.rglob("*")} == before
