"""What there is to say of each cluster: one row per cluster, for pages and reports.

In: the season counted (:mod:`dawnchorus.clustering.season_counts`), the members of the fit, the spectrograms of their
most central windows. Out: ``clusters/cards.parquet``, with nested columns, and ``clusters/cards.tsv``, which a person
opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dawnchorus.clustering.looks import look
from dawnchorus.clustering.season_counts import SeasonCounts, count_season
from dawnchorus.clustering.suggestions import Facts, suggest
from dawnchorus.config import Settings
from dawnchorus.parquet import read_parquet
from dawnchorus.results import RecorderDay, Results, publishing, read_receipt

CENTRAL_WINDOWS = 12
"""Windows nearest to the centroid that a card names, and that are looked at for its description."""
BORDER_WINDOWS = 6
"""Windows farthest from it."""
TOP_SPECIES = 5
HOURS = 24
DIGITS = 6
"""Means are rounded: the last bits of a sum depend on how many cores added it up."""
NO_CLUSTER = -1
"""Windows that a clustering leaves out (HDBSCAN's noise) have a card of their own, the last one."""

WINDOW = pl.Struct(
    {
        "recorder": pl.String,
        "date": pl.String,
        "recording": pl.String,
        "offset": pl.Int64,
        "time": pl.Datetime("us"),
        "distance": pl.Float32,
    }
)
CARDS: dict[str, Any] = {
    "cluster": pl.Int32,
    "size": pl.Int64,
    "members": pl.Int64,
    "mean_distance": pl.Float64,
    "suggestion": pl.String,
    "kind": pl.String,
    "evidence": pl.List(pl.String),
    "silent": pl.Float64,
    "activity": pl.Float64,
    "night": pl.Float64,
    "dawn": pl.Float64,
    "central": pl.List(WINDOW),
    "border": pl.List(WINDOW),
    "recorders": pl.List(pl.Struct({"recorder": pl.String, "windows": pl.Int64})),
    "habitats": pl.List(pl.Struct({"habitat": pl.String, "windows": pl.Int64})),
    "hours": pl.List(pl.Int64),
    "dates": pl.List(pl.Struct({"date": pl.String, "windows": pl.Int64})),
    "weeks": pl.List(pl.Struct({"week": pl.String, "windows": pl.Int64})),
    "heard": pl.Int64,
    "detected": pl.Int64,
    "species": pl.List(
        pl.Struct(
            {
                "species": pl.String,
                "common_name": pl.String,
                "windows": pl.Int64,
                "share": pl.Float64,
                "mean_confidence": pl.Float64,
            }
        )
    ),
}
"""Columns of ``cards.parquet``.

``size`` counts the windows assigned on the given recorder-days, ``members`` those of the fit. ``suggestion``, its
``kind`` and its ``evidence`` are those of :mod:`dawnchorus.clustering.suggestions`. ``silent`` is a share of the windows
(:meth:`~dawnchorus.clustering.season_counts.SeasonCounts.silence`), ``activity`` their mean in dB; null if there are no
spectrograms. ``night`` and ``dawn`` are shares. ``central`` and ``border`` are the members nearest to and farthest from
the centroid. ``hours`` has 24 counts by local hour; ``dates`` counts by local date, ``weeks`` by the Monday they begin
with, ``habitats`` by what the deployments say (null: nothing). ``heard`` counts the windows of recorder-days that
BirdNET listened to, ``detected`` those of them in which it found a species; a species' ``share`` is of ``heard``."""


def cards(
    settings: Settings,
    results: Results,
    experiment: str,
    days: Sequence[RecorderDay],
    counts: SeasonCounts | None = None,
) -> pl.DataFrame:
    """Describe the clusters of an experiment over some recorder-days and write the tables.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    days : sequence of RecorderDay
        Those set aside are passed over.
    counts : SeasonCounts, optional
        Of these days, if they are counted already.

    Returns
    -------
    DataFrame
        Columns :data:`CARDS`, one row per cluster, in the order of the clusters; windows in no cluster come last.

    Raises
    ------
    DawnChorusError
        If the clusters were not fitted, or a recorder-day was not assigned, or to other clusters.
    """
    settings.experiment(experiment)
    paths = results.experiment(experiment)
    if counts is None:
        counts = count_season(results, experiment, days, settings.spectrogram.window_seconds)
    fitted = read_receipt(paths.clusters_receipt)
    table = _table(int(fitted["k"]), results, read_parquet(paths.members), counts)
    with publishing(paths.cards) as partial:
        table.write_parquet(partial, compression="zstd", statistics=True)
    with publishing(paths.cards.with_suffix(".tsv")) as partial:
        _flat(table).write_csv(partial, separator="\t")
    return table


def _table(k: int, results: Results, members: pl.DataFrame, counts: SeasonCounts) -> pl.DataFrame:
    order = ["distance", "recorder", "date", "recording", "offset"]
    by_cluster = {
        int(cluster): rows.sort(order)
        for (cluster,), rows in members.group_by(["cluster"], maintain_order=True)
    }
    totals = {int(row["cluster"]): row for row in counts.clusters.to_dicts()}
    numbers = sorted((set(range(k)) | set(totals) | set(by_cluster)) - {NO_CLUSTER})
    if NO_CLUSTER in totals or NO_CLUSTER in by_cluster:
        numbers.append(NO_CLUSTER)
    looked_at = [rows.head(CENTRAL_WINDOWS) for rows in by_cluster.values()]
    looks = look(results, pl.concat(looked_at)) if looked_at else {}
    silence = counts.silence()
    hours = counts.hours.with_columns(
        pl.col("date").str.to_date().dt.truncate("1w").dt.strftime("%Y-%m-%d").alias("week")
    )
    by = {key: _summed_by(hours, key) for key in ("recorder", "habitat", "hour", "date", "week")}
    species = _species(counts.species)
    season = counts.clusters.select("windows", "night", "dawn").sum().row(0, named=True)
    rows: list[dict[str, Any]] = []
    for cluster in numbers:
        own = by_cluster.get(cluster, members.clear())
        total = totals.get(cluster, dict.fromkeys(counts.clusters.columns, 0))
        windows, heard = int(total["windows"]), int(total["heard"])
        quiet, of = silence.get(cluster, (0, 0))
        names = [
            {
                "species": row["species"],
                "common_name": row["common_name"],
                "windows": row["windows"],
                "share": round(row["windows"] / heard, DIGITS),
                "mean_confidence": round(row["confidence"] / row["windows"], DIGITS),
            }
            for row in species.get(cluster, [])
        ]
        facts = Facts(
            windows=windows,
            silent=_share(quiet, of),
            activity=_share(total["activity"], total["looked"]),
            night=_share(total["night"], windows) or 0.0,
            dawn=_share(total["dawn"], windows) or 0.0,
            season_night=_share(season["night"], season["windows"]) or 0.0,
            season_dawn=_share(season["dawn"], season["windows"]) or 0.0,
            species=(names[0]["common_name"], names[0]["share"], names[0]["mean_confidence"])
            if names
            else None,
            detected=_share(total["detected"], heard),
            look=looks.get(cluster),
        )
        suggestion = suggest(facts)
        by_hour = dict(by["hour"].get(cluster, []))
        rows.append(
            {
                "cluster": cluster,
                "size": windows,
                "members": own.height,
                "mean_distance": _share(total["distance"], total["measured"]),
                "suggestion": suggestion.words,
                "kind": suggestion.kind,
                "evidence": list(suggestion.evidence),
                "silent": facts.silent,
                "activity": facts.activity,
                "night": facts.night,
                "dawn": facts.dawn,
                "central": _named(own.head(CENTRAL_WINDOWS)),
                "border": _named(own.reverse().head(BORDER_WINDOWS)),
                "hours": [int(by_hour.get(hour, 0)) for hour in range(HOURS)],
                **{
                    f"{key}s": [
                        {key: name, "windows": count} for name, count in by[key].get(cluster, [])
                    ]
                    for key in ("recorder", "habitat", "date", "week")
                },
                "heard": heard,
                "detected": int(total["detected"]),
                "species": names,
            }
        )
    return pl.DataFrame(rows, schema=CARDS)


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, DIGITS) if whole else None


