"""The deployments table: read, refused, and its schema kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.deployments import read_deployments, schema

HEAD = "deploymentID,locationID,locationName,latitude,longitude,deploymentStart,deploymentEnd,habitat,cameraID"
SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "deployments.schema.json"


def table(tmp_path, *lines, head=HEAD):
    path = tmp_path / "deployments.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8-sig")
    return path


def test_read(tmp_path):
    path = table(
        tmp_path,
        "d1,L1,Oak ridge,41.5,-88.1,2021-05-24,2021-06-30,forest,REC01,America/Chicago,x",
        "d2,L2,,,,2021-07-01T06:00:00-0500,,,REC01,,y",
        head=HEAD + ",timezone,extra",
    )
    deployments = read_deployments(path, "UTC")
    one, two = deployments.of("REC01")
    assert (one.location, one.place, one.habitat) == ("Oak ridge", (41.5, -88.1), "forest")
    assert one.start == datetime(2021, 5, 24, 5, tzinfo=UTC)
    assert one.end == datetime(2021, 7, 1, 5, tzinfo=UTC)  # a date alone: to its end
    assert one.timezone == "America/Chicago"
    assert (two.location, two.place, two.habitat, two.timezone) == ("L2", None, None, "UTC")
    assert two.start == datetime(2021, 7, 1, 11, tzinfo=UTC)
    assert deployments.at("REC01", datetime(2050, 1, 1, tzinfo=UTC)) is two
    assert deployments.at("REC01", datetime(2021, 7, 1, 6, tzinfo=UTC)) is None
    assert deployments.at("REC02", datetime(2050, 1, 1, tzinfo=UTC)) is None


ROW = "d1,L,N,41.5,-88.1,2021-05-24,2021-06-30,forest,REC01"


@pytest.mark.parametrize(
    ("lines", "head", "said"),
    [
        ([ROW], HEAD.replace("cameraID", "camera"), "lacks the column cameraID"),
        ([ROW], HEAD.replace("latitude,longitude", "lat,lon"), "columns latitude, longitude"),
        ([ROW, ROW.replace("REC01", "REC02")], HEAD, "'d1' stands twice"),
        ([ROW, ROW.replace("d1", "d2")], HEAD, "'d1' and 'd2' of recorder 'REC01' overlap"),
        ([ROW.replace("41.5", "141.5")], HEAD, "line 2: latitude"),
        ([ROW.replace("41.5", "north")], HEAD, "line 2: latitude"),
        (
            [ROW, ROW.replace("d1", "d2").replace("2021-05-24", "May")],
            HEAD,
            "line 3: deploymentStart",
        ),
        ([ROW.replace("2021-06-30", "2021-05-23")], HEAD, "is not after deploymentStart"),
        ([ROW.replace("d1", "")], HEAD, "line 2: deploymentID"),
        ([ROW + ",Mars/Olympus"], HEAD + ",timezone", "no IANA time zone"),
    ],
)
def test_refused_in_one_line(tmp_path, lines, head, said):
    with pytest.raises(DawnChorusError) as caught:
        read_deployments(table(tmp_path, *lines, head=head), "UTC")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "deployments.csv" in str(caught.value)


def test_touching_deployments_do_not_overlap(tmp_path):
    path = table(
        tmp_path, ROW, ROW.replace("d1", "d2").replace("2021-05-24,2021-06-30", "2021-07-01,")
    )
    assert len(read_deployments(path, "UTC")) == 2


def test_missing_table(tmp_path):
    with pytest.raises(DawnChorusError, match="is not there"):
        read_deployments(tmp_path / "none.csv", "UTC")


def test_schema_file_agrees():
    assert json.loads(SCHEMA.read_text()) == schema(), (
        "run python -m dawnchorus.recordings.deployments > workflow/schemas/deployments.schema.json"
    )


def test_schema_accepts_and_refuses():
    row = {
        "deploymentID": "d1",
        "cameraID": "REC01",
        "deploymentStart": "2021-05-24",
        "deploymentEnd": None,
        "latitude": 41.5,
        "longitude": -88.0,
    }
    jsonschema.validate(row, schema())
    for wrong in ({"latitude": 141.5}, {"cameraID": ""}, {"deploymentStart": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(row | wrong, schema())
