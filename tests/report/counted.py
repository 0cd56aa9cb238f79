"""A season that is counted but never was: rates that are known, in the counts' own tables."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from dawnchorus.clustering.season_counts import (
    DAWN_FROM,
    DAWN_STEP,
    DAWN_TO,
    TABLES,
    SeasonCounts,
)
from dawnchorus.recordings.sun import sun_on

PLACE = (41.88, -87.63)
PER_HOUR = 100
"""Windows per recorded hour."""
ONSET = -22.0
"""Minutes from sunrise at which half of the birds sing."""


def season(
    *,
    days: int = 12,
    recorders: int = 3,
    clusters: int = 4,
    place: tuple[float, float] | None = PLACE,
    habitats: tuple[str | None, ...] = ("open grassland", "canopy"),
    first: dt.date = dt.date(2021, 5, 24),
    gaps: bool = True,
    seed: int = 0,
) -> SeasonCounts:
    """Cluster 0 sings at dawn, twice as often in the first habitat; cluster 1 is the night; the others fill the rest.

    Recorders keep from 9 to 12 h silent (not recorded) if there are gaps. Calls around sunrise rise as a logistic curve
    whose middle is :data:`ONSET`.
    """
    random = np.random.default_rng(seed)
    hours, species, dawn, suns = [], [], [], []
    for number in range(recorders):
        recorder, habitat = f"REC{number + 1:02d}", habitats[number % len(habitats)]
        for day in range(days):
            date = first + dt.timedelta(days=day)
            here = sun_on(date, *place, -300) if place else None
            if here is not None:
                suns.append((recorder, date.isoformat(), *place, here.rise, here.set, here.without))
            rise, sets = (here.rise, here.set) if here and here.rise else (330.0, 1220.0)
            for hour in range(24):
                if gaps and 9 <= hour < 12:
                    continue
                middle = hour * 60 + 30
                near = np.exp(-0.5 * ((middle - rise - 30) / 60) ** 2)
                song = 40 * near * (2 if number % len(habitats) == 0 else 1)
                night = 50.0 if middle < rise or middle > sets else 0.0
                rest = np.full(max(clusters - 2, 0), max(PER_HOUR - song - night, 0.0))
                shares = np.array([song, night, *rest])
                found = random.multinomial(PER_HOUR, shares / shares.sum())
                key = (recorder, date.isoformat(), hour, habitat)
                hours += [
                    (*key, cluster, int(count), int(count))
                    for cluster, count in enumerate(found)
                    if count
                ]
                if found[0]:
                    species.append((*key, "Cistothorus stellaris", "Sedge Wren", int(found[0])))
            if here is None or here.rise is None:
                continue
            for step in range(DAWN_FROM, DAWN_TO, DAWN_STEP):
                rate = 0.02 + 0.6 / (1 + np.exp(-(step + DAWN_STEP / 2 - ONSET) / 12))
                windows = 200
                calls = int(random.binomial(windows, rate))
                dawn.append((recorder, date.isoformat(), step, windows, calls, windows, calls))
    frames = {
        name: pl.DataFrame(rows, schema=TABLES[name], orient="row")
        for name, rows in (
            ("hours", hours),
            ("species_hours", species),
            ("dawn", dawn),
            ("suns", suns),
        )
    }
    by_cluster = frames["hours"].group_by("cluster").agg(pl.col("windows").sum()).sort("cluster")
    frames["clusters"] = by_cluster.select(
        *[
            pl.col(name) if name in by_cluster.columns else pl.lit(0, kind).alias(name)
            for name, kind in TABLES["clusters"].items()
        ]
    )
    for name in ("species", "levels"):
        frames[name] = pl.DataFrame(schema=TABLES[name])
    return SeasonCounts(**frames)
