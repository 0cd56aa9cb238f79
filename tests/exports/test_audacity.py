"""Audacity's label tracks, read back by their definition."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.audacity import Label, format_labels, read_labels, write_labels


def read(text: str) -> list[Label]:
    r"""Start, end, text by tabs; behind it, perhaps, a line that begins with \ and tells two frequencies.

    Nothing else is let pass, whatever a reader takes for the end of a line.
    """
    assert text == "" or text.endswith("\n")
    lines = text.split("\n")[:-1]
    assert text.splitlines() == lines
    labels: list[Label] = []
    for line in lines:
        first, second, third = line.split("\t")
        if first == "\\":
            before = labels.pop()
            assert before.hertz is None
            labels.append(
                Label(before.start_s, before.end_s, before.text, (float(second), float(third)))
            )
        else:
            labels.append(Label(float(first), float(second), third))
    return labels


seconds = st.floats(0, 1e6, allow_nan=False).map(lambda value: round(value, 6))
hertz = st.floats(0, 2e5, allow_nan=False).map(lambda value: round(value, 6))
words = st.text(max_size=30).map(lambda text: " ".join(text.split()))


@given(
    st.lists(
        st.builds(Label, seconds, seconds, words, st.none() | st.tuples(hertz, hertz)), max_size=6
    )
)
def test_what_is_written_is_read_back(labels: list[Label]) -> None:
    assert read(format_labels(labels)) == [
        Label(one.start_s, one.end_s, " ".join(one.text.splitlines()).strip(), one.hertz)
        for one in labels
    ]


@given(st.text(max_size=40))
def test_no_text_can_break_the_track(text: str) -> None:
    track = format_labels([Label(0, 1, text, (2, 3)), Label(1, 2, "next")])
    first, second = read(track)
    assert first.hertz == (2, 3)
    assert second == Label(1, 2, "next")


def test_track_is_what_audacity_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_labels(path, [Label(1.5, 2.25, "wren", (1000, 4000.5)), Label(3, 6, "caf\udce9")])
    assert path.read_bytes() == (
        b"1.500000\t2.250000\twren\n\\\t1000.000000\t4000.500000\n3.000000\t6.000000\tcaf\\udce9\n"
    )


def test_no_labels_are_an_empty_file(tmp_path: Path) -> None:
    write_labels(tmp_path / "x.txt", [])
    assert (tmp_path / "x.txt").read_bytes() == b""
    with pytest.raises(ValueError):  # the reader above is strict
        read("1\t2\n")


def test_a_track_of_audacity_is_read(tmp_path: Path) -> None:
    """With Windows' line ends and the -1 that it writes for an edge that is not set; ours come back as they were."""
    path = tmp_path / "track.txt"
    path.write_bytes(b"0.5\t1.5\twren\r\n\\\t1000.0\t4000.0\r\n2.0\t2.0\t\r\n\\\t-1.0\t3000.0\r\n")
    wren = Label(0.5, 1.5, "wren", (1000.0, 4000.0))
    assert read_labels(path) == [wren, Label(2.0, 2.0, "")]
    write_labels(path, [wren, Label(3.0, 4.0, "a b")])
    assert read_labels(path) == [wren, Label(3.0, 4.0, "a b")]
    for wrong in ("start\tend\tlabel\n", "0\t1\ta\n1\tnan\tb\n", "nothing"):
        path.write_text(wrong)
        with pytest.raises(DawnChorusError, match=f"line {2 if 'nan' in wrong else 1} is no label"):
            read_labels(path)
