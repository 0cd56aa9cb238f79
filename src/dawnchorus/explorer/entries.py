"""What the journal of labels can say: one class per kind of line, and what stands after all of them.

In: lines of JSON. Out: entries, and the labels that stand (:func:`standing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_serializer

from dawnchorus.explorer.regions import Region, Windows


class Entry(BaseModel):
    """What every line has. Keys that a later version adds are passed over."""

    model_config = ConfigDict(frozen=True)
    id: Annotated[int, Field(ge=1)]
    """Counted from 1 in the order written."""
    who: str
    when: datetime
    """UTC."""


class Import(BaseModel):
    """Where a label came from that nobody gave in the explorer."""

    model_config = ConfigDict(frozen=True)
    format: str
    file: str
    """Name of the file or folder."""
    when: datetime
    """Of the import; the entry's own ``when`` is that of the label, where the file says it."""


class LabelEntry(Entry):
    """A region was named, or its name taken away (``label`` is None)."""

    op: Literal["label"] = "label"
    label: str | None
    region: Region
    experiment: str
    map: str
    """Fingerprint of the fitted projection: a curve means nothing in another one."""
    clusters: str | None
    """Fingerprint of the fitted clusters."""
    members: int
    """Windows in the region at the time."""
    heard: int = 0
    """How many of them ``who`` had heard by then."""
    imported: Import | None = None
    recordings: tuple[str, ...] = ()
    """What the map held that no earlier entry of the experiment names: what comes later inherits."""

    @field_serializer("region")
    def _short(self, region: BaseModel) -> dict[str, Any]:
        """Leave out what is not said of a region."""
        return region.model_dump(mode="json", exclude_defaults=True)


class UndoEntry(Entry):
    """The label entry ``of`` no longer stands."""

    op: Literal["undo"] = "undo"
    of: int


class RedoEntry(Entry):
    """The undone label entry ``of`` stands again, at its old place."""

    op: Literal["redo"] = "redo"
    of: int


class HeardEntry(Entry):
    """``who`` has listened to windows."""

    op: Literal["heard"] = "heard"
    windows: Windows


OneEntry = LabelEntry | UndoEntry | RedoEntry | HeardEntry
ENTRY: TypeAdapter[OneEntry] = TypeAdapter(Annotated[OneEntry, Field(discriminator="op")])


def standing(entries: Iterable[OneEntry]) -> tuple[list[LabelEntry], list[LabelEntry]]:
    """Replay a journal.

    Returns
    -------
    (list of LabelEntry, list of LabelEntry)
        The labels that stand, in the order they were given, and those that can be redone, the next one
        last. A new label ends the redoing.
    """
    stand: dict[int, LabelEntry] = {}
    undone: list[LabelEntry] = []
    for entry in entries:
        if isinstance(entry, LabelEntry):
            stand[entry.id] = entry
            undone.clear()
        elif isinstance(entry, UndoEntry):
            if entry.of in stand:
                undone.append(stand.pop(entry.of))
        elif isinstance(entry, RedoEntry):
            again = [label for label in undone if label.id == entry.of]
            for label in again:
                undone.remove(label)
                stand[label.id] = label
    return [stand[number] for number in sorted(stand)], undone


def now() -> datetime:
    """Return the time, UTC, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
