"""One season for all tests that only read it."""

from __future__ import annotations

import shutil

import pytest

from .season import Season


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Season:
    return Season(tmp_path_factory.mktemp("season")).make()


@pytest.fixture
def season(planted, tmp_path) -> Season:
    """A copy that a test may change."""
    shutil.copytree(planted.root, tmp_path / "season", dirs_exist_ok=True)
    return Season(tmp_path / "season")
