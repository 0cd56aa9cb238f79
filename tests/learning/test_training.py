"""The loop: it resumes exactly, never steps on a bad loss, and two processes are one."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dawnchorus import config
from dawnchorus.config import Settings
from dawnchorus.embedding.encoder import Network
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import backbone, history, interruption, launch, training, training_set
from dawnchorus.learning.dino import Dino
from dawnchorus.learning.whitening import Whitening
from dawnchorus.results import RecorderDay, Results

from . import drive
from .stores import write_day
from .toy import ToyFrozen, song_windows

DRIVE = str(Path(__file__).with_name("drive.py"))
SHAPE = {"mels": 32, "frames": 64, "window_seconds": 0.8, "sample_rate": 44_100}
RECIPE = {
    "recipe": "none",
    "backbone": "vit_nano",
    "epochs": 3,
    "batch_size": 8,
    "precision": "fp32",
    "warmup_epochs": 1,
    "drop_path": 0.1,
    "dino": {
        "out_dim": 32,
        "head_hidden": 32,
        "head_bottleneck": 16,
        "local_crops": 1,
        "freeze_last_layer_epochs": 0.5,
        "temperature_warmup_epochs": 1,
    },
}
Process = subprocess.Popen[str] | multiprocessing.process.BaseProcess
STEPS = 15
"""40 toy windows in batches of 8, three epochs."""


def settings_of(**changes) -> Settings:
    recipe = {**RECIPE, **changes}
    recipe["dino"] = {**RECIPE["dino"], **changes.get("dino", {})}
    return config.validate({"spectrogram": SHAPE, "experiments": {"toy": recipe}})


@pytest.fixture
def toy_set(monkeypatch):
    codes, _ = song_windows(40, 0, SHAPE["mels"], SHAPE["frames"])
    monkeypatch.setattr(training_set, "open_frozen", lambda results: ToyFrozen(codes))
    return codes


def run(folder: Path, **changes) -> tuple[dict[str, torch.Tensor], list[history.Entry]]:
    training.train(settings_of(**changes), Results(folder), "toy", device="cpu")
    return outcome(folder)


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[history.Entry]]:
    return load_file(folder / "toy" / "model.safetensors"), history.read(folder / "toy/log.jsonl")


def start(
    folder: Path, settings: Settings, *, pause: float = 0.0, processes: int = 1
) -> subprocess.Popen[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [
        *(sys.executable, *(torchrun if processes > 1 else ())),
        *(DRIVE, settings.model_dump_json(), str(folder), str(pause)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_steps(log: Path, steps: int, process: Process) -> None:
    for _ in range(9600):  # four minutes: starting takes long where others work too
        if len(history.read(log)) >= steps:
            return
        if isinstance(process, subprocess.Popen):
            assert process.poll() is None, process.communicate()[1]
        else:
            assert process.is_alive(), process.exitcode
        time.sleep(0.025)
    raise AssertionError("the training does not get going")


def closest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- what comes out ---------------------------------------------------------------------------


def test_a_training_leaves_its_model_log_and_checkpoint(toy_set, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    summary = training.train(settings_of(), Results(tmp_path), "toy", device="cpu")
    assert torch.equal(torch.rand(2), expected)  # the caller's generator is left alone
    assert summary["steps"] == STEPS and summary["windows"] == 40 and summary["dimension"] == 64

    model, log = outcome(tmp_path)
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    assert log[-1]["epoch"] == 3.0
    for key in (
        *("loss", "learning_rate", "weight_decay", "teacher_momentum", "teacher_temperature"),
        *("teacher_entropy", "center_norm", "embedding_std", "gradient_norm"),
        "windows_per_second",
    ):
        assert all(math.isfinite(entry[key]) for entry in log), key
    assert len({entry["batch"] for entry in log}) == STEPS

    # The log tells what was used: closed forms at a step in the middle.
    peak = 5e-4 * 8 / 256
    assert log[4]["learning_rate"] == pytest.approx(peak)
    middle = log[9]
    falling = 0.5 * (1 + math.cos(math.pi * 4 / 9))
    assert middle["learning_rate"] == pytest.approx(1e-6 + (peak - 1e-6) * falling)
    rising = 0.5 * (1 + math.cos(math.pi * 9 / 14))
    assert middle["weight_decay"] == pytest.approx(0.4 + (0.04 - 0.4) * rising)
    assert middle["teacher_momentum"] == pytest.approx(1 + (0.992 - 1) * rising)

    # The model is the teacher's backbone, with the set's own normalisation.
    [held] = sorted((tmp_path / "toy" / "checkpoints").glob(f"*/step-{STEPS:08d}"))
    state = load_file(held / "state.safetensors")
    for name, value in model.items():
        assert torch.equal(state[f"method.teacher.backbone.{name}"], value)
    module, metadata = backbone.load_model(tmp_path / "toy" / "model.safetensors")
    decibels = toy_set.astype(np.float64) * 0.5 - 120
    assert metadata.mean == pytest.approx(decibels.mean(), abs=1e-9)
    assert metadata.std == pytest.approx(decibels.std(), abs=1e-9)
    assert metadata.experiment["dino"]["out_dim"] == 32
    x = backbone.model_input(torch.from_numpy(toy_set), metadata)
    assert x.mean().abs() < 1e-3 and (x.std() - 1).abs() < 1e-3
    with torch.no_grad():
        assert backbone.features(module, x).isfinite().all()


def test_the_same_settings_give_the_same_bytes_and_a_finished_training_is_not_done_again(
    toy_set, tmp_path, monkeypatch
):
    run(tmp_path / "a")
    run(tmp_path / "b")
    first = (tmp_path / "a/toy/model.safetensors").read_bytes()
    assert (tmp_path / "b/toy/model.safetensors").read_bytes() == first
    (tmp_path / "a/toy/model.safetensors").unlink()
    monkeypatch.setattr(Dino, "forward", None)  # no step may be taken
    _, log = run(tmp_path / "a")
    assert (tmp_path / "a/toy/model.safetensors").read_bytes() == first
    assert len(log) == STEPS


USUAL = {"epochs": 1.4, "warmup_epochs": 0.4, "dino": {"freeze_last_layer_epochs": 0.2}}


@pytest.fixture(scope="module")
def usual_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        codes, _ = song_windows(40, 0, SHAPE["mels"], SHAPE["frames"])
        patch.setattr(training_set, "open_frozen", lambda results: ToyFrozen(codes))
        return run(folder, **USUAL)[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch", 8),
        ("drop_path", 0.5),
        ("epochs", 2.2),
        ("batch_size", 10),
        ("learning_rate", 1e-3),
        ("final_learning_rate", 1e-5),
        ("warmup_epochs", 2.0),
        ("weight_decay", 0.2),
        ("final_weight_decay", 0.04),
        ("clip_gradient", 0.1),
        ("precision", "bf16"),
        ("seed", 1),
        ("shuffle_windows", 16),
        ("input", "contrast"),
        ("input", "level+contrast"),
        ("pooling", "mean"),
        ("pooling", "bands-mean+max"),
        ("patch", [16, 8]),
        ("backbone", "vit_tiny_patch16_224"),
        ("optimizer", "lars"),
        ("koleo_weight", 0.1),
        ("dino", {"norm_last_layer": False}),
        ("dino", {"freeze_last_layer_epochs": 3.0}),
        ("dino", {"teacher_momentum": 0.9}),
    ],
)
def test_every_setting_of_an_experiment_changes_what_is_learned(
    toy_set, usual_model, tmp_path, key, value
):
    changes = {**USUAL, key: value}
    if key == "dino":
        changes["dino"] = {**USUAL["dino"], **value}
    plain, (changed, log) = usual_model, run(tmp_path, **changes)
    assert plain.keys() != changed.keys() or any(
        plain[name].shape != changed[name].shape or not torch.equal(plain[name], changed[name])
        for name in plain
    )
    if key == "epochs":
        assert log[-1]["step"] == 11


# -- interrupted and resumed ------------------------------------------------------------------


@pytest.mark.slow
def test_killed_ten_times_and_resumed_it_ends_as_if_uninterrupted(tmp_path, monkeypatch):
    """kill -9 at random moments, real processes: same batches, same weights to the bit."""
    # The server imports everything once; it finds what it imports by PYTHONPATH alone.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([drive.__name__])
    settings = settings_of(checkpoint_minutes=1e-6, epochs=12).model_dump_json()
    steps = 12 * 40 // 8

    def started(folder: Path, pause: float) -> multiprocessing.process.BaseProcess:
        process = processes.Process(target=drive.alone, args=(settings, str(folder), pause))
        process.start()
        return process

    whole = started(tmp_path / "whole", 0.0)
    whole.join()
    assert whole.exitcode == 0
    expected, log = outcome(tmp_path / "whole")
    assert len(log) == steps

    folder, random = tmp_path / "killed", np.random.default_rng(4)
    reached = 0
    for _ in range(10):
        process = started(folder, 0.02)
        wait_for_steps(folder / "toy/log.jsonl", reached + int(random.integers(1, 6)), process)
        time.sleep(random.uniform(0.0, 0.06))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        reached = len(history.read(folder / "toy/log.jsonl"))
    assert 10 <= reached < steps and not (folder / "toy/model.safetensors").exists()
    last = started(folder, 0.0)
    last.join()
    assert last.exitcode == 0

    model, resumed = outcome(folder)
    assert [entry["step"] for entry in resumed] == list(range(1, steps + 1))
    assert [entry["batch"] for entry in resumed] == [entry["batch"] for entry in log]
    assert [entry["loss"] for entry in resumed] == [entry["loss"] for entry in log]
    assert closest(model, expected) == 0.0


def test_resumed_between_checkpoints_the_log_has_each_step_once(toy_set, tmp_path, monkeypatch):
    """Stopped at step 8 with the checkpoint of step 5: steps 6 to 8 are done, and logged, again."""
    _, log = run(tmp_path / "whole")

    class StoppedError(Exception):
        pass

    after_step = Dino.after_step

    def stop(self: Dino, step: int) -> None:
        after_step(self, step)
        if step == 8:
            raise StoppedError

    with monkeypatch.context() as stopped:
        stopped.setattr(Dino, "after_step", stop)
        with pytest.raises(StoppedError):
            run(tmp_path / "stopped")
    file = tmp_path / "stopped" / "toy" / "log.jsonl"
    assert history.read(file)[-1]["step"] == 8
    with file.open("a") as cut_short:
        cut_short.write('{"step": 9, "lo')
    _, resumed = run(tmp_path / "stopped")
    same = ("step", "batch", "loss", "learning_rate", "center_norm")
    assert [[e[k] for k in same] for e in resumed] == [[e[k] for k in same] for e in log]


def test_asked_to_stop_it_saves_and_says_so_by_its_status(toy_set, tmp_path, monkeypatch):
    expected, _ = run(tmp_path / "whole")
    after_step = Dino.after_step

    def ask(self: Dino, step: int) -> None:
        after_step(self, step)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as asked:
        asked.setattr(Dino, "after_step", ask)
        with pytest.raises(SystemExit) as end:
            run(tmp_path / "asked")
    assert end.value.code == interruption.GO_ON_LATER == 75
    assert signal.getsignal(signal.SIGTERM) == handler
    steps = [path.name for path in (tmp_path / "asked/toy/checkpoints").glob("*/*")]
    assert max(steps) in ("step-00000007", "step-00000008")
    model, log = run(tmp_path / "asked")
    assert closest(model, expected) == 0.0
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))


def test_before_its_time_is_up_it_saves_and_stops_and_then_goes_on(toy_set, tmp_path, monkeypatch):
    """With 60 s to keep for saving, a job that ends in 61 s has about one second."""
    pause = Dino.after_step

    def slowly(self: Dino, step: int) -> None:
        pause(self, step)
        time.sleep(0.25)

    monkeypatch.setattr(Dino, "after_step", slowly)
    settings, results = settings_of(), Results(tmp_path / "a")
    with pytest.raises(SystemExit) as ended:
        deadline = time.time() + interruption.LEAST_MARGIN_S + 1
        training.train(settings, results, "toy", device="cpu", deadline=deadline)
    assert ended.value.code == interruption.GO_ON_LATER
    done = history.read(results.experiment("toy").log)[-1]["step"]
    assert 1 <= done <= 6
    monkeypatch.setattr(Dino, "after_step", pause)
    training.train(settings, results, "toy", device="cpu", deadline=time.time() + 3600)
    resumed, log = outcome(tmp_path / "a")
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    whole, _ = run(tmp_path / "b")
    assert closest(resumed, whole) == 0.0


def test_the_margin_grows_with_what_a_checkpoint_takes():
    watch = interruption.Watch(time.time() + 100)
    assert not watch.asked
    watch.saving_took(10.0)
    assert not watch.asked
    watch.saving_took(30.0)
    assert watch.asked
    assert not interruption.Watch().asked


def test_a_batch_in_passes_learns_what_a_whole_one_does(toy_set, tmp_path):
    """DINO's centre, mean loss and gradient are those of the whole batch, but for rounding."""
    changes = {"augmentation": {"mix_probability": 0.0}, "drop_path": 0.0}
    whole, whole_log = run(tmp_path / "whole", **changes)
    parts, parts_log = run(tmp_path / "parts", **changes, micro_batch=3)
    assert closest(whole, parts) < 2e-4
    for one, other in zip(whole_log, parts_log, strict=True):
        assert one["batch"] == other["batch"]
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["center_norm"] == pytest.approx(one["center_norm"], abs=1e-4)


