"""Search by example: what a person asks, answered.

In: a window of the season or an audio file, and where to look. Out: a table of the most similar windows with recorder,
local time, recording, seconds and similarity; as text, TSV or Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dawnchorus.clustering.fit_sample import Embedded, embedded_days
from dawnchorus.clustering.queries import Queries, hidden, of_clip, of_window
from dawnchorus.clustering.similar import most_similar
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import scan_parquet
from dawnchorus.results import RecorderDay, Results, publishing

COLUMNS = (
    "query",
    "rank",
    "similarity",
    "recorder",
    "date",
    "local_time",
    "recording",
    "second",
    "offset",
    "time",
)
"""``query`` counts the windows that were looked for, from 0; ``second`` is within the recording."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for, and where.

    Parameters
    ----------
    recording, offset : str, int
        A window of the season, or
    clip : Path
        an audio file.
    count : int
        Windows per query.
    recorder : str, optional
        Only this recorder's windows.
    first, last : str, optional
        Only windows of these local dates, and between, YYYY-MM-DD.
    elsewhere : bool
        Not in the recording of the window that is looked for.
    """

    recording: str | None = None
    offset: int | None = None
    clip: Path | None = None
    count: int = 20
    recorder: str | None = None
    first: str | None = None
    last: str | None = None
    elsewhere: bool = False

    def check(self) -> None:
        """Raise DawnChorusError if it is not one thing that is looked for, or a date is none."""
        if (self.recording is None) == (self.clip is None):
            raise DawnChorusError(
                "is not one thing to look for",
                "--recording, --clip",
                "give a window (--recording, --offset) or an audio file (--clip)",
            )
        if (self.recording is None) != (self.offset is None):
            raise DawnChorusError(
                "half a window", "--recording, --offset", "a window is both: recording and offset"
            )
        for option, date in (("--from", self.first), ("--to", self.last)):
            if date is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
                raise DawnChorusError(f"{date!r} is no date", option, "write it as YYYY-MM-DD")

    @property
    def name(self) -> str:
        """What is looked for, as a page calls it."""
        return self.recording if self.clip is None else self.clip.name  # type: ignore[return-value]


def days_of(results: Results, experiment: str) -> list[Embedded]:
    """Return all recorder-days that have embeddings.

    Raises
    ------
    DawnChorusError
        If there are none.
    """
    folder = results.experiment(experiment).root / "embeddings"
    found = [RecorderDay(path.parent.name, path.stem) for path in folder.glob("*/[!.]*.json")]
    if not found:
        raise DawnChorusError(
            "holds no embeddings", folder, f"run `dawnchorus embed --experiment {experiment}`"
        )
    return embedded_days(results, experiment, found)


def search(
    settings: Settings,
    results: Results,
    experiment: str,
    wanted: Wanted,
    *,
    device: str = "auto",
    workers: int = 1,
) -> tuple[Queries, pl.DataFrame]:
    """Find what is most like a window or a file.

    A window does not find itself.

    Parameters
    ----------
    settings : Settings
    results : Results
    experiment : str
        Name in the config.
    wanted : Wanted
    device : str
        On which a file is embedded.
    workers : int
        Recorder-days read at a time; the result is the same.

    Returns
    -------
    (Queries, DataFrame)
        The table has the columns :data:`COLUMNS`.

    Raises
    ------
    DawnChorusError
        If there is nothing to look for, or nowhere to look.
    """
    settings.experiment(experiment)
    wanted.check()
    days = days_of(results, experiment)
    exclude = []
    if wanted.recording is not None and wanted.offset is not None:
        queries = of_window(results, experiment, days, wanted.recording, wanted.offset)
        exclude = hidden(queries, wanted.recording, wanted.offset, elsewhere=wanted.elsewhere)
    else:
        queries = of_clip(settings, results, experiment, Path(wanted.clip or ""), device=device)
    chosen = [
        one
        for one in days
        if wanted.recorder in (None, one.day.recorder)
        and (wanted.first is None or one.day.date >= wanted.first)
        and (wanted.last is None or one.day.date <= wanted.last)
    ]
    if not chosen:
        raise DawnChorusError(
            f"none of {len(days):,} recorder-days is of that recorder and these dates",
            "--recorder, --from, --to",
        )
    if queries.vectors.shape[1] != chosen[0].dimension:
        raise DawnChorusError(
            f"makes vectors of {queries.vectors.shape[1]} numbers, the season has {chosen[0].dimension}",
            results.experiment(experiment).model,
            f"run `dawnchorus embed --experiment {experiment}` again",
        )
    found = most_similar(
        results, experiment, chosen, queries.vectors, wanted.count, exclude=exclude, workers=workers
    )
    return queries, with_places(results, found)


def with_places(results: Results, found: pl.DataFrame) -> pl.DataFrame:
    """Add local time and seconds within the recording, as far as the inventory knows them."""
    names: Sequence[str] = found["recording"].unique().to_list()
    known = (
        scan_parquet(results.recordings)
        .filter(pl.col("recording").is_in(names))
        .select("recording", "sample_rate", "utc_offset_minutes")
        .collect()
    )
    minutes = pl.col("utc_offset_minutes").fill_null(0).cast(pl.Int64)
    return (
        found.join(known, on="recording", how="left", maintain_order="left")
        .with_columns(
            (pl.col("time") + pl.duration(minutes=minutes))
            .dt.strftime("%Y-%m-%d %H:%M:%S")
            .alias("local_time"),
            (pl.col("offset") / pl.col("sample_rate")).round(3).alias("second"),
        )
        .select(COLUMNS)
    )


def as_text(found: pl.DataFrame) -> str:
    """Return the table for a terminal: columns aligned, a blank line between queries."""
    heads = ("rank", "similarity", "recorder", "local_time", "second", "recording")
    rows = [
        (row["query"], [_cell(row[head]) for head in heads]) for row in found.iter_rows(named=True)
    ]
    widths = [
        max(len(head), *(len(cells[number]) for _, cells in rows), 0)
        for number, head in enumerate(heads)
    ]
    lines, before = [_line(heads, widths)], None
    for query, cells in rows:
        if before not in (None, query):
            lines.append("")
        lines.append(_line(cells, widths))
        before = query
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def write_found(found: pl.DataFrame, path: Path) -> None:
    """Write the table as TSV or Parquet, by the name's ending.

    Raises
    ------
    DawnChorusError
        If it ends otherwise.
    """
    check_ending(path)
    with publishing(path) as partial:
        if path.suffix == ".parquet":
            found.write_parquet(partial, compression="zstd")
        else:
            found.write_csv(partial, separator="\t")


def check_ending(path: Path) -> None:
    """Raise DawnChorusError if a table cannot be written to such a name."""
    if path.suffix not in (".tsv", ".parquet"):
        raise DawnChorusError("is neither .tsv nor .parquet", path, "name the table so")
