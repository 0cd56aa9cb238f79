"""Side by side on one node, each process takes a GPU of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time

TAKES = """
import sys
from dawnchorus.embedding.one_gpu import take_gpu
first = take_gpu(int(sys.argv[1]))
assert take_gpu(int(sys.argv[1])) == first
print(first, flush=True)
sys.stdin.readline()
"""


MEMBER = """
import os, sys, time
from dawnchorus.embedding.one_gpu import take_gpu

def told(word, gpu):
    with open(sys.argv[1], "a") as log:
        log.write(f"{os.getpid()} {word} {gpu} {time.monotonic()}\\n")

gpu = take_gpu(2)
told("takes", gpu)
time.sleep(60 if "stays" in sys.argv else 0.3)
told("gives", gpu)
"""


def test_eight_members_and_two_gpus_never_two_on_one(tmp_path):
    log = tmp_path / "log"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(tmp_path)}

    def start(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(log), *words],
            env=environment,
            stderr=subprocess.PIPE,
        )

    killed = start("stays")
    while not log.exists() or " takes " not in log.read_text():
        assert killed.poll() is None
        time.sleep(0.02)
    members = [start() for _ in range(7)]
    # Until one has come and gone, all others pass through the second GPU.
    while log.read_text().count(" gives ") < 2:
        time.sleep(0.02)
    # Before the kill: another may have its GPU before we hear that it is gone.
    ended = time.monotonic()
    killed.kill()
    killed.wait()
    said = [member.communicate(timeout=60)[1].decode() for member in members]
    assert [member.returncode for member in members] == [0] * 7
    assert sum("taken every GPU (2): waiting for one" in line for line in said) >= 5

    times: dict[tuple[str, str], dict[str, float]] = {}
    for line in log.read_text().splitlines():
        process, word, gpu, moment = line.split()
        times.setdefault((gpu, process), {"gives": ended})[word] = float(moment)
    assert len(times) == 8
    used = set()
    for gpu in "01":
        turns = sorted(
            (turn["takes"], turn["gives"]) for (name, _), turn in times.items() if name == gpu
        )
        for (_, gives), (takes, _) in itertools.pairwise(turns):
            assert gives <= takes
        used.add(len(turns))
    # What the killed one had was used again.
    assert min(used) >= 2


def test_each_takes_another_and_gives_it_back_at_its_end(tmp_path):
    def start(**visible):
        return subprocess.Popen(
            [sys.executable, "-c", TAKES, "3"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(tmp_path), **visible},
        )  # fmt: skip

    def number(process):
        return int(process.stdout.readline())

    processes = [start() for _ in range(3)]
    numbers = [number(process) for process in processes]
    assert sorted(numbers) == [0, 1, 2]
    # Whoever sees other GPUs has them for itself.
    elsewhere = start(CUDA_VISIBLE_DEVICES="5,6,7")
    assert number(elsewhere) == 0
    # Killed, not ended: its GPU is free.
    freed = numbers[1]
    processes[1].kill()
    processes[1].wait()
    again = start()
    assert number(again) == freed
    for process in [*processes, elsewhere, again]:
        process.kill()
        process.wait()
