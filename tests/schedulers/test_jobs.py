"""Jobs through the executables of a profile, as Snakemake calls them: each ends as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydantic
import pytest

from .conftest import BIN

pytestmark = [pytest.mark.slow]

GATED = "until [ -e go ]; do sleep 0.05; done"
"""A job that runs until it may end, however busy the machine is."""


def test_jobs_end_as_they_ended(cluster):
    """Success, an exit status, a signal: from the exit file, with words for people."""
    good = cluster.submit("echo $DAWNCHORUS_PROJECT > out.txt", output=["out.txt"])
    seven = cluster.submit("exit 7", output=["b"])
    killed = cluster.submit("kill -9 $$", output=["c"])
    assert cluster.outcome(good) == ("success", "")
    assert (cluster.work / "out.txt").read_text() == "birds\n"
    word, said = cluster.outcome(seven)
    assert (word, said) == ("failed", f"dawnchorus: job {seven} (work) failed: exit 7")
    assert cluster.outcome(killed)[0] == "failed"
    assert cluster.reason(killed) == f"job {killed} (work) failed: signal 9"
    assert not (cluster.logs / f"{good}.reason").exists()
    assert (cluster.logs / f"{killed}.exit").read_text().split()[0] == "137"
    assert cluster.count("submitted") == 3


def test_a_job_that_runs_out_of_time(cluster):
    cluster.second = 0.01  # five minutes are three seconds
    script = "trap 'echo saved > saved.txt; exit 75' TERM; sleep 600 & wait"
    job = cluster.submit(script, runtime=5)
    record = json.loads((cluster.logs / f"{job}.json").read_text())
    assert record["minutes"] == 5
    word, _ = cluster.outcome(job)
    assert word == "failed"
    assert "walltime: the job ran out of its time (5 minutes)" in cluster.reason(job)
    assert "exit 75" in cluster.reason(job)
    assert (cluster.work / "saved.txt").exists()
    assert cluster.count("submitted") == 1


def test_a_deleted_job(cluster):
    running = cluster.submit("sleep 600", output=["a"])
    cluster.until(lambda: cluster.count("started") or not cluster.is_stand_in, what="start")
    assert cluster.status(running)[0] == "running"
    assert cluster.native("qdel", running).returncode == 0
    assert cluster.outcome(running)[0] == "failed"
    said = cluster.reason(running)
    assert ("deleted by user user" if cluster.scheduler == "cobalt" else "stopped by PBS") in said


def test_killed_with_its_wrapper_only_the_scheduler_knows(cluster):
    """No exit file: the second witness says it."""
    wrapper = "kill -9 $(ps -o ppid= -p $$)"
    job = cluster.submit(wrapper)
    assert cluster.outcome(job)[0] == "failed"
    assert not (cluster.logs / f"{job}.exit").exists()
    assert cluster.reason(job).endswith("failed: signal 9")


COUNTS_ITS_STOPS = """
asked=0
trap 'asked=$((asked + 1))' TERM
touch ready
for tenth in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1 & wait $!; done
echo $asked > count
"""


@pytest.mark.parametrize("everybody", [True, False], ids=["all", "jobscript alone"])
def test_a_request_to_stop_reaches_each_process_once(cobalt, everybody):
    """Whether the scheduler signals the jobscript alone or all of its processes."""
    cobalt.settle(signal_all=everybody)
    (cobalt.work / "counts.sh").write_text(COUNTS_ITS_STOPS)
    job = cobalt.submit("bash counts.sh & trap : TERM; wait; wait")
    cobalt.until((cobalt.work / "ready").exists)
    cobalt.native("qdel", job)
    cobalt.until((cobalt.work / "count").exists)
    assert (cobalt.work / "count").read_text() == "1\n"


def test_a_full_queue_is_waited_for(cluster):
    queue = "full-node" if cluster.scheduler == "cobalt" else "by-node"
    cluster.settle(queues={queue: {"queued": 2, "running": 2, "min": 5, "max": 720}})
    jobs = [cluster.submit(GATED, output=[f"{n}"], queue=queue, rule=f"r{n}") for n in range(2)]
    waiting = subprocess.Popen(
        [str(cluster.profile / "submit.py"), str(cluster.script("exit 0", queue=queue))],
        cwd=cluster.work, env=cluster.environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    cluster.until(lambda: cluster.count("refused") > 1)
    (cluster.work / "go").touch()
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    # However often it asked, a person is told once.
    (said,) = err.splitlines()
    assert f"queue {queue} is full" in said
    jobs.append(out.strip())
    assert [cluster.outcome(job)[0] for job in jobs] == ["success"] * 3
    assert cluster.count("submitted") == len(set(jobs)) == 3
    assert max(line["present"] for line in cluster.history()) == 2


def test_a_scheduler_that_is_down_for_a_while(cluster):
    job = cluster.submit("sleep 0.5; exit 0", output=["a"])
    cluster.settle(down=True)
    assert cluster.status("999")[0] == "running"
    waiting = subprocess.Popen(
        [str(cluster.profile / "submit.py"), str(cluster.script("exit 0", output=["b"]))],
        cwd=cluster.work, env=cluster.environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    said = waiting.stderr.readline() if waiting.stderr else ""
    assert said.endswith(f"is down; waiting for {cluster.scheduler}\n")
    # The job's own word needs no scheduler.
    assert cluster.outcome(job)[0] == "success"
    assert waiting.poll() is None
    cluster.settle(down=False)
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    assert cluster.outcome(out.strip())[0] == "success"
    assert cluster.count("submitted") == 2


def test_ctrl_c_while_a_submission_waits_leaves_no_job(cobalt):
    cobalt.settle(down=True)
    waiting = subprocess.Popen(
        [str(cobalt.profile / "submit.py"), str(cobalt.script("exit 0"))], cwd=cobalt.work,
        env=cobalt.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert "waiting" in (waiting.stderr.readline() if waiting.stderr else "")
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=10)
    assert (waiting.returncode, out) == (130, "")
    assert err == "dawnchorus: stopped; no job of it stays\n"
    assert cobalt.count("submitted") == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_job_whose_submission_is_stopped_halfway_is_deleted_again(cluster, tmp_path, how):
    """On Ctrl-C Snakemake kills the submission; a qsub that was halfway leaves no job behind."""
    slow, real = tmp_path / "slow", cluster.environment[BIN[cluster.scheduler]]
    slow.mkdir()
    for name, text in {
        "qsub": f'touch {tmp_path}/asked; sleep 0.7; exec {real}/qsub "$@"',
        "qdel": f'exec {real}/qdel "$@"',
    }.items():
        (slow / name).write_text(f"#!/bin/sh\n{text}\n")
        (slow / name).chmod(0o755)
    cluster.settle(filesystems_down=["eagle"])
    cluster.extra[BIN[cluster.scheduler]] = str(slow)
    submitting = subprocess.Popen(
        [str(cluster.profile / "submit.py"), str(cluster.script("touch ran"))], cwd=cluster.work,
        env=cluster.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    cluster.until((tmp_path / "asked").exists)
    submitting.send_signal(how)
    out, _ = submitting.communicate(timeout=5)
    assert out == ""
    cluster.until(lambda: cluster.count("deleted") == 1)
    assert (cluster.count("submitted"), cluster.count("qdel")) == (1, 1)


def test_a_job_whose_submission_was_interrupted_does_nothing(cobalt):
    """qsub took it, but nobody wrote down its id: nobody waits for it, another may be on its way."""
    job = cobalt.submit("touch ran", output=["a"])
    assert cobalt.outcome(job)[0] == "success"
    script = next((cobalt.logs / "scripts").glob("work.*.1.sh"))
    text = script.read_text()
    script.write_text(text.replace("second < 120", "second < 1"))
    (cobalt.work / "ran").unlink()
    again = cobalt.native("qsub", "-n", 1, "-t", 5, "-q", "full-node", "-A", "x", script)
    number = int(again.stdout)
    machine = cobalt.root / "machine" / "jobs" / f"{number}.json"
    cobalt.until(lambda: json.loads(machine.read_text())["gone"])
    assert json.loads(machine.read_text())["code"] == 75
    assert not (cobalt.work / "ran").exists()


def test_the_same_outputs_are_not_made_twice(cluster):
    """A main process that was killed comes back and submits again; the order of outputs differs."""
    first = cluster.submit(GATED, output=["a", "b"])
    again = cluster.call("submit", cluster.script(GATED, output=["b", "a"]))
    assert again.stdout.split() == [first]
    assert f"job {first} is already at it" in again.stderr
    overlap = cluster.call("submit", cluster.script("exit 0", output=["b", "c"]))
    assert f"job {first} (work) may still be at 1 of its outputs, b for one" in overlap.stderr
    assert overlap.stdout.split() != [first]
    (cluster.work / "go").touch()
    assert cluster.outcome(first)[0] == "success"
    # It has ended: whoever asks now gets a new job.
    assert cluster.submit("exit 0", output=["a", "b"]) != first
    assert cluster.count("submitted") == 3


def test_what_is_left_of_a_pack_waits_for_the_job_that_is_at_it(cluster):
    """Some recorder-days of a running pack are done: a new start asks for the others."""
    first = cluster.submit(GATED, output=["a", "b", "c"], packed=True)
    again = cluster.call("submit", cluster.script(GATED, output=["b", "c"], packed=True))
    assert again.stdout.split() == [first]
    assert f"job {first} is already at these 2 of its 3 outputs" in again.stderr
    (cluster.work / "go").touch()
    assert cluster.outcome(first)[0] == "success"
    assert cluster.count("submitted") == 1


def test_the_same_outputs_with_other_parameters_are_refused(cobalt):
    first = cobalt.submit(GATED)
    script = cobalt.script(GATED)
    script.write_text(script.read_text().replace('{"a": 1}', '{"a": 2}'))
    ended = cobalt.call("submit", script)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert f"job {first} is at the same outputs with other parameters" in ended.stderr
    (cobalt.work / "go").touch()
    assert f"qdel {first}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_job_vanishes(cobalt):
    """Gone without a word: running for the grace period, then failed, and it says so."""
    cobalt.settle(down=False)
    cobalt.extra["DAWNCHORUS_GRACE_S"] = "1.5"
    began = time.monotonic()
    assert cobalt.status("4711") == ("running", "")
    assert cobalt.outcome("4711")[0] == "failed"
    assert time.monotonic() - began > 1.5
    assert cobalt.reason("4711").startswith("job 4711 failed: vanished")


def test_a_hold_is_told_once(cluster):
    cluster.settle(filesystems_down=["eagle"])
    job = cluster.submit("exit 0")
    word, said = cluster.status(job)
    assert word == "running"
    assert "filesystem" in said
    assert f"qrls {job}" in said
    assert cluster.status(job) == ("running", "")
    cluster.native("qdel", job)


def test_a_failed_dependency(cobalt):
    first = cobalt.submit("exit 7", output=["a"])
    assert cobalt.outcome(first)[0] == "failed"
    script = next((cobalt.logs / "scripts").glob("work.*.1.sh"))
    options = ["-n", 1, "-t", 5, "-q", "full-node", "-A", "x", "--dependencies", first]
    second = cobalt.native("qsub", *options, script).stdout.strip()
    cobalt.until(lambda: "dep_fail" in cobalt.native("qstat", second).stdout)
    assert cobalt.status(second) == (
        "failed",
        f"dawnchorus: job {second} failed: dependency failed; it stays in the queue until: "
        f"qdel {second}",
    )
    cobalt.native("qdel", second)


def test_cancelling_returns_at_once_and_deletes_all(cluster):
    jobs = [cluster.submit("sleep 60", output=[f"{n}"], rule=f"r{n}") for n in range(2)]
    cluster.extra["DAWNCHORUS_STAND_IN_SECOND"] = "0.8"
    log = cluster.logs / "cancel.log"
    before = time.monotonic()
    # The second is not named: Snakemake forgets those whose status it was just asking for.
    ended = cluster.call("cancel", jobs[0])
    assert time.monotonic() - before < 2
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not log.exists() or log.read_text() == ""
    cluster.until(lambda: log.exists() and "deleted" in log.read_text())
    assert log.read_text() == f"deleted: {' '.join(jobs)}\n"
    assert [cluster.outcome(job)[0] for job in jobs] == ["failed"] * 2


def test_a_status_ignores_ctrl_c_and_a_broken_folder(cobalt):
    (cobalt.logs).mkdir(parents=True)
    (cobalt.logs / "5.json").write_text("{")
    word, said = cobalt.status("5")
    assert word == "running"
    assert "status of job 5 is not known" in said
    assert len(said.splitlines()) == 1


def test_a_slow_scheduler_is_not_waited_for(cobalt, tmp_path):
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "qstat").write_text("#!/bin/sh\nsleep 30\n")
    (slow / "qstat").chmod(0o755)
    cobalt.extra |= {"DAWNCHORUS_COBALT_BIN": str(slow), "DAWNCHORUS_SCHEDULER_TIMEOUT_S": "0.5"}
    before = time.monotonic()
    assert cobalt.status("1")[0] == "running"
    assert time.monotonic() - before < 5


def test_the_executables_work_from_a_bare_checkout(cobalt):
    """Nothing installed but libraries: the checkout's own src/ serves."""
    libraries = {"PYTHONPATH": str(Path(pydantic.__file__).parents[1])}
    without_site = [sys.executable, "-S"]
    absent = subprocess.run(
        [*without_site, "-c", "import pydantic, dawnchorus"], env=os.environ | libraries,
        capture_output=True, text=True, check=False, cwd=cobalt.work,
    )  # fmt: skip
    assert "No module named 'dawnchorus'" in absent.stderr
    ended = subprocess.run(
        [*without_site, str(cobalt.profile / "submit.py"), "nowhere.sh"], cwd=cobalt.work,
        env=os.environ | libraries, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "dawnchorus: nowhere.sh: is no jobscript\n"
    assert os.access(cobalt.profile / "submit.py", os.X_OK)
