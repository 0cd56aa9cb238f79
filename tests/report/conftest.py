"""What several tests of figures and pages look at."""

from __future__ import annotations

import polars as pl
import pytest

from dawnchorus.clustering.cards import cards
from dawnchorus.clustering.season_counts import count_season
from dawnchorus.report.cards import draw_cards
from explorer.conftest import EXPERIMENT

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
