"""What came of a season: its truth in one table, and the counts that say whether it is of use.

In: the recorder-days' truth. Out: ``truth.parquet``, and numbers of songs, noises and windows.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dawnchorus.results import publishing
from dawnchorus.simulate.cards import planned_recordings
from dawnchorus.simulate.plan import SAMPLE_RATE, SeasonPlan
from dawnchorus.simulate.recorders import recorders_of
from dawnchorus.simulate.schedule import Sun, sun_of
from dawnchorus.simulate.truth import TRUTH, truth_of_day

AUDIBLE_DB = 3.0
"""A song counts as audible from this ratio to the background in its own box on."""
WINDOW_S = 3.0
"""Length of the windows in which audible songs are counted."""


def part_of_day(start: dt.datetime, sun: Sun) -> str:
    """Return ``dawn``, ``day``, ``dusk`` or ``night`` of a local start time."""
    hour = start.hour + start.minute / 60
    if sun.rise - 0.5 <= hour <= sun.rise + 1.75:
        return "dawn"
    if sun.set - 1.0 <= hour <= sun.set + 0.75:
        return "dusk"
    return "day" if sun.rise < hour < sun.set else "night"


def windows_with_song(
    plan: SeasonPlan, recordings: Sequence[str], truth: pa.Table
) -> dict[str, int]:
    """Count, per recording, the windows that an audible song covers for a tenth or more."""
    count = int(plan.frames // round(WINDOW_S * SAMPLE_RATE))
    marked = {recording: np.zeros(count, bool) for recording in recordings}
    for row in truth.select(["recording", "start_s", "end_s", "kind", "snr_db"]).to_pylist():
        if row["kind"] != "song" or row["snr_db"] < AUDIBLE_DB:
            continue
        first, last = int(row["start_s"] // WINDOW_S), int(row["end_s"] // WINDOW_S)
        for window in range(first, min(last + 1, count)):
            covered = min(row["end_s"], (window + 1) * WINDOW_S)
            covered -= max(row["start_s"], window * WINDOW_S)
            if covered >= 0.1 * WINDOW_S:
                marked[row["recording"]][window] = True
    return {recording: int(windows.sum()) for recording, windows in marked.items()}


def join_truth(out: Path, plan: SeasonPlan) -> dict[str, Any]:
    """Join the days' truth into the season's and count what is in it."""
    species: Counter[str] = Counter()
    noises: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    windows: dict[str, Counter[str]] = {
        part: Counter(windows=0, with_audible_song=0) for part in ("dawn", "day", "dusk", "night")
    }
    audible = 0
    per_recording = int(plan.frames // round(WINDOW_S * SAMPLE_RATE))
    with (
        publishing(out / "truth.parquet") as partial,
        pq.ParquetWriter(partial, TRUTH, compression="zstd") as writer,
    ):
        for recorder in recorders_of(plan):
            for day, date in enumerate(plan.dates):
                if plan.tiny:
                    continue
                truth = pq.read_table(truth_of_day(out, recorder.name, date), schema=TRUTH)
                if truth.num_rows:
                    writer.write_table(truth)
                for row in truth.select(["kind", "species", "snr_db"]).to_pylist():
                    counts = {"song": species, "noise": noises, "fault": faults}[row["kind"]]
                    counts[row["species"]] += 1
                    audible += row["kind"] == "song" and row["snr_db"] >= AUDIBLE_DB
                planned = planned_recordings(plan, recorder, day)
                names = [recording.path.as_posix() for recording in planned]
                with_song = windows_with_song(plan, names, truth)
                sun = sun_of(date, plan.latitude, plan.longitude, plan.zone)
                for recording, name in zip(planned, names, strict=True):
                    part = windows[part_of_day(recording.start, sun)]
                    part["windows"] += per_recording
                    part["with_audible_song"] += with_song[name]
    return {
        "songs": species.total(),
        "audible_songs": audible,
        "audible_db": AUDIBLE_DB,
        "species": dict(sorted(species.items())),
        "noises": dict(sorted(noises.items())),
        **({"faults": dict(sorted(faults.items()))} if faults else {}),
        "windows": {part: dict(counts) for part, counts in windows.items()},
    }
