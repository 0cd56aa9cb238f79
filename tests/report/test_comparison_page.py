"""The page of the comparison: it says what the tables say, in words too, and says what is missing."""

from __future__ import annotations

import re

import polars as pl
import pytest

from dawnchorus.evaluation.comparison import MEASURES, compare, read_tables
from dawnchorus.evaluation.tables import write_tables
from dawnchorus.report import comparison_figures, confusion
from dawnchorus.report.comparison_page import write_page
from dawnchorus.report.comparison_words import summary

from .compared import season_tables, settings_for, write_season

CELL = re.compile(
    r'<td class="figure" data-space="([^"]+)" data-key="([^"]+)">(.*?)</td>', re.DOTALL
)


def cells(page: str) -> dict[tuple[str, str], list[str]]:
    """What is written in the cells of the tables of spaces: value, standing, interval."""
    return {
        (space, key): [text for text in re.split(r"<[^>]*>|\s{2,}|\n", content) if text.strip()]
        for space, key, content in CELL.findall(page)
    }


def plain(sentences) -> str:
    return re.sub(r"<[^>]+>", "", "\n".join(map(str, sentences)))


def test_the_page_says_what_the_table_says(compared):
    _, results = compared
    season, _, clips = results.comparison_page.read_text().partition('<section id="part-2">')
    shown, table = cells(season), pl.read_parquet(results.comparison_table)
    compared_cells = 0
    for row in table.iter_rows(named=True):
        if row["space"] == "chance":
            continue
        for measure in MEASURES:
            told = shown.get((row["space"], measure.key))
            if told is None:
                # Only leaky figures of species have no cell of their own.
                assert measure.key.endswith("_leaky") and measure.about in ("truth", "birdnet")
                continue
            key, compared_cells = measure.key, compared_cells + 1
            if row[key] is None:
                assert told == ["–"]
                continue
            assert told[0] == f"{row[key]:.2f}"
            assert told[-1].strip() == f"{row[f'{key}_low']:.2f}–{row[f'{key}_high']:.2f}"
            standing = row.get(f"{key}_standing")
            marked = {None: 2, "highest": 3, "level": 3, "best": 3}[standing]
            assert len(told) == marked, (row["space"], key, told)
        speed = row["windows_per_second"]
        assert (
            shown[row["space"], "windows_per_second"] == [f"{speed:,.0f}" if speed else "–"]
            or speed == 71.0
        )
    assert compared_cells == 10 * (8 + 8)
    # Truth and pseudo-labels side by side, over the same spaces.
    assert (
        "Species, by annotations" in season
        and "Species, by BirdNET from confidence 0.5 on" in season
    )
    # The labelled set has a part of its own.
    assert "Labelled set: clips" in clips and "Species, by clip labels" in clips
    assert "pointing game" in clips and ("dino_vits16", "species_linear") in cells(clips)


def test_the_page_is_one_small_file_without_a_network(compared):
    _, results = compared
    page = results.comparison_page.read_text()
    assert len(page) < 3_000_000
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert page.count("data:image/png;base64,") == 6 + 1
    assert "CC BY-NC-SA 4.0" in page


def told(tmp_path, change=None, **what) -> str:
    """The summary of a season whose tables were changed."""
    tables = season_tables(**what)
    if change is not None:
        for row in tables["probes"]:
            change(row)
    write_tables(tmp_path, tables)
    return plain(summary(compare(read_tables(tmp_path))))


