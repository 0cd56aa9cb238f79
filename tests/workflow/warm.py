"""``dawnchorus`` for the jobs of the tests' workflows: forked where it is imported already.

A start of torch, timm and umap takes five to seven seconds of a core, the job of a tiny recorder-day half a
second. The process that runs this file imports them once and listens at a socket; the ``dawnchorus`` that
:func:`install` writes hands its arguments, folder, environment and standard streams over, and
ends with the status of the job. A job dies with the ``dawnchorus`` that asked for it.

Jobs that are really started: those killed in ``test_cards.py``, and those of ``test_core_jobs.py``, which must make
the same bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

IMPORTED = (
    "dawnchorus.attention.attend",
    "dawnchorus.birdnet.pseudo_labels",
    "dawnchorus.cli",
    "dawnchorus.clustering.cards",
    "dawnchorus.clustering.fit",
    "dawnchorus.clustering.projection",
    "dawnchorus.embedding.day",
    "dawnchorus.evaluation.evaluate",
    "dawnchorus.learning.training",
    "dawnchorus.report.attention",
    "dawnchorus.report.cards",
    "dawnchorus.report.comparison",
    "dawnchorus.report.maps",
    "dawnchorus.report.training",
    "dawnchorus.spectrograms.day",
    "torch._dynamo",
    "umap",
)

COMMAND = """#!{python} -IS
import array, json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    streams = array.array("i", [0, 1, 2])
    asked.sendmsg([len(told).to_bytes(8)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    asked.sendall(told)
    job = int.from_bytes(asked.recv(8))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda sent, frame: os.kill(job, sent))
    ended = asked.recv(1)
sys.exit(ended[0] if ended else 137)
"""
"""No connection without a status but of a job that was killed."""


def install(folder: Path, address: Path) -> Path:
    """Write the command that asks the process at ``address``; return the folder for ``PATH``."""
    folder.mkdir()
    command = folder / "dawnchorus"
    command.write_text(COMMAND.format(python=sys.executable, address=os.fspath(address)))
    command.chmod(0o755)
    return folder


def serve(address: str) -> None:
    """Import all, then fork a job whenever one is asked for, until the process that started this ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the jobs
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address + ".new")
    listening.listen(64)
    Path(address + ".new").rename(address)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    while True:
        asked, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _job(asked)
        asked.close()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _job(asked: socket.socket) -> None:
    size, streams, *_ = socket.recv_fds(asked, 8, 3)
    told = b""
    while len(told) < int.from_bytes(size):
        told += asked.recv(1 << 20)
    arguments, folder, environment = json.loads(told)
    for stream, number in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # What imported modules have already read of the environment is the same for all jobs.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = ["dawnchorus", *arguments]
    asked.sendall(os.getpid().to_bytes(8))
    threading.Thread(target=_die_with, args=(asked,), daemon=True).start()
    status = 1
    try:
        importlib.import_module("dawnchorus.cli").main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    asked.sendall(bytes([status & 0xFF]))
    os._exit(status & 0xFF)


def _die_with(asked: socket.socket) -> None:
    if asked.recv(1) == b"":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1])
