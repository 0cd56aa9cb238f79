"""What the workflow's engine costs for a whole season: 909 recorder-days, 43,632 recordings, 3,649 jobs.

Ours is the workflow as it is, with the local profile; its steps do nothing but write their rule's outputs
(``DAWNCHORUS_STUB_RUN``). The peer is a bare Snakefile of the same jobs and files, as a person would write it:
the recordings are inputs, there are no parameters, logs or benchmarks; it reads a ready list of the
recordings and need not find them. The floor of a dry run is the same Snakefile without the recordings; that of
a run is one start of the shell per job. A dry run counts in its best round, in seconds from start to end.

Run ``python benchmarks/workflow.py [--quick] [--rounds 3] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from dawnchorus.config import validate
from dawnchorus.recordings.inventory import scan
from dawnchorus.recordings.table import read_recordings
from dawnchorus.results import Results
from dawnchorus.stub_run import SWITCH
from spectrograms import heading

REPOSITORY = Path(__file__).parents[1]
EXPERIMENT = "dino_vits16"
CONFIG = {
    "results": "results",
    "audio": {"root": "cards", "deployments": "deployments.csv", "timezone": "America/Chicago"},
    "experiments": {EXPERIMENT: {"method": "dino", "backbone": "vit_small"}},
}
NEW_DATE = "20211101"
"""After the season."""

BARE = """
import csv

with open("recordings.tsv") as handle:
    RECORDINGS = {}
    for recorder, date, path in csv.reader(handle, delimiter="\\t"):
        RECORDINGS.setdefault((recorder, date), []).append(path)
with open("pool.tsv") as handle:
    POOL = [tuple(row) for row in csv.reader(handle, delimiter="\\t")]
DAYS = sorted(RECORDINGS)

def each(pattern, days=DAYS):
    return [pattern.format(recorder=recorder, date=date) for recorder, date in days]

SPECTROGRAMS = "bare/spectrograms/{recorder}/{date}.json"
BIRDNET = "bare/birdnet/{recorder}/{date}.json"
EMBEDDINGS = "bare/one/embeddings/{recorder}/{date}.json"
CLUSTERS = "bare/one/clusters/{recorder}/{date}.json"

rule all:
    input: "bare/report.html"

rule scan:
    output: "bare/recordings.parquet", "bare/faults.tsv", "bare/calendar.html"
    shell: ": > {output[0]}; : > {output[1]}; : > {output[2]}"

rule spectrograms_day:
    input: ancient("bare/recordings.parquet"), INPUTS
    output: SPECTROGRAMS
    shell: ": > {output}"

rule birdnet_day:
    input: ancient("bare/recordings.parquet")
    output: BIRDNET
    shell: ": > {output}"

rule sample:
    input: ancient(each(SPECTROGRAMS, POOL))
    output: "bare/windows.parquet", "bare/windows.json"
    shell: ": > {output[0]}; : > {output[1]}"

rule train:
    input: "bare/windows.parquet", ancient(each(SPECTROGRAMS, POOL))
    output: "bare/one/model"
    shell: ": > {output}"

rule embed_day:
    input: "bare/one/model", SPECTROGRAMS
    output: EMBEDDINGS
    shell: ": > {output}"

rule cluster:
    input: "bare/one/model", "bare/windows.json", ancient(each(EMBEDDINGS, POOL))
    output: "bare/one/centroids", "bare/one/members", "bare/one/clusters.json"
    shell: ": > {output[0]}; : > {output[1]}; : > {output[2]}"

rule assign_day:
    input: "bare/one/clusters.json", "bare/one/centroids", EMBEDDINGS
    output: CLUSTERS
    shell: ": > {output}"

rule statistics:
    input: "bare/one/clusters.json", "bare/one/members", each(CLUSTERS)
    output: "bare/one/statistics.json"
    shell: ": > {output}"

rule map_fit:
    input: "bare/one/model", "bare/windows.json", ancient(each(EMBEDDINGS, POOL))
    output: "bare/one/projection"
    shell: ": > {output}"

rule map:
    input: "bare/one/projection", each(EMBEDDINGS)
    output: "bare/one/map.json"
    shell: ": > {output}"

rule attend:
    input: "bare/one/model", "bare/one/members", ancient(each(SPECTROGRAMS, POOL))
    output: "bare/one/attention.json"
    shell: ": > {output}"

rule outliers:
    input:
        "bare/windows.json", "bare/one/clusters.json", "bare/one/centroids", each(CLUSTERS), each(BIRDNET),
        "bare/recordings.parquet"
    output: "bare/one/outliers.json", "bare/one/outlier_windows", "bare/one/outlier_days", "bare/one/outliers.html"
    shell: ": > {output[0]}; : > {output[1]}; : > {output[2]}; : > {output[3]}"

rule evaluate:
    input:
        "bare/recordings.parquet", each(SPECTROGRAMS), each(BIRDNET), each(CLUSTERS), "bare/one/attention.json"
    output: "bare/evaluation.json"
    shell: ": > {output}"

