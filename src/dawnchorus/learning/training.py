"""Training a backbone without labels: the loop.

In: the frozen training set and an experiment's settings. Out: ``{experiment}/model.safetensors``
(the backbone and how to use it), ``{experiment}/recipe.json`` (every setting, and where it comes
from), ``{experiment}/log.jsonl`` (:mod:`dawnchorus.learning.history`) and checkpoints
(:mod:`dawnchorus.learning.checkpoint`), from which the same training goes on at the exact batch. With
other settings or another training set it starts anew.

A step depends on the weights, the seed, the step's number and the process's, and on nothing else;
so an interrupted training ends where an uninterrupted one does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dawnchorus import __version__
from dawnchorus.config import Experiment, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import (
    acceleration,
    augment,
    backbone,
    checkpoint,
    collapse,
    feed,
    history,
    launch,
    networks,
    optimizers,
    probe,
)
from dawnchorus.learning.frozen import Read
from dawnchorus.learning.interruption import GoOnLater, Watch
from dawnchorus.learning.method import Figures, Method
from dawnchorus.learning.methods import METHODS
from dawnchorus.learning.monitors import Monitors
from dawnchorus.learning.nodes import train_on_nodes
from dawnchorus.learning.plan import NOT_LEARNED, Plan, dimension, plan
from dawnchorus.learning.ranks import Ranks, gpus, joined, slow_in_bf16, under_torchrun
from dawnchorus.learning.scale import Scale, sample_rows
from dawnchorus.learning.schedules import Clock, cosine, scaled_learning_rate, warmup_cosine
from dawnchorus.learning.views import ViewMaker
from dawnchorus.learning.whitening import Whitening
from dawnchorus.progress import counting
from dawnchorus.results import ExperimentResults, Results, publishing

WHITENED_AT_ONCE = 256
"""Windows per forward pass when the whitening is learned."""
BAD_STEPS_IN_A_ROW = 3
"""After so many steps that could not be taken, the training ends with an error."""


def train(
    settings: Settings,
    results: Results,
    experiment: str,
    *,
    device: str = "auto",
    processes: int = 1,
    nodes: launch.Nodes = launch.ONE_NODE,
    deadline: float | None = None,
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
    nodes : Nodes
        The machines that train together, if there are several. Without a meeting point this process
        starts the training on each of them, as the scheduler's job around it allows.
    deadline : float, optional
        When the job's time is up, in seconds of the UNIX clock.

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
        (a SystemExit with status 75) after SIGTERM, or when the time is nearly up, and the
        checkpoint is written.
    """
    processes = processes or gpus(device)
    if processes * nodes.count > 1 and not under_torchrun():
        course = plan(settings, results, experiment, processes * nodes.count)
        _heed_collapse(course, results)
        if nodes.count > 1 and not nodes.meeting:
            train_on_nodes(settings, results, experiment, device, processes, nodes.count, deadline)
        else:
            launch.torchrun(settings, results, experiment, device, processes, nodes, deadline)
        return _summary(course)
    with joined(device) as ranks, torch.random.fork_rng():
        course = plan(settings, results, experiment, ranks.world)
        _heed_collapse(course, results)
        _run(course, results.experiment(experiment), ranks, deadline)
        return _summary(course)


def _heed_collapse(course: Plan, results: Results) -> None:
    """End at once what has collapsed before with these settings, unless the alarm is off."""
    lineage = results.experiment(course.name).checkpoints / course.lineage
    if course.experiment.monitors.alarm:
        collapse.end_if_recorded(lineage)
    else:
        collapse.forget(lineage)