def asked_at(step: int):
    """A Watch that is asked at the so-manieth look."""
    looks = itertools.count(1)
    return lambda watch: next(looks) >= step


def test_what_only_saves_memory_does_not_start_a_training_anew(toy_set, tmp_path, monkeypatch):
    whole, _ = run(tmp_path / "whole")
    with monkeypatch.context() as stopped, pytest.raises(SystemExit):
        stopped.setattr(interruption.Watch, "asked", property(asked_at(7)))
        run(tmp_path / "a")
    assert len(history.read(tmp_path / "a/toy/log.jsonl")) == 7
    resumed, log = run(tmp_path / "a", activation_checkpointing=True)
    assert closest(whole, resumed) == 0.0
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))


def test_a_whitening_is_learned_from_the_training_set_and_lies_in_the_model(toy_set, tmp_path):
    plain = {"pooling": "mean", "epochs": 2}
    training.train(settings_of(**plain), Results(tmp_path / "plain"), "toy", device="cpu")
    wanted = settings_of(**plain, whitening=0.1)
    training.train(wanted, Results(tmp_path / "white"), "toy", device="cpu")
    one, other = (
        Network.load(tmp_path / folder / "toy/model.safetensors", batch_size=40, device="cpu")
        for folder in ("plain", "white")
    )
    features = torch.from_numpy(one.encode(toy_set))
    expected = Whitening.fit([features], 0.1)(features).numpy()
    assert np.allclose(other.encode(toy_set), expected, atol=1e-3)


