"""What a running Cobalt said, verbatim: job 1 ends well, 2 with 7, 3 by signal 9, 4 is deleted, and so on.

Recorded on a cluster system with three nodes and the queues full-node (20 queued, 10 running, 5 to 720
minutes) and single-gpu (1, 1, 5 to 60). Long lines were cut when they were recorded.
"""

from __future__ import annotations

from dawnchorus.schedulers.backend import Answer

PROXY = 'No handlers could be found for logger "Proxy"\n'

SUBMITTED = Answer(0, "1\n", "")

LONG_TABLE = """\
JobID  User  WallTime  Nodes  State   Location  
================================================
1      user  00:10:00  1      queued  None      
"""  # noqa: W291
TABLE = """\
JobID  State   
===============
1      queued  
"""  # noqa: W291
HELD_TABLE = """\
JobID  State      
==================
6      dep_hold   
7      user_hold  
"""  # noqa: W291
RUNNING_TABLE = """\
JobID  User  WallTime  Nodes  State    Location    
===================================================
4      user  00:10:00  1      running  thetagpu01  
"""  # noqa: W291
DELETED_TABLE = """\
      Deleted Jobs
JobID  User  
=============
4      user  
"""  # noqa: W291
GONE = Answer(1, "", "")

LOG_1 = """\
Jobid: 1
qsub --mode script -n 1 -t 10 -n 1 -t 10 -q full-node -A proj --attrs filesystems=home,eagle --jobname day -o logs/$jobid.output -e logs/$jobid.error --debuglog logs/$jobid.cobaltlog ./job_ok.sh
Mon Nov 23 06:38:20 2026 +0000 (UTC) submitted with cwd set to: /home/user/run
Mon Nov 23 06:38:30 2026 +0000 (UTC) Info: task completed normally with an exit code of 0; initiating job cleanup and removal
"""
LOG_1_BEFORE = "".join(LOG_1.splitlines(keepends=True)[:3])
LOG_2 = """\
Jobid: 2
qsub -n 1 -t 10 -q full-node -A proj --debuglog logs/$jobid.cobaltlog ./job_fail.sh
Mon Nov 23 06:38:30 2026 +0000 (UTC) submitted with cwd set to: /home/user/run
Mon Nov 23 06:38:37 2026 +0000 (UTC) Info: task completed normally with an exit code of 7; initiating job cleanup and removal
"""
LOG_3 = """\
Jobid: 3
qsub -n 1 -t 10 -q full-node -A proj --debuglog logs/$jobid.cobaltlog ./job_sig.sh
Mon Nov 23 06:38:30 2026 +0000 (UTC) submitted with cwd set to: /home/user/run
Mon Nov 23 06:38:36 2026 +0000 (UTC) Info: task completed normally with an exit code of 137; initiating job cleanup and removal
"""
LOG_4 = """\
Jobid: 4
qsub -n 1 -t 10 -q full-node -A proj --debuglog logs/$jobid.cobaltlog ./job_long.sh
Mon Nov 23 06:38:53 2026 +0000 (UTC) submitted with cwd set to: /home/user/run
Mon Nov 23 06:39:03 2026 +0000 (UTC) Info: user delete requested with signal SIGTERM by user user
"""
LOG_10 = """\
Jobid: 10
qsub -n 1 -t 5 -q full-node -A proj --debuglog logs/wall.cobaltlog -o logs/wall.output ./job_long.sh
Mon Nov 23 06:39:36 2026 +0000 (UTC) submitted with cwd set to: /home/user/run
Mon Nov 23 06:44:41 2026 +0000 (UTC) Info: maximum execution time exceeded; initiating job termination
"""

FULL = Answer(
    1,
    "",
    PROXY
    + "<Fault 1001: \"The limit of 1 jobs per user in the 'single-gpu' queue has been reached\\n\">\n",
)
DOWN_QSUB = Answer(
    1,
    "",
    PROXY
    + "<Fault 20: '-------------------------------- START TRACEBACK ------------------------------\\n    "
    "Exception  : error: [Errno 111] Connection refused\\n    Time       : 2026-11-23 06:45:11.856419\\n"
    "---------------------------------------\n",
)
DOWN = Answer(
    1,
    "",
    PROXY
    + "component error: XMLRPC failure <Fault 20: '-------------------------------- START TRACEBACK "
    "------------------------------\\n    Exception  : error: [Errno 111] Connection refused\\n    "
    "Time       : 2026-11-23 06:45:10.103620\\n-------\n\n",
)
REFUSALS = {
    "no such queue": (
        PROXY + "<Fault 1001: \"trying to add job to non-existent queue 'nosuch'\">\n",
        "trying to add job to non-existent queue 'nosuch'",
    ),
    "too short": (
        PROXY + "component error: XMLRPC failure <Fault 1004: 'Walltime less than minimum'> in "
        "system.validate_job\n\n",
        "Walltime less than minimum",
    ),
    "too long": (
        PROXY
        + "<Fault 1001: \"Walltime greater than the 'full-node' queue max walltime of 12:00:00\\n\">\n",
        "Walltime greater than the 'full-node' queue max walltime of 12:00:00",
    ),
    "too many nodes": (
        "node count out of realistic range\n",
        "node count out of realistic range",
    ),
    "no script": (
        "command /home/user/run/./missing.sh not found, or is not a file\n",
        "command /home/user/run/./missing.sh not found, or is not a file",
    ),
    "no folder": (
        "directory /home/user/run/nodir/x.out does not exist\n",
        "directory /home/user/run/nodir/x.out does not exist",
    ),
}
"""What qsub says on standard error when it takes a job never, and what a person is told."""
NOT_AN_ID = Answer(1, "", "abc is not a valid jobid or queue name\n")
