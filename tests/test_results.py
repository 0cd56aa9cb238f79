"""Publishing: what exists is complete, whatever happened while it was written."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.errors import DawnChorusError
from dawnchorus.results import (
    RecorderDay,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)


def test_a_failed_write_leaves_the_former_result(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("former")
    with pytest.raises(RuntimeError), publishing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "somewhere"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("No space left on device (os error 28)"),  # as zarrs says it
    ],
)
def test_a_full_disk_is_said_with_the_place(tmp_path, error):
    path = tmp_path / "table.txt"
    path.write_text("former")
    with (
        pytest.raises(
            DawnChorusError, match=r"table\.txt: cannot be written: .*; make room"
        ) as caught,
        publishing(path) as partial,
    ):
        partial.write_text("half")
        raise error
    assert caught.value.__cause__ is error
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), publishing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "Permission denied", "y")


def test_a_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "store.zarr"
    for content in ("one", "two"):
        with publishing(path) as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert [p.name for p in path.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["store.zarr"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_killed_between_the_renames(tmp_path, is_replaced):
    """The older folder had stepped aside: it comes back, or is done with where the new one came through."""
    path, old = tmp_path / "store.zarr", tmp_path / ".store.zarr.old"
    old.mkdir()
    (old / "older").write_text("older")
    if is_replaced:
        path.mkdir()
        (path / "newer").write_text("newer")
    with pytest.raises(RuntimeError), publishing(path):
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["newer" if is_replaced else "older"]
    assert [p.name for p in tmp_path.iterdir()] == ["store.zarr"]
    with publishing(path) as partial:
        partial.mkdir()
        (partial / "newest").write_text("newest")
    assert [p.name for p in path.iterdir()] == ["newest"]
    assert [p.name for p in tmp_path.iterdir()] == ["store.zarr"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), publishing(tmp_path / "x"):
        pass


def test_kill_9_leaves_no_half_result(tmp_path):
    path = tmp_path / "store.zarr"
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from dawnchorus.results import publishing
        with publishing(Path({str(path)!r})) as partial:
            partial.mkdir()
            (partial / "shard").write_text("half")
            print("writing", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    with publishing(path) as partial:
        assert not partial.exists(), "the killed process's leftover is gone"
        partial.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["store.zarr"]


def test_receipts_are_the_same_bytes_for_the_same_content(tmp_path):
    write_receipt(tmp_path / "a.json", {"b": 1, "a": [1, 2]})
    write_receipt(tmp_path / "b.json", {"a": [1, 2], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_receipt(tmp_path / "a.json") == {"a": [1, 2], "b": 1}


def test_a_missing_or_broken_receipt_is_one_line(tmp_path):
    with pytest.raises(DawnChorusError, match="is not there; run the step"):
        read_receipt(tmp_path / "none.json")
    for text in ("{", "[1]", "\ufffd"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DawnChorusError, match="is not a receipt"):
            read_receipt(tmp_path / "bad.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_fingerprints_differ_exactly_when_the_content_does(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) == same


def test_paths_are_the_contract(tmp_path):
    results, day = Results(Path("results")), RecorderDay("SM01", "2021-05-24")
    experiment = results.experiment("dino")
    expected = {
        results.recordings: "inventory/recordings.parquet",
        results.faults: "inventory/faults.tsv",
        results.calendar: "inventory/calendar.html",
        results.spectrograms(day): "spectrograms/SM01/2021-05-24.zarr",
        results.spectrograms_receipt(day): "spectrograms/SM01/2021-05-24.json",
        results.detections(day): "birdnet/SM01/2021-05-24.parquet",
        results.training_windows: "training/windows.parquet",
        experiment.model: "dino/model.safetensors",
        experiment.log: "dino/log.jsonl",
        experiment.embeddings(day): "dino/embeddings/SM01/2021-05-24.zarr",
        results.report: "report.html",
    }
    for path, text in expected.items():
        assert path == Path("results") / text


def test_days_with_receipts_are_sorted_and_real(tmp_path):
    results = Results(tmp_path)
    days = [RecorderDay("b", "2021-05-24"), RecorderDay("a", "2021-05-25")]
    for day in days:
        write_receipt(results.spectrograms_receipt(day), {})
    (tmp_path / "spectrograms" / "a" / ".2021-05-26.json.partial").write_text("x")
    assert results.days_with_receipts() == [days[1], days[0]]
    withdraw(results.spectrograms_receipt(days[0]))
    assert results.days_with_receipts() == [days[1]]


def test_receipts_without_their_data(tmp_path):
    """Of every step; not those that were set aside, nor those whose store stands elsewhere behind a link."""
    results = Results(tmp_path / "results")
    days = [RecorderDay("R", f"2021-05-{day:02}") for day in range(1, 6)]
    whole, lost, aside, linked, broken = days
    space = results.experiment("one")
    steps = [
        (results.spectrograms_receipt, results.spectrograms),
        (results.detections_receipt, results.detections),
        (results.indices_receipt, results.indices),
        (space.embeddings_receipt, space.embeddings),
        (space.assignment_receipt, space.assignment),
    ]
    for receipt_of, data_of in steps:
        for day in days:
            verdict = "set aside" if day == aside else "ok"
            write_receipt(receipt_of(day), {"verdict": verdict})
        data_of(whole).mkdir()
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        data_of(linked).symlink_to(tmp_path / "elsewhere")
        data_of(broken).symlink_to(tmp_path / "nowhere")
    found = results.receipts_without_data([*days, RecorderDay("S", "2021-05-01")], ["one"])
    assert found == [receipt_of(day) for receipt_of, _ in steps for day in (lost, broken)]
    assert results.receipts_without_data([], ["one"]) == []