def test_every_setting_and_its_source_lie_beside_the_model(toy_set, tmp_path):
    run(tmp_path, recipe="auto", seed=5)
    written = json.loads((tmp_path / "toy/recipe.json").read_text())
    assert (written["experiment"], written["recipe"], written["windows"]) == ("toy", "auto", 40)
    assert written["settings"]["seed"] == {"value": 5, "from": "the configuration"}
    momentum = written["settings"]["dino.teacher_momentum"]
    assert momentum["value"] == 0.98 and momentum["from"].startswith("recipe for 40 windows: ")
    held = backbone.read_metadata(tmp_path / "toy/model.safetensors").experiment
    assert held["dino"]["teacher_momentum"] == 0.98


def test_other_settings_start_anew_and_a_warm_start_takes_the_weights(toy_set, tmp_path, capsys):
    run(tmp_path / "one")
    first = {path.name for path in (tmp_path / "one/toy/checkpoints").iterdir()}
    _, log = run(tmp_path / "one", seed=5)
    assert "starting anew" in capsys.readouterr().err
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    second = {path.name for path in (tmp_path / "one/toy/checkpoints").iterdir()}
    assert len(second) == 1 and second != first  # the old lineage goes when the new one is finished
    fresh, _ = run(tmp_path / "fresh", seed=5)
    model, _ = outcome(tmp_path / "one")
    assert closest(model, fresh) == 0.0

    warm, _ = run(tmp_path / "one", seed=6, warm_start=True, epochs=0.2)
    assert "starting from its weights" in capsys.readouterr().err
    assert closest(warm, model) < 1e-3  # one step on from there


