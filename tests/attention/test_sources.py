"""Maps by hand, and heads weighted by what they agree with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dawnchorus.attention import sources
from dawnchorus.attention.energy import agreement, energy_map
from dawnchorus.attention.tokens import Tokens


def tokens(grid: torch.Tensor) -> Tokens:
    return Tokens(grid.mean(dim=(1, 2)), grid, grid, {}, 1)


def song(rows: int = 4, columns: int = 9, width: int = 6) -> torch.Tensor:
    """Tokens that are the same along each row, but for two patches."""
    torch.manual_seed(0)
    grid = torch.randn(1, rows, 1, width).repeat(1, 1, columns, 1)
    grid[0, 2, 5:7] += 4 * torch.eye(width)[0] + 2 * torch.eye(width)[1]
    return grid


@pytest.mark.parametrize("name", sorted(sources.OF_TOKENS))
@pytest.mark.parametrize("pooling", ["bands-max", "max", "mean", "bands", "cls+max"])
def test_what_stands_out_is_where_it_was_put(name: str, pooling: str) -> None:
    map_ = sources.OF_TOKENS[name](tokens(song()), pooling)
    assert map_.shape == (1, 4, 9) and map_.min() == 0
    if name == "pooled" and not pooling.startswith("bands"):
        return  # rows compete there: what wins depends on their own tokens
    if name == "similarity":
        return  # by hand below
    strongest = np.argwhere(map_[0].numpy() > 0.5 * float(map_.max()))
    assert {tuple(place) for place in strongest} <= {(2, 5), (2, 6)}
    assert map_[0, 2, 5] > 0 or name == "pooled"


def test_departure_by_hand() -> None:
    map_ = sources.departure(tokens(song()))
    length = 20**0.25  # root of the length of (4, 2)
    mean = 2 * length / 36
    assert map_[0, 2, 5:7].tolist() == pytest.approx([length - mean] * 2)
    assert map_.sum() == pytest.approx(2 * (length - mean))


def test_pooled_gives_the_winner_of_each_feature_its_margin() -> None:
    grid = torch.zeros(1, 2, 5, 3)
    grid[0, 0, 1, 0], grid[0, 0, 3, 1] = 2.0, 5.0
    grid[0, 1, 4, 2] = 1.0
    won = np.zeros((2, 5))
    won[0, 1], won[0, 3], won[1, 4] = 2.0, 5.0, 1.0
    expected = np.maximum(won - won.mean(), 0)
    np.testing.assert_allclose(sources.pooled(tokens(grid), "bands-max")[0], expected, atol=1e-6)


def test_similarity_to_the_windows_vector() -> None:
    grid = torch.zeros(1, 1, 5, 2)
    grid[0, 0, 1], grid[0, 0, 3] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    # The maximum is (3, 1), the median token 0.
    alike = np.array([0, 3 / 10**0.5, 0, 1 / 10**0.5, 0])
    expected = np.maximum(alike - alike.mean(), 0)
    found = sources.similarity(tokens(grid), "max")[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_heads_are_merged_by_name() -> None:
    heads = torch.tensor([[[[0.1, 0.3]], [[0.2, 0.0]]]])
    assert sources.merged(heads, "mean")[0, 0].tolist() == pytest.approx([0.15, 0.15])
    assert sources.merged(heads, "max")[0, 0].tolist() == pytest.approx([1.0, 0.75])
    with pytest.raises(ValueError, match="agreement"):
        sources.merged(heads, "agreement")


def test_a_head_that_looks_away_says_where_it_is_too() -> None:
    random = np.random.default_rng(0)
    energy = np.zeros((6, 4, 8), np.float32)
    energy[:, 1, 2:4] = 1.0
    towards = energy + random.uniform(0, 0.2, energy.shape).astype(np.float32)
    away = 1.2 - energy + random.uniform(0, 0.2, energy.shape).astype(np.float32)
    noise = random.uniform(0, 1, energy.shape).astype(np.float32)
    heads = np.stack([towards, away, noise], axis=1)
    agree = agreement(heads, energy)
    assert agree[0] > 0.9 and agree[1] < -0.9 and abs(agree[2]) < 0.2
    correlation = [np.corrcoef(heads[w, 2].ravel(), energy[w].ravel())[0, 1] for w in range(6)]
    assert agree[2] == pytest.approx(np.mean(correlation), abs=1e-6)
    merged = sources.merged(torch.from_numpy(heads), "agreement", torch.from_numpy(agree).float())
    inside = merged.numpy()[energy > 0]
    assert inside.min() > 3 * merged.numpy()[energy == 0].max()
    assert agreement(np.ones((2, 1, 3, 3)), np.ones((2, 3, 3))).tolist() == [0.0]


def test_energy_above_the_floor() -> None:
    decibels = np.full((1, 4, 8), -80.0)
    decibels[0, 2:, 4:6] = -60.0
    map_ = energy_map(decibels, (2, 2))
    assert map_[0].tolist() == [[0, 0, 0, 0], [0, 0, 20, 0]]
    assert energy_map(decibels, (2, 4), 6.0)[0].tolist() == [[0, 0], [0, 7]]
