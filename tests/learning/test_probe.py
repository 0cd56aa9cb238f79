"""The online probe: grouped neighbours as scikit-learn finds them, labels that are there, no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.neighbors import KNeighborsClassifier

from dawnchorus.learning import backbone, probe
from dawnchorus.learning.scale import counted, of_counts
from dawnchorus.results import RecorderDay, Results

from .toy import song_windows

COLUMNS = {"recording": pl.String, "time": pl.Datetime("us"), "species": pl.String}


def objects(values) -> np.ndarray:
    return np.array(list(values), dtype=object)


def test_neighbours_are_scikit_learns_outside_the_own_group():
    random = np.random.default_rng(0)
    kind, group = random.integers(0, 4, 300), random.integers(0, 12, 300)
    x = (
        random.normal(size=(300, 10))
        + 1.5 * np.eye(4, 10)[kind]
        + 2 * random.normal(size=(12, 10))[group]
    )
    target = probe.target("kind", objects(kind), objects(group))
    assert len(target.kept) == 300

    z = (x - x.mean(axis=0)) / x.std(axis=0)
    right = 0
    for train, test in LeaveOneGroupOut().split(z, kind, group):
        model = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(
            z[train], kind[train]
        )
        right += (model.predict(z[test]) == kind[test]).sum()
    ours = probe.neighbour_accuracy(torch.from_numpy(x), target, 5)
    assert ours == pytest.approx(right / 300)
    # What is excluded is leakage: with every window its own group the answer is better.
    leaky = probe.target("kind", objects(kind), objects(range(300)))
    assert probe.neighbour_accuracy(torch.from_numpy(x), leaky, 5) != ours


def test_a_label_that_only_the_group_knows_is_not_found():
    """Windows of a group are alike and have one label: all that could be read out is leakage."""
    random = np.random.default_rng(1)
    group = np.repeat(np.arange(20), 10)
    label = random.permutation(np.arange(20) % 2)[group]
    x = torch.from_numpy(10 * random.normal(size=(20, 8))[group] + random.normal(size=(200, 8)))
    target = probe.target("day", objects(label), objects(group))
    assert probe.neighbour_accuracy(x, target, 5) < 0.75
    alone = probe.target("day", objects(label), objects(range(200)))
    assert probe.neighbour_accuracy(x, alone, 5) > 0.95


def test_chance_is_the_vote_of_windows_drawn_outside_the_own_group():
    """A recorder's own day does not vote: of two days each, a fifth of the others are its own."""
    recorder, day = np.repeat(np.arange(3), 200), np.repeat(np.arange(6), 100)
    target = probe.target("recorder", objects(recorder), objects(day))
    assert probe.chance(target, 1) == pytest.approx(1 / 5, abs=0.02)
    assert probe.chance(target, 101) < 0.01  # so many vote that the other two outvote it
    # Two classes of 9 to 1 in every group: five votes name the rare one if three or more are of it.
    kind = np.tile(np.arange(10) == 0, 60)
    rare = probe.target("kind", objects(kind), objects(day))
    three = scipy.stats.binom.sf(2, 5, 0.1)
    assert probe.chance(rare, 5) == pytest.approx(0.9 * (1 - three) + 0.1 * three, abs=0.01)
    assert probe.chance(rare, 5) == probe.chance(rare, 5)


def test_classes_of_one_group_only_and_windows_without_a_label_are_left_out():
    labels = objects(["a", "a", "b", "b", "rare", None, "a"])
    groups = objects([1, 2, 1, 3, 4, 4, 2])
    target = probe.target("species", labels, groups)
    assert target.kept.tolist() == [0, 1, 2, 3, 6]
    assert target.label.tolist() == [0, 0, 1, 1, 0]
    assert probe.target("species", objects(["a", "a", None]), objects([1, 2, 3])) is None
    assert probe.target("species", objects([None] * 3), objects([1, 2, 3])) is None
    # Two classes in the same two groups: each window has one neighbour at most, and five are asked.
    few = probe.target("few", objects("abab"), objects([1, 1, 2, 2]))
    x = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]])
    assert probe.neighbour_accuracy(x, few, 1) == 1.0
    assert 0 <= probe.neighbour_accuracy(x, few, 5) <= 1


def table_of(rows: list[tuple[str, str, str, int]], seconds: float = 3.0) -> pl.DataFrame:
    """Rows of a training set: recorder, date, recording, number of the window."""
    start = np.datetime64("2021-06-01T04:00:00", "us")
    return pl.DataFrame(
        {
            "recorder": [row[0] for row in rows],
            "date": [row[1] for row in rows],
            "recording": [row[2] for row in rows],
            "offset": [round(row[3] * seconds * 44_100) for row in rows],
            "time": np.array(
                [start + np.timedelta64(round(row[3] * seconds * 1e6), "us") for row in rows]
            ),
        },
    )


