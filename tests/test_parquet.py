"""Tables are found whatever their folders are called, and nobody reads them in another way."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from dawnchorus import parquet

SOURCES = Path(parquet.__file__).parent


@pytest.mark.parametrize("name", ["[-27.38 152.87]", "a*b", "who?", "plain"])
def test_brackets_and_stars_are_names(tmp_path, name):
    for folder, value in ((name, 1), ("a1b", 2)):
        (tmp_path / folder).mkdir()
        pl.DataFrame({"value": [value]}).write_parquet(tmp_path / folder / "2021-05-24.parquet")
    path = tmp_path / name / "2021-05-24.parquet"
    assert parquet.read_parquet(path)["value"].to_list() == [1]
    assert parquet.scan_parquet(path).collect()["value"].to_list() == [1]


def test_polars_is_asked_here_alone():
    elsewhere = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if re.search(r"\bpl\.(read|scan)_parquet\b", path.read_text())
    ]
    assert elsewhere == ["parquet.py"]
