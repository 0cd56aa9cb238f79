"""Points in curves and clusters."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from pydantic import ValidationError

from dawnchorus.explorer.regions import Membership, PolygonRegion

NO_CLUSTER = np.zeros(0, np.uint16)


def inside(corners: list[tuple[float, float]], x: np.ndarray, y: np.ndarray) -> list[int]:
    region = PolygonRegion(kind="polygon", points=tuple(corners))
    return Membership(x, y, NO_CLUSTER).inside(region.points).tolist()


def test_square_by_hand() -> None:
    x = np.array([0.5, -0.5, 0.5, 1.5, 0.5, 0.999], np.float32)
    y = np.array([0.5, 0.5, 1.5, 0.5, -0.5, 0.999], np.float32)
    assert inside([(0, 0), (1, 0), (1, 1), (0, 1)], x, y) == [0, 5]
    # The same curve drawn the other way round and closed by hand.
    assert inside([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)], x, y) == [0, 5]


def test_hole_of_a_curve_that_crosses_itself() -> None:
    # Two nested squares as one curve: what is enclosed twice is outside (even-odd).
    corners = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (3, 1), (3, 3), (1, 3), (1, 1)]
    x, y = np.array([0.5, 2.0, 3.5]), np.array([0.6, 2.0, 3.4])
    assert inside([(float(a), float(b)) for a, b in corners], x, y) == [0, 2]


def test_a_point_level_with_corners_counts_crossings_once() -> None:
    # The ray to the right of (0, 0) runs through the corner (1, 0) of a rhombus and of a notch.
    assert inside([(-1, 0), (0, -1), (1, 0), (0, 1)], np.array([0.0]), np.array([0.0])) == [0]
    notch = [(-2, -2), (2, -2), (2, 2), (1, 0), (0.5, 2), (-2, 2)]
    assert inside(notch, np.array([-1.0]), np.array([0.0])) == [0]
    assert inside(notch, np.array([-3.0]), np.array([0.0])) == []


@settings(max_examples=150, deadline=None)
@given(
    corners=st.lists(
        st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=3, max_size=30
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_agrees_with_matplotlib(corners: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Corners on whole numbers and points off them: no point lies on an edge's end; float32 points.
    x, y = (rng.uniform(-45, 45, (2, 400))).astype(np.float32)
    closed = np.array([*corners, corners[0]], float)
    expected = Curve(closed).contains_points(np.column_stack([x, y]).astype(float))
    found = inside([(float(a), float(b)) for a, b in corners], x, y)
    # A point within rounding of an edge may go either way.
    near = np.min([edge_distance(a, b, x, y) for a, b in itertools.pairwise(closed)], axis=0)
    wrong = set(np.flatnonzero(expected)) ^ set(found)
    assert all(near[point] < 1e-6 for point in wrong)


def edge_distance(a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    points = np.column_stack([x, y]).astype(float)
    along = b - a
    share = np.clip(((points - a) @ along) / max(along @ along, 1e-12), 0, 1)
    return np.linalg.norm(points - a - share[:, None] * along, axis=1)


def test_points_that_are_not_finite_lie_nowhere() -> None:
    x = np.array([np.nan, 0.0, np.inf, 0.0])
    y = np.array([0.0, np.nan, 0.0, 0.0])
    assert inside([(-1, -1), (1, -1), (1, 1), (-1, 1)], x, y) == [3]


def test_cluster() -> None:
    cluster = np.array([2, 0, 2, 65_535], np.uint16)
    members = Membership(np.zeros(4), np.zeros(4), cluster)
    assert members.of_clusters(2).tolist() == [0, 2]
    assert members.of_clusters(7).tolist() == []


@pytest.mark.parametrize(
    "points",
    [[(0, 0), (1, 1)], [(0, 0), (1, float("nan")), (1, 0)], [(0, 0), (1, float("inf")), (1, 0)]],
)
def test_refuses_what_is_no_curve(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValidationError):
        PolygonRegion(kind="polygon", points=tuple(points))


def test_a_lasso_around_half_of_a_million_points_is_quick() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 1_000_000)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    members = Membership(x, y, NO_CLUSTER)
    radius = float(np.sqrt(2 * np.log(2)))  # holds half of a normal distribution
    corners = tuple(zip(radius * np.cos(angle), radius * np.sin(angle), strict=True))
    started = time.perf_counter()
    rows = members.inside(corners)
    took = time.perf_counter() - started
    assert abs(len(rows) - 500_000) < 5000
    assert took < 1.0, f"{took:.2f} s"
