"""Exported tables: the values, the same bytes twice, and nothing of anyone's lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pandas
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dawnchorus.cli import app as commands
from dawnchorus.config import validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.exports.raven import Selection, read_selections
from dawnchorus.recordings.table import read_recordings, write_recordings
from dawnchorus.sharing.tables import export_tables
from explorer.conftest import EXPERIMENT, RECORDINGS, Season
from exports.camtrap import complaints, tables

BOX = PolygonRegion(kind="polygon", points=((1.5, 1.5), (3.5, 1.5), (3.5, 2.5), (1.5, 2.5)))
"""Windows 2 and 3 of the last recording."""


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def export(
    season: Season,
    out: Path,
    what: str,
    experiment: str | None = None,
    formats: list[str] | None = None,
) -> dict:
    return export_tables(season.settings, season.results, out, what, experiment, formats)


def counted(
    what: str, experiment: str | None, rows: int, recordings: int, formats: str = "raven,parquet"
) -> dict:
    return {
        "what": what, "experiment": experiment, "formats": formats.split(","), "rows": rows,
        "recordings": recordings,
    }  # fmt: skip


def write_boxes(season: Season) -> None:
    folder = season.results.experiment(EXPERIMENT).attention
    folder.mkdir(parents=True)
    name, _, start = RECORDINGS[2]
    pl.DataFrame(
        {
            "recorder": ["REC02"] * 2,
            "date": ["2021-05-24"] * 2,
            "recording": [name] * 2,
            "offset": [144_000, 144_000],
            "cluster": [1, 1],
            "head": [2, -1],
            "start_s": [3.5, 3.25],
            "end_s": [4.0, 4.5],
            "time": [start.replace(tzinfo=None)] * 2,
            "low_hz": [1000.5, 900.0],
            "high_hz": [2000.0, 2500.25],
            "mass": [0.25, 0.5],
        },
        schema_overrides={"cluster": pl.Int32, "head": pl.Int16, "mass": pl.Float32},
    ).write_parquet(folder / "boxes.parquet")


def test_detections(season: Season, tmp_path: Path) -> None:
    counts = export(season, tmp_path / "out", "detections")
    assert counts == counted("detections", None, 4, 1)
    folder = tmp_path / "out" / "detections"
    name = f"{RECORDINGS[0][0]}.selections.txt"
    assert set(files(folder)) == {name, "detections.parquet", "LICENCE-BirdNET.txt", "export.json"}
    assert b"CC BY-NC-SA 4.0" in files(folder)["LICENCE-BirdNET.txt"]
    assert read_selections(folder / name)[0] == Selection(
        6.0, 9.0, 0.0, 15_000.0,
        {"Common Name": "House Wren", "Scientific Name": "Troglodytes aedon", "Confidence": "0.9000"},
    )  # fmt: skip
    assert [selection.start_s for selection in read_selections(folder / name)] == [6, 6, 9, 9]
    table = pl.read_parquet(folder / "detections.parquet")
    assert table["start_s"].to_list() == [6, 6, 9, 9]
    assert table["end_s"].to_list() == [9, 9, 12, 12]
    assert str(table["time"][0]) == "2021-05-24 09:59:51+00:00"


def test_boxes(season: Season, tmp_path: Path) -> None:
    write_boxes(season)
    counts = export(season, tmp_path, "boxes")
    assert counts == counted("boxes", EXPERIMENT, 2, 1)
    folder = tmp_path / "boxes" / EXPERIMENT
    found = read_selections(folder / f"{RECORDINGS[2][0]}.selections.txt")
    assert found == [
        Selection(3.25, 4.5, 900.0, 2500.25, {"Cluster": "1", "Head": "-1", "Mass": "0.5000"}),
        Selection(3.5, 4.0, 1000.5, 2000.0, {"Cluster": "1", "Head": "2", "Mass": "0.2500"}),
    ]
    assert pl.read_parquet(folder / "boxes.parquet")["head"].to_list() == [-1, 2]


def test_labels(season: Season, tmp_path: Path) -> None:
    book = season.open().book
    book.label(ClusterRegion(kind="cluster", cluster=0), "rain", "bo")
    wren = book.label(BOX, "House Wren", "ada")
    counts = export(season, tmp_path, "labels")
    # Cluster 0 has four windows in each recording; window 3 of the last one is a wren by now.
    assert counts == counted("labels", EXPERIMENT, 13, 3)
    table = pl.read_parquet(tmp_path / "labels" / EXPERIMENT / "labels.parquet")
    assert table["label"].value_counts().sort("label").rows() == [("House Wren", 2), ("rain", 11)]
    last = table.filter(pl.col("recording") == RECORDINGS[2][0])
    rows = last.select("offset", "start_s", "end_s", "label", "entry", "region", "who").rows()
    assert rows == [
        (0, 0.0, 3.0, "rain", 1, "cluster", "bo"),
        (2 * 144_000, 6.0, 9.0, "House Wren", 2, "polygon", "ada"),
        (3 * 144_000, 9.0, 12.0, "House Wren", 2, "polygon", "ada"),
        (6 * 144_000, 18.0, 21.0, "rain", 1, "cluster", "bo"),
        (9 * 144_000, 27.0, 30.0, "rain", 1, "cluster", "bo"),
    ]
    assert last["when"][1] == wren.when
    selection = read_selections(
        tmp_path / "labels" / EXPERIMENT / f"{RECORDINGS[2][0]}.selections.txt"
    )[1]
    assert (selection.start_s, selection.low_hz, selection.high_hz) == (6.0, 150.0, 15_000.0)
    assert selection.annotations["Label"] == "House Wren"


def test_no_labels_yet_is_an_empty_table(season: Season, tmp_path: Path) -> None:
    assert export(season, tmp_path, "labels")["rows"] == 0
    assert pl.read_parquet(tmp_path / "labels" / EXPERIMENT / "labels.parquet").height == 0
    assert not season.journal.exists(), "exporting must not write into the results"


def test_same_bytes_twice_and_rows_that_went_away_are_gone(season: Season, tmp_path: Path) -> None:
    book = season.open().book
    book.label(ClusterRegion(kind="cluster", cluster=0), "rain", "bo")
    entry = book.label(BOX, "wren", "ada")
    export(season, tmp_path / "a", "labels")
    export(season, tmp_path / "b", "labels")
    first = files(tmp_path / "a")
    assert first == files(tmp_path / "b")
    export(season, tmp_path / "a", "labels")
    assert files(tmp_path / "a") == first
    book.undo(entry.id, "ada")
    book.undo(1, "ada")
    export(season, tmp_path / "a", "labels")
    assert [name for name in files(tmp_path / "a") if name.endswith(".txt")] == []


@pytest.mark.parametrize("change", ["edit", "add", "foreign"])
def test_a_folder_that_someone_worked_in_is_never_replaced(
    season: Season, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "detections"
    if change == "foreign":
        folder.mkdir()
        (folder / "thesis.doc").write_text("years of work")
    else:
        export(season, tmp_path, "detections")
        name = f"{RECORDINGS[0][0]}.selections.txt" if change == "edit" else "mine.txt"
        with (folder / name).open("a") as handle:
            handle.write("my own row\n")
    before = files(tmp_path)
    with pytest.raises(DawnChorusError, match="choose another folder"):
        export(season, tmp_path, "detections")
    assert files(tmp_path) == before


def test_a_failure_halfway_leaves_the_earlier_export(season: Season, tmp_path: Path) -> None:
    export(season, tmp_path / "out", "detections")
    before = files(tmp_path / "out")
    known = pl.read_parquet(season.results.recordings)
    known.filter(pl.col("recording") != RECORDINGS[0][0]).write_parquet(season.results.recordings)
    with pytest.raises(DawnChorusError, match="not in the inventory"):
        export(season, tmp_path / "out", "detections")
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("what", "experiment", "message"),
    [
        (
            "everything",
            None,
            "'everything' is not detections, boxes, labels, predictions, clusters",
        ),
        ("boxes", None, "dawnchorus attend"),
        ("boxes", "other", "no experiment 'other'"),
        ("labels", "other", "no map of 'other'"),
        ("detections", EXPERIMENT, "belong to no experiment"),
    ],
)
def test_what_cannot_be_exported(
    season: Season, tmp_path: Path, what: str, experiment: str | None, message: str
) -> None:
    with pytest.raises(DawnChorusError, match=message):
        export(season, tmp_path / "out", what, experiment)
    assert files(tmp_path / "out") == {}


def test_two_experiments_need_a_choice(season: Season, tmp_path: Path) -> None:
    two = validate({"results": str(season.results.root), "experiments": {"a": {}, "b": {}}})
    (tmp_path / "boxes" / "a").mkdir(parents=True)
    (tmp_path / "boxes" / "a" / "mine.txt").write_text("an earlier one")
    with pytest.raises(DawnChorusError, match="choose --experiment"):
        export_tables(two, season.results, tmp_path, "boxes", None)


def test_command(season: Season, tmp_path: Path) -> None:
    given = ["export", str(tmp_path / "t"), "--set", f"results={season.results.root}"]
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 0, result.output
    assert "4 rows" in result.stderr
    assert (tmp_path / "t" / "detections" / "detections.parquet").is_file()


def write_deployments(season: Season, tmp_path: Path) -> Season:
    """The same season, and where its recorders stood; the inventory as a scan with them writes it."""
    table = tmp_path / "deployments.csv"
    table.write_text(
        "deploymentID,cameraID,deploymentStart,deploymentEnd,latitude,longitude,habitat,locationName,timezone\n"
        "D1,REC01,2021-05-01,,41.7,-87.9,marsh,Pond,America/Chicago\n"
        "D2,REC02,2021-05-01,2021-06-01,41.8,-87.8,,,America/Chicago\n"
    )
    rows = [
        row._replace(
            deployment="D1" if row.recorder == "REC01" else "D2", latitude=41.7, longitude=-87.9
        )
        for row in read_recordings(season.results.recordings)
    ]
    write_recordings(season.results.recordings, rows)
    settings = validate(
        {
            **season.settings.model_dump(mode="json"),
            "audio": {"root": str(season.cards), "deployments": str(table)},
            "publication": {"title": "Ponds & Marsh", "data_licence": "CC-BY-4.0"},
        }
    )
    return replace(season, settings=settings)


ALL = ["raven,audacity", "birdnet-csv", "birdnet-raven", "camtrap-dp", "parquet"]


def test_every_format_says_the_same(season: Season, tmp_path: Path) -> None:
    """Each is read back by a reader that is not ours, and all hold the same detections."""
    season = write_deployments(season, tmp_path)
    counts = export(season, tmp_path, "detections", formats=ALL)
    assert counts["formats"] == [
        "raven", "audacity", "birdnet-csv", "birdnet-raven", "camtrap-dp", "parquet"
    ]  # fmt: skip
    folder = tmp_path / "detections"
    name = RECORDINGS[0][0]
    wanted = [
        (6.0, 9.0, "House Wren", 0.9), (6.0, 9.0, "Field Sparrow", 0.4),
        (9.0, 12.0, "Field Sparrow", 0.2), (9.0, 12.0, "House Wren", 0.7),
    ]  # fmt: skip
    said = pq.read_metadata(folder / "detections.parquet").metadata
    assert said[b"licence"] == b"CC BY-NC-SA 4.0" and b"Kahl" in said[b"attribution"]
    table = pandas.read_parquet(folder / "detections.parquet")
    told = ["start_s", "end_s", "common_name", "confidence"]
    assert [(a, b, c, round(d, 6)) for a, b, c, d in table[told].itertuples(index=False)] == wanted

    of_birdnet = pandas.read_csv(folder / f"{name}.BirdNET.results.csv")
    columns = ["Start (s)", "End (s)", "Common name", "Confidence"]
    assert list(of_birdnet[columns].itertuples(index=False, name=None)) == wanted
    assert set(of_birdnet["File"]) == {name}

    for suffix in (".BirdNET.selection.table.txt", ".selections.txt"):
        selections = pandas.read_csv(folder / f"{name}{suffix}", sep="\t", quoting=csv.QUOTE_NONE)
        columns = ["Begin Time (s)", "End Time (s)", "Common Name", "Confidence"]
        assert list(selections[columns].itertuples(index=False, name=None)) == wanted
        assert set(selections["High Freq (Hz)"]) == {15_000}

    labels = (folder / f"{name}.labels.txt").read_text().splitlines()
    assert labels[:2] == ["6.000000\t9.000000\tHouse Wren 0.90", "\\\t0.000000\t15000.000000"]
    assert len(labels) == 8

    assert complaints(folder / "camtrap-dp") == []
    rows = tables(folder / "camtrap-dp")
    assert [
        (
            (row["eventStart"].astimezone(UTC) - RECORDINGS[0][2]).total_seconds(),
            row["scientificName"],
            float(row["classificationProbability"]),
        )
        for row in rows["observations"]
    ] == [
        (6, "Troglodytes aedon", 0.9), (6, "Spizella pusilla", 0.4),
        (9, "Spizella pusilla", 0.2), (9, "Troglodytes aedon", 0.7),
    ]  # fmt: skip
    assert {row["classificationMethod"] for row in rows["observations"]} == {"machine"}
    assert [row["filePath"] for row in rows["media"]] == [one[0] for one in RECORDINGS]
    first, second = rows["deployments"]
    assert (first["deploymentID"], first["habitat"]) == ("D1", "marsh")
    # Still out: it ends with its last recording. The other's end is the table's (the whole of 1 June).
    assert first["deploymentEnd"].isoformat() == "2021-05-24T06:00:31-05:00"
    assert second["deploymentEnd"].isoformat() == "2021-06-02T00:00:00-05:00"
    descriptor = json.loads((folder / "camtrap-dp" / "datapackage.json").read_text())
    assert descriptor["name"] == "ponds-marsh-detections"
    assert [one["name"] for one in descriptor["licenses"]] == ["CC-BY-NC-SA-4.0", "notspecified"]


def test_a_file_per_recorder_day_is_one_sequence_of_its_recordings(
    season: Season, tmp_path: Path
) -> None:
    path = next((season.results.root / "birdnet").rglob("*.parquet"))
    before, name = RECORDINGS[0][0], RECORDINGS[1][0]
    rows = pl.read_parquet(path)
    second = rows.filter(pl.col("confidence") > 0.5).with_columns(recording=pl.lit(name))
    pl.concat([rows, second]).write_parquet(path)
    duration = {row.recording: row.duration_s for row in read_recordings(season.results.recordings)}
    export_tables(season.settings, season.results, tmp_path, "detections", None, per="recorder-day")
    folder = tmp_path / "detections"
    day = f"{path.parent.name}/{path.stem}"
    assert set(files(folder)) == {
        f"{day}.BirdNET.results.csv", f"{day}.BirdNET.selection.table.txt", "LICENCE-BirdNET.txt",
        "export.json",
    }  # fmt: skip
    table = pandas.read_csv(folder / f"{day}.BirdNET.results.csv")
    assert table["File"].tolist() == [before] * 4 + [name] * 2
    assert table["Start (s)"].tolist() == [6, 6, 9, 9, 6, 9]
    selections = pandas.read_csv(folder / f"{day}.BirdNET.selection.table.txt", sep="\t")
    assert selections["Begin Time (s)"].tolist() == [
        6, 6, 9, 9, 6 + duration[before], 9 + duration[before]
    ]  # fmt: skip
    assert selections["File Offset (s)"].tolist() == [6, 6, 9, 9, 6, 9]
    with pytest.raises(DawnChorusError, match="raven does not say which recording"):
        export_tables(
            season.settings, season.results, tmp_path, "detections", None, ["raven"], "recorder-day"
        )


def test_labels_as_camtrap_dp_are_a_persons(season: Season, tmp_path: Path) -> None:
    season = write_deployments(season, tmp_path)
    book = season.open().book
    book.label(ClusterRegion(kind="cluster", cluster=0), "rain|hail", "bo")
    wren = book.label(BOX, "house wren", "ada")
    export(season, tmp_path, "labels", formats=["camtrap-dp"])
    folder = tmp_path / "labels" / EXPERIMENT / "camtrap-dp"
    assert complaints(folder) == []
    rows = tables(folder)["observations"]
    assert len(rows) == 13
    assert {(row["observationType"], row["scientificName"], row["classifiedBy"]) for row in rows} == {
        ("unknown", None, "bo"), ("animal", "Troglodytes aedon", "ada"),
    }  # fmt: skip
    assert {row["observationTags"].split("|")[-1] for row in rows} == {
        "label:rain%7Chail", "label:house wren"
    }  # fmt: skip
    when = {row["classificationTimestamp"] for row in rows if row["classifiedBy"] == "ada"}
    assert when == {wren.when.replace(microsecond=0)}
    descriptor = json.loads((folder / "datapackage.json").read_text())
    assert descriptor["licenses"][0]["name"] == "CC-BY-4.0"


def test_boxes_as_camtrap_dp_carry_their_hertz(season: Season, tmp_path: Path) -> None:
    season = write_deployments(season, tmp_path)
    write_boxes(season)
    export(season, tmp_path, "boxes", formats=["camtrap-dp", "audacity"])
    folder = tmp_path / "boxes" / EXPERIMENT
    assert complaints(folder / "camtrap-dp") == []
    assert [row["observationTags"] for row in tables(folder / "camtrap-dp")["observations"]] == [
        "startSeconds:3.25|endSeconds:4.5|frequencyLow:900|frequencyHigh:2500.25|cluster:1|head:-1|mass:0.5",
        "startSeconds:3.5|endSeconds:4|frequencyLow:1000.5|frequencyHigh:2000|cluster:1|head:2|mass:0.25",
    ]
    assert (folder / f"{RECORDINGS[2][0]}.labels.txt").read_text() == (
        "3.250000\t4.500000\tcluster 1\n\\\t900.000000\t2500.250000\n"
        "3.500000\t4.000000\tcluster 1 head 2\n\\\t1000.500000\t2000.000000\n"
    )


def test_camtrap_dp_needs_a_place(season: Season, tmp_path: Path) -> None:
    with pytest.raises(DawnChorusError, match=r"'REC01' is not known.*audio\.deployments"):
        export(season, tmp_path / "out", "detections", formats=["camtrap-dp"])
    assert files(tmp_path / "out") == {}


def test_without_deployments_they_are_made_of_the_recordings(
    season: Season, tmp_path: Path
) -> None:
    placed = [
        row._replace(latitude=1.5, longitude=-2.5)
        for row in read_recordings(season.results.recordings)
    ]
    write_recordings(season.results.recordings, placed)
    export(season, tmp_path, "detections", formats=["camtrap-dp"])
    folder = tmp_path / "detections" / "camtrap-dp"
    assert complaints(folder) == []
    assert [
        (row["deploymentID"], row["deploymentStart"].isoformat(), row["deploymentEnd"].isoformat())
        for row in tables(folder)["deployments"]
    ] == [
        ("REC01", "2021-05-24T04:59:45-05:00", "2021-05-24T06:00:31-05:00"),
        ("REC02", "2021-05-24T23:00:00-05:00", "2021-05-24T23:00:31-05:00"),
    ]


def test_clusters_are_every_window(season: Season, tmp_path: Path) -> None:
    for path in (season.results.root / EXPERIMENT / "clusters").glob("*/*.parquet"):
        table = pl.read_parquet(path)
        table.with_columns(distance=pl.Series(range(table.height), dtype=pl.Float32)).write_parquet(
            path
        )
    counts = export(season, tmp_path, "clusters", formats=["parquet", "audacity"])
    assert counts == counted("clusters", EXPERIMENT, 30, 3, "audacity,parquet")
    folder = tmp_path / "clusters" / EXPERIMENT
    table = pandas.read_parquet(folder / "clusters.parquet")
    last = table[table["recording"] == RECORDINGS[2][0]].sort_values("offset")
    assert last["start_s"].tolist() == [3.0 * window for window in range(10)]
    assert last["cluster"].tolist() == [window % 3 for window in range(10)]
    assert last["distance"].tolist() == [9.0 - window for window in range(10)]
    # The sixth window of a recording that began at 23:00 local time: UTC is a day further.
    assert last["time"].iloc[5].isoformat() == "2021-05-25T04:00:15+00:00"
    labels = (folder / f"{RECORDINGS[2][0]}.labels.txt").read_text().splitlines()
    assert sorted(labels[::2])[0].split("\t")[1:] == ["3.000000", "cluster 0"]


@pytest.mark.parametrize(
    ("what", "formats", "message"),
    [
        ("detections", ["exel"], "'exel' is not raven, audacity, birdnet-csv"),
        ("detections", [","], "nothing is not raven"),
        ("boxes", ["birdnet-csv"], "columns for species and confidence, which boxes have not"),
        ("clusters", ["raven", "camtrap-dp"], "clusters claim none"),
    ],
)
def test_formats_that_have_no_words_for_it(
    season: Season, tmp_path: Path, what: str, formats: list[str], message: str
) -> None:
    with pytest.raises(DawnChorusError, match=message):
        export(season, tmp_path / "out", what, formats=formats)
    assert files(tmp_path / "out") == {}


def test_command_with_formats(season: Season, tmp_path: Path) -> None:
    given = [
        "export", str(tmp_path / "t"), "--set", f"results={season.results.root}", "--format",
        "birdnet-csv,audacity", "-f", "parquet",
    ]  # fmt: skip
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 0, result.output
    suffixes = {name.split(".", 1)[1] for name in files(tmp_path / "t" / "detections")}
    assert suffixes == {"wav.labels.txt", "wav.BirdNET.results.csv", "parquet", "txt", "json"}
    refused = CliRunner().invoke(commands, [*given[:4], "--by", "cluster"])
    assert refused.exit_code == 1 and isinstance(refused.exception, DawnChorusError)
