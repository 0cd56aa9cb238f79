"""The pages of a finished season say what its tables say."""

from __future__ import annotations

import re

import polars as pl
import pytest
from PIL import Image

from dawnchorus.results import COMPARISON_FIGURES, EXPERIMENT_FIGURES, Results
from dawnchorus.spectrograms.store import SpectrogramStore

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_cluster_cards_hold_every_window_once(finished):
    results = Results(finished.results)
    windows = sum(
        len(SpectrogramStore.open(results.spectrograms(day)))
        for day in results.days_with_receipts()
    )
    page = results.experiment("one").figure("cards.html").read_text()
    sizes = [int(found.replace(",", "")) for found in re.findall(r"<span>([\d,]+) windows", page)]
    assert len(sizes) == 4
    assert sum(sizes) == windows == pl.read_parquet(results.experiment("one").cards)["size"].sum()
    assert page.count("data:image/png;base64,") >= 4
    assert "http://" not in page and "https://" not in page


def test_the_page_of_tables_shows_what_was_measured(finished):
    results = Results(finished.results)
    page = results.comparison("tables.html").read_text()
    told = pl.read_csv(results.evaluation / "agreement.tsv", separator="\t")
    row = told.filter((pl.col("metric") == "ami") & (pl.col("space") == "one")).row(0, named=True)
    assert f"{row['value']:.3f}"[:5] in page
    for table in ("agreement", "probes", "species", "clusters", "attention", "coverage", "lost"):
        assert f'<h2 id="{table}">' in page


def test_the_report_holds_every_figure(finished):
    results = Results(finished.results)
    page = results.report.read_text()
    for title in ("1. Inventory", "2. Output spaces", "3. Training", "4. Evaluation"):
        assert title in page
    for figure in (*EXPERIMENT_FIGURES, *COMPARISON_FIGURES, "faults.tsv", "calendar.html"):
        assert figure in page, figure
    for figure in EXPERIMENT_FIGURES:
        if figure.endswith(".png"):
            with Image.open(results.experiment("one").figure(figure)) as picture:
                assert len(picture.convert("RGB").getcolors(2**24) or []) > 20
