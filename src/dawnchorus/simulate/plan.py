"""What a simulated season is: :class:`SeasonPlan`.

In: numbers of recorders, days, recordings. Out: a frozen, checked plan and the random streams that
hang on it. Every stream has a key of its own (recorder, day, recording), so that no result depends
on the order in which the days are made.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from dawnchorus.config import Section
from dawnchorus.errors import DawnChorusError

Convention = Literal["audiomoth", "songmeter", "frontierlabs"]

SAMPLE_RATE = 44_100
TINY_FRAMES = 4_410
"""Frames of a file of a tiny season: 0.1 s."""

# First number of a random stream's key: what it is for.
RECORDER, WEATHER, SCENE, SOUND, BANKS, FAULTS, RARITIES = range(7)

RARE_CALLS = 5
"""How often the rare species of :mod:`dawnchorus.simulate.rarities` calls in a season."""


class SeasonPlan(Section):
    """A season: who records what, when and where."""

    recorders: Annotated[int, Field(ge=1, le=999)] = 3
    days: Annotated[int, Field(ge=1, le=3660)] = 2
    start: dt.date = dt.date(2021, 5, 24)
    """First local date."""
    timezone: str = "America/Chicago"
    """IANA zone of all sites."""
    latitude: Annotated[float, Field(ge=-89, le=89)] = 41.70
    """Degrees; with the longitude it sets sunrise and sunset."""
    longitude: Annotated[float, Field(ge=-180, le=180)] = -87.98
    recordings: Annotated[int, Field(ge=1, le=1440)] = 8
    """Recordings per recorder-day."""
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 150.0
    """Length of a recording."""
    schedule: Literal["twilight", "interval"] = "twilight"
    """``twilight``: more than half of the recordings around sunrise and sunset, the rest spread over
    the day, each recorder its own way; ``interval``: evenly from midnight on."""
    conventions: Annotated[tuple[Convention, ...], Field(min_length=1)] = (
        "audiomoth",
        "songmeter",
        "frontierlabs",
    )
    """Naming conventions, dealt out to the recorders in turn."""
    species: Annotated[int, Field(ge=1, le=16)] = 12
    """How many species of the catalogue sing."""
    seed: Annotated[int, Field(ge=0)] = 1
    tiny: bool = False
    """Write 0.1 s per recording and no truth: for tests of what grows with the number of files."""
    rarities: bool = False
    """Plant a sound that occurs five times and a recorder-day with a muffled microphone."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no IANA time zone") from error
        return name

    @model_validator(mode="after")
    def _fits(self) -> SeasonPlan:
        share = 0.5 if self.schedule == "twilight" else 1.0
        # Recordings start on whole minutes, so each takes a whole number of them.
        minutes = max(1, -(-int(np.ceil(self.seconds)) // 60))
        if self.schedule == "interval":
            if self.seconds > 86_400 / self.recordings:
                raise ValueError(
                    f"recordings: {self.recordings} of {self.seconds} s do not fit into a day"
                )
        elif self.recordings * minutes > 1440 * share:
            raise ValueError(
                f"recordings: {self.recordings} of {self.seconds} s fill more than half of a day; "
                "take the interval schedule"
            )
        return self

    @model_validator(mode="after")
    def _has_room_for_rarities(self) -> SeasonPlan:
        if not self.rarities:
            return self
        if self.tiny or self.seconds < 6:
            raise ValueError("rarities: need recordings of 6 s or more, with sound (not tiny)")
        if (self.recorders * self.days - 1) * self.recordings < RARE_CALLS:
            raise ValueError(
                f"rarities: need {RARE_CALLS} recordings beside those of one recorder-day; take more "
                "recorders, days or recordings"
            )
        return self

    def said(self) -> dict[str, object]:
        """Return the plan as JSON values; what is rare stands in it only where it was asked for."""
        values = self.model_dump(mode="json")
        if not self.rarities:
            del values["rarities"]
        return values

    @property
    def zone(self) -> ZoneInfo:
        """The zone of all sites."""
        return ZoneInfo(self.timezone)

    @property
    def dates(self) -> list[dt.date]:
        """All local dates of the season."""
        return [self.start + dt.timedelta(days=day) for day in range(self.days)]

    @property
    def frames(self) -> int:
        """Frames of one recording."""
        return TINY_FRAMES if self.tiny else max(1, round(self.seconds * SAMPLE_RATE))

    def random(self, purpose: int, *key: int) -> np.random.Generator:
        """Return the random stream of ``(purpose, *key)``; independent of all others."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(purpose, *key))
        return np.random.Generator(np.random.SFC64(sequence))


def make_plan(**values: object) -> SeasonPlan:
    """Check plain values.

    Raises
    ------
    DawnChorusError
        One line that names every wrong value.
    """
    try:
        return SeasonPlan.model_validate(values)
    except ValidationError as error:
        complaints = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"]))
            message = problem["msg"].removeprefix("Value error, ")
            complaints.append(f"{key}: {message}" if key else message)
        raise DawnChorusError("; ".join(complaints), "season plan") from None
