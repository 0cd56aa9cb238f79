"""Sound files whose time does not matter: the clips of a labelled data set.

In: a folder of any layout, and which of its files are wanted. Out: ``recordings.parquet`` and ``faults.tsv`` as of
cards, by the same reading and the same verdicts; but there is no start, and all files stand in one recorder-day,
:func:`undated`. What follows (spectrograms, BirdNET, embeddings) reads it as any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from dawnchorus import progress
from dawnchorus.config import Audio
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.cards import Entry, walk
from dawnchorus.recordings.deployments import read_deployments
from dawnchorus.recordings.faults import write_faults
from dawnchorus.recordings.neighbours import lines_of_copies, with_copies
from dawnchorus.recordings.reading import read_contents
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.recordings.verdict import Judge
from dawnchorus.results import UNDATED, RecorderDay, Results, fingerprint


def undated(name: str) -> RecorderDay:
    """Return what stands for the recorder-day of files that have no date."""
    return RecorderDay(name, UNDATED)


def sound_files(audio: Audio, name: str) -> list[Entry]:
    """List the sound files below ``audio.root``, sorted by path; nothing is opened.

    Raises
    ------
    DawnChorusError
        If the folder is missing or holds none.
    """
    if not audio.root.is_dir():
        raise DawnChorusError(
            "is not a folder", audio.root, f"set labelled_sets.{name}.audio to that of its sound"
        )
    entries = walk(audio.root, all_of=name).entries
    if not entries:
        raise DawnChorusError(
            "holds no sound files", audio.root, f"set labelled_sets.{name}.audio to their folder"
        )
    return entries


def files_fingerprint(audio: Audio, entries: Sequence[Entry]) -> str:
    """Return what changes if files come, go or change: paths, sizes and (if configured) times."""
    by_time = audio.fingerprint == "size+mtime"
    return fingerprint(
        [[one.path, one.size_bytes, one.mtime_ns if by_time else None] for one in entries]
    )


def take_in(audio: Audio, results: Results, name: str, wanted: Sequence[Entry]) -> list[Recording]:
    """Read the headers of files and write their inventory.

    Parameters
    ----------
    audio : Audio
        ``root``, ``channel`` and ``timezone`` are used.
    results : Results
        Written: ``recordings`` and ``faults``.
    name : str
        Of the set.
    wanted : sequence of Entry
        From :func:`sound_files`.

    Returns
    -------
    list of Recording
        One per file, in the order given; copies of another file are set aside.
    """
    judge = Judge(audio, read_deployments(None, audio.timezone), {})
    with progress.counting(f"reading headers of {name}", len(wanted), "files") as advance:
        contents = read_contents([audio.root / entry.path for entry in wanted], advance)
    for entry, content in zip(wanted, contents, strict=True):
        judge.add(entry, None, content, None)
    rows = with_copies(audio.root, [row._replace(date=UNDATED) for row in judge.rows])
    write_recordings(results.recordings, rows)
    write_faults(results.faults, [*judge.lines(rows), *lines_of_copies(rows)])
    return rows
