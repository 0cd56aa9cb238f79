"""Side by side on one node, each process takes a GPU of its own."""

from __future__ import annotations

import os
import subprocess
import sys

TAKES = """
import sys
from dawnchorus.embedding.one_gpu import take_gpu
first = take_gpu(int(sys.argv[1]))
assert take_gpu(int(sys.argv[1])) == first
print(first, flush=True)
sys.stdin.readline()
"""


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
    # All are taken: one is shared rather than waited for.
    fourth = start()
    assert number(fourth) in {0, 1, 2}
    # Whoever sees other GPUs has them for itself.
    elsewhere = start(CUDA_VISIBLE_DEVICES="5,6,7")
    assert number(elsewhere) == 0
    # Killed, not ended: its GPU is free.
    freed = numbers[1]
    processes[1].kill()
    processes[1].wait()
    again = start()
    assert number(again) == freed
    for process in [*processes, fourth, elsewhere, again]:
        process.kill()
        process.wait()
