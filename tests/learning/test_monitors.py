"""Monitors look on: the same weights with and without; the log and TensorBoard say the same."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dawnchorus.learning import history, training, training_set
from dawnchorus.learning.collapse import Collapsed, Finding
from dawnchorus.learning.events import Events, tag
from dawnchorus.learning.monitors import LINES_PER_EPOCH, STEPS_PER_LINE, Monitors
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock
from dawnchorus.results import Results

from .test_dino import small_dino, small_views
from .test_probe import table_of
from .test_training import closest, one_thread, run, toy_set
from .toy import ToyFrozen

__all__ = ["one_thread", "toy_set"]
ALONE = Ranks(0, 1, 0, torch.device("cpu"))
PROBED = {"probe_steps": 4, "probe_windows": 30, "neighbours": 3}


@pytest.fixture
def with_labels(toy_set, monkeypatch):
    """The toy set with recorders, days and hours, so that there is something to probe."""
    days = [("A", "d1"), ("A", "d2"), ("B", "d1"), ("B", "d2")]
    table = table_of([(*day, f"{day[0]}/{day[1]}", 150 * n) for n in range(10) for day in days])

    class Labelled(ToyFrozen):
        results = Results(Path("nowhere"))

        @property
        def table(self) -> pl.DataFrame:
            return table

    monkeypatch.setattr(training_set, "open_frozen", lambda results: Labelled(toy_set))
    return toy_set


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in read.Tags()["scalars"]
    }


def expected_scalars(log: list[history.Entry]) -> dict[str, list[tuple[int, float]]]:
    said: dict[str, list[tuple[int, float]]] = {}
    for entry in log:
        for key, value in entry.items():
            if key != "step" and isinstance(value, int | float):
                said.setdefault(tag(key), []).append((entry["step"], float(np.float32(value))))
    return said


def test_the_same_weights_however_it_is_watched(with_labels, tmp_path):
    watched, log = run(tmp_path / "watched", monitors=PROBED, drop_path=0.3)
    off = {"alarm": False, "tensorboard": False, "probe_windows": 0}
    alone, plain = run(tmp_path / "alone", monitors=off, drop_path=0.3)
    assert closest(watched, alone) == 0.0
    assert [entry["loss"] for entry in log] == [entry["loss"] for entry in plain]
    assert not (tmp_path / "alone/toy/tensorboard").exists()
    assert not any(key.startswith(("knn", "rankme")) for entry in plain for key in entry)


def test_the_log_says_what_its_keys_promise(with_labels, tmp_path, capsys):
    _, log = run(tmp_path, monitors=PROBED)
    said = capsys.readouterr().err
    assert "online probe: 30 windows; hour (30 windows, 2 classes, chance" in said
    assert "recorder (30 windows, 2 classes, chance" in said and "species" not in said
    assert "% of the training's time" in said
    probed = [entry["step"] for entry in log if "rankme" in entry]
    assert probed == [1, 4, 8, 12, 15]
    for entry in log:
        assert 0 <= entry["data_wait_share"] <= 1 and 0 <= entry["monitor_share"] <= 1
        assert entry["views_per_second"] == pytest.approx(3 * entry["windows_per_second"])
        assert entry["teacher_uniform_kl"] == pytest.approx(
            math.log(32) - entry["teacher_entropy"], abs=1e-5
        )
        assert 1 <= entry["prototypes_effective"] <= 32 and entry["memory_gb"] > 0.1
    # 4 x 32 views, 16 a step: known from step 8 on.
    known = [entry["step"] for entry in log if entry["prototypes_used"] is not None]
    assert known == list(range(8, 16))
    first = log[0]
    assert 0 <= first["knn_hour"] <= 1 and 0 < first["knn_recorder_chance"] < 0.5
    assert 1 <= first["rankme"] <= 30 and 1 <= first["rankme_centred"] <= 30
    # Every key is explained.
    for key in {key for entry in log for key in entry}:
        stem = key.removeprefix("knn").removesuffix("_chance")
        assert f"``{key}``" in history.__doc__ or stem in history.__doc__, key


def test_tensorboard_reads_what_the_log_says_also_after_a_resume(
    with_labels, tmp_path, monkeypatch
):
    """Killed at step 8 with the checkpoint of step 5: each step once, in both."""

    class StoppedError(Exception):
        pass

    append = history.append

    def stop(path: Path, entry: history.Entry) -> None:
        append(path, entry)
        if entry["step"] == 8:
            raise StoppedError

    with monkeypatch.context() as stopped:
        stopped.setattr(history, "append", stop)
        with pytest.raises(StoppedError):
            run(tmp_path, monitors=PROBED)
    _, log = run(tmp_path, monitors=PROBED)
    assert [entry["step"] for entry in log] == list(range(1, 16))
    found, expected = scalars(tmp_path / "toy" / "tensorboard"), expected_scalars(log)
    assert found.keys() == expected.keys()
    assert {
        "training/loss",
        "probe/knn_hour",
        "teacher/teacher_entropy",
        "pace/data_wait_share",
    } <= found.keys()
    for name, points in expected.items():
        assert found[name] == points, name
    names = [path.name for path in (tmp_path / "toy" / "tensorboard").iterdir()]
    assert len(names) == 1  # the first file is gone, so nothing stands twice


def test_text_and_null_do_no_harm(tmp_path):
    events = Events(tmp_path, [{"step": 1, "loss": None, "batch": "ab", "warning": "it waited"}])
    events.write({"step": 2, "loss": 1.5, "taken": True})
    events.close()
    assert scalars(tmp_path) == {"training/loss": [(2, 1.5)], "training/taken": [(2, 1.0)]}


def monitors_of(folder: Path, clock: Clock, **settings) -> Monitors:
    method = small_dino(clock=clock, monitors={"tensorboard": False, **settings})
    paths = Results(folder).experiment("toy")
    paths.root.mkdir(parents=True, exist_ok=True)
    return Monitors("toy", method.experiment, clock, method, None, paths, "line", ALONE, 0)


def test_a_line_is_never_far_and_the_first_and_last_step_have_one(tmp_path):
    """A season's epoch has 17,000 steps: lines are 25 steps apart at most."""
    figures = {"center_norm": torch.tensor(1.0)}
    for steps, every in ((17_000, STEPS_PER_LINE), (450, 450 // LINES_PER_EPOCH), (7, 1)):
        clock = Clock(steps, 60, 8)
        with monitors_of(tmp_path / str(steps), clock, probe_windows=0) as monitors:
            for step in range(60):
                monitors.step(step, figures, taken=step != 33, loss=1.0)
        logged = [entry["step"] for entry in history.read(tmp_path / str(steps) / "toy/log.jsonl")]
        assert logged == sorted({1, 34, 60, *range(every, 61, every)})


def test_waiting_is_the_time_of_the_feed_alone(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("dawnchorus.learning.monitors.time.monotonic", lambda: now[0])

    def slow():
        for _ in range(4):
            now[0] += 3.0
            yield torch.zeros(1)

    with monitors_of(tmp_path, Clock(4, 4, 8), probe_windows=0) as monitors:
        for step, _ in enumerate(monitors.waits(slow())):
            now[0] += 1.0  # the step
            monitors.step(step, {}, taken=True, loss=1.0)
    for entry in history.read(tmp_path / "toy/log.jsonl"):
        assert entry["data_wait_share"] == 0.75 and entry["windows_per_second"] == 2.0
        assert entry["views_per_second"] == 8.0


def test_an_alarm_is_written_before_it_ends_the_training(tmp_path, monkeypatch):
    found = Finding("uniform", "all alike", 1, 0)
    monkeypatch.setattr("dawnchorus.learning.collapse.Alarm.see", lambda self, entry: found)
    with (
        pytest.raises(Collapsed, match=r"experiments\.toy: collapsed by step 1: all alike; likely"),
        monitors_of(tmp_path, Clock(4, 4, 8), probe_windows=0) as monitors,
    ):
        method = small_dino()
        monitors.step(0, method(small_views(method), 0)[1], taken=True, loss=1.0)
    [line] = (tmp_path / "toy/log.jsonl").read_text().splitlines()
    assert json.loads(line)["alarm"] == "all alike"
    # Switched off it lets the same go by, and holds no checkpoint back.
    with monitors_of(tmp_path / "off", Clock(4, 4, 8), probe_windows=0, alarm=False) as monitors:
        monitors.step(0, method(small_views(method), 0)[1], taken=True, loss=1.0)
        assert monitors.suspected_since is None
    [entry] = history.read(tmp_path / "off/toy/log.jsonl")
    assert "alarm" not in entry


def test_monitors_are_no_part_of_the_lineage(toy_set, tmp_path):
    from .test_training import settings_of

    def lineage(**changes) -> str:
        return training.plan(settings_of(**changes), Results(tmp_path), "toy").lineage

    assert lineage(monitors={"probe_steps": 7, "alarm": False}) == lineage()
    assert lineage(seed=1) != lineage()
