"""The attentive probe: what a space's network tells if one may choose which patches to look at.

In: the tokens of the patches after the network's last block, and a task. Out: the same figures as of
the other probes. A song fills few patches of a window, and a mean over all of them drowns it; whether
the network has *seen* the song is another question than whether its pooling kept it.

The probe has one learned query: a softmax over the patches of (token . query) / sqrt(width) weighs the
tokens, and a linear classifier names their weighted mean (attention pooling as in Bardes et al. 2024,
"Revisiting feature prediction for learning visual representations from video", arXiv:2404.08471, with
one head and nothing else). Query and classifier begin at zero, which is the mean over the patches.
Tokens are standardised per dimension by the training side. Memory holds the tokens of the windows
asked for, in half precision, and a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dawnchorus.attention.tokens import run
from dawnchorus.embedding.encoder import device_named, one_thread_each
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.probes import (
    Outcome,
    figures,
    impossible,
    linear,
    of_chance,
    outcome,
    probe,
)
from dawnchorus.evaluation.spaces import Space, images
from dawnchorus.evaluation.targets import Target
from dawnchorus.evaluation.tasks import LEFT_OUT, Fold, Task, prepare
from dawnchorus.evaluation.windows import Windows
from dawnchorus.learning.backbone import ModelMetadata, model_input
from dawnchorus.learning.networks import Backbone
from dawnchorus.results import Results

NAME = "attentive"
BESIDE = "linear, on the attentive probe's windows"
TOKEN_BYTES = 512 * 2**20
"""Most that the tokens of all windows may take; there are fewer windows if they would take more."""
FORWARD_WINDOWS = 16
BATCH = 64
EPOCHS = 20
RATE = 0.02
DECAY = 0.01


def affordable(metadata: ModelMetadata) -> int:
    """Return how many windows' tokens fit into :data:`TOKEN_BYTES`."""
    made = metadata.outline
    return TOKEN_BYTES // (2 * made.rows * made.columns * made.width)


def patch_tokens(
    module: Backbone,
    metadata: ModelMetadata,
    results: Results,
    windows: Windows,
    positions: NDArray[np.int64],
    device: torch.device,
) -> Iterator[Tensor]:
    """Yield the tokens of windows, float16 (n, patches, width), in the order of ``positions``.

    Parameters
    ----------
    module : VisionTransformer
        With a class token.
    metadata : ModelMetadata
    results, windows
    positions : int64 array, sorted
        Which of the windows.
    device : torch.device
    """
    module = module.to(device)
    for _, codes, _ in images(results, windows, positions):
        for part in torch.from_numpy(codes).split(FORWARD_WINDOWS):
            grid = run(module, model_input(part.to(device), metadata)).grid
            yield grid.flatten(1, 2).half().cpu()


