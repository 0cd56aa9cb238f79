"""What the evaluation stands on: recorder-days, windows, labels; and what is missing.

In: the bench and what had to be left out. Out: the rows of the table ``coverage``, and the training
windows that lost their recording.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dawnchorus.evaluation import tables as table_of
from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.labels import Labels
from dawnchorus.evaluation.tables import covered
from dawnchorus.evaluation.windows import LeftOut, recording_facts
from dawnchorus.parquet import read_parquet
from dawnchorus.results import RecorderDay, Results


def fill_coverage(
    bench: Bench,
    days: Sequence[RecorderDay],
    left_out: Sequence[LeftOut],
    missing: dict[str, str],
) -> None:
    """Fill the table coverage."""
    windows, rows = bench.windows, bench.tables["coverage"]

    def row(what: str, name: str, count: int, of: int, note: str = "") -> None:
        rows.append(covered(what, name, count, of, note))

    usable = len(days) - len(left_out)
    row("recorder-days", "evaluated", usable, len(days), "the numbers are recorder-days")
    for one in left_out:
        rows.append({"what": "recorder-day left out", "name": str(one.day), "note": one.reason})
    for name, reason in missing.items():
        rows.append({"what": "experiment left out", "name": name, "note": reason})
    row("windows", "drawn", len(windows), windows.total)
    for recorder in sorted(set(windows.recorder.tolist())):
        row("recorder", recorder, int((windows.recorder == recorder).sum()), len(windows))
    fill_coverage_of_labels(bench)
    if bench.settings.evaluation.annotations is None:
        rows.append(
            {"what": "annotations", "name": "known", "note": "evaluation.annotations is not set"}
        )


def fill_coverage_of_labels(bench: Bench) -> None:
    """Fill the rows of the table coverage that say how many windows each kind of label covers."""
    windows = bench.windows
    for labels in bench.labels:
        known = int(labels.known.sum())
        rows: list[tuple[str, float | None, int, int, str]] = []
        if labels is bench.labels[0] or labels.source != "birdnet":
            rows.append(("known", None, known, len(windows), _unknown(labels)))
        labelled = int((labels.known & labels.labelled).sum())
        rows.append(
            ("labelled", labels.confidence, labelled, known, "" if known else _unknown(labels))
        )
        bench.tables["coverage"] += [
            covered(labels.source, name, count, of, note) | {"confidence": confidence}
            for name, confidence, count, of, note in rows
        ]


def _unknown(labels: Labels) -> str:
    if labels.known.all():
        return ""
    heard = "BirdNET has heard" if labels.source == "birdnet" else "an annotated recording holds"
    return f"{heard} {int(labels.known.sum())} of the {len(labels.known)} windows"


def lost_windows(results: Results) -> pl.DataFrame:
    """Return the training windows whose recording can no longer be used.

    Returns
    -------
    DataFrame
        recorder, date, recording, windows (how many); empty if nothing is lost, or nothing was
        drawn.
    """
    if not results.training_windows.exists():
        return pl.DataFrame(schema=table_of.LOST)
    known = set(recording_facts(results.recordings))
    return (
        read_parquet(results.training_windows, columns=["recorder", "date", "recording"])
        .filter(~pl.col("recording").is_in(known))
        .group_by("recorder", "date", "recording")
        .len("windows")
        .with_columns(pl.col("windows").cast(pl.Int64), pl.col("date").cast(pl.String))
        .sort("recorder", "date", "recording")
        .select(list(table_of.LOST))
    )
