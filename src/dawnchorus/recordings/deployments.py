"""Where each recorder stood, and when.

In: a Camtrap DP ``deployments.csv`` (https://camtrap-dp.tdwg.org/data/#deployments), the recorder's id in
``cameraID``; further columns are welcome and ignored, except ``timezone`` (IANA name), which wins
over ``audio.timezone`` for its deployment. Out: :class:`Deployments`, which knows the deployment of a
recorder at an instant, or a :class:`~dawnchorus.errors.DawnChorusError` of one line.

``workflow/schemas/deployments.schema.json`` is written from :class:`Row`
(``python -m dawnchorus.recordings.deployments``) and a test holds the two together.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dawnchorus.errors import DawnChorusError

EVER_BEFORE, EVER_AFTER = (
    datetime(1, 1, 2, tzinfo=UTC),
    datetime(9999, 12, 30, tzinfo=UTC),
)


class Row(BaseModel):
    """A row of ``deployments.csv``: the columns of Camtrap DP that are used, and ``timezone``."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, title="Deployment"
    )

    deploymentID: Annotated[str, Field(min_length=1)]  # noqa: N815 - Camtrap DP's name
    """Unique id of the deployment."""
    cameraID: Annotated[str, Field(min_length=1)]  # noqa: N815
    """The recorder's id: the name of its folder among the cards."""
    deploymentStart: Annotated[str, Field(min_length=1)]  # noqa: N815
    """ISO 8601; local to the deployment where it has no offset; a date alone begins at midnight."""
    deploymentEnd: str | None  # noqa: N815
    """As the start, exclusive; a date alone ends at the next midnight; empty: the recorder is still out."""
    latitude: Annotated[float, Field(ge=-90, le=90)] | None
    """Decimal degrees, WGS 84; may be empty."""
    longitude: Annotated[float, Field(ge=-180, le=180)] | None
    """Decimal degrees, WGS 84; may be empty."""
    locationID: str | None = None  # noqa: N815
    """Id of the site."""
    locationName: str | None = None  # noqa: N815
    """Name of the site; wins over its id where a person reads it."""
    habitat: str | None = None
    """What grows there."""
    timezone: str | None = None
    """IANA name, for example ``America/Chicago``."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(f"{name!r} is no IANA time zone") from error
        return name

    @field_validator("deploymentStart", "deploymentEnd")
    @classmethod
    def _is_time(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                datetime.fromisoformat(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no ISO 8601 time") from error
        return text


@dataclass(frozen=True)
class Deployment:
    """A recorder at a site for a span of time."""

    deployment: str
    recorder: str
    start: datetime
    """First instant, UTC."""
    end: datetime
    """First instant after it, UTC."""
    location: str | None
    latitude: float | None
    longitude: float | None
    habitat: str | None
    timezone: str
    """IANA name: the deployment's own, else the season's."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone of its local time."""
        return ZoneInfo(self.timezone)

    @property
    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees, if both are known."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude

    @property
    def facts(self) -> list[Any]:
        """What a recorder-day depends on."""
        return [
            self.deployment,
            self.location,
            self.latitude,
            self.longitude,
            self.habitat,
            self.timezone,
        ]


class Deployments:
    """All deployments of a season.

    Parameters
    ----------
    deployments : sequence of Deployment
        In any order; those of one recorder must not overlap.
    timezone : str
        The season's zone (``audio.timezone``), for recorders and times without a deployment.
    """

    def __init__(self, deployments: Sequence[Deployment], timezone: str) -> None:
        self.timezone = timezone
        self.zone = ZoneInfo(timezone)
        self._of: dict[str, list[tuple[Deployment, ZoneInfo]]] = {}
        for deployment in sorted(deployments, key=lambda d: (d.recorder, d.start)):
            self._of.setdefault(deployment.recorder, []).append((deployment, deployment.zone))
        self._count = len(deployments)

    def __len__(self) -> int:
        return self._count

    @property
    def facts(self) -> list[Any]:
        """All that is known, as JSON can say it."""
        return [
            [deployment.recorder, str(deployment.start), str(deployment.end), *deployment.facts]
            for recorder in sorted(self._of)
            for deployment in self.of(recorder)
        ]

    def of(self, recorder: str) -> list[Deployment]:
        """Deployments of a recorder by their start."""
        return [deployment for deployment, _ in self._of.get(recorder, [])]

    def at(self, recorder: str, instant: datetime) -> Deployment | None:
        """The deployment of a recorder at an instant (aware), or None."""
        for deployment, _ in self._of.get(recorder, ()):
            if deployment.start <= instant < deployment.end:
                return deployment
        return None

    def at_local(self, recorder: str, clock: datetime) -> tuple[Deployment | None, datetime]:
        """The deployment in whose zone a local clock reading (naive) falls into its span.

        Returns
        -------
        deployment : Deployment or None
            None: no deployment; the reading is taken in the season's zone.
        instant : datetime
            The reading in UTC. In the hour that autumn repeats, the first pass is meant (fold=0).
        """
        for deployment, zone in self._of.get(recorder, ()):
            instant = clock.replace(tzinfo=zone).astimezone(UTC)
            if deployment.start <= instant < deployment.end:
                return deployment, instant
        return None, clock.replace(tzinfo=self.zone).astimezone(UTC)


