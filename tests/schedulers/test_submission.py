"""What a jobscript becomes: the exact command, the queue, and what is refused in one line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers import BACKENDS, SITE_FILE, backend_of
from dawnchorus.schedulers.jobscript import carried, fit_for_a_list, keep_payload, read_job
from dawnchorus.schedulers.journal import Journal
from dawnchorus.schedulers.site import read_site
from dawnchorus.schedulers.submission import plan, submission_line

from .conftest import REPOSITORY, jobscript

PROFILES = REPOSITORY / "profiles"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("COBALT_PROJ", "PBS_ACCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DAWNCHORUS_PROJECT", "birds")
    return tmp_path


def asked(folder, profile, **properties):
    script = jobscript(folder / "job.sh", "exit 0", **properties)
    site = read_site(PROFILES / profile)
    return plan(script, site, Journal.of(site.scheduler)).ask


def refusal(folder, profile, **properties) -> str:
    with pytest.raises(DawnChorusError) as caught:
        asked(folder, profile, **properties)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_exact_line_for_cobalt(folder):
    script = jobscript(
        folder / "job.sh", "exit 0", rule="spectrograms", packed=True, runtime=30, gpu=96, nodes=96,
        output=["a", "b"],
    )  # fmt: skip
    logs = folder / "logs" / "cobalt"
    assert shlex.split(submission_line(script, PROFILES / "cobalt")) == [
        "qsub", "-n", "1", "-t", "30", "-q", "full-node", "-A", "birds", "--attrs",
        "filesystems=home,eagle", "--jobname", "spectrograms", "-o", f"{logs}/$jobid.output", "-e",
        f"{logs}/$jobid.error", "--debuglog", f"{logs}/$jobid.cobaltlog",
        f"{logs}/scripts/spectrograms.{read_job(script).key[:8]}.1.sh",
    ]  # fmt: skip
    assert not logs.exists()


def test_the_exact_line_for_pbs(folder):
    script = jobscript(folder / "job.sh", "exit 0", rule="train", runtime=725, gpu=3)
    logs = folder / "logs" / "pbs"
    assert shlex.split(submission_line(script, PROFILES / "pbs")) == [
        "qsub", "-N", "train", "-A", "birds", "-q", "by-gpu", "-l", "select=4:system=sophia", "-l",
        "walltime=12:05:00", "-l", "filesystems=home:eagle", "-r", "n", "-k", "doe", "-o", f"{logs}/",
        "-e", f"{logs}/", f"{logs}/scripts/train.{read_job(script).key[:8]}.1.sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "wants", "queue", "count"),
    [
        ("cobalt", {}, "full-node", 1),
        ("cobalt", {"nodes": 3}, "full-node", 3),
        ("cobalt", {"nodes": 3, "packed": True}, "full-node", 1),
        ("cobalt", {"mem_mb": 1_500_000}, "bigmem", 1),
        ("cobalt", {"queue": "single-gpu", "gpu": 1}, "single-gpu", 1),
        ("cobalt", {"queue": "full-node", "mem_mb": 1_500_000}, "full-node", 1),
        ("pbs", {}, "by-gpu", 1),
        ("pbs", {"gpu": 1}, "by-gpu", 1),
        ("pbs", {"gpu": 3}, "by-gpu", 4),
        ("pbs", {"gpu": 8}, "by-gpu", 8),
        ("pbs", {"gpu": 96, "packed": True}, "by-node", 1),
        ("pbs", {"mem_mb": 500_000}, "by-node", 1),
        ("pbs", {"gpu": 16}, "by-node", 1),
        ("pbs", {"gpu": 8, "nodes": 2}, "by-node", 2),
        ("cobalt", {"gpu": 24, "nodes": 3}, "full-node", 3),
        ("pbs", {"gpu": 8, "nodes": 2, "system": "polaris"}, "preemptable", 2),
        ("pbs", {"system": "polaris"}, "preemptable", 1),
        ("pbs", {"system": "polaris", "queue": "debug"}, "debug", 1),
    ],
)
def test_the_queue_follows_from_the_resources(folder, profile, wants, queue, count):
    ask = asked(folder, profile, **wants)
    assert (ask.queue, ask.count) == (queue, count)


def test_polaris_has_its_own_chunks(folder):
    ask = asked(folder, "pbs", system="polaris", filesystems="home:grand")
    command = " ".join(BACKENDS["pbs"]().command(ask))
    assert "-l select=1:system=polaris -l place=scatter" in command
    assert "-l filesystems=home:grand" in command


def test_the_run_time_is_checked(folder):
    assert asked(folder, "cobalt", runtime=720).minutes == 720
    # A short job asks for the shortest time that the queue gives.
    assert asked(folder, "cobalt", runtime=1).minutes == 5
    said = refusal(folder, "cobalt", runtime=721, rule="train_experiment")
    assert "job train_experiment: 721 minutes are more than the 720 that queue full-node" in said
    assert "group-components" in said
    assert "61 minutes are more than the 60" in refusal(
        folder, "cobalt", runtime=61, queue="single-gpu"
    )
    assert "no run time" in refusal(folder, "cobalt", runtime=0)


def test_other_refusals(folder, monkeypatch):
    assert "no queue 'debug'" in refusal(folder, "cobalt", queue="debug")
    assert "['bigmem', 'full-node', 'single-gpu']" in refusal(folder, "cobalt", queue="debug")
    assert "no system 'aurora'" in refusal(folder, "pbs", system="aurora")
    assert "9 nodes are more than the 8 of queue full-node" in refusal(folder, "cobalt", nodes=9)
    monkeypatch.delenv("DAWNCHORUS_PROJECT")
    assert refusal(folder, "cobalt") == (
        "COBALT_PROJ or DAWNCHORUS_PROJECT: no project to charge; export COBALT_PROJ=..."
    )
    monkeypatch.setenv("COBALT_PROJ", "owls")
    assert asked(folder, "cobalt").project == "owls"
    with pytest.raises(DawnChorusError, match=f"has no {SITE_FILE}"):
        read_site(PROFILES / "local")
    with pytest.raises(DawnChorusError, match="no scheduler 'lsf'"):
        backend_of("lsf")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shceduler": "x"}, "shceduler: Extra inputs"),
        ({"systems": {}}, "systems: Dictionary should have at least 1 item"),
        (
            {"systems": {"s": {"queues": {}, "choose": [{"queue": "q"}]}}},
            "systems.s: Value error, choose: no queue 'q'",
        ),
    ],
)
def test_a_site_file_with_a_mistake(folder, change, words):
    content = yaml.safe_load((PROFILES / "cobalt" / SITE_FILE).read_text())
    (folder / SITE_FILE).write_text(yaml.safe_dump(content | change))
    with pytest.raises(DawnChorusError) as caught:
        read_site(folder)
    assert words in str(caught.value)
    assert SITE_FILE in str(caught.value)


def test_what_is_no_jobscript(folder):
    (folder / "x.sh").write_text("#!/bin/sh\necho\n")
    with pytest.raises(DawnChorusError, match="has no line '# properties"):
        read_job(folder / "x.sh")
    with pytest.raises(DawnChorusError, match="is no jobscript"):
        read_job(folder / "none.sh")


REAL = """\
#!/bin/sh
# properties = {"type": "group", "groupid": "day", "local": false, "input": [], "output": ["d/4.txt", "d/1.txt"], "threads": 6, "resources": {"gpu": 3, "runtime": 14, "disk_mb": 150000, "mem_mb": 300, "mem": "300 MB"}, "jobid": "61e28fef-793a-5e30-9a77-2bad26b9d429"}
cd %(cwd)s && /opt/env/bin/python3 -m snakemake --snakefile '/w/Snakefile' --target-jobs 'day:i=4' 'day:i=1' --allowed-rules day --local-groupid '61e28fef' --cores 8 --attempt 1 --wait-for-files '%(tmp)s' 'in/a b' --force --configfiles /w/c.yaml --mode 'remote' && exit 0 || exit 1
"""


def test_snakemakes_own_jobscript_is_read(folder):
    script = folder / "tmp" / "job.sh"
    script.parent.mkdir()
    script.write_text(REAL % {"cwd": folder, "tmp": script.parent})
    job = read_job(script)
    assert (job.name, job.packed, job.makes) == ("day", True, ("d/1.txt", "d/4.txt"))
    assert job.resources["runtime"] == 14
    assert job.python == Path("/opt/env/bin/python3")
    assert job.params is None
    # More than a hundred outputs are left out: its targets and configuration tell what it makes.
    text = script.read_text()
    script.write_text(re.sub(r'"output": \[.*?\]', '"output": null', text))
    many = read_job(script)
    assert many.makes == (
        "--configfiles /w/c.yaml", "--target-jobs day:i=1", "--target-jobs day:i=4",
    )  # fmt: skip
    script.write_text(script.read_text().replace("c.yaml", "other.yaml"))
    assert read_job(script).key != many.key


def test_the_kept_copy_waits_for_nothing_of_snakemakes_temporary_folder(folder):
    script = folder / "tmp" / "job.sh"
    script.parent.mkdir()
    script.write_text(REAL % {"cwd": folder, "tmp": script.parent})
    keep_payload(script, folder / "kept.sh")
    kept = (folder / "kept.sh").read_text()
    assert str(script.parent) not in kept
    assert "--wait-for-files 'in/a b' --force" in kept
    wait_list = Path(f"{script}.waitforfilesfile.txt")
    wait_list.write_text(f"{script.parent}\nin/a b\nin/c\n")
    script.write_text(
        script.read_text().replace(
            f"--wait-for-files '{script.parent}' 'in/a b'", f"--wait-for-files-file '{wait_list}'"
        )
    )
    keep_payload(script, folder / "kept.sh")
    kept = (folder / "kept.sh").read_text()
    assert str(script.parent) not in kept
    (named,) = re.findall(r"--wait-for-files-file (\S+) --force", kept)
    assert Path(named).read_text() == "in/a b\nin/c\n"


def test_only_named_variables_come_along():
    here = {"DAWNCHORUS_X": "1", "PYTHONPATH": "/a", "SECRET_TOKEN": "s", "PYTHONPATHS": "no"}
    assert carried(["PYTHONPATH", "DAWNCHORUS_*"], here) == {
        "DAWNCHORUS_X": "1",
        "PYTHONPATH": "/a",
    }


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(names)
def test_any_name_is_fit_for_a_list(name):
    fit = fit_for_a_list(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,39}", fit)


@given(
    st.lists(names, min_size=1, max_size=20, unique=True),
    st.dictionaries(st.sampled_from(["gpu", "nodes", "mem_mb"]), st.integers(0, 10**6)),
    st.randoms(),
)
def test_any_properties_are_read_back(tmp_path_factory, outputs, wants, random):
    folder = tmp_path_factory.getbasetemp() / "read_back"
    one = read_job(jobscript(folder / "job.sh", "exit 0", output=outputs, **wants))
    assert one.makes == tuple(sorted(outputs))
    assert one.resources == {"runtime": 10, **wants}
    random.shuffle(outputs)
    assert read_job(jobscript(folder / "job.sh", "exit 0", output=outputs)).key == one.key


@pytest.mark.parametrize(
    "profile", ["cobalt/profile.v9+.yaml", "pbs/profile.v9+.yaml", "pbs/polaris.yaml"]
)
def test_a_profile_keeps_its_own_promises(profile):
    """Below the queue's limit, run times within it, no numbers that Snakemake would sum, known rules."""
    path = PROFILES / profile
    settings = yaml.safe_load(path.read_text())
    site = read_site(path.parent)
    defaults = settings["default-resources"]
    system = site.system(defaults["system"].strip("'") if "system" in defaults else None)
    queue = system.queues[system.choose[-1].queue]
    assert settings["jobs"] < queue.max_queued
    rules = set(
        re.findall(
            r"^ *rule (\w+):",
            "\n".join(file.read_text() for file in (REPOSITORY / "workflow/rules").glob("*.smk")),
            flags=re.MULTILINE,
        )
    )
    for key in ("groups", "set-threads", "set-resources"):
        assert set(settings[key]) <= rules
    assert set(settings["groups"].values()) == set(settings["group-components"])
    assert max(settings["group-components"].values()) <= 100
    assert {key for key, value in defaults.items() if not isinstance(value, str)} == {"runtime"}
    for rule, group in settings["groups"].items():
        threads = settings["set-threads"].get(rule, 1)
        layers = -(-settings["group-components"][group] * threads // settings["cores"])
        minutes = settings["set-resources"].get(rule, {}).get("runtime", 60)
        assert layers * minutes <= queue.max_minutes, rule
    for command in ("submit", "status", "cancel"):
        executable = path.parent / settings[f"cluster-generic-{command}-cmd"]
        assert executable.stat().st_mode & 0o111


def test_the_command_shows_the_line(folder):
    script = jobscript(folder / "job.sh", "exit 0")
    ended = subprocess.run(
        [sys.executable, "-m", "dawnchorus", "submission", str(script), "--profile", str(PROFILES / "cobalt")],
        capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
    )  # fmt: skip
    assert ended.stdout.startswith("qsub -n 1 -t 10 -q full-node -A birds --attrs filesystems=")
    assert ended.returncode == 0
