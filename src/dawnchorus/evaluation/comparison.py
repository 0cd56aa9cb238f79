"""The one table that compares spaces: a row per space, a column per chosen figure, with its interval.

In: the tidy tables of an evaluation (:mod:`.tables`). Out: :class:`Comparison`, and ``comparison.parquet`` and ``.tsv``.

The chosen figures are balanced accuracies of probes for species, by annotations and by BirdNET, agreement of clusters with
the same labels (AMI), and, as nuisance, how well a linear probe tells recorder, month, week and hour; probes by groups and
with leaky splits. The columns are always the same; what was not measured is null.

Which figure is best is said only where the intervals allow it (:func:`standings`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import polars as pl

from dawnchorus.evaluation import tables as table_of
from dawnchorus.evaluation.spaces import EXPERIMENT, SUPERVISED
from dawnchorus.parquet import read_parquet
from dawnchorus.results import publishing

Standing = Literal["best", "highest", "level", ""]
BEST: Standing = "best"
HIGHEST: Standing = "highest"
LEVEL: Standing = "level"
NO_STANDING: Standing = ""

Split = Literal["grouped", "leaky"]
TRUTH, BIRDNET = "truth", "birdnet"
NUISANCE = ("recorder", "month", "week", "hour")
PROBES = ("linear", "attentive", "neighbours")
AGREEMENT = "clusters_ami"
CHANCE = "chance"
MAJORITY = "majority class"
"""Name of the evaluation's row for whoever always says the commonest class."""
_BIRDNET_TARGET = "birdnet species at "


@dataclass(frozen=True)
class Figure:
    """One figure of one space.

    Attributes
    ----------
    value, low, high : float or None
        None where it was not measured, or where there are too few groups for an interval.
    chance : float or None
        What would be there by chance: shuffled labels for agreement, the commonest class for probes.
    note : str
        Why there is no value.
    standing : str
        See :func:`standings`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    note: str = ""
    standing: Standing = NO_STANDING


@dataclass(frozen=True)
class Measure:
    """A column: what is asked of the spaces, and by which labels.

    ``about`` is :data:`TRUTH`, :data:`BIRDNET` or one of :data:`NUISANCE`; ``how`` one of :data:`PROBES` or
    :data:`AGREEMENT`.
    """

    about: str
    how: str
    split: Split = "grouped"

    @property
    def key(self) -> str:
        """Name of the column."""
        leaky = "_leaky" if self.split == "leaky" else ""
        return f"{'species' if self.about == TRUTH else self.about}_{self.how}{leaky}"

    @property
    def contested(self) -> bool:
        """Whether more is better: not for nuisance, where a space that knows nothing would win."""
        return self.about in (TRUTH, BIRDNET) and self.split == "grouped"


def _every_measure() -> Iterator[Measure]:
    for about in (TRUTH, BIRDNET):
        for how in PROBES:
            yield Measure(about, how)
            yield Measure(about, how, "leaky")
        yield Measure(about, AGREEMENT)
    for about in NUISANCE:
        yield Measure(about, "linear")
        yield Measure(about, "linear", "leaky")


MEASURES = tuple(_every_measure())


@dataclass(frozen=True)
class Compared:
    """One space: its figures by :class:`Measure`, and its row of the table ``cost``."""

    name: str
    kind: str
    dimension: int | None
    figures: Mapping[Measure, Figure]
    cost: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All spaces beside one another.

    Attributes
    ----------
    spaces : tuple of Compared
        Experiments, baselines, then what learned from labels.
    chance : mapping
        Chance per measure.
    group : str or None
        What makes a group of the splits and intervals.
    confidence : float or None
        From which BirdNET's detections count as labels here.
    truth : str or None
        What the labels are called that are not BirdNET's.
    """

    spaces: tuple[Compared, ...]
    chance: Mapping[Measure, float]
    group: str | None
    confidence: float | None
    truth: str | None

    def measured(self, measure: Measure) -> bool:
        """Whether any space has the figure."""
        return any(space.figures[measure].value is not None for space in self.spaces)

    def why_not(self, measure: Measure) -> str:
        """Return why no space has the figure."""
        notes = [space.figures[measure].note for space in self.spaces if not space.note]
        return next(filter(None, notes), "not measured")


Tables = dict[str, pl.DataFrame]