def test_settings_without_effect_keep_the_checkpoint(toy_set, tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr(Dino, "forward", None)
    run(tmp_path, keep_checkpoints=1, checkpoint_minutes=1.0, warm_start=True)
    run(tmp_path, feed="stream", memory_gb=0.5)


# -- bad losses -------------------------------------------------------------------------------


def spoil(monkeypatch, steps: set[int], what: str) -> None:
    forward = Dino.forward

    def spoiled(self: Dino, views: list[torch.Tensor], step: int):
        if step in steps and what == "input":
            views = [view * float("nan") for view in views]
        loss, figures = forward(self, views, step)
        if step in steps and what == "gradient":
            loss = loss + (self.student.head.last.direction * 0).sum().sqrt()
        return loss, figures

    monkeypatch.setattr(Dino, "forward", spoiled)


@pytest.mark.parametrize("what", ["input", "gradient"])
def test_it_never_steps_on_a_bad_loss_or_gradient(toy_set, tmp_path, monkeypatch, what):
    spoil(monkeypatch, {4, 5, 9}, what)
    model, log = run(tmp_path, dino={"freeze_last_layer_epochs": 0.0})
    assert [entry["step"] for entry in log if not entry["taken"]] == [5, 6, 10]
    assert all(value.isfinite().all() for value in model.values())
    assert all(math.isfinite(entry["loss"]) for entry in log if entry["taken"])
    if what == "input":
        assert log[4]["loss"] is None  # JSON has no NaN
    assert all(math.isfinite(entry["center_norm"]) for entry in log if entry["taken"])


def test_three_bad_steps_in_a_row_end_it_in_one_line(toy_set, tmp_path, monkeypatch):
    spoil(monkeypatch, {6, 7, 8}, "input")
    with pytest.raises(DawnChorusError, match=r"^experiments.toy: 3 steps in a row .* step 9\)"):
        run(tmp_path)
    assert not (tmp_path / "toy" / "model.safetensors").exists()


# -- several processes ------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_learn_what_one_does_with_the_whole_batch(tmp_path):
    """torchrun with two gloo processes of 4 windows each, against one with 8."""
    settings = settings_of(drop_path=0.0, epochs=1, augmentation={"mix_probability": 0.0})
    one = start(tmp_path / "one", settings)
    two = start(tmp_path / "two", settings, processes=2)
    for process in (one, two):
        said = process.communicate()[1]
        assert process.returncode == 0, said
    (alone, log), (pair, logs) = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    assert [entry["batch"] for entry in logs] == [entry["batch"] for entry in log]
    for mine, its in zip(log, logs, strict=True):
        for key in (
            *("loss", "gradient_norm", "center_norm", "teacher_entropy", "teacher_information"),
            *("prototypes_effective", "prototypes_used", "embedding_std", "output_std"),
            *("rankme", "rankme_centred"),
        ):
            if mine.get(key) is None:
                assert its.get(key) is None
                continue
            assert its[key] == pytest.approx(mine[key], rel=2e-4, abs=1e-6), key
    assert closest(alone, pair) < 2e-5
    states = []
    for name in ("one", "two"):
        [held] = (tmp_path / name / "toy" / "checkpoints").glob("*/*")
        states.append(load_file(held / "state.safetensors"))
    for name, value in states[0].items():
        if name.startswith("optimizer.exp_avg."):  # the mean of the gradients, clipped
            assert torch.allclose(states[1][name], value, rtol=1e-3, atol=1e-6), name
    assert torch.allclose(states[0]["method.center"], states[1]["method.center"], atol=1e-6)


@pytest.mark.slow
def test_two_processes_learn_with_vicreg_what_one_does(tmp_path):
    """Its statistics are of the whole batch. Without batch norms: on the CPU each process has its own."""
    shared = {key: value for key, value in RECIPE.items() if key != "dino"}
    recipe = {
        **shared,
        "method": "vicreg",
        "vicreg": {"expander_width": 32, "expander_layers": 1},
        "koleo_weight": 0.1,
        "drop_path": 0.0,
        "epochs": 1,
        "augmentation": {"mix_probability": 0.0},
    }
    settings = config.validate({"spectrogram": SHAPE, "experiments": {"toy": recipe}})
    one = start(tmp_path / "one", settings)
    two = start(tmp_path / "two", settings, processes=2)
    for process in (one, two):
        said = process.communicate()[1]
        assert process.returncode == 0, said
    (alone, log), (pair, logs) = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    for mine, its in zip(log, logs, strict=True):
        for key in ("loss", "gradient_norm", "variance", "invariance", "covariance", "koleo"):
            assert its[key] == pytest.approx(mine[key], rel=5e-4, abs=1e-6), key
    assert closest(alone, pair) < 5e-5


def test_launching_hands_on_the_settings_and_the_cores(toy_set, tmp_path, monkeypatch):
    seen = {}

    class Run:
        def __init__(self, command, env):
            seen.update(command=command, threads=env["OMP_NUM_THREADS"])

        def wait(self, timeout=None):
            return seen["status"]

        def poll(self):
            return seen["status"]

    monkeypatch.setattr(launch.subprocess, "Popen", Run)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    seen["status"] = 0
    settings = settings_of()
    training.train(settings, Results(tmp_path), "toy", device="cpu", processes=2)
    command = seen["command"]
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert command[command.index("--nproc-per-node") + 1] == "2"
    handed = json.loads(command[command.index("--settings") + 1])
    assert config.validate(handed) == settings
    assert seen["threads"] == "3"
    seen["status"] = 1
    with pytest.raises(DawnChorusError, match="2 training processes ended with status 1"):
        training.train(settings, Results(tmp_path), "toy", device="cpu", processes=2)


@pytest.mark.slow
def test_two_processes_from_stores_stop_when_asked_and_go_on(tmp_path):
    """The whole way: stores, sample, torchrun; SIGTERM to the command, status 75; then to the end."""
    results = Results(tmp_path)
    codes, _ = song_windows(40, 0, SHAPE["mels"], SHAPE["frames"])
    write_day(results, RecorderDay("AM01", "2021-05-24"), {4: 20, 5: 20}, codes=codes)
    settings = settings_of(epochs=40)
    training_set.sample(settings, results)
    program = (
        "import sys; from pathlib import Path; from dawnchorus import config;"
        "from dawnchorus.results import Results; from dawnchorus.learning.training import train;"
        "train(config.load(handed=[sys.argv[1]]), Results(Path(sys.argv[2])), 'toy',"
        " device='cpu', processes=2)"
    )
    command = [sys.executable, "-c", program, settings.model_dump_json(), str(tmp_path)]
    log = results.experiment("toy").log
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_steps(log, 5, process)
    process.terminate()
    said = process.communicate()[1]
    assert process.returncode == interruption.GO_ON_LATER, said
    assert not results.experiment("toy").model.exists()
    steps = history.read(log)[-1]["step"]
    assert steps < 200
    saved = [int(path.name[5:]) for path in results.experiment("toy").checkpoints.glob("*/step-*")]
    assert max(saved) == steps  # saved when asked, not only at the end of an epoch
    training.train(settings, results, "toy", device="cpu")  # alone now
    model, entries = outcome(tmp_path)
    assert [entry["step"] for entry in entries] == list(range(1, 201))
    assert len(entries[0]["batch"]) == 16
    assert all(value.isfinite().all() for value in model.values())


MPIRUN = """#!/bin/bash
# mpirun -hostfile FILE -n N COMMAND: once per node, all of them here; the end of one that fails ends all.
count=$4; shift 4
for ((node = 0; node < count; node++)); do "$@" & done
for ((node = 0; node < count; node++)); do
    wait -n || { status=$?; kill $(jobs -p); exit $status; }
done
"""


@pytest.mark.slow
def test_two_nodes_train_together_stop_when_asked_and_go_on(tmp_path):
    """A job of two nodes, both on this machine; one process learns what they learn."""
    results = Results(tmp_path / "two")
    codes, _ = song_windows(40, 0, SHAPE["mels"], SHAPE["frames"])
    write_day(results, RecorderDay("AM01", "2021-05-24"), {4: 20, 5: 20}, codes=codes)
    settings = settings_of(epochs=8, augmentation={"mix_probability": 0.0}, drop_path=0.0)
    training_set.sample(settings, results)
    (tmp_path / "mpirun").write_text(MPIRUN)
    (tmp_path / "mpirun").chmod(0o755)
    (tmp_path / "nodes").write_text("thetagpu01\nthetagpu02\n")
    command = [
        *(sys.executable, "-m", "dawnchorus", "train", "--experiment", "toy", "--device", "cpu"),
        *("--processes", "1", "--nodes", "2", "--settings", settings.model_dump_json()),
        *("--set", f"results={results.root}"),
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COBALT_NODEFILE": str(tmp_path / "nodes"),
        "COBALT_ENDTIME": str(int(time.time()) + 3600),
        "DAWNCHORUS_LAUNCH": f"{tmp_path}/mpirun -hostfile {{nodefile}} -n {{nodes}}",
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    log = results.experiment("toy").log
    process = start()
    wait_for_steps(log, 5, process)
    process.terminate()
    said = process.communicate(timeout=180)[1]
    assert process.returncode == interruption.GO_ON_LATER, said
    assert 5 <= history.read(log)[-1]["step"] < 40
    process = start()
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    assert "going on at step" in said
    assert not list(results.experiment("toy").root.glob(".nodes-*"))
    together, log = outcome(results.root)
    assert [entry["step"] for entry in log] == list(range(1, 41))
    shutil.copytree(results.root, tmp_path / "one")
    shutil.rmtree(tmp_path / "one/toy")
    training.train(settings, Results(tmp_path / "one"), "toy", device="cpu")
    by_one, alone = outcome(tmp_path / "one")
    assert [entry["batch"] for entry in log] == [entry["batch"] for entry in alone]
    assert closest(together, by_one) < 2e-4


# -- refused before anything starts -----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "processes", "line"),
    [
        ({"batch_size": 41}, 1, "experiments.toy.batch_size: 41 windows are more than the 40"),
        ({"batch_size": 9}, 2, "experiments.toy.batch_size: 9 windows do not divide among 2"),
        (
            {"batch_size": 2, "method": "vicreg", "dino": config.Dino().model_dump()},
            2,
            "experiments.toy.batch_size: vicreg needs 2 windows per process at least",
        ),
        (
            {"backbone": "vit_medium_patch16_gap_256"},
            1,
            "pooling: cls needs a class token, and the network has none; take mean, max",
        ),
        ({"backbone": "resnet19", "pooling": "mean"}, 1, "backbone: 'resnet19' is no backbone"),
        (
            {
                "batch_size": 7,
                "micro_batch": 2,
                "method": "vicreg",
                "dino": config.Dino().model_dump(),
            },
            1,
            "experiments.toy.micro_batch: vicreg needs 2 windows per pass at least",
        ),
        (
            {"augmentation": {"photographic": {"local_shape": [96, 90]}}},
            1,
            "augmentation.photographic: a crop of 96 x 90 does not divide into patches of 16",
        ),
        (
            {
                "recipe": "seed2022",
                "patch": [32, 16],
                "augmentation": {"photographic": {"global_shape": [48, 48]}},
            },
            1,
            "augmentation.photographic: a crop of 48 x 48 does not divide",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(toy_set, tmp_path, changes, processes, line):
    with pytest.raises(DawnChorusError, match=f"^{line}"):
        training.train(
            settings_of(**changes), Results(tmp_path), "toy", device="cpu", processes=processes
        )


def test_unknown_experiment_device_and_missing_training_set(tmp_path):
    with pytest.raises(DawnChorusError, match="no experiment 'other'"):
        training.train(settings_of(), Results(tmp_path), "other", device="cpu")
    with pytest.raises(DawnChorusError, match=r"windows.parquet: is not there; run"):
        training.train(settings_of(), Results(tmp_path), "toy", device="cpu")
    with pytest.raises(DawnChorusError, match="'abacus' is no device"):
        training.train(settings_of(), Results(tmp_path), "toy", device="abacus")


def test_the_window_must_divide_into_patches(toy_set, tmp_path):
    settings = config.validate(
        {"spectrogram": {**SHAPE, "mels": 40}, "experiments": {"toy": RECIPE}}
    )
    with pytest.raises(DawnChorusError, match=r"^spectrogram.mels: 40 is no multiple"):
        training.train(settings, Results(tmp_path), "toy", device="cpu")
