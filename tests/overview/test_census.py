"""What there is, counted; and its picture, read back."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from dawnchorus.overview.census import Census, count, last_line
from dawnchorus.overview.graph import dot, quoted
from dawnchorus.overview.status import holder, status
from dawnchorus.overview.trainings import line_of, training_of
from dawnchorus.results import RecorderDay, Results

from .season import DAYS, inventory, settings_of, write

STRING = r'"((?:[^"\\]|\\.)*)"'


@pytest.fixture
def results(tmp_path) -> Results:
    """Four recorder-days: two done, one set aside, one failed; BirdNET begun with one."""
    results = Results(tmp_path / "results")
    inventory(results)
    for day, verdict in zip(DAYS, ["ok", "partial", "set aside"], strict=False):
        write(results.spectrograms_receipt(day), {"verdict": verdict})
    failed = results.root / "logs" / "spectrograms" / "B" / "2021-05-25.log"
    write(failed, "reading\ndawnchorus: the disk is full\n\n")
    write(results.root / "logs" / "birdnet" / "A" / "2021-05-24.log", "model loaded\n")
    return results


def read_dot(text: str):
    """Nodes with their labels, edges and clusters of a graph; every line must be one of these."""
    nodes, edges, clusters = {}, set(), []
    for line in text.splitlines()[1:-1]:
        if node := re.fullmatch(rf'\s+{STRING} \[label={STRING}, fillcolor="#\w{{6}}"\];', line):
            nodes[node[1]] = node[2]
        elif edge := re.fullmatch(rf"\s+{STRING} -> {STRING};", line):
            edges.add((edge[1], edge[2]))
        elif label := re.fullmatch(rf"\s+label={STRING};", line):
            clusters.append(re.sub(r"\\(.)", r"\1", label[1]))
        else:
            assert re.fullmatch(
                r"  rankdir=LR;|  node \[.*\];|  subgraph cluster_\d+ \{|  \}", line
            ), line
    return nodes, edges, clusters


def test_states_per_step_and_recorder(tmp_path, results):
    census = count(settings_of(tmp_path), results)
    assert census.days == DAYS
    spectrograms = census.per_recorder["spectrograms_day", None]
    assert spectrograms == {
        "A": Counter(done=2), "B": Counter({"set aside": 1, "failed": 1}),
    }  # fmt: skip
    assert census.total(("birdnet_day", None)) == Counter(begun=1, waiting=3)
    assert census.total(("embed_day", "one")) == Counter(waiting=4)
    assert census.single["scan", None] == "done"
    assert census.single["train_experiment", "one"] == "waiting"
    assert census.failures == [(("spectrograms_day", None), DAYS[3], "the disk is full")]


def test_the_graph_has_a_node_per_step_and_recorder(tmp_path, results):
    text = dot(count(settings_of(tmp_path), results))
    assert text.startswith("digraph season {\n") and text.endswith("}\n")
    nodes, edges, clusters = read_dot(text)
    assert clusters == ["A", "B"]
    assert len(nodes) == 13 + 2 * 4
    assert nodes["spectrograms_day/A"] == r"spectrograms\n2 of 2 recorder-days done"
    assert nodes["spectrograms_day/B"] == (
        r"spectrograms\n0 of 2 recorder-days done, 1 set aside, 1 failed"
    )
    assert nodes["embed_day/one/A"] == r"embeddings (one)\n0 of 2 recorder-days done, 2 pending"
    assert nodes["scan"] == r"inventory\ndone"
    assert {edge for edge in edges if "spectrograms_day/A" in edge} == {
        ("scan", "spectrograms_day/A"),
        ("spectrograms_day/A", "sample"),
        ("spectrograms_day/A", "embed_day/one/A"),
    }
    assert {name for edge in edges for name in edge} == set(nodes)


def test_experiments_are_apart(tmp_path, results):
    both = {"one": {"recipe": "none"}, "two": {"recipe": "none"}}
    nodes, edges, _ = read_dot(dot(count(settings_of(tmp_path, experiments=both), results)))
    assert len(nodes) == 5 + 2 * 8 + 2 * (2 + 2 * 2)
    assert not any(("/one" in a and "/two" in b) or ("/two" in a and "/one" in b) for a, b in edges)


@tried(max_examples=40, deadline=None)
@given(
    st.sets(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1, max_size=3
    )
)
def test_any_recorder_can_be_drawn(recorders):
    days = [RecorderDay(recorder, "2021-05-24") for recorder in sorted(recorders)]
    counts = {day.recorder: Counter(done=1) for day in days}
    nodes, _, clusters = read_dot(dot(Census(days, {("spectrograms_day", None): counts})))
    assert clusters == sorted(recorders)
    assert set(nodes) == {quoted(f"spectrograms_day/{recorder}")[1:-1] for recorder in recorders}


def test_status_line_by_line(tmp_path, results):
    days = [[day.recorder, day.date] for day in DAYS[:3]]
    write(results.training_receipt, {"edition": 1, "windows": 40, "pool": days})
    told = status(settings_of(tmp_path), results)
    assert told[:-1] == [
        f"{results.root}: no workflow is at work on this machine",
        "recorder-days               done  set aside  begun  failed  waiting  of",
        "spectrograms                   2          1      0       1        0   4",
        "BirdNET                        0          0      1       0        3   4",
        "embeddings (one)               0          0      0       0        4   4",
        "clusters: assignment (one)     0          0      0       0        4   4",
        "done: inventory, training set",
        "waiting: training (one), clusters: fit (one), statistics of the space (one), map: fit (one), "
        "map: placement (one), attention (one), outliers (one), evaluation, figures (one), "
        "figures of the evaluation, report",
        "failed: spectrograms B/2021-05-25: the disk is full",
        "training of one: not begun",
        "training set: 1 of 4 recorder-days is not in the training set (25.0 %)",
    ]
    assert re.fullmatch(r"disk: [\d.]+ kB in results, [\d.,]+ [GT]B free", told[-1])


def test_status_says_that_a_workflow_is_at_work(tmp_path, results):
    import os

    lock = results.hold()
    try:
        told = status(settings_of(tmp_path), results)
        assert told[0] == f"{results.root}: a workflow is at work (process {os.getpid()})"
        assert "running" in told[1] and "begun" not in told[1]
    finally:
        lock.release()
    assert holder(results.root / ".workflow.lock") is None


def test_status_writes_nothing_and_needs_nothing(tmp_path):
    results = Results(tmp_path / "results")
    told = status(settings_of(tmp_path), results)
    assert told[1] == "no inventory yet"
    assert told[-1].startswith("disk: 0 bytes in results, ")
    assert list(tmp_path.iterdir()) == []


def test_the_holder_of_a_lock_is_found_by_its_inode(tmp_path):
    lock, table = tmp_path / "lock", tmp_path / "locks"
    lock.touch()
    state = lock.stat()
    import os

    device = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}"
    table.write_text(
        f"1: POSIX  ADVISORY  WRITE 11 {device}:{state.st_ino} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 12 {device}:{state.st_ino + 1} 0 EOF\n"
        f"3: -> FLOCK  ADVISORY  WRITE 13 {device}:{state.st_ino} 0 EOF\n"
        f"4: FLOCK  ADVISORY  WRITE 14 {device}:{state.st_ino} 0 EOF\n"
    )
    assert holder(lock, table) == 14
    assert holder(tmp_path / "none", table) is None
    assert holder(lock, tmp_path / "no table") is None


def test_how_far_a_training_is(tmp_path):
    paths = Results(tmp_path).experiment("one")
    assert line_of("one", training_of(paths)) == "training of one: not begun"
    lines = [
        '{"step": 100, "epoch": 1.0, "loss": 4.5, "windows_per_second": 50.0, "warning": "it waits"}',
        '{"step": 200, "epoch": 2.0, "loss": 3.25, "windows_per_second": 100.0}',
        '{"step": 300, "epoch": 3.0, "loss": 3.125, "windows_per_second": 150.0, "alarm": "alike"}',
        '{"step": 4',
    ]
    write(paths.log, "\n".join(lines))
    recipe = {"windows": 1050, "settings": {"batch_size": {"value": 10}, "epochs": {"value": 20}}}
    write(paths.recipe, recipe)
    written = paths.log.stat().st_mtime
    training = training_of(paths, now=written + 120)
    # 20 epochs of 105 steps; 1,800 steps of 10 windows at 100 windows/s are left.
    assert (training.step, training.total, training.left_s) == (300, 2100, 180.0)
    assert training.concerns == ("warning at step 100: it waits", "alarm at step 300: alike")
    assert line_of("one", training) == (
        "training of one: step 300 of 2,100 (epoch 3.0), loss 3.125, 100 windows/s, "
        "about 3 min left, last line 2 min ago"
    )
    write(paths.model, "weights")
    assert line_of("one", training_of(paths, now=time.time())).endswith("100 windows/s, finished")


@tried(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"])), max_size=5))
def test_the_last_line_that_says_anything(tmp_path_factory, lines):
    log = tmp_path_factory.mktemp("log") / "log"
    log.write_text("\n".join(lines), encoding="utf-8")
    said = [line for line in lines if line]
    # Only the end of a long line is read.
    assert last_line(log) == (said[-1] if said else "")
    assert last_line(log.with_name("none")) is None
