"""``qsub``, ``qstat`` and ``qdel`` as those of PBS Pro, as far as the workflow uses them."""

from __future__ import annotations

import getopt
import json
import shutil
import sys
import time
from pathlib import Path

import machine

SERVER = "stand-in"


class Pbs(machine.Scheduler):
    def environment(self, job):
        return {
            "HOME": str(machine.ROOT), "USER": "user", "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PBS_JOBID": f"{job['number']}.{SERVER}", "PBS_O_WORKDIR": job["cwd"],
        }  # fmt: skip

    def folder(self, job):
        return str(machine.ROOT)


def fail(line, status):
    print(line, file=sys.stderr)
    sys.exit(status)


def up(command):
    if machine.settings()["down"]:
        fail(f"Connection refused\n{command}: cannot connect to server {SERVER} (errno=111)", 111)


def minutes_of(walltime):
    hours, minutes, seconds = map(int, walltime.split(":"))
    return hours * 60 + minutes + (seconds + 59) // 60


def qsub():
    if sys.argv[1:2] == ["--look-after"]:
        Pbs().run(int(sys.argv[2]))
        return
    up("qsub")
    options, words = getopt.getopt(sys.argv[1:], "N:A:q:l:r:k:o:e:h")
    given = {option: value for option, value in options if option != "-l"}
    wants = dict(value.split("=", 1) for option, value in options if option == "-l")
    if "-A" not in given:
        fail("qsub: Request rejected.  Reason: No project specified", 1)
    for needed in ("walltime", "filesystems"):
        if needed not in wants:
            fail(f"qsub: Job rejected by all possible destinations: no {needed}", 1)
    queue = given["-q"]
    if queue not in machine.settings()["queues"]:
        fail("qsub: Unknown queue", 170)
    if not Path(words[0]).is_file():
        fail(f"qsub: script file:: No such file or directory {words[0]}", 1)
    with machine.locked():
        if machine.full(queue):
            machine.note("refused", None)
            fail("qsub: would exceed queue generic's per-user limit of jobs in 'Q' state", 38)
        job = machine.enqueue(
            queue=queue, minutes=minutes_of(wants["walltime"]), argv=sys.argv[1:], cwd=str(Path.cwd()),
            out="", err="", run="", held="-h" in given, filesystems=wants["filesystems"].split(":"),
        )  # fmt: skip
        name = f"{job['number']}.{SERVER}"
        spool = machine.ROOT / f"{name}.SC"
        shutil.copy(words[0], spool)
        spool.chmod(0o700)
        job.update(
            run=str(spool),
            out=str(Path(given["-o"], f"{name}.OU")),
            err=str(Path(given["-e"], f"{name}.ER")),
        )
        machine.write(job)
    machine.look_after(job["number"])
    print(name)


def fields(job):
    ran = job["started"] is not None
    shown = {
        "Job_Name": "job", "Job_Owner": "user@login", "queue": job["queue"], "server": SERVER,
        "Hold_Types": "u" if job["state"] == "user_hold" else "n",
        "Variable_List": {"PBS_O_HOME": "/home/user", "PBS_O_WORKDIR": job["cwd"]},
        "Resource_List": {"walltime": f"{job['minutes'] // 60:02}:{job['minutes'] % 60:02}:00"},
    }  # fmt: skip
    if not job["gone"]:
        state = {"user_hold": "H", "running": "R", "killing": "E"}.get(job["state"], "Q")
        return shown | {"job_state": state}
    run_at = f"Job run at {time.strftime('%a %b %d at %H:%M')} on (node:ncpus=128)"
    ends = {"": "finished", "deleted": "terminated", "walltime": "exceeded resource walltime"}
    shown |= {"job_state": "F", "comment": f"{run_at} and {ends[job['cause']]}"}
    if not ran:
        return shown | {"comment": "Job was terminated"}
    code = job["code"]
    status = -29 if job["cause"] == "walltime" else code - 128 + 256 if code > 128 else code
    return shown | {"Exit_status": status}


def qstat():
    up("qstat")
    options, words = getopt.gnu_getopt(sys.argv[1:], "xfF:")
    history = ("-x", "") in options
    jobs = {}
    for word in words:
        job = machine.read(int(word.split(".")[0]))
        if job is None or (job["gone"] and not history):
            fail(f"qstat: Unknown Job Id {word}", 153)
        jobs[f"{job['number']}.{SERVER}"] = fields(job)
    answer = {"timestamp": int(time.time()), "pbs_version": "2022.1.1", "pbs_server": SERVER}
    print(json.dumps(answer | {"Jobs": jobs}, indent=4))


def qdel():
    up("qdel")
    machine.simulated(1)
    with machine.locked():
        for word in sys.argv[1:]:
            job = machine.read(int(word.split(".")[0]))
            if job is None:
                fail(f"qdel: Unknown Job Id {word}", 153)
            if job["gone"]:
                fail(f"qdel: Job has finished {word}", 35)
            job["delete"] = True
            machine.write(job)
            machine.note("qdel", job["number"])
