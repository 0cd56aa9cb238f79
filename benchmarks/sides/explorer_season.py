"""A simulated season's output space with the truth of every window, at its own size or scaled up.

In: the season's configuration, an experiment. Out: the space as the explorer reads it, and what each window holds
(:class:`~sides.explorer_oracle.Heard`): the species whose songs are in it, or that nothing sings. Scaled up, the
season comes again and again as other recordings, each window a little beside its place on the map: as many windows
as one likes, and clusters that hold exactly what they held.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from dawnchorus import config
from dawnchorus.config import Settings
from dawnchorus.evaluation.labels import annotation_labels, read_boxes
from dawnchorus.evaluation.windows import Windows
from dawnchorus.explorer.space import NONE, OutputSpace, load
from dawnchorus.results import Results
from sides.explorer_oracle import Heard

NOTHING = "nothing sings"
BESIDE = 0.02
"""Standard deviation of a copy's place, of the map's width."""


def settings_of(path: Path) -> Settings:
    """Read the season's configuration."""
    return config.load([path])


def season(settings: Settings, experiment: str, windows: int | None) -> OutputSpace:
    """Read the space; scaled up to so many windows if any number is given."""
    space = load(Results(settings.results), experiment, settings.spectrogram.window_seconds)
    return space if windows is None else scaled(space, windows)


def scaled(space: OutputSpace, windows: int) -> OutputSpace:
    """Let the season come again until it has so many windows."""
    copy, rows = np.divmod(np.arange(windows), len(space))
    random = np.random.default_rng(0)
    beside = BESIDE * float(np.ptp(space.x)), BESIDE * float(np.ptp(space.y))
    inventory = pl.concat(
        space.inventory.with_columns(recording=pl.lit(f"{number}/") + pl.col("recording"))
        for number in range(int(copy[-1]) + 1)
    )
    columns = (
        "cluster", "recorder", "hour", "species", "confidence", "habitat", "date", "activity", "distance", "day",
    )  # fmt: skip
    return replace(
        space,
        inventory=inventory,
        x=(space.x[rows] + beside[0] * random.standard_normal(windows)).astype(np.float32),
        y=(space.y[rows] + beside[1] * random.standard_normal(windows)).astype(np.float32),
        recording=(space.recording[rows] + copy * len(space.inventory)).astype(np.int32),
        offset=space.offset[rows],
        **{name: getattr(space, name)[rows] for name in columns},
    )


def heard(settings: Settings, space: OutputSpace, windows: int | None) -> Heard:
    """Say what each window of the season (scaled up or not) holds, by the annotations of the simulation."""
    rate = space.inventory["sample_rate"].to_numpy()[space.recording]
    start = space.offset / rate
    count = len(space)
    seen = Windows(
        days=space.days,
        day=space.day.astype(np.int64),
        row=np.arange(count),
        recording=np.array(space.inventory["recording"].to_list(), dtype=object)[space.recording],
        offset=space.offset,
        time=np.zeros(count, dtype="datetime64[us]"),
        start_s=start,
        end_s=start + space.window_seconds,
        hour=np.zeros(count, dtype=np.int64),
        total=count,
    )
    assert settings.evaluation.annotations is not None
    labels = annotation_labels(settings, seen, read_boxes(settings.evaluation.annotations))
    sings = labels.present.toarray().astype(bool)
    holds = np.column_stack([sings, ~sings.any(axis=1)])
    cluster = space.cluster.astype(np.int64)
    cluster[cluster == NONE] = -1
    if windows is not None:
        rows = np.arange(windows) % count
        holds, cluster = holds[rows], cluster[rows]
    return Heard([*labels.species, NOTHING], holds, cluster)
