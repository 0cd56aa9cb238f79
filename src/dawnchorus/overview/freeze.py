"""What a new training set would change: ``dawnchorus freeze``.

In: the training set that stands, the recorder-days there are now. Out: lines for a person, the last of
them to be written into the configuration, which belongs to that person and is not touched; neither is
anything else. The draw is the one that the step ``sample`` will make: the numbers are exact, not estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import checkpoint, training_set
from dawnchorus.learning.frozen import table_fingerprint
from dawnchorus.overview.staleness import outside, standing
from dawnchorus.overview.steps import counted, named
from dawnchorus.recordings.inventory import index_cards
from dawnchorus.results import RecorderDay, Results

WINDOW = ["recorder", "date", "recording", "offset"]
"""What tells windows apart."""


@dataclass(frozen=True)
class Proposal:
    """A new training set beside the one that stands.

    Attributes
    ----------
    edition : int
        Of the new one.
    standing_edition : int
    added, uncut : list of RecorderDay
        Recorder-days that the training set does not know; of these, those without spectrograms yet.
    days : int
        All of the new pool.
    before, after : DataFrame
        Windows per recorder (``recorder``, ``len``).
    windows, new_windows : int
        Of the new one, and how many of them the old one does not have.
    is_same : bool
        Whether the draw gives the training set that stands.
    checkpoints : dict
        By experiment: where a warm start would start from, and after how many steps; None if nowhere.
    """

    edition: int
    standing_edition: int
    added: list[RecorderDay]
    uncut: list[RecorderDay]
    days: int
    before: pl.DataFrame
    after: pl.DataFrame
    windows: int
    new_windows: int
    is_same: bool
    checkpoints: dict[str, tuple[str, int] | None]


def propose(settings: Settings, results: Results) -> Proposal:
    """Draw a new training set, without writing it, and compare it with the one that stands.

    Raises
    ------
    DawnChorusError
        If there is none yet, or nothing to draw from.
    """
    receipt = standing(results)
    if receipt is None:
        raise DawnChorusError(
            "the training set is not drawn yet",
            results.training_receipt,
            "the first one needs no freezing: run snakemake",
        )
    cut = results.days_with_receipts()
    days = sorted(
        {day.day for day in index_cards(settings.audio, results.recordings).days} | set(cut)
    )
    wanted = settings.training_set
    usable, spectrograms = training_set.usable_days(results, cut)
    table = training_set.draw(results, usable, wanted.windows, wanted.seed, wanted.activity_weight)
    before = training_set.read_table(results)
    fresh = table.join(before.select(WINDOW), on=WINDOW, how="anti")
    added = outside(days, receipt)
    return Proposal(
        edition=max(int(receipt["edition"]) + 1, wanted.edition),
        standing_edition=int(receipt["edition"]),
        added=sorted(added),
        uncut=sorted(set(days) - set(cut)),
        days=len(days),
        before=_per_recorder(before),
        after=_per_recorder(table),
        windows=table.height,
        new_windows=fresh.height,
        is_same=table_fingerprint(table, spectrograms) == receipt["fingerprint"],
        checkpoints={name: _checkpoint(results, name) for name in settings.experiments},
    )


def _per_recorder(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("recorder").len().sort("recorder")


def _checkpoint(results: Results, experiment: str) -> tuple[str, int] | None:
    found = checkpoint.latest_of_others(results.experiment(experiment).checkpoints, "")
    return None if found is None else (str(found.path), found.position.step)


def lines_of(proposal: Proposal, settings: Settings) -> list[str]:
    """Say what would change and how to have it."""
    told = [
        f"the training set that stands: edition {proposal.standing_edition}, "
        f"{_windows(proposal.before)} windows",
        f"a new one: edition {proposal.edition}, {proposal.windows:,} windows, "
        f"{proposal.new_windows:,} of them new, from {counted(proposal.days, 'recorder-day')}",
    ]
    if proposal.added:
        told.append(
            f"{counted(len(proposal.added), 'recorder-day')} more than before: {named(proposal.added)}"
        )
    if proposal.uncut:
        told.append(
            f"{counted(len(proposal.uncut), 'recorder-day')} without spectrograms yet, not counted here: "
            f"{named(proposal.uncut)}; for exact numbers run 'snakemake ... spectrograms' first"
        )
    told += _table(proposal)
    if proposal.is_same and not proposal.uncut:
        return [*told, "the same windows: there is nothing to adopt"]
    if settings.training_set.edition > proposal.standing_edition:
        return [
            *told,
            f"the configuration asks for edition {settings.training_set.edition} already: run snakemake",
            *_warm(proposal, settings),
        ]
    return [
        *told,
        "nothing is changed yet; to adopt it, set this in your configuration, then look at 'snakemake -n':",
        "",
        "training_set:",
        f"  edition: {proposal.edition}",
        *_warm_lines(proposal),
    ]


def _windows(per_recorder: pl.DataFrame) -> str:
    return f"{per_recorder['len'].sum():,}"


def _table(proposal: Proposal) -> list[str]:
    """Windows per recorder, before and after."""
    both = proposal.before.join(
        proposal.after, on="recorder", how="full", coalesce=True, suffix="_new"
    )
    rows = [["windows of", "now", "then"]]
    rows += [
        [recorder, f"{now or 0:,}", f"{then or 0:,}"]
        for recorder, now, then in both.sort("recorder").rows()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"  {row[0].ljust(widths[0])}  {row[1].rjust(widths[1])}  {row[2].rjust(widths[2])}"
        for row in rows
    ]


def _warm(proposal: Proposal, settings: Settings) -> list[str]:
    """What each experiment begins with, as the configuration is."""
    lines = []
    for name, found in proposal.checkpoints.items():
        if found is not None and settings.experiment(name).warm_start:
            lines.append(f"{name} begins with the weights of {found[0]}")
        else:
            lines.append(f"{name} begins anew")
    return lines


def _warm_lines(proposal: Proposal) -> Sequence[str]:
    """The lines of YAML by which experiments begin with the weights they have."""
    lines = [
        line
        for name, found in proposal.checkpoints.items()
        if found is not None
        for line in (
            f"  {name}:",
            f"    warm_start: true  # with the weights of step {found[1]:,}; leave it out to begin anew",
        )
    ]
    return ["experiments:", *lines] if lines else []
