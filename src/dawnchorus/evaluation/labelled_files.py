"""Which files a labelled set is made of, and its labels as boxes in them.

In: the set's labels (:mod:`.label_files`), the sound files below its folder and, once they were read, their inventory.
Out: :class:`LabelledFiles`, then boxes as the season's annotations are, and the groups and folds of recordings. What does
not fit (labels without a file, files without a label, boxes outside their recording) is a line each, never an error,
unless nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import polars as pl
import xxhash

from dawnchorus.birdnet.model import WINDOW_SECONDS
from dawnchorus.config import LabelledSet, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.label_files import label_files, read_labels_of
from dawnchorus.evaluation.tables import Row, covered
from dawnchorus.recordings.cards import Entry
from dawnchorus.recordings.table import Recording
from dawnchorus.recordings.undated import files_fingerprint, sound_files
from dawnchorus.results import fingerprint

MOST_OVERLAP = 2.9
"""Seconds that two of BirdNET's windows have in common at most."""
NO_PLACE = {"use_place": False, "latitude": None, "longitude": None, "week": None}
NAMED = 3
"""So many of what does not fit are named."""
BOXES = {
    "recording": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "species": pl.String,
    "low_hz": pl.Float64,
    "high_hz": pl.Float64,
    "snr_db": pl.Float64,
    "song": pl.Boolean,
}
"""As :func:`dawnchorus.evaluation.labels.read_boxes` gives them."""
ROUNDING_S = 0.01
"""A box may end so much behind its recording without a word."""


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a set, with their labels.

    Attributes
    ----------
    entries : list of Entry
        Files that are taken in, sorted by path.
    rows : DataFrame
        Labels as :data:`.label_files.COLUMNS`, with ``recording`` in place of ``path``.
    notes : list of dict
        Rows of the table ``coverage``: what does not fit.
    """

    entries: list[Entry]
    rows: pl.DataFrame
    notes: list[Row] = field(default_factory=list)

    def of(self, column: str) -> dict[str, str]:
        """Return the group or fold of each recording that has one.

        Raises
        ------
        DawnChorusError
            If a recording has two.
        """
        told = self.rows.select("recording", column).drop_nulls().unique(maintain_order=True)
        twice = told.filter(pl.col("recording").is_duplicated())
        if twice.height:
            values = " and ".join(twice.filter(pl.col("recording") == twice[0, 0])[column])
            raise DawnChorusError(f"stands in {column} {values}", twice[0, 0], "give it one")
        return dict(told.iter_rows())


def settings_of_set(settings: Settings, name: str) -> Settings:
    """Return the season's settings as they are for a set: its folder, its overlap, no dates and places.

    Raises
    ------
    DawnChorusError
        If there is no such set.
    """
    wanted = settings.labelled_set(name)
    overlap, spectrogram = wanted.overlap_seconds, settings.spectrogram
    if overlap is not None:
        spectrogram = spectrogram.model_copy(update={"overlap_seconds": overlap})
    # So that BirdNET's windows begin where ours do.
    step = spectrogram.window_seconds - spectrogram.overlap_seconds
    alike = min(max(0.0, WINDOW_SECONDS - step), MOST_OVERLAP)
    return settings.model_copy(
        update={
            "audio": settings.audio.model_copy(update={"root": wanted.audio, "deployments": None}),
            "spectrogram": spectrogram,
            "indices": settings.indices.model_copy(update={"enabled": False}),
            "birdnet": settings.birdnet.model_copy(
                update={"embeddings": True, "overlap": alike, **NO_PLACE}
            ),
        }
    )


def labelled_files(settings: Settings, name: str) -> LabelledFiles:
    """Read a set's labels and find the files that they speak of.

    Parameters
    ----------
    settings : Settings
        The season's.
    name : str
        Of the set.

    Raises
    ------
    DawnChorusError
        If there is no such set, labels or sound are missing, a name fits several files, or none of the files is there.
    """
    wanted, audio = settings.labelled_set(name), settings_of_set(settings, name).audio
    entries = sound_files(audio, name)
    rows = read_labels_of(wanted, name)
    finder = _Finder(entries, tracks=wanted.labels.is_dir())
    found = {path: finder.find(path) for path in rows["path"].unique(maintain_order=True)}
    missing = [path for path, recording in found.items() if recording is None]
    if len(missing) == len(found):
        raise DawnChorusError(
            f"none of the {len(found):,} files that the labels speak of is there, such as {missing[0]}; "
            f"there is {entries[0].path}",
            audio.root,
            f"check labelled_sets.{name}.audio, .labels and .columns.path",
        )
    rows = (
        rows.with_columns(recording=pl.col("path").replace_strict(found, return_dtype=pl.String))
        .drop_nulls("recording")
        .drop("path")
    )
    labelled = set(rows["recording"])
    without = [one.path for one in entries if one.path not in labelled]
    told = "listened to and empty" if wanted.unlabelled == "empty" else "left out"
    notes: list[Row] = [
        covered("files", "with a label", len(labelled), len(entries), "the numbers are files"),
        covered("files", "without a label", len(without), len(entries), such(without, told)),
        covered("labels", "of files that are not there", len(missing), len(found), such(missing)),
    ]
    kept = [one for one in entries if one.path in labelled or wanted.unlabelled == "empty"]
    return LabelledFiles(kept, rows, [note for note in notes if note["windows"]])


def set_fingerprint(settings: Settings, name: str) -> str:
    """Return what changes if a set's sound or labels change; nothing is opened but the labels.

    A folder that is not there is a fingerprint too: the set's own job says what is wrong.
    """
    wanted, audio = settings.labelled_set(name), settings_of_set(settings, name).audio
    try:
        sound = files_fingerprint(audio, sound_files(audio, name))
    except DawnChorusError as error:
        sound = str(error)
    labels = [
        [path.name, xxhash.xxh3_128_hexdigest(path.read_bytes())] for path in label_files(wanted)
    ]
    return fingerprint([sound, labels])


class _Finder:
    """Finds the file that a label means, by its path below the folder or, if that is enough, by its name.

    A selection table or track may be named after its recording with or without the recording's suffix, and may say
    more after it: ``a.wav.selections.txt``, ``a.Table.1.selections.txt``, ``a.txt``.
    """

    def __init__(self, entries: Iterable[Entry], *, tracks: bool) -> None:
        self._tracks = tracks
        self._whole: dict[str, list[str]] = {}
        self._name: dict[str, list[str]] = {}
        for entry in entries:
            path = PurePosixPath(entry.path)
            forms = {path, path.with_suffix("")} if tracks else {path}
            for form in sorted(forms):
                self._whole.setdefault(str(form), []).append(entry.path)
                self._name.setdefault(form.name, []).append(entry.path)

    def find(self, named: str) -> str | None:
        """Return the path of the file; None if there is none.

        Raises
        ------
        DawnChorusError
            If several have the name.
        """
        path = PurePosixPath(named.replace("\\", "/"))
        for form in self._forms(path):
            for there, key in ((self._whole, str(form)), (self._name, form.name)):
                found = there.get(key, [])
                if len(found) > 1:
                    raise DawnChorusError(
                        f"is the name of {len(found)} files, such as {' and '.join(found[:2])}",
                        named,
                        "name it by its path below the folder",
                    )
                if found:
                    return found[0]
        return None

    def _forms(self, path: PurePosixPath) -> list[PurePosixPath]:
        if not self._tracks:
            return [path]
        parts = path.name.split(".")
        return [path.with_name(".".join(parts[:end])) for end in range(len(parts) - 1, 0, -1)]


def boxes_of(
    files: LabelledFiles, recordings: Sequence[Recording], wanted: LabelledSet
) -> tuple[pl.DataFrame, list[Row]]:
    """Return the labels as boxes, and what does not fit.

    Parameters
    ----------
    files : LabelledFiles
    recordings : sequence of Recording
        The inventory of its files.
    wanted : LabelledSet

    Returns
    -------
    boxes : DataFrame
        :data:`BOXES`. A label of a whole clip is a box from its start to its end, without frequencies; a recording
        that holds nothing has one row that is no song.
    notes : list of dict
        Rows of the table ``coverage``.
    """
    usable = {row.recording: row.duration_s for row in recordings if row.is_usable}
    unusable = [row for row in recordings if not row.is_usable]
    copies = {row.recording: row.duplicate_of for row in unusable if row.duplicate_of is not None}
    notes = []
    for row in unusable:
        note = row.reason
        if row.recording in copies:
            note = f"a copy of {copies[row.recording]}, which has its labels too"
        notes.append({"what": "file left out", "name": row.recording, "note": note})
    length = pl.col("recording").replace_strict(usable, default=None, return_dtype=pl.Float64)
    rows = (
        files.rows.with_columns(pl.col("recording").replace(copies))
        .with_columns(length=length)
        .drop_nulls("length")
        .with_columns(
            start_s=pl.col("start_s").fill_null(0.0),
            end_s=pl.col("end_s").fill_null(pl.col("length")),
        )
    )
    labelled = rows.filter(pl.col("label").is_not_null())
    backwards = (pl.col("end_s") <= pl.col("start_s")) | (
        pl.col("high_hz") <= pl.col("low_hz")
    ).fill_null(value=False)
    outside = (pl.col("start_s") >= pl.col("length")) | (pl.col("end_s") <= 0)
    beyond = (pl.col("end_s") > pl.col("length") + ROUNDING_S) | (pl.col("start_s") < 0)
    judged = labelled.with_columns(
        wrong=pl.when(backwards)
        .then(pl.lit("without extent, left out"))
        .when(outside)
        .then(pl.lit("outside their recording, left out"))
        .when(beyond)
        .then(pl.lit("beyond their recording, cut to it"))
    )
    for (wrong,), some in judged.drop_nulls("wrong").group_by("wrong", maintain_order=True):
        places = [f"{row['recording']} ({row['where']})" for row in some.iter_rows(named=True)]
        notes.append(covered("boxes", str(wrong), some.height, labelled.height, such(places)))
    good = judged.filter(~(backwards | outside)).select(
        "recording",
        pl.col("start_s").clip(lower_bound=0.0),
        pl.min_horizontal("end_s", "length"),
        pl.col("label").alias("species"),
        "low_hz",
        "high_hz",
        snr_db=pl.lit(None, pl.Float64),
        song=pl.lit(True),
    )
    heard = [*usable] if wanted.unlabelled == "empty" else rows["recording"].unique().to_list()
    empty = sorted(set(heard) - set(good["recording"]))
    silent = pl.DataFrame(
        [(recording, 0.0, 0.0, None, None, None, None, False) for recording in empty],
        schema=BOXES,
        orient="row",
    )
    if not good.height:
        notes.append(
            {"what": "boxes", "name": "all", "note": "no file that can be read has a label"}
        )
    return pl.concat([good, silent]), notes


def such(names: Sequence[str], told: str = "") -> str:
    """Name a few of many."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ": ".join(filter(None, [told, ", ".join(names[:NAMED]) + more]))