def _run(  # noqa: PLR0912, PLR0915 - top to bottom
    course: Plan, paths: ExperimentResults, ranks: Ranks, deadline: float | None
) -> None:
    experiment, clock, sampler = course.experiment, course.clock, course.sampler
    seed = experiment.seed

    # The networks, all from the seed, and where they go on.
    torch.manual_seed(augment.stream(seed))
    method = METHODS[experiment.method](experiment, course.mels, course.frames, clock, ranks)
    method.to(ranks.device).train()
    networks.synchronised(method, ranks)
    optimizer = optimizers.build(experiment.optimizer, method)
    step, generation, skipped = _resume(course, paths, method, optimizer, ranks)
    if experiment.activation_checkpointing:
        acceleration.checkpoint_activations(method)
    if experiment.compile:
        acceleration.compile_blocks(method)
    network: nn.Module = method
    if ranks.world > 1:
        network = DistributedDataParallel(
            method, broadcast_buffers=False, gradient_as_bucket_view=True
        )
    if ranks.first:
        _write_recipe(course, paths.recipe)
        checkpoint.remove_leftovers(paths.checkpoints)
        history.cut(paths.log, step)

    shape, windows = (course.mels, course.frames), sampler.windows
    source = feed.open_feed(course.frozen, shape, sampler, ranks, experiment)
    scale = feed.measured(source, course.frozen, windows, experiment.input, ranks)
    maker = ViewMaker.of(experiment, method.crops, scale, course.frozen.table, source.read, ranks)
    if experiment.precision == "bf16" and slow_in_bf16(ranks.device):
        ranks.say(
            "this processor has no bf16 arithmetic: precision fp32 would be many times faster"
        )
    autocast = torch.autocast(
        ranks.device.type, torch.bfloat16, enabled=experiment.precision == "bf16"
    )
    sample = _probe(course, source.read, scale) if ranks.first else None
    saved = time.monotonic()
    with (
        Watch(deadline) as watch,
        counting(
            f"training {course.name}", clock.total_steps, "steps", done=step, shown=ranks.first
        ) as done,
        Monitors(
            course.name, experiment, clock, method, sample, paths, course.lineage, ranks, step
        ) as monitors,
    ):
        for batch in monitors.waits(source.batches(step, clock.total_steps, maker.partner)):
            # Stochastic depth draws from torch's own generator: its state follows from the step.
            torch.manual_seed(augment.stream(seed, step, 1 + ranks.rank))
            rates = _set_rates(optimizer, experiment, clock, step)
            method.start_step(step)
            optimizer.zero_grad(set_to_none=True)
            loss, figures = _gradient(network, maker, batch, experiment.micro_batch, autocast)
            method.before_step(step)
            norm = _clip(method, experiment.clip_gradient)

            # All processes decide alike: on the mean loss, the common gradient, anyone's SIGTERM.
            common = torch.stack([loss, norm, norm.new_tensor(float(watch.asked))])
            mean_loss, gradient_norm, stop = ranks.mean(common).tolist()
            taken = math.isfinite(mean_loss) and math.isfinite(gradient_norm)
            if taken:
                optimizer.step()
                method.after_step(step)
            else:
                method.undo_step(step)
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
                writing = time.monotonic()
                if ranks.first:
                    lineage = paths.checkpoints / course.lineage
                    at = checkpoint.Position(step, generation, skipped)
                    keep, good = experiment.keep_checkpoints, monitors.suspected_since
                    checkpoint.save(lineage, at, method, optimizer, keep, good)
                saved = time.monotonic()
                watch.saving_took(saved - writing)
            if stop and step < clock.total_steps:
                ranks.wait()
                ranks.say(f"{paths.checkpoints}: saved at step {step}; start again to go on")
                raise GoOnLater

    if ranks.first:
        metadata = _metadata(course, scale)
        turn = _whitening(method, metadata, experiment, source, ranks)
        backbone.save_model(paths.model, method.backbone.state_dict(), metadata, turn)
        checkpoint.remove_others(paths.checkpoints, course.lineage)
    ranks.wait()


def _gradient(
    network: nn.Module,
    maker: ViewMaker,
    batch: feed.Batch,
    most: int | None,
    autocast: torch.autocast,
) -> tuple[Tensor, Figures]:
    """Add up the gradients of this process's windows, in passes of ``most`` windows at most.

    Returns
    -------
    loss : Tensor
        Float32, of this process's windows.
    figures : dict of Tensor
        The method's, of all passes.
    """
    here = batch.codes.shape[0]
    parts = list(acceleration.passes(here, most))
    loss = torch.zeros((), device=batch.codes.device)
    figures: Figures = {}
    for number, part in enumerate(parts):
        views = maker.views(batch, part)
        weight = (part.stop - part.start) / here
        # Processes exchange their gradients once, after the last pass.
        more = isinstance(network, DistributedDataParallel) and number < len(parts) - 1
        with cast(DistributedDataParallel, network).no_sync() if more else nullcontext():
            with autocast:
                part_loss, part_figures = network(views, batch.step)
            (weight * part_loss).backward()
        loss += weight * part_loss.detach()
        for name, value in part_figures.items():
            if value.ndim:  # rows of windows
                figures[name] = torch.cat([figures[name], value]) if number else value
            else:
                figures[name] = weight * value + figures.get(name, 0.0)
    return loss, figures


def _write_recipe(course: Plan, path: Path) -> None:
    """Write every setting of the training and where it comes from."""
    recipe = course.recipe
    content = {
        "experiment": course.name,
        "recipe": recipe.experiment.recipe,
        "windows": recipe.windows,
        "settings": recipe.table(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with publishing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _probe(course: Plan, read: Read, scale: Scale) -> probe.Probe | None:
    """The online probe, if one is wanted."""
    settings = course.experiment.monitors
    return probe.of_training_set(
        course.frozen,
        read,
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
        whitening=experiment.whitening,
        spectrograms=course.frozen.appearance,
        training_set=course.frozen.fingerprint,
        experiment=experiment.model_dump(mode="json", exclude=NOT_LEARNED),
        version=__version__,
    )


def _whitening(
    method: Method,
    metadata: backbone.ModelMetadata,
    experiment: Experiment,
    source: feed.Feed,
    ranks: Ranks,
) -> Whitening | None:
    """Learn the whitening from the windows that the scale was measured on, if one is wanted."""
    if experiment.whitening is None:
        return None
    rows = sample_rows(source.sampler.windows)
    network = method.backbone.eval()

    def found() -> Iterator[Tensor]:
        for first in range(0, len(rows), WHITENED_AT_ONCE):
            codes = torch.from_numpy(source.read(rows[first : first + WHITENED_AT_ONCE]))
            seen = backbone.model_input(codes.to(ranks.device), metadata)
            yield backbone.features(network, seen, metadata.pooling)

    with torch.inference_mode():
        return Whitening.fit(found(), experiment.whitening)


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
        "dimension": dimension(experiment, course.mels, course.frames),
        "lineage": course.lineage,
    }
