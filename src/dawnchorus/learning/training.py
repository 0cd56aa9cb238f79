"""Training a backbone without labels: the loop.

In: the frozen training set and an experiment's settings. Out: ``{experiment}/model.safetensors``
(the backbone and how to use it), ``{experiment}/log.jsonl`` (:mod:`dawnchorus.learning.history`)
and checkpoints (:mod:`dawnchorus.learning.checkpoint`), from which the same training goes on at the
exact batch. With other settings or another training set it starts anew.

A step depends on the weights, the seed, the step's number and the process's, and on nothing else;
so an interrupted training ends where an uninterrupted one does.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dawnchorus import __version__
from dawnchorus.config import Experiment, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import (
    augment,
    backbone,
    checkpoint,
    feed,
    history,
    launch,
    probe,
    training_set,
)
from dawnchorus.learning.interruption import GoOnLater, Watch
from dawnchorus.learning.method import Method, decays
from dawnchorus.learning.methods import METHODS
from dawnchorus.learning.monitors import Monitors
from dawnchorus.learning.ranks import Ranks, gpus, joined, slow_in_bf16, under_torchrun
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.learning.scale import Scale, measured
from dawnchorus.learning.schedules import Clock, cosine, scaled_learning_rate, warmup_cosine
from dawnchorus.learning.training_set import FrozenSet
from dawnchorus.progress import counting
from dawnchorus.results import ExperimentResults, Results, fingerprint

BAD_STEPS_IN_A_ROW = 3
"""After so many steps that could not be taken, the training ends with an error."""
ADAM_BETAS = (0.9, 0.999)
WITHOUT_EFFECT = {"keep_checkpoints", "checkpoint_minutes", "warm_start", "monitors"}
"""Settings that do not change the course of a training: a checkpoint stays good when they change."""


@dataclass(frozen=True)
class Plan:
    """All that decides the course of a training, checked before anything heavy starts."""

    name: str
    experiment: Experiment
    frozen: FrozenSet
    mels: int
    frames: int
    window_seconds: float
    sampler: EpochSampler
    clock: Clock

    @property
    def lineage(self) -> str:
        """Fingerprint of all that decides the course of the training."""
        decisive = self.experiment.model_dump(mode="json", exclude=WITHOUT_EFFECT)
        return fingerprint([decisive, self.frozen.fingerprint, self.mels, self.frames])[:16]


def plan(settings: Settings, results: Results, experiment: str, processes: int = 1) -> Plan:
    """Check an experiment against the training set there is.

    Raises
    ------
    DawnChorusError
        If the training set is missing or smaller than a batch, the window does not divide into
        patches, or the batch does not divide among the processes.
    """
    wanted, shape = settings.experiment(experiment), settings.spectrogram
    key = f"experiments.{experiment}.batch_size"
    backbone.check_shape(wanted.patch, shape.mels, shape.frames)
    if wanted.batch_size % processes:
        raise DawnChorusError(
            f"{wanted.batch_size} windows do not divide among {processes} processes",
            key,
            f"take a multiple of {processes}",
        )
    frozen = training_set.open_frozen(results)
    windows = frozen.table.height
    if windows < wanted.batch_size:
        raise DawnChorusError(
            f"{wanted.batch_size} windows are more than the {windows} of the training set",
            key,
            f"take at most {windows}, or draw more (training_set.windows)",
        )
    sampler = EpochSampler(windows, wanted.batch_size, wanted.seed)
    clock = Clock.of(windows, wanted.batch_size, wanted.epochs)
    seconds = shape.window_seconds
    return Plan(experiment, wanted, frozen, shape.mels, shape.frames, seconds, sampler, clock)


def train(
    settings: Settings,
    results: Results,
    experiment: str,
    *,
    device: str = "auto",
    processes: int = 1,
) -> dict[str, Any]:
    """Train an experiment to its end, from its last checkpoint if there is one.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Its name in ``settings.experiments``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    processes : int
        Processes on this machine; 0 is one per GPU. More than one are started with torchrun; under
        torchrun already (``RANK`` is set), this process joins the others and the number is theirs.

    Returns
    -------
    dict
        ``experiment``, ``steps``, ``epochs``, ``windows``, ``dimension`` and the ``lineage``.

    Raises
    ------
    DawnChorusError
        If the settings do not fit the training set, or the loss is not finite again and again.
    Collapsed
        (a DawnChorusError) if the alarm is on and all windows have become alike.
    GoOnLater
        (a SystemExit with status 75) after SIGTERM, when the checkpoint is written.
    """
    processes = processes or gpus(device)
    if processes > 1 and not under_torchrun():
        plan(settings, results, experiment, processes)
        launch.torchrun(settings, results, experiment, device, processes)
        return _summary(plan(settings, results, experiment, processes))
    with joined(device) as ranks, torch.random.fork_rng():
        course = plan(settings, results, experiment, ranks.world)
        _run(course, results.experiment(experiment), ranks)
        return _summary(course)


def _run(course: Plan, paths: ExperimentResults, ranks: Ranks) -> None:  # noqa: PLR0915 - top to bottom
    experiment, clock, sampler = course.experiment, course.clock, course.sampler
    seed = experiment.seed

    # The networks, all from the seed, and where they go on.
    torch.manual_seed(augment.stream(seed))
    method = METHODS[experiment.method](experiment, course.mels, course.frames, clock, ranks)
    method.to(ranks.device).train()
    optimizer = _optimizer(method)
    step, generation, skipped = _resume(course, paths, method, optimizer, ranks)
    network: nn.Module = method
    if ranks.world > 1:
        network = DistributedDataParallel(method, broadcast_buffers=False)
    if ranks.first:
        paths.root.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_leftovers(paths.checkpoints)
        history.cut(paths.log, step)

    codes, scale = _training_windows(course, ranks)
    if experiment.precision == "bf16" and slow_in_bf16(ranks.device):
        ranks.say(
            "this processor has no bf16 arithmetic: precision fp32 would be many times faster"
        )
    autocast = torch.autocast(
        ranks.device.type, torch.bfloat16, enabled=experiment.precision == "bf16"
    )
    sample = _probe(course, codes, scale) if ranks.first else None
    saved = time.monotonic()
    with (
        Watch() as watch,
        counting(
            f"training {course.name}", clock.total_steps, "steps", done=step, shown=ranks.first
        ) as done,
        Monitors(
            course.name, experiment, clock, method, sample, paths, course.lineage, ranks, step
        ) as monitors,
    ):
        for batch in monitors.waits(feed.batches(codes, sampler, ranks, step, clock.total_steps)):
            # Stochastic depth draws from torch's own generator: its state follows from the step.
            torch.manual_seed(augment.stream(seed, step, 1 + ranks.rank))
            rates = _set_rates(optimizer, experiment, clock, step)
            views = augment.views(
                batch, method.crops, experiment.augmentation, scale, (seed, step), ranks
            )
            with autocast:
                loss, figures = network(views, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            method.before_step(step)
            norm = _clip(method, experiment.clip_gradient)

            # All processes decide alike: on the mean loss, the common gradient, anyone's SIGTERM.
            common = torch.stack([loss.detach(), norm, norm.new_tensor(float(watch.asked))])
            mean_loss, gradient_norm, stop = ranks.mean(common).tolist()
            taken = math.isfinite(mean_loss) and math.isfinite(gradient_norm)
            if taken:
                optimizer.step()
                method.after_step(step)
            skipped = 0 if taken else skipped + 1

            monitors.step(
                step,
                figures,
                taken=taken,
                loss=mean_loss,
                gradient_norm=gradient_norm,
                **rates,
                **method.schedules(step),
                batch=sampler.digest(step),
            )
            step += 1
            done(note=f"loss {mean_loss:.3f}")
            if skipped >= BAD_STEPS_IN_A_ROW:
                raise DawnChorusError(
                    f"{skipped} steps in a row had no finite loss and gradient (up to step {step})",
                    f"experiments.{course.name}",
                    "lower learning_rate or set precision to fp32; it goes on from its checkpoint",
                )
            late = time.monotonic() - saved > 60 * experiment.checkpoint_minutes
            ends = step % clock.steps_per_epoch == 0 or step == clock.total_steps
            if late or ends or stop:
                if ranks.first:
                    lineage = paths.checkpoints / course.lineage
                    at = checkpoint.Position(step, generation, skipped)
                    keep, good = experiment.keep_checkpoints, monitors.suspected_since
                    checkpoint.save(lineage, at, method, optimizer, keep, good)
                saved = time.monotonic()
            if stop and step < clock.total_steps:
                ranks.wait()
                ranks.say(f"{paths.checkpoints}: saved at step {step}; start again to go on")
                raise GoOnLater

    if ranks.first:
        backbone.save_model(paths.model, method.backbone.state_dict(), _metadata(course, scale))
        checkpoint.remove_others(paths.checkpoints, course.lineage)
    ranks.wait()


def _training_windows(course: Plan, ranks: Ranks) -> tuple[NDArray[np.uint8], Scale]:
    """The training set in memory, and how its codes become the network's input."""
    frozen = course.frozen
    shape = (frozen.table.height, course.mels, course.frames)
    codes = feed.shared_codes(ranks, shape, frozen.fill)
    return codes, measured(codes, frozen.db_min, frozen.db_step, course.experiment.input)


