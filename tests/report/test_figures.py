"""Figures: what is drawn is what the tables say."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dawnchorus.report import maps, training
from dawnchorus.report.attention_window import strength
from dawnchorus.report.windows import Pictures, contrast


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


def draw(tmp_path, method="umap"):
    paths = {
        f"by_{what}": tmp_path / f"{what}.png"
        for what in ("cluster", "species", "recorder", "hour")
    }
    maps.draw_maps(points(), method, species_source="annotations", **paths)
    return paths


def test_maps_show_every_window_of_a_name_and_say_what_lies_outside(drawn, tmp_path):
    draw(tmp_path)
    by_species = drawn[1].axes[0]
    shown = {c.get_label(): len(c.get_offsets()) for c in by_species.collections}
    assert shown == {"none": 600, "wren": 300, "rail": 100}
    assert "3 of 1,000 windows lie outside" in by_species.get_xlabel()
    assert "distances are not the space's" in by_species.get_xlabel()
    assert max(map(abs, by_species.get_xlim())) < 10
    by_cluster = drawn[0].axes[0]
    assert sorted(text.get_text() for text in by_cluster.texts) == list("01234")


def test_noise_has_no_number_and_each_method_says_what_it_does_not_show(
    drawn, tmp_path, monkeypatch
):
    noisy = points().with_columns(cluster=pl.col("cluster") - 1)
    monkeypatch.setattr(f"{__name__}.points", lambda: noisy)
    for method, told in (("tsne", "t-SNE"), ("pca", "PCA")):
        drawn.clear()
        draw(tmp_path, method)
        axes = drawn[0].axes[0]
        assert sorted(text.get_text() for text in axes.texts) == list("0123")
        assert told in axes.get_xlabel()
        assert ("distances" if method == "tsne" else "need not be near") in axes.get_xlabel()


def test_the_same_points_are_the_same_bytes(tmp_path):
    (tmp_path / "again").mkdir()
    first, second = draw(tmp_path), draw(tmp_path / "again")
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()
        assert Image.open(path).size[0] > 900


def curves(tmp_path, **figures):
    """A log of 50 steps with these figures, read back."""
    log = tmp_path / "log.jsonl"
    entries = [
        {"step": step, "loss": 3.0 / step, "learning_rate": 1e-3 * step, "batch": "ab"}
        | {key: value(step) for key, value in figures.items()}
        for step in range(1, 51)
    ]
    entries[10]["loss"] = None
    log.write_text("\n".join(json.dumps(entry) for entry in entries) + "\n")
    return training.read_log(log)


def panels(figure: Figure) -> dict:
    titles = {axes.get_title(loc="left"): axes for axes in figure.axes}
    return {title.split(",")[0].split(":")[0]: axes for title, axes in titles.items() if title}


def test_training_curves_are_the_logs(drawn, tmp_path):
    columns = curves(
        tmp_path,
        teacher_entropy=lambda step: 2.0,
        teacher_uniform_kl=lambda step: math.log(32_768) - 2.0,
        teacher_information=lambda step: 0.5,
        embedding_std=lambda step: 0.5,
        prototypes_used=lambda step: None if step < 5 else 0.75,
        rankme=lambda step: 12.0 + step if step % 10 == 0 else None,
        knn_hour=lambda step: 0.4 if step % 10 == 0 else None,
        knn_hour_chance=lambda step: 0.125 if step % 10 == 0 else None,
        windows_per_second=lambda step: 100.0,
        data_wait_share=lambda step: 0.01,
        monitor_share=lambda step: 0.02,
    )
    assert columns["step"].tolist() == list(range(1, 51))
    assert math.isnan(columns["loss"][10])
    training.draw_training(columns, tmp_path / "training.png")
    shown = panels(drawn[0])
    assert list(shown) == [
        *("loss", "teacher", "spread of the embeddings", "RankMe", "prototypes in use"),
        *("neighbours name right (dotted", "schedules", "pace"),
    ]
    # Where nothing would be learned: the logarithm of the number of prototypes.
    for panel in ("loss", "teacher"):
        assert shown[panel].lines[-1].get_ydata()[0] == pytest.approx(math.log(32_768))
    assert shown["loss"].lines[0].get_ydata()[1] == 1.5
    assert shown["RankMe"].lines[0].get_xdata().tolist() == [10, 20, 30, 40, 50]
    assert shown["RankMe"].lines[0].get_ydata()[-1] == 62.0
    hour, chance = shown["neighbours name right (dotted"].lines
    assert hour.get_ydata().tolist() == [0.4] * 5 and chance.get_ydata()[0] == 0.125
    rate = shown["schedules"].lines[0]
    assert rate.get_ydata().tolist() == (columns["learning_rate"] / 0.05).tolist()
    assert rate.get_label() == "learning rate (1 is 0.05)"


def test_a_method_without_a_teacher_has_its_own_figures_and_no_empty_panel(drawn, tmp_path):
    columns = curves(tmp_path, variance=lambda step: 0.3, output_std=lambda step: 0.9)
    training.draw_training(columns, tmp_path / "training.png")
    shown = panels(drawn[0])
    assert list(shown) == ["loss", "the method's own figures", "schedules"]
    labels = [line.get_label() for line in shown["the method's own figures"].lines]
    assert [label for label in labels if label[0] != "_"] == ["output std", "variance"]


def test_attention_is_shown_between_its_least_and_its_most():
    heads = np.linspace(0.001, 0.1, 128).reshape(8, 16)
    shown = strength(heads)
    assert (shown[0, 0], shown[-1, -1]) == (0.0, 1.0)
    assert strength(np.full((8, 16), 0.01)).max() == 0.0


def test_hertz_ticks_lie_at_their_bands():
    pictures = Pictures(np.zeros((1, 5, 4)), np.array([250.0, 500.0, 1000.0, 3000.0, 5000.0]), 3.0)
    rows, names = pictures.hertz_ticks()
    assert (rows, names) == ([1.0, 2.0, 2.5, 3.5], ["500", "1k", "2k", "4k"])


def test_contrast_spans_at_least_35_decibels():
    assert contrast(np.full((8, 8), -90.0)) == (-90.0, -55.0)
    low, high = contrast(np.linspace(-100, 0, 1001).reshape(7, 143))
    assert (low, high) == (pytest.approx(-95.0), pytest.approx(-0.2))