class AttentivePool(nn.Module):
    """One query over standardised tokens, and a linear classifier."""

    def __init__(self, mean: Tensor, deviation: Tensor, classes: int) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.query = nn.Parameter(torch.zeros(len(mean)))
        self.weight = nn.Parameter(torch.zeros(classes, len(mean)))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (n, classes) of tokens (n, patches, width)."""
        x = (tokens.float() - self.mean) / self.deviation
        look = (x @ self.query * len(self.query) ** -0.5).softmax(dim=1)
        pooled = (look[:, None] @ x).squeeze(1)
        return F.linear(pooled, self.weight, self.bias)


def of_space(
    bench: Bench, space: Space, network: tuple[Backbone, ModelMetadata], target: Target, whole: Task
) -> list[Outcome]:
    """Probe a space's tokens for a target by the first grouping.

    Where there are more windows than may be taken, a seeded part of them is, and the linear probe of
    the space's own vectors on that very part stands beside it.

    Parameters
    ----------
    bench : Bench
    space : Space
    network : tuple
        The space's, and its metadata.
    target : Target
    whole : Task
        Of all windows; it can be probed.
    """
    evaluation = bench.settings.evaluation
    module, metadata = network
    most = min(evaluation.attentive_windows, affordable(metadata))
    task = whole
    if whole.windows > most:
        generator = np.random.default_rng(evaluation.seed)
        chosen = generator.choice(np.flatnonzero(whole.kept), most, replace=False)
        values = np.full(len(whole.kept), None, dtype=object)
        values[chosen] = target.values[chosen]
        task = prepare(
            values,
            bench.group,
            folds=evaluation.folds,
            seed=evaluation.seed,
            leave_one_out=evaluation.group in LEFT_OUT,
        )
        if task.reason:
            return [impossible(NAME, "grouped", task)]
    positions = np.flatnonzero(task.kept)
    resampled: dict[str, Any] = {"resamples": evaluation.bootstrap, "seed": evaluation.seed}
    with one_thread_each():
        tokens = patch_tokens(
            module, metadata, bench.results, bench.windows, positions, device_named(bench.device)
        )
        outcomes = [
            attentive(
                torch.cat(list(tokens)),
                task,
                balanced=evaluation.balanced,
                workers=bench.workers,
                **resampled,
            )
        ]
    if task is not whole:
        make = partial(linear, balanced=evaluation.balanced)
        outcomes.append(probe(space.vectors[positions], task, make, BESIDE, "grouped", **resampled))
    return outcomes


def attentive(
    tokens: Tensor,
    task: Task,
    *,
    resamples: int,
    seed: int,
    balanced: bool = True,
    workers: int = 1,
) -> Outcome:
    """Fit and predict fold by fold, by groups, and once more with shuffled classes.

    Parameters
    ----------
    tokens : Tensor, float16 (m, patches, width)
        One row per window that the task keeps.
    task : Task
    resamples, seed : int
    balanced : bool
        Whether every class weighs the same.
    workers : int
        Folds at the same time. The caller has torch use one thread each
        (:func:`dawnchorus.embedding.encoder.one_thread_each`), so that sums have one order and the
        outcome does not depend on it.
    """
    if task.reason:
        return impossible(NAME, "grouped", task)
    folds = task.splits["grouped"]
    mixed = np.random.default_rng(seed).permutation(task.target)

    def one(job: tuple[NDArray[np.int64], Fold]) -> NDArray[np.int64]:
        target, (train, test) = job
        pool = fitted(
            tokens, torch.from_numpy(target), torch.from_numpy(train), task.classes, seed, balanced
        )
        with torch.inference_mode():
            parts = torch.from_numpy(test).split(BATCH)
            return torch.cat([pool(tokens[part]).argmax(dim=1) for part in parts]).numpy()

    guess = np.full((2, task.windows), -1, dtype=np.int64)
    jobs = [(target, fold) for target in (task.target, mixed) for fold in folds]
    with ThreadPoolExecutor(workers) as pool:
        for number, named in enumerate(pool.map(one, jobs)):
            guess[number // len(folds), folds[number % len(folds)][1]] = named
    values = figures(guess[0] == task.target, task, resamples=resamples, seed=seed)
    chance = of_chance(guess[1] == mixed, mixed)
    return outcome(NAME, "grouped", task, values, len(folds), [], shuffled=chance)


def fitted(
    tokens: Tensor, target: Tensor, train: Tensor, classes: int, seed: int, balanced: bool
) -> AttentivePool:
    """Fit a probe on the windows ``train``."""
    pool = AttentivePool(*_scale(tokens, train), classes)
    counts = torch.bincount(target[train], minlength=classes).float()
    weight = len(train) / (classes * counts.clamp_min(1)) if balanced else None
    steps = EPOCHS * -(-len(train) // BATCH)
    optimizer = torch.optim.AdamW(pool.parameters(), lr=RATE, weight_decay=DECAY)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in train[torch.randperm(len(train), generator=generator)].split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(pool(tokens[rows]), target[rows], weight).backward()
            optimizer.step()
            course.step()
    return pool


def _scale(tokens: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each dimension over the tokens of the training side."""
    total, squares = torch.zeros(2, tokens.shape[2], dtype=torch.float64)
    for rows in train.split(BATCH):
        part = tokens[rows].double().flatten(0, 1)
        total += part.sum(dim=0)
        squares += part.square().sum(dim=0)
    count = len(train) * tokens.shape[1]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    deviation[deviation == 0] = 1.0
    return mean.float(), deviation.float()
