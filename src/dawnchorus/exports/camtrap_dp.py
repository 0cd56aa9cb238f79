"""Camtrap DP 1.0.2: deployments, media and observations as GBIF and the camera-trap tools read them.

In: deployments, recordings and observations. Out: a folder with ``datapackage.json``, ``deployments.csv``,
``media.csv`` and ``observations.csv`` (https://camtrap-dp.tdwg.org; the standard is MIT-licensed), every column
of the standard in its order.

The standard was made for pictures; this is how sound is said in it, without a column of our own:

- a recording is a media file, an observation belongs to its ``mediaID`` (``observationLevel`` *media*), and
  ``eventStart`` to ``eventEnd`` is its span of time. The standard's times have whole seconds, so the span is
  widened to them; the exact seconds from the recording's start stand in ``observationTags``
  (``startSeconds:3.25|endSeconds:4.5``).
- the standard has no frequencies yet (they are proposed as ``frequencyLow`` and ``frequencyHigh``): they stand
  in ``observationTags`` under those names, in hertz. In the tags ``|`` parts one from the next: inside a value it is
  written ``%7C``, and ``%`` is ``%25``.
- ``mediaID`` is the XXH3-64 of the recording's path, so it is the same in every export of a season.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import xxhash

from dawnchorus.exports.cells import csv_line, to_bytes

VERSION = "1.0.2"
_STANDARD = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
PROFILE = f"{_STANDARD}/camtrap-dp-profile.json"

DEPLOYMENT_COLUMNS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty",
    "deploymentStart", "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight",
    "cameraDepth", "cameraTilt", "cameraHeading", "detectionDistance", "timestampIssues", "baitUse",
    "featureType", "habitat", "deploymentGroups", "deploymentTags", "deploymentComments",
)  # fmt: skip
MEDIA_COLUMNS = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName",
    "fileMediatype", "exifData", "favorite", "mediaComments",
)  # fmt: skip
OBSERVATION_COLUMNS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
    "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior",
    "individualID", "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY",
    "bboxWidth", "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp",
    "classificationProbability", "observationTags", "observationComments",
)  # fmt: skip
TABLES = {
    "deployments": DEPLOYMENT_COLUMNS,
    "media": MEDIA_COLUMNS,
    "observations": OBSERVATION_COLUMNS,
}

CAPTURE = "timeLapse"
"""A recorder follows its schedule; of the standard's two methods (the other is ``activityDetection``) this is
the one."""

ObservationType = Literal["animal", "human", "vehicle", "blank", "unknown", "unclassified"]


@dataclass(frozen=True)
class Placement:
    """A row of ``deployments.csv``; start and end aware, in local time."""

    deployment: str
    recorder: str
    start: datetime
    end: datetime
    latitude: float
    longitude: float
    location: str | None = None
    habitat: str | None = None


@dataclass(frozen=True)
class Medium:
    """A row of ``media.csv``: a recording."""

    recording: str
    """Path below the cards' root."""
    deployment: str
    start: datetime
    """First sample, aware, in local time."""
    media_type: str
    """IANA media type, ``audio/...``."""


@dataclass(frozen=True)
class Observation:
    """A row of ``observations.csv``."""

    medium: Medium
    number: int
    """From 1 within the recording."""
    start_s: float
    end_s: float
    kind: ObservationType
    method: Literal["human", "machine"]
    by: str
    scientific_name: str | None = None
    common_name: str | None = None
    """English."""
    probability: float | None = None
    when: datetime | None = None
    """Of the classification, aware."""
    tags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Licence:
    """A licence; its ``name`` is an identifier of SPDX or Open Definition."""

    name: str
    scope: Literal["data", "media"]
    title: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Package:
    """What ``datapackage.json`` says beside the tables."""

    name: str
    title: str
    created: datetime
    contributors: Sequence[Mapping[str, str]]
    licences: Sequence[Licence]
    sampling_design: str
    description: str
    version: str
    sources: Sequence[Mapping[str, str]] = ()


def media_id(recording: str) -> str:
    """Return the ``mediaID`` of a recording: 16 hexadecimal digits of its path."""
    return xxhash.xxh3_64_hexdigest(to_bytes(recording))


def file_path(recording: str) -> str:
    """Return a recording's path as the standard allows it.

    A path that begins with ``.``, ``/`` or ``~``, holds ``..`` or characters that are no text is
    percent-encoded, as in a URL.
    """
    plain = to_bytes(recording).decode()
    if plain == recording and plain.isprintable() and ".." not in plain and plain[:1] not in "./~":
        return plain
    encoded = quote(plain, safe="/").replace("..", ".%2E")
    first = encoded[:1]
    return f"%{ord(first):02X}{encoded[1:]}" if first in ("/", ".", "~") else encoded