rule experiment_figures:
    input:
        "bare/one/model", "bare/one/map.json", "bare/one/attention.json", "bare/one/statistics.json", each(CLUSTERS),
        each(BIRDNET)
    output: "bare/one/figures"
    shell: ": > {output}"

rule comparison_figures:
    input: "bare/evaluation.json"
    output: "bare/figures"
    shell: ": > {output}"

rule report:
    input: "bare/faults.tsv", "bare/calendar.html", "bare/one/figures", "bare/one/outliers.html", "bare/figures"
    output: "bare/report.html"
    shell: ": > {output}"
"""


@dataclass
class Cost:
    """Of one call."""

    seconds: float
    """Wall."""
    cpu_seconds: float
    """Of the process and all it started."""
    peak_mb: float
    """Largest resident memory of the process tree that was seen, sampled ten times a second."""
    output: str = ""


@dataclass
class Side:
    """A Snakefile, how it is called, and what its calls cost."""

    name: str
    command: list[str]
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def best(self, event: str) -> Cost:
        return min(self.costs[event], key=lambda cost: cost.seconds)


def watched(command: list[str], root: Path, environment: dict[str, str]) -> Cost:
    """Run a command to its end; say what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=root, stdout=log, stderr=subprocess.STDOUT, env=os.environ | environment
        )
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        process.wait()
        seconds = time.perf_counter() - started
        watcher.join()
        log.seek(0)
        output = log.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, peak[0] / 1e6, output)


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    tree = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [tree, *tree.children(recursive=True)]:
                total += one.memory_info().rss
        except psutil.Error:
            total = 0  # one of them has just ended: the next look counts
        peak[0] = max(peak[0], total)
        time.sleep(0.1)


def planned(output: str) -> dict[str, int]:
    """Return the jobs that a dry run lists, by rule."""
    jobs = re.findall(
        r"^(\w+) +(\d+)$", output.rsplit("Job stats:", maxsplit=1)[-1], flags=re.MULTILINE
    )
    return {rule: int(count) for rule, count in jobs if rule != "total"}


def make_season(root: Path, recorders: int, days: int, recordings: int) -> None:
    """Make cards, their real inventory (``scanned``), the config and both bare Snakefiles."""
    options = ["--recorders", str(recorders), "--days", str(days), "--recordings", str(recordings)]
    command = [sys.executable, "-m", "dawnchorus", "simulate", str(root), "--tiny"]
    subprocess.run([*command, *options, "--seconds", "3.5"], check=True, capture_output=True)
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    settings = validate(CONFIG, "the benchmark's configuration")
    here = Path.cwd()
    os.chdir(root)
    try:
        scan(settings, Results(Path("scanned")))
    finally:
        os.chdir(here)
    write_lists(root)
    shutil.copy2(root / "recordings.tsv", root / "season.tsv")
    lines = (root / "recordings.tsv").read_text(encoding="utf-8").splitlines()
    pool = sorted({line.rpartition("\t")[0] for line in lines})
    (root / "pool.tsv").write_text("\n".join(pool) + "\n", encoding="utf-8")
    with_inputs = BARE.replace("INPUTS", "lambda w: RECORDINGS[w.recorder, w.date]")
    (root / "bare.smk").write_text(with_inputs, encoding="utf-8")
    (root / "floor.smk").write_text(
        BARE.replace(", INPUTS", "").replace('"bare/', '"floor/'), encoding="utf-8"
    )


