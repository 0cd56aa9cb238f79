"""The labels of the windows: the journal, replayed over the output space.

In: the journal and the output space. Out: which label entry holds each window (:class:`LabelState`),
and new entries. Labels are kept as regions, so windows of a new recorder-day inherit them.

Where regions overlap, the label given last holds. A curve drawn in another fitted map, or a cluster of
another fit, says nothing about this one: such labels are kept, counted and not applied.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.journal import (
    Journal,
    LabelEntry,
    RedoEntry,
    UndoEntry,
    now,
    standing,
)
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.explorer.space import OutputSpace

MAX_LABEL = 200
"""Characters of a label."""


@dataclass(frozen=True)
class LabelState:
    """What stands at one moment.

    Attributes
    ----------
    revision : int
        Entries replayed.
    standing : list of LabelEntry
        Of this map, in the order given.
    undone : list of LabelEntry
        Can be redone, the next one last.
    elsewhere : int
        Standing labels of other experiments or maps.
    winner : int32 array (n,)
        Index into ``standing`` of the entry that holds a window; -1 without one.
    names : list of str
        Labels in the order first given.
    codes : uint16 array (n,)
        0 unlabelled, else 1 + index into ``names``.
    """

    revision: int
    standing: list[LabelEntry]
    undone: list[LabelEntry]
    elsewhere: int
    winner: NDArray[np.int32]
    names: list[str]
    codes: NDArray[np.uint16]

    @property
    def labelled(self) -> int:
        """Number of windows that have a label."""
        return int(np.count_nonzero(self.codes))


class ConflictError(Exception):
    """What shall be undone or redone does not stand (any more): someone else was faster."""


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
        self._mutex = threading.RLock()
        self._state = self._replay(None)

    def _belongs(self, entry: LabelEntry) -> bool:
        if entry.experiment != self.space.experiment:
            return False
        if isinstance(entry.region, ClusterRegion):
            return entry.clusters is not None and entry.clusters == self.space.clusters
        return entry.map == self.space.map

    def _replay(self, before: LabelState | None) -> LabelState:
        entries = list(self.journal.entries)
        everywhere, undone = standing(entries)
        here = [entry for entry in everywhere if self._belongs(entry)]
        done = len(before.standing) if before else 0
        if before and here[:done] == before.standing:
            winner = before.winner.copy()  # readers keep the one they have
        else:
            winner, done = np.full(len(self.space), -1, dtype=np.int32), 0
        for number, entry in enumerate(here[done:], start=done):
            winner[self.space.membership.rows(entry.region)] = number
        names = list(dict.fromkeys(entry.label for entry in here if entry.label is not None))
        code = {name: number for number, name in enumerate(names, start=1)}
        # The last element is what index -1 finds: no entry, no label.
        of_entry = [code[entry.label] if entry.label is not None else 0 for entry in here] + [0]
        return LabelState(
            revision=len(entries),
            standing=here,
            undone=[entry for entry in undone if self._belongs(entry)],
            elsewhere=len(everywhere) - len(here),
            winner=winner,
            names=names,
            codes=np.array(of_entry, dtype=np.uint16)[winner],
        )

    def state(self) -> LabelState:
        """Return what stands now, with what other explorers wrote meanwhile."""
        with self._mutex:
            self.journal.refresh()
            if len(self.journal.entries) != self._state.revision:
                self._state = self._replay(self._state)
            return self._state

    def label(
        self, region: PolygonRegion | ClusterRegion, label: str | None, who: str
    ) -> LabelEntry:
        """Name all windows in a region (None takes their labels away), in one step.

        Raises
        ------
        DawnChorusError
            If the journal cannot be written.
        ValueError
            If the label is no text, or no window lies in the region.
        """
        name = None if label is None else clean_label(label)
        if isinstance(region, ClusterRegion) and self.space.clusters is None:
            raise ValueError("this output space has no clusters")
        members = len(self.space.membership.rows(region))
        if members == 0:
            raise ValueError("no window lies in the region")

        def make(number: int, entries: Sequence[object]) -> LabelEntry:
            return LabelEntry(
                id=number,
                who=who,
                when=now(),
                label=name,
                region=region,
                experiment=self.space.experiment,
                map=self.space.map,
                clusters=self.space.clusters,
                members=members,
            )

        with self._mutex:
            entry = self.journal.append(make)
        if not isinstance(entry, LabelEntry):
            raise DawnChorusError("was given back another entry", self.journal.path)
        return entry

    def undo(self, of: int, who: str) -> None:
        """Take back the label entry ``of``.

        Raises
        ------
        ConflictError
            If it does not stand.
        DawnChorusError
            If the journal cannot be written.
        """

        def make(number: int, entries: Sequence[LabelEntry | UndoEntry | RedoEntry]) -> UndoEntry:
            if of not in {entry.id for entry in standing(entries)[0]}:
                raise ConflictError(f"label {of} does not stand any more")
            return UndoEntry(id=number, who=who, when=now(), of=of)

        with self._mutex:
            self.journal.append(make)

    def redo(self, of: int, who: str) -> None:
        """Let the undone label entry ``of`` stand again; raises as :meth:`undo`."""

        def make(number: int, entries: Sequence[LabelEntry | UndoEntry | RedoEntry]) -> RedoEntry:
            if of not in {entry.id for entry in standing(entries)[1]}:
                raise ConflictError(f"label {of} cannot be redone any more")
            return RedoEntry(id=number, who=who, when=now(), of=of)

        with self._mutex:
            self.journal.append(make)
