"""Names of exported files that every file system takes and no two of which are the same.

In: names of recordings, recorders, species and labels, as people and cards have them. Out: file and folder
names: at most 255 bytes, unlike each other also where a file system ignores upper and lower case.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

import xxhash

MOST_BYTES = 255 - len("..partial")
"""Of a name: what file systems take, less the temporary name's marks."""
_NO_WORD = re.compile(r"[^\w.+-]+")
_NO_FOLDER = re.compile(r'[\\/:*?"<>|\s\x00-\x1f\x7f]+')


def beside(recording: str, suffix: str) -> str:
    """Return the path of a file about a recording: the recording's own, with a suffix.

    A name that would become too long is cut and ends in a hash of the whole.
    """
    path = PurePosixPath(recording)
    return str(path.with_name(_cut(path.name, suffix, recording)))


def word(text: str) -> str:
    """Return text as a part of a file name: letters, digits, ``_``, ``-``, ``+`` and dots within."""
    plain = os.fsencode(text).decode("utf-8", "backslashreplace")
    shown = _NO_WORD.sub("_", unicodedata.normalize("NFC", plain)).strip("._")
    return _cut(shown, "", text, most=100) or "_"


def folder(text: str) -> str:
    """Return a folder name for a text.

    Blanks between words stay, as in BirdNET's ``Genus species_Common Name``; what some file system refuses
    becomes ``_``.
    """
    plain = os.fsencode(text).decode("utf-8", "backslashreplace")
    kept = " ".join(_NO_FOLDER.sub("_", part) for part in plain.split(" ") if part)
    return _cut(unicodedata.normalize("NFC", kept).strip(". "), "", text, most=200) or "_"


class Apart:
    """Gives every key a name of its own: ``x``, ``x-2``, ``x-3`` in the order in which keys come.

    Upper and lower case do not tell names apart: some file systems ignore them.

    Parameters
    ----------
    taken : iterable of str
        Names that no key may have.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._names: dict[str, str] = {}
        self._taken = {name.casefold() for name in taken}

    def name(self, key: str, wanted: str) -> str:
        """Return the key's name; ``wanted`` if no other key has it."""
        if key not in self._names:
            name, number = wanted, 1
            while name.casefold() in self._taken:
                number += 1
                name = f"{wanted}-{number}"
            self._taken.add(name.casefold())
            self._names[key] = name
        return self._names[key]


def _cut(name: str, suffix: str, whole: str, most: int = MOST_BYTES) -> str:
    if len(os.fsencode(name + suffix)) <= most:
        return name + suffix
    mark = "~" + xxhash.xxh3_64_hexdigest(os.fsencode(whole))
    room = most - len(os.fsencode(mark + suffix))
    return os.fsencode(name)[:room].decode("utf-8", "ignore") + mark + suffix
