"""What lies on the cards: one pass over names, sizes and times of modification.

In: ``audio.root``. Out: the recordings as :class:`Entry`, sorted by path (whatever the order on disk),
and every other file with the reason why it is left alone. Nothing is opened here.

The first folder below the root is the recorder; below it any layout. Links to folders are followed,
unless they lead back up. Hidden folders (``.Trashes`` and the like) and what an operating system or a recorder
writes for itself are passed over.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from dawnchorus.errors import DawnChorusError

SUFFIXES = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".w64",
        ".rf64",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".au",
        ".snd",
    ]
)
"""What libsndfile decodes, in lower case."""

PROPRIETARY = frozenset({".wac", ".w4v"})
"""Wildlife Acoustics' own compression; Kaleidoscope converts it."""

COMPANIONS = re.compile(
    r"(.*_)?summary(_\d+)?\.txt|(.*_)?config(uration)?\.(txt|json)|(.*_)?logfile.*\.(txt|log|csv)"
    r"|gps_?log.*\.(csv|txt)|.*\.(set|pgm|sms|schedule|minisettings|miniprogram)|\.ds_store"
    r"|thumbs\.db|desktop\.ini|indexervolumeguid|wpsettings\.dat",
    re.IGNORECASE,
)
"""Files that belong on a card: settings, summaries and logs of recorders, an operating system's own."""

SUMMARY = re.compile(r".+_summary(_\d+)?\.txt", re.IGNORECASE)
"""A Song Meter's own log of battery, temperature and place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is a recording by its suffix."""

    path: str
    """Relative to the root, POSIX style."""
    recorder: str
    name: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Stray:
    """A file that is no recording, or cannot be taken for one."""

    path: str
    recorder: str
    code: str
    particulars: str


@dataclass
class Cards:
    """Everything found below the root."""

    entries: list[Entry] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    pending: list[Stray] = field(default_factory=list)
    """Recordings that were written too recently."""
    summaries: list[tuple[str, str]] = field(default_factory=list)
    """Recorder and path of what Song Meters write about themselves (``PREFIX_Summary.txt``)."""
    recorders: list[str] = field(default_factory=list)
    """All folders below the root, also those without a recording."""


def walk(
    root: Path, min_age_hours: float = 0.0, now: float | None = None, *, all_of: str = ""
) -> Cards:
    """List the cards.

    Parameters
    ----------
    root : Path
        Folder of the cards.
    min_age_hours : float
        Recordings modified less than so many hours ago are pending.
    now : float, optional
        Seconds since 1970, for tests; default: the clock.
    all_of : str
        The recorder of all there is; by default that is the first folder below the root.

    Raises
    ------
    DawnChorusError
        If the root is no folder that can be read.
    """
    cards = Cards()
    now = time.time() if now is None else now
    youngest = (now - min_age_hours * 3600) * 1e9 if min_age_hours > 0 else float("inf")
    if not root.is_dir():
        raise DawnChorusError("is not a folder", root, "set audio.root to the folder of the cards")
    todo: list[tuple[str, str, str, frozenset[tuple[int, int]]]] = [
        (os.fspath(root), "", all_of, frozenset())
    ]
    while todo:
        folder, prefix, recorder, above = todo.pop()
        try:
            state = os.stat(folder)  # noqa: PTH116 - the path is a string here
            with os.scandir(folder) as listing:
                found = list(listing)
        except OSError as error:
            if not prefix:
                raise DawnChorusError(f"cannot be read: {error.strerror}", folder) from None
            stray = Stray(_shown(prefix[:-1]), _shown(recorder), "DC006", f"{error.strerror}")
            cards.strays.append(stray)
            continue
        here = (state.st_dev, state.st_ino)
        if here in above:  # a link back up
            continue
        for item in found:
            if not _is_folder(item):
                _sort(item, prefix, recorder, youngest, cards)
            elif not item.name.startswith(".") and item.name != "System Volume Information":
                if not recorder:
                    cards.recorders.append(_shown(item.name))
                inside = (item.path, f"{prefix}{item.name}/", recorder or item.name, above | {here})
                todo.append(inside)
    cards.entries.sort(key=lambda entry: entry.path)
    cards.strays.sort(key=lambda stray: stray.path)
    cards.pending.sort(key=lambda stray: stray.path)
    cards.summaries.sort()
    cards.recorders.sort()
    return cards


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself, say; it is named where it cannot be opened
        return False


def _sort(
    item: os.DirEntry[str], prefix: str, recorder: str, youngest: float, cards: Cards
) -> None:
    name, path = item.name, prefix + item.name
    suffix = _suffix(name)
    is_recording = suffix in SUFFIXES and not name.startswith("._")
    stray = None
    if not is_recording:
        if COMPANIONS.fullmatch(name):
            if recorder and SUMMARY.fullmatch(name) and _is_plain(path):
                cards.summaries.append((recorder, path))
            return
        stray = _stray(name, suffix)
    elif not recorder:
        stray = ("DC008", "move it into a folder named after its recorder")
    elif not _is_plain(path):
        stray = ("DC010", "rename it")
    else:
        try:
            state = item.stat()
        except OSError as error:
            stray = ("DC006", error.strerror or "no state")
        else:
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
                stray = ("DC006", "not a regular file")
    if stray is not None:
        cards.strays.append(Stray(_shown(path), _shown(recorder), *stray))
    elif state.st_mtime_ns > youngest:
        cards.pending.append(Stray(path, recorder, "DC009", "modified too recently"))
    else:
        cards.entries.append(Entry(path, recorder, name, state.st_size, state.st_mtime_ns))


def _suffix(name: str) -> str:
    """Suffix in lower case; of a name with nothing before its dot, as of ``os.path.splitext``, none."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem.strip(".") else ""


def _stray(name: str, suffix: str) -> tuple[str, str]:
    if suffix in PROPRIETARY and not name.startswith("._"):
        return "DC004", "convert it to WAV with Kaleidoscope (Wildlife Acoustics), then scan again"
    if name.lower() == "data":
        return "FL011", "give it the name and suffix of its recording to use it"
    if name.startswith("._"):
        return "DC003", "metadata that macOS keeps beside a file"
    return "DC003", f"suffix {suffix}" if suffix else "no suffix"


def _is_plain(path: str) -> bool:
    """Tell whether a path can stand in a table: UTF-8 without control characters."""
    if path.isascii():  # then it is UTF-8, and 43,632 times there is nothing to encode
        return path.isprintable()
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return path.isprintable()


def _shown(path: str) -> str:
    """Path as it can be written: what is not UTF-8 or would break a line is escaped."""
    text = path.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )
