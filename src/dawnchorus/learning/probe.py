"""The online probe: what the space knows of labels that cost nothing, while it is being learned.

In: a fixed, seeded sample of the training set, and the backbone as it is. Out: RankMe of the
sample's embeddings, and for hour (UTC), recorder and species (BirdNET's, where its detections are
there when the training starts) the accuracy of the nearest neighbours beside chance.

Neighbours of a window's own *group* do not vote: a group is a recorder-day, or a recording if there
is one recorder-day only. What the same wind and the same microphone had in common a minute ago
would be leakage. A class that one group alone has cannot be found elsewhere: its windows are left
out. Chance is the same vote by windows drawn at random instead of the nearest: less than the share
of the most frequent class where the own group, which does not vote, has most of a window's class.

As in the evaluation, dimensions are standardised and neighbours found by cosine similarity. The
windows are whole and unvaried, the backbone is in evaluation mode, and it is left as it was found:
probing draws no random number and changes nothing of the course of a training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dawnchorus.learning import backbone as backbones
from dawnchorus.learning.frozen import FrozenSet, Read
from dawnchorus.learning.measures import rankme
from dawnchorus.learning.scale import Scale
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import say
from dawnchorus.results import RecorderDay, Results

BIRDNET_SECONDS = 3.0
CONFIDENCE = 0.25
"""Least confidence of a BirdNET detection that names a window."""
WINDOWS_AT_ONCE = 250
CHANCE_VOTES = 10_000
"""Windows that are voted on by chance: its standard error is half a percent at most."""


@dataclass(frozen=True)
class Target:
    """A label of the sample's windows.

    Attributes
    ----------
    name : str
    kept : int64 array (m,)
        Rows of the sample that take part.
    label, group : int64 array (m,)
        Their class, and the group whose windows do not vote for each other.
    """

    name: str
    kept: NDArray[np.int64]
    label: NDArray[np.int64]
    group: NDArray[np.int64]


def target(name: str, labels: NDArray[np.object_], groups: NDArray[np.object_]) -> Target | None:
    """Return a label as it can be probed, or None if fewer than two classes are in two groups each.

    Parameters
    ----------
    name : str
    labels : object array (n,)
        None where there is no label.
    groups : object array (n,)
    """
    pairs = {
        (label, group) for label, group in zip(labels, groups, strict=True) if label is not None
    }
    names, counts = np.unique([str(label) for label, _ in pairs], return_counts=True)
    usable = set(names[counts >= 2].tolist())
    kept = np.array([at for at, label in enumerate(labels) if str(label) in usable], dtype=np.int64)
    if len(usable) < 2:
        return None
    _, label = np.unique(labels[kept].astype(str), return_inverse=True)
    _, group = np.unique(groups[kept].astype(str), return_inverse=True)
    return Target(name, kept, label, group)


def neighbour_accuracy(embeddings: Tensor, probed: Target, neighbours: int) -> float:
    """Share of windows whose nearest neighbours outside their group vote for their class.

    Parameters
    ----------
    embeddings : Tensor, shape (n, d)
        Of the whole sample.
    probed : Target
    neighbours : int
        So many vote, or all there are; of equals the class that comes first wins.
    """
    device = embeddings.device
    x = embeddings[torch.from_numpy(probed.kept).to(device)].float()
    x = (x - x.mean(dim=0)) / x.std(dim=0, correction=0).clamp_min(torch.finfo(x.dtype).tiny)
    x = F.normalize(x, dim=1)
    return _vote(x @ x.T, probed, neighbours)


def chance(probed: Target, neighbours: int) -> float:
    """Share of windows of which so many others, drawn at random outside the group, name the class.

    The vote of :func:`neighbour_accuracy` among windows that are near by chance, drawn again until
    :data:`CHANCE_VOTES` windows were voted on; always the same draws.
    """
    windows = len(probed.label)
    generator = torch.Generator().manual_seed(windows)
    shares = [
        _vote(torch.rand(windows, windows, generator=generator), probed, neighbours)
        for _ in range(math.ceil(CHANCE_VOTES / windows))
    ]
    return sum(shares) / len(shares)


def _vote(near: Tensor, probed: Target, neighbours: int) -> float:
    """The share that the largest of ``near`` (m, m; overwritten) outside the own group name right."""
    label = torch.from_numpy(probed.label).to(near.device)
    group = torch.from_numpy(probed.group).to(near.device)
    near.masked_fill_(group[:, None] == group[None, :], -torch.inf)
    nearest = near.topk(min(neighbours, near.shape[1]), dim=1)
    votes = torch.zeros(near.shape[0], int(label.max()) + 1, device=near.device)
    votes.scatter_add_(1, label[nearest.indices], nearest.values.isfinite().float())
    return (votes.argmax(dim=1) == label).float().mean().item()


class Probe:
    """A sample of the training set that is embedded now and then.

    Parameters
    ----------
    codes : uint8 array (n, mels, frames)
    targets : sequence of Target
    scale : Scale
    neighbours : int
    """

    def __init__(
        self,
        codes: NDArray[np.uint8],
        targets: tuple[Target, ...],
        scale: Scale,
        neighbours: int,
    ) -> None:
        self._codes = torch.from_numpy(codes)
        self.targets, self._scale, self._neighbours = targets, scale, neighbours
        self.chances = {one.name: chance(one, neighbours) for one in targets}

    def measure(
        self,
        network: nn.Module,
        pooling: backbones.Pooling,
        device: torch.device,
        precision: str = "fp32",
    ) -> dict[str, float]:
        """Embed the sample; return ``rankme``, the same of the embeddings without their mean
        (``rankme_centred``), and ``knn_{label}`` beside ``knn_{label}_chance``."""
        embeddings = self.embed(network, pooling, device, precision)
        centred = embeddings - embeddings.mean(dim=0)
        found = {"rankme": rankme(embeddings), "rankme_centred": rankme(centred)}
        for one in self.targets:
            found[f"knn_{one.name}"] = neighbour_accuracy(embeddings, one, self._neighbours)
            found[f"knn_{one.name}_chance"] = self.chances[one.name]
        return found

    @torch.inference_mode()
    def embed(
        self,
        network: nn.Module,
        pooling: backbones.Pooling,
        device: torch.device,
        precision: str = "fp32",
    ) -> Tensor:
        """Return the sample's embeddings, float32 (n, d), on the device."""
        parts = []
        with (
            at_rest(network),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
        ):
            for codes in self._codes.split(WINDOWS_AT_ONCE):
                x = self._scale.normalised(self._scale.decibels(codes.to(device)))
                parts.append(backbones.features(network, x, pooling).float())  # type: ignore[arg-type]
        return torch.cat(parts)


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every module back into the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def of_training_set(
    frozen: FrozenSet,
    read: Read,
    scale: Scale,
    *,
    windows: int,
    neighbours: int,
    seed: int,
    window_seconds: float,
) -> Probe | None:
    """Draw the sample and find its labels; say how many windows have which.

    Parameters
    ----------
    frozen : FrozenSet
    read : callable
        Returns windows of the training set by row, uint8 (n, mels, frames).
    scale : Scale
    windows : int
        Size of the sample; 0 gives None.
    neighbours : int
    seed : int
    window_seconds : float
    """
    if windows == 0:
        return None
    rows = sample_rows(frozen.table.height, windows, seed)
    # Names as text again: the table knows them by numbers.
    table = frozen.table[rows].with_columns(pl.col(pl.Categorical).cast(pl.String))
    found = targets(frozen.results, table, window_seconds) if "recorder" in table.columns else ()
    probe = Probe(read(rows), found, scale, neighbours)
    told = ", ".join(
        f"{one.name} ({len(one.kept):,} windows, {one.label.max() + 1} classes, "
        f"chance {probe.chances[one.name]:.2f})"
        for one in found
    )
    say(f"online probe: {len(rows):,} windows; {told or 'no label that two groups share'}")
    return probe


