"""The recorder-days that one start of the workflow has found, for all jobs that it sends away.

In: the cards, once, in Snakemake's main process (:func:`cards_of_start`). Out: a small file below the results
(:func:`hand_over`, when jobs start, never in a dry run) that the jobs read in their place: Snakemake inside
a cluster job reads the Snakefile again, and a season's cards are not to be walked for each of a thousand
jobs. What is copied onto the cards meanwhile waits for the next start, so all jobs speak of the same days.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from dawnchorus.config import Audio
from dawnchorus.recordings.inventory import CardIndex, IndexedDay, index_cards
from dawnchorus.results import RecorderDay, Results, write_text


def cards_of_start(audio: Audio, results: Results, *, is_main: bool) -> CardIndex:
    """Return what is on the cards at this start.

    Parameters
    ----------
    audio : Audio
        Section of the config.
    results : Results
        Only read.
    is_main : bool
        Whether this is the process that a person has started: it looks at the cards. A job that it sent
        away takes what was handed over; one that somebody runs by hand without any looks as well.

    Returns
    -------
    CardIndex
        What is still being copied is known to the main process only.

    Raises
    ------
    DawnChorusError
        As :func:`~dawnchorus.recordings.inventory.index_cards`.
    """
    if not is_main and results.season.is_file():
        days = json.loads(results.season.read_text(encoding="utf-8"))
        return CardIndex([_indexed(told) for told in days], pending={})
    return index_cards(audio, results.recordings)


def hand_over(results: Results, days: Iterable[IndexedDay]) -> None:
    """Write down the recorder-days of this start for its jobs."""
    write_text(results.season, json.dumps([asdict(day) for day in days]) + "\n")


def _indexed(told: dict[str, Any]) -> IndexedDay:
    place = told["place"]
    return IndexedDay(
        **{
            **told,
            "day": RecorderDay(**told["day"]),
            "place": None if place is None else tuple(place),
        }
    )
