"""Exported tables: the values, the same bytes twice, and nothing of anyone's lost."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from dawnchorus.cli import app as commands
from dawnchorus.config import validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.exports.raven import Selection, read_selections
from dawnchorus.sharing.tables import export_tables
from explorer.conftest import EXPERIMENT, RECORDINGS, Season

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
        ("everything", None, "'everything' is not detections, boxes, labels, clusters"),
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
    with pytest.raises(DawnChorusError, match="choose --experiment"):
        export_tables(two, season.results, tmp_path, "boxes", None)


def test_command(season: Season, tmp_path: Path) -> None:
    given = ["export", str(tmp_path / "t"), "--set", f"results={season.results.root}"]
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 0, result.output
    assert "4 rows" in result.stderr
    assert (tmp_path / "t" / "detections" / "detections.parquet").is_file()