def detect(results: Results, day: RecorderDay, rows: list[tuple[str, float, str, float]]) -> None:
    """Detections: recording, second of the start, species, confidence."""
    path = results.detections(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = np.datetime64("2021-06-01T04:00:00", "us")
    times = [start + np.timedelta64(round(row[1] * 1e6), "us") for row in rows]
    pl.DataFrame(
        {
            "recording": [row[0] for row in rows],
            "time": np.array(times),
            "species": [row[2] for row in rows],
            "confidence": [row[3] for row in rows],
        },
        schema=COLUMNS | {"confidence": pl.Float32},
    ).write_parquet(path)


def test_a_window_has_the_species_that_birdnet_is_surest_of(tmp_path):
    results = Results(tmp_path)
    table = table_of(
        [("A", "d1", "A/1", n) for n in (0, 1, 2, 3)]
        + [("A", "d1", "A/2", 0), ("B", "d1", "B/1", 0)]
    )
    detect(
        results,
        RecorderDay("A", "d1"),
        [
            ("A/1", 0.0, "wren", 0.6),
            ("A/1", 0.0, "robin", 0.9),
            ("A/1", 3.0, "wren", 0.2),  # not sure enough
            ("A/1", 6.0, "tit", 0.3),
            ("A/2", 3.0, "tit", 0.9),  # another window
        ],
    )
    assert probe.species(results, table, 3.0).tolist() == ["robin", None, "tit", None, None, None]
    # Windows of another length: the BirdNET window that holds the middle.
    halves = table_of([("A", "d1", "A/1", n) for n in (0, 1, 2, 4, 5)], seconds=1.5)
    assert probe.species(results, halves, 1.5).tolist() == ["robin", "robin", None, "tit", "tit"]


def test_a_table_that_cannot_be_read_costs_the_labels_and_no_more(tmp_path, capsys):
    results = Results(tmp_path)
    path = results.detections(RecorderDay("A", "d1"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no parquet")
    table = table_of([("A", "d1", "A/1", 0)])
    assert probe.species(results, table, 3.0).tolist() == [None]
    assert "the online probe goes on without" in capsys.readouterr().err


def test_targets_are_those_that_two_groups_share(tmp_path):
    results = Results(tmp_path)
    days = [("A", "d1"), ("A", "d2"), ("B", "d1"), ("B", "d2")]
    table = table_of([(*day, f"{day[0]}/{day[1]}", n) for day in days for n in (0, 1300)])
    hour, recorder = probe.targets(results, table, 3.0)
    assert (hour.name, recorder.name) == ("hour", "recorder")
    assert hour.label.tolist() == [0, 1] * 4  # 04:00 and 05:05 UTC
    # One recorder-day alone: recordings are the groups, and there is one recorder only.
    alone = table_of([("A", "d1", f"A/{n % 2}", n) for n in (0, 1, 1300, 1301)])
    [hour] = probe.targets(results, alone, 3.0)
    assert hour.name == "hour" and len(set(hour.group.tolist())) == 2


def test_the_sample_is_the_same_each_time_and_no_more_than_there_are():
    rows = probe.sample_rows(1000, 50, 7)
    assert rows.tolist() == probe.sample_rows(1000, 50, 7).tolist() == sorted(set(rows.tolist()))
    assert rows.tolist() != probe.sample_rows(1000, 50, 8).tolist()
    assert probe.sample_rows(30, 50, 7).tolist() == list(range(30))


def test_embedding_is_the_products_and_leaves_no_trace(tmp_path: Path):
    codes, kind = song_windows(60, 0, 32, 64)
    scale = of_counts(counted(codes, "contrast"), -120.0, 0.5, "contrast")
    torch.manual_seed(0)
    network = backbone.build("vit_nano", 16, 32, 64, drop_path=0.5).train()
    network.blocks[1].eval()  # a mode of its own
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    generator = torch.get_rng_state()

    target = probe.target("kind", objects(kind), objects(range(60)))
    probed = probe.Probe(codes, (target,), scale, 5)
    embeddings = probed.embed(network, "cls+max", torch.device("cpu"))
    found = probed.measure(network, "cls+max", torch.device("cpu"))
    assert set(found) == {"rankme", "rankme_centred", "knn_kind", "knn_kind_chance"}
    assert found["knn_kind_chance"] == probe.chance(target, 5) and 1 < found["rankme"] < 60

    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in network.modules()] == modes
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    x = scale.normalised(scale.decibels(torch.from_numpy(codes)))
    with torch.no_grad():
        expected = backbone.features(network.eval(), x, "cls+max")
    assert torch.allclose(embeddings, expected, atol=1e-5)
