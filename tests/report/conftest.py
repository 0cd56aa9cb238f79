"""What several tests of figures and pages look at."""

from __future__ import annotations

import polars as pl
import pytest
from matplotlib.figure import Figure

from dawnchorus.clustering.cards import cards
from dawnchorus.clustering.season_counts import count_season
from dawnchorus.report import style
from dawnchorus.report.cards import draw_cards
from dawnchorus.report.comparison_page import write_page
from explorer.conftest import EXPERIMENT

from .compared import write_season
from .described import DAYS, Described, describe


@pytest.fixture(scope="session")
def described(tmp_path_factory) -> Described:
    """A season with sound; only read it."""
    return describe(tmp_path_factory.mktemp("described"))


@pytest.fixture(scope="session")
def page(described: Described, tmp_path_factory):
    """The page of cluster cards with its clips, and the table behind it."""
    counts = count_season(described.results, EXPERIMENT, DAYS, 3.0)
    table = cards(described.settings, described.results, EXPERIMENT, DAYS, counts)
    points = pl.DataFrame({"cluster": [0, 1], "species": ["none", "<b>wren</b>"]})
    path = tmp_path_factory.mktemp("figures") / "cards.html"
    draw_cards(described.settings, described.results, table, counts, points, path)
    return path, table, counts


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


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """A season with everything to compare, a labelled set, and its page; only read it."""
    settings, results = write_season(tmp_path_factory.mktemp("compared"), sets=("clips",))
    write_page(settings, results)
    return settings, results
