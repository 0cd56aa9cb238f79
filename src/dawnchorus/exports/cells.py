"""Text that fits into a cell of a table.

In: names as people and file systems make them, with tabs, line breaks, quotes or bytes that are no UTF-8.
Out: cells and lines that every reader splits in the same way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dawnchorus.errors import DawnChorusError


def one_cell(text: str) -> str:
    """Return text for a tab-separated format without quoting (Raven, Audacity): blanks for breaks and tabs."""
    # str.splitlines knows more line breaks (\x0b, \x85, \u2028 ...) than \n: readers that use it
    # would see a new row.
    return " ".join(text.replace("\t", " ").splitlines()).strip()


def csv_line(cells: Sequence[str]) -> str:
    r"""Return a line of CSV (RFC 4180, but ``\n`` at its end).

    A cell with a line break is quoted whatever kind of break it is: Python's writer leaves ``\r`` bare.
    """
    buffer = io.StringIO()
    if any("\r" in cell for cell in cells):
        csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    else:
        csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def to_bytes(text: str) -> bytes:
    r"""Encode as UTF-8; what it cannot say (a file name in another encoding) becomes ``\udcff``."""
    return text.encode("utf-8", "backslashreplace")


def read_text(path: Path) -> str:
    """Read a text that another program or a person wrote.

    Raises
    ------
    DawnChorusError
        If it is not there, or is not UTF-8.
    """
    try:
        # Not read_text: line breaks inside cells stay as they are.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DawnChorusError(error.strerror or "cannot be read", path) from None
    except UnicodeDecodeError:
        raise DawnChorusError("is not UTF-8 text", path, "export it again, as UTF-8") from None


def read_csv(path: Path, needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a CSV with a heading; a cell that a short row lacks is empty.

    Raises
    ------
    DawnChorusError
        If it cannot be read, or lacks a needed column.
    """
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    missing = [name for name in needed if name not in (rows.fieldnames or ())]
    if missing:
        raise DawnChorusError(f"lacks the columns {', '.join(missing)}", path)
    try:
        return [{key: value for key, value in row.items() if key is not None} for row in rows]
    except csv.Error as error:
        raise DawnChorusError(f"line {rows.line_num}: {error}", path) from None
