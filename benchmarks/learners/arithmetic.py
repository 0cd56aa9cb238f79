"""How much arithmetic a step is, and how much the device can do at most."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from learners import Task, bare, build

MATRIX = {"cuda": 8192, "cpu": 2048}
"""Rows and columns of the matrices that are multiplied."""
ROUNDS = {"cuda": 12, "cpu": 40}
"""On a CPU others may work too: seconds, so that a quiet moment is among them."""


def operations(task: Task) -> int:
    """Floating-point operations of a bare step's matrix products, a multiply-add being two.

    Counted by PyTorch on tensors without content. Attention is counted as the products that it is;
    norms, activations and softmax are not counted, nor is what activation checkpointing does twice.
    """
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        method = build(replace(task, compiled=False), "meta").train()
        views = bare.crops(method, task.batch, "meta")
        with FlopCounterMode(display=False) as counter:
            bare.loss(method, views).backward()
    return counter.get_total_flops()


def peak(task: Task) -> dict[str, float]:
    """Operations per second of one large matrix product in the training's precision; the best."""
    size = MATRIX[task.device]
    kind = torch.bfloat16 if task.precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=task.device, dtype=kind) for _ in range(2))
    out, best = torch.empty_like(a), float("inf")
    for _ in range(ROUNDS[task.device]):
        if task.device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(10):
                torch.mm(a, b, out=out)
            end.record()
            torch.cuda.synchronize()
            best = min(best, begin.elapsed_time(end) / 1e4)
        else:
            started = time.perf_counter()
            torch.mm(a, b, out=out)
            best = min(best, time.perf_counter() - started)
    return {"peak": 2 * size**3 / best}
