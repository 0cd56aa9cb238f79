"""Figures: what is drawn is what the tables say."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dawnchorus.config import Experiment
from dawnchorus.report import attention, maps, style, training
from dawnchorus.report.windows import Pictures, contrast


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, to look at their axes."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        figures.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    monkeypatch.setattr(style.plt, "close", lambda figure: None)
    return figures


def points() -> pl.DataFrame:
    random = np.random.default_rng(2)
    place = random.normal(size=(1000, 2)).astype(np.float32)
    place[:3] = (500.0, 500.0)
    return pl.DataFrame(
        {
            "x": place[:, 0],
            "y": place[:, 1],
            "cluster": np.arange(1000, dtype=np.int32) % 5,
            "species": ["wren"] * 300 + ["none"] * 600 + ["rail"] * 100,
            "recorder": ["A"] * 500 + ["B"] * 500,
            "hour": np.arange(1000) % 24,
        }
    )


def draw(tmp_path):
    paths = {
        f"by_{what}": tmp_path / f"{what}.png"
        for what in ("cluster", "species", "recorder", "hour")
    }
    maps.draw_maps(points(), "umap", species_source="annotations", **paths)
    return paths


def test_maps_show_every_window_of_a_name_and_say_what_lies_outside(drawn, tmp_path):
    draw(tmp_path)
    by_species = drawn[1].axes[0]
    shown = {c.get_label(): len(c.get_offsets()) for c in by_species.collections}
    assert shown == {"none": 600, "wren": 300, "rail": 100}
    assert "3 of 1,000 windows lie outside" in by_species.get_xlabel()
    assert "distances are not to scale" in by_species.get_xlabel()
    assert max(map(abs, by_species.get_xlim())) < 10
    by_cluster = drawn[0].axes[0]
    assert sorted(text.get_text() for text in by_cluster.texts) == list("01234")


def test_the_same_points_are_the_same_bytes(tmp_path):
    (tmp_path / "again").mkdir()
    first, second = draw(tmp_path), draw(tmp_path / "again")
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()
        assert Image.open(path).size[0] > 900


def test_training_curves_are_the_logs(drawn, tmp_path):
    log = tmp_path / "log.jsonl"
    entries = [
        {"step": step, "loss": 3.0 / step, "teacher_entropy": 2.0, "embedding_std": 0.5,
         "learning_rate": 1e-3 * step, "batch": "ab"}
        for step in range(1, 51)
    ]  # fmt: skip
    entries[10]["loss"] = None
    log.write_text("\n".join(json.dumps(entry) for entry in entries) + "\n")
    columns = training.read_log(log)
    assert columns["step"].tolist() == list(range(1, 51))
    assert math.isnan(columns["loss"][10])
    training.draw_training(columns, Experiment(), tmp_path / "training.png")
    loss, entropy, _, rate = drawn[0].axes
    assert loss.lines[0].get_ydata()[1] == 1.5
    assert rate.lines[0].get_ydata().tolist() == columns["learning_rate"].tolist()
    # Where nothing would be learned: the logarithm of the number of prototypes.
    assert entropy.lines[-1].get_ydata()[0] == pytest.approx(math.log(32_768))


def test_a_methods_own_curves_are_drawn_with_its_own_landmarks(drawn, tmp_path):
    steps = np.arange(1.0, 51.0)
    columns = {"step": steps, "loss": 20 / steps, "variance": 0.9 / steps, "learning_rate": steps}
    experiment = Experiment(method="vicreg", vicreg={"variance": 10.0, "epsilon": 0.01})
    training.draw_training(columns, experiment, tmp_path / "training.png")
    loss, variance, _, _ = drawn[0].axes
    assert loss.lines[-1].get_ydata()[0] == pytest.approx(10 * 0.9)  # 1 less the root of epsilon
    assert variance.lines[0].get_ydata().tolist() == columns["variance"].tolist()
    assert variance.lines[-1].get_ydata()[0] == pytest.approx(0.9)


def test_attention_is_shown_between_its_least_and_its_most():
    heads = np.linspace(0.001, 0.1, 128).reshape(8, 16)
    strength = attention._strength(heads)
    assert (strength[0, 0], strength[-1, -1]) == (0.0, 1.0)
    assert attention._strength(np.full((8, 16), 0.01)).max() == 0.0


def test_hertz_ticks_lie_at_their_bands():
    pictures = Pictures(np.zeros((1, 5, 4)), np.array([250.0, 500.0, 1000.0, 3000.0, 5000.0]), 3.0)
    rows, names = pictures.hertz_ticks()
    assert (rows, names) == ([1.0, 2.0, 2.5, 3.5], ["500", "1k", "2k", "4k"])


def test_contrast_spans_at_least_35_decibels():
    assert contrast(np.full((8, 8), -90.0)) == (-90.0, -55.0)
    low, high = contrast(np.linspace(-100, 0, 1001).reshape(7, 143))
    assert (low, high) == (pytest.approx(-95.0), pytest.approx(-0.2))
