"""A person's labels, from the files they come in, as one table.

In: a table of clips or of boxes (CSV, TSV, Parquet), or a folder with Raven selection tables or Audacity label tracks.
Out: one row per label, :data:`COLUMNS`, whatever the format: the file as it is named there (a selection table or track:
the part of its own name that may be a recording's), start and end in seconds and edges in hertz (null: not told), the
label (null: there is none), group and fold (null: not told), and where it stands, for messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl

from dawnchorus.config import LabelledSet
from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.audacity import read_labels
from dawnchorus.exports.raven import read_selections
from dawnchorus.parquet import read_parquet

COLUMNS = {
    "path": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "low_hz": pl.Float64,
    "high_hz": pl.Float64,
    "label": pl.String,
    "group": pl.String,
    "fold": pl.String,
    "where": pl.String,
}
NUMBERS = ("start_s", "end_s", "low_hz", "high_hz")
BOX: dict[str, str] = {"start": "start_s", "end": "end_s", "low": "low_hz", "high": "high_hz"}
"""Keys of ``columns`` and what they are called here."""
RAVEN_LABELS = ("Annotation", "Species", "Label", "Common Name")
"""Headings under which a selection table may have its label."""
RAVEN_PATH, RAVEN_OFFSET, RAVEN_BEGIN = "Begin File", "File Offset (s)", "Begin Time (s)"
RAVEN_EDGES = {"end": "End Time (s)", "low": "Low Freq (Hz)", "high": "High Freq (Hz)"}
TRACKS = ".txt"
"""Suffix of selection tables and label tracks."""


def read_labels_of(wanted: LabelledSet, name: str) -> pl.DataFrame:
    """Read the labels of a set.

    Parameters
    ----------
    wanted : LabelledSet
        ``labels``, ``format``, ``columns`` and ``where`` are used.
    name : str
        Of the set, for messages.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`, in the order of the files. A track without any label is a row without one.

    Raises
    ------
    DawnChorusError
        If a file is missing or cannot be read, lacks a column, or holds no number where one belongs.
    """
    path = wanted.labels
    key = f"labelled_sets.{name}"
    if not path.exists():
        raise DawnChorusError("is not there", path, f"check {key}.labels")
    if path.is_dir():
        if wanted.format in ("clips", "boxes"):
            raise DawnChorusError(
                f"is a folder, and {key}.format is {wanted.format}, which is one table",
                path,
                "give the table, or take raven or audacity",
            )
        return _folder(wanted, name)
    if wanted.format == "audacity":
        raise DawnChorusError("is no folder of label tracks", path, f"check {key}.labels")
    table = _texts(path)
    read = _raven if wanted.format == "raven" else _table
    return read(table, wanted, name)


def label_files(wanted: LabelledSet) -> list[Path]:
    """List the files that hold the labels, sorted; none if there are none."""
    if wanted.labels.is_dir():
        return sorted(
            path
            for path in wanted.labels.rglob("*")
            if path.suffix.lower() == TRACKS and path.is_file()
        )
    return [wanted.labels] if wanted.labels.is_file() else []


def _texts(path: Path) -> pl.DataFrame:
    """Read a table as text, cell by cell; an empty cell is null."""
    try:
        if path.suffix.lower() == ".parquet":
            table = read_parquet(path)
            return table.select(pl.col(name).cast(pl.String) for name in table.columns)
        separator = "," if path.suffix.lower() == ".csv" else "\t"
        table = pl.read_csv(
            path.read_bytes(), separator=separator, infer_schema=False, quote_char='"'
        )
        return table.select(pl.all().str.strip_chars().replace("", None))
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0]
        raise DawnChorusError(
            f"is no table that can be read: {first}", path, "give .csv, .tsv, .txt or .parquet"
        ) from None


def _table(table: pl.DataFrame, wanted: LabelledSet, name: str) -> pl.DataFrame:
    """Bring a table of clips or boxes to :data:`COLUMNS`."""
    given: dict[str, str] = wanted.columns.model_dump(exclude_none=True)
    usual = {"path": "path", "label": "label"} | (BOX if wanted.format == "boxes" else {})
    headings = usual | given
    needed = {"path", "label", *given} | ({"start", "end"} if wanted.format == "boxes" else set())
    missing = {key: headings[key] for key in headings if headings[key] not in table.columns}
    _complain(table, {key: missing[key] for key in missing if key in needed}, wanted, name)
    table = table.with_row_index("line", offset=2)
    for column, value in wanted.where.items():
        if column not in table.columns:
            _complain(table, {"where": column}, wanted, name)
        table = table.filter(pl.col(column) == str(value))
    if not table.height:
        chosen = f" with {wanted.where}" if wanted.where else ""
        raise DawnChorusError(
            f"holds no row{chosen}", wanted.labels, f"check labelled_sets.{name}.where"
        )
    there = {BOX.get(key, key): headings[key] for key in headings if key not in missing}
    return _columns(table, there, wanted)


def _raven(table: pl.DataFrame, wanted: LabelledSet, name: str) -> pl.DataFrame:
    """Bring one selection table of several recordings to :data:`COLUMNS`."""
    given: dict[str, str] = wanted.columns.model_dump(exclude_none=True)
    # Begin Time runs on from file to file; the offset is counted from each file's start.
    begin = RAVEN_OFFSET if RAVEN_OFFSET in table.columns else RAVEN_BEGIN
    label = next((one for one in RAVEN_LABELS if one in table.columns), RAVEN_LABELS[0])
    headings = {"path": RAVEN_PATH, "label": label, "start": begin, **RAVEN_EDGES} | given
    missing = {key: value for key, value in headings.items() if value not in table.columns}
    _complain(table, missing, wanted, name)
    table = table.with_row_index("line", offset=2)
    if "Selection" in table.columns:  # once per view, waveform and spectrogram
        table = table.unique("Selection", keep="first", maintain_order=True)
    rows = _columns(table, {BOX.get(key, key): value for key, value in headings.items()}, wanted)
    if begin == RAVEN_OFFSET and "start" not in given:
        length = rows["end_s"] - table[RAVEN_BEGIN].cast(pl.Float64, strict=False)
        rows = rows.with_columns(end_s=pl.col("start_s") + length)
    return rows


def _complain(table: pl.DataFrame, missing: dict[str, str], wanted: LabelledSet, name: str) -> None:
    if missing:
        raise DawnChorusError(
            f"lacks the columns {', '.join(missing.values())}; it has {', '.join(table.columns)}",
            wanted.labels,
            f"say labelled_sets.{name}.columns ({', '.join(missing)})",
        )


def _columns(table: pl.DataFrame, there: dict[str, str], wanted: LabelledSet) -> pl.DataFrame:
    """Pick columns by their headings, numbers as numbers."""
    for column in NUMBERS:
        if column not in there:
            continue
        heading = pl.col(there[column])
        wrong = table.filter(
            heading.is_not_null() & heading.cast(pl.Float64, strict=False).is_null()
        )
        if wrong.height:
            raise DawnChorusError(
                f"line {wrong['line'][0]}: {there[column]} is no number "
                f"(got {wrong[there[column]][0]!r})",
                wanted.labels,
            )
    picked = [
        (pl.col(there[column]) if column in there else pl.lit(None)).cast(kind).alias(column)
        for column, kind in COLUMNS.items()
        if column != "where"
    ]
    where = pl.format("line {}", pl.col("line"))
    return table.select(*picked, where.alias("where"))


def _folder(wanted: LabelledSet, name: str) -> pl.DataFrame:
    """Read a folder of selection tables or label tracks, each of one recording."""
    files = label_files(wanted)
    if not files:
        raise DawnChorusError(
            f"holds no {TRACKS} files", wanted.labels, f"check labelled_sets.{name}.labels"
        )
    rows: list[tuple[str | float | None, ...]] = []
    for path in files:
        inside = path.relative_to(wanted.labels).as_posix()
        found = list(_boxes_in(path, wanted))
        for box in found or [(None,) * 5]:
            rows.append((inside, *box, None, None, inside))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _boxes_in(path: Path, wanted: LabelledSet) -> Iterable[tuple[str | float | None, ...]]:
    if wanted.format == "audacity":
        for track in read_labels(path):
            low, high = track.hertz or (None, None)
            yield track.start_s, track.end_s, low, high, track.text or None
        return
    selections = read_selections(path)
    label: Callable[[dict[str, str]], str | None] | None = None
    for one in selections:
        annotations = dict(one.annotations)
        if label is None:
            label = _label_of(path, list(annotations), wanted.columns.label)
        yield one.start_s, one.end_s, one.low_hz, one.high_hz, label(annotations)


def _label_of(
    path: Path, headings: Sequence[str], asked: str | None
) -> Callable[[dict[str, str]], str | None]:
    wanted = [asked] if asked is not None else list(RAVEN_LABELS)
    heading = next((one for one in wanted if one in headings), None)
    if heading is None:
        raise DawnChorusError(
            f"has no column {' or '.join(wanted)}; it has {', '.join(headings) or 'none'}",
            path,
            "say labelled_sets: columns: label",
        )
    return lambda annotations: annotations[heading].strip() or None
