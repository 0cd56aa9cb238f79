"""The rule where labels overlap, what is inherited and heard, conflicts, agreement, meter, names, classifier."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer import concordance as agreement
from dawnchorus.explorer.classifier import Classifier, ClassifierPaths, fit, held_out
from dawnchorus.explorer.explore import open_book
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import ConflictError, LabelBook
from dawnchorus.explorer.meter import meters, seconds_at_work
from dawnchorus.explorer.names import Names
from dawnchorus.explorer.predictions import apply, next_windows, train
from dawnchorus.explorer.regions import (
    ClusterRegion,
    ClustersRegion,
    PolygonRegion,
    Region,
    WindowsRegion,
)
from dawnchorus.results import RecorderDay
from dawnchorus.vectors import WindowTable, write_vectors

from .conftest import DATE, EXPERIMENT, RECORDINGS, WINDOWS, Season, row

BOX = PolygonRegion(kind="polygon", points=((1.5, -0.5), (4.5, -0.5), (4.5, 1.5), (1.5, 1.5)))
IN_BOX = [row(r, w) for r in (0, 1) for w in (2, 3, 4)]


@pytest.fixture(scope="module")
def space(made: Season):
    return open_book(made.results).space


@pytest.fixture
def book(space, tmp_path) -> LabelBook:
    """Labels over the season that is only read, in a journal of the test's own."""
    return LabelBook(Journal(tmp_path / "labels" / "journal.jsonl"), space)


def windows(book: LabelBook, *rows: int) -> WindowsRegion:
    named = book.members.windows(np.array(rows))
    return WindowsRegion(kind="windows", windows=named)


def labels(book: LabelBook) -> dict[int, str]:
    state = book.state()
    return {int(at): state.names[state.codes[at] - 1] for at in np.flatnonzero(state.codes)}


def test_a_window_named_by_itself_keeps_its_name_under_a_later_region(book: LabelBook) -> None:
    book.label(windows(book, 3, 12), "owl", "ada")
    book.label(BOX, "wren", "bo")
    expected = dict.fromkeys(IN_BOX, "wren") | {3: "owl", 12: "owl"}
    assert labels(book) == expected
    cleared = book.label(windows(book, 4), None, "ada")
    assert labels(book) == {at: name for at, name in expected.items() if at != 4}
    assert [(one.id, other.id, count) for one, other, count in book.overlaps()] == [
        (1, 2, 2),
        (3, 2, 1),
    ]
    book.undo(cleared.id, "ada")
    assert labels(book) == expected
    again = LabelBook(Journal(book.journal.path), book.space)
    assert labels(again) == expected


def test_regions_with_conditions_and_exclusions(book: LabelBook) -> None:
    def rows(region: dict) -> list[int]:
        from pydantic import TypeAdapter

        return book.rows(TypeAdapter(Region).validate_python(region)).tolist()

    box = BOX.model_dump()
    both = {"kind": "clusters", "clusters": [0, 1]}
    assert rows(both) == [at for at in range(30) if at % WINDOWS % 3 != 2]
    name, rate, _ = RECORDINGS[0]
    assert rows({**box, "without": {name: [2 * 3 * rate, 7], "none.wav": [0]}}) == IN_BOX[1:]
    assert rows({**box, "where": {"recorders": ["REC02"]}}) == []
    assert rows({**both, "where": {"recorders": ["REC02"], "clusters": [1]}}) == [21, 24, 27]
    # Recording 0 begins at 04:59:45 local, the next at 6 h, the last at 23 h.
    assert rows({**box, "where": {"hours": [5, 5]}}) == []
    assert rows({**box, "where": {"hours": [6, 22]}}) == [12, 13, 14]
    assert rows({**both, "where": {"hours": [23, 4], "clusters": [0]}}) == [0, 3, 20, 23, 26, 29]
    assert rows({**box, "where": {"dates": ["2021-05-25", "2021-06-01"]}}) == []
    assert rows({**box, "where": {"dates": [DATE, DATE], "confidence": [0.8, 1]}}) == [2]
    assert rows({**box, "where": {"species": ["Troglodytes aedon"]}}) == [2, 3]
    book.label(ClusterRegion(kind="cluster", cluster=0), "rain", "ada")
    assert rows({**box, "where": {"unlabelled": True}}) == [2, 4, 12, 14]
    region = PolygonRegion.model_validate({**box, "where": {"unlabelled": True}})
    book.label(region, "wren", "ada")
    assert labels(book)[3] == "rain"
    book.undo(1, "ada")  # what only came second takes the windows that the first gave up
    assert labels(book) == dict.fromkeys(IN_BOX, "wren")


