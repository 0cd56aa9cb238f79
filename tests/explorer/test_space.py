"""The join of points, clusters, detections and inventory, and the labels over it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import journal_path
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import ConflictError, LabelBook, clean_label
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.explorer.space import NONE, OutputSpace, load
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms.store import SpectrogramStore

from .conftest import DATE, EXPERIMENT, RECORDINGS, WINDOWS, Season, row, write_map

BOX = PolygonRegion(kind="polygon", points=((1.5, -0.5), (4.5, -0.5), (4.5, 1.5), (1.5, 1.5)))
"""Windows 2, 3 and 4 of the recordings 0 and 1."""
IN_BOX = [row(r, w) for r in (0, 1) for w in (2, 3, 4)]


def space_of(season: Season) -> OutputSpace:
    return load(season.results, EXPERIMENT, 3.0)


def book_of(season: Season) -> LabelBook:
    return LabelBook(Journal(journal_path(season.results)), space_of(season))


def labels(book: LabelBook) -> dict[int, str]:
    state = book.state()
    return {int(at): state.names[state.codes[at] - 1] for at in np.flatnonzero(state.codes)}


def test_columns(made: Season) -> None:
    space = space_of(made)
    window = np.tile(np.arange(WINDOWS), 3)
    assert len(space) == 30
    np.testing.assert_array_equal(space.x, window)
    np.testing.assert_array_equal(space.y, np.repeat([0, 1, 2], WINDOWS))
    np.testing.assert_array_equal(space.cluster, window % 3)
    assert space.recorders == ["REC01", "REC02"]
    np.testing.assert_array_equal(space.recorder, np.repeat([0, 0, 1], WINDOWS))
    # 04:59:45 local: the first five windows lie before five o'clock. Then 6 h and 23 h.
    np.testing.assert_array_equal(space.hour, [4] * 5 + [5] * 5 + [6] * WINDOWS + [23] * WINDOWS)
    # The most confident species of each window; wren is the more frequent, so it is code 0.
    assert space.species_names == [("Troglodytes aedon", "House Wren")]
    expected = np.full(30, NONE)
    expected[[2, 3]] = 0
    np.testing.assert_array_equal(space.species, expected)
    np.testing.assert_allclose(space.confidence[[1, 2, 3]], [0, 0.9, 0.7], rtol=1e-6)
    assert [day.recorder for day in space.days] == ["REC01", "REC02"], "REC03 was set aside"


def test_window(made: Season) -> None:
    window = space_of(made).window(row(2, 4))
    assert window == {
        "recorder": "REC02",
        "date": DATE,
        "recording": RECORDINGS[2][0],
        "offset": 4 * 3 * 48_000,
        "start_s": 12.0,
        "time": "2021-05-25T04:00:12.000000Z",
        "known": True,
    }


def test_what_else_is_known_of_windows(made: Season) -> None:
    space = space_of(made)
    assert (space.habitats, space.dates) == (["marsh", "wood"], [DATE])
    np.testing.assert_array_equal(space.habitat, np.repeat([1, 1, 0], WINDOWS))
    np.testing.assert_array_equal(space.date, np.zeros(3 * WINDOWS))
    np.testing.assert_allclose(space.distance, np.tile(0.1 * np.arange(WINDOWS), 3), rtol=1e-6)
    store = SpectrogramStore.open(made.results.spectrograms(RecorderDay("REC02", DATE)))
    np.testing.assert_array_equal(space.activity[2 * WINDOWS :], store.activity)


def test_windows_of_other_length_get_the_best_detection_within(season: Season) -> None:
    # Six-second windows at 0, 6, 12 ... s hold two of BirdNET's each.
    name, rate, _ = RECORDINGS[0]
    paths = season.results.experiment(EXPERIMENT)
    day = RecorderDay("REC01", DATE)
    windows = pl.DataFrame(
        {
            "recording": [name] * 5,
            "offset": np.arange(5) * 6 * rate,
            "x": np.zeros(5, np.float32),
            "y": np.zeros(5, np.float32),
        }
    )
    windows.write_parquet(paths.points(day))
    heard = pl.read_parquet(season.results.detections(day)).with_columns(
        offset=pl.Series([9 * rate, 6 * rate, 3 * rate, 12 * rate])
    )
    heard.write_parquet(season.results.detections(day))
    space = load(season.results, EXPERIMENT, 6.0)
    first = space.species[:5]
    found = [None if code == NONE else space.species_names[code][1] for code in first]
    assert found == ["Field Sparrow", "House Wren", "House Wren", None, None]


def test_recordings_that_the_inventory_does_not_know(season: Season) -> None:
    known = pl.read_parquet(season.results.recordings)
    known.filter(pl.col("recording") != RECORDINGS[1][0]).write_parquet(season.results.recordings)
    space = space_of(season)
    assert set(space.hour[WINDOWS : 2 * WINDOWS].tolist()) == {NONE}
    window = space.window(row(1, 0))
    assert (window["known"], window["start_s"], window["time"]) == (False, None, None)
    assert space.window(row(0, 0))["known"]


def test_noise_is_a_window_without_a_cluster(season: Season) -> None:
    path = season.results.experiment(EXPERIMENT).assignment(RecorderDay("REC01", DATE))
    before = space_of(season).cluster.copy()
    noisy = pl.when(pl.col("cluster") == 1).then(-1).otherwise("cluster").cast(pl.Int32)
    pl.read_parquet(path).with_columns(noisy.alias("cluster")).write_parquet(path)
    after = space_of(season).cluster
    changed = before != after
    assert set(before[changed]) == {1} and set(after[changed]) == {NONE}


def test_map_without_clusters_and_detections(season: Season) -> None:
    paths = season.results.experiment(EXPERIMENT)
    for recorder in ("REC01", "REC02"):
        paths.assignment(RecorderDay(recorder, DATE)).unlink()
    paths.clusters_receipt.unlink()
    season.results.detections(RecorderDay("REC01", DATE)).unlink()
    space = space_of(season)
    assert set(space.cluster.tolist()) == set(space.species.tolist()) == {NONE}
    with pytest.raises(ValueError, match="no clusters"):
        book_of(season).label(ClusterRegion(kind="cluster", cluster=1), "x", "ada")


def test_label_applies_to_all_members_at_once(season: Season) -> None:
    book = book_of(season)
    entry = book.label(BOX, "  House\n Wren ", "ada")
    assert (entry.members, entry.label, entry.who) == (6, "House Wren", "ada")
    assert (entry.map, entry.clusters, entry.experiment) == ("projection-1", "fit-1", EXPERIMENT)
    assert labels(book) == dict.fromkeys(IN_BOX, "House Wren")
    # Read again from the disk alone.
    assert labels(book_of(season)) == labels(book)


def test_the_last_label_holds_and_undo_brings_the_other_back(season: Season) -> None:
    book = book_of(season)
    wren = book.label(BOX, "wren", "ada")
    rain = book.label(ClusterRegion(kind="cluster", cluster=0), "rain", "bo")
    in_cluster = {row(r, w): "rain" for r in range(3) for w in (0, 3, 6, 9)}
    both = dict.fromkeys(IN_BOX, "wren") | in_cluster
    assert labels(book) == both
    cleared = book.label(BOX, None, "ada")
    assert labels(book) == {at: name for at, name in in_cluster.items() if at not in IN_BOX}
    book.undo(cleared.id, "ada")
    assert labels(book) == both
    book.undo(rain.id, "ada")
    assert labels(book) == dict.fromkeys(IN_BOX, "wren")
    book.redo(rain.id, "ada")
    assert labels(book) == both
    book.undo(wren.id, "ada")  # not the last one
    assert labels(book) == in_cluster
    with pytest.raises(ConflictError):
        book.undo(wren.id, "bo")
    assert labels(book_of(season)) == in_cluster


def test_two_explorers_see_each_others_labels(season: Season) -> None:
    one, other = book_of(season), book_of(season)
    one.label(BOX, "wren", "ada")
    assert labels(other) == dict.fromkeys(IN_BOX, "wren")
    entry = other.label(ClusterRegion(kind="cluster", cluster=1), "owl", "bo")
    assert labels(one) == labels(other)
    one.undo(entry.id, "ada")
    assert labels(other) == dict.fromkeys(IN_BOX, "wren")


def test_labels_of_another_map_are_kept_and_not_applied(season: Season) -> None:
    book = book_of(season)
    book.label(BOX, "wren", "ada")
    book.label(ClusterRegion(kind="cluster", cluster=2), "owl", "ada")
    owls = {row(r, w): "owl" for r in range(3) for w in (2, 5, 8)}
    write_map(season.results, projection="projection-2")
    state = book_of(season).state()
    assert (labels(book_of(season)), state.elsewhere) == (owls, 1)
    write_map(season.results, projection="projection-1", clusters="fit-2")
    state = book_of(season).state()
    assert (labels(book_of(season)), state.elsewhere) == (dict.fromkeys(IN_BOX, "wren"), 1)
    write_map(season.results)
    assert labels(book_of(season)) == dict.fromkeys(IN_BOX, "wren") | owls


def test_windows_of_a_new_day_inherit_region_labels(season: Season) -> None:
    book_of(season).label(BOX, "wren", "ada")
    paths = season.results.experiment(EXPERIMENT)
    day = RecorderDay("REC02", DATE)
    points = pl.read_parquet(paths.points(day)).with_columns(y=pl.lit(0.25, pl.Float32))
    points.write_parquet(paths.points(day))
    late = {row(2, window): "wren" for window in (2, 3, 4)}
    assert labels(book_of(season)) == dict.fromkeys(IN_BOX, "wren") | late


def test_an_empty_region_is_refused_and_nothing_written(season: Season) -> None:
    book = book_of(season)
    far = PolygonRegion(kind="polygon", points=((90, 90), (91, 90), (91, 91)))
    with pytest.raises(ValueError, match="no window"):
        book.label(far, "wren", "ada")
    assert not season.journal.exists()


@pytest.mark.parametrize("text", ["", "  \n", "a" * 201, "a\x00b", "\x1b[31m"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(ValueError, match="label"):
        clean_label(text)


def test_a_damaged_or_missing_result_is_one_line(season: Season) -> None:
    season.results.recordings.unlink()
    with pytest.raises(DawnChorusError, match="dawnchorus scan"):
        space_of(season)
