"""What a space costs, from the notes that its steps left."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from dawnchorus.evaluation.cost import cost_rows, pace, parameters_of, training_cost
from dawnchorus.evaluation.spaces import BASELINE, EXPERIMENT, SUPERVISED, Space
from dawnchorus.results import RecorderDay, Results, write_receipt

GPU = {"processes": 4, "device": "NVIDIA H200", "gpu_memory_gb": 20.0}


def lines(*steps_and_rates, **more):
    return [
        {"step": step, "loss": 1.0, "windows_per_second": rate, **more}
        for step, rate in steps_and_rates
    ]


def test_hours_are_steps_times_batch_over_rate():
    # 10 steps of 360 windows at 36 a second, 90 more at 18: 100 s and 1,800 s.
    took = training_cost(lines((10, 36.0), (100, 18.0), **GPU), batch_size=360)
    assert took.hours == pytest.approx(1900 / 3600)
    assert took.gpu_hours == pytest.approx(4 * 1900 / 3600)
    assert (took.device, took.note) == ("4 x NVIDIA H200", "")


@pytest.mark.parametrize(
    ("more", "gpu_hours", "device", "note"),
    [
        ({"processes": 1, "device": "CPU", "memory_gb": 2.0}, 0.0, "CPU", ""),
        ({"processes": 2, "device": "CPU", "memory_gb": 2.0}, 0.0, "2 x CPU", ""),
        # Logs from before the number of processes was written.
        ({"memory_gb": 2.0}, 0.0, "CPU", ""),
        ({"gpu_memory_gb": 2.0}, None, "GPU", "the log does not say how many GPUs there were"),
    ],
)
def test_without_gpus_or_without_knowing_how_many(more, gpu_hours, device, note):
    took = training_cost(lines((100, 10.0), **more), batch_size=36)
    assert took.hours == pytest.approx(0.1)
    assert (took.gpu_hours, took.device, took.note) == (gpu_hours, device, note)


def test_a_log_without_rates_gives_no_hours():
    took = training_cost([{"step": 5, "loss": 2.0}], batch_size=8)
    assert (took.hours, took.gpu_hours) == (None, None)
    assert took.note == "the log does not say how fast the training was"


def note(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tcpu_time\n{seconds}\t0:00:01\t1.0\n")


def test_pace_is_over_the_days_that_have_a_note(tmp_path):
    days = {RecorderDay("A", f"2021-06-0{day}"): 100 * day for day in (1, 2, 3)}
    assert pace(tmp_path, days) is None
    note(tmp_path / "A" / "2021-06-01.tsv", 10)
    note(tmp_path / "A" / "2021-06-03.tsv", 30)
    assert pace(tmp_path, days) == pytest.approx(400 / 40)


def test_a_row_per_space_says_what_was_measured_and_why_not_the_rest(tmp_path):
    results, day = Results(tmp_path), RecorderDay("A", "2021-06-01")
    for name in ("trained", "prepared"):
        paths = results.experiment(name)
        paths.root.mkdir()
        weights = {"block.weight": np.zeros((3, 4)), "block.bias": np.zeros(3)}
        save_file(weights | {"whitening.turn": np.zeros((9, 9))}, paths.model)
        paths.log.write_text("")
        write_receipt(paths.embeddings_receipt(day), {"windows": 500, "verdict": "ok"})
    paths = results.experiment("trained")
    paths.log.write_text("\n".join(map(json.dumps, lines((50, 5.0), **GPU))) + "\n")
    recipe = {"windows": 800, "settings": {"batch_size": {"value": 16, "from": "recipe"}}}
    paths.recipe.write_text(json.dumps(recipe))
    note(tmp_path / "benchmarks" / "embed" / "trained" / "A" / "2021-06-01.tsv", 25)

    def space(name, kind):
        return Space(name, kind, np.zeros((2, 7), np.float32), np.ones(2, bool))

    spaces = [
        space("trained", EXPERIMENT),
        space("prepared", EXPERIMENT),
        space("log-mel", BASELINE),
    ]
    spaces.append(space("birdnet", SUPERVISED))
    rows = {
        row["space"]: row for row in cost_rows(results, [day], spaces, {"later": "not trained"})
    }
    trained = rows["trained"]
    assert trained["parameters"] == 15 == parameters_of(paths.model)
    assert trained["training_hours"] == pytest.approx(160 / 3600)
    assert trained["gpu_hours"] == pytest.approx(4 * 160 / 3600)
    assert (trained["training_windows"], trained["windows_per_second"]) == (800, 20.0)
    assert (trained["dimension"], trained["note"]) == (7, "")
    untimed = "embedding was not timed: no notes of its jobs"
    assert rows["prepared"]["note"] == f"nothing was trained here; {untimed}"
    assert rows["prepared"]["windows_per_second"] is None and "gpu_hours" not in rows["prepared"]
    assert rows["log-mel"]["note"].startswith("nothing was trained here; computed within")
    assert rows["birdnet"]["note"] == f"nothing was trained here; {untimed}"
    assert rows["later"] == {"space": "later", "kind": EXPERIMENT, "note": "not trained"}