def test_a_region_may_ask_what_earlier_ones_call_its_windows(book: LabelBook) -> None:
    def region(*names: str | None) -> ClustersRegion:
        return ClustersRegion.model_validate(
            {"kind": "clusters", "clusters": [0, 1, 2], "where": {"labels": names}}
        )

    book.label(BOX, "wren", "ada")
    book.label(windows(book, 20, 21), "owl", "ada")
    assert book.rows(region("wren")).tolist() == IN_BOX
    assert book.rows(region("owl")).tolist() == [20, 21]
    others = sorted(set(range(30)) - set(IN_BOX) - {20, 21})
    assert book.rows(region(None)).tolist() == others
    assert book.rows(region("wren", None)).tolist() == sorted([*others, *IN_BOX])
    assert book.rows(region("nobody")).tolist() == []
    finer = book.label(region("wren"), "house wren", "ada")
    assert labels(book) == dict.fromkeys(IN_BOX, "house wren") | {20: "owl", 21: "owl"}
    # It stands for what came before it: its own name does not change whom it holds.
    assert labels(LabelBook(Journal(book.journal.path), book.space)) == labels(book)
    book.label(BOX, None, "ada")
    assert book.rows(region(None)).tolist() == sorted([*others, *IN_BOX])
    book.undo(finer.id, "ada")
    assert labels(book) == {20: "owl", 21: "owl"}


def test_only_what_came_after_a_label_is_inherited(season: Season) -> None:
    paths = season.results.experiment(EXPERIMENT)
    day = RecorderDay("REC02", DATE)
    later = pl.read_parquet(paths.points(day)).with_columns(y=pl.lit(0.25, pl.Float32))
    from dawnchorus.results import read_receipt, write_receipt

    receipt = read_receipt(paths.map_receipt)
    held = receipt["days"].pop("REC02/" + DATE)
    write_receipt(paths.map_receipt, receipt)
    book = open_book(season.results)
    assert len(book.space) == 20, "the day is not there yet"
    first = book.label(BOX, "wren", "ada")
    assert not book.state().inherited.any()
    assert set(first.recordings) == {name for name, *_ in RECORDINGS[:2]}

    receipt["days"]["REC02/" + DATE] = held
    write_receipt(paths.map_receipt, receipt)
    later.write_parquet(paths.points(day))
    book = open_book(season.results)
    late = {row(2, window) for window in (2, 3, 4)}
    assert set(labels(book)) == {*IN_BOX, *late}
    assert set(np.flatnonzero(book.state().inherited)) == late
    # A label that is given when they are there is theirs, and so is one of a single window.
    book.label(windows(book, row(2, 3)), "owl", "ada")
    assert set(np.flatnonzero(book.state().inherited)) == late - {row(2, 3)}
    second = book.label(ClusterRegion(kind="cluster", cluster=2), "rain", "bo")
    assert set(second.recordings) == set(), "they were noted with the label before"
    assert set(np.flatnonzero(book.state().inherited)) == late - {row(2, 3), row(2, 2)}


def test_who_named_windows_meanwhile_is_not_overwritten_unseen(book: LabelBook) -> None:
    other = LabelBook(Journal(book.journal.path), book.space)
    looked = book.state().revision
    other.label(ClusterRegion(kind="cluster", cluster=1), "owl", "bo")
    with pytest.raises(ConflictError, match="bo has meanwhile given 'owl' for 2 of these windows"):
        book.label(BOX, "wren", "ada", seen=looked)
    assert set(labels(book).values()) == {"owl"}
    book.label(BOX, "wren", "ada", seen=book.state().revision)
    looked = book.state().revision
    other.undo(1, "bo")
    # What does not concern these windows, or says the same, is no conflict.
    elsewhere = windows(book, 29)
    book.label(elsewhere, "wren", "ada", seen=looked)
    with pytest.raises(ConflictError, match="taken back 'owl'"):
        book.label(BOX, "wren", "ada", seen=looked)


