"""Cobalt's backend over what a running Cobalt said, and the stand-in beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers.backend import (
    Answer,
    Ask,
    NoAnswerError,
    QueueFullError,
    Sight,
    State,
)
from dawnchorus.schedulers.cobalt import Cobalt, read_log, read_table, sight_of

from . import transcripts as said


class Replay(Cobalt):
    """Cobalt whose commands answer what was recorded."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, []

    def run(self, command):
        self.asked.append(list(command))
        return self.answer


def test_the_command_is_the_one_that_cobalt_took():
    ask = Ask(
        name="day", script=Path("job_ok.sh"), minutes=10, queue="full-node", count=1, project="proj",
        filesystems=("home", "eagle"), logs=Path("logs"),
    )  # fmt: skip
    line = " ".join(Cobalt().command(ask))
    assert line in said.LOG_1.replace("--mode script -n 1 -t 10 ", "").replace("./job", "job")


def test_an_id_is_read():
    assert Cobalt().read_submission(said.SUBMITTED) == "1"
    # With no filesystems named, there is a warning on the other stream.
    assert Cobalt().read_submission(Answer(0, "12\n", "WARNING: filesystems")) == "12"


@pytest.mark.parametrize("out", ["", "\n", "submitted\n"])
def test_no_id_is_no_answer(out):
    with pytest.raises(NoAnswerError):
        Cobalt().read_submission(Answer(0, out, ""))


def test_a_full_queue_and_a_server_that_is_down_are_waited_for():
    with pytest.raises(QueueFullError):
        Cobalt().read_submission(said.FULL)
    for answer in (said.DOWN, said.DOWN_QSUB):
        with pytest.raises(NoAnswerError, match="Cobalt is down"):
            Cobalt().read_submission(answer)


@pytest.mark.parametrize("case", said.REFUSALS)
def test_a_refusal_is_one_line_in_cobalts_words(case):
    err, told = said.REFUSALS[case]
    with pytest.raises(DawnChorusError) as caught:
        Cobalt().read_submission(Answer(1, "", err))
    assert str(caught.value) == f"qsub: {told}"


def test_what_qstat_says():
    asked = Replay(Answer(0, said.TABLE, ""))
    assert asked.look("1") == Sight(State.LIVE)
    assert asked.asked == [["qstat", "--header", "JobID:State", "1"]]
    assert Replay(said.GONE).look("1") == Sight(State.GONE)
    for answer in (said.DOWN, said.NOT_AN_ID, Answer(0, "", ""), Answer(-9, "", "")):
        with pytest.raises(NoAnswerError):
            Replay(answer).look("1")


def test_the_table_is_read():
    assert read_table(said.TABLE) == {"1": "queued"}
    assert read_table(said.HELD_TABLE) == {"6": "dep_hold", "7": "user_hold"}
    assert read_table(said.LONG_TABLE) == {}
    assert read_table("") == {}


def test_holds_live_and_the_dead():
    assert sight_of("7", "user_hold").state is State.HELD
    assert "qrls 7" in sight_of("7", "user_hold").reason
    assert sight_of("7", "admin_hold").state is State.HELD
    for passing in (
        "dep_hold",
        "maxrun_hold",
        "queued",
        "starting",
        "running",
        "killing",
        "exiting",
    ):
        assert sight_of("7", passing) == Sight(State.LIVE)
    dead = sight_of("6", "dep_fail")
    assert dead.state is State.DEAD
    assert "qdel 6" in dead.reason


@pytest.mark.parametrize(
    ("log", "sight"),
    [
        (said.LOG_1, Sight(State.ENDED, 0, "")),
        (said.LOG_1_BEFORE, None),
        (said.LOG_2, Sight(State.ENDED, 7, "exit 7")),
        (said.LOG_3, Sight(State.ENDED, 137, "signal 9")),
        (said.LOG_4, Sight(State.GONE, None, "deleted by user user")),
        (said.LOG_10, Sight(State.GONE, None, "walltime: the job ran out of its time")),
        ("", None),
    ],
)
def test_the_log_is_read(log, sight):
    assert read_log(log, None) == sight


