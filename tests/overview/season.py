"""Results as a season leaves them, without running it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from dawnchorus.config import Settings, validate
from dawnchorus.recordings.inventory import CardIndex, IndexedDay
from dawnchorus.results import RecorderDay, Results

HOUR_BYTES = 44_100 * 2 * 3600
DAYS = [RecorderDay(recorder, f"2021-05-2{day}") for recorder in ("A", "B") for day in (4, 5)]


def settings_of(root: Path, **sections) -> Settings:
    return validate(
        {"results": str(root / "results"), "experiments": {"one": {"recipe": "none"}}, **sections},
        "test",
    )


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def inventory(results: Results, days=DAYS, hours=8.0) -> None:
    """Two recordings per recorder-day, one of them of no use."""
    rows = [
        {"recorder": day.recorder, "date": day.date, "duration_s": hours * 3600, "status": status}
        for day in days
        for status in ("ok", "set aside")
    ]
    results.recordings.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(results.recordings)


def cards_of(days=DAYS, hours=8.0, pending=None) -> CardIndex:
    indexed = [IndexedDay(day, "f" * 32, 48, None, int(hours * HOUR_BYTES)) for day in days]
    return CardIndex(indexed, pending or {})


def note(results: Results, where: str, seconds: float, cpu: float | str) -> None:
    """One of Snakemake's benchmark files."""
    text = f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:04\t271.08\t{cpu}\n"
    write(results.root / "benchmarks" / f"{where}.tsv", text)
