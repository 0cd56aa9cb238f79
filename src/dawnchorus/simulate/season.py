"""A whole season: cards, deployments table and truth.

In: a :class:`~dawnchorus.simulate.plan.SeasonPlan`. Out, below one folder::

    cards/<recorder>/...          recordings as the recorder would have written them
    deployments.csv               Camtrap DP columns, and the time zone
    truth.parquet                 every song and every noise (see truth.TRUTH)
    truth/<recording>.selections.txt   the same per recording, for Raven
    truth/<recorder>/<date>.parquet    the same per recorder-day
    plan.json, season.json        what was asked for; what came of it

Recorder-days are independent of each other, so any number of workers gives the same bytes, and a run
that was killed goes on with the days that are missing.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import dawnchorus
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting
from dawnchorus.results import fingerprint, publishing, write_receipt, write_text
from dawnchorus.simulate import conventions
from dawnchorus.simulate.cards import (
    PlannedRecording,
    battery_volts,
    celsius_at,
    deployments_table,
    planned_recordings,
)
from dawnchorus.simulate.noise import Banks
from dawnchorus.simulate.plan import (
    BANKS,
    RECORDER,
    SAMPLE_RATE,
    SOUND,
    TINY_FRAMES,
    SeasonPlan,
    make_plan,
)
from dawnchorus.simulate.propagation import SoundPath
from dawnchorus.simulate.rarities import FAULT, muffled, rarities_of, with_call
from dawnchorus.simulate.recorders import Recorder, recorder_of, recorders_of
from dawnchorus.simulate.scene import scenes_of_day, weather_of
from dawnchorus.simulate.sound import Recording, to_int16
from dawnchorus.simulate.summary import join_truth
from dawnchorus.simulate.truth import (
    fault_row,
    selections_of,
    truth_of_day,
    truth_rows,
    write_selection_table,
    write_truth,
)

__all__ = ["SeasonPlan", "make_plan", "simulate"]

RECIPE = 1
"""Raised whenever the same plan gives other bytes."""


def _is_complete(
    out: Path,
    plan: SeasonPlan,
    recorder: Recorder,
    day: int,
    planned: Sequence[PlannedRecording],
) -> bool:
    if not plan.tiny and not truth_of_day(out, recorder.name, plan.dates[day]).exists():
        return False
    for recording in planned:
        try:
            size = (out / "cards" / recording.path).stat().st_size
        except FileNotFoundError:
            return False
        if size != len(recording.header) + 2 * plan.frames:
            return False
        if not plan.tiny and not selections_of(out, recording.path).exists():
            return False
    return True


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with publishing(path) as partial, partial.open("wb") as file:
        yield file


def make_day(out: Path, plan: SeasonPlan, number: int, day: int) -> int:
    """Write one recorder-day's recordings and truth, unless they are there; return their number."""
    recorder = recorder_of(plan, number)
    planned = planned_recordings(plan, recorder, day)
    if _is_complete(out, plan, recorder, day, planned):
        return len(planned)
    if plan.tiny:
        # Not digital silence, which a scan may rightly take for a fault.
        random = plan.random(SOUND, number, day)
        for recording in planned:
            hiss = random.standard_normal(TINY_FRAMES, dtype=np.float32)
            content = to_int16(hiss * np.float32(10 ** (recorder.floor_db / 20))).tobytes()
            with _new_file(out / "cards" / recording.path) as file:
                file.write(recording.header + content)
        return len(planned)
    rare = rarities_of(plan)
    is_faulty = rare is not None and rare.faulty == (number, day)
    if is_faulty:
        recorder = muffled(recorder)
    banks = Banks(
        lambda which: plan.random(BANKS, number, day, which),
        lambda hertz: (10 ** (recorder.response_db(hertz) / 20)).astype(np.float32),
        recorder.floor_corner_hz,
        _insect_hz(plan, recorder),
    )
    way = SoundPath(recorder, plan.random(RECORDER, number, 3))
    scenes = scenes_of_day(plan, recorder, day, [recording.start for recording in planned])
    rows = []
    for position, (recording, scene) in enumerate(zip(planned, scenes, strict=True)):
        random = plan.random(SOUND, number, day, position)
        call = rare.calls.get((number, day, position)) if rare is not None else None
        sound = Recording(recorder, with_call(scene, call), plan.frames, banks, way, random)
        with _new_file(out / "cards" / recording.path) as file:
            file.write(recording.header)
            for block in sound.blocks():
                file.write(block.tobytes())
        of_this = truth_rows(
            recording.path.as_posix(), recorder.name, recording.start, sound.heard, scene
        )
        if is_faulty:
            of_this.append(
                fault_row(
                    recording.path.as_posix(),
                    recorder.name,
                    recording.start,
                    plan.frames / SAMPLE_RATE,
                    FAULT,
                )
            )
        write_selection_table(selections_of(out, recording.path), of_this)
        rows += of_this
    write_truth(truth_of_day(out, recorder.name, plan.dates[day]), rows)
    return len(planned)


