"""Which map finds the songs: every source, every head and the energy baseline, side by side.

In: an experiment's central windows with their maps (:mod:`.attention_maps`) and annotated boxes. Out: per
map the figures of :mod:`.attention`, and four more:

- songs found: share of the songs (above 6 dB, where the annotation says so) that one box meets with an
  intersection over union of at least 0.3, in seconds and hertz; each song in the window that holds most of
  it. By chance: one box around the whole window;
- song overlap: the mean of the best box's intersection over union;
- song energy: the annotated share of the power that the mask keeps. By chance: of the whole window's;
- average precision of the boxes of all windows, the densest first (:mod:`.box_precision`); each part of a song is
  looked for in the window that holds it. By chance: one box around each whole window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.evaluation.attention import (
    METRICS,
    AttentionFigure,
    clip,
    group_of,
    score,
)
from dawnchorus.evaluation.attention_maps import CentralWindows, Seen, read_central
from dawnchorus.evaluation.bootstrap import interval, per_group
from dawnchorus.evaluation.box_precision import average_precision, matched
from dawnchorus.evaluation.found import (
    FOUND,
    LOUD_DB,
    Boxes,
    best_overlaps,
    songs_in_windows,
)
from dawnchorus.results import Results
from dawnchorus.spectrograms.mel import mel_of

SONG_METRICS = ("songs_found", "song_overlap")
ENERGY_METRIC = "song_energy"
PRECISION_METRIC = "average_precision"
EDGES = ("start_s", "end_s", "low_hz", "high_hz")


@dataclass
class _Sums:
    """Values of one map, each with the group it counts for; the last column counts."""

    groups: list[str] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    chance: list[list[float]] = field(default_factory=list)

    def add(self, group: str, values: Sequence[float], chance: Sequence[float]) -> None:
        self.groups.append(group)
        self.values.append([*values, 1.0])
        self.chance.append(list(chance))


@dataclass
class _Boxes:
    """Boxes of all windows of one map: their scores, whether they find a song, and their groups."""

    groups: list[str] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    found: list[NDArray[np.bool_]] = field(default_factory=list)
    songs: list[int] = field(default_factory=list)

    def add(self, group: str, boxes: Boxes, scores: NDArray[np.float64], songs: Boxes) -> None:
        self.groups.append(group)
        self.scores.append(scores)
        self.found.append(matched(boxes, scores, songs))
        self.songs.append(len(songs))

    def precision(self, weights: NDArray[np.float64], group: NDArray[np.int64]) -> float:
        """Average precision with each group counted as often as ``weights`` says."""
        sizes = [len(one) for one in self.scores]
        return average_precision(
            np.concatenate(self.scores),
            np.concatenate(self.found),
            np.repeat(weights[group], sizes),
            float(weights[group] @ np.array(self.songs)),
        )


def _density(seen: Seen) -> NDArray[np.float64]:
    """Mass of boxes over their area in seconds times mel: how sure each is."""
    edges = _in_mel(seen.boxes)
    size = (edges[:, 1] - edges[:, 0]) * (edges[:, 3] - edges[:, 2])
    return np.divide(seen.mass, size, out=np.zeros_like(size), where=size > 0)


def _precision(settings: Settings, boxes: _Boxes, blind: _Boxes, name: str) -> AttentionFigure:
    """Average precision, with its interval over groups."""
    _, group = np.unique(boxes.groups, return_inverse=True)
    count = int(group.max()) + 1

    def of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([boxes.precision(weights, group)])

    (bounds,) = interval(np.eye(count), of, settings.evaluation.bootstrap, settings.evaluation.seed)
    everybody = np.ones(count)
    return AttentionFigure(
        PRECISION_METRIC,
        boxes.precision(everybody, group),
        bounds,
        blind.precision(everybody, group),
        len(boxes.groups),
        "",
        name,
    )


def map_figures(
    settings: Settings,
    results: Results,
    experiment: str,
    of_song: pl.DataFrame,
    rate: dict[str, int],
) -> list[AttentionFigure]:
    """Return the figures of every map.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        With ``heads.zarr`` and ``windows.parquet`` of the attention step.
    of_song : DataFrame
        Annotated songs with frequencies (and ``snr_db``, which may be empty).
    rate : dict of str to int
        Sample rate of each recording that is known.

    Returns
    -------
    list of AttentionFigure
        Empty if no central window holds a song.
    """
    central = read_central(results, experiment)
    known = central.table.with_row_index("window").filter(pl.col("recording").is_in(list(rate)))
    if not known.height:
        return []
    known = known.with_columns(
        start_s=pl.col("offset") / pl.col("recording").replace_strict(rate, return_dtype=pl.Float64)
    )
    spectrogram = settings.spectrogram
    hertz = (spectrogram.f_min, spectrogram.f_max)
    loud = of_song.filter(pl.col("snr_db").is_null() | (pl.col("snr_db") >= LOUD_DB))
    placed = songs_in_windows(loud, known, spectrogram.window_seconds, hertz)
    there = songs_in_windows(of_song, known, spectrogram.window_seconds, hertz, every_window=True)
    if not there.height:
        return []
    starts = dict(known.select("window", "start_s").iter_rows())
    groups = {row["window"]: group_of(settings, row) for row in known.iter_rows(named=True)}
    songs = {
        int(window): _within(part, starts[int(window)])
        for (window,), part in there.group_by(["window"])
    }
    frame = (0.0, spectrogram.window_seconds, *hertz)
    figures: list[AttentionFigure] = []
    for name in central.names:
        of_windows, of_songs = _Sums(), _Sums()
        of_boxes, whole_windows = _Boxes(), _Boxes()
        boxes: dict[int, Boxes] = {}
        for window, seen in enumerate(central.seen(name)):
            if window in starts:
                boxes[window] = seen.boxes + np.array([starts[window]] * 2 + [0.0, 0.0])
                wanted = songs.get(window, np.empty((0, 4)))
                of_boxes.add(groups[window], seen.boxes, _density(seen), wanted)
                whole_windows.add(groups[window], np.array([frame]), np.ones(1), wanted)
            if window in songs:
                _add_window(of_windows, groups[window], seen, songs[window], frame, central, window)
        everything = {
            window: np.array([[start, start + frame[1], *hertz]])
            for window, start in starts.items()
        }
        best, whole = best_overlaps(placed, boxes), best_overlaps(placed, everything)
        for window, one, blind in zip(placed["window"], best, whole, strict=True):
            of_songs.add(groups[window], [one >= FOUND, one], [blind >= FOUND, blind])
        figures += _figures(settings, (*METRICS, ENERGY_METRIC), of_windows, name)
        figures += _figures(settings, SONG_METRICS, of_songs, name)
        figures.append(_precision(settings, of_boxes, whole_windows, name))
    return figures


def _within(songs: pl.DataFrame, start: float) -> Boxes:
    """Boxes in seconds of the window."""
    edges: Boxes = songs.select(EDGES).to_numpy().astype(np.float64)
    return edges - np.array([start, start, 0.0, 0.0])


def _add_window(
    sums: _Sums,
    group: str,
    seen: Seen,
    songs: Boxes,
    frame: tuple[float, float, float, float],
    central: CentralWindows,
    window: int,
) -> None:
    low, high = map(float, mel_of(frame[2:]))
    one = score(_in_mel(seen.boxes), seen.mass, _in_mel(songs), (frame[0], frame[1], low, high))
    if one is None:
        return
    power = central.power[window]
    song = covered(clip(songs, frame), central.band_frequency, central.frame_time)
    kept = float(power[seen.mask].sum(dtype=np.float64))
    share = float(power[seen.mask & song].sum(dtype=np.float64)) / kept if kept else 0.0
    whole = float(power[song].sum(dtype=np.float64) / power.sum(dtype=np.float64))
    sums.add(
        group,
        [one.energy, one.pointing, one.overlap, share],
        [one.chance, one.chance, one.chance, whole],
    )


def covered(
    boxes: Boxes, band_frequency: NDArray[np.floating], frame_time: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return which bands and frames have their middle in a box, (mels, frames)."""
    inside = np.zeros((len(band_frequency), len(frame_time)), dtype=bool)
    for start, end, low, high in boxes:
        rows = (band_frequency >= low) & (band_frequency <= high)
        inside |= rows[:, None] & ((frame_time >= start) & (frame_time <= end))
    return inside


def _in_mel(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2], mel_of(boxes[:, 2:])], axis=1)


def _figures(
    settings: Settings, metrics: Sequence[str], sums: _Sums, name: str
) -> list[AttentionFigure]:
    """Means over the groups' members, with intervals over the groups."""
    if not sums.groups:
        return []
    values, chance = np.array(sums.values), np.array(sums.chance)
    _, group = np.unique(sums.groups, return_inverse=True)

    def means(total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(total[:-1] / total[-1])

    bounds = interval(
        per_group(group, values), means, settings.evaluation.bootstrap, settings.evaluation.seed
    )
    rows = zip(metrics, values.mean(axis=0), bounds, chance.mean(axis=0), strict=False)
    return [
        AttentionFigure(metric, float(value), bound, float(blind), len(values), "", name)
        for metric, value, bound, blind in rows
    ]