def _probe(course: Plan, codes: NDArray[np.uint8], scale: Scale) -> probe.Probe | None:
    """The online probe, if one is wanted."""
    settings = course.experiment.monitors
    return probe.of_training_set(
        course.frozen,
        codes,
        scale,
        windows=settings.probe_windows,
        neighbours=settings.neighbours,
        seed=course.experiment.seed,
        window_seconds=course.window_seconds,
    )


def _metadata(course: Plan, scale: Scale) -> backbone.ModelMetadata:
    experiment = course.experiment
    return backbone.ModelMetadata(
        backbone=experiment.backbone,
        patch=experiment.patch,
        mels=course.mels,
        frames=course.frames,
        pooling=experiment.pooling,
        mean=scale.mean,
        std=scale.std,
        db_min=scale.db_min,
        db_step=scale.db_step,
        input=scale.input,
        spectrograms=course.frozen.spectrograms,
        training_set=course.frozen.fingerprint,
        experiment=experiment.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        version=__version__,
    )


def _optimizer(method: Method) -> torch.optim.AdamW:
    """AdamW in two groups: what weight decay applies to, and biases and norms."""
    learned = list(method.learned())
    return torch.optim.AdamW(
        [
            {"params": [value for name, value in learned if decays(name, value)], "decay": True},
            {
                "params": [value for name, value in learned if not decays(name, value)],
                "decay": False,
            },
        ],
        lr=0.0,
        betas=ADAM_BETAS,
        fused=True,
    )


