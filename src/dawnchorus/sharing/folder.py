"""The folder of an export: published whole, and never over something a person did.

In: files that a step writes into a temporary folder. Out: the folder, with ``export.json``: what was exported,
and what each file was when it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing, read_receipt, write_receipt

MANIFEST = "export.json"
_BLOCK = 1 << 20


@contextmanager
def exporting(folder: Path, counts: dict[str, Any]) -> Iterator[Path]:
    """Yield a temporary folder to fill; publish it as ``folder`` if the block succeeds.

    Parameters
    ----------
    folder : Path
        Replaced only if it is an export as it was written.
    counts : dict
        What ``export.json`` says beside the files; may be filled within the block.

    Raises
    ------
    DawnChorusError
        If the folder holds anything else, or a file of it was changed or added.
    """
    refuse_changed(folder)
    with publishing(folder) as partial:
        partial.mkdir()
        yield partial
        files = {name: digest(partial / name) for name in sorted(_files(partial))}
        write_receipt(partial / MANIFEST, {**counts, "files": files})
        # Somebody may have worked in it while this took its time.
        refuse_changed(folder)


def digest(path: Path) -> str:
    """Return XXH3-128 of a file's bytes, in blocks."""
    hasher = xxhash.xxh3_128()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def refuse_changed(folder: Path) -> None:
    """Raise if a folder holds anything but an export as it was written."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DawnChorusError("is a file", folder, "choose another folder")
    there = _files(folder)
    if not there:
        return
    keep = "choose another folder, so that nothing of it is lost"
    if MANIFEST not in there:
        raise DawnChorusError("holds something else than an export", folder, keep)
    written: dict[str, str] = read_receipt(folder / MANIFEST).get("files", {})
    foreign = there - set(written) - {MANIFEST}
    changed = [
        name for name in sorted(there & set(written)) if digest(folder / name) != written[name]
    ]
    if foreign or changed:
        name = (sorted(foreign) or changed)[0]
        raise DawnChorusError(f"{name!r} was added or changed since the export", folder, keep)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
