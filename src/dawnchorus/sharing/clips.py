"""``dawnchorus export --what clips``: sound of clusters, species or labels, a folder for each.

In: rows of :mod:`dawnchorus.sharing.rows`, the inventory and the cards. Out: a folder
``{out}/clips/{by}`` (and ``/{experiment}``) that is published whole::

    cluster_017/REC01_20210524_053000_396900.wav    recorder, local start of the recording, offset in samples
    clips.parquet, clips.tsv                        one row per clip: where it comes from and why it is here
    not_cut.tsv                                     what could not be cut, and why; only if there is any
    export.json                                     counts, and what each file was when it was written

The samples of a clip are those of its recording, bit for bit (:mod:`dawnchorus.recordings.excerpt`). Folders
of classes are what trainers of classifiers read. Memory is bounded by the clips chosen, or by the
recorder-day where all are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from dawnchorus.birdnet.model import WINDOW_SECONDS
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.space import choose_experiment
from dawnchorus.exports.cells import one_cell, to_bytes
from dawnchorus.exports.parquet import Append, writing_rows
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import counting
from dawnchorus.recordings.excerpt import Excerpt, UnplayableError, excerpt, open_recording
from dawnchorus.results import Results
from dawnchorus.sharing.choosing import CHOICES, CLASSES, WindowClass, chosen_windows
from dawnchorus.sharing.folder import MANIFEST, exporting
from dawnchorus.sharing.licence import NOTE_NAME, write_note
from dawnchorus.sharing.names import Apart, word
from dawnchorus.sharing.rows import KINDS, chosen_experiment

TABLE, TEXT, NOT_CUT = "clips.parquet", "clips.tsv", "not_cut.tsv"
_OWN = (TABLE, TEXT, NOT_CUT, MANIFEST, NOTE_NAME)
"""What lies beside the folders: no label may be called so."""
CLIPS_PER_CLASS = 50


_LIST: dict[str, Any] = {
    "clip": pl.String,
    "recording": pl.String,
    "offset": pl.Int64,
    "frames": pl.Int64,
    "sample_rate": pl.Int64,
    "channels": pl.Int64,
    "sample_format": pl.String,
    "recorder": pl.String,
    "date": pl.String,
    "start_utc": pl.Datetime("us", "UTC"),
    "start_local": pl.String,
    "deployment": pl.String,
    "location": pl.String,
    "habitat": pl.String,
}
"""Columns of the list of clips; ``start_local`` is ISO 8601 with its offset from UTC."""
_LOST = ("recording", "offset", "class", "reason")
_ROWS_AT_ONCE = 4096


def export_clips(
    settings: Settings,
    results: Results,
    out: Path,
    by: str,
    experiment: str | None,
    *,
    count: int = CLIPS_PER_CLASS,
    choose: str = "best",
    seed: int = 0,
    channel: int | None = None,
    cards: Path | None = None,
) -> dict[str, Any]:
    """Cut windows out of their recordings into a folder per cluster, species or label.

    Parameters
    ----------
    settings : Settings
    results : Results
    out : Path
        ``clips/{by}`` (and the experiment) become folders in it.
    by : {"cluster", "species", "label"}
    experiment : str or None
        Whose clusters or labels; None takes the only one there is.
    count : int
        Most clips per folder; not for ``all``.
    choose : {"best", "random", "all"}
        ``best``: nearest to the centroid, highest confidence; labels have no order, theirs are drawn.
        ``random``: drawn by ``seed``, the same whatever the order of days.
    seed : int
    channel : int or None
        Counted from 1; None: all channels of the recording.
    cards : Path or None
        Where the recordings lie; None: ``audio.root``.

    Returns
    -------
    dict
        what, by, experiment, clips, classes, not_cut. What can be cut is cut and published, also if
        ``not_cut`` is more than 0.

    Raises
    ------
    DawnChorusError
        If there is nothing to choose from, the cards are not there, or the folder was worked in.
    """
    for value, known, option in (
        (by, tuple(CLASSES), "--by"),
        (choose, CHOICES, "--choose"),
    ):
        if value not in known:
            raise DawnChorusError(f"{value!r} is not {', '.join(known)}", option)
    if by == "species":
        if experiment is not None:
            raise DawnChorusError(
                "detections belong to no experiment", "--experiment", "leave it out"
            )
    elif by == "label":
        experiment = choose_experiment(results, experiment)
    else:
        experiment = chosen_experiment(settings, experiment)
    cards = cards or settings.audio.root
    if not cards.is_dir():
        raise DawnChorusError("there are no cards", cards, "name their folder with --cards")
    seconds = WINDOW_SECONDS if by == "species" else settings.spectrogram.window_seconds
    target = out.absolute() / "clips" / by
    if experiment is not None:
        target = target / experiment
    counts: dict[str, Any] = {
        "what": "clips", "by": by, "experiment": experiment, "choose": choose,
        "channel": channel or "all",
    }  # fmt: skip
    with exporting(target, counts) as partial:
        days = KINDS[CLASSES[by].rows].days(settings, results, experiment)
        chosen = chosen_windows(days, CLASSES[by], choose, count, seed)
        cutter = _Cutter(results, cards, seconds, channel, CLASSES[by])
        counts.update(cutter.cut(partial, chosen))
        if not counts["clips"] and not counts["not_cut"]:
            raise DawnChorusError(f"there is no window with a {by}", results.root, "nothing to cut")
        if by == "species":
            write_note(partial)
    return counts


class _Cutter:
    """Cuts windows and writes the lists of what was cut and what was not."""

    def __init__(
        self, results: Results, cards: Path, seconds: float, channel: int | None, kind: WindowClass
    ) -> None:
        self._cards, self._seconds, self._channel, self._kind = cards, seconds, channel, kind
        columns = [
            "recording", "recorder", "start_utc", "utc_offset_minutes", "sample_rate", "deployment",
            "location", "habitat",
        ]  # fmt: skip
        table = read_parquet(results.recordings, columns=columns).filter(pl.col("sample_rate") > 0)
        self._facts = {row["recording"]: row for row in table.iter_rows(named=True)}
        self._prefixes = _prefixes(self._facts)
        self._schema = {**_LIST, **kind.columns}

    def cut(self, target: Path, chosen: Iterator[pl.DataFrame]) -> dict[str, int]:
        """Cut all; return counts."""
        clips = lost = 0
        folders = Apart(taken=_OWN)
        with ExitStack() as stack:
            append = stack.enter_context(writing_rows(target / TABLE, self._schema))
            lines = stack.enter_context((target / TEXT).open("wb"))
            lines.write(to_bytes("\t".join(self._schema) + "\n"))
            for windows in chosen:
                named = [
                    folders.name(row["key"], self._kind.folder(row))
                    for row in windows.iter_rows(named=True)
                ]
                rows = windows.with_columns(folder=pl.Series(named, dtype=pl.String))
                for name in dict.fromkeys(named):
                    (target / name).mkdir(exist_ok=True)
                done, failed = self._cut_frame(target, rows)
                clips, lost = clips + len(done), lost + len(failed)
                _write_list(done, self._schema, append, lines.write)
                if failed:
                    _write_lost(target / NOT_CUT, failed)
            for path in target.iterdir():
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        classes = sum(path.is_dir() for path in target.iterdir())
        return {"clips": clips, "classes": classes, "not_cut": lost}

    def _cut_frame(
        self, target: Path, windows: pl.DataFrame
    ) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
        """Cut the windows of a frame, opening each recording once; the list is in the frame's order."""
        rows = windows.with_row_index("place")
        done: list[tuple[int, dict[str, Any]]] = []
        lost: list[tuple[int, tuple[str, ...]]] = []
        with counting("cutting clips", rows.height, "clips") as advance:
            by_recording = rows.sort("recording", "offset", "place").partition_by(
                "recording", maintain_order=True
            )
            for part in by_recording:
                recording = part["recording"][0]
                opened: Any = None
                for row in part.iter_rows(named=True):
                    try:
                        opened = opened or self._open(recording)
                        if isinstance(opened, UnplayableError):
                            raise opened
                        done.append((row["place"], self._clip(target, row, *opened)))
                    except UnplayableError as error:
                        opened = opened or error
                        reason = (recording, str(row["offset"]), row["folder"], str(error))
                        lost.append((row["place"], reason))
                    advance()
        return [row for _, row in sorted(done, key=_first)], [row for _, row in sorted(lost)]

    def _open(self, recording: str) -> tuple[Path, Any]:
        path, sound = open_recording(self._cards, recording)
        known = self._facts[recording]["sample_rate"]
        if sound.sample_rate != known:
            raise UnplayableError(
                f"has {sound.sample_rate:,} Hz, the inventory says {known:,}",
                path.absolute(),
                "run the workflow again",
            )
        return path, sound

    def _clip(self, target: Path, row: Mapping[str, Any], path: Path, sound: Any) -> dict[str, Any]:
        facts = self._facts[row["recording"]]
        frames = round(self._seconds * sound.sample_rate)
        cut: Excerpt = excerpt(path, sound, row["offset"], frames)
        if self._channel is not None:
            try:
                cut = cut.channel(self._channel)
            except ValueError as error:
                raise UnplayableError(str(error), path.absolute()) from None
        name = f"{row['folder']}/{self._prefixes[row['recording']]}_{row['offset']}.wav"
        (target / name).write_bytes(cut.wav())
        local = None
        if row["time"] is not None:
            zone = timezone(timedelta(minutes=facts["utc_offset_minutes"] or 0))
            local = row["time"].astimezone(zone).isoformat()
        return {
            "clip": name,
            "recording": row["recording"],
            "offset": row["offset"],
            "frames": frames,
            "sample_rate": cut.sample_rate,
            "channels": cut.samples.shape[1],
            "sample_format": cut.subtype,
            "recorder": row["recorder"],
            "date": row["date"],
            "start_utc": row["time"],
            "start_local": local,
            **{name: facts[name] for name in ("deployment", "location", "habitat")},
            **{name: row[name] for name in self._kind.columns},
        }


