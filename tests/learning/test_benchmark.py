"""What ``benchmarks/training.py`` computes: the arithmetic of a step, and the pace of a log."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def learners(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("learners")


def transformer(tokens: int, width: int, depth: int) -> int:
    """Multiply-adds of the blocks: 12 d^2 per token, and each token with each, twice."""
    return depth * (12 * tokens * width**2 + 2 * tokens**2 * width)


def test_operations_are_those_of_the_formula(learners):
    from learners import arithmetic

    task = learners.Task("dino", "vit_tiny", False, "cpu", 2, 0, 0, Path())
    own = learners.build(task, "meta").settings
    width, depth = 192, 12
    head = width * own.head_hidden + own.head_hidden**2
    head += own.head_hidden * own.head_bottleneck + own.head_bottleneck * own.out_dim

    def view(patches: int, teaches: bool) -> int:
        embedded = patches * 16 * 16 * width
        passes = transformer(patches + 1, width, depth) + head
        # Backwards, all is done twice; but nobody wants the gradient of the spectrogram.
        return passes + embedded if teaches else 3 * passes + 2 * embedded

    whole, part = 8 * 16, 8 * 6
    window = 2 * view(whole, False) + own.local_crops * view(part, False) + 2 * view(whole, True)
    assert arithmetic.operations(task) == 2 * 2 * window


def test_pace_counts_the_steps_between_and_the_probe_apart(learners):
    from learners import ours

    def line(step: int, rate: float, waits: float, watches: float) -> dict[str, float]:
        shares = {"data_wait_share": waits, "monitor_share": watches}
        return {"step": step, "windows_per_second": rate, **shares}

    log = [
        line(1, 1.0, 0.9, 0.0),
        line(2, 1.0, 0.9, 0.5),
        line(4, 8.0, 0.1, 0.1),  # 2 s
        line(6, 16.0, 0.2, 0.3),  # 1 s
        line(8, 4.0, 0.9, 0.5),  # 4 s, of which the probe after step 6 took 2
    ]
    found = ours.pace(log, batch=8, first=2, last=6)
    assert found["seconds"] == pytest.approx(3.0)
    assert found["data_wait_share"] == pytest.approx(0.4 / 3)
    assert found["monitor_share"] == pytest.approx(0.5 / 3)
    assert found["probe_s"] == pytest.approx(2.0 - 0.25)
