"""What may stand in the configuration about labelled data sets: sound with a person's labels, beside the season.

As :mod:`dawnchorus.config.sections`, whose section ``labelled_sets`` this is (docs/labelled-data.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dawnchorus.config.section import Positive, Section

LabelFormat = Literal["clips", "boxes", "raven", "audacity"]


class LabelColumns(Section):
    """Headings of a table of labels, where they are not the usual ones."""

    path: str | None = None
    """The sound file; `path`, of a Raven table of several recordings `Begin File`."""
    label: str | None = None
    """What it is; `label`, of a Raven table `Annotation`, `Species`, `Label` or `Common Name`."""
    start: str | None = None
    """Start of a box in seconds of its recording; `start_s`."""
    end: str | None = None
    """Its end; `end_s`."""
    low: str | None = None
    """Its lower edge in hertz; `low_hz`, if there is such a column."""
    high: str | None = None
    """Its upper edge; `high_hz`, if there is such a column."""
    group: str | None = None
    """What must not stand on both sides of a split: the source or site of a recording; its own, if not said."""
    fold: str | None = None
    """The set's official folds."""


class LabelledSet(Section):
    """A labelled data set: its sound goes the season's way, its labels judge every output space."""

    audio: Path
    """Folder of its sound files, of any layout; only read."""
    labels: Path
    """A table (`.csv`, `.tsv`, `.parquet`), or a folder of Raven tables or Audacity tracks, one or more per
    recording and named after it."""
    format: LabelFormat = "clips"
    """`clips`: a row per file (or several, of several labels); `boxes`: a row per box; `raven`: selection tables;
    `audacity`: label tracks."""
    columns: LabelColumns = LabelColumns()
    where: dict[str, str | int | bool] = Field(default_factory=dict)
    """Of a table, only rows that hold these values: column to value."""
    unlabelled: Literal["left out", "empty"] = "left out"
    """Files without a label: nobody listened, or somebody did and heard nothing."""
    overlap_seconds: Annotated[float, Field(ge=0, lt=60)] | None = None
    """What a window has in common with the next one of its file, in seconds; the season's, if not said."""
    clusters: Annotated[int, Field(ge=2)] | None = None
    """Clusters of the windows of the set by themselves; as many as classes, if not said."""
    attention_windows: Positive = 2_000
    """Most windows (with a box, drawn by `evaluation.seed`) whose attention is compared with the boxes."""

    @field_validator("where")
    @classmethod
    def _as_text(cls, where: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        return {column: str(value) for column, value in where.items()}

    @model_validator(mode="after")
    def _belongs_together(self) -> LabelledSet:
        if self.where and self.format in ("raven", "audacity"):
            raise ValueError("where: chooses rows of a table; leave it out")
        if self.format == "audacity" and self.columns != LabelColumns():
            raise ValueError("columns: a label track has none; leave them out")
        return self
