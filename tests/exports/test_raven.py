from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.raven import (
    CORE,
    Selection,
    format_table,
    read_selections,
    write_selections,
)

seconds = st.floats(0, 1e6, allow_nan=False)
hertz = st.floats(0, 2e5, allow_nan=False)
headings = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12).filter(
    lambda text: text not in CORE
)
# Cells without line breaks, tabs and outer blanks come back as they are; the others are normalised.
cells = st.text(max_size=20).filter(
    lambda text: (
        text == text.strip()
        and "\t" not in text
        and len(text.splitlines()) <= 1
        and not any(text.endswith(mark) for mark in "\x1c\x1d\x1e\x85")
    )
)


@given(
    rows=st.lists(
        st.builds(
            Selection,
            seconds,
            seconds,
            hertz,
            hertz,
            st.dictionaries(headings, cells, max_size=3),
            st.integers(1, 8),
        ),
        max_size=6,
    )
)
def test_what_is_written_is_read_back(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("raven") / "table.selections.txt"
    write_selections(path, rows)
    back = read_selections(path)
    assert len(back) == len(rows)
    every_heading = {heading for row in rows for heading in row.annotations}
    for before, after in zip(rows, back, strict=True):
        assert after.start_s == pytest.approx(before.start_s, abs=6e-10)
        assert after.end_s == pytest.approx(before.end_s, abs=6e-10)
        assert after.low_hz == pytest.approx(before.low_hz, abs=6e-4)
        assert after.high_hz == pytest.approx(before.high_hz, abs=6e-4)
        assert after.channel == before.channel
        assert after.annotations == {
            heading: before.annotations.get(heading, "") for heading in every_heading
        }


@given(text=st.text(max_size=40))
def test_no_annotation_can_break_the_table(text):
    table = format_table([Selection(0, 1, 2, 3, {"Note": text}), Selection(1, 2, 3, 4)])
    lines = table.split("\n")
    assert len(lines) == 4
    assert lines[3] == ""
    assert [line.count("\t") for line in lines[:3]] == [7, 7, 7]
    assert table.encode()  # a lone surrogate would not encode


def test_ravens_own_columns_are_no_annotations():
    with pytest.raises(ValueError, match="View: these columns are Raven's own"):
        format_table([Selection(0, 1, 2, 3, {"View": "mine"})])


def test_a_name_that_is_no_utf8_is_written_readably(tmp_path):
    path = tmp_path / "table.txt"
    write_selections(path, [Selection(0, 1, 2, 3, {"File": "caf\udce9.wav"})])
    assert read_selections(path)[0].annotations == {"File": "caf\\udce9.wav"}


def test_table_is_what_raven_writes():
    table = format_table([Selection(1.5, 2.25, 1000, 4000.5, {"Species": "wren"})], ["Species"])
    assert table == (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
        "\tSpecies\n"
        "1\tSpectrogram 1\t1\t1.500000000\t2.250000000\t1000.000\t4000.500\twren\n"
    )


def test_a_table_without_selections_keeps_its_columns(tmp_path):
    path = tmp_path / "none.txt"
    write_selections(path, [], ["Species"])
    assert path.read_text().endswith("\tSpecies\n")
    assert read_selections(path) == []


def test_two_views_of_one_selection_count_once_and_columns_may_be_shuffled(tmp_path):
    path = tmp_path / "raven.txt"
    path.write_bytes(
        b"\xef\xbb\xbfSelection\tView\tHigh Freq (Hz)\tLow Freq (Hz)\tEnd Time (s)\tBegin Time (s)"
        b"\tAnnotation\r\n"
        b"7\tWaveform 1\t8000\t0\t2\t1\tsong\r\n"
        b"7\tSpectrogram 1\t8000\t0\t2\t1\tsong\r\n"
        b"9\tSpectrogram 1\t9000\t500\t4\t3\t\r\n"
    )
    assert read_selections(path) == [
        Selection(1, 2, 0, 8000, {"Annotation": "song"}),
        Selection(3, 4, 500, 9000, {"Annotation": ""}),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Start\tEnd\n1\t2\n", "lacks the columns Begin Time (s)"),
        (
            b"Begin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\n1\tx\t2\t3\n",
            "line 2: End Time (s) is no number (got 'x')",
        ),
        (
            b"Begin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\n1\t2\tnan\t3\n",
            "line 2: Low Freq (Hz) is no number",
        ),
        (
            b"Begin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\n1\t2\t3\t4\t5\n",
            "line 2 has 5 cells",
        ),
        (b"Begin Time (s)\xff\n", "is not UTF-8"),
    ],
)
def test_a_bad_table_is_one_clear_line(tmp_path, content, words):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(DawnChorusError) as caught:
        read_selections(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_table_is_one_clear_line(tmp_path):
    with pytest.raises(DawnChorusError, match="No such file"):
        read_selections(Path(tmp_path / "none.txt"))
