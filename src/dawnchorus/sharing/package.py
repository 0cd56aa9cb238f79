"""The season as Camtrap DP: which deployments, recordings and observations its package names.

In: settings (``audio.deployments``, ``publication``), the inventory, and rows of
:mod:`dawnchorus.sharing.rows`. Out: what :mod:`dawnchorus.exports.camtrap_dp` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl

from dawnchorus import __version__
from dawnchorus.birdnet.model import NAME as BIRDNET
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import journal_path
from dawnchorus.exports.camtrap_dp import (
    Licence,
    Medium,
    Observation,
    ObservationType,
    Package,
    PackageWriter,
    Placement,
)
from dawnchorus.recordings.deployments import EVER_AFTER, EVER_BEFORE, read_deployments
from dawnchorus.recordings.table import Recording, read_recordings
from dawnchorus.results import Results
from dawnchorus.sharing.licence import BIRDNET_LICENCE

_MEDIA_TYPES = {
    "WAV": "audio/wav",
    "WAVEX": "audio/wav",
    "RF64": "audio/wav",
    "W64": "audio/wav",
    "FLAC": "audio/flac",
    "OGG": "audio/ogg",
    "MP3": "audio/mpeg",
    "MPEG": "audio/mpeg",
    "AIFF": "audio/aiff",
}
_VEHICLES = frozenset({"engine"})
_NO_ANIMALS = frozenset(
    {"environmental", "fireworks", "gun", "noise", "power tools", "siren"} | _VEHICLES
)
"""What BirdNET hears that is no animal, in its own words; voices begin with "Human"."""


class Season:
    """Deployments and recordings of the season, as the package names them.

    Raises
    ------
    DawnChorusError
        If there is no inventory, or a deployment's place is not known: the standard demands it.
    """

    def __init__(self, settings: Settings, results: Results) -> None:
        self._settings, self._results = settings, results
        usable = [
            row
            for row in read_recordings(results.recordings)
            if row.is_usable and row.start_utc is not None
        ]
        of: dict[str, list[Recording]] = {}
        for row in usable:
            of.setdefault(row.deployment or row.recorder, []).append(row)
        listed = read_deployments(settings.audio.deployments, settings.audio.timezone)
        placements = [self._placed(name, rows) for name, rows in sorted(of.items())]
        by_name = {one.deployment: one for one in placements}
        for recorder in {row.recorder for row in usable}:
            for one in listed.of(recorder):
                known = by_name.get(one.deployment)
                if known is None or one.place is None:
                    continue
                begins = known.start if one.start <= EVER_BEFORE else one.start
                ends = known.end if one.end >= EVER_AFTER else one.end
                by_name[one.deployment] = Placement(
                    deployment=one.deployment,
                    recorder=one.recorder,
                    start=begins.astimezone(one.zone),
                    end=ends.astimezone(one.zone),
                    latitude=one.place[0],
                    longitude=one.place[1],
                    location=one.location,
                    habitat=one.habitat,
                )
        self.placements = [by_name[name] for name in sorted(by_name)]
        self.media = {row.recording: _medium(row) for row in usable}

    def _placed(self, name: str, rows: list[Recording]) -> Placement:
        """Make a deployment of its recordings: from the first one's start to the last one's end."""
        first = min(rows, key=lambda row: (row.start_utc, row.recording))
        place = next(
            (
                (row.latitude, row.longitude)
                for row in rows
                if row.latitude is not None and row.longitude is not None
            ),
            None,
        )
        if place is None:
            raise DawnChorusError(
                f"the place of {name!r} is not known, and Camtrap DP demands latitude and longitude",
                self._results.recordings,
                "give them in audio.deployments",
            )
        return Placement(
            deployment=name,
            recorder=first.recorder,
            start=_local(first),
            end=max(_local(row) + timedelta(seconds=row.duration_s) for row in rows),
            latitude=place[0],
            longitude=place[1],
            location=first.location,
            habitat=first.habitat,
        )

    def finish(self, writer: PackageWriter, what: str, experiment: str | None) -> None:
        """Write what is not an observation."""
        writer.finish(self._package(what, experiment), self.placements, self.media.values())

    def _package(self, what: str, experiment: str | None) -> Package:
        publication = self._settings.publication
        made_by = f"dawnchorus {__version__}"
        of = f" of {experiment}" if experiment else ""
        data = Licence(publication.data_licence, "data")
        sources: list[dict[str, str]] = [{"title": "Dawn Chorus", "version": __version__}]
        if what == "detections":
            data = BIRDNET_LICENCE
            sources.append(
                {"title": BIRDNET, "path": "https://github.com/birdnet-team/BirdNET-Analyzer"}
            )
        contributors = [
            {key: value for key, value in one.model_dump().items() if value is not None}
            for one in publication.contributors
        ] or [{"title": "not named (publication.contributors in the config)"}]
        return Package(
            name=f"{_slug(publication.title)}-{what}",
            title=publication.title,
            created=_newest(self._results, what, experiment),
            contributors=contributors,
            licences=(data, Licence(publication.media_licence, "media")),
            sampling_design=publication.sampling_design,
            description=f"Passive acoustic monitoring: {what}{of}, exported by {made_by}.",
            version="1.0",
            sources=sources,
        )

    def observations(self, what: str, rows: pl.DataFrame) -> Iterator[Observation]:
        """Turn the rows of one recording into observations."""
        claim = CLAIMS[what]
        for number, row in enumerate(rows.iter_rows(named=True), start=1):
            medium = self.media.get(row["recording"])
            if medium is None:
                raise DawnChorusError(
                    "is no usable recording of the inventory",
                    row["recording"],
                    "run the workflow again",
                )
            yield Observation(medium, number, row["start_s"], row["end_s"], **claim(row))


def _local(row: Recording) -> datetime:
    assert row.start_utc is not None  # noqa: S101 - for the type checker
    return row.start_utc.astimezone(timezone(timedelta(minutes=row.utc_offset_minutes or 0)))


def _medium(row: Recording) -> Medium:
    container = row.format.split(" ", 1)[0]
    return Medium(
        recording=row.recording,
        deployment=row.deployment or row.recorder,
        start=_local(row),
        media_type=_MEDIA_TYPES.get(container, f"audio/{container.lower() or 'wav'}"),
    )


def _slug(title: str) -> str:
    kept = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in title.lower())
    return "-".join(filter(None, kept.split("-"))) or "season"


def _newest(results: Results, what: str, experiment: str | None) -> datetime:
    """Return when the newest of what the export was made from was written.

    The standard demands a time of making; this one is the same for the same results.
    """
    paths: list[Path] = [results.recordings]
    if what == "detections":
        paths.extend(map(results.detections, results.days_with_receipts()))
    elif what == "labels":
        paths.append(journal_path(results))
    elif experiment is not None:
        paths.append(results.experiment(experiment).attention / "boxes.parquet")
    times = [path.stat().st_mtime for path in paths if path.is_file()]
    return datetime.fromtimestamp(int(max(times)), UTC)


def _of_detection(row: Mapping[str, Any]) -> dict[str, Any]:
    species, common = row["species"], row["common_name"]
    # BirdNET's classes that are no species have one name twice: "Engine", "Human vocal", "Dog".
    named = species if species != common else None
    kind: ObservationType = "animal"
    if named is None and common.casefold().startswith("human"):
        kind = "human"
    elif named is None and common.casefold() in _VEHICLES:
        kind = "vehicle"
    elif named is None and common.casefold() in _NO_ANIMALS:
        kind = "unknown"
    return {
        "kind": kind,
        "method": "machine",
        "by": BIRDNET,
        "scientific_name": named,
        "common_name": common,
        "probability": min(1.0, max(0.0, row["confidence"])),
        "tags": {} if named else {"label": common},
    }


def _of_label(row: Mapping[str, Any]) -> dict[str, Any]:
    named = row["species"] if row["species"] != row["common_name"] else None
    return {
        # A person's words are free: what is no species that BirdNET knows may be an insect, or rain.
        "kind": "animal" if named else "unknown",
        "method": "human",
        "by": row["who"],
        "scientific_name": named,
        "common_name": row["common_name"],
        "when": row["when"],
        "tags": {"label": row["label"]},
    }


def _of_box(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "unclassified",
        "method": "machine",
        "by": f"dawnchorus {__version__} attention",
        "tags": {
            "frequencyLow": row["low_hz"],
            "frequencyHigh": row["high_hz"],
            "cluster": row["cluster"],
            "head": row["head"],
            "mass": row["mass"],
        },
    }


CLAIMS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "detections": _of_detection,
    "labels": _of_label,
    "boxes": _of_box,
}
"""What a row says of its span of time, by what is exported. A cluster says nothing that the standard has a
word for."""


def parts_of(rows: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Split a recorder-day's rows by recording, in their order."""
    return rows.partition_by("recording", maintain_order=True)
