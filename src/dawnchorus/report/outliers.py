"""The page of outliers: recorder-days that differ, then the windows that lie farthest out.

In: the lists of :mod:`dawnchorus.clustering.outlier_lists`, spectrogram stores, the cards. Out:
``figures/outliers.html``, one page with pictures and clips that works offline.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.parquet import read_parquet
from dawnchorus.report.excerpts import Excerpt, Section, pictures, sounds, write_page
from dawnchorus.results import Results, read_receipt

SHOWN = 18
"""Windows of the season on the page."""
SHOWN_PER_RECORDER = 2
SHOWN_PER_DAY = 3
"""Windows of a recorder-day that differs as a whole."""
SHOWN_DAYS = 8

NOTE = (
    "How far out a window lies is measured by its distance to the centre of its cluster, by its distance to the {k} "
    "nearest {company} in a sample of {sample:,} windows, and by how much denser those lie; the score is the mean of the "
    "three in standard deviations of that sample. A recorder-day's score says how far it lies from its recorder's other "
    "days. A hint is a guess from levels and clipped samples. Far out is not the same as important: listen."
)


def draw_outliers(settings: Settings, results: Results, experiment: str) -> None:
    """Write the page.

    Raises
    ------
    DawnChorusError
        If the outliers were not listed.
    """
    paths = results.experiment(experiment)
    receipt = read_receipt(paths.outliers_receipt)
    windows = read_parquet(paths.outliers("windows"))
    days = read_parquet(paths.outliers("days")).head(SHOWN_DAYS)
    differing = pl.col("day_score").is_not_null()
    parts = []
    for row in days.filter(pl.col("hint") != "").iter_rows(named=True):
        of_day = (pl.col("recorder") == row["recorder"]) & (pl.col("date") == row["date"])
        title = f"{row['recorder']} {row['date']}: {row['hint']}"
        parts.append((title, windows.filter(of_day).head(SHOWN_PER_DAY)))
    single = windows.filter(~differing)
    of_season = single.filter(pl.col("rank").is_not_null()).head(SHOWN)
    parts.append(
        (f"The first {of_season.height} of the season's {receipt['windows']:,} windows", of_season)
    )
    others = single.join(
        of_season.select("recording", "offset"), on=["recording", "offset"], how="anti"
    )
    for recorder in sorted(others["recorder"].unique()):
        mine = others.filter(pl.col("recorder") == recorder).head(SHOWN_PER_RECORDER)
        parts.append((f"Next of {recorder}", mine))
    parts = [part for part in parts if part[1].height]
    shown = pl.concat([rows for _, rows in parts]) if parts else windows
    drawn, axes = pictures(results, shown)
    heard = sounds(settings.audio.root, shown, settings.spectrogram.window_seconds)
    excerpts = [
        Excerpt(
            _title(row),
            _lines(row),
            drawn[number],
            *heard[number],
            hint=row["hint"] if row["day_score"] is None else "",
        )
        for number, row in enumerate(shown.iter_rows(named=True))
    ]
    sections, first = [], 0
    for title, rows in parts:
        sections.append(Section(title, excerpts[first : first + rows.height]))
        first += rows.height
    note = NOTE.format(
        k=receipt["neighbours"], company=receipt["company"], sample=receipt["reference_windows"]
    )
    heads = ["recorder-day", "score", "shift", "level, dB above its other days", "windows", "hint"]
    table = [
        [
            f"{row['recorder']} {row['date']}",
            _rounded(row["score"], 1),
            _rounded(row["shift"], 2),
            _rounded(row["level_difference"], 0),
            row["windows"],
            row["hint"],
        ]
        for row in days.iter_rows(named=True)
    ]
    write_page(
        paths.figure("outliers.html"),
        f"Outliers of {experiment}",
        note,
        sections,
        axes,
        (heads, table),
    )


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None:
        return None
    return round(value, digits) if digits else round(value)


def _title(row: dict[str, Any]) -> str:
    when = row["local_time"] or row["date"]
    rank = "" if row["rank"] is None else f"{row['rank']}. "
    return f"{rank}{row['recorder']} {when}"


def _lines(row: dict[str, Any]) -> list[str]:
    where = (
        row["recording"] if row["second"] is None else f"{row['recording']}, {row['second']:g} s"
    )
    facts = [f"score {row['score']:.1f}", f"cluster {row['cluster']}"]
    if row["level"] is not None:
        facts.append(f"{row['level']:.0f} dB")
    if row["common_name"]:
        facts.append(f"BirdNET: {row['common_name']} {row['confidence']:.2f}")
    return [where, " · ".join(facts)]
