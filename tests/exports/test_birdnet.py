"""BirdNET-Analyzer's tables, read back with csv, pandas and the reader for Raven."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.exports.birdnet import (
    CSV_COLUMNS,
    TABLE_COLUMNS,
    Detection,
    format_csv,
    format_table,
    write_csv,
    write_table,
)
from dawnchorus.exports.raven import read_selections

WREN = Detection("REC01/x.wav", 3.0, 6.0, 0.0, 15_000.0, "Troglodytes aedon", "House Wren", 0.87654)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
paths = names | st.sampled_from(
    ['REC 1/[-27.38 152.87]/"a, b".wav', "R\té\n/x\r.wav", "R/" + "d/" * 700 + "x.wav"]
)
detections = st.lists(
    st.builds(
        Detection,
        paths,
        st.integers(0, 10**6).map(lambda value: value * 3.0),
        st.floats(0, 1e6).map(lambda value: round(value, 6)),
        st.just(0.0),
        st.sampled_from([15_000.0, 8_000.0]),
        names,
        names,
        st.floats(0, 1),
    ),
    max_size=5,
)


@given(detections)
def test_csv_comes_back_as_it_was(rows: list[Detection]) -> None:
    text = format_csv(rows)
    back = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert back[0] == list(CSV_COLUMNS)
    assert [
        (float(start), float(end), species, common, file)
        for start, end, species, common, _, file in back[1:]
    ] == [
        (one.start_s, one.end_s, one.scientific_name, one.common_name, one.recording)
        for one in rows
    ]
    assert all(
        abs(float(row[4]) - one.confidence) <= 5.1e-5
        for row, one in zip(back[1:], rows, strict=True)
    )


@given(detections)
def test_no_name_can_break_the_selection_table(rows: list[Detection]) -> None:
    text = format_table(rows)
    lines = text.splitlines()
    assert text.endswith("\n") and len(lines) == 1 + len(rows)
    assert {line.count("\t") for line in lines} == {len(TABLE_COLUMNS) - 1}


def test_tables_are_those_of_birdnet_analyzer(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [WREN])
    assert (tmp_path / "a.csv").read_text() == (
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "3.0,6.0,Troglodytes aedon,House Wren,0.8765,REC01/x.wav\n"
    )
    write_table(tmp_path / "a.txt", [WREN])
    assert (tmp_path / "a.txt").read_text() == (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
        "Common Name\tScientific Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
        "1\tSpectrogram 1\t1\t3.0\t6.0\t0\t15000\tHouse Wren\tTroglodytes aedon\t\t0.8765\t"
        "REC01/x.wav\t3.0\n"
    )


def test_pandas_and_the_reader_for_raven_read_them(tmp_path: Path) -> None:
    wren = replace(WREN, recording="R/a, b.wav", before_s=600.5)
    write_csv(tmp_path / "a.csv", [wren, wren])
    table = pandas.read_csv(tmp_path / "a.csv")
    assert table.columns.tolist() == list(CSV_COLUMNS)
    assert table["File"].tolist() == ["R/a, b.wav"] * 2
    assert table["Confidence"].tolist() == pytest.approx([0.8765] * 2)
    write_table(tmp_path / "a.txt", [wren])
    (selection,) = read_selections(tmp_path / "a.txt")
    assert (selection.start_s, selection.end_s, selection.high_hz) == (603.5, 606.5, 15_000)
    assert selection.annotations["Common Name"] == "House Wren"
    assert selection.annotations["File Offset (s)"] == "3.0"
    assert selection.annotations["Begin Path"] == "R/a, b.wav"
