"""The page that compares all output spaces: what each is worth, beside its baselines, its nuisance and its cost.

In: the tables of the evaluation, of the season and of labelled sets, their receipts, the histories of training, and the
figures. Out: ``evaluation/comparison.html``, one file that needs no network and no other file, and the table behind it,
``comparison.parquet`` and ``.tsv``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from PIL import Image

from dawnchorus.config import Settings
from dawnchorus.evaluation.comparison import (
    AGREEMENT,
    BEST,
    BIRDNET,
    HIGHEST,
    LEVEL,
    PROBES,
    TRUTH,
    Compared,
    Comparison,
    Measure,
    Tables,
    compare,
    read_tables,
    write_comparison,
)
from dawnchorus.evaluation.spaces import EXPERIMENT, SUPERVISED
from dawnchorus.labelled_results import labelled_results
from dawnchorus.report import comparison_words as words
from dawnchorus.report.comparison_figures import draw_cost, draw_coverage, draw_few_shots
from dawnchorus.report.confusion import draw_calibration, draw_confusion
from dawnchorus.report.learning_curves import draw_learning
from dawnchorus.report.style import data_address
from dawnchorus.report.training import read_log
from dawnchorus.results import Results, read_receipt, write_text

KINDS = {
    EXPERIMENT: "Experiments: learned from this sound, without labels",
    "baseline": "Baselines: nothing learned (principal components excepted)",
    SUPERVISED: "Learned from labelled birds: not in the contest, and by BirdNET's labels its own judge",
}
MARKS = {BEST: "best", HIGHEST: "highest, but not alone", LEVEL: "cannot be told from the highest"}
MOST_ATTENTION = 24
"""Rows of the attention's table on the page; the TSV has all."""


@dataclass(frozen=True)
class Column:
    """A column of a table of spaces; ``heading`` spans it and its neighbours of the same heading."""

    heading: str
    title: str
    meaning: str
    measure: Measure | None = None
    cost: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure on the page."""

    title: str
    caption: str
    address: str = ""
    absent: str = ""
    """Why there is none."""


@dataclass
class Section:
    """The season, or a labelled set: everything about one comparison."""

    name: str
    facts: list[str]
    summary: list[Markup]
    comparison: Comparison
    columns: list[Column]
    absent: list[str]
    nuisance: list[Column]
    splits: dict[str, Any]
    attention: dict[str, Any]
    missing: list[str]
    pictures: list[Picture] = field(default_factory=list)


def write_page(settings: Settings, results: Results) -> None:
    """Draw the figures of the comparison, and write its page and its table.

    Labelled sets are those of the settings; one that has not been evaluated is a line of what is not there.
    """
    outside = [name for name, one in settings.experiments.items() if one.method == "birdnet"]
    tables = read_tables(results.evaluation)
    comparison = compare(tables, outside)
    write_comparison(results.evaluation, comparison)
    season = _section("The season", results.evaluation, tables, comparison)
    season.pictures = _draw(tables, comparison, results.comparison)
    logs = {
        name: read_log(results.experiment(name).log)
        for name in settings.experiments
        if results.experiment(name).log.exists()
    }
    methods = {name: one.title for name, one in settings.experiments.items()}
    season.pictures.append(
        _picture(
            "How the trainings went",
            "Over the epochs: the loss, how many dimensions the space uses (RankMe), and what the nearest neighbours of a "
            "sample of training windows name right. Losses of different methods cannot be compared. Falling dimensions or "
            "neighbours at chance are bad signs.",
            results.comparison("learning.png"),
            lambda path: draw_learning(logs, methods, path),
        )
    )
    sections = [season]
    costs = {space.name: space.cost for space in comparison.spaces}
    for name in settings.labelled_sets:
        folder = labelled_results(results, name).evaluation
        if not (folder / "evaluation.json").exists():
            season.missing.append(f"labelled set: {name} (not evaluated)")
            continue
        of_set = read_tables(folder)
        compared = compare(of_set, outside, costs)
        section = _section(f"Labelled set: {name}", folder, of_set, compared)
        with TemporaryDirectory() as drawn:
            section.pictures = _draw(of_set, compared, Path(drawn).joinpath)
        sections.append(section)
    pages = Environment(
        loader=PackageLoader("dawnchorus.report"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = pages.get_template("comparison.html.j2").render(
        sections=sections,
        words=words,
        kinds=KINDS,
        rows_of=_rows,
        spans=_spans,
        meanings=_meanings,
        marks=MARKS,
        birdnet_used=comparison.confidence is not None
        or any(space.kind == SUPERVISED for space in comparison.spaces),
    )
    write_text(results.comparison_page, page)


def _spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the headings over the columns, and how many columns each spans."""
    return [
        (heading, len(list(group)))
        for heading, group in itertools.groupby(columns, key=lambda column: column.heading)
    ]


