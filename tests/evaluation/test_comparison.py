"""The one table of all spaces: which is called best, and that it says what the tidy tables say."""

from __future__ import annotations

import polars as pl
import pytest

from dawnchorus.evaluation.comparison import (
    MEASURES,
    TRUTH,
    Figure,
    Measure,
    compare,
    read_tables,
    standings,
    write_comparison,
)
from report.compared import season_tables, write_tables


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        # Above all others: best, and nobody else has a standing.
        ({"a": (0.8, 0.75, 0.85), "b": (0.7, 0.66, 0.74)}, {"a": "best"}),
        # An interval that reaches the best's, be it by touching: not alone.
        (
            {"a": (0.8, 0.75, 0.85), "b": (0.7, 0.65, 0.75), "c": (0.5, 0.45, 0.55)},
            {"a": "highest", "b": "level"},
        ),
        # The highest value is not the one with the highest bound.
        ({"a": (0.8, 0.79, 0.81), "b": (0.7, 0.5, 0.9)}, {"a": "highest", "b": "level"}),
        # The interval of the highest reaches down to chance (0.2): nobody is best at nothing.
        ({"a": (0.3, 0.2, 0.4), "b": (0.1, 0.05, 0.15)}, {}),
        # The highest has no interval: no standings; the other has none: it cannot be told apart from anything.
        ({"a": (0.8, None, None), "b": (0.7, 0.6, 0.75)}, {}),
        ({"a": (0.8, 0.75, 0.85), "b": (0.3, None, None)}, {"a": "highest"}),
        # Nothing to compare with; not measured is not compared.
        ({"a": (0.8, 0.75, 0.85)}, {}),
        ({"a": (0.8, 0.75, 0.85), "b": (None, None, None)}, {}),
        ({}, {}),
    ],
)
def test_best_is_said_only_where_the_intervals_allow_it(figures, expected):
    told = {name: Figure(*values, chance=0.2) for name, values in figures.items()}
    assert standings(told, told) == expected


def test_who_is_not_in_the_contest_has_no_standing_and_takes_none_away():
    figures = {
        "taught": Figure(0.9, 0.85, 0.95),
        "a": Figure(0.7, 0.65, 0.75),
        "b": Figure(0.5, 0.4, 0.6),
    }
    assert standings(figures, ["a", "b"]) == {"a": "best"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    write_tables(folder, season_tables(missing="vicreg_vitb16"))
    comparison = compare(read_tables(folder), outside=["vicreg_vits16"])
    return folder, comparison, write_comparison(folder, comparison)


def test_a_row_per_space_with_the_figures_of_the_tidy_tables(written):
    folder, comparison, frame = written
    probes = pl.read_parquet(folder / "probes.parquet")
    agreement = pl.read_parquet(folder / "agreement.parquet")
    assert frame["space"].to_list()[:5] == [
        *("dino_vits16", "dino_vitb16", "vicreg_vits16", "vicreg_vitb16", "log-mel"),
    ]
    assert frame["space"].to_list()[-2:] == ["birdnet", "chance"]
    assert (comparison.group, comparison.confidence) == ("recorder_day", 0.5)
    mel = frame.row(by_predicate=pl.col("space") == "log-mel", named=True)
    for key, target, probe, split in (
        ("species_linear", "species", "linear", "grouped"),
        ("species_neighbours_leaky", "species", "5-nearest neighbours", "leaky"),
        ("birdnet_linear", "birdnet species at 0.5", "linear", "grouped"),
        ("recorder_linear", "recorder", "linear", "grouped"),
        ("hour_linear_leaky", "hour", "linear", "leaky"),
    ):
        row = probes.row(
            by_predicate=(pl.col("space") == "log-mel")
            & (pl.col("target") == target)
            & (pl.col("probe") == probe)
            & (pl.col("split") == split)
            & (pl.col("group") == "recorder_day")
            & pl.col("shots").is_null(),
            named=True,
        )
        bounds = (mel[key], mel[f"{key}_low"], mel[f"{key}_high"])
        assert bounds == (row["value"], row["low"], row["high"]), key
    for key, labels in (
        ("species_clusters_ami", "annotations"),
        ("birdnet_clusters_ami", "birdnet"),
    ):
        row = agreement.row(
            by_predicate=(pl.col("space") == "log-mel")
            & (pl.col("labels") == labels)
            & (pl.col("confidence").is_null() | (pl.col("confidence") == 0.5))
            & (pl.col("unlabelled") == "left out"),
            named=True,
        )
        assert mel[key] == row["value"], key
    chance = frame.row(-1, named=True)
    assert chance["species_linear"] == 0.2 and chance["week_linear"] == 0.1
    assert chance["species_clusters_ami"] == pytest.approx(0.004)
    cost = frame.row(by_predicate=pl.col("space") == "dino_vitb16", named=True)
    assert (cost["gpu_hours"], cost["windows_per_second"]) == (4 * 6.9, 980.0)
    told = pl.read_csv(folder / "comparison.tsv", separator="\t")
    assert told.columns == frame.columns and len(told) == len(frame)
    assert "NaN" not in (folder / "comparison.tsv").read_text()


def test_standings_leave_out_who_learned_from_labels_and_nuisance(written):
    _, comparison, frame = written
    standing = dict(frame.select("space", "species_linear_standing").iter_rows())
    assert standing["dino_vitb16"] == "highest" and standing["dino_vits16"] == "level"
    # Told to be outside, supervised, and far below.
    assert {standing[name] for name in ("vicreg_vits16", "birdnet", "log-mel")} == {None}
    assert not any(
        column.startswith("recorder") and "standing" in column for column in frame.columns
    )
    gone = next(space for space in comparison.spaces if space.name == "vicreg_vitb16")
    assert gone.note == "not trained"
    assert all(figure.value is None for figure in gone.figures.values())


def test_without_any_table_there_is_nothing_and_no_error(tmp_path):
    comparison = compare(read_tables(tmp_path))
    assert comparison.spaces == () and not any(map(comparison.measured, MEASURES))
    assert comparison.why_not(Measure(TRUTH, "linear")) == "not measured"
    assert write_comparison(tmp_path, comparison)["space"].to_list() == ["chance"]
