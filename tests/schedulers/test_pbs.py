"""PBS Pro's backend over answers as its commands give them."""

from __future__ import annotations

import json
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
from dawnchorus.schedulers.pbs import Pbs, read_job, sight_of

JOB = "2154.sophia-pbs-01"
RUN = "Job run at Mon Jan 24 at 08:39 on (sophia-gpu-01:ncpus=128)"


def shown(job=JOB, **fields) -> str:
    """What ``qstat -x -f -F json`` prints of a job."""
    job_fields = {
        "Job_Name": "spectrograms", "Job_Owner": "user@sophia-login-01", "queue": "by-node",
        "server": "sophia-pbs-01", "Hold_Types": "n", "Keep_Files": "doe",
        "Resource_List": {"filesystems": "home:eagle", "select": "1:system=sophia", "walltime": "00:30:00"},
        "Variable_List": {"PBS_O_HOME": "/home/user", "PBS_O_WORKDIR": "/eagle/birds"}, **fields,
    }  # fmt: skip
    answer = {"timestamp": 1706085600, "pbs_version": "2022.1.1", "pbs_server": "sophia-pbs-01"}
    return json.dumps(answer | {"Jobs": {job: job_fields}}, indent=4)


class Replay(Pbs):
    """PBS whose commands answer what was recorded."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, []

    def run(self, command):
        self.asked.append(list(command))
        return self.answer


def test_the_command():
    ask = Ask(
        name="day", script=Path("scripts/day.sh"), minutes=725, queue="by-node", count=2, project="birds",
        filesystems=("home", "eagle"), logs=Path("logs/pbs"), chunk={"system": "sophia"},
    )  # fmt: skip
    assert " ".join(Pbs().command(ask)) == (
        "qsub -N day -A birds -q by-node -l select=2:system=sophia -l walltime=12:05:00 "
        "-l filesystems=home:eagle -r n -k doe -o logs/pbs/ -e logs/pbs/ scripts/day.sh"
    )


def test_the_answer_to_a_submission():
    assert Pbs().read_submission(Answer(0, f"{JOB}\n", "")) == JOB
    assert Pbs().read_submission(Answer(0, "12[].server\n", "")) == "12[].server"
    with pytest.raises(NoAnswerError):
        Pbs().read_submission(Answer(0, "qsub: waiting\n", ""))


@pytest.mark.parametrize(
    ("err", "error", "words"),
    [
        ("qsub: would exceed queue generic's per-user limit of jobs in 'Q' state", QueueFullError, ""),
        ("qsub: would exceed complex's per-project limit", QueueFullError, ""),
        ("qsub: Maximum number of jobs in 'Q' state for user u already in complex", QueueFullError, ""),
        ("Connection refused\nqsub: cannot connect to server sophia (errno=111)", NoAnswerError, ""),
        ("qsub: Communication failure.", NoAnswerError, ""),
        (
            "qsub: Request rejected.  Reason: No active allocation found for project birds",
            DawnChorusError,
            "qsub: Request rejected. Reason: No active allocation found for project birds",
        ),
        ("qsub: Unknown queue", DawnChorusError, "qsub: Unknown queue"),
    ],
)  # fmt: skip
def test_a_refusal(err, error, words):
    with pytest.raises(error) as caught:
        Pbs().read_submission(Answer(38, "", err + "\n"))
    assert not words or str(caught.value) == words


@pytest.mark.parametrize(
    ("fields", "sight"),
    [
        ({"job_state": "Q", "comment": "Not Running: Queue by-node job limit"}, Sight(State.LIVE)),
        ({"job_state": "R", "comment": RUN}, Sight(State.LIVE)),
        ({"job_state": "E"}, Sight(State.LIVE)),
        (
            {"job_state": "F", "Exit_status": 0, "comment": f"{RUN} and finished"},
            Sight(State.ENDED, 0),
        ),
        (
            {"job_state": "F", "Exit_status": 7, "comment": f"{RUN} and failed"},
            Sight(State.ENDED, 7, "exit 7"),
        ),
        (
            {"job_state": "F", "Exit_status": 137, "comment": f"{RUN} and failed"},
            Sight(State.ENDED, 137, "signal 9"),
        ),
        (
            {"job_state": "F", "Exit_status": 265, "comment": f"{RUN} and failed"},
            Sight(State.ENDED, 137, "signal 9"),
        ),
        (
            {"job_state": "F", "Exit_status": -29, "comment": f"{RUN} and exceeded walltime"},
            Sight(State.ENDED, -29, "walltime: the job ran out of its time"),
        ),
        (
            {"job_state": "F", "Exit_status": 271, "comment": f"{RUN} and exceeded resource walltime"},
            Sight(State.ENDED, 143, "walltime: the job ran out of its time"),
        ),
        (
            {"job_state": "F", "Exit_status": 271, "comment": f"{RUN} and terminated"},
            Sight(State.ENDED, 143, "deleted, or stopped by PBS"),
        ),
        ({"job_state": "F"}, Sight(State.ENDED, None, "deleted before it ran")),
        (
            {"job_state": "F", "comment": "Job deleted as result of dependency on job 7.server"},
            Sight(State.ENDED, None, "dependency failed"),
        ),
        (
            {"job_state": "F", "Exit_status": -3, "comment": "job held, too many failed attempts"},
            Sight(State.ENDED, -3, "PBS could not start it; try again"),
        ),
    ],
)  # fmt: skip
def test_what_qstat_says(fields, sight):
    asked = Replay(Answer(0, shown(**fields), ""))
    assert asked.look(JOB) == sight
    assert asked.asked == [["qstat", "-x", "-f", "-F", "json", JOB]]


def test_holds():
    held = sight_of(JOB, {"job_state": "H", "Hold_Types": "u"})
    assert held.state is State.HELD
    assert f"qrls {JOB}" in held.reason
    system = sight_of(JOB, {"job_state": "H", "Hold_Types": "s", "comment": "job held, too many"})
    assert system == Sight(State.HELD, reason="held by PBS (job held, too many)")


def test_unknown_and_down():
    gone = Answer(153, "", f"qstat: Unknown Job Id {JOB}\n")
    assert Replay(gone).look(JOB) == Sight(State.GONE)
    down = "Connection refused\nqstat: cannot connect to server sophia (errno=111)\n"
    for answer in (Answer(111, "", down), Answer(1, "", ""), Answer(0, "", "")):
        with pytest.raises(NoAnswerError):
            Replay(answer).look(JOB)
    Replay(gone).delete([JOB])
    with pytest.raises(NoAnswerError):
        Replay(Answer(111, "", down)).delete([JOB])


def test_an_id_may_have_more_or_less_of_its_server():
    text = shown("2154.sophia-pbs-01.lab.alcf.anl.gov", job_state="R")
    assert read_job(text, JOB)["job_state"] == "R"
    assert read_job(text, "215.sophia-pbs-01") == {}


def test_json_that_is_none_is_read_all_the_same():
    """A quote in a variable of the job is not escaped by some versions."""
    text = shown(job_state="F", Exit_status=7, comment=f"{RUN} and failed")
    broken = text.replace('"/home/user"', '"/home/"user""')
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    assert Replay(Answer(0, broken, "")).look(JOB) == Sight(State.ENDED, 7, "exit 7")
    # Another job's text says nothing of ours.
    assert read_job(broken, "99.server") == {}


@given(
    st.sampled_from("QRHEFSTWM"),
    st.none() | st.integers(-30, 600),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_answer_means_something(state, status, comment):
    fields = {"job_state": state, "comment": comment}
    if status is not None:
        fields["Exit_status"] = status
    sight = Replay(Answer(0, shown(**fields), "")).look(JOB)
    if state == "F":
        assert sight.state is State.ENDED
        assert (sight.code == 0) == (status == 0)
        assert sight.reason or sight.code == 0
    else:
        assert sight.state is (State.HELD if state == "H" else State.LIVE)


@given(st.text())
def test_no_text_breaks_the_parser(text):
    assert isinstance(read_job(text, JOB), dict)
    try:
        Replay(Answer(0, text, "")).look(JOB)
    except NoAnswerError as silence:
        assert str(silence).startswith("qstat: ")
