"""Labels go out and come back the same; what others wrote finds its windows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import open_book
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.regions import ClusterRegion, WindowsRegion
from dawnchorus.exports.audacity import Label, write_labels
from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.recordings.table import read_recordings, write_recordings
from dawnchorus.results import Results
from dawnchorus.sharing.importing import import_labels
from dawnchorus.sharing.tables import export_tables
from explorer.conftest import DATE, EXPERIMENT, RECORDINGS, Season, row

KEPT = {
    "parquet": ["label", "who", "when"],
    "raven": ["label", "who", "when"],
    "camtrap-dp": ["label", "who", "second"],
    "birdnet-csv": ["label", "who"],
    "audacity": ["label"],
}
"""What a format has room for, beside the windows themselves."""


@pytest.fixture(scope="module")
def shared(made: Season, tmp_path_factory: pytest.TempPathFactory) -> Season:
    """A season whose journal each example replaces, with a place for its recorders."""
    root = tmp_path_factory.mktemp("shared")
    shutil.copytree(made.results.root, root / "results")
    results = Results(root / "results")
    rows = read_recordings(results.recordings)
    write_recordings(
        results.recordings, [one._replace(latitude=41.5, longitude=-88.1) for one in rows]
    )
    return Season(made.root, made.settings, results, made.sounds)


def table(season: Season, out: Path) -> pl.DataFrame:
    """The labels as the export gathers them."""
    export_tables(season.settings, season.results, out, "labels", EXPERIMENT, ["parquet"])
    rows = pl.read_parquet(out / "labels" / EXPERIMENT / "labels.parquet")
    return rows.with_columns(second=pl.col("when").dt.truncate("1s")).sort("recording", "offset")


def name_windows(book: LabelBook, names: list[str | None], who: list[str]) -> None:
    for label, by in sorted({pair for pair in zip(names, who, strict=True) if pair[0]}):
        rows = [at for at, pair in enumerate(zip(names, who, strict=True)) if pair == (label, by)]
        windows = book.members.windows(np.array(rows))
        book.label(WindowsRegion(kind="windows", windows=windows), label, by)


LABELS = st.one_of(
    st.sampled_from(
        ["House Wren", "Troglodytes aedon", "house wren", "noise: rain", "50 % a|b", "-", "\\"]
    ),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
)


@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_import_of_an_export_is_what_was_exported(shared: Season, tmp_path_factory, data) -> None:
    choose = data.draw(st.lists(LABELS, min_size=1, max_size=4))
    names = data.draw(st.lists(st.sampled_from([None, *choose]), min_size=30, max_size=30))
    who = data.draw(st.lists(st.sampled_from(["ada", "bo é"]), min_size=30, max_size=30))
    names[7] = choose[0]
    shared.journal.unlink(missing_ok=True)
    name_windows(open_book(shared.results), names, who)
    root = tmp_path_factory.mktemp("round")
    export_tables(shared.settings, shared.results, root, "labels", EXPERIMENT, list(KEPT))
    exported = table(shared, root / "before")
    assert exported.height == sum(name is not None for name in names)
    folder = root / "labels" / EXPERIMENT
    for form, kept in KEPT.items():
        shared.journal.unlink()
        counts = import_labels(shared.results, open_book(shared.results), folder, form, "importer")
        assert (counts["windows"], counts["unknown"], counts["missed"]) == (exported.height, 0, 0)
        again = table(shared, root / form)
        columns = ["recording", "offset", "start_s", "end_s", *kept]
        assert_frame_equal(again.select(columns), exported.select(columns))
        twice = import_labels(shared.results, open_book(shared.results), folder, form, "importer")
        assert (twice["windows"], twice["entries"]) == (0, 0)


def test_somebody_elses_selections_find_the_windows_they_cover(
    season: Season, tmp_path: Path
) -> None:
    name = RECORDINGS[2][0]
    path = tmp_path / "20210524_230000.selections.txt"
    write_selections(
        path,
        [
            Selection(3.2, 4.0, 1000, 2000, {"Species": "wren"}),  # a song inside window 1
            Selection(8.0, 13.4, 1000, 2000, {"Species": "owl"}),  # all of 3, not half of 2 and 4
            Selection(17.9, 24.0, 1000, 2000, {"Species": "rain"}),  # 6 and 7; 0.1 s of 5
            Selection(
                21.5, 22.0, 1000, 2000, {"Species": "lark"}
            ),  # inside 7, which rain has more of
            Selection(27.0, 30.0, 1000, 2000, {"Species": ""}),
            Selection(99.0, 100.0, 1000, 2000, {"Species": "wren"}),
        ],
    )
    book = open_book(season.results)
    counts = import_labels(season.results, book, path, "raven", "cy")
    assert counts == {"rows": 6, "empty": 1, "unknown": 0, "missed": 1, "windows": 4, "entries": 3}
    state = book.state()
    found = {int(at): state.names[state.codes[at] - 1] for at in np.flatnonzero(state.codes)}
    assert found == {row(2, 1): "wren", row(2, 3): "owl", row(2, 6): "rain", row(2, 7): "rain"}
    (entry, *_) = state.standing
    assert (entry.who, entry.imported.format, entry.imported.file) == ("cy", "raven", path.name)

    # A person's lasso afterwards leaves what was named window by window.
    book.label(ClusterRegion(kind="cluster", cluster=0), "frog", "ada")
    assert book.state().names[book.state().codes[row(2, 3)] - 1] == "owl"

    # Two recordings of one name part: which is meant cannot be known, and is not guessed.
    strange = tmp_path / "other.labels.txt"
    write_labels(strange, [Label(0, 3, "wren")])
    with pytest.raises(DawnChorusError, match="none of its 1 rows names a window"):
        import_labels(season.results, book, strange, "audacity", "cy")
    strange.write_text("0.0\tx\twren\n")
    with pytest.raises(DawnChorusError, match="line 1 is no label"):
        import_labels(season.results, book, strange, "audacity", "cy")
    with pytest.raises(DawnChorusError, match="no such file"):
        import_labels(season.results, book, tmp_path / "none", "raven", "cy")
    assert name and DATE
