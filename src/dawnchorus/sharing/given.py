"""Labels that other programs or people wrote down: read from the formats that labels are exported in.

In: a file or folder in one of :data:`READERS`, and the recordings of the inventory. Out: rows of
:data:`GIVEN`: which recording, from when to when, which label, and by whom and when, where the format says it.

A file about one recording is found by its name (``REC01/a.wav.selections.txt`` is about ``REC01/a.wav``), as
the export names it or as the recording alone; other files name their recordings inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports import audacity, raven
from dawnchorus.exports.camtrap_dp import media_id, read_tags
from dawnchorus.exports.cells import read_csv, to_bytes
from dawnchorus.parquet import read_parquet
from dawnchorus.sharing.names import beside

GIVEN: dict[str, Any] = {
    "recording": pl.String, "start_s": pl.Float64, "end_s": pl.Float64, "label": pl.String,
    "who": pl.String, "when": pl.Datetime("us", "UTC"),
}  # fmt: skip
LABEL_COLUMNS = ("label", "species", "common name", "annotation", "scientific name")
"""Raven's annotation columns that are taken for the label, in lower case, the first that is there."""


class Recordings:
    """Recordings of the inventory, by what files may call them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    @cached_property
    def _plain(self) -> dict[str, str]:
        """By path, as text; and by the name alone, where no two have it."""
        paths = {to_bytes(name).decode(): name for name in self.names}
        return {**_unambiguous(paths), **paths}

    @cached_property
    def _by_medium(self) -> dict[str, str]:
        return {media_id(name): name for name in self.names}

    def named(self, text: str) -> str | None:
        """Return the recording that a cell names: its path below the cards, or its name alone."""
        path = PurePosixPath(text.replace("\\", "/"))
        parts = path.parts
        # The longest end of the path first: tables may hold the whole path on somebody's machine.
        ends = ("/".join(parts[at:]) for at in range(len(parts)))
        return next((self._plain[end] for end in ends if end in self._plain), None)

    def of_medium(self, medium: str, path: str) -> str | None:
        """Return the recording of a Camtrap DP medium."""
        return self._by_medium.get(medium) or self.named(path)

    def beside(self, suffix: str) -> Callable[[str], str | None]:
        """Return what finds the recording that a file with this suffix is about."""
        exported = {beside(name, suffix): name for name in self.names}
        exported = {**_unambiguous(exported), **exported}

        def find(file: str) -> str | None:
            found = exported.get(file) or exported.get(PurePosixPath(file).name)
            if found is None and file.endswith(suffix):
                found = self.named(file.removesuffix(suffix))
            # Audacity and Raven often leave the recording's own ending out: a.txt is about a.wav.
            return found or self._by_stem.get(PurePosixPath(file).name.partition(".")[0])

        return find

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        stems: dict[str, list[str]] = {}
        for name in self.names:
            stems.setdefault(PurePosixPath(name).stem, []).append(name)
        return {stem: names[0] for stem, names in stems.items() if len(names) == 1}


def _unambiguous(paths: dict[str, str]) -> dict[str, str]:
    """Return the last parts of paths that only one path has."""
    last: dict[str, list[str]] = {}
    for path, name in paths.items():
        last.setdefault(PurePosixPath(path).name, []).append(name)
    return {part: names[0] for part, names in last.items() if len(names) == 1}


Row = tuple[str | None, float, float, str, str | None, datetime | None]
"""Recording, None if it is not known; start and end in seconds; label; who; when."""


def _raven(path: Path, about: str | None, recordings: Recordings) -> Iterator[Row]:
    for one in raven.read_selections(path):
        said = {heading.casefold(): text for heading, text in one.annotations.items()}
        label = next((said[name] for name in LABEL_COLUMNS if said.get(name)), "")
        inside = said.get("begin path") or said.get("begin file")
        recording = recordings.named(inside) if inside else None
        yield (
            recording or about,
            one.start_s,
            one.end_s,
            label,
            said.get("annotator") or None,
            _moment(said.get("when")),
        )


def _audacity(path: Path, about: str | None, _recordings: Recordings) -> Iterator[Row]:
    for one in audacity.read_labels(path):
        yield about, one.start_s, one.end_s, one.text, None, None


def _birdnet(path: Path, about: str | None, recordings: Recordings) -> Iterator[Row]:
    for row in read_csv(path, ("Start (s)", "End (s)", "Scientific name", "Common name")):
        label = row.get("Label") or row["Common name"] or row["Scientific name"]
        named = recordings.named(row["File"]) if row.get("File") else None
        start, end = (_number(row[name], path) for name in ("Start (s)", "End (s)"))
        yield named or about, start, end, label, row.get("Annotator") or None, None


def _number(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DawnChorusError(f"{text!r} is no number of seconds", path)
    return value


def _moment(text: str | None) -> datetime | None:
    """Return a time, UTC; None if there is none or it cannot be read (it is not what counts)."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parquet(path: Path, recordings: Recordings) -> pl.DataFrame:
    table = read_parquet(path)
    missing = [name for name in ("recording", "start_s", "end_s", "label") if name not in table]
    if missing:
        raise DawnChorusError(f"lacks the columns {', '.join(missing)}", path)
    found = {name: recordings.named(name) for name in table["recording"].unique().to_list()}
    return table.select(
        pl.col("recording").replace_strict(found, return_dtype=pl.String),
        *(
            pl.col(name) if name in table.columns else pl.lit(None, kind).alias(name)
            for name, kind in GIVEN.items()
            if name != "recording"
        ),
    ).cast(pl.Schema(GIVEN))


