"""The labels of an output space: what stands, and the operations that change it.

In: the journal and the output space. Out: :class:`~dawnchorus.explorer.replay.LabelState`, and new entries.
Labels are kept as regions, so windows of a new recorder-day inherit them. Which label holds where several
overlap: :data:`~dawnchorus.explorer.replay.RULE`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from dawnchorus.explorer.entries import (
    HeardEntry,
    Import,
    LabelEntry,
    OneEntry,
    RedoEntry,
    UndoEntry,
    now,
    standing,
)
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.regions import AnyRegion, ClusterRegion, ClustersRegion
from dawnchorus.explorer.replay import RULE, LabelState, Replay, by_name
from dawnchorus.explorer.space import OutputSpace

__all__ = ["RULE", "ConflictError", "LabelBook", "LabelState", "clean_label"]

MAX_LABEL = 200
"""Characters of a label."""


class ConflictError(Exception):
    """Someone else was faster: what shall be changed is not any more what the asking side saw."""


def clean_label(text: str) -> str:
    """Return a label without outer blanks and line breaks.

    Raises
    ------
    ValueError
        If nothing is left, or it is too long.
    """
    label = " ".join(text.split())
    if not label or not label.isprintable():
        raise ValueError("a label is some printable text")
    if len(label) > MAX_LABEL:
        raise ValueError(f"a label has at most {MAX_LABEL} characters")
    return label


class LabelBook:
    """Labels of one output space; safe to use from several threads."""

    def __init__(self, journal: Journal, space: OutputSpace) -> None:
        self.journal, self.space = journal, space
        self._replay = Replay(space)
        self.members = self._replay.members
        self._mutex = threading.RLock()
        self._state = self._replay.state(list(journal.entries))

    def state(self) -> LabelState:
        """Return what stands now, with what other explorers wrote meanwhile."""
        with self._mutex:
            self.journal.refresh()
            if len(self.journal.entries) != self._state.revision:
                self._state = self._replay.state(list(self.journal.entries))
            return self._state

    def of(self, who: str) -> LabelState:
        """Return what stands if only one annotator's labels are asked."""
        with self._mutex:
            self.journal.refresh()
            return self._replay.state_of(who, list(self.journal.entries))

    def state_with_regions(self) -> tuple[LabelState, NDArray[np.int32]]:
        """Return what stands, and which region would hold each window if none were named by itself."""
        with self._mutex:
            state = self.state()
            return state, self._replay.region_winner

    def rows(self, region: AnyRegion) -> NDArray[np.int64]:
        """Return the windows that a region would name now, ascending."""
        rows, where = self.members.rows(region), by_name(region)
        return rows if where is None else rows[self.state().called(where)[rows]]

    def checked(self, rows: Iterable[int]) -> NDArray[np.int64]:
        """Return row numbers, ascending and each once.

        Raises
        ------
        ValueError
            If there is no such row.
        """
        known = np.unique(np.fromiter(rows, dtype=np.int64))
        if len(known) and not 0 <= known[0] <= known[-1] < len(self.space):
            raise ValueError("there is no such window")
        return known

    def overlaps(self) -> list[tuple[LabelEntry, LabelEntry, int]]:
        """Return where the rule decides: (entry that holds, entry that gives way, windows).

        Only pairs that call the windows differently.
        """
        with self._mutex:
            state = self.state()
            found = []
            for number, entry in enumerate(state.standing):
                rows = self._replay.rows_of(entry)
                holders = np.bincount(state.winner[rows] + 1, minlength=len(state.standing) + 1)[1:]
                found += [
                    (state.standing[other], entry, int(holders[other]))
                    for other in np.flatnonzero(holders)
                    if other != number and state.standing[other].label != entry.label
                ]
            return found

    def label(
        self,
        region: AnyRegion,
        label: str | None,
        who: str,
        *,
        seen: int | None = None,
        when: datetime | None = None,
        imported: Import | None = None,
    ) -> LabelEntry:
        """Name all windows in a region (None takes their labels away), in one step.

        Parameters
        ----------
        region : PolygonRegion, ClusterRegion, ClustersRegion or WindowsRegion
        label : str or None
        who : str
        seen : int or None
            Revision of the state that the person looked at; None: the present one.
        when : datetime or None
            UTC; None: now.
        imported : Import or None
            Where the label comes from, if it was not given here.

        Raises
        ------
        ConflictError
            If somebody has named or unnamed some of the windows since ``seen``.
        DawnChorusError
            If the journal cannot be written.
        ValueError
            If the label is no text, or no window lies in the region.
        """
        name = None if label is None else clean_label(label)
        if isinstance(region, ClusterRegion | ClustersRegion) and self.space.clusters is None:
            raise ValueError("this output space has no clusters")
        with self._mutex:
            rows = self.rows(region)
            if not len(rows):
                raise ValueError("no window lies in the region")

            def make(number: int, entries: Sequence[OneEntry]) -> LabelEntry:
                self._replay.note(entries)
                if seen is not None:
                    self._refuse_conflict(entries, seen, rows, name)
                return LabelEntry(
                    id=number,
                    who=who,
                    when=when or now(),
                    label=name,
                    region=region,
                    experiment=self.space.experiment,
                    map=self.space.map,
                    clusters=self.space.clusters,
                    members=len(rows),
                    heard=int(np.count_nonzero(self._replay.heard_by(who)[rows])),
                    imported=imported,
                    recordings=self._replay.new_recordings(),
                )

            return self.journal.append(make)

    def _refuse_conflict(
        self, entries: Sequence[OneEntry], seen: int, rows: NDArray[np.int64], name: str | None
    ) -> None:
        """Raise if an entry that was not seen has changed what some of the rows are called."""
        labels = {one.id: one for one in entries if isinstance(one, LabelEntry)}
        for one in entries[seen:]:
            changed = labels.get(one.of) if isinstance(one, UndoEntry | RedoEntry) else one
            if not isinstance(changed, LabelEntry) or not self._replay.belongs(changed):
                continue
            shared = len(np.intersect1d(rows, self._replay.rows_of(changed), assume_unique=True))
            if shared and (one is not changed or changed.label != name):
                did = {"undo": "taken back", "redo": "given again"}.get(one.op, "given")
                called = "no label" if changed.label is None else repr(changed.label)
                raise ConflictError(
                    f"{one.who} has meanwhile {did} {called} for {shared:,} of these windows; look, "
                    "and name them again if you still want to"
                )

    def hear(self, rows: Iterable[int], who: str) -> HeardEntry:
        """Write down that somebody has listened to windows.

        Raises
        ------
        ValueError
            If there is no such window.
        DawnChorusError
            If the journal cannot be written.
        """
        windows = self.members.windows(self.checked(rows))
        with self._mutex:
            return self.journal.append(
                lambda number, _: HeardEntry(id=number, who=who, when=now(), windows=windows)
            )

    def undo(self, of: int, who: str) -> None:
        """Take back the label entry ``of``.

        Raises
        ------
        ConflictError
            If it does not stand.
        DawnChorusError
            If the journal cannot be written.
        """

        def make(number: int, entries: Sequence[OneEntry]) -> UndoEntry:
            if of not in {entry.id for entry in standing(entries)[0]}:
                raise ConflictError(f"label {of} does not stand any more")
            return UndoEntry(id=number, who=who, when=now(), of=of)

        with self._mutex:
            self.journal.append(make)

    def redo(self, of: int, who: str) -> None:
        """Let the undone label entry ``of`` stand again; raises as :meth:`undo`."""

        def make(number: int, entries: Sequence[OneEntry]) -> RedoEntry:
            if of not in {entry.id for entry in standing(entries)[1]}:
                raise ConflictError(f"label {of} cannot be redone any more")
            return RedoEntry(id=number, who=who, when=now(), of=of)

        with self._mutex:
            self.journal.append(make)