def test_the_summary_speaks_of_the_tables(tmp_path):
    text = told(tmp_path)
    for sentence in (
        "No single space is best at species. dino_vitb16 is highest: a linear probe on it names 73 of 100 windows right, "
        "averaged over the species (95 % interval 0.70 to 0.76; guessing 0.20; labels: annotations). The intervals cannot "
        "tell it from dino_vits16.",
        "The best baseline, log-mel, floor subtracted, has 0.61 (0.58 to 0.64): 2 of 4 experiments lie above it",
        "birdnet, which learned from labelled birds, has 0.92 (0.89 to 0.95)",
        "By the labels of BirdNET from confidence 0.5 on, dino_vitb16 is highest too: 0.67 (0.64 to 0.70).",
        "would read 0.87 instead of 0.73",
        "tells which recorder a window is from, with 0.86 (0.83 to 0.89), where guessing gives 0.17",
        "dino_vitb16 was trained for 6.9 hours on 4 x NVIDIA H200 (27.6 GPU hours) and embeds 980 windows per second",
    ):
        assert sentence in text, sentence
    assert "Not compared" not in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda row: (
                row.update(value=0.95, low=0.9, high=1.0)
                if row["space"] == "vicreg_vits16"
                else None
            ),
            "vicreg_vits16 is best at species: a linear probe on it names 95 of 100",
        ),
        (
            lambda row: row.update(low=None, high=None),
            "There are too few groups for an interval: do not take it for a ranking.",
        ),
        (
            lambda row: row.update(low=0.1) if row.get("low") is not None else None,
            "No space that learned without labels tells species better than guessing",
        ),
        (
            lambda row: (
                row.update(value=0.99, low=0.98, high=1.0) if row["space"] == "log-mel" else None
            ),
            "no experiment lies above it by its interval",
        ),
    ],
)
def test_the_summary_claims_no_more_than_the_intervals(tmp_path, change, sentence):
    assert sentence in told(tmp_path, change)


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        (
            {"labelled": False, "missing": "vicreg_vitb16"},
            [
                *("not compared: not trained", "Not compared: <b>vicreg_vitb16</b> (not trained)"),
                "annotations: evaluation.annotations is not set",
                "Species, by annotations: no linear probe, attentive probe, nearest neighbours (no window has a label)",
                "labelled set: unheard (not evaluated)",
                "labels: BirdNET from confidence 0.5 on",
            ],
        ),
        (
            {"labelled": False, "detected": False},
            [
                "Nothing can be said of birds here: no window has a label (no window has a label)",
                "Species, by BirdNET from confidence 0.5 on: no clusters (AMI) (no detection at 0.5 or above)",
            ],
        ),
    ],
)
def test_what_is_missing_is_a_clear_line_and_no_nan(tmp_path, monkeypatch, what, lines):
    monkeypatch.setattr(comparison_figures, "name_ends", lambda *_: None)  # drawn elsewhere
    settings, results = write_season(tmp_path, **what)
    for name in settings.experiments:
        results.experiment(name).log.unlink(missing_ok=True)
    write_page(settings, results)
    page = results.comparison_page.read_text()
    for line in lines:
        assert line in page.replace("&#39;", "'"), line
    words = re.sub(r"data:[^\"]*|<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|none|null|undefined)\b", words, flags=re.IGNORECASE)


def test_before_any_evaluation_the_page_says_what_to_do(tmp_path):
    from dawnchorus.results import Results

    write_page(settings_for(tmp_path), Results(tmp_path))
    page = Results(tmp_path).comparison_page.read_text()
    assert "run `dawnchorus evaluate`" in page and "No figure was measured." in page


def test_curves_are_the_tables(drawn, tmp_path):
    tables = season_tables(labelled=False)
    tables["probes"] = [
        row
        for row in tables["probes"]
        if row["space"] in ("dino_vits16", "log-mel, floor subtracted", "majority class")
    ]
    write_tables(tmp_path, tables)
    read = read_tables(tmp_path)
    comparison = compare(read)
    comparison_figures.draw_few_shots(read, comparison, tmp_path / "few.png")
    (axes,) = (one for one in drawn[0].axes if one.get_visible())
    dino, mel, guess = axes.lines
    wanted = [
        row["value"]
        for row in tables["probes"]
        if row["space"] == "dino_vits16"
        and row.get("shots")
        and row["target"].startswith("birdnet")
    ]
    assert dino.get_xdata().tolist() == [1, 2, 4, 8, 16] and dino.get_ydata().tolist() == wanted
    assert mel.get_linestyle() != dino.get_linestyle() == "-"
    assert guess.get_ydata()[0] == 0.2
    assert (
        axes.get_xlabel().startswith("labelled windows")
        and axes.get_ylabel() == "balanced accuracy"
    )

    comparison_figures.draw_coverage(read, comparison, tmp_path / "coverage.png")
    axes, confidences = drawn[1].axes
    assert axes.lines[0].get_xdata().tolist() == pytest.approx([10, 24, 38, 55.5, 66])
    told = [label.get_text() for label in confidences.get_xticklabels()]
    assert told == ["0.9", "0.7", "0.5", "0.25", "0.1"]


def test_a_clusters_line_is_shared_out_over_its_species(drawn, tmp_path):
    rows = [
        {"space": "a", "kind": "experiment", "clustering": "assigned", "labels": "annotations", "cluster": cluster,
         "species": species, "windows": windows}
        for cluster, species, windows in (
            (7, "wren", 6), (7, "owl", 2), (3, "owl", 9), (3, None, 1), (5, "none", 4),
        )
    ]  # fmt: skip
    probes = [
        {"space": "a", "kind": "experiment", "dimension": 2, "target": "species", "probe": "linear"}
    ]
    write_tables(tmp_path, {"confusion": rows, "probes": probes})
    read = read_tables(tmp_path)
    confusion.draw_confusion(read, compare(read), tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["owl", "wren", "none"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "7", "5"]
    assert axes.images[0].get_array().tolist() == [[0.9, 0, 0.1], [0.25, 0.75, 0], [0, 0, 1]]


def test_calibration_is_drawn_over_the_mean_confidence(drawn, tmp_path):
    write_tables(tmp_path, season_tables())
    confusion.draw_calibration(read_tables(tmp_path), tmp_path / "calibration.png")
    _, curve, *bars = drawn[0].axes[0].lines
    assert curve.get_xdata()[0] == pytest.approx(0.15) and curve.get_ydata()[0] == pytest.approx(
        0.44
    )
    assert bars[0].get_ydata() == pytest.approx([0.39, 0.49])
    assert [text.get_text() for text in drawn[0].axes[0].texts][1] == "900"