def _first(item: tuple[int, Any]) -> int:
    return item[0]


def _prefixes(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return ``RECORDER_YYYYMMDD_HHMMSS`` of each recording, in its local time; no two the same.

    Two recordings of a recorder begin in the same second where channels are files of their own, in the
    hour that autumn repeats, and in copies.
    """
    apart = Apart()
    prefixes = {}
    for recording in sorted(facts):
        row = facts[recording]
        if row["start_utc"] is None:
            told = word(PurePosixPath(recording).stem)
        else:
            local = row["start_utc"] + timedelta(minutes=row["utc_offset_minutes"] or 0)
            told = f"{local:%Y%m%d_%H%M%S}"
        prefixes[recording] = apart.name(recording, f"{word(row['recorder'])}_{told}")
    return prefixes


def _write_list(
    rows: list[dict[str, Any]],
    schema: Mapping[str, Any],
    append: Append,
    write: Callable[[bytes], Any],
) -> None:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        append(pl.DataFrame(part, schema=dict(schema), orient="row"))
        for row in part:
            write(to_bytes("\t".join(_cell(row[name]) for name in schema) + "\n"))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:.6g}" if isinstance(value, float) else one_cell(str(value))


def _write_lost(path: Path, rows: list[tuple[str, ...]]) -> None:
    is_new = not path.exists()
    with path.open("ab") as handle:
        for row in ([_LOST] if is_new else []) + rows:
            handle.write(to_bytes("\t".join(map(one_cell, row)) + "\n"))