def _named(windows: pl.DataFrame) -> list[dict[str, Any]]:
    return windows.select([field.name for field in WINDOW.fields]).to_dicts()


def _summed_by(hours: pl.DataFrame, by: str) -> dict[int, list[tuple[Any, int]]]:
    found: dict[int, list[tuple[Any, int]]] = {}
    table = hours.group_by("cluster", by).agg(pl.col("windows").sum())
    for cluster, value, windows in table.sort("cluster", by, nulls_last=True).iter_rows():
        found.setdefault(int(cluster), []).append((value, int(windows)))
    return found


def _species(counts: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    """Return the species found in most windows of each cluster, the most frequent first."""
    found: dict[int, list[dict[str, Any]]] = {}
    table = counts.sort("cluster", "windows", "species", descending=[False, True, False])
    for row in table.iter_rows(named=True):
        rows = found.setdefault(int(row["cluster"]), [])
        if len(rows) < TOP_SPECIES:
            rows.append(row)
    return found


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row per cluster without nested columns, for a spreadsheet."""
    rows = []
    for card in table.iter_rows(named=True):
        dates = [one["date"] for one in card["dates"]]
        busiest = max(range(HOURS), key=lambda hour: card["hours"][hour])
        rows.append(
            {
                "cluster": card["cluster"],
                "windows": card["size"],
                "suggestion": card["suggestion"],
                "evidence": "; ".join(card["evidence"]),
                "silent_share": card["silent"],
                "mean_activity_db": card["activity"],
                "night_share": card["night"],
                "dawn_share": card["dawn"],
                "mean_distance": card["mean_distance"],
                "busiest_local_hour": busiest if card["size"] else None,
                "first_date": dates[0] if dates else None,
                "last_date": dates[-1] if dates else None,
                "birdnet_share": _share(card["detected"], card["heard"]),
                "birdnet": ", ".join(
                    f"{one['common_name']} {one['share']:.1%} ({one['mean_confidence']:.2f})"
                    for one in card["species"]
                ),
                "recorders": _counted(card["recorders"], "recorder"),
                "habitats": _counted(card["habitats"], "habitat"),
                "weeks": _counted(card["weeks"], "week"),
                "most_central": _place(card["central"]),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _counted(counts: list[dict[str, Any]], key: str) -> str:
    return ", ".join(f"{one[key] or 'not said'} {one['windows']}" for one in counts)


def _place(central: list[dict[str, Any]]) -> str | None:
    """Return where the most central window is heard: recording and first sample."""
    return f"{central[0]['recording']} @ {central[0]['offset']}" if central else None