def sample_rows(windows: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of the training set that are probed, ascending; the same for the same seed."""
    rows = np.random.default_rng([seed, windows]).permutation(windows)[:wanted]
    return np.sort(rows)


def targets(results: Results, table: pl.DataFrame, window_seconds: float) -> tuple[Target, ...]:
    """Return what there is to probe: hour, recorder and species, as far as there are such labels.

    Parameters
    ----------
    results : Results
        For BirdNET's detections; those that are there now.
    table : DataFrame
        The sample's rows of the training set.
    window_seconds : float
    """
    days = (table["recorder"] + "/" + table["date"]).to_numpy().astype(object)
    groups = days if len(set(days)) > 1 else table["recording"].to_numpy().astype(object)
    hours = table["time"].dt.hour().to_numpy().astype(object)
    labels = {
        "hour": hours,
        "recorder": table["recorder"].to_numpy().astype(object),
        "species": species(results, table, window_seconds),
    }
    found = (target(name, values, groups) for name, values in labels.items())
    return tuple(one for one in found if one is not None)


def species(results: Results, table: pl.DataFrame, window_seconds: float) -> NDArray[np.object_]:
    """Return BirdNET's best-scored species of each window, or None.

    The detection that speaks for a window is of the BirdNET window that holds its middle, with a
    confidence of :data:`CONFIDENCE` at least; of equals the first by name.

    Returns
    -------
    object array (n,)
    """
    middle = pl.duration(microseconds=round(window_seconds * 5e5))
    windows = table.select(
        "recorder", "date", "recording", pl.col("time") + middle
    ).with_row_index()
    best = np.full(table.height, None, dtype=object)
    for (recorder, date), here in windows.group_by("recorder", "date"):
        path = results.detections(RecorderDay(str(recorder), str(date)))
        if not path.exists():
            continue
        try:
            detections = read_parquet(path, columns=["recording", "time", "species", "confidence"])
        except (pl.exceptions.PolarsError, OSError):
            say(f"{path}: is no table of detections; the online probe goes on without")
            continue
        heard = (
            detections.filter((pl.col("confidence") >= CONFIDENCE) & pl.col("time").is_not_null())
            .sort("confidence", "species", descending=[True, False])
            .unique(["recording", "time"], keep="first", maintain_order=True)
            .sort("time")
        )
        joined = here.sort("time").join_asof(
            heard,
            on="time",
            by="recording",
            strategy="backward",
            tolerance=f"{round(BIRDNET_SECONDS * 1e6) - 1}us",
            check_sortedness=False,
        )
        best[joined["index"].to_numpy()] = joined["species"].to_numpy().astype(object)
    return best
