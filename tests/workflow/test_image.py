"""With --sdm apptainer each job runs inside the configured image, with the checkout's code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import environment, make_season

pytestmark = [pytest.mark.workflow]

APPTAINER = """#!/bin/bash
# apptainer exec [options] IMAGE COMMAND ...: notes the image and runs the command here.
[ "$1" = --version ] && { echo apptainer version 1.3.4; exit; }
shift
while [ ! -f "$1" ]; do shift; done
echo "$(realpath "$1")" >> "$(dirname "$0")/images"
shift
PATH="$(dirname "$0")/image:$PATH" exec "$@"
"""


def test_jobs_run_in_the_image_with_the_checkouts_code(tmp_path: Path):
    season = make_season(
        tmp_path / "season", "--recorders", "1", "--days", "1", "--recordings", "1", "--tiny"
    )
    (season.root / "dawnchorus.sif").touch()
    season.configure(container="dawnchorus.sif")
    bin_folder = tmp_path / "bin"
    (bin_folder / "image").mkdir(parents=True)
    (bin_folder / "apptainer").write_text(APPTAINER)
    # The package inside the image is another one.
    (bin_folder / "image" / "dawnchorus").write_text("#!/bin/sh\nexit 9\n")
    for program in (bin_folder / "apptainer", bin_folder / "image" / "dawnchorus"):
        program.chmod(0o755)
    given = environment(bin_folder)
    given["PATH"] = os.pathsep.join([str(bin_folder), given["PATH"]])
    ended = subprocess.run(
        season.command("--sdm", "apptainer", "--", "inventory"), cwd=season.root, env=given,
        text=True, check=False, capture_output=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (season.results / "inventory" / "faults.tsv").exists()
    images = set((bin_folder / "images").read_text().split())
    assert images == {str(season.root / "dawnchorus.sif")}