def test_what_was_heard_is_kept_with_the_label(book: LabelBook) -> None:
    book.hear([2, 3, 29], "ada")
    book.hear([12], "bo")
    assert book.label(BOX, "wren", "ada").heard == 2
    assert set(np.flatnonzero(book.state().heard)) == {2, 3, 12, 29}
    assert set(np.flatnonzero(book.of("bo").heard)) == {12}
    with pytest.raises(ValueError, match="no such window"):
        book.hear([30], "ada")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_replay_in_steps_is_the_replay_of_the_whole(tmp_path_factory, space, seed: int) -> None:
    path = tmp_path_factory.mktemp("steps") / "journal.jsonl"
    book = LabelBook(Journal(path), space)
    rng = np.random.default_rng(seed)
    for step in range(8):
        kind = rng.integers(6)
        try:
            if kind == 0:
                book.undo(int(rng.integers(1, 9)), "w")
            elif kind == 1:
                book.redo(int(rng.integers(1, 9)), "w")
            elif kind == 2:
                book.label(windows(book, *rng.integers(30, size=3)), f"w{step}", "w")
            elif kind == 3:
                book.hear(rng.integers(30, size=2), "w")
            elif kind == 4:
                clusters = tuple(map(int, rng.integers(3, size=2)))
                book.label(ClustersRegion(kind="clusters", clusters=clusters), None, "v")
            else:
                x, y = rng.uniform(0, 9), rng.uniform(0, 2)
                points = ((x - 3, y - 1), (x + 3, y - 1), (x, y + 2))
                asked = [None, {"unlabelled": True}, {"labels": ["w2", "p3", None]}]
                where = asked[rng.integers(3)]
                book.label(
                    PolygonRegion.model_validate({"kind": "polygon", "points": points, "where": where}),
                    f"p{step}", "w",
                )  # fmt: skip
        except (ConflictError, ValueError):
            continue
        stepwise, whole = book.state(), LabelBook(Journal(path), space).state()
        assert stepwise.standing == whole.standing and stepwise.members == whole.members
        for column in ("winner", "codes", "inherited", "heard"):
            np.testing.assert_array_equal(getattr(stepwise, column), getattr(whole, column))


def test_kappa_is_scikit_learns(book: LabelBook) -> None:
    said = {}
    rng = np.random.default_rng(3)
    for who in ("ada", "bo"):
        names = rng.choice(["wren", "owl", "rain"], 30, p=[0.5, 0.3, 0.2])
        if who == "bo":
            names[:15] = said["ada"][:15]
        said[who] = names
        for name in np.unique(names):
            rows = np.flatnonzero(names == name)
            book.label(windows(book, *(rows[rows < 28] if who == "bo" else rows)), name, who)
    found = agreement.concordance(book, "ada", "bo")
    expected = cohen_kappa_score(said["ada"][:28], said["bo"][:28])
    assert (found.windows, found.groups) == (28, 3)
    assert found.kappa == pytest.approx(expected, abs=1e-12)
    assert found.same == pytest.approx(np.mean(said["ada"][:28] == said["bo"][:28]))
    assert found.low <= found.kappa <= found.high
    assert found.pairs["windows"].sum() == 28
    nobody = agreement.concordance(book, "ada", "cy")
    assert (nobody.windows, nobody.kappa, nobody.same) == (0, None, None)


