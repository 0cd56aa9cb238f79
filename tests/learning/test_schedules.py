"""Schedules against their closed form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.config import Experiment
from dawnchorus.learning.schedules import (
    Clock,
    cosine,
    linear,
    scaled_learning_rate,
    warmup_cosine,
)


def test_cosine_is_half_a_cosine_between_its_ends():
    steps = 101
    for step in range(steps):
        expected = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / 100))
        assert cosine(step, steps, 0.04, 0.4) == pytest.approx(expected, abs=1e-15)
    assert cosine(0, steps, 0.04, 0.4) == 0.04
    assert cosine(50, steps, 0.04, 0.4) == pytest.approx(0.22)
    assert cosine(100, steps, 0.04, 0.4) == cosine(5000, steps, 0.04, 0.4) == 0.4


def test_linear_reaches_its_end_and_stays():
    assert [linear(step, 4, 0.03, 0.07) for step in range(6)] == pytest.approx(
        [0.03, 0.04, 0.05, 0.06, 0.07, 0.07]
    )
    assert linear(0, 0, 0.03, 0.07) == 0.07


def test_warm_up_rises_to_the_peak_then_a_cosine_falls_to_the_end():
    values = [warmup_cosine(step, 10, 110, 1e-3, 1e-6) for step in range(110)]
    assert values[:10] == pytest.approx([1e-4 * (step + 1) for step in range(10)])
    assert values[10] == pytest.approx(1e-3)
    assert values[-1] == pytest.approx(1e-6)
    middle = 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + math.cos(math.pi * 50 / 99))
    assert values[60] == pytest.approx(middle)
    assert values[10:] == sorted(values[10:], reverse=True)


@given(st.integers(1, 300), st.integers(0, 300))
def test_learning_rate_is_never_zero_nor_above_its_peak(steps, warmup):
    warmup = min(warmup, steps)
    values = [warmup_cosine(step, warmup, steps, 1.0, 0.01) for step in range(steps)]
    assert all(0 < value <= 1.0 for value in values)


def test_the_reference_recipe():
    """230,000 windows, batch 512, 50 epochs: 449 steps per epoch; lr 5e-4 x 2 after 5 epochs."""
    experiment = Experiment()
    clock = Clock.of(230_000, experiment.batch_size, experiment.epochs)
    assert (clock.steps_per_epoch, clock.total_steps) == (449, 22_450)
    peak = scaled_learning_rate(experiment.learning_rate, experiment.batch_size)
    assert peak == pytest.approx(1e-3)
    warmup = clock.steps(experiment.warmup_epochs)
    assert warmup == 2245
    assert warmup_cosine(warmup - 1, warmup, clock.total_steps, peak, 1e-6) == pytest.approx(1e-3)


def test_epochs_may_be_fractional():
    assert Clock.of(100, 10, 2.5) == Clock(10, 25, 10)
    assert Clock.of(109, 10, 0.01).total_steps == 1
    assert Clock.of(100, 10, 1).steps(0.25) == 2
    assert Clock.of(100, 10, 1).epoch(5) == 0.5
