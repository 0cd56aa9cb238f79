"""Camtrap DP: valid by the standard, read back by frictionless, whatever names and clocks are like."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dawnchorus.exports.camtrap_dp import (
    DEPLOYMENT_COLUMNS,
    PROFILE,
    TABLES,
    Licence,
    Medium,
    Observation,
    Package,
    PackageWriter,
    Placement,
    file_path,
    media_id,
)

from .camtrap import STANDARD, complaints, tables

CHICAGO = ZoneInfo("America/Chicago")
START = datetime(2021, 5, 24, 23, 59, 58, 250_000, tzinfo=timezone(timedelta(hours=-5)))
MEDIUM = Medium("REC01/x.wav", "D1", START, "audio/wav")
PACKAGE = Package(
    name="season-detections",
    title="A season",
    created=datetime(2021, 9, 1, tzinfo=UTC),
    contributors=[{"title": "Ada Field", "role": "contact", "email": "ada@example.org"}],
    licences=[Licence("CC0-1.0", "data"), Licence("notspecified", "media")],
    sampling_design="targeted",
    description="",
    version="1.0",
)
PLACE = Placement("D1", "REC01", START, START + timedelta(days=9.1), 41.7, -87.9, "Marsh", "reeds")


def write(folder: Path, observations: list[Observation], media: list[Medium] | None = None) -> Path:
    with PackageWriter(folder) as writer:
        writer.add(observations)
        writer.finish(PACKAGE, [PLACE], [MEDIUM] if media is None else media)
    return folder


def heard(start_s: float, end_s: float, **further) -> Observation:
    facts = {
        "medium": MEDIUM, "number": 1, "kind": "animal", "method": "machine", "by": "BirdNET",
        "scientific_name": "Troglodytes aedon", "common_name": "House Wren", "probability": 0.9,
    }  # fmt: skip
    return Observation(start_s=start_s, end_s=end_s, **{**facts, **further})


def test_columns_are_the_standards_in_its_order() -> None:
    for name, columns in TABLES.items():
        schema = json.loads((STANDARD / f"{name}-table-schema.json").read_text())
        assert list(columns) == [field["name"] for field in schema["fields"]]


def test_values(tmp_path: Path) -> None:
    box = heard(
        3.25, 4.5, number=2, kind="unclassified", scientific_name=None, probability=None,
        tags={"frequencyLow": 900.0, "frequencyHigh": 2500.25, "label": "a|b"},
    )  # fmt: skip
    folder = write(tmp_path / "dp", [heard(0, 3), box])
    assert complaints(folder) == []
    rows = tables(folder)
    (deployment,) = rows["deployments"]
    assert (deployment["deploymentID"], deployment["cameraID"]) == ("D1", "REC01")
    assert (float(deployment["latitude"]), float(deployment["longitude"])) == (41.7, -87.9)
    assert deployment["deploymentStart"] == START.replace(microsecond=0)
    (medium,) = rows["media"]
    assert medium["timestamp"].isoformat() == "2021-05-24T23:59:58-05:00"
    assert medium["filePath"] == "REC01/x.wav" and medium["fileName"] == "x.wav"
    first, second = rows["observations"]
    assert first["mediaID"] == second["mediaID"] == medium["mediaID"] == media_id("REC01/x.wav")
    # 23:59:58.25 to 00:00:01.25 of the next day, widened to whole seconds.
    assert first["eventStart"].isoformat() == "2021-05-24T23:59:58-05:00"
    assert first["eventEnd"].isoformat() == "2021-05-25T00:00:02-05:00"
    assert float(first["classificationProbability"]) == 0.9
    assert first["observationTags"] == "startSeconds:0|endSeconds:3"
    assert second["observationTags"] == (
        "startSeconds:3.25|endSeconds:4.5|frequencyLow:900|frequencyHigh:2500.25|label:a%7Cb"
    )
    assert second["scientificName"] is None
    descriptor = json.loads((folder / "datapackage.json").read_text())
    assert descriptor["profile"] == PROFILE
    assert descriptor["temporal"] == {"start": "2021-05-24", "end": "2021-06-03"}
    assert descriptor["spatial"] == {"type": "Point", "coordinates": [-87.9, 41.7]}
    assert descriptor["taxonomic"] == [
        {"scientificName": "Troglodytes aedon", "vernacularNames": {"eng": "House Wren"}}
    ]


names = st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20
) | st.sampled_from(
    [
        "caf\udce9", "a\tb", "a\nb", "a\rb", '"q", \'q\'', "[-27.38 152.87]", "..", "~x", ".x", "é,x", "x" * 3000,
        "\u2028", "NaN", "a%20b",
    ]
)  # fmt: skip


claims = st.tuples(
    names,
    names,
    names,
    st.floats(0, 90_000),
    st.floats(0, 3_600),
    st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(claims, min_size=4, max_size=12))
def test_any_name_and_clock_is_valid_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple]
) -> None:
    media, observations = [], []
    for number, (name, label, who, start, length, begins, minutes) in enumerate(drawn):
        zone = timezone(timedelta(minutes=minutes))
        media.append(Medium(f"REC{number}/{name}", "D1", begins.replace(tzinfo=zone), "audio/wav"))
        observations.append(
            heard(start, start + length, medium=media[-1], by=who, tags={"label": label})
        )
    folder = write(tmp_path_factory.mktemp("dp") / "dp", observations, media)
    assert complaints(folder) == []
    rows = tables(folder)
    for medium, one, row, read in zip(
        media, observations, rows["media"], rows["observations"], strict=True
    ):
        begin = medium.start + timedelta(seconds=one.start_s)
        end = medium.start + timedelta(seconds=one.end_s)
        # The sound lies within the event, which is less than a second longer at either end.
        assert timedelta(0) <= begin - read["eventStart"] < timedelta(seconds=1)
        assert timedelta(0) <= read["eventEnd"] - end < timedelta(seconds=1)
        told = dict(tag.split(":", 1) for tag in read["observationTags"].split("|"))
        assert float(told["startSeconds"]) == pytest.approx(one.start_s, abs=6e-7)
        assert float(told["endSeconds"]) == pytest.approx(one.end_s, abs=6e-7)
        assert read["mediaID"] == row["mediaID"] == media_id(medium.recording)
        path = unquote(row["filePath"])
        if medium.recording.isprintable() and "%" not in medium.recording:
            assert path == medium.recording


def test_over_a_change_of_the_clock(tmp_path: Path) -> None:
    """On 7 November 2021 the clocks of Chicago went from 02:00 back to 01:00."""
    recordings = []
    for hour, fold in ((0, 0), (1, 0), (1, 1)):
        local = datetime(2021, 11, 7, hour, 30, tzinfo=CHICAGO, fold=fold)
        fixed = local.astimezone(timezone(local.utcoffset()))
        recordings.append(Medium(f"R/{hour}{fold}.wav", "D1", fixed, "audio/wav"))
    folder = write(
        tmp_path / "dp", [heard(3_600, 3_603, medium=one) for one in recordings], recordings
    )
    assert complaints(folder) == []
    rows = tables(folder)
    stamps = [row["timestamp"] for row in rows["media"]]
    assert [stamp.isoformat()[11:] for stamp in stamps] == [
        "00:30:00-05:00", "01:30:00-05:00", "01:30:00-06:00"
    ]  # fmt: skip
    assert stamps[2] - stamps[1] == stamps[1] - stamps[0] == timedelta(hours=1)
    events = [row["eventStart"] for row in rows["observations"]]
    assert events[0] == stamps[1] and events[1] == stamps[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("observations.csv", ",0.9,", ",1.9,"), "maximum"),
        (("observations.csv", ",media,animal", ",interval,animal"), "enum"),
        (("observations.csv", media_id("REC01/x.wav") + ",,", "nothere,,"), "nothere"),
        (("media.csv", "58-05:00", "58"), "timestamp"),
        (("deployments.csv", "41.7", "141.7"), "maximum"),
        (("datapackage.json", '"scope": "media"', '"scope": "sound"'), "sound"),
    ],
)
def test_the_check_finds_what_is_wrong(
    tmp_path: Path, change: tuple[str, str, str], words: str
) -> None:
    """What the tests above rely on: a package that is not valid is complained of."""
    folder = write(tmp_path / "dp", [heard(0, 3)])
    file, before, after = change
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after))
    found = complaints(folder)
    assert found and any(words in line for line in found), found


def test_no_observations_are_a_valid_package(tmp_path: Path) -> None:
    folder = write(tmp_path / "dp", [])
    assert complaints(folder) == []
    assert tables(folder)["observations"] == []
    assert (folder / "deployments.csv").read_text().startswith(",".join(DEPLOYMENT_COLUMNS))


@given(names)
def test_paths_are_allowed_and_told_apart(name: str) -> None:
    path = file_path(name)
    assert re.search(r"^(?=^[^./~])(^((?!\.{2}).)*$).*$", path)
    assert file_path(f"R/{name}") != file_path(f"R/{name}x")