def _insect_hz(plan: SeasonPlan, recorder: Recorder) -> float:
    return float(plan.random(RECORDER, recorder.number, 4).uniform(3500, 5000))


def _write_if_changed(path: Path, text: str) -> None:
    """Write a text unless it is there: a second run changes no file's time."""
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def _write_songmeter_summaries(out: Path, plan: SeasonPlan) -> None:
    for recorder in recorders_of(plan):
        if recorder.convention != "songmeter":
            continue
        starts, volts, celsius = [], [], []
        for day in range(plan.days):
            mean = weather_of(plan, day).celsius
            for recording in planned_recordings(plan, recorder, day):
                starts.append(recording.start)
                volts.append(battery_volts(plan, day))
                celsius.append(celsius_at(mean, recording.start))
        text = conventions.songmeter_summary(
            starts, recorder.latitude, recorder.longitude, volts, celsius
        )
        _write_if_changed(out / "cards" / recorder.name / f"{recorder.prefix}_Summary.txt", text)


def _claim(out: Path, plan: SeasonPlan) -> None:
    """Make sure that ``out`` is ours to write to, and say so in it."""
    claim = {"plan": plan.said(), "recipe": RECIPE}
    marker = out / "plan.json"
    if marker.exists():
        try:
            known = json.loads(marker.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            known = None
        if known != claim:
            raise DawnChorusError(
                "holds a season of another plan", out, "choose another folder or delete this one"
            )
        return
    for name in ("cards", "truth", "truth.parquet", "deployments.csv"):
        if (out / name).exists():
            raise DawnChorusError(
                f"holds {name} that no simulation wrote", out, "choose an empty folder"
            )
    write_receipt(marker, claim)


def simulate(out: Path, plan: SeasonPlan, workers: int = 1) -> dict[str, Any]:
    """Write a season.

    Parameters
    ----------
    out : Path
        Folder to write to: new, or one in which the same plan was begun before.
    plan : SeasonPlan
        What to simulate; the same plan gives the same bytes.
    workers : int
        Processes; the bytes do not depend on it.

    Returns
    -------
    dict
        What came of it, as in ``season.json``: recorders, counts of recordings, songs per species,
        noises, and 3-s windows with an audible song per part of the day.

    Raises
    ------
    DawnChorusError
        If the folder holds something else.
    """
    if workers < 1:
        raise DawnChorusError(f"needs at least 1 worker, got {workers}", "--workers")
    _claim(out, plan)
    days = [(number, day) for number in range(plan.recorders) for day in range(plan.days)]
    recordings = 0
    with counting("simulating", len(days), "recorder-days") as advance:
        if workers == 1:
            for number, day in days:
                recordings += make_day(out, plan, number, day)
                advance()
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(days)), mp_context=spawn) as pool:
                futures = [pool.submit(make_day, out, plan, number, day) for number, day in days]
                for future in as_completed(futures):
                    recordings += future.result()
                    advance()
    _write_if_changed(out / "deployments.csv", deployments_table(plan))
    _write_songmeter_summaries(out, plan)
    season = {
        "plan": plan.said(),
        "version": dawnchorus.__version__,
        "fingerprint": fingerprint([RECIPE, plan.said()]),
        "recorder_days": len(days),
        "recordings": recordings,
        "seconds_per_recording": plan.frames / SAMPLE_RATE,
        "hours": round(recordings * plan.frames / SAMPLE_RATE / 3600, 4),
        "recorders": [
            {
                "recorder": recorder.name,
                "convention": recorder.convention,
                "habitat": recorder.habitat.name,
                "gain_db": round(recorder.gain_db, 2),
                "floor_db": round(recorder.floor_db, 2),
            }
            for recorder in recorders_of(plan)
        ],
        **join_truth(out, plan),
    }
    write_receipt(out / "season.json", season)
    return season