class PackageWriter:
    """Writes a package: observations as they come, the rest at the end.

    Parameters
    ----------
    folder : Path
        Made; a temporary folder of the caller's.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._taxa: dict[str, str | None] = {}
        self._handle = (folder / "observations.csv").open("wb")
        self._handle.write(to_bytes(csv_line(OBSERVATION_COLUMNS)))

    def __enter__(self) -> PackageWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.close()

    def add(self, observations: Iterable[Observation]) -> None:
        """Append observations."""
        for one in observations:
            if one.scientific_name:
                self._taxa.setdefault(one.scientific_name, one.common_name)
            self._handle.write(to_bytes(_line(OBSERVATION_COLUMNS, _observation(one))))

    def finish(
        self, package: Package, placements: Sequence[Placement], media: Iterable[Medium]
    ) -> None:
        """Write deployments, media and ``datapackage.json``.

        Parameters
        ----------
        package : Package
        placements : sequence of Placement
            At least one.
        media : iterable of Medium
            All recordings, also those without observations: they are the effort.
        """
        self._table("deployments", map(_placement, placements))
        self._table("media", map(_medium, media))
        descriptor = _descriptor(package, placements, self._taxa)
        text = json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n"
        (self._folder / "datapackage.json").write_bytes(to_bytes(text))

    def _table(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        columns = TABLES[name]
        with (self._folder / f"{name}.csv").open("wb") as handle:
            handle.write(to_bytes(csv_line(columns)))
            for row in rows:
                handle.write(to_bytes(_line(columns, row)))


def _line(columns: Sequence[str], row: Mapping[str, object]) -> str:
    return csv_line([_cell(row.get(column)) for column in columns])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    return str(value)


def _number(value: float) -> str:
    """Return a number with up to 6 decimals, without an exponent."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _time(moment: datetime) -> str:
    """Return ``YYYY-MM-DDThh:mm:ss±hh:mm``, rounded down."""
    return moment.replace(microsecond=0).isoformat()


def _rounded_up(moment: datetime) -> datetime:
    return moment if not moment.microsecond else moment + timedelta(seconds=1)


def _placement(one: Placement) -> dict[str, object]:
    return {
        "deploymentID": one.deployment,
        "locationName": one.location,
        "latitude": one.latitude,
        "longitude": one.longitude,
        "deploymentStart": _time(one.start),
        "deploymentEnd": _time(_rounded_up(one.end)),
        "cameraID": one.recorder,
        "habitat": one.habitat,
    }


def _medium(one: Medium) -> dict[str, object]:
    return {
        "mediaID": media_id(one.recording),
        "deploymentID": one.deployment,
        "captureMethod": CAPTURE,
        "timestamp": _time(one.start),
        "filePath": file_path(one.recording),
        "filePublic": False,  # there may be voices in it; who publishes the sound decides
        "fileName": PurePosixPath(one.recording).name,
        "fileMediatype": one.media_type,
    }


def _observation(one: Observation) -> dict[str, object]:
    start = one.medium.start + timedelta(seconds=one.start_s)
    end = one.medium.start + timedelta(seconds=one.end_s)
    exact = {"startSeconds": one.start_s, "endSeconds": one.end_s}
    medium = media_id(one.medium.recording)
    return {
        "observationID": f"{medium}_{one.number}",
        "deploymentID": one.medium.deployment,
        "mediaID": medium,
        "eventStart": _time(start),
        "eventEnd": _time(_rounded_up(end)),
        "observationLevel": "media",
        "observationType": one.kind,
        "scientificName": one.scientific_name,
        "classificationMethod": one.method,
        "classifiedBy": one.by,
        "classificationTimestamp": None if one.when is None else _time(one.when),
        "classificationProbability": one.probability,
        "observationTags": "|".join(
            f"{key}:{_cell(value).replace('%', '%25').replace('|', '%7C')}"
            for key, value in {**exact, **one.tags}.items()
        ),
    }


def read_tags(text: str) -> dict[str, str]:
    """Return the tags of a cell of ``observationTags``."""
    parts = (part.partition(":") for part in text.split("|") if part)
    return {key: value.replace("%7C", "|").replace("%25", "%") for key, _, value in parts}


def _descriptor(
    package: Package, placements: Sequence[Placement], taxa: Mapping[str, str | None]
) -> dict[str, Any]:
    starts = [one.start for one in placements]
    ends = [one.end for one in placements]
    return {
        "resources": [
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": f"{_STANDARD}/{name}-table-schema.json",
            }
            for name in TABLES
        ],
        "profile": PROFILE,
        "name": package.name,
        "created": _time(package.created.astimezone(UTC)).replace("+00:00", "Z"),
        "title": package.title,
        "contributors": [dict(one) for one in package.contributors],
        "description": package.description,
        "version": package.version,
        "keywords": ["bioacoustics", "passive acoustic monitoring", "soundscape"],
        "sources": [dict(one) for one in package.sources],
        "licenses": [
            {key: value for key, value in vars(one).items() if value is not None}
            for one in package.licences
        ],
        "project": {
            "title": package.title,
            "samplingDesign": package.sampling_design,
            "captureMethod": [CAPTURE],
            "individualAnimals": False,
            "observationLevel": ["media"],
        },
        "spatial": _spatial(placements),
        "temporal": {
            "start": min(starts).date().isoformat(),
            "end": max(ends).date().isoformat(),
        },
        "taxonomic": [
            {"scientificName": name, **({"vernacularNames": {"eng": common}} if common else {})}
            for name, common in sorted(taxa.items())
        ],
        "relatedIdentifiers": [],
        "references": [],
    }


def _spatial(placements: Sequence[Placement]) -> dict[str, Any]:
    """Return the box around the deployments as GeoJSON, or their one point."""
    west, east = (choose(one.longitude for one in placements) for choose in (min, max))
    south, north = (choose(one.latitude for one in placements) for choose in (min, max))
    if math.isclose(west, east) and math.isclose(south, north):
        return {"type": "Point", "coordinates": [west, south]}
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}
