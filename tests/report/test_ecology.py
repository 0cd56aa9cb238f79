"""Ecology's pictures: rates, intervals and onsets of a season that was generated, so that they are known."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dawnchorus.clustering.season_counts import DAWN_STEP
from dawnchorus.config import Settings
from dawnchorus.report.ecology import NOT_RECORDED, draw_ecology, ordered, sun_sentence
from dawnchorus.report.onset import MEDIAN, onset, onsets
from dawnchorus.report.rates import by_habitat, rates
from dawnchorus.results import ECOLOGY_TABLES, EXPERIMENT_FIGURES

from .counted import ONSET, PER_HOUR, season

CARDS = pl.DataFrame(
    {
        "cluster": [0, 1, 2, 3],
        "suggestion": ["song or calls, dawn", "insects, night", "wind", "rain"],
    }
)
TROMSO = (69.65, 18.96)


@pytest.fixture(scope="module")
def counts():
    return season()


def drawn(counts, folder, monkeypatch) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    save = Figure.savefig

    def keep(self, path, **options):
        figures[path.name.removeprefix(".").removesuffix(".partial")] = self
        return save(self, path, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    settings = Settings.model_validate({"evaluation": {"bootstrap": 50}})
    draw_ecology(settings, CARDS, counts, lambda name: folder / name)
    return figures


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.findobj(Text)]
    return " ".join(texts)


def test_rates_are_minutes_per_recorded_hour(counts):
    table = rates(counts, "date", "hour")
    assert (table["minutes_per_hour"] <= 60).all()
    # What is recorded and not heard is zero; what is not recorded has no row.
    assert table.filter(pl.col("hour").is_between(9, 11)).height == 0
    night = table.filter((pl.col("what") == "cluster") & (pl.col("name") == "1"))
    assert night.height == 12 * 21
    assert (night.filter(pl.col("hour").is_between(12, 15))["minutes_per_hour"] == 0).all()
    for row in night.filter(pl.col("hour") == 2).to_dicts():
        assert row["recorded_windows"] == 3 * PER_HOUR
        assert row["minutes_per_hour"] == pytest.approx(
            60 * row["windows"] / (3 * PER_HOUR), abs=1e-4
        )
    whole = table.filter(pl.col("what") == "cluster").group_by("date", "hour").agg(
        pl.col("minutes_per_hour").sum()
    )  # fmt: skip
    assert whole["minutes_per_hour"].to_numpy() == pytest.approx(60, abs=1e-2)


def test_habitats_differ_as_planted_and_the_interval_holds_the_truth():
    # Four recorders, 20 days: the first habitat sings twice as much, cluster 1 is the same in both.
    counts = season(days=20, recorders=4, clusters=3)
    table = by_habitat(counts, resamples=200, seed=0)
    told = {
        (row["name"], row["habitat"]): row
        for row in table.filter(pl.col("what") == "cluster").to_dicts()
    }
    song, quiet = told["0", "open grassland"], told["0", "canopy"]
    assert song["recorder_days"] == quiet["recorder_days"] == 40
    assert (song["recorders"], song["recorded_windows"]) == (2, 40 * 21 * PER_HOUR)
    assert song["low"] > quiet["high"]
    for row in told.values():
        assert row["low"] <= row["minutes_per_hour"] <= row["high"]
        assert row["minutes_per_hour"] == pytest.approx(
            60 * row["windows"] / row["recorded_windows"], abs=1e-4
        )
    night = [told["1", habitat] for habitat in ("open grassland", "canopy")]
    assert night[0]["low"] < night[1]["high"] and night[1]["low"] < night[0]["high"]
    wren = table.filter((pl.col("what") == "species") & (pl.col("habitat") == "canopy")).to_dicts()[
        0
    ]
    assert wren["minutes_per_hour"] == quiet["minutes_per_hour"]


def test_one_recorder_day_has_a_rate_and_no_interval():
    table = by_habitat(season(days=1, recorders=1), resamples=50, seed=0)
    assert table["minutes_per_hour"].is_not_null().all()
    assert table["low"].is_null().all() and table["high"].is_null().all()


def test_planted_onsets_come_back(counts):
    table = onsets(counts)
    for measure in ("detections", "activity"):
        own = table.filter(pl.col("measure") == measure)
        single = own.filter(pl.col("recorder") != MEDIAN)
        assert single.height == 36
        # Of 200 windows per step each; three recorders together are nearer.
        assert (single["onset_minutes"] - ONSET).abs().max() < 7
        assert not single["at_the_latest"].any()
        together = own.filter(pl.col("recorder") == MEDIAN)
        assert together["date"].to_list() == [
            (dt.date(2021, 5, 24) + dt.timedelta(days=day)).isoformat() for day in range(12)
        ]
        assert (together["onset_minutes"] - ONSET).abs().max() < 5
        assert together["onset_minutes"][0] == pytest.approx(
            single.filter(pl.col("date") == "2021-05-24")["onset_minutes"].median(), abs=0.06
        )


def morning(middle: float, *, floor: float = 0.02, windows: int = 1000):
    step = np.arange(-120, 180, DAWN_STEP)
    rate = floor + 0.6 / (1 + np.exp(-(step + DAWN_STEP / 2 - middle) / 8))
    return step, np.rint(rate * windows), np.full(len(step), float(windows))


@pytest.mark.parametrize("middle", [-63.0, -40.0, -5.0, 12.0, 47.0])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_an_onset_does_not_depend_on_what_calls_all_night(middle, floor):
    found = onset(*morning(middle, floor=floor))
    assert found.minutes == pytest.approx(middle, abs=2.5)
    assert found.gap == DAWN_STEP
    assert found.before == pytest.approx(floor, abs=0.01)


def test_an_onset_that_was_not_recorded_is_not_made_up():
    step, calls, windows = morning(-40.0)
    late = step >= 0
    found = onset(step[late], calls[late], windows[late])
    assert (found.minutes, found.note) == (None, "no rise around sunrise")
    some = step >= -40
    found = onset(step[some], calls[some], windows[some])
    assert found.at_the_latest and found.minutes == -35.0
    away = (step < -70) | (step > 0)
    found = onset(step[away], calls[away], windows[away])
    assert (found.minutes, found.note) == (None, "the rise was not recorded")
    few = step < -80
    assert (
        onset(step[few], calls[few], windows[few]).note == "too little was recorded around sunrise"
    )
    assert onset(step, calls * 0 + 0.1, windows).note == "too few calls"
    flat = onset(step, np.full(len(step), 300.0), windows)
    assert (flat.minutes, flat.note) == (None, "no rise around sunrise")


def test_what_is_drawn_is_what_the_tables_say(counts, tmp_path, monkeypatch):
    figures = drawn(counts, tmp_path, monkeypatch)
    assert set(figures) == {name for name in EXPERIMENT_FIGURES if name.startswith("ecology")}
    assert {path.name for path in tmp_path.iterdir()} == set(figures) | set(ECOLOGY_TABLES)
    hours = figures["ecology_hours.png"]
    panels = {axes.get_title(loc="left"): axes for axes in hours.axes if axes.images}
    raster = panels["1  insects, night"].images[0].get_array()
    assert raster.shape == (24, 12)
    # Hours without a recording are blank, and the page below them is not the colour of zero.
    assert np.isnan(raster.filled(np.nan)[9:12]).all()
    assert not np.isnan(raster.filled(np.nan)[[0, 8, 12, 23]]).any()
    assert to_hex(panels["1  insects, night"].get_facecolor()) == NOT_RECORDED
    table = pl.read_parquet(tmp_path / "ecology_hours.parquet")
    row = table.filter(
        (pl.col("name") == "1") & (pl.col("date") == "2021-05-26") & (pl.col("hour") == 2)
    )
    assert raster[2, 2] == row["minutes_per_hour"][0]
    rise, sets = panels["1  insects, night"].lines
    assert rise.get_ydata()[0] * 60 == pytest.approx(counts.suns["rise"][0], abs=0.01)
    assert sets.get_ydata()[0] > 20
    # The Sedge Wren is heard around sunrise alone.
    wren = next(a for a in figures["ecology_species.png"].axes if a.images).images[0].get_array()
    assert np.nanargmax(np.nansum(wren.filled(np.nan), axis=1)) == 5
    recorders = next(a for a in figures["ecology_recorders.png"].axes if a.images)
    np.testing.assert_allclose(recorders.images[0].get_array().sum(axis=1), 1, atol=1e-3)
    assert any("open grassland" in label.get_text() for label in recorders.get_yticklabels())
    assert "no position" not in words(hours)
    told = pl.read_csv(tmp_path / "ecology_dawn.tsv", separator="\t")
    assert told.height == pl.read_parquet(tmp_path / "ecology_dawn.parquet").height == 96


def test_without_positions_and_habitats_everything_else_is_drawn(tmp_path, monkeypatch):
    counts = season(days=2, recorders=2, place=None, habitats=(None,))
    figures = drawn(counts, tmp_path, monkeypatch)
    assert "No deployment has a position" in words(figures["ecology_hours.png"])
    assert [axes for axes in figures["ecology_hours.png"].axes if axes.images]
    assert not any(axes.lines for axes in figures["ecology_hours.png"].axes if axes.images)
    assert "No deployment has a position" in words(figures["ecology_dawn.png"])
    assert "No deployment says its habitat" in words(figures["ecology_habitats.png"])
    assert pl.read_csv(tmp_path / "ecology_dawn.tsv", separator="\t").height == 0
    again = tmp_path / "again"
    draw_ecology(Settings(), CARDS, counts, lambda name: again / name)
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes() == (again / path.name).read_bytes()
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(2**24)) > 20


def test_a_polar_summer_has_its_sentence(tmp_path, monkeypatch):
    counts = season(days=2, recorders=1, place=TROMSO)
    assert sun_sentence(counts) == (
        "At the recorders' positions the sun does not rise and set on these dates (polar day)."
    )
    figures = drawn(counts, tmp_path, monkeypatch)
    assert "polar day" in words(figures["ecology_dawn.png"])
    assert "polar day" in words(figures["ecology_hours.png"])
    half = season(days=6, recorders=1, place=TROMSO, first=dt.date(2021, 5, 16))
    assert "polar day on some dates" in sun_sentence(half)


def test_like_stands_beside_like():
    matrix = np.array([[9.0, 0, 0], [0, 9, 0], [8, 1, 0], [0, 8, 1]])
    order = ordered(matrix)
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert ordered(matrix[:2]) == [0, 1]
