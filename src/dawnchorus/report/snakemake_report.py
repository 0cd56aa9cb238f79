"""Snakemake's own report, made from inside the workflow.

In: settings and the Snakefile. Out: ``report.html``, published whole, with every figure and table that
the rules flag, their captions, and the time each job took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import Results, publishing


def write_report(settings: Settings, results: Results, snakefile: Path) -> None:
    """Have Snakemake write its report of everything up to the figures.

    Raises
    ------
    DawnChorusError
        If the Snakefile is missing, or Snakemake cannot write the report; its own words are on
        standard error.
    """
    if not snakefile.is_file():
        raise DawnChorusError("is not there", snakefile, "name the workflow with --snakefile")
    targets = [
        *(results.experiment(name).figure("map_cluster.png") for name in settings.experiments),
        *(results.experiment(name).figure("outliers.html") for name in settings.experiments),
        results.comparison("agreement.png"),
        results.calendar,
    ]
    with (
        publishing(results.report) as partial,
        tempfile.TemporaryDirectory() as folder,
    ):
        configuration = Path(folder) / "config.json"
        configuration.write_text(json.dumps(settings.model_dump(mode="json")), encoding="utf-8")
        # Snakemake tells the kind of report by the suffix.
        page = Path(folder) / "report.html"
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(snakefile),
            "--configfile", str(configuration), "--cores", "1", "--nolock", "--quiet", "all",
            "--report", str(page), "--", *map(str, targets),
        ]  # fmt: skip
        finished = subprocess.run(command, check=False)
        if finished.returncode or not page.is_file():
            raise DawnChorusError(
                f"snakemake --report ended with status {finished.returncode}",
                results.report,
                "its own words are above",
            )
        partial.write_bytes(page.read_bytes())
