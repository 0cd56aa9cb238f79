"""How fast labels come, and how many of them somebody has heard.

In: the journal of an output space. Out: per annotator the time at work, windows labelled, windows labelled
per hour, and of the windows that were listened to the share that kept the name of their region.

Time at work is counted from what a person does (listening, naming, undoing): gaps longer than
:data:`PAUSE_S` are pauses and count nothing, and the first deed after one counts :data:`BEGIN_S`.
Labels that were imported count neither as windows nor as time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dawnchorus.explorer.entries import LabelEntry
from dawnchorus.explorer.labels import LabelBook

PAUSE_S = 300.0
BEGIN_S = 30.0


@dataclass(frozen=True)
class Meter:
    """Work of one annotator.

    Attributes
    ----------
    seconds : float
        At work.
    windows : int
        That the annotator's labels hold, without those that came later (inherited).
    inherited : int
        Windows that came later.
    per_hour : float or None
        ``windows`` per hour at work.
    heard : int
        Of these windows, somebody has listened to so many (also inherited ones).
    judged, kept : int
        Windows heard in the annotator's regions, and those of them that still have the region's name.
    kept_share, low, high : float or None
        Their share, with Wilson's 95 % interval: an estimate of how pure the regions are, as far as the
        windows heard are a fair sample.
    """

    who: str
    seconds: float
    windows: int
    inherited: int
    per_hour: float | None
    heard: int
    judged: int
    kept: int
    kept_share: float | None
    low: float | None
    high: float | None


def seconds_at_work(moments: Iterable[datetime]) -> float:
    """Return the time at work of somebody who did something at these moments."""
    times = sorted(moment.timestamp() for moment in moments)
    gaps = np.diff(times)
    spells = len(times[:1]) + int((gaps > PAUSE_S).sum())
    return float(gaps[gaps <= PAUSE_S].sum()) + BEGIN_S * spells


def meters(book: LabelBook) -> list[Meter]:
    """Return the meters of all annotators of this output space, by name."""
    from scipy.stats import binomtest

    state, region_winner = book.state_with_regions()
    by = sorted({entry.who for entry in state.standing if entry.imported is None})
    # Index -1 finds the last element: no entry, nobody.
    who_of = np.array(
        [-1 if one.imported else by.index(one.who) for one in state.standing] + [-1],
        dtype=np.int32,
    )
    labels = [one.label for one in state.standing] + [None]
    names = {name: code for code, name in enumerate(state.names, start=1)}
    code_of = np.array([names.get(one or "", 0) for one in labels], dtype=np.int64)
    owner, judge = who_of[state.winner], who_of[region_winner]
    named = code_of[region_winner] > 0
    kept_name = code_of[region_winner] == state.codes
    found = []
    for number, who in enumerate(by):
        moments = [
            one.when
            for one in book.journal.entries
            if one.who == who and not (isinstance(one, LabelEntry) and one.imported)
        ]
        seconds = seconds_at_work(moments)
        mine = (owner == number) & (state.codes > 0)
        judged = (judge == number) & named & state.heard
        windows = int(np.count_nonzero(mine & ~state.inherited))
        count, kept = int(np.count_nonzero(judged)), int(np.count_nonzero(judged & kept_name))
        bounds = binomtest(kept, count).proportion_ci(method="wilson") if count else None
        found.append(
            Meter(
                who,
                seconds,
                windows,
                int(np.count_nonzero(mine & state.inherited)),
                windows * 3600 / seconds if seconds else None,
                int(np.count_nonzero(mine & state.heard)),
                count,
                kept,
                kept / count if count else None,
                float(bounds.low) if bounds else None,
                float(bounds.high) if bounds else None,
            )
        )
    return found
