"""The frozen training set: spread, seeded, independent of order, and truly frozen."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import training_set
from dawnchorus.results import RecorderDay, Results, fingerprint
from dawnchorus.spectrograms.store import SpectrogramStore

from .stores import STRIDE, season, write_day

DATES = [f"2021-05-{day:02d}" for day in range(24, 28)]
RECORDERS = ["AM01", "BAR2", "SM03"]


def asked(**training) -> config.Settings:
    return config.validate({"training_set": {"windows": 48, "seed": 1, **training}})


@pytest.fixture
def results(tmp_path) -> Results:
    """3 recorders x 4 days x 4 hours of 10 windows: 48 strata, 480 windows."""
    found = Results(tmp_path)
    season(found, RECORDERS, DATES, hours={4: 10, 5: 10, 6: 10, 19: 10})
    return found


def strata(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("recorder", "date", pl.col("time").dt.hour().alias("hour")).len()


def test_one_window_of_each_stratum_where_that_is_what_is_asked(results):
    receipt = training_set.sample(asked(), results)
    table = training_set.read_table(results)
    assert receipt["windows"] == table.height == 48
    assert strata(table)["len"].to_list() == [1] * 48
    assert table.columns == ["recorder", "date", "recording", "offset", "time", "activity"]
    keys = ["recorder", "date", "recording", "offset"]
    assert table.equals(table.sort(keys)) and not table.select(keys).is_duplicated().any()


def test_rows_name_windows_truly(results):
    training_set.sample(asked(windows=100), results)
    for row in training_set.read_table(results).iter_rows(named=True):
        day = RecorderDay(row["recorder"], row["date"])
        store = SpectrogramStore.open(results.spectrograms(day))
        [index] = store.find([row["recording"]], [row["offset"]])
        assert index >= 0
        assert store.time[index] == np.datetime64(row["time"])
        assert store.activity[index] == np.float32(row["activity"])
        assert row["recording"] == f"{day.recorder}/{day.date}_{row['time'].hour:02d}.wav"
        seconds = row["time"].minute * 60 + row["time"].second + row["time"].microsecond / 1e6
        assert round(seconds / 0.8) * STRIDE == row["offset"]


def test_poor_strata_give_all_and_the_others_make_up_for_it(results):
    write_day(results, RecorderDay("AM01", "2021-06-01"), {4: 2, 5: 40})
    training_set.sample(asked(windows=250), results)
    table = training_set.read_table(results)
    counts = strata(table)
    poor = counts.filter((pl.col("date") == "2021-06-01") & (pl.col("hour") == 4))["len"][0]
    others = counts.filter(~((pl.col("date") == "2021-06-01") & (pl.col("hour") == 4)))["len"]
    assert table.height == 250 and poor == 2
    assert set(others.to_list()) == {5, 6}  # 248 over 49 strata


def test_all_windows_if_the_season_has_fewer(results):
    receipt = training_set.sample(asked(windows=10_000), results)
    assert receipt["windows"] == 480


def test_few_windows_are_spread_over_recorders_days_and_hours(results):
    training_set.sample(asked(windows=12), results)
    table = training_set.read_table(results)
    assert table["recorder"].value_counts()["count"].to_list() == [4, 4, 4]
    assert table["date"].value_counts()["count"].to_list() == [3, 3, 3, 3]
    hours = table["time"].dt.hour().value_counts()["count"]
    assert len(hours) >= 3 and hours.max() <= 7


def test_seed_decides_and_the_order_of_days_does_not(tmp_path):
    drawn = []
    for number, (seed, turned) in enumerate([(1, False), (1, True), (2, False)]):
        results = Results(tmp_path / str(number))
        season(results, RECORDERS, DATES, hours={4: 10, 5: 10})
        days = results.days_with_receipts()
        training_set.sample(asked(seed=seed), results, days[::-1] if turned else days)
        drawn.append((results.training_windows.read_bytes(), results.training_receipt.read_bytes()))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]


def test_which_windows_a_stratum_gives_is_random_not_the_first(results):
    training_set.sample(asked(windows=240), results)
    offsets = training_set.read_table(results)["offset"].to_numpy() // STRIDE
    assert np.bincount(offsets, minlength=10).min() >= 12  # 24 expected of each place


def test_activity_weight_prefers_active_windows_and_hours(results, tmp_path):
    training_set.sample(asked(windows=120), results)
    even = training_set.read_table(results)
    assert even["activity"].mean() == pytest.approx(0.5, abs=0.05)
    training_set.sample(asked(windows=120, activity_weight=3.0), results)
    weighted = training_set.read_table(results)
    # Hours lie at 0-0.25, ... 0.75-1 of the day's rising activity: shares go with the mean cube.
    ranks = (np.arange(480) // 12 + 1) / 40
    mean_cubes = (ranks**3).reshape(4, -1).mean(axis=1)
    # The last hour would get 0.71 x 120 = 85 of its 120 windows, so none is used up.
    expected = 120 * mean_cubes / mean_cubes.sum()
    hours = weighted["time"].dt.hour().to_list()
    counts = [hours.count(hour) for hour in (4, 5, 6, 19)]
    assert counts == pytest.approx(expected.tolist(), abs=6)
    assert weighted["activity"].mean() > 0.75


def test_the_receipt_names_all_days_also_those_set_aside_and_is_deterministic(results):
    write_day(results, RecorderDay("AM01", "2021-06-02"), {})
    receipt = training_set.sample(asked(), results)
    assert ["AM01", "2021-06-02"] in receipt["pool"] and len(receipt["pool"]) == 13
    assert training_set.pool(results) == results.days_with_receipts()
    assert json.loads(results.training_receipt.read_text()) == receipt
    assert {"edition", "seed", "windows", "pool", "parameters", "fingerprint"} <= receipt.keys()
    assert str(results.root) not in results.training_receipt.read_text()


def test_it_stands_when_days_arrive_and_is_drawn_again_when_asked(results, capsys):
    training_set.sample(asked(), results)
    before = results.training_windows.read_bytes(), results.training_receipt.read_bytes()
    write_day(results, RecorderDay("NEW4", "2021-05-24"), {4: 50})
    training_set.sample(asked(), results)
    assert (results.training_windows.read_bytes(), results.training_receipt.read_bytes()) == before
    assert "raise training_set.edition" in capsys.readouterr().err
    training_set.sample(asked(edition=2), results)
    table = training_set.read_table(results)
    assert "NEW4" in table["recorder"].to_list()
    receipt = training_set.sample(asked(edition=2, seed=9), results)
    assert receipt["seed"] == 9


def test_a_table_without_its_receipt_is_drawn_again(results):
    receipt = training_set.sample(asked(), results)
    results.training_receipt.unlink()
    results.training_windows.write_bytes(b"half")
    assert training_set.sample(asked(), results) == receipt


def test_arrays_are_not_read(results, monkeypatch):
    def refuse(self, *_):
        raise AssertionError("codes were read")

    monkeypatch.setattr(SpectrogramStore, "codes", refuse)
    monkeypatch.setattr(SpectrogramStore, "take", refuse)
    training_set.sample(asked(activity_weight=1.0), results)


def test_nothing_to_draw_from_is_one_clear_line(tmp_path, results):
    empty = Results(tmp_path / "empty")
    with pytest.raises(DawnChorusError, match="none of 0 recorder-days has a window"):
        training_set.sample(asked(), empty)
    write_day(empty, RecorderDay("A", "2021-05-24"), {})
    with pytest.raises(DawnChorusError, match="none of 1 recorder-days has a window"):
        training_set.sample(asked(), empty)
    write_day(results, RecorderDay("OLD", "2021-05-24"), {4: 2}, parameters="other")
    with pytest.raises(DawnChorusError, match="OLD/2021-05-24 were made with different"):
        training_set.sample(asked(), results)


def test_codes_come_back_in_the_order_of_the_table(results):
    training_set.sample(asked(windows=60), results)
    table = training_set.read_table(results).sample(fraction=1, shuffle=True, seed=3)
    codes = training_set.load_codes(results, table)
    assert codes.shape == (60, 32, 64) and codes.dtype == np.uint8
    hours = table["time"].dt.hour().replace_strict({4: 0, 5: 10, 6: 20, 19: 30}).to_numpy()
    expected = hours + table["offset"].to_numpy() // STRIDE  # the toy code of a window
    assert np.array_equal(codes[:, 5, 7], expected)


def test_lost_windows_are_left_out_and_counted(results, capsys):
    training_set.sample(asked(), results)
    table = training_set.read_table(results)
    day = RecorderDay("AM01", "2021-05-24")
    shutil.rmtree(results.spectrograms(day))
    write_day(results, day, {4: 10, 6: 10, 19: 10})  # the file of five o'clock is gone
    assert (training_set.find(results, table) < 0).sum() == 1
    frozen = training_set.open_frozen(results)
    assert (frozen.lost, frozen.table.height) == (1, 47)
    assert "1 of 48 windows have lost their source" in capsys.readouterr().err
    out = np.empty((47, 32, 64), np.uint8)
    frozen.fill(out)
    with pytest.raises(DawnChorusError, match="has lost sample"):
        training_set.load_codes(results, table)
    assert (frozen.db_min, frozen.db_step) == (-120.0, 0.5)
    assert frozen.fingerprint != training_set.table_fingerprint(table, "same")
    for other in results.days_with_receipts():
        shutil.rmtree(results.spectrograms(other))
    with pytest.raises(DawnChorusError, match="none of its windows"):
        training_set.open_frozen(results)


def test_spectrograms_made_anew_with_other_settings_are_not_learned_from(results):
    training_set.sample(asked(), results)
    day = RecorderDay("AM01", "2021-05-24")
    shutil.rmtree(results.spectrograms(day))
    write_day(results, day, {4: 10, 5: 10, 6: 10, 19: 10}, parameters="other")
    with pytest.raises(DawnChorusError, match="other settings"):
        training_set.open_frozen(results)


def test_the_fingerprint_is_that_of_the_whole_json_in_any_order_and_type(results):
    receipt = training_set.sample(asked(windows=200), results)
    table = training_set.read_table(results)
    for some in (table, table.sample(fraction=1, shuffle=True, seed=1), table[:1], table[:0]):
        columns = [some[name].to_list() for name in ("recorder", "date", "recording", "offset")]
        expected = fingerprint(["same", *columns])
        assert training_set.table_fingerprint(some, "same") == expected
    frozen = training_set.open_frozen(results)
    assert frozen.fingerprint == receipt["fingerprint"]
    assert frozen.table["recording"].dtype == pl.Categorical
    assert frozen.table.with_columns(pl.col(pl.Categorical).cast(pl.String)).equals(table)
    assert frozen.days == tuple(sorted(frozen.days)) and len(frozen.days) == 12
    for row in range(0, 200, 17):
        store = SpectrogramStore.open(results.spectrograms(frozen.days[frozen.day[row]]))
        assert store.offset[frozen.place[row]] == table["offset"][row]
        assert store.time[frozen.place[row]] == np.datetime64(table["time"][row])


def test_what_is_not_a_training_set_is_said(results):
    with pytest.raises(DawnChorusError, match="is not there; run"):
        training_set.read_table(results)
    results.training_windows.parent.mkdir()
    results.training_windows.write_bytes(b"no table")
    with pytest.raises(DawnChorusError, match="is not a training set"):
        training_set.read_table(results)
