"""Real Snakemake runs with the real profiles on a scheduler: each ends right, with the exact submissions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import BIN, REPOSITORY, Cluster, make

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SNAKEFILE = """
rule all:
    input: expand("day/{day}.json", day=range(5)), "embedded.txt"

# Its name is that of the workflow's rule: the profile packs it, and sets its run time.
rule spectrograms_day:
    output: "day/{day}.json"
    threads: 1
    resources: runtime=5, gpu=1, nodes=1
    shell: "if [ {wildcards.day} = 3 ]; then echo set aside; else echo ok; fi > {output}"

rule embed:
    input: expand("day/{day}.json", day=range(5))
    output: "embedded.txt"
    resources: runtime=120
    shell: "cat {input} > {output}; echo $http_proxy >> {output}"

rule flaky:
    output: "flaky.txt"
    resources: runtime=120
    shell: "[ -e once ] || {{ touch once; exit 7; }}; touch {output}"

rule endless:
    output: "{name}.endless"
    retries: 0
    resources: runtime=lambda wildcards: 10 if wildcards.name == "late" else 120
    shell: "bash saves.sh {wildcards.name}; touch {output}"

rule long:
    output: "long.txt"
    retries: 0
    resources: runtime=120
    shell: "echo $$ >> began; until [ -e enough ]; do sleep 0.1; done; touch {output}"

localrules: all
"""


SAVES = """
trap 'sleep 0.7; touch $1.saved; exit 75' TERM
touch $1.began
sleep 600 & wait
"""


class Workflow:
    """A small workflow in the working folder of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        (cluster.work / "Snakefile").write_text(SNAKEFILE)
        (cluster.work / "saves.sh").write_text(SAVES)

    def start(self, *arguments: str, profile: str | None = None) -> subprocess.Popen[str]:
        named = REPOSITORY / "profiles" / (profile or self.cluster.scheduler)
        return subprocess.Popen(
            [
                sys.executable, "-m", "snakemake", "--profile", str(named),
                "--seconds-between-status-checks", "1", "--latency-wait", "3", *arguments,
            ],
            cwd=self.cluster.work, env=self.cluster.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        started = self.start(*arguments)
        said, _ = started.communicate(timeout=400)
        return started.returncode, said


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    # Ten minutes are thirty seconds: each job starts a Snakemake of its own, on whatever machine.
    return Workflow(make(tmp_path, "cobalt", second=0.05))


def test_everything_that_can_happen_in_one_run(workflow):
    """Packed days with a bad one among them, a second try, walltime, qdel, a full queue."""
    cluster = workflow.cluster
    cluster.settle(queues={"full-node": {"queued": 3, "running": 3, "min": 5, "max": 720}})
    running = workflow.start("all", "flaky.txt", "late.endless", "deleted.endless")
    cluster.until((cluster.work / "deleted.began").exists, 60)
    records = {path.stem: path.read_text() for path in cluster.logs.glob("*.json")}
    (victim,) = [job for job, record in records.items() if "deleted.endless" in record]
    cluster.native("qdel", victim)
    said, _ = running.communicate(timeout=400)
    assert running.returncode == 1
    work = cluster.work
    assert (work / "flaky.txt").exists()
    proxy = "http://theta-proxy.tmi.alcf.anl.gov:3128"
    assert (work / "embedded.txt").read_text().split("\n")[:6] == [
        "ok", "ok", "ok", "set aside", "ok", proxy,
    ]  # fmt: skip
    assert not list(work.glob("*.endless"))
    # Asked to stop, they had the time to save their state, below two shells and a Snakemake.
    assert (work / "late.saved").exists()
    assert (work / "deleted.saved").exists()
    # One for five days, one for what reads them, two for the flaky one, one for each endless one.
    assert cluster.count("submitted") == 6
    assert cluster.count("refused") > 0
    assert max(line["present"] for line in cluster.history()) == 3
    packed = [line["argv"] for line in cluster.history() if "spectrograms" in str(line)]
    assert [argv[argv.index("-n") + 1] for argv in packed] == ["1"]
    assert [argv[argv.index("-t") + 1] for argv in packed] == ["30"]
    reasons = [path.read_text() for path in cluster.logs.glob("*.reason")]
    assert sorted(re.sub(r"^job \d+ ", "", reason).strip() for reason in reasons) == [
        "(endless.deleted) failed: deleted by user user (exit 1)",
        "(endless.late) failed: walltime: the job ran out of its time (10 minutes) (exit 1)",
        "(flaky) failed: exit 1",
    ]
    assert "walltime: the job ran out of its time" in said


@pytest.mark.parametrize("amid", [False, True], ids=["between checks", "amid checks"])
def test_ctrl_c_deletes_what_is_queued_and_what_runs(workflow, amid):
    """Amid its checks, Snakemake has lost sight of the jobs that it would cancel."""
    cluster = workflow.cluster
    if amid:
        slow, real = cluster.root / "slow", cluster.environment[BIN["cobalt"]]
        slow.mkdir()
        for name in ("qsub", "qstat", "qdel"):
            pause = f"touch {cluster.root}/asked; sleep 1; " if name == "qstat" else ""
            (slow / name).write_text(f'#!/bin/sh\n{pause}exec {real}/{name} "$@"\n')
            (slow / name).chmod(0o755)
        cluster.extra[BIN["cobalt"]] = str(slow)
    cluster.settle(queues={"full-node": {"queued": 20, "running": 1, "min": 5, "max": 720}})
    running = workflow.start("a.endless", "b.endless", "c.endless")
    logs = cluster.work / ".snakemake" / "log"
    cluster.until(lambda: any("jobid '3'" in log.read_text() for log in logs.glob("*.log")), 60)
    if amid:
        (cluster.root / "asked").unlink(missing_ok=True)
        cluster.until((cluster.root / "asked").exists)
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=400)
    assert running.returncode != 0
    cluster.until(
        lambda: {line["job"] for line in cluster.history() if line["event"] == "qdel"} == {1, 2, 3}
    )
    cluster.until(lambda: cluster.history()[-1]["present"] == 0, 20)
    assert cluster.count("submitted") == 3
    assert not list(cluster.work.glob("*.endless"))


