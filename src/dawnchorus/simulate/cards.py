"""What lies on the cards of a season, before any sound is made.

In: a plan. Out: name, start and header of every recording, the deployments table, the Song Meters'
summaries.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from dawnchorus.simulate import conventions
from dawnchorus.simulate.plan import SeasonPlan
from dawnchorus.simulate.recorders import Recorder, recorders_of
from dawnchorus.simulate.scene import weather_of
from dawnchorus.simulate.schedule import starts_of


@dataclass(frozen=True)
class PlannedRecording:
    """One file to be written: start, path below the cards, header."""

    start: dt.datetime
    path: PurePosixPath
    header: bytes


def planned_recordings(plan: SeasonPlan, recorder: Recorder, day: int) -> list[PlannedRecording]:
    """Return the recordings of a recorder-day, sorted by start."""
    planned = []
    mean = weather_of(plan, day).celsius
    starts = starts_of(plan, recorder.twilight_share, recorder.phase_minutes, plan.dates[day])
    for start in starts:
        name = conventions.recording_name(recorder.convention, recorder.prefix, start)
        if recorder.convention == "audiomoth":
            comment = conventions.audiomoth_comment(
                recorder.serial,
                start,
                recorder.gain_setting,
                battery_volts(plan, day),
                celsius_at(mean, start),
            )
            head = conventions.header(plan.frames, comment, f"AudioMoth {recorder.serial}")
        else:
            head = conventions.header(plan.frames)
        planned.append(PlannedRecording(start, PurePosixPath(recorder.name) / name, head))
    return planned


def battery_volts(plan: SeasonPlan, day: int) -> float:
    """A set of cells falls from 4.9 V to 3.7 V over the season."""
    return 4.9 - 1.2 * day / max(plan.days, 30)


def celsius_at(mean: float, start: dt.datetime) -> float:
    """Return the air's temperature: warmest in the afternoon."""
    hour = start.hour + start.minute / 60
    return mean + 6 * float(np.sin((hour - 9) * np.pi / 12))


def deployments_table(plan: SeasonPlan) -> str:
    """Return the deployments as CSV with Camtrap DP's column names, and ``timezone``.

    Recorders are set up at noon of the day before the season and fetched at noon of the day after.
    """
    noon = dt.time(12, tzinfo=plan.zone)
    start = dt.datetime.combine(plan.dates[0] - dt.timedelta(days=1), noon)
    end = dt.datetime.combine(plan.dates[-1] + dt.timedelta(days=1), noon)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        (
            "deploymentID",
            "locationID",
            "locationName",
            "latitude",
            "longitude",
            "deploymentStart",
            "deploymentEnd",
            "cameraID",
            "habitat",
            "timezone",
        )
    )
    for recorder in recorders_of(plan):
        place = recorder.number + 1
        table.writerow(
            (
                f"{recorder.name}-{plan.start:%Y}",
                f"SITE{place:02d}",
                f"{recorder.habitat.name.capitalize()} {place}",
                f"{recorder.latitude:.5f}",
                f"{recorder.longitude:.5f}",
                start.isoformat(),
                end.isoformat(),
                recorder.name,
                recorder.habitat.name,
                plan.timezone,
            )
        )
    return text.getvalue()
