"""Two processes with half the batch each have the loss and the gradient of one with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dawnchorus.learning.ranks import Ranks

from . import two_processes
from .two_processes import LOSSES, WINDOWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("pair")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(two_processes.__file__, str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [load_file(Path(folder) / f"rank-{rank}.safetensors") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> dict[str, torch.Tensor]:
    return two_processes.computed(Ranks(0, 1, 0, torch.device("cpu")))


def values_of(found: dict[str, torch.Tensor], name: str) -> list[torch.Tensor]:
    return [value for key, value in sorted(found.items()) if key.startswith(f"{name}: ")]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_averaged_gradient_are_those_of_the_whole_batch(pair, alone, name):
    for one in pair:
        for mine, its in zip(values_of(one, name), values_of(alone, name), strict=True):
            assert torch.allclose(mine, its, rtol=0, atol=1e-9)
    assert max(value.abs().max() for value in values_of(alone, name)) > 1e-3


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("vicreg, fewer windows than dimensions", "lightly's, fewer windows than dimensions"),
        ("vicreg, more windows than dimensions", "lightly's, more windows than dimensions"),
        ("centred", "lightly's centred"),
    ],
)
def test_both_are_lightlys(pair, alone, name, oracle):
    for found in (*pair, alone):
        for mine, its in zip(values_of(found, name), values_of(found, oracle), strict=True):
            assert torch.allclose(mine, its, rtol=0, atol=1e-9)


def test_sinkhorns_targets_are_those_of_the_whole_batch(pair, alone):
    for rank, one in enumerate(pair):
        assert torch.allclose(one["targets"], alone["targets"][:, rank::2], rtol=0, atol=1e-12)
    used = alone["targets"].sum(dim=(0, 1))
    assert used.std() / used.mean() < 0.2  # balanced over both processes, not within each


def test_gathering_keeps_the_order_of_the_processes(pair):
    expected = torch.arange(WINDOWS).double()
    for one in pair:
        assert torch.equal(one["gathered"], torch.cat([expected[0::2], expected[1::2]]))