def _set_rates(
    optimizer: torch.optim.Optimizer, experiment: Experiment, clock: Clock, step: int
) -> dict[str, float]:
    """Give the optimiser the learning rate and weight decay of a step."""
    steps = clock.total_steps
    learning_rate = warmup_cosine(
        step,
        min(clock.steps(experiment.warmup_epochs), steps),
        steps,
        scaled_learning_rate(experiment.learning_rate, experiment.batch_size),
        experiment.final_learning_rate,
    )
    weight_decay = cosine(step, steps, experiment.weight_decay, experiment.final_weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        group["weight_decay"] = weight_decay if group["decay"] else 0.0
    return {"learning_rate": learning_rate, "weight_decay": weight_decay}


def _clip(method: Method, largest: float) -> torch.Tensor:
    """Clip the gradient's norm to ``largest`` (0: do not); return the norm it had."""
    learned = [value for _, value in method.learned()]
    return nn.utils.clip_grad_norm_(learned, largest if largest > 0 else float("inf"))


def _resume(
    course: Plan,
    paths: ExperimentResults,
    method: Method,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
) -> tuple[int, int, int]:
    """Restore what there is to restore; return step, generation and skipped steps in a row."""
    own = checkpoint.complete(paths.checkpoints / course.lineage)
    before = checkpoint.latest_of_others(paths.checkpoints, course.lineage)
    if own:
        checkpoint.restore(own[-1], method, optimizer)
        at = own[-1].position
        ranks.say(f"{own[-1].path}: going on at step {at.step} of {course.clock.total_steps}")
        return at.step, at.generation, at.skipped
    if before is None:
        return 0, 0, 0
    if course.experiment.warm_start:
        checkpoint.restore_weights(before, method)
        ranks.say(f"{before.path}: starting from its weights")
    else:
        ranks.say(f"{before.path}: of other settings or another training set; starting anew")
    return 0, before.position.generation + 1, 0


def _summary(course: Plan) -> dict[str, Any]:
    experiment = course.experiment
    return {
        "experiment": course.name,
        "steps": course.clock.total_steps,
        "epochs": experiment.epochs,
        "windows": course.frozen.table.height,
        "dimension": backbone.dimension(experiment.backbone, experiment.pooling),
        "lineage": course.lineage,
    }