def _meanings(sections: Sequence[Section]) -> list[Column]:
    """Return every column that is shown anywhere, once, for its explanation; nuisance by what is told."""
    shown: dict[str, Column] = {}
    for section in sections:
        for column in section.columns:
            shown.setdefault(column.title, column)
        for column in section.nuisance:
            shown.setdefault(column.heading, replace(column, title=column.heading))
    return sorted(shown.values(), key=lambda column: bool(column.cost))


def _rows(comparison: Comparison) -> list[tuple[str, list[Compared]]]:
    """Return the spaces by kind, with the heading of each kind."""
    rows: dict[str, list[Compared]] = {}
    for space in comparison.spaces:
        rows.setdefault(KINDS.get(space.kind, space.kind), []).append(space)
    return list(rows.items())


def _section(name: str, folder: Path, tables: Tables, comparison: Comparison) -> Section:
    columns, absent = _columns(comparison)
    nuisance = [
        Column(
            about,
            "unheard groups" if split == "grouped" else "leaky",
            words.MEANINGS[about],
            Measure(about, "linear", split),
        )
        for about in words.nuisances(comparison)
        for split in ("grouped", "leaky")
    ]
    return Section(
        name,
        _facts(folder, comparison.group),
        words.summary(comparison),
        comparison,
        columns,
        absent,
        nuisance,
        _splits(tables["probes"], comparison),
        _attention(tables["attention"]),
        _missing(tables["coverage"]),
    )


def _facts(folder: Path, group: str | None) -> list[str]:
    """Return what the receipt says of the amounts, and what makes a group."""
    path = folder / "evaluation.json"
    if not path.exists():
        return ["There is no receipt of an evaluation: run `dawnchorus evaluate`."]
    receipt = read_receipt(path)
    facts = []
    if receipt.get("windows") is not None:
        of = receipt.get("windows_available")
        drawn = f" of {of:,}" if of else ""
        facts.append(f"{receipt['windows']:,}{drawn} windows")
    days = receipt.get("days") or []
    if days:
        recorders = len({recorder for recorder, _ in days})
        facts.append(f"{len(days):,} recorder-days of {recorders} recorders")
    elif receipt.get("files") is not None:
        facts.append(f"{receipt['files']:,} files")
    if group is not None:
        facts.append(f"whole {words.GROUPS.get(group, group)} held back")
    if receipt.get("reason"):
        facts.append(str(receipt["reason"]))
    return facts


def _columns(comparison: Comparison) -> tuple[list[Column], list[str]]:
    """Return the columns of the main table that hold anything, and a line for each that does not."""
    wanted = []
    for about in (TRUTH, BIRDNET):
        heading = f"Species, by {words.labels_of(comparison, about)}"
        wanted += [
            Column(heading, words.HEADS[how], words.MEANINGS[how], Measure(about, how))
            for how in (*PROBES, AGREEMENT)
        ]
    wanted.append(
        Column("Nuisance", "recorder", words.MEANINGS["recorder"], Measure("recorder", "linear"))
    )
    held = [column for column in wanted if column.measure and comparison.measured(column.measure)]
    empty: dict[tuple[str, str], list[str]] = {}
    for column in wanted:
        if column.measure and column not in held:
            why = comparison.why_not(column.measure)
            empty.setdefault((column.heading, why), []).append(column.title)
    absent = [
        f"{heading}: no {', '.join(titles)} ({why})" for (heading, why), titles in empty.items()
    ]
    for key, title in (("gpu_hours", "GPU hours"), ("windows_per_second", "windows / s")):
        if any(space.cost.get(key) is not None for space in comparison.spaces):
            held.append(Column("Cost", title, words.MEANINGS[key], cost=key))
        else:
            absent.append(f"Cost: {title} not measured")
    return held, absent


