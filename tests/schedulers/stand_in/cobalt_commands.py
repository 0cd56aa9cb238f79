"""``qsub``, ``qstat`` and ``qdel`` that behave as the transcripts of Cobalt's own say, line by line."""

from __future__ import annotations

import getopt
import os
import sys
import time
from pathlib import Path

import machine

DOWN = (
    "<Fault 20: '-------------------------------- START TRACEBACK ------------------------------\\n"
    "    Exception  : error: [Errno 111] Connection refused\\n    Time       : 2026-11-23 06:45:10.103620\\n'>"
)
COLUMNS = ("JobID", "User", "WallTime", "Nodes", "State", "Location")


class Cobalt(machine.Scheduler):
    def environment(self, job):
        ends = job["started"] + job["minutes"] * 60 * machine.SECOND
        return {
            "HOME": os.environ.get("HOME", "/"), "USER": "user", "LOGNAME": "user", "SHELL": "/bin/bash",
            "PATH": "/usr/local/bin:/usr/bin:/bin", "COBALT_JOBID": str(job["number"]),
            "COBALT_PARTNAME": "thetagpu01", "COBALT_JOBSIZE": "1",
            "COBALT_ENDTIME": str(int(ends)), "COBALT_STARTTIME": str(int(job["started"])),
        }  # fmt: skip

    def stopping(self, job, cause):
        said = {
            "walltime": "maximum execution time exceeded; initiating job termination",
            "deleted": "user delete requested with signal SIGTERM by user user",
        }
        log(job, f"Info: {said[cause]}")

    def ended(self, job):
        if not job["cause"]:  # a job that was stopped never gets the line
            machine.simulated(1 + job["number"] * 7 % 4)
            log(
                job,
                f"Info: task completed normally with an exit code of {job['code']}; "
                "initiating job cleanup and removal",
            )


def log(job, line):
    stamp = time.strftime("%a %b %d %H:%M:%S %Y +0000 (UTC)", time.gmtime())
    with Path(job["log"]).open("a") as handle:
        handle.write(f"{stamp} {line}\n")


def refuse(line, *, proxy=True):
    if proxy:
        print('No handlers could be found for logger "Proxy"', file=sys.stderr)
    print(line, file=sys.stderr)
    sys.exit(1)


def qsub():
    if sys.argv[1:2] == ["--look-after"]:
        Cobalt().run(int(sys.argv[2]))
        return
    long = ["attrs=", "jobname=", "debuglog=", "dependencies=", "mode=", "env="]
    options, words = getopt.getopt(sys.argv[1:], "n:t:q:A:o:e:O:h", long)
    given = dict(options)
    script = Path.cwd() / words[0]
    now = machine.settings()
    if int(given.get("-n", 1)) > now["nodes"]:
        refuse("node count out of realistic range", proxy=False)
    if not script.is_file():
        shown = f"{Path.cwd()}/{words[0]}" if not words[0].startswith("/") else words[0]
        refuse(f"command {shown} not found, or is not a file", proxy=False)
    for option in ("-o", "-e", "--debuglog"):
        parent = (Path.cwd() / given.get(option, "x")).parent
        if not parent.is_dir():
            refuse(f"directory {Path.cwd() / given[option]} does not exist", proxy=False)
    if now["down"]:
        refuse(DOWN)
    queue, minutes = given.get("-q", "full-node"), int(given.get("-t", 5))
    if minutes < 5:
        refuse(
            "component error: XMLRPC failure <Fault 1004: 'Walltime less than minimum'>"
            " in system.validate_job\n"
        )
    if queue not in now["queues"]:
        refuse(f"<Fault 1001: \"trying to add job to non-existent queue '{queue}'\">")
    limits = now["queues"][queue]
    if minutes > limits["max"]:
        hours = f"{limits['max'] // 60:02}:{limits['max'] % 60:02}:00"
        refuse(
            f"<Fault 1001: \"Walltime greater than the '{queue}' queue max walltime of {hours}\\n\">"
        )
    attributes = dict(
        pair.partition("=")[::2] for pair in given.get("--attrs", "").split(":") if pair
    )
    with machine.locked():
        if machine.full(queue):
            machine.note("refused", None)
            refuse(
                f"<Fault 1001: \"The limit of {limits['queued']} jobs per user in the '{queue}' queue"
                ' has been reached\\n">'
            )
        job = machine.enqueue(
            queue=queue, minutes=minutes, run=str(script), argv=sys.argv[1:], cwd=str(Path.cwd()),
            out="", err="", log="", held="-h" in given,
            filesystems=attributes.get("filesystems", "").split(","),
            dependencies=[int(n) for n in given.get("--dependencies", "").split(":") if n],
        )  # fmt: skip
        number = str(job["number"])
        for key, option, ending in (
            ("out", "-o", "output"), ("err", "-e", "error"), ("log", "--debuglog", "cobaltlog"),
        ):  # fmt: skip
            named = given.get(option, f"{number}.{ending}").replace("$jobid", number)
            job[key] = str(Path.cwd() / named)
        machine.write(job)
        with Path(job["log"]).open("a") as handle:
            handle.write(f"Jobid: {number}\nqsub {' '.join(sys.argv[1:])}\n\n")
        log(job, f"submitted with cwd set to: {Path.cwd()}")
        if not attributes.get("filesystems"):
            print("No filesystems attribute: all are assumed", file=sys.stderr)
    machine.look_after(job["number"])
    print(number)


def table(columns, rows):
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = ["".join(cell.ljust(width + 2) for cell, width in zip(columns, widths, strict=True))]
    lines.append("=" * (sum(widths) + 2 * len(widths)))
    lines += [
        "".join(cell.ljust(width + 2) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    print("\n".join(lines))


def qstat():
    options, words = getopt.gnu_getopt(sys.argv[1:], "", ["header="])
    if machine.settings()["down"]:
        refuse(f"component error: XMLRPC failure {DOWN}\n")
    for word in words:
        if not word.isdigit():
            refuse(f"{word} is not a valid jobid or queue name", proxy=False)
    columns = dict(options).get("--header", ":".join(COLUMNS)).split(":")
    jobs = [job for job in machine.present() if not words or str(job["number"]) in words]
    if words and not jobs:
        sys.exit(1)
    cells = [
        {
            "JobID": str(job["number"]), "User": "user", "Nodes": "1", "State": job["state"],
            "WallTime": f"{job['minutes'] // 60:02}:{job['minutes'] % 60:02}:00",
            "Location": "thetagpu01" if job["started"] else "None",
        }
        for job in jobs
    ]  # fmt: skip
    table(columns, [[cell[column] for column in columns] for cell in cells])


def qdel():
    if machine.settings()["down"]:
        refuse(f"component error: XMLRPC failure {DOWN}\n")
    machine.simulated(1)
    with machine.locked():
        jobs = [job for job in machine.present() if str(job["number"]) in sys.argv[1:]]
        for job in jobs:
            job["delete"] = True
            machine.write(job)
            machine.note("qdel", job["number"])
    if jobs:
        print("      Deleted Jobs")
        table(["JobID", "User"], [[str(job["number"]), "user"] for job in jobs])