def read_tables(folder: Path) -> Tables:
    """Read the tables of an evaluation; one that is not there is empty."""
    tables = {}
    for name, columns in table_of.COLUMNS.items():
        path = folder / f"{name}.parquet"
        tables[name] = read_parquet(path) if path.exists() else pl.DataFrame(schema=columns)
    return tables


def compare(
    tables: Tables,
    outside: Collection[str] = (),
    costs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Comparison:
    """Choose the figures of each space, and say how they stand.

    The grouping is the first that the probes name, as the configuration has it; the confidence that of
    the labels that are probed.

    Parameters
    ----------
    tables : dict
        As from :func:`read_tables`.
    outside : collection of str
        Spaces that learned from labels, whatever their kind: they are in no contest.
    costs : mapping, optional
        What the spaces cost, where it is not these tables that say it.
    """
    probes, agreement = tables["probes"], tables["agreement"]
    spaces = pl.concat(
        [table.select("space", "kind", "dimension", "note") for table in (probes, agreement)]
    ).filter((pl.col("space") != MAJORITY) & pl.col("space").is_not_null())
    measured = spaces.filter(pl.col("dimension").is_not_null())
    reasons = dict(spaces.filter(pl.col("dimension").is_null()).select("space", "note").iter_rows())
    probes = probes.filter((pl.col("metric") == "balanced_accuracy") & pl.col("shots").is_null())
    group = _first(probes.filter(pl.col("split") == "grouped")["group"])
    target = _first(probes.filter(pl.col("target").str.starts_with(_BIRDNET_TARGET))["target"])
    confidence = float(target.removeprefix(_BIRDNET_TARGET)) if target else None
    truth = _first(agreement.filter(pl.col("labels") != "birdnet")["labels"])
    found: dict[Measure, dict[str, Figure]] = {}
    chance: dict[Measure, float] = {}
    for measure in MEASURES:
        if measure.how == AGREEMENT:
            rows = _agreement(agreement, measure, confidence)
        else:
            goal = {TRUTH: "species", BIRDNET: target}.get(measure.about, measure.about)
            of_target = probes.filter(pl.col("target") == pl.lit(goal, pl.String))
            guess = of_target.filter(pl.col("probe") == "majority")["value"].drop_nulls()
            rows = _probed(of_target, measure, group, guess[0] if len(guess) else None)
        found[measure] = rows
        expected = [row.chance for row in rows.values() if row.chance is not None]
        if expected:
            chance[measure] = fmean(expected)
    names = measured.select("space", "kind", "dimension").unique("space", maintain_order=True)
    contest = [
        name for name, kind, _ in names.iter_rows() if kind != SUPERVISED and name not in outside
    ]
    for measure in MEASURES:
        if measure.contested:
            for name, standing in standings(found[measure], contest).items():
                found[measure][name] = replace(found[measure][name], standing=standing)
    if costs is None:
        costs = {row["space"]: row for row in tables["cost"].iter_rows(named=True)}
    compared = [
        Compared(
            name,
            kind,
            dimension,
            {measure: found[measure].get(name, Figure()) for measure in MEASURES},
            costs.get(name, {}),
        )
        for name, kind, dimension in names.iter_rows()
    ]
    nothing = dict.fromkeys(MEASURES, Figure())
    compared += [
        Compared(name, EXPERIMENT, None, nothing, note=reason or "not measured")
        for name, reason in reasons.items()
        if name not in set(names["space"])
    ]
    order = {EXPERIMENT: 0, SUPERVISED: 2}
    compared.sort(key=lambda one: order.get(one.kind, 1))
    return Comparison(tuple(compared), chance, group, confidence, truth)


def _first(column: pl.Series) -> Any:
    known = column.drop_nulls()
    return known[0] if len(known) else None


def _figures(rows: pl.DataFrame, chance: pl.Expr) -> dict[str, Figure]:
    rows = rows.unique("space", keep="first", maintain_order=True).with_columns(
        chance.alias("_chance"), pl.col("note").fill_null("")
    )
    columns = ["space", "value", "low", "high", "_chance", "note"]
    return {name: Figure(*rest) for name, *rest in rows.select(columns).iter_rows()}


def _probed(
    rows: pl.DataFrame, measure: Measure, group: str | None, guess: float | None
) -> dict[str, Figure]:
    """Return each space's figure; of leaky splits, which need no group, whatever group is named."""
    name = pl.col("probe")
    chosen = rows.filter(
        name.str.ends_with("nearest neighbours")
        if measure.how == "neighbours"
        else name == measure.how
    ).filter(pl.col("split") == measure.split)
    if measure.split == "grouped":
        chosen = chosen.filter(pl.col("group").eq_missing(pl.lit(group)))
    return _figures(chosen, pl.lit(guess, pl.Float64))


def _agreement(rows: pl.DataFrame, measure: Measure, confidence: float | None) -> dict[str, Figure]:
    if measure.about == BIRDNET:
        of_source = (pl.col("labels") == "birdnet") & pl.col("confidence").eq_missing(
            pl.lit(confidence, pl.Float64)
        )
    else:
        of_source = pl.col("labels") != "birdnet"
    chosen = rows.filter(
        of_source
        & (pl.col("metric") == "ami")
        & (pl.col("clustering") == "fitted")
        & (pl.col("unlabelled") == "left out")
    )
    return _figures(chosen, pl.col("shuffled"))


def standings(figures: Mapping[str, Figure], contest: Iterable[str]) -> dict[str, Standing]:
    """Say which of several figures is best, as far as their 95 % intervals tell.

    The highest is :data:`BEST` if its interval lies above the interval of every other; else it is
    :data:`HIGHEST`, and those whose interval reaches up to its own are :data:`LEVEL`: they cannot be
    told apart from it. Nobody has a standing if the highest has no interval, if its interval reaches down to
    chance, or if there is nothing else to compare it with. A figure without an interval cannot be told
    apart from anything: below the highest, it takes from it the title of best, and has no standing.

    Parameters
    ----------
    figures : mapping
        By space.
    contest : iterable of str
        Spaces that may have a standing; of others the figure is not looked at.

    Returns
    -------
    dict
        Standings of those that have one.

    Notes
    -----
    Intervals of two figures that do not overlap differ at a level well below 5 %; two that do
    overlap may still differ, as all spaces are measured on the same groups. So the rule names too
    few a best rather than too many. It is not corrected for the number of columns.
    """
    known = {
        name: figures[name]
        for name in contest
        if name in figures and figures[name].value is not None
    }
    if len(known) < 2:
        return {}
    top = max(known, key=lambda name: known[name].value or 0.0)
    best = known.pop(top)
    if best.low is None or (best.chance is not None and best.low <= best.chance):
        return {}
    level = [name for name, one in known.items() if one.high is not None and one.high >= best.low]
    unsure = any(one.high is None for one in known.values())
    return {top: HIGHEST if level or unsure else BEST, **dict.fromkeys(level, LEVEL)}


COST = {
    name: kind
    for name, kind in table_of.COLUMNS["cost"].items()
    if name not in ("space", "kind", "dimension", "note")
}


def wide(comparison: Comparison) -> pl.DataFrame:
    """Return the comparison as one table: a row per space, and one of chance.

    Returns
    -------
    DataFrame
        space, kind, dimension; per measure its key, ``_low``, ``_high`` and, where more is better,
        ``_standing``; the columns of the table ``cost``; note.
    """
    schema: dict[str, Any] = {"space": pl.String, "kind": pl.String, "dimension": pl.Int64}
    for measure in MEASURES:
        schema |= {f"{measure.key}{end}": pl.Float64 for end in ("", "_low", "_high")}
        if measure.contested:
            schema[f"{measure.key}_standing"] = pl.String
    schema |= COST | {"note": pl.String}
    rows = []
    for space in comparison.spaces:
        row: dict[str, Any] = {
            "space": space.name,
            "kind": space.kind,
            "dimension": space.dimension,
            "note": space.note or None,
        }
        for measure, figure in space.figures.items():
            row[measure.key] = figure.value
            row[f"{measure.key}_low"], row[f"{measure.key}_high"] = figure.low, figure.high
            if measure.contested:
                row[f"{measure.key}_standing"] = figure.standing or None
        row |= {name: space.cost.get(name) for name in COST}
        rows.append(row)
    guess = {measure.key: value for measure, value in comparison.chance.items()}
    rows.append({"space": CHANCE, "kind": CHANCE, **guess})
    every = [{key: row.get(key) for key in schema} for row in rows]
    return pl.DataFrame(every, schema=schema, orient="row")


def write_comparison(folder: Path, comparison: Comparison) -> pl.DataFrame:
    """Write ``comparison.parquet`` and ``comparison.tsv``; return the table."""
    frame = wide(comparison)
    with publishing(folder / "comparison.parquet") as partial:
        frame.write_parquet(partial)
    table_of.write_tsv(folder / "comparison.tsv", frame)
    return frame
