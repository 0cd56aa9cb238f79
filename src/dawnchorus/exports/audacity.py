r"""Audacity label tracks: start, end and text, tab-separated, without a heading.

In: :class:`Label` objects. Out: a text file for *File > Import > Labels*. A label with a frequency range has
a second line, ``\``, low and high hertz, which Audacity shows in its spectrogram view
(https://manual.audacityteam.org/man/importing_and_exporting_labels.html).

Audacity knows no quoting: tabs and line breaks become spaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.exports.cells import one_cell, to_bytes
from dawnchorus.results import publishing


@dataclass(frozen=True)
class Label:
    """One label of a track.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the recording's start.
    text : str
    hertz : tuple of (low, high) or None
        None: over all frequencies.
    """

    start_s: float
    end_s: float
    text: str
    hertz: tuple[float, float] | None = None


def format_labels(labels: Iterable[Label]) -> str:
    """Return the text of a label track; times with 6 decimals as Audacity writes them."""
    lines = []
    for label in labels:
        lines.append(f"{label.start_s:.6f}\t{label.end_s:.6f}\t{one_cell(label.text)}\n")
        if label.hertz is not None:
            lines.append(f"\\\t{label.hertz[0]:.6f}\t{label.hertz[1]:.6f}\n")
    return "".join(lines)


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Write a label track (UTF-8, ``\\n``); see :func:`format_labels`."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_labels(labels)))