def test_killed_and_started_again_it_waits_for_the_job_that_still_runs(workflow):
    cluster = workflow.cluster
    running = workflow.start("long.txt")
    cluster.until((cluster.work / "began").exists, 60)
    running.kill()
    running.communicate(timeout=400)
    again = workflow.start("long.txt")
    assert again.stdout is not None
    said = ""
    for line in again.stdout:
        said += line
        if "is already at it; waiting for that one" in line:
            break
    (cluster.work / "enough").touch()  # the job runs until the second process has found it
    rest, _ = again.communicate(timeout=400)
    assert again.returncode == 0, said + rest
    assert "is already at it; waiting for that one" in said
    assert (cluster.work / "long.txt").exists()
    assert len((cluster.work / "began").read_text().split()) == 1
    assert cluster.count("submitted") == 1
    _, said = workflow.run("long.txt")
    assert "Nothing to be done" in said
    assert cluster.count("submitted") == 1


def test_a_queued_job_outlives_the_main_process(workflow):
    """The jobscript and what it waits for lie in Snakemake's temporary folder, which may go."""
    cluster = workflow.cluster
    cluster.settle(nodes=0)
    cluster.settle(
        queues={"full-node": {"queued": 20, "running": 0, "min": 5, "max": 720}}, nodes=1
    )
    running = workflow.start("flaky.txt")
    (cluster.work / "once").touch()
    cluster.until(lambda: cluster.count("submitted") == 1, 60)
    cluster.until(lambda: list(cluster.logs.glob("1.json")))
    running.kill()
    running.communicate(timeout=400)
    for folder in (cluster.work / ".snakemake").glob("tmp.*"):
        subprocess.run(["rm", "-r", str(folder)], check=True)
    cluster.settle(queues={"full-node": {"queued": 20, "running": 1, "min": 5, "max": 720}})
    assert cluster.outcome("1", 60)[0] == "success"
    assert (cluster.work / "flaky.txt").exists()


def test_pbs_from_end_to_end(tmp_path):
    cluster = make(tmp_path, "pbs", second=0.05)
    (cluster.work / "once").touch()
    ended, said = Workflow(cluster).run("all", "flaky.txt")
    assert ended == 0, said
    assert (cluster.work / "embedded.txt").read_text().startswith("ok\nok\nok\nset aside\nok\n")
    assert cluster.count("submitted") == 3
    assert not list(cluster.logs.glob("*.reason"))
    chosen = [line["argv"] for line in cluster.history() if line["event"] == "submitted"]
    queues = {argv[argv.index("-N") + 1]: argv[argv.index("-q") + 1] for argv in chosen}
    assert queues == {"spectrograms": "by-node", "embed": "by-gpu", "flaky": "by-gpu"}


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Path:
    """Two recorders, two days, tiny files, and a configuration."""
    season = tmp_path_factory.mktemp("season")
    subprocess.run(
        [
            sys.executable, "-m", "dawnchorus", "simulate", str(season), "--recorders", "2", "--days",
            "2", "--recordings", "1", "--tiny",
        ],
        check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )  # fmt: skip
    (season / "config.yaml").write_text(
        f"results: {season}/results\naudio: {{root: {season}/cards}}\n"
        "experiments: {one: {method: vicreg, backbone: vit_nano}}\n"
    )
    return season


@pytest.mark.parametrize("profile", ["cobalt", "pbs", "pbs/polaris.yaml"])
def test_the_workflow_itself_is_planned_with_every_profile(profile, season, tmp_path):
    cluster = make(tmp_path, profile.split("/")[0])
    workflow = Workflow(cluster)
    (cluster.work / "Snakefile").unlink()
    started = workflow.start(
        "--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(season / "config.yaml"), "--dry-run",
        profile=profile,
    )  # fmt: skip
    said, _ = started.communicate(timeout=400)
    assert started.returncode == 0, said[-3000:]
    table = dict(re.findall(r"^(\w+) +(\d+)$", said.split("Job stats:")[-1], flags=re.MULTILINE))
    assert table["spectrograms_day"] == table["embed_day"] == "4"
    assert re.search(r"rule embed_day:.*?threads: (16|8)\n", said, flags=re.DOTALL)
    assert not (season / "results").exists()