def test_meter(book: LabelBook, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = datetime(2021, 6, 1, 8, tzinfo=UTC)
    clock = iter(begin + timedelta(seconds=at) for at in (0, 10, 20, 1000))
    monkeypatch.setattr("dawnchorus.explorer.labels.now", lambda: next(clock))
    book.hear([2, 12], "ada")
    book.label(BOX, "wren", "ada")
    book.hear([14, 28], "ada")
    book.label(windows(book, 14), "owl", "ada")  # after a pause: she heard an owl
    (found,) = meters(book)
    # 30 s before the first deed, 20 s of work, a pause, 30 s before the next.
    assert (found.who, found.seconds, found.windows) == ("ada", 80.0, 6)
    assert found.per_hour == pytest.approx(6 * 3600 / 80)
    assert (found.heard, found.judged, found.kept) == (3, 3, 2)
    assert found.low < found.kept_share < found.high
    assert seconds_at_work([]) == 0


def test_names_are_completed() -> None:
    heard = [("Troglodytes aedon", "House Wren"), ("Spizella pusilla", "Field Sparrow")]
    names = Names(heard)
    assert names.complete("hou")[0] == ("House Wren", "Troglodytes aedon")
    assert names.complete("spiz")[0].label == "Field Sparrow"
    assert ("noise: rain", None) in names.complete("rain")
    assert names.complete("wren", ["my wren call"])[0].label == "my wren call"
    assert names.spelled("house wren") == "House Wren"
    assert names.spelled("WIND in trees", ["wind in trees"]) == "wind in trees"
    assert names.spelled("something else") == "something else"
    assert names.complete("qqqq") == []


def write_embeddings(season: Season) -> np.ndarray:
    """Vectors that tell a window's number within its recording apart: 4 dimensions."""
    parts = []
    for recorder in ("REC01", "REC02"):
        held = [(name, rate) for name, rate, _ in RECORDINGS if name.startswith(recorder)]
        at = np.tile(np.arange(WINDOWS), len(held))
        rng = np.random.default_rng(len(held))
        vectors = np.stack([np.cos(at), np.sin(at), at % 3, at // 5], axis=1).astype(np.float32)
        vectors += rng.normal(0, 0.05, vectors.shape).astype(np.float32)
        table = WindowTable(
            [name for name, _ in held],
            np.repeat(np.arange(len(held), dtype=np.int32), WINDOWS),
            np.concatenate([np.arange(WINDOWS) * 3 * rate for _, rate in held]),
            np.zeros(len(at), "datetime64[us]"),
        )
        path = season.results.experiment(EXPERIMENT).embeddings(RecorderDay(recorder, DATE))
        write_vectors(path, [vectors], dimension=4, windows=table, attributes={})
        parts.append(vectors)
    return np.concatenate(parts)


def test_classifier(season: Season) -> None:
    book = open_book(season.results)
    with pytest.raises(DawnChorusError, match="takes two"):
        train(season.results, book)
    vectors = write_embeddings(season)
    for cluster, name in ((0, "wren"), (1, "owl")):
        book.label(ClusterRegion(kind="cluster", cluster=cluster), name, "ada")
    book.label(windows(book, row(2, 2), row(2, 5)), "rain", "ada")
    receipt = train(season.results, book)
    assert (receipt["labels"], receipt["windows"]) == (["wren", "owl", "rain"], 23)
    folder = ClassifierPaths.of(season.results, EXPERIMENT).folder
    table = pl.read_parquet(folder / "held_out.parquet")
    assert table["note"].to_list() == ["", "", "in one recording only: not tested"]
    assert table["precision"].is_null().to_list() == [False, False, True]

    # What is to be heard next was not named; apply says the same of the same windows.
    unsure = next_windows(season.results, book, None)
    assert set(unsure["row"]) == {row(r, w) for r in (0, 1, 2) for w in (2, 5, 8)} - {
        row(2, 2),
        row(2, 5),
    }
    assert unsure["margin"].is_sorted()
    likely = next_windows(season.results, book, "rain")
    assert likely["probability"].is_sorted(descending=True)
    said = apply(season.results, book)
    assert said["windows"] == sum(said["labels"].values()) == 30
    written = pl.concat(
        pl.read_parquet(path)
        for path in sorted(
            ClassifierPaths.of(season.results, EXPERIMENT).predictions.glob("*/*.parquet")
        )
    )
    model = Classifier.read(folder)
    expected = model.probabilities(vectors)
    assert written["label"].to_list() == [model.labels[at] for at in expected.argmax(axis=1)]
    np.testing.assert_allclose(written["probability"], expected.max(axis=1), rtol=1e-12)
    assert_frame_equal(next_windows(season.results, book, "rain"), likely)
    book.hear([likely["row"][0]], "ada")
    assert next_windows(season.results, book, "rain").height == likely.height - 1


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_and_held_out_figures_are_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(classes)
    target = rng.integers(classes, size=240)
    vectors = (rng.normal(size=(240, 6)) + 1.2 * np.eye(6)[target]).astype(np.float32)
    names = [f"label {at}" for at in range(classes)]
    ours = fit(names, vectors, target).probabilities(vectors)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, tol=1e-3))
    pipeline.fit(vectors, target)
    np.testing.assert_allclose(ours, pipeline.predict_proba(vectors), atol=1e-6)

    recording = rng.integers(12, size=240)
    table = held_out(names, vectors, target, recording, seed=5)
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=5)
    predicted = cross_val_predict(pipeline, vectors, target, groups=recording, cv=folds)
    precision, recall, *_ = precision_recall_fscore_support(target, predicted, zero_division=0)
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["recall"], recall)
    assert (table["precision_low"] < table["precision"]).all()
    assert (table["recall"] <= table["recall_high"]).all()