def _camtrap(folder: Path, recordings: Recordings) -> Iterator[Row]:
    import json

    media = {
        row["mediaID"]: recordings.of_medium(row["mediaID"], row.get("filePath", ""))
        for row in read_csv(folder / "media.csv", ("mediaID", "timestamp"))
    }
    try:
        described = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        described = {}
    common = {
        taxon["scientificName"]: taxon.get("vernacularNames", {}).get("eng")
        for taxon in described.get("taxonomic", [])
    }
    needed = ("mediaID", "observationTags", "classifiedBy", "classificationTimestamp")
    path = folder / "observations.csv"
    for row in read_csv(path, needed):
        tags = read_tags(row["observationTags"])
        species = row.get("scientificName", "")
        label = tags.get("label") or common.get(species) or species
        if "startSeconds" not in tags or "endSeconds" not in tags:
            raise DawnChorusError(
                f"observation {row.get('observationID')} has no startSeconds and endSeconds in its "
                "observationTags",
                path,
                "the standard's own times have whole seconds, which do not say which window it is",
            )
        yield (
            media.get(row["mediaID"]),
            _number(tags["startSeconds"], path),
            _number(tags["endSeconds"], path),
            label,
            row["classifiedBy"] or None,
            _moment(row["classificationTimestamp"]),
        )


PER_RECORDING: dict[str, tuple[str, Callable[[Path, str | None, Recordings], Iterator[Row]]]] = {
    "raven": (".selections.txt", _raven),
    "audacity": (".labels.txt", _audacity),
    "birdnet-csv": (".BirdNET.results.csv", _birdnet),
}
READERS = (*PER_RECORDING, "camtrap-dp", "parquet")


def read_given(path: Path, form: str, recordings: Recordings) -> pl.DataFrame:
    """Read labels.

    Parameters
    ----------
    path : Path
        A file; or a folder, as the export writes it.
    form : str
        Of :data:`READERS`.
    recordings : Recordings

    Returns
    -------
    polars.DataFrame
        Columns of :data:`GIVEN`; ``recording`` is null where the inventory does not know it.

    Raises
    ------
    DawnChorusError
        If nothing of this format is there, or it cannot be read.
    """
    if not path.exists():
        raise DawnChorusError("there is no such file or folder", path)
    if form == "parquet":
        file = path / "labels.parquet" if path.is_dir() else path
        if not file.is_file():
            raise DawnChorusError("is not there", file)
        return _parquet(file, recordings)
    if form == "camtrap-dp":
        inner = path / "camtrap-dp"
        return _table(_camtrap(inner if inner.is_dir() else path, recordings))
    if form not in PER_RECORDING:
        raise DawnChorusError(f"{form!r} is not {', '.join(READERS)}", "--format")
    suffix, read = PER_RECORDING[form]
    find = recordings.beside(suffix)
    if path.is_file():
        return _table(read(path, find(path.name), recordings))
    files = sorted(path.rglob(f"*{suffix}"))
    if not files:
        raise DawnChorusError(
            f"holds no *{suffix}", path, "give the file itself, or choose --format"
        )
    return _table(
        row
        for file in files
        for row in read(file, find(file.relative_to(path).as_posix()), recordings)
    )


def _table(rows: Iterable[Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=GIVEN, orient="row")
