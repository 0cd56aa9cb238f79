"""Detections in the two tables that BirdNET-Analyzer itself writes.

In: :class:`Detection` objects of one recording, or of several that follow each other. Out: their CSV (``Start (s)``, ``End (s)``, ``Scientific name``,
``Common name``, ``Confidence``, ``File``) or their Raven selection table, with BirdNET's columns in BirdNET's
order. Whatever reads BirdNET-Analyzer's results reads these.

In the table of several recordings, times count from the start of the first one, as if they were one sound: so
does BirdNET-Analyzer's, and so does Raven when it opens them together. ``File Offset (s)`` counts from the start
of each recording, as the CSV's times do.

The species code (eBird's) is left empty: BirdNET's model does not carry it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.exports.cells import csv_line, one_cell, to_bytes
from dawnchorus.results import publishing

CSV_COLUMNS = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
TABLE_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Common Name",
    "Scientific Name",
    "Species Code",
    "Confidence",
    "Begin Path",
    "File Offset (s)",
)


@dataclass(frozen=True)
class Detection:
    """What BirdNET says of a window; seconds from the recording's start, hertz."""

    recording: str
    """Stands in the columns ``File`` and ``Begin Path``."""
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    scientific_name: str
    common_name: str
    confidence: float
    before_s: float = 0.0
    """Seconds of the recordings before this one, where several follow each other."""


def format_csv(detections: Iterable[Detection]) -> str:
    """Return the text of BirdNET-Analyzer's CSV."""
    lines = [csv_line(CSV_COLUMNS)]
    lines.extend(
        csv_line(
            (
                _seconds(one.start_s),
                _seconds(one.end_s),
                one.scientific_name,
                one.common_name,
                f"{one.confidence:.4f}",
                one.recording,
            )
        )
        for one in detections
    )
    return "".join(lines)


def format_table(detections: Iterable[Detection]) -> str:
    """Return the text of BirdNET-Analyzer's selection table."""
    lines = ["\t".join(TABLE_COLUMNS)]
    for number, one in enumerate(detections, start=1):
        cells = (
            str(number),
            "Spectrogram 1",
            "1",
            _seconds(one.before_s + one.start_s),
            _seconds(one.before_s + one.end_s),
            f"{one.low_hz:.0f}",
            f"{one.high_hz:.0f}",
            one.common_name,
            one.scientific_name,
            "",
            f"{one.confidence:.4f}",
            one.recording,
            _seconds(one.start_s),
        )
        lines.append("\t".join(map(one_cell, cells)))
    return "\n".join(lines) + "\n"


def write_csv(path: Path, detections: Iterable[Detection]) -> None:
    """Write BirdNET-Analyzer's CSV."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_csv(detections)))


def write_table(path: Path, detections: Iterable[Detection]) -> None:
    """Write BirdNET-Analyzer's selection table."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_table(detections)))


def _seconds(value: float) -> str:
    """Return seconds exact to a microsecond: 3.0, 4.000023."""
    return str(round(value, 6))
