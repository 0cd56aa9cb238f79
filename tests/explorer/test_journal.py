"""The journal survives what may happen to a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.entries import LabelEntry, RedoEntry, UndoEntry, now, standing
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion

SQUARE = PolygonRegion(kind="polygon", points=((0.1, 0.2), (1.0, 0.0), (1 / 3, 1e-17)))


def label(name: str | None, region: PolygonRegion | ClusterRegion = SQUARE):
    def make(number: int, _entries: object) -> LabelEntry:
        return LabelEntry(
            id=number, who="ada", when=now(), label=name, region=region,
            experiment="e", map="m", clusters="c", members=3,
        )  # fmt: skip

    return make


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "labels" / "journal.jsonl")
    written = [
        journal.append(label("Luscinia megarhynchos")),
        journal.append(label('noise: "rain"\n\t\u2028 \\ Drossel ä 鳥')),
        journal.append(label(None, ClusterRegion(kind="cluster", cluster=7))),
        journal.append(lambda number, _: UndoEntry(id=number, who="bo", when=now(), of=1)),
        journal.append(lambda number, _: RedoEntry(id=number, who="bo", when=now(), of=1)),
    ]
    again = Journal(journal.path)
    assert again.entries == journal.entries == written
    assert [entry.id for entry in again.entries] == [1, 2, 3, 4, 5]
    assert again.complaints == []
    # One line each, whatever the label holds; curves to the last bit.
    lines = journal.path.read_bytes().splitlines()
    assert len(lines) == 5
    assert json.loads(lines[0])["region"]["points"][2] == [1 / 3, 1e-17]


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    whole = Journal(tmp_path / "whole.jsonl")
    ends = []
    for name in ("wren", "rain", "owl"):
        whole.append(label(name))
        ends.append(whole.path.stat().st_size)
    content = whole.path.read_bytes()
    torn = tmp_path / "torn.jsonl"
    for length in range(len(content) + 1):
        torn.write_bytes(content[:length])
        journal = Journal(torn)
        # A line counts from its closing brace on, with or without the line break behind it.
        expected = sum(length >= end - 1 for end in ends)
        assert journal.entries == whole.entries[:expected], length
        inside_a_line = length not in {0, *ends, *(end - 1 for end in ends)}
        assert len(journal.complaints) == inside_a_line, length
        if inside_a_line:
            assert "torn" in journal.complaints[0]

        # The next label stands on a line of its own, and all readers agree on what there is.
        added = journal.append(label("after the crash"))
        assert added.id == expected + 1
        assert journal.entries == [*whole.entries[:expected], added]
        fresh = Journal(torn)
        assert fresh.entries == journal.entries, length
        assert len(fresh.complaints) == inside_a_line
        assert torn.read_bytes().startswith(content[:length]), "an old byte was touched"


def test_garbage_in_the_middle_is_said_with_its_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(label("wren"))
    with journal.path.open("ab") as handle:
        handle.write(b"\0\0\0\n{}\n[1]\n")
    journal.append(label("owl"))
    again = Journal(journal.path)
    assert [entry.label for entry in again.entries if isinstance(entry, LabelEntry)] == [
        "wren",
        "owl",
    ]
    assert [text.partition(": ")[2][:6] for text in again.complaints] == [
        "line 2",
        "line 3",
        "line 4",
    ]


def test_two_writers_share_a_journal(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "j.jsonl"), Journal(tmp_path / "j.jsonl")
    for turn in range(5):
        first.append(label(f"first {turn}"))
        second.append(label(f"second {turn}"))
    first.refresh()
    assert first.entries == second.entries
    assert [entry.id for entry in first.entries] == list(range(1, 11))


WRITER = """
import sys
from pathlib import Path
from dawnchorus.explorer.entries import LabelEntry, now
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.regions import ClusterRegion

journal = Journal(Path(sys.argv[1]))
while True:
    entry = journal.append(lambda number, _: LabelEntry(
        id=number, who="w", when=now(), label="x" * 5000,
        region=ClusterRegion(kind="cluster", cluster=1), experiment="e", map="m", clusters="c",
        members=1))
    print(entry.id, flush=True)
"""


def test_killed_right_after_a_label_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(4)]
        os.kill(process.pid, signal.SIGKILL)
        confirmed += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        ids = [entry.id for entry in Journal(path).entries]
        assert ids == list(range(1, len(ids) + 1))
        assert ids[-1] >= confirmed[-1]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(label("wren"))
    before = journal.path.read_bytes()
    real = os.write

    def half(handle: int, data: memoryview) -> int:
        if len(data) > 50:
            return real(handle, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dawnchorus.explorer.journal.os.write", half)
    with pytest.raises(DawnChorusError, match="not saved: No space left on device"):
        journal.append(label("owl"))
    monkeypatch.undo()
    assert journal.path.read_bytes() == before
    assert journal.append(label("owl")).id == 2


def test_undo_redo_by_hand() -> None:
    def entries(*steps: str | tuple[str, int]) -> list[LabelEntry | UndoEntry | RedoEntry]:
        made: list[LabelEntry | UndoEntry | RedoEntry] = []
        for number, step in enumerate(steps, start=1):
            if isinstance(step, str):
                made.append(label(step)(number, []))
            else:
                kind = UndoEntry if step[0] == "undo" else RedoEntry
                made.append(kind(id=number, who="w", when=now(), of=step[1]))
        return made

    def names(*steps: str | tuple[str, int]) -> tuple[list[str | None], list[str | None]]:
        stand, undone = standing(entries(*steps))
        return [one.label for one in stand], [one.label for one in undone]

    assert names("a", "b", ("undo", 2)) == (["a"], ["b"])
    assert names("a", "b", ("undo", 2), ("redo", 2)) == (["a", "b"], [])
    # An earlier one can be taken back, and comes back at its old place: it still loses to the later.
    assert names("a", "b", ("undo", 1)) == (["b"], ["a"])
    assert names("a", "b", ("undo", 1), ("redo", 1)) == (["a", "b"], [])
    # A new label ends the redoing; twice is once; what never was changes nothing.
    assert names("a", ("undo", 1), "b", ("redo", 1)) == (["b"], [])
    assert names("a", ("undo", 1), ("undo", 1), ("redo", 9), ("undo", 9)) == ([], ["a"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("lur"), st.integers(1, 12)), max_size=30))
def test_replay_equals_a_simple_model(steps: list[tuple[str, int]]) -> None:
    # Model: a list of all labels with a flag, and a stack of undone ids.
    made, flags, stack = [], {}, []
    for number, (kind, of) in enumerate(steps, start=1):
        if kind == "l":
            made.append(label(f"name {number}")(number, []))
            flags[number], stack = True, []
        elif kind == "u":
            made.append(UndoEntry(id=number, who="w", when=now(), of=of))
            if flags.get(of):
                flags[of] = False
                stack.append(of)
        else:
            made.append(RedoEntry(id=number, who="w", when=now(), of=of))
            if of in stack:
                flags[of] = True
                stack.remove(of)
    stand, undone = standing(made)
    assert [entry.id for entry in stand] == [number for number in sorted(flags) if flags[number]]
    assert [entry.id for entry in undone] == stack