def read_deployments(table: Path | None, timezone: str) -> Deployments:
    """Read and check ``deployments.csv``.

    Parameters
    ----------
    table : Path or None
        None: no table; every recorder is in the season's zone.
    timezone : str
        IANA name of the season's zone.

    Raises
    ------
    DawnChorusError
        Missing file or column, a wrong value (with its line), an id given twice, an end before its
        start, or two deployments of one recorder at the same time.
    """
    if table is None:
        return Deployments([], timezone)
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            columns = reader.fieldnames or []
            needed = [name for name, field in Row.model_fields.items() if field.is_required()]
            missing = [name for name in needed if name not in columns]
            if missing:
                raise DawnChorusError(
                    f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
                    table,
                    "the columns are those of Camtrap DP's deployments.csv, the recorder in cameraID",
                )
            found = [_deployment(line, table, reader.line_num, timezone) for line in reader]
    except FileNotFoundError:
        raise DawnChorusError("is not there", table, "correct audio.deployments") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DawnChorusError(f"cannot be read as CSV: {error}", table) from None
    _check(found, table)
    return Deployments(found, timezone)


def _deployment(line: dict[str, Any], table: Path, number: int, timezone: str) -> Deployment:
    where = f"{table}, line {number}"
    values = {key: value.strip() or None for key, value in line.items() if isinstance(value, str)}
    try:
        row = Row.model_validate(values)
    except ValidationError as error:
        complaints = [
            f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise DawnChorusError("; ".join(complaints), where) from None
    zone = ZoneInfo(row.timezone or timezone)
    start = _instant(row.deploymentStart, zone, whole_day=False)
    end = (
        EVER_AFTER
        if row.deploymentEnd is None
        else _instant(row.deploymentEnd, zone, whole_day=True)
    )
    if end <= start:
        raise DawnChorusError(
            f"deploymentEnd {row.deploymentEnd} is not after deploymentStart {row.deploymentStart}",
            where,
        )
    return Deployment(
        deployment=row.deploymentID,
        recorder=row.cameraID,
        start=start,
        end=end,
        location=row.locationName or row.locationID,
        latitude=row.latitude,
        longitude=row.longitude,
        habitat=row.habitat,
        timezone=row.timezone or timezone,
    )


def _instant(text: str, zone: ZoneInfo, *, whole_day: bool) -> datetime:
    moment = datetime.fromisoformat(text)
    date_alone = moment.time() == time() and not any(mark in text for mark in "T :")
    if date_alone and whole_day:
        moment += timedelta(days=1)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return min(max(moment.astimezone(UTC), EVER_BEFORE), EVER_AFTER)


def _check(deployments: Sequence[Deployment], table: Path) -> None:
    ids: set[str] = set()
    for deployment in deployments:
        if deployment.deployment in ids:
            raise DawnChorusError(f"deploymentID {deployment.deployment!r} stands twice", table)
        ids.add(deployment.deployment)
    ordered = sorted(deployments, key=lambda d: (d.recorder, d.start, d.deployment))
    for one, other in pairwise(ordered):
        if one.recorder == other.recorder and other.start < one.end:
            raise DawnChorusError(
                f"deployments {one.deployment!r} and {other.deployment!r} of recorder "
                f"{one.recorder!r} overlap",
                table,
                "end the one before the other starts",
            )


def schema() -> dict[str, Any]:
    """JSON schema of a row."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Row.model_json_schema()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