def test_a_log_of_an_older_job_with_the_same_id_says_nothing():
    assert read_log(said.LOG_1, Path("scripts/day.1.sh")) is None
    assert read_log(said.LOG_1, Path("elsewhere/job_ok.sh")) == Sight(State.ENDED, 0, "")
    # Cobalt appends: the last block counts.
    assert read_log(said.LOG_1 + said.LOG_2, Path("job_fail.sh")) == Sight(State.ENDED, 7, "exit 7")
    assert read_log(said.LOG_1 + said.LOG_2, Path("job_ok.sh")) is None


def test_deleting():
    Replay(Answer(0, said.DELETED_TABLE, "")).delete(["4"])
    Replay(Answer(0, "", "")).delete(["9999"])
    with pytest.raises(NoAnswerError):
        Replay(said.DOWN).delete(["1"])


states = st.sampled_from(
    [
        "queued",
        "maxrun_hold",
        "user_hold",
        "admin_hold",
        "dep_hold",
        "dep_fail",
        "starting",
        "running",
        "killing",
        "preempting",
        "preempted",
        "exiting",
        "done",
    ]
)


@given(st.dictionaries(st.integers(1, 10**9).map(str), states, min_size=1, max_size=20))
def test_any_table_is_read_back(jobs):
    """As Cobalt prints it: columns as wide as their widest cell, two spaces behind each."""
    rows = [("JobID", "State"), *jobs.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = ["".join(row[column].ljust(widths[column] + 2) for column in range(2)) for row in rows]
    lines.insert(1, "=" * (sum(widths) + 4))
    assert read_table("\n".join(lines) + "\n") == jobs


@given(st.text())
def test_no_text_breaks_the_parsers(text):
    assert isinstance(read_table(text), dict)
    sight = read_log(text, None)
    assert sight is None or sight.state in (State.ENDED, State.GONE)
    for status in (0, 1):
        try:
            job = Cobalt().read_submission(Answer(status, text, text))
        except (QueueFullError, NoAnswerError, DawnChorusError) as error:
            assert "\n" not in str(error) or not isinstance(error, DawnChorusError)
        else:
            assert status == 0
            assert job.isdigit()


@given(st.integers(0, 255), st.sampled_from([said.LOG_4, said.LOG_10, ""]))
def test_an_exit_code_in_the_log_always_counts(code, before):
    line = f"Info: task completed normally with an exit code of {code}; initiating job cleanup\n"
    sight = read_log(before + line, None)
    assert sight is not None
    assert (sight.state, sight.code) == (State.ENDED, code)


class TestTheStandIn:
    """It says what the transcripts say, line by line."""

    options = ("-n", 1, "-t", 10, "-q", "full-node", "-A", "proj")

    @pytest.fixture
    def machine(self, cobalt):
        for name, text in {
            "job_ok.sh": "sleep 0.1", "job_fail.sh": "exit 7", "job_sig.sh": "kill -9 $$",
            "job_long.sh": "trap 'echo got TERM; exit 0' TERM; sleep 60 & wait",
        }.items():  # fmt: skip
            (cobalt.work / name).write_text(f"#!/bin/bash\n{text}\n")
            (cobalt.work / name).chmod(0o755)
        (cobalt.work / "logs").mkdir()
        return cobalt

    def qsub(self, machine, *options):
        return machine.native("qsub", *self.options, *options)

    def log(self, machine, job):
        """The log without its dates."""
        text = (machine.work / "logs" / f"{job}.cobaltlog").read_text()
        return [re.sub(r"^\w{3} \w{3} +\d+ [\d:]+ \d+ \+0000 \(UTC\) ", "", line)
                for line in text.splitlines() if line]  # fmt: skip

    def test_submit_look_finish(self, machine):
        debug = ("--debuglog", "logs/$jobid.cobaltlog")
        jobs = [self.qsub(machine, *debug, f"./job_{how}.sh") for how in ("ok", "fail", "sig")]
        assert [(job.stdout, job.returncode) for job in jobs] == [
            ("1\n", 0),
            ("2\n", 0),
            ("3\n", 0),
        ]
        machine.until(lambda: machine.count("ended") == 3)
        assert (machine.native("qstat", 2).stdout, machine.native("qstat", 2).returncode) == ("", 1)
        for job, recorded in ((2, said.LOG_2), (3, said.LOG_3)):
            wanted = [line.partition("(UTC) ")[2] for line in recorded.splitlines()[2:]]
            wanted[0] = wanted[0].replace("/home/user/run", str(machine.work))
            lines = machine.until(
                lambda job=job: len(self.log(machine, job)) == 4 and self.log(machine, job)
            )
            assert lines[0] == f"Jobid: {job}"
            assert lines[1] == recorded.splitlines()[1]
            assert lines[2:] == wanted

    def test_the_tables(self, machine):
        machine.settle(nodes=0)
        machine.settle(nodes=1, queues={"full-node": {"queued": 20, "running": 0, "max": 720}})
        self.qsub(machine, "./job_ok.sh")
        assert machine.native("qstat", 1).stdout == said.LONG_TABLE
        assert machine.native("qstat", "--header", "JobID:State", 1).stdout == said.TABLE
        both = machine.native("qstat", "--header", "JobID:State", 1, 77)
        assert (both.stdout, both.returncode) == (said.TABLE, 0)
        wrong = machine.native("qstat", "abc")
        assert (wrong.stderr, wrong.returncode) == (said.NOT_AN_ID.err, 1)
        deleted = machine.native("qdel", 1)
        assert deleted.stdout == said.DELETED_TABLE.replace("4      ", "1      ")
        machine.until(lambda: machine.count("deleted") == 1)
        unknown = machine.native("qdel", 9999)
        assert (unknown.stdout, unknown.stderr, unknown.returncode) == ("", "", 0)

    def test_deleted_while_running(self, machine):
        self.qsub(machine, "--debuglog", "logs/$jobid.cobaltlog", "./job_long.sh")
        machine.until(lambda: machine.count("started") == 1)
        running = machine.native("qstat", 1).stdout
        assert running == said.RUNNING_TABLE.replace("\n4      ", "\n1      ")
        machine.native("qdel", 1)
        machine.until(lambda: machine.count("ended") == 1)
        assert self.log(machine, 1)[3:] == [
            "Info: user delete requested with signal SIGTERM by user user"
        ]
        assert (machine.work / "1.output").read_text() == "got TERM\n"

    @pytest.mark.parametrize("case", said.REFUSALS)
    def test_refusals(self, machine, case):
        err, _ = said.REFUSALS[case]
        options = {
            "no such queue": ("-q", "nosuch"), "too short": ("-t", 3), "too long": ("-t", 900),
            "too many nodes": ("-n", 99), "no folder": ("-o", "nodir/x.out"), "no script": (),
        }[case]  # fmt: skip
        script = "./missing.sh" if case == "no script" else "./job_ok.sh"
        ended = self.qsub(machine, *options, script)
        told = ended.stderr.replace(str(machine.work), "/home/user/run")
        assert (ended.stdout, told, ended.returncode) == ("", err, 1)

    def test_a_full_queue_and_a_server_that_is_down(self, machine):
        self.qsub(machine, "-q", "single-gpu", "./job_long.sh")
        full = self.qsub(machine, "-q", "single-gpu", "./job_ok.sh")
        assert (full.stdout, full.stderr, full.returncode) == ("", said.FULL.err, 1)
        machine.native("qdel", 1)
        machine.settle(down=True)
        for ended, recorded in (
            (machine.native("qstat", 1), said.DOWN),
            (machine.native("qdel", 1), said.DOWN),
            (self.qsub(machine, "./job_ok.sh"), said.DOWN_QSUB),
        ):
            assert (ended.stdout, ended.returncode) == ("", 1)
            shown, wanted = ended.stderr.splitlines(), recorded.err.splitlines()
            assert shown[0] == wanted[0]
            assert shown[1][:100] == wanted[1][:100]
