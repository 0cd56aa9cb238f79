"""What a labelled set stands on: its files, windows and classes; and what of it is in no figure.

In: the bench of the set and the inventory of its files. Out: rows of the table ``coverage``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dawnchorus.evaluation.bench import Bench
from dawnchorus.evaluation.coverage_table import fill_coverage_of_labels
from dawnchorus.evaluation.labelled_files import such
from dawnchorus.evaluation.labels import Labels
from dawnchorus.evaluation.tables import covered
from dawnchorus.recordings.audio import windows_in
from dawnchorus.recordings.table import Recording

OF_WINDOWS = "figures are of windows: each has the label of its clip, or of the boxes in it"


def fill_coverage_of_set(bench: Bench, recordings: Sequence[Recording]) -> None:
    """Fill the table coverage."""
    windows, rows, spectrogram = bench.windows, bench.tables["coverage"], bench.settings.spectrogram
    shape = spectrogram.window_seconds, spectrogram.overlap_seconds
    short = [
        row.recording
        for row in recordings
        if row.is_usable and not windows_in(row.frames, row.sample_rate, *shape)
    ]
    if short:
        told = such(short, f"shorter than {shape[0]:g} s, they are in no figure")
        rows.append(covered("files", "shorter than a window", len(short), len(recordings), told))
    rows.append(covered("windows", "drawn", len(windows), windows.total, OF_WINDOWS))
    fill_coverage_of_labels(bench)
    for labels in bench.labels:
        if labels.source != "birdnet":
            _fill_classes(bench, labels)


def _fill_classes(bench: Bench, labels: Labels) -> None:
    group = bench.group
    for species in labels.species:
        where = labels.top == species
        groups = len(set(group[where].tolist()))
        note = f"{groups} groups"
        if groups == 0:
            note = "in no window the leading label"
        elif groups == 1:
            note = "one group: it cannot be on both sides of a split, so no probe asks for it"
        row = covered("class", species, int(where.sum()), len(bench.windows), note)
        bench.tables["coverage"].append(row)
