"""The season counted: silence by each recorder's own floor, night by the sun, and counts that can be counted by hand."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from dawnchorus.clustering.season_counts import TABLES, SeasonCounts, count_season
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import Results, write_receipt
from explorer.conftest import EXPERIMENT
from report.described import DAYS, Described, describe, windows_of


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> Described:
    return describe(tmp_path_factory.mktemp("season"))


@pytest.fixture(scope="module")
def counts(described: Described) -> SeasonCounts:
    return count_season(described.results, EXPERIMENT, DAYS, 3.0)


def empty(**tables: list[tuple]) -> SeasonCounts:
    return SeasonCounts(
        **{
            name: pl.DataFrame(tables.get(name, []), schema=schema, orient="row")
            for name, schema in TABLES.items()
        }
    )


def test_silence_is_each_recorders_own():
    levels = [
        # A quiet recorder: 5 % of its windows are at -70 dB or below.
        ("A", 0, -70, True, 5),
        ("A", 0, -64, True, 20),
        ("A", 0, -63, True, 30),
        ("A", 1, -70, False, 1),
        ("A", 1, -50, True, 44),
        # A loud one: what is silence here would not be there.
        ("B", 0, -50, True, 10),
        ("B", 1, -44, True, 10),
        ("B", 1, -43, True, 10),
        # One that never heard anything quiet.
        ("C", 2, -20, True, 7),
    ]
    assert empty(levels=levels).silence() == {0: (35, 65), 1: (10, 65), 2: (0, 7)}
    assert empty().silence() == {}


def test_hours_hold_every_window_once(counts: SeasonCounts):
    every = pl.concat(windows_of(day.recorder) for day in DAYS)
    assert counts.hours["windows"].sum() == every.height == 30
    told = {
        (row["recorder"], row["date"], row["hour"], row["cluster"]): row["windows"]
        for row in counts.hours.to_dicts()
    }
    # 4:59:45 local, ten windows of 3 s: five before the hour, five after it.
    assert told["REC01", "2021-05-24", 4, 0] == 2
    assert told["REC01", "2021-05-24", 5, 0] == 2
    assert told["REC01", "2021-05-24", 4, -1] == 1
    assert told["REC02", "2021-05-24", 23, 1] == 3
    assert counts.hours.group_by("recorder").agg(pl.col("heard").sum()).sort("recorder").rows() == [
        ("REC01", 20),
        ("REC02", 0),
    ]


def test_clusters_are_sums(counts: SeasonCounts):
    every = pl.concat(windows_of(day.recorder) for day in DAYS)
    for row in counts.clusters.to_dicts():
        own = every.filter(pl.col("cluster") == row["cluster"])
        assert (row["windows"], row["measured"]) == (own.height, own.height)
        assert row["distance"] == pytest.approx(own["distance"].sum(), abs=1e-5)
        assert row["looked"] == own.height
    # The wren of confidence 0.7 and 0.9 and the sparrows of 0.4 and 0.2, in windows 2 and 3.
    assert dict(counts.clusters.select("cluster", "detected").iter_rows()) == {-1: 1, 0: 1, 1: 0}


def test_detections_count_in_ecology_from_a_confidence_on(counts: SeasonCounts):
    assert sorted(counts.species_hours.select("common_name", "hour", "windows").iter_rows()) == [
        ("Field Sparrow", 4, 1),
        ("House Wren", 4, 2),
    ]
    assert counts.species.filter(pl.col("common_name") == "Field Sparrow")["windows"].sum() == 2


def test_minutes_from_sunrise(counts: SeasonCounts):
    (rise,) = counts.suns.filter(pl.col("recorder") == "REC01")["rise"].to_list()
    assert rise == pytest.approx(5 * 60 + 22, abs=1.5)
    steps = {
        row["step"]: (row["windows"], row["heard"], row["detected"])
        for row in counts.dawn.filter(pl.col("recorder") == "REC01").to_dicts()
    }
    # 4:59:45 is 22 min before sunrise, 6:00 is 38 min after it; windows 2 and 3 are confident.
    assert steps == {-30: (10, 10, 2), 30: (10, 10, 0)}
    assert counts.dawn.filter(pl.col("recorder") == "REC02").height == 0


def test_without_a_position_night_is_by_the_clock(described: Described, tmp_path):
    shutil.copytree(described.results.root, tmp_path / "results")
    results = Results(tmp_path / "results")
    rows = [
        Recording(**row)._replace(latitude=None, longitude=None)
        for row in pl.read_parquet(results.recordings).to_dicts()
    ]
    write_recordings(results.recordings, rows)
    counts = count_season(results, EXPERIMENT, DAYS, 3.0)
    assert (counts.suns.height, counts.dawn.height) == (0, 0)
    # 21 to 5 h: half of the first recording, all of the last.
    assert counts.clusters["night"].sum() == 5 + 10
    assert counts.clusters["dawn"].sum() == 0
    # A store that is gone is silence unknown, not silence.
    shutil.rmtree(results.spectrograms(DAYS[1]))
    counts = count_season(results, EXPERIMENT, DAYS, 3.0)
    assert counts.levels["windows"].sum() == 20
    assert counts.clusters["looked"].sum() == 20


def test_assigned_to_other_clusters(described: Described):
    paths = described.results.experiment(EXPERIMENT)
    write_receipt(paths.clusters_receipt, {"fingerprint": "fit-2", "k": 2})
    with pytest.raises(DawnChorusError, match="other clusters"):
        count_season(described.results, EXPERIMENT, DAYS, 3.0)
    write_receipt(paths.clusters_receipt, {"fingerprint": "fit-1", "k": 2})
