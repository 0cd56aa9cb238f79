"""How much memory there is, by the kernel's and the groups' own files; sharing without leftovers."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import memory
from dawnchorus.learning.ranks import Ranks

GIB = 1 << 30


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {
    "proc/meminfo": f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {40 * GIB // 1024} kB\n"
}


def test_without_limits_it_is_what_the_kernel_says(tmp_path):
    assert memory.available(system(tmp_path, MEMINFO)) == 40 * GIB
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}
    assert memory.available(system(tmp_path, files)) == 40 * GIB
    assert 0 < memory.available() < 1 << 50


def test_a_limit_of_a_group_above_counts_and_page_cache_is_free(tmp_path):
    """Version 2, as Slurm sets it: the job's group limits, the step's below does not."""
    job = "sys/fs/cgroup/system.slice/job_7"
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/system.slice/job_7/step_0\n",
        f"{job}/step_0/memory.max": "max\n",
        f"{job}/step_0/memory.current": f"{2 * GIB}\n",
        f"{job}/memory.max": f"{24 * GIB}\n",
        f"{job}/memory.current": f"{10 * GIB}\n",
        f"{job}/memory.stat": f"anon {GIB}\ninactive_file {7 * GIB}\nactive_file 5\n",
    }
    assert memory.available(system(tmp_path, files)) == 21 * GIB


def test_version_1_and_a_container_that_sees_its_group_as_the_mount(tmp_path):
    mount = "sys/fs/cgroup/memory"
    files = {
        **MEMINFO,
        "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
        f"{mount}/memory.limit_in_bytes": f"{8 * GIB}\n",
        f"{mount}/memory.usage_in_bytes": f"{3 * GIB}\n",
        f"{mount}/memory.stat": f"inactive_file 12\ntotal_inactive_file {GIB}\n",
    }
    assert memory.available(system(tmp_path, files)) == 6 * GIB
    no_limit = {f"{mount}/memory.limit_in_bytes": "9223372036854771712\n"}
    assert memory.available(system(tmp_path, no_limit)) == 40 * GIB
    full = {
        f"{mount}/memory.limit_in_bytes": f"{GIB}\n",
        f"{mount}/memory.usage_in_bytes": f"{3 * GIB}\n",
    }
    assert memory.available(system(tmp_path, full)) == 0


class OfTwo(Ranks):
    """The first of two processes; the other one says nothing and waits for nothing."""

    waited: list[list[str]]

    def told_by_first_of_node(self, text: str) -> str:
        return text

    def wait(self) -> None:
        self.waited.append([path.name for path in Path(tempfile.gettempdir()).iterdir()])


@pytest.fixture
def of_two(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ranks = OfTwo(0, 2, 0, torch.device("cpu"), 2)
    object.__setattr__(ranks, "waited", [])
    return ranks


def test_shared_memory_has_no_name_and_ends_with_its_process(of_two):
    handles = len(list(Path("/proc/self/fd").iterdir()))
    shared = memory.shared(of_two, (3, 4, 5))
    assert of_two.waited == [[]]  # nothing lies in the temporary folder, not even for a moment
    assert shared.shape == (3, 4, 5) and not shared.any()
    shared[1] = 7
    assert np.asarray(shared).sum() == 140
    del shared
    assert len(list(Path("/proc/self/fd").iterdir())) == handles


def test_without_such_memory_it_is_a_file_whose_name_goes_at_once(of_two, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    shared = memory.shared(of_two, (3, 4, 5))
    assert len(of_two.waited[0]) == 1 and list(tmp_path.iterdir()) == []
    shared[:] = 3
    assert shared.sum() == 180


def test_a_full_disk_is_said_before_anything_is_read_and_nothing_is_left(
    of_two, tmp_path, monkeypatch
):
    monkeypatch.delattr(os, "memfd_create")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DawnChorusError, match=f"^{tmp_path}: has no room for the windows; make"):
        memory.shared(of_two, (3, 4, 5))
    assert list(tmp_path.iterdir()) == []


def test_alone_there_is_nothing_to_share(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    codes = memory.shared(Ranks(0, 1, 0, torch.device("cpu")), (2, 3, 4))
    assert codes.shape == (2, 3, 4) and not isinstance(codes, np.memmap)
