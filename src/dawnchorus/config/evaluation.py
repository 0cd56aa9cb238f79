"""What may stand in the section ``evaluation``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from dawnchorus.config.section import Positive, Section, Share

Grouping = Literal["recording", "recorder_day", "recorder"]


class Evaluation(Section):
    """How good the output spaces are, beside their baselines."""

    windows: Annotated[int, Field(ge=10)] = 20_000
    """Windows drawn for probes and baselines."""
    seed: int = 0
    confidences: tuple[Annotated[float, Field(ge=0.01, le=0.99)], ...] = (0.1, 0.25, 0.5, 0.7, 0.9)
    """BirdNET confidences from which a detection counts; probes read the middle one."""
    annotations: Path | None = None
    """Parquet of boxes: recording, start_s, end_s, low_hz, high_hz, species (``truth.parquet`` of
    ``dawnchorus simulate`` is one)."""
    min_overlap: Share = 0.1
    """Share of a window that a box must cover, or of the box that a window must hold, to count."""
    neighbours: Positive = 5
    folds: Annotated[int, Field(ge=2)] = 5
    """Parts that the groups of a split are dealt to; by recorder, each is left out once."""
    bootstrap: Annotated[int, Field(ge=10)] = 200
    """Resamples of the groups for the 95 % intervals."""
    groups: Annotated[tuple[Grouping, ...], Field(min_length=1)] = (
        "recorder_day",
        "recording",
        "recorder",
    )
    """What makes a group, of ``recording``, ``recorder_day`` and ``recorder``: windows of one group are
    never on both sides of a split. Probes take each grouping in turn; the first is also what few-shot
    curves, shuffled labels and all other intervals go by."""
    balanced: bool = True
    """Linear and attentive probes give every class the same weight, however many windows it has."""
    shots: tuple[Positive, ...] = (1, 2, 4, 8, 16)
    """Windows per class of the few-shot curves; empty: none."""
    attentive_windows: Annotated[int, Field(ge=0)] = 1_000
    """Windows of the attentive probe; 0: none. It holds their patch tokens in memory (0.1 MB each
    for 128 tokens of width 384)."""

    @field_validator("groups")
    @classmethod
    def _each_once(cls, groups: tuple[Grouping, ...]) -> tuple[Grouping, ...]:
        if len(set(groups)) < len(groups):
            raise ValueError("a grouping stands twice")
        return groups

    @property
    def group(self) -> Grouping:
        """The first grouping: what all that is not a probe goes by."""
        return self.groups[0]