def write_lists(root: Path) -> None:
    rows = read_recordings(Results(root / "scanned").recordings)
    lines = sorted(f"{row.recorder}\t{row.date}\tcards/{row.recording}" for row in rows)
    (root / "recordings.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def furnish(root: Path) -> None:
    """Put in place what the stubs stand for: the real inventory, and a store or table beside each receipt."""
    results = Results(root / "results")
    stub = results.recordings.stat()
    shutil.copyfile(Results(root / "scanned").recordings, results.recordings)
    os.utime(results.recordings, ns=(stub.st_atime_ns, stub.st_mtime_ns))
    space = results.experiment(EXPERIMENT)
    for day in results.days_with_receipts():
        results.spectrograms(day).mkdir()
        space.embeddings(day).mkdir()
        results.detections(day).touch()
        space.assignment(day).touch()


def add_day(root: Path) -> Callable[[], None]:
    """Add a recorder-day to the cards and to the bare lists; return what takes it away again."""
    source = next(iter(sorted((root / "cards").rglob("*_20210524_*.wav"))))
    prefix = source.name.partition("_")[0]
    recorder = source.relative_to(root / "cards").parts[0]
    added = []
    for path in sorted(source.parent.glob(f"{prefix}_20210524_*.wav")):
        added.append(path.with_name(path.name.replace("_20210524_", f"_{NEW_DATE}_")))
        shutil.copy2(path, added[-1])
    with (root / "recordings.tsv").open("a", encoding="utf-8") as handle:
        for path in added:
            handle.write(f"{recorder}\t2021-11-01\t{path.relative_to(root)}\n")

    def take_away() -> None:
        for path in added:
            path.unlink()
        shutil.copy2(root / "season.tsv", root / "recordings.tsv")

    return take_away


def shells(jobs: int, root: Path) -> float:
    """Seconds that so many starts of the shell take, one after another."""
    started = time.perf_counter()
    for number in range(jobs):
        subprocess.run(["bash", "-c", f": > {root}/{number % 64}.out"], check=True)
    return time.perf_counter() - started


def sides() -> Iterator[Side]:
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2"]
    local = ["--profile", str(REPOSITORY / "profiles" / "local"), "--configfile", "config.yaml"]
    yield Side("ours", [*snakemake, "--snakefile", str(REPOSITORY / "Snakefile"), *local])
    fast = ["--scheduler", "greedy", "--scheduler-subsample", "40", "--nolock"]
    yield Side("bare", [*snakemake, "--snakefile", "bare.smk", *fast])
    yield Side("floor", [*snakemake, "--snakefile", "floor.smk", *fast])


TOLD = {
    "fresh": "dry run, nothing there yet",
    "run": "run, steps that do nothing",
    "up to date": "dry run, everything there",
    "new day": "dry run, one new recorder-day",
}
NEW_DAY = {
    "scan": 1,
    "spectrograms_day": 1,
    "birdnet_day": 1,
    "embed_day": 1,
    "assign_day": 1,
    "map": 1,
    "statistics": 1,
    "outliers": 1,
    "evaluate": 1,
    "experiment_figures": 1,
    "comparison_figures": 1,
    "snakemake_report": 1,
    "all": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a season of 12 recorder-days")
    parser.add_argument("--rounds", type=int, default=3, help="of each dry run")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    recorders, days, recordings = (3, 4, 8) if options.quick else (9, 101, 48)
    rounds = 1 if options.quick else options.rounds
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "snakemake", "polars")):
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_season(root, recorders, days, recordings)
        total = sum(1 for _ in (root / "season.tsv").open(encoding="utf-8"))
        show(f"season: {total:,} recordings, {recorders * days} recorder-days, one experiment")
        ours, bare, _ = all_sides = list(sides())
        for side in all_sides:
            show(f"{side.name}: {' '.join(side.command)}".replace(f"{REPOSITORY}/", ""))

        def call(side: Side, event: str, *arguments: str, **environment: str) -> Cost:
            cost = watched([*side.command, *arguments], root, environment)
            side.costs.setdefault(event, []).append(cost)
            return cost

        def dry_runs(event: str, of: list[Side]) -> None:
            for _ in range(rounds):
                for side in of:
                    call(side, event, "--dry-run")

        dry_runs("fresh", all_sides)
        jobs = sum(planned(ours.best("fresh").output).values())
        show(f"jobs: {jobs:,}; bare {sum(planned(bare.best('fresh').output).values()):,}")
        call(ours, "run", **{SWITCH: "1"})
        call(bare, "run")
        starts = shells(jobs, root)
        furnish(root)
        dry_runs("up to date", [ours, bare])
        for side in (ours, bare):
            assert "Nothing to be done" in side.best("up to date").output, side.name
        take_away = add_day(root)
        dry_runs("new day", [ours, bare])
        take_away()
        assert planned(ours.best("new day").output) == NEW_DAY, "other jobs than expected"

    for event, told in TOLD.items():
        for side in all_sides:
            if event in side.costs:
                cost = side.best(event)
                of = ", ".join(f"{one.seconds:.1f}" for one in side.costs[event])
                show(
                    f"{told:30} {side.name:6} {cost.seconds:7.1f} s ({of}), {cost.cpu_seconds:6.1f} s "
                    f"of processor, {max(one.peak_mb for one in side.costs[event]):5.0f} MB"
                )
    show(f"{f'{jobs:,} starts of bash':30} floor  {starts:7.1f} s")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    per_second = {side.name: round(jobs / side.best("run").seconds, 2) for side in (ours, bare)}
    summary = {
        "benchmark": "workflow",
        "ours": per_second["ours"],
        "unit": "jobs per second, a whole run with steps that do nothing",
        "peers": {"bare Snakefile": per_second["bare"]},
        "floor": round(jobs / starts, 1),
        "ratio_to_fastest_peer": round(per_second["ours"] / per_second["bare"], 3),
        "ratio_to_floor": round(per_second["ours"] * starts / jobs, 4),
        "jobs": jobs,
        "seconds": {
            side.name: {event: round(side.best(event).seconds, 2) for event in side.costs}
            for side in all_sides
        },
        "processor_seconds": {
            side.name: {event: round(side.best(event).cpu_seconds, 2) for event in side.costs}
            for side in all_sides
        },
        "peak_mb": round(max(cost.peak_mb for costs in ours.costs.values() for cost in costs)),
        "quick": options.quick,
    }
    show(json.dumps(summary))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
