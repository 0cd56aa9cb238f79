"""The pages of a finished season say what its tables say."""

from __future__ import annotations

import re

import polars as pl
import pytest
import yaml
from PIL import Image

from dawnchorus.results import COMPARISON_FIGURES, EXPERIMENT_FIGURES, Results, read_receipt
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
    shown = [
        re.findall(r"<td>(.*?)</td>", line)
        for line in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    ]
    compared = (pl.col("space") == "one") & (pl.col("metric") != "silhouette")
    for row in told.filter(compared).iter_rows(named=True):
        wanted = [row["space"], row["clustering"], row["labels"], row["metric"]]
        cells = [line for line in shown if all(cell in line for cell in wanted)]
        assert any(f"{row['value']:.4f}" in line for line in cells), row
    for table in ("agreement", "probes", "species", "clusters", "attention", "coverage", "lost"):
        assert f'<h2 id="{table}">' in page


def test_the_report_holds_every_figure(finished):
    results = Results(finished.results)
    page = results.report.read_text()
    for title in (
        *("1. Inventory", "2. Output spaces", "3. Ecology", "4. Training", "5. Evaluation"),
    ):
        assert title in page
    for figure in (*EXPERIMENT_FIGURES, *COMPARISON_FIGURES, "faults.tsv", "calendar.html"):
        assert figure in page, figure
    assert "outliers.html" in page
    for figure in EXPERIMENT_FIGURES:
        if figure.endswith(".png"):
            with Image.open(results.experiment("one").figure(figure)) as picture:
                assert len(picture.convert("RGB").getcolors(2**24) or []) > 20


def test_a_network_without_attention_goes_all_the_way(season):
    """A residual network, by the other method, beside the transformer: every figure is there."""
    values = yaml.safe_load((season.root / "config.yaml").read_text())
    plain = {key: value for key, value in values["experiments"]["one"].items() if key != "dino"}
    residual = {
        **plain, "method": "vicreg", "backbone": "resnet10t", "pooling": "mean",
        "optimizer": "lars", "vicreg": {"expander_width": 32},
    }  # fmt: skip
    season.configure(experiments={"two": residual})
    season.run()
    results = Results(season.results)
    reason = "resnet10t has no attention of a class token: nothing to show"
    receipt = read_receipt(results.experiment("two").attention_receipt)
    assert (receipt["verdict"], receipt["reason"]) == ("set aside", reason)
    told = pl.read_parquet(results.evaluation / "attention.parquet")
    notes = told.filter(pl.col("experiment") == "two")["note"].unique().to_list()
    assert notes == [reason]
    assert told.filter(pl.col("experiment") == "one")["note"].unique().to_list() != [reason]
    for figure in EXPERIMENT_FIGURES:
        assert results.experiment("two").figure(figure).stat().st_size > 1000, figure
    spaces = set(pl.read_parquet(results.evaluation / "probes.parquet")["space"])
    assert {"one", "two", "untrained vit_nano/16 cls", "untrained resnet10t mean"} <= spaces
    assert season.planned() == {}
