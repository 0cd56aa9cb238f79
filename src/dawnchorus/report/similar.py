"""What a search found, to look at and listen to.

In: queries and the windows found for them. Out: a folder with ``index.html`` and ``clips/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from dawnchorus.clustering.queries import Queries
from dawnchorus.config import Settings
from dawnchorus.report.excerpts import Excerpt, Section, picture, pictures, sounds, write_page
from dawnchorus.results import Results
from dawnchorus.spectrograms.mel import Codes

NOTE = (
    "Windows of the season by the cosine of the angle between their vectors and that of what was looked for, the most "
    "similar first. 1 is the same direction. How similar two sounds must be to be of one kind differs from space to "
    "space: compare the first with the last."
)


def draw_found(
    settings: Settings,
    results: Results,
    experiment: str,
    queries: Queries,
    name: str,
    found: pl.DataFrame,
    folder: Path,
) -> Path:
    """Write the page and its clips; return the page.

    Parameters
    ----------
    queries : Queries
    name : str
        What was looked for.
    found : DataFrame
        As the command lists it: :data:`~dawnchorus.clustering.similar.FOUND`, ``local_time`` and ``second``.
    folder : Path
        Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn, axes = pictures(results, found)
    heard = sounds(settings.audio.root, found, settings.spectrogram.window_seconds, folder)
    excerpts = [
        Excerpt(_title(row), _lines(row), drawn[number], *heard[number])
        for number, row in enumerate(found.iter_rows(named=True))
    ]
    sections = []
    for query, second in enumerate(queries.second):
        mine = [
            excerpts[number] for number, of in enumerate(found["query"].to_list()) if of == query
        ]
        title = f"{name}, from {second:g} s"
        if queries.codes is not None:
            shown = picture(Codes.of(settings.spectrogram).decode(queries.codes[query]))
            mine = [Excerpt("looked for", [title], shown), *mine]
        sections.append(Section(f"Most similar to {title}", mine))
    page = folder / "index.html"
    write_page(page, f"Search in {experiment}", NOTE, sections, axes)
    return page


def _title(row: dict[str, Any]) -> str:
    return f"{row['rank']}. {row['recorder']} {row['local_time'] or row['date']}"


def _lines(row: dict[str, Any]) -> list[str]:
    where = (
        row["recording"] if row["second"] is None else f"{row['recording']}, {row['second']:g} s"
    )
    return [where, f"similarity {row['similarity']:.3f}"]
