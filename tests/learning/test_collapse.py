"""The alarm: each collapse is told by its name and in time, and no healthy training trips it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import checkpoint, history, training, training_set
from dawnchorus.learning.collapse import (
    RECORD,
    STEPS_TO_BE_SURE,
    Alarm,
    Collapsed,
    Finding,
    end_if_recorded,
    forget,
)
from dawnchorus.learning.concerns import Concerns
from dawnchorus.learning.dino import Dino
from dawnchorus.results import Results

from .toy import ToyFrozen, song_windows

MELS, FRAMES = 16, 32
RECIPE = {
    "recipe": "none",
    "backbone": "vit_nano",
    "patch": 8,
    "batch_size": 16,
    "epochs": 14,
    "learning_rate": 1e-2,
    "warmup_epochs": 2,
    "precision": "fp32",
    "drop_path": 0.0,
    "pooling": "mean",
    "checkpoint_minutes": 1000,
    "augmentation": {"mix_probability": 0, "gain_db": 3},
    "monitors": {"probe_steps": 100, "probe_windows": 200, "tensorboard": False},
    "dino": {
        "out_dim": 64,
        "head_hidden": 128,
        "head_bottleneck": 32,
        "local_crops": 0,
        "teacher_momentum": 0.98,
        "freeze_last_layer_epochs": 0,
    },
}
"""400 windows in batches of 16: 25 steps per epoch, 350 steps."""


def train(folder: Path, monkeypatch, dino: dict | None = None, **changes) -> list[history.Entry]:
    recipe = {**RECIPE, **changes, "dino": {**RECIPE["dino"], **(dino or {})}}
    if recipe.get("method") == "vicreg":
        del recipe["dino"]
    codes, _ = song_windows(400, 1, MELS, FRAMES)
    monkeypatch.setattr(training_set, "open_frozen", lambda results: ToyFrozen(codes))
    settings = config.validate(
        {"spectrogram": {"mels": MELS, "frames": FRAMES}, "experiments": {"toy": recipe}}
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training.train(settings, Results(folder), "toy", device="cpu")
    finally:
        torch.set_num_threads(threads)
    return history.read(Results(folder).experiment("toy").log)


# -- forced collapse --------------------------------------------------------------------------


@pytest.mark.slow
def test_centering_off_and_momentum_0_is_one_prototype_and_says_so(tmp_path, monkeypatch):
    off = {"centering": "none", "teacher_momentum": 0.0}
    slowly = {"learning_rate": 2e-3, "warmup_epochs": 4}
    with pytest.raises(Collapsed) as end:
        train(tmp_path, monkeypatch, off, **slowly)
    told = str(end.value)
    assert told.startswith("experiments.toy: collapsed by step ")
    assert "one and the same prototype" in told and "1.00 prototypes in use" in told
    assert "likely cause: dino.centering is none (centering is off)" in told
    assert "dino.teacher_momentum is 0, too low" in told
    assert "\n" not in told

    paths = Results(tmp_path).experiment("toy")
    log = history.read(paths.log)
    assert STEPS_TO_BE_SURE < log[-1]["step"] < 500
    assert [entry["step"] for entry in log if "alarm" in entry] == [log[-1]["step"]]
    assert not paths.model.exists()
    # The last good checkpoint is there, those of the collapsed network are not.
    [held] = [one.position.step for one in _lineage(paths.checkpoints)]
    assert held % 25 == 0 and held <= log[-1]["step"] - STEPS_TO_BE_SURE

    # Started again with the same settings it ends at once with the same line.
    written = paths.log.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(Collapsed) as again:
        patch.setattr(training, "_run", lambda *_: pytest.fail("it was trained"))
        train(tmp_path, monkeypatch, off, **slowly)
    assert str(again.value) == told
    assert paths.log.read_bytes() == written
    # Without the record it goes on from the good checkpoint and ends at the same step, though the
    # alarm's memory had to come from the log.
    [record] = paths.checkpoints.glob(f"*/{RECORD}")
    assert str(record) in told
    record.unlink()
    with pytest.raises(Collapsed) as again:
        train(tmp_path, monkeypatch, off, **slowly)
    assert str(again.value) == told and record.exists()


def _lineage(checkpoints: Path) -> list[checkpoint.Checkpoint]:
    [lineage] = checkpoints.iterdir()
    return checkpoint.complete(lineage)


@pytest.mark.slow
@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_a_temperature_far_too_high_is_uniform_and_says_so(tmp_path, monkeypatch, centering):
    hot = {"teacher_temperature": 1.0, "teacher_temperature_start": 1.0, "centering": centering}
    with pytest.raises(Collapsed, match="every prototype is equally likely") as end:
        train(tmp_path, monkeypatch, hot)
    told = str(end.value)
    assert "likely cause: dino.teacher_temperature is 1, too high" in told
    assert f"of ln(prototypes) = {math.log(64):.3f}" in told
    log = history.read(Results(tmp_path).experiment("toy").log)
    assert log[-1]["step"] < 500
    assert log[-1]["loss"] == pytest.approx(math.log(64), abs=0.05)


@pytest.mark.slow
def test_vicreg_without_its_variance_term_has_the_same_output_for_all(tmp_path, monkeypatch):
    own = {"method": "vicreg", "vicreg": {"expander_width": 32, "covariance": 0.0}}
    lost = {**own, "vicreg": {**own["vicreg"], "variance": 0.0}}
    with pytest.raises(Collapsed, match="outputs are the same for all windows") as end:
        train(tmp_path, monkeypatch, **lost, epochs=19)
    assert "likely cause: vicreg.variance is 0" in str(end.value)
    log = history.read(Results(tmp_path).experiment("toy").log)
    assert log[-1]["step"] < 500 and log[-1]["variance"] > 0.85  # the hinge at its highest, 1
    assert "teacher_entropy" not in log[-1]

    healthy = train(tmp_path / "healthy", monkeypatch, **own, epochs=10)
    assert healthy[-1]["step"] == 250 and healthy[-1]["variance"] < 0.5


@pytest.mark.slow
def test_a_learning_rate_that_explodes_is_the_business_of_the_guard_or_the_alarm(
    tmp_path, monkeypatch
):
    """Not finite: three bad steps end it; finite and dead: the alarm does. Never to the end."""
    with pytest.raises(training.DawnChorusError):
        train(tmp_path, monkeypatch, learning_rate=1e4, clip_gradient=0, warmup_epochs=0)
    log = history.read(Results(tmp_path).experiment("toy").log)
    assert log[-1]["step"] < 500


# -- healthy ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_a_healthy_training_never_trips_it(tmp_path, monkeypatch, centering):
    """More seeds: benchmarks/collapse.py."""
    log = train(tmp_path, monkeypatch, {"centering": centering})
    assert log[-1]["step"] == 350
    # Far from the threshold, not only on the right side of it.
    assert min(entry["teacher_information"] for entry in log) > 0.1


def test_an_untrained_network_that_hardly_learns_is_not_collapsed(tmp_path, monkeypatch):
    """The last layer held, a very long warm-up: 300 steps of next to nothing."""
    slow = {"learning_rate": 1e-7, "warmup_epochs": 14, "epochs": 10}
    log = train(tmp_path, monkeypatch, {"freeze_last_layer_epochs": 10.0}, **slow)
    assert log[-1]["step"] == 250


# -- the rules, on figures made by hand -------------------------------------------------------

HEALTHY = {
    "loss": 3.0,
    "teacher_entropy": 2.0,
    "teacher_uniform_kl": 2.16,
    "teacher_information": 0.5,
    "prototypes_effective": 20.0,
    "embedding_std": 0.6,
    "output_std": 0.05,
    "rankme_centred": 21.0,
}


def judged(entries: list[dict], alarm: Alarm | None = None) -> Finding | None:
    alarm = alarm or Alarm(math.log(64))
    for entry in entries:
        if (found := alarm.see({"taken": True, **entry})) is not None:
            return found
    return None


def run_of(every: int, end: int, first: int = 1, **changes) -> list[dict]:
    return [{"step": step, **HEALTHY, **changes} for step in range(first, end + 1, every)]


ILL = {
    "one prototype": {
        "teacher_information": 1e-6,
        "teacher_entropy": 0.0,
        "teacher_uniform_kl": 4.16,
        "prototypes_effective": 1.0,
    },
    "uniform": {
        "teacher_information": 1e-6,
        "teacher_entropy": 4.15,
        "teacher_uniform_kl": 0.001,
        "prototypes_effective": 63.9,
    },
    "same output": {"teacher_information": 1e-6, "prototypes_effective": 8.0},
    "one point": {"embedding_std": 0.02},
    "few dimensions": {"rankme_centred": 1.5},
}


@pytest.mark.parametrize("symptom", ILL)
@pytest.mark.parametrize("every", [1, 25])
def test_each_symptom_is_told_once_it_has_held_for_200_steps(symptom, every):
    entries = run_of(every, 100) + run_of(every, 600, 101, **ILL[symptom])
    found = judged(entries)
    assert found is not None and found.symptom == symptom
    assert found.step == 301 and found.good in (76, 100)
    assert "since step 101" in found.seen
    # Shorter than that, or with a while in between in which all is well, it is nothing.
    assert judged(run_of(every, 100) + run_of(every, 300, 101, **ILL[symptom])) is None
    broken = run_of(every, 250, 101, **ILL[symptom]) + run_of(every, 280, 251)
    assert judged(run_of(every, 100) + broken + run_of(every, 450, 281, **ILL[symptom])) is None


def test_a_stray_line_does_not_save_a_collapsed_training():
    """One of ten may be well: a batch in which one window got another prototype."""
    ill = run_of(1, 700, 101, **ILL["one prototype"])
    for stray in (161, 250, 301):
        ill[stray - 101] = {"step": stray, **HEALTHY}
    found = judged(run_of(1, 100) + ill)
    # Told by a line that has the sign itself.
    assert found is not None and (found.step, found.good) == (302, 100)
    assert "since step 101" in found.seen
    # Every eighth line is well: the count begins anew each time.
    often = [
        {"step": step, **HEALTHY, **(ILL["one prototype"] if step % 8 else {})}
        for step in range(1, 1000)
    ]
    assert judged(often) is None


def test_what_was_so_from_the_start_is_no_fall_but_no_information_is_none():
    low = {"embedding_std": 0.02, "rankme_centred": 1.4, "output_std": 1e-5}
    assert judged(run_of(5, 2000, **low)) is None
    assert judged(run_of(5, 2000, teacher_information=1e-5)) is not None
    assert judged(run_of(5, 2000, embedding_std=1e-3)) is not None  # a warm start from a collapse


def test_steps_that_were_not_taken_and_figures_that_are_not_there_are_passed_over():
    gone = {**HEALTHY, "teacher_information": None, "embedding_std": None}
    assert judged([{**gone, "step": step} for step in range(1, 1000)]) is None
    bad = [{"step": step, **ILL["uniform"], "taken": False} for step in range(1, 1000)]
    assert judged(bad) is None


def test_what_it_suspects_keeps_the_checkpoint_before(tmp_path):
    alarm = Alarm(None)
    assert judged(run_of(5, 96), alarm) is None and alarm.suspected_since is None
    judged(run_of(5, 200, 101, **ILL["one point"]), alarm)
    assert alarm.suspected_since == 96
    judged(run_of(1, 202, 201), alarm)
    assert alarm.suspected_since == 96
    judged(run_of(1, 203, 203), alarm)
    assert alarm.suspected_since is None


def test_a_record_that_cannot_be_read_says_so_and_none_is_none(tmp_path):
    end_if_recorded(tmp_path)
    found = Finding("one point", "all alike", 300, 75)
    Collapsed(found, "toy", (), tmp_path).record()
    with pytest.raises(Collapsed) as again:
        end_if_recorded(tmp_path)
    assert again.value.found == found and "from step 75" in str(again.value)
    forget(tmp_path)
    end_if_recorded(tmp_path)
    for broken in ("", "[]", '{"symptom": "one point"}'):
        (tmp_path / RECORD).write_text(broken)
        with pytest.raises(DawnChorusError, match=r"collapsed\.json: not a record .*; delete it"):
            end_if_recorded(tmp_path)


def test_checkpoints_from_before_a_suspicion_outlive_the_others(tmp_path):
    method = nn.Linear(2, 2)
    method.learned = method.named_parameters
    optimizer = torch.optim.AdamW(method.parameters())

    def save(step: int, good: int | None) -> list[int]:
        at = checkpoint.Position(step, 0, 0)
        checkpoint.save(tmp_path, at, method, optimizer, 2, good)
        return [one.position.step for one in checkpoint.complete(tmp_path)]

    save(10, None)
    assert save(20, None) == [10, 20]
    assert save(30, 25) == [20, 30]
    assert save(40, 25) == [20, 30, 40]
    assert save(50, 25) == [20, 40, 50]
    assert save(60, None) == [50, 60]
    checkpoint.remove_after(tmp_path, 50)
    assert [one.position.step for one in checkpoint.complete(tmp_path)] == [50]


@pytest.mark.parametrize(
    ("symptom", "dino", "named"),
    [
        ("one prototype", {"centering": "none"}, ["dino.centering is none"]),
        ("one prototype", {"teacher_momentum": 0.5}, ["dino.teacher_momentum is 0.5"]),
        ("one prototype", {"center_momentum": 1.0}, ["dino.center_momentum is 1"]),
        ("one prototype", {}, ["set dino.centering to sinkhorn"]),
        ("uniform", {"teacher_temperature": 0.09}, ["dino.teacher_temperature is 0.09"]),
        ("uniform", {}, ["lower dino.teacher_temperature"]),
    ],
)
def test_the_cause_is_looked_for_in_the_settings(symptom, dino, named):
    from .test_dino import small_dino

    causes = small_dino(dino=dino).causes(symptom)
    assert [any(name in cause for cause in causes) for name in named] == [True] * len(named)
    assert isinstance(small_dino(), Dino) and small_dino().uniform_loss == math.log(32)


# -- what is only said ------------------------------------------------------------------------


def said(entries: list[dict]) -> list[tuple[int, str]]:
    concerns = Concerns()
    return [(entry["step"], line) for entry in entries for line in concerns.see(entry)]


def test_waiting_for_data_is_said_once_until_it_was_well_again():
    def waits(first: int, end: int, share: float) -> list[dict]:
        return [{"step": s, "data_wait_share": share} for s in range(first, end + 1, 10)]

    assert said(waits(1, 1000, 0.09)) == []
    [(step, line)] = said([{"step": 1, "data_wait_share": 0.9}, *waits(11, 1001, 0.2)])
    assert step == 101 and line.startswith("it waited for data 20% of the time")
    twice = waits(1, 301, 0.2) + waits(311, 611, 0.0) + waits(621, 1001, 0.5)
    assert len(said(twice)) == 2


def test_falling_neighbours_and_rank_are_said():
    def probes(*values: float) -> list[dict]:
        return [
            {"step": 200 * at, "knn_hour": value, "knn_hour_chance": 0.1, "rankme": 30 * value}
            for at, value in enumerate(values)
        ]

    assert said(probes(0.3, 0.5, 0.7, 0.6, 0.65, 0.6, 0.7)) == []
    [(step, line)] = said(probes(0.3, 0.7, 0.7, 0.5, 0.5, 0.5, 0.5))
    assert step == 1000 and "knn_hour has fallen to 0.50" in line and "0.70 at step 400" in line
    lines = said(probes(0.9, *[0.4] * 6))
    assert [line.split()[0] for _, line in lines] == ["knn_hour", "RankMe"]


def test_a_loss_that_stays_where_nothing_is_learned_is_said_once():
    concerns = Concerns()
    flat = {"teacher_entropy": 4.0, "teacher_uniform_kl": 0.159, "teacher_information": 0.02}
    told = [concerns.see({"step": step, "loss": 4.15, **flat}) for step in range(1, 400, 25)]
    assert [bool(lines) for lines in told] == [step == 201 for step in range(1, 400, 25)]
    assert "stayed at ln(prototypes) = 4.16 since step 1" in told[8][0]
    assert "0.02 nat" in told[8][0]
    for well in ({"loss": 4.0}, {"loss": 4.15, "teacher_information": 0.2}):
        quiet = Concerns()
        assert not any(quiet.see({"step": step, **flat, **well}) for step in range(1, 600, 25))
