"""Labels come in: what other programs or people wrote down becomes labels of single windows.

In: rows of :mod:`dawnchorus.sharing.given` and a label book. Out: entries in the journal, one per label, annotator
and moment, which say where they came from; and how many rows found their windows.

A row that begins and ends with a window names that window alone. Any other (somebody's selection around a song)
names each window of which it covers half, or which holds half of it; where two rows reach for a window, the one that
shares more of it names it. Windows that have that very name already are passed over: to import twice, or once more
after an interruption, changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.entries import Import, now
from dawnchorus.explorer.labels import LabelBook, clean_label
from dawnchorus.explorer.regions import WindowsRegion
from dawnchorus.explorer.replay import is_single
from dawnchorus.recordings.table import read_recordings
from dawnchorus.results import Results
from dawnchorus.sharing.given import Recordings, read_given

SHARE = 0.5
"""Of the shorter of row and window, that they must have in common."""
SAME_S = 0.005
"""Seconds by which a row may differ from a window in length and still be it."""


def import_labels(
    results: Results, book: LabelBook, path: Path, form: str, who: str
) -> dict[str, int]:
    """Read labels from a file or folder into the journal.

    Parameters
    ----------
    results : Results
    book : LabelBook
    path : Path
    form : str
        ``raven``, ``audacity``, ``birdnet-csv``, ``camtrap-dp`` or ``parquet``.
    who : str
        Whose labels they are, where the file does not say it.

    Returns
    -------
    dict
        rows (read), unknown (of recordings that the map does not hold), empty (without a label), missed (met
        no window), windows (that were named), entries (written).

    Raises
    ------
    DawnChorusError
        If the file cannot be read, or none of its rows met a window.
    """
    recordings = Recordings(one.recording for one in read_recordings(results.recordings))
    rows = read_given(path, form, recordings)
    counts = {"rows": rows.height}
    cleaned = {text: _clean(text) for text in rows["label"].unique().to_list()}
    rows = rows.with_columns(
        pl.col("label").replace_strict(cleaned, return_dtype=pl.String),
        pl.col("who").fill_null(who),
    )
    counts["empty"] = rows["label"].null_count()
    rows = rows.filter(pl.col("label").is_not_null())
    inventory = book.space.inventory.with_row_index("number").select(
        "recording", "number", "sample_rate"
    )
    rows = rows.join(inventory, on="recording", how="left", maintain_order="left")
    counts["unknown"] = rows["sample_rate"].null_count()
    rows = rows.filter(pl.col("sample_rate").is_not_null())
    pairs, missed = _windows_of(rows, book)
    counts["missed"] = missed
    if counts["rows"] and not len(pairs):
        raise DawnChorusError(
            f"none of its {counts['rows']:,} rows names a window of this map ({counts['unknown']:,} are "
            f"about recordings that it does not hold, {counts['empty']:,} have no label)",
            path,
            "names of files or paths must be those of the recordings on the cards",
        )
    state = book.state()
    alone = np.array([*map(is_single, state.standing), False], dtype=bool)[state.winner]
    names = np.array([None, *state.names], dtype=object)[state.codes]
    imported = Import(format=form, file=path.name, when=now())
    counts.update(windows=0, entries=0)
    for (label, by, when), group in pairs.group_by(["label", "who", "when"], maintain_order=True):
        at = group["row"].to_numpy()
        at = np.unique(at[~(alone[at] & (names[at] == label))])
        if not len(at):
            continue
        region = WindowsRegion(kind="windows", windows=book.members.windows(at))
        book.label(region, str(label), str(by), when=when, imported=imported)
        counts["windows"] += len(at)
        counts["entries"] += 1
    return counts


def _clean(text: Any) -> str | None:
    try:
        return clean_label(text or "")
    except ValueError:
        return None


def _windows_of(rows: pl.DataFrame, book: LabelBook) -> tuple[pl.DataFrame, int]:
    """Return row of the map, label, who and when of every window named, and how many rows named none."""
    space = book.space
    seconds = space.window_seconds
    rows = rows.with_row_index("given").with_columns(
        offset=(pl.col("start_s") * pl.col("sample_rate")).round().cast(pl.Int64),
        whole=((pl.col("end_s") - pl.col("start_s") - seconds).abs() < SAME_S),
    )
    held = pl.DataFrame(
        {"number": space.recording, "offset": space.offset}, schema_overrides={"number": pl.UInt32}
    ).with_row_index("row")
    wanted = held.join(rows.select("number").unique(), on="number", how="semi")
    exact = rows.filter("whole").join(wanted, on=["number", "offset"], how="inner")
    found = [exact.select("given", "row", share=pl.lit(np.inf))]
    rest = rows.join(exact.select("given"), on="given", how="anti")
    found += [
        _sharing(part, wanted.filter(pl.col("number") == number[0]), seconds)
        for number, part in rest.group_by("number")
    ]
    shared = (
        pl.concat(found)
        .sort(["row", "share", "given"])
        .unique("row", keep="last", maintain_order=True)
    )
    missed = rows.height - pl.concat(found)["given"].n_unique()
    # Several rows of one file may say the same of a window; the order of entries is that of the file.
    pairs = shared.join(rows.select("given", "label", "who", "when"), on="given").sort(
        "given", "row"
    )
    return pairs.select("row", "label", "who", "when"), missed


def _sharing(rows: pl.DataFrame, windows: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """Return which rows of one recording share enough with which of its windows."""
    rate = rows["sample_rate"][0]
    start: NDArray[np.float64] = windows["offset"].to_numpy() / rate
    number = windows["row"].to_numpy()
    found: list[tuple[int, int, float]] = []
    for given, begin, end in rows.select("given", "start_s", "end_s").iter_rows():
        common = np.minimum(start + seconds, end) - np.maximum(start, begin)
        least = SHARE * min(seconds, max(end - begin, 0.0))
        enough = (common >= least) & (common > 0)
        found += [(given, int(number[at]), float(common[at])) for at in np.flatnonzero(enough)]
    schema = {"given": pl.UInt32, "row": pl.UInt32, "share": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")
