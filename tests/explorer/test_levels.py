"""Levels of detail and galleries: every point once, every level an even sample, and which members are heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dawnchorus.explorer.gallery import pick
from dawnchorus.explorer.levels import COLUMNS, GRID, Levels
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.explorer.space import OutputSpace, load

from .conftest import EXPERIMENT, Season


@pytest.fixture(scope="module")
def space(made: Season) -> OutputSpace:
    """Half a million points on a disc, dense in the middle; two of them nowhere."""
    random = np.random.default_rng(3)
    n = 500_000
    turn, radius = random.uniform(0, 2 * np.pi, n), random.uniform(0, 10, n)
    x, y = (radius * f(turn) for f in (np.cos, np.sin))
    x[7], y[8] = np.nan, np.inf
    few = load(made.results, EXPERIMENT, 3.0)
    repeated = {
        name: np.resize(getattr(few, name), n)
        for name, _ in COLUMNS[3:]
    }  # fmt: skip
    return replace(few, x=x.astype(np.float32), y=y.astype(np.float32), **repeated)


def test_every_point_is_in_one_level_and_comes_with_its_columns(space: OutputSpace) -> None:
    levels = Levels(space)
    rows = [levels.rows(level) for level in range(len(levels))]
    assert [len(part) for part in rows] == [100_000, 100_000, 200_000, 99_998]
    found = np.concatenate(rows)
    np.testing.assert_array_equal(np.sort(found), np.delete(np.arange(500_000), [7, 8]))

    cells = [5 * GRID + 16, 16 * GRID + 16]
    wanted = levels.rows(2, cells)
    assert len(wanted) == levels.counts(2)[cells].sum()
    content, at = levels.columns(wanted), 0
    for name, dtype in COLUMNS:
        assert at % np.dtype(dtype).itemsize == 0, "a typed array must start at its item size"
        values = np.frombuffer(content, dtype, len(wanted), at)
        np.testing.assert_array_equal(
            values, wanted if name == "row" else getattr(space, name)[wanted]
        )
        at += values.nbytes
    assert at == len(content)
    # The cells are where their numbers say, the lowest row of cells first.
    left, low, right, high = levels.bounds
    at_cell = ((space.y[wanted] - low) * GRID / (high - low)).astype(int) * GRID + (
        (space.x[wanted] - left) * GRID / (right - left)
    ).astype(int)
    assert set(at_cell.tolist()) <= set(cells)


def test_each_level_is_an_even_sample_of_each_part_and_the_same_every_time(
    space: OutputSpace,
) -> None:
    levels = Levels(space)
    inner = np.hypot(space.x, space.y) < 2
    share = inner.mean()
    for level in range(len(levels)):
        rows = levels.rows(level)
        # Three standard deviations of a share of so many.
        assert abs(inner[rows].mean() - share) < 3 * np.sqrt(share * (1 - share) / len(rows))
        np.testing.assert_array_equal(rows, Levels(space).rows(level))


def test_a_map_of_one_point_or_none_has_a_level(space: OutputSpace) -> None:
    for wanted in (0, 1):
        place = np.full(len(space), np.nan, np.float32)
        place[:wanted] = 2.0
        levels = Levels(replace(space, x=place, y=place))
        assert (len(levels), len(levels.rows(0))) == (1, wanted)
        left, low, right, high = levels.bounds
        assert left < right
        assert low < high


def test_the_gallery_of_a_curve(space: OutputSpace) -> None:
    square = PolygonRegion(kind="polygon", points=((-5, -5), (5, -5), (5, 5), (-5, 5)))
    rows = space.membership.inside(square.points)
    found = pick(space, square, rows, each=10)
    assert {len(kind) for kind in found.values()} == {10}
    assert len({row for kind in found.values() for row in kind}) == 30
    assert {row for kind in found.values() for row in kind} <= set(rows.tolist())
    central = np.hypot(space.x[found["central"]], space.y[found["central"]])
    border = 5 - np.maximum(*np.abs([space.x[found["border"]], space.y[found["border"]]]))
    # The nearest ten of 20,000 measured ones, in a disc whose density falls with the radius.
    assert central.max() < 0.1
    assert border.max() < 0.05
    assert pick(space, square, rows, each=10, seed=1)["random"] != found["random"]
    assert pick(space, square, rows, each=10) == found


def test_the_gallery_of_a_cluster_goes_by_the_distance_in_the_output_space(made: Season) -> None:
    few = load(made.results, EXPERIMENT, 3.0)
    cluster = ClusterRegion(kind="cluster", cluster=0)  # windows 0, 3, 6, 9 of three recordings
    found = pick(few, cluster, few.membership.of_clusters(0), each=3)
    assert {row % 10 for row in found["central"]} == {0}
    assert {row % 10 for row in found["border"]} == {9}
    assert pick(few, cluster, np.empty(0, np.int64), each=3) == {
        "central": [], "random": [], "border": [],
    }  # fmt: skip
