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
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import polars as pl
import xxhash

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.space import BIRDNET_SECONDS, choose_experiment
from dawnchorus.exports.cells import one_cell, to_bytes
from dawnchorus.exports.parquet import Append, writing_rows
from dawnchorus.progress import counting
from dawnchorus.recordings.excerpt import Excerpt, UnplayableError, excerpt, open_recording
from dawnchorus.results import Results
from dawnchorus.sharing.folder import exporting
from dawnchorus.sharing.licence import write_note
from dawnchorus.sharing.names import Apart, folder, word
from dawnchorus.sharing.rows import KINDS, chosen_experiment

By = Literal["cluster", "species", "label"]
Choose = Literal["best", "random", "all"]

NOT_CUT = "not_cut.tsv"
CLIPS_PER_CLASS = 50


@dataclass(frozen=True)
class _Class:
    """How windows are sorted into folders.

    Attributes
    ----------
    rows : str
        Key of :data:`~dawnchorus.sharing.rows.KINDS`.
    rank : polars expression or None
        The best has the least; None: none is better than another, so the best are drawn as ``random``.
    folder : callable
        Folder of a row, before names are kept apart.
    columns : mapping
        What the list of clips says of a row.
    """

    rows: str
    rank: pl.Expr | None
    key: pl.Expr
    folder: Callable[[Mapping[str, Any]], str]
    columns: Mapping[str, Any]


CLASSES: dict[str, _Class] = {
    "cluster": _Class(
        "clusters",
        pl.col("distance"),
        pl.col("cluster").cast(pl.String).str.zfill(8),
        lambda row: f"cluster_{row['cluster']:03d}" if row["cluster"] >= 0 else "cluster_none",
        {"cluster": pl.Int32, "distance": pl.Float64},
    ),
    "species": _Class(
        "detections",
        -pl.col("confidence"),
        pl.col("species") + "_" + pl.col("common_name"),
        lambda row: folder(f"{row['species']}_{row['common_name']}"),
        {"species": pl.String, "common_name": pl.String, "confidence": pl.Float64},
    ),
    "label": _Class(
        "labels",
        None,
        pl.col("label"),
        lambda row: folder(row["label"]),
        {"label": pl.String, "who": pl.String, "species": pl.String},
    ),
}

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
        (choose, ("best", "random", "all"), "--choose"),
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
    seconds = BIRDNET_SECONDS if by == "species" else settings.spectrogram.window_seconds
    target = out.absolute() / "clips" / by
    if experiment is not None:
        target = target / experiment
    counts: dict[str, Any] = {
        "what": "clips", "by": by, "experiment": experiment, "choose": choose,
        "channel": channel or "all",
    }  # fmt: skip
    with exporting(target, counts) as partial:
        days = KINDS[CLASSES[by].rows].days(settings, results, experiment)
        chosen = _chosen(days, CLASSES[by], choose, count, seed)
        cutter = _Cutter(results, cards, seconds, channel, CLASSES[by])
        counts.update(cutter.cut(partial, chosen))
        if not counts["clips"] and not counts["not_cut"]:
            raise DawnChorusError(f"there is no window with a {by}", results.root, "nothing to cut")
        if by == "species":
            write_note(partial)
    return counts


def _chosen(
    days: Iterator[pl.DataFrame], kind: _Class, choose: str, count: int, seed: int
) -> Iterator[pl.DataFrame]:
    """Yield the windows to cut; all at once, or day by day where all are chosen."""
    order = ["key", "rank", "recording", "offset"]
    kept: pl.DataFrame | None = None
    for day in days:
        rows = day.with_columns(key=kind.key)
        if choose == "all":
            yield rows.with_columns(rank=pl.lit(0.0)).sort(order)
            continue
        if choose == "random" or kind.rank is None:
            rows = rows.with_columns(_lots(rows, seed))
        else:
            rows = rows.with_columns(rank=kind.rank.cast(pl.Float64))
        together = rows if kept is None else pl.concat([kept, rows], how="vertical_relaxed")
        kept = together.sort(order).filter(pl.int_range(pl.len()).over("key") < count)
    if kept is not None:
        yield kept.sort(order)


def _lots(rows: pl.DataFrame, seed: int) -> pl.Series:
    """Draw a number in [0, 1) for each window, from the seed and its place alone."""
    lots = [
        xxhash.xxh3_64_intdigest(to_bytes(f"{seed}\0{recording}\0{offset}")) / 2**64
        for recording, offset in rows.select("recording", "offset").iter_rows()
    ]
    return pl.Series("rank", lots, dtype=pl.Float64)


class _Cutter:
    """Cuts windows and writes the lists of what was cut and what was not."""

    def __init__(
        self, results: Results, cards: Path, seconds: float, channel: int | None, kind: _Class
    ) -> None:
        self._cards, self._seconds, self._channel, self._kind = cards, seconds, channel, kind
        columns = [
            "recording", "recorder", "start_utc", "utc_offset_minutes", "sample_rate", "deployment",
            "location", "habitat",
        ]  # fmt: skip
        table = pl.read_parquet(results.recordings, columns=columns, glob=False).filter(
            pl.col("sample_rate") > 0
        )
        self._facts = {row["recording"]: row for row in table.iter_rows(named=True)}
        self._prefixes = _prefixes(self._facts)
        self._schema = {**_LIST, **kind.columns}

    def cut(self, target: Path, chosen: Iterator[pl.DataFrame]) -> dict[str, int]:
        """Cut all; return counts."""
        clips = lost = 0
        folders = Apart()
        with ExitStack() as stack:
            append = stack.enter_context(writing_rows(target / "clips.parquet", self._schema))
            lines = stack.enter_context((target / "clips.tsv").open("wb"))
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
            for name in target.iterdir():
                if name.is_dir() and not any(name.iterdir()):
                    name.rmdir()
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
