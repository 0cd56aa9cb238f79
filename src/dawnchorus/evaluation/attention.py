"""Whether the attention lies where the song is.

In: the boxes around the attention (all heads together) of the most central windows, and annotated
boxes. Out: three figures over the windows that hold an annotated box, each beside what chance would
give:

- energy in the boxes: share of the attention's mass (spread evenly over its box) inside annotated
  boxes;
- pointing game: whether the middle of the densest attention box lies in an annotated box
  (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x);
- intersection over union of the areas.

Areas are in seconds times mel, the plane that the network sees: in hertz, the top octave would be
half of everything. Chance is attention spread over the whole window; for all three that is the
annotated share of the window's area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.evaluation.bootstrap import NONE, Interval, interval, per_group
from dawnchorus.evaluation.windows import recording_facts
from dawnchorus.parquet import read_parquet
from dawnchorus.results import Results, set_aside_because
from dawnchorus.spectrograms.mel import mel_of

MERGED = -1
"""Number of the head that stands for all heads together."""
METRICS = ("energy_in_boxes", "pointing_game", "intersection_over_union")

Boxes = NDArray[np.float64]
"""Rows of (start, end, low, high), shape (n, 4)."""


def clip(boxes: Boxes, frame: tuple[float, float, float, float]) -> Boxes:
    """Cut boxes to a frame (start, end, low, high); what is outside goes."""
    start = np.maximum(boxes[:, 0], frame[0])
    end = np.minimum(boxes[:, 1], frame[1])
    low = np.maximum(boxes[:, 2], frame[2])
    high = np.minimum(boxes[:, 3], frame[3])
    inside = (end > start) & (high > low)
    return np.stack([start, end, low, high], axis=1)[inside]


def area(boxes: Boxes) -> float:
    """Return the area of the union of boxes.

    The plane is cut along all edges; a cell is covered or not.
    """
    if not len(boxes):
        return 0.0
    across = np.unique(boxes[:, :2])
    up = np.unique(boxes[:, 2:])
    covered = np.zeros((len(across) - 1, len(up) - 1), dtype=bool)
    for start, end, low, high in boxes:
        columns = slice(*np.searchsorted(across, (start, end)))
        covered[columns, slice(*np.searchsorted(up, (low, high)))] = True
    return float(np.diff(across) @ covered @ np.diff(up))


def common_area(first: Boxes, second: Boxes) -> float:
    """Return the area of the intersection of two unions of boxes."""
    if not (len(first) and len(second)):
        return 0.0
    return area(first) + area(second) - area(np.concatenate([first, second]))


@dataclass(frozen=True)
class WindowScore:
    """The figures of one window; ``chance`` is the annotated share of its area."""

    energy: float
    pointing: float
    overlap: float
    chance: float


def score(
    attended: Boxes,
    mass: NDArray[np.float64],
    annotated: Boxes,
    frame: tuple[float, float, float, float],
) -> WindowScore | None:
    """Compare the attention of one window with its annotation.

    Parameters
    ----------
    attended : array (m, 4)
        Boxes around the attention.
    mass : array (m,)
        Share of the attention in each.
    annotated : array (n, 4)
    frame : tuple
        The window: start, end, low, high.

    Returns
    -------
    WindowScore or None
        None if the window holds no annotated box.
    """
    truth = clip(annotated, frame)
    if not len(truth):
        return None
    whole = (frame[1] - frame[0]) * (frame[3] - frame[2])
    chance = area(truth) / whole
    sizes = (attended[:, 1] - attended[:, 0]) * (attended[:, 3] - attended[:, 2])
    usable = (sizes > 0) & (mass > 0)
    attended, mass, sizes = attended[usable], mass[usable], sizes[usable]
    if not len(attended):
        return WindowScore(0.0, 0.0, 0.0, chance)
    inside = np.array([common_area(box[None], truth) for box in attended])
    energy = float((mass * inside / sizes).sum() / mass.sum())
    densest = attended[int(np.argmax(mass / sizes))]
    time, height = densest[:2].mean(), densest[2:].mean()
    hit = (
        (truth[:, 0] <= time)
        & (time <= truth[:, 1])
        & (truth[:, 2] <= height)
        & (height <= truth[:, 3])
    )
    shared = common_area(attended, truth)
    union = area(attended) + area(truth) - shared
    return WindowScore(energy, float(hit.any()), shared / union, chance)


@dataclass(frozen=True)
class AttentionFigure:
    """One figure of an experiment's attention; ``windows`` counts songs where songs are looked for."""

    metric: str
    value: float | None
    interval: Interval
    chance: float | None
    windows: int
    note: str
    map: str = "merged"