def _splits(probes: pl.DataFrame, comparison: Comparison) -> dict[str, Any]:
    """Return the linear probe of species under every way of splitting: the leaky one, then ever stricter groups."""
    measure = words.headline(comparison, TRUTH) or words.headline(comparison, BIRDNET)
    if measure is None or measure.how == AGREEMENT:
        return {}
    goal = "species" if measure.about == TRUTH else f"birdnet species at {comparison.confidence}"
    rows = probes.filter(
        (pl.col("target") == goal)
        & (pl.col("metric") == "balanced_accuracy")
        & pl.col("shots").is_null()
        & pl.col("value").is_not_null()
        & (
            pl.col("probe") == "linear"
            if measure.how == "linear"
            else pl.col("probe").str.ends_with("nearest neighbours")
        )
    )
    grouped = set(rows.filter(pl.col("split") == "grouped")["group"].drop_nulls())
    kinds = ["leaky", *(group for group in words.GROUPS if group in grouped)]
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        kind = "leaky" if row["split"] == "leaky" else row["group"]
        if kind in kinds and row["split"] in ("leaky", "grouped"):
            table.setdefault(row["space"], {}).setdefault(kind, row)
    return {"kinds": kinds, "table": table, "measure": measure} if len(kinds) > 1 else {}


def _attention(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the attention's figures, heads left out: a row per experiment and map, a column per metric."""
    rows = rows.filter(~pl.col("map").fill_null("").str.starts_with("head "))
    known = rows.filter(pl.col("value").is_not_null())
    metrics = known["metric"].unique(maintain_order=True).to_list()
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in known.iter_rows(named=True):
        table.setdefault((row["experiment"], row["map"]), {})[row["metric"]] = row
    notes = rows.filter(pl.col("value").is_null() & pl.col("note").is_not_null())
    reasons = [
        f"{experiment}: {note}"
        for experiment, note in notes.select("experiment", "note")
        .unique(maintain_order=True)
        .iter_rows()
        if experiment not in {name for name, _ in table}
    ]
    shown = dict(list(table.items())[:MOST_ATTENTION])
    return {
        "metrics": metrics,
        "table": shown,
        "reasons": reasons,
        "hidden": len(table) - len(shown),
    }


def _missing(coverage: pl.DataFrame) -> list[str]:
    """Return a line for everything that is left out or not there, with the reason."""
    noted = coverage.filter(pl.col("note").is_not_null() & (pl.col("what") != "recorder-days"))
    lines = []
    for row in noted.iter_rows(named=True):
        if row["name"] in (None, "known", "labelled", "drawn"):
            lines.append(f"{row['what']}: {row['note']}")
        else:
            lines.append(f"{row['what']}: {row['name']} ({row['note']})")
    return list(dict.fromkeys(lines))


def _draw(tables: Tables, comparison: Comparison, place: Callable[[str], Path]) -> list[Picture]:
    """Draw the figures that every comparison has; return them as the page shows them."""
    chief = words.headline(comparison, TRUTH) or words.headline(comparison, BIRDNET)
    draw: Mapping[str, tuple[Callable[[Path], str | None], str, str]] = {
        "few_shot.png": (
            lambda path: draw_few_shots(tables, comparison, path),
            "How many labelled windows does it take?",
            "Balanced accuracy of a probe that learns from 1, 2, 4 … labelled windows per species, tested on windows of "
            "other groups. Bands: 95 % intervals. A steep start means that little labelling goes far.",
        ),
        "coverage.png": (
            lambda path: draw_coverage(tables, comparison, path),
            "Which windows does the agreement speak of?",
            "The higher BirdNET's confidence must be, the fewer windows have a label (to the left), and the clearer their "
            "songs: agreement rises because easy windows are left. A figure without its coverage says little.",
        ),
        "confusion.png": (
            lambda path: draw_confusion(tables, comparison, path),
            "Which species does each cluster hold?",
            "A line per cluster (the largest), a column per species; a cluster's windows are shared out over its line. One "
            "dark cell per line: the cluster is a species. Several: it mixes them. Several lines with the same dark "
            "column: the species is in several clusters.",
        ),
        "calibration.png": (
            lambda path: draw_calibration(tables, path),
            "How far can BirdNET's labels be trusted?",
            "Of BirdNET's detections in a range of confidence, the share that a person's annotation confirms, with 95 % "
            "intervals and the number of detections. Below the diagonal BirdNET is surer than it should be; above it, too "
            "modest.",
        ),
        "cost.png": (
            lambda path: draw_cost(comparison, chief, path),
            "What does the quality cost?",
            "Each experiment's figure for species over what its training took, with 95 % intervals; lines are what needs no "
            "training here.",
        ),
    }  # fmt: skip
    return [
        _picture(title, caption, place(name), make) for name, (make, title, caption) in draw.items()
    ]


def _picture(title: str, caption: str, path: Path, make: Callable[[Path], str | None]) -> Picture:
    """Draw a figure; return it with the picture inside, in few colours: a third of the bytes, and no difference to see."""
    absent = make(path)
    if absent is not None:
        return Picture(title, caption, absent=absent)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(dither=Image.Dither.NONE)
    return Picture(title, caption, data_address(few, "png"))
