"""Detections in the two tables that BirdNET-Analyzer itself writes.

In: :class:`Detection` objects of one recording. Out: its CSV (``Start (s)``, ``End (s)``, ``Scientific name``,
``Common name``, ``Confidence``, ``File``) or its Raven selection table, with BirdNET's columns in BirdNET's
order. Whatever reads BirdNET-Analyzer's results reads these.

The species code (eBird's) is left empty: BirdNET's model does not carry it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dawnchorus.exports.cells import csv_line, one_cell, to_bytes
from dawnchorus.results import publishing

NAMED_COLUMNS = ("Label", "Annotator")
"""Behind BirdNET's own columns, as its additional columns are: of what a person said."""
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

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    scientific_name: str
    common_name: str
    confidence: float
    named: tuple[str, str] | None = None
    """Label and annotator, if a person said it."""


def format_csv(recording: str, detections: Iterable[Detection]) -> str:
    """Return the text of BirdNET-Analyzer's CSV; ``recording`` stands in the column ``File``.

    What persons said has :data:`NAMED_COLUMNS` too; all detections of a file are of one kind.
    """
    detections = list(detections)
    further = NAMED_COLUMNS if any(one.named for one in detections) else ()
    lines = [csv_line((*CSV_COLUMNS, *further))]
    lines.extend(
        csv_line(
            (
                _seconds(one.start_s),
                _seconds(one.end_s),
                one.scientific_name,
                one.common_name,
                f"{one.confidence:.4f}",
                recording,
                *(one.named or ()),
            )
        )
        for one in detections
    )
    return "".join(lines)


def format_table(recording: str, detections: Iterable[Detection]) -> str:
    """Return the text of BirdNET-Analyzer's selection table; ``recording`` is the ``Begin Path``."""
    lines = ["\t".join(TABLE_COLUMNS)]
    for number, one in enumerate(detections, start=1):
        cells = (
            str(number),
            "Spectrogram 1",
            "1",
            _seconds(one.start_s),
            _seconds(one.end_s),
            f"{one.low_hz:.0f}",
            f"{one.high_hz:.0f}",
            one.common_name,
            one.scientific_name,
            "",
            f"{one.confidence:.4f}",
            recording,
            _seconds(one.start_s),
        )
        lines.append("\t".join(map(one_cell, cells)))
    return "\n".join(lines) + "\n"


def write_csv(path: Path, recording: str, detections: Iterable[Detection]) -> None:
    """Write BirdNET-Analyzer's CSV of a recording."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_csv(recording, detections)))


def write_table(path: Path, recording: str, detections: Iterable[Detection]) -> None:
    """Write BirdNET-Analyzer's selection table of a recording."""
    with publishing(path) as partial:
        partial.write_bytes(to_bytes(format_table(recording, detections)))


def _seconds(value: float) -> str:
    """Return seconds exact to a microsecond: 3.0, 4.000023."""
    return str(round(value, 6))