def _in_mel(table: pl.DataFrame) -> Boxes:
    edges = table.select("start_s", "end_s", "low_hz", "high_hz").to_numpy().astype(np.float64)
    edges[:, 2:] = mel_of(edges[:, 2:])
    return edges


def attention_figures(
    settings: Settings, results: Results, experiment: str, boxes: pl.DataFrame | None
) -> list[AttentionFigure]:
    """Compare an experiment's attention boxes with annotated boxes.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
    boxes : DataFrame or None
        From :func:`~dawnchorus.evaluation.labels.read_boxes`.

    Returns
    -------
    list of AttentionFigure
        One per metric of the merged map, then of every map (:mod:`.attention_songs`); without a value,
        and with a note why, if it cannot be computed.
    """
    folder = results.experiment(experiment).attention
    of_song = None
    if boxes is not None:
        of_song = boxes.filter(
            pl.col("song") & pl.col("low_hz").is_not_null() & pl.col("high_hz").is_not_null()
        )
    reason = ""
    if of_song is None:
        reason = "there are no annotations"
    elif not len(of_song):
        reason = "the annotations have no boxes with frequencies"
    elif nothing := set_aside_because(results.experiment(experiment).attention_receipt):
        reason = nothing
    elif not (folder / "boxes.parquet").exists() or not (folder / "windows.parquet").exists():
        reason = "the attention was not computed"
    found: list[tuple[str, WindowScore]] = []
    if of_song is not None and not reason:
        found = _scores(settings, results, experiment, of_song)
        if not found:
            reason = "no central window holds an annotated box"
    if reason:
        return [AttentionFigure(metric, None, NONE, None, 0, reason) for metric in METRICS]

    _, group = np.unique([name for name, _ in found], return_inverse=True)
    values = np.array([[one.energy, one.pointing, one.overlap, 1.0] for _, one in found])

    def means(total: NDArray[np.float64]) -> NDArray[np.float64]:
        return total[:3] / total[3]

    bounds = interval(
        per_group(group, values), means, settings.evaluation.bootstrap, settings.evaluation.seed
    )
    chance = float(np.mean([one.chance for _, one in found]))
    figures = [
        AttentionFigure(metric, float(value), bound, chance, len(found), "")
        for metric, value, bound in zip(METRICS, values[:, :3].mean(axis=0), bounds, strict=True)
    ]
    if of_song is not None and (folder / "heads.zarr").exists():
        from dawnchorus.evaluation.attention_songs import map_figures

        rate = {name: facts[0] for name, facts in recording_facts(results.recordings).items()}
        figures += map_figures(settings, results, experiment, of_song, rate)
    return figures


def _scores(
    settings: Settings, results: Results, experiment: str, of_song: pl.DataFrame
) -> list[tuple[str, WindowScore]]:
    """Return (group, score) of every central window with an annotated box."""
    folder = results.experiment(experiment).attention
    attended = read_parquet(folder / "boxes.parquet").filter(pl.col("head") == MERGED)
    central = read_parquet(folder / "windows.parquet")
    known = recording_facts(results.recordings)
    annotated = {name: _in_mel(part) for (name,), part in of_song.group_by("recording")}
    by_window = {
        (name, offset): part
        for (name, offset), part in attended.group_by(["recording", "offset"], maintain_order=True)
    }
    low, high = mel_of([settings.spectrogram.f_min, settings.spectrogram.f_max])
    found = []
    for row in central.sort("recording", "offset").iter_rows(named=True):
        name, offset = row["recording"], row["offset"]
        if name not in annotated or name not in known:
            continue
        start = offset / known[name][0]
        frame = (start, start + settings.spectrogram.window_seconds, float(low), float(high))
        here = by_window.get((name, offset))
        edges = np.empty((0, 4)) if here is None else _in_mel(here)
        mass = np.empty(0) if here is None else here["mass"].to_numpy().astype(np.float64)
        one = score(edges, mass, annotated[name], frame)
        if one is not None:
            found.append((group_of(settings, row), one))
    return found


def group_of(settings: Settings, row: dict[str, Any]) -> str:
    """Return the group that a window belongs to, as the config has it."""
    kind = settings.evaluation.group
    if kind == "recorder_day":
        return f"{row['recorder']}/{row['date']}"
    return str(row[kind])
