"""What a region may be narrowed to: hours, dates, recorders, habitats, species, clusters, confidence,
activity, and what earlier regions call the windows.

In: a condition as the page's filters say it, by names and not by codes, so that it means the same when new
recorder-days come. Out: a checked object; :mod:`dawnchorus.explorer.members` finds the windows that meet it.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Hour = Annotated[int, Field(ge=0, le=23)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Decibels = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Names = Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=10_000)]
Cluster = Annotated[int, Field(ge=0, lt=65_535)]


class Condition(BaseModel):
    """Windows that meet all of what is given; what is not given asks nothing.

    ``hours`` and ``dates`` are local and include both ends; hours from 22 to 4 go over midnight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    recorders: Names = ()
    species: Names = ()
    """Scientific names of BirdNET's best detection."""
    habitats: Names = ()
    clusters: Annotated[tuple[Cluster, ...], Field(max_length=10_000)] = ()
    hours: tuple[Hour, Hour] | None = None
    dates: tuple[date, date] | None = None
    confidence: tuple[Share, Share] | None = None
    """Of BirdNET's best detection; 0 where it heard nothing."""
    activity: tuple[Decibels, Decibels] | None = None
    unlabelled: bool = False
    """Only windows that no earlier region has named; who replays the labels sees to it."""
    labels: Annotated[
        tuple[Annotated[str, Field(max_length=500)] | None, ...], Field(max_length=10_000)
    ] = ()
    """Only windows that earlier regions call so (None: that have no label); as ``unlabelled``."""

    @property
    def asks_names(self) -> bool:
        """Whether it asks what windows are called."""
        return self.unlabelled or bool(self.labels)
