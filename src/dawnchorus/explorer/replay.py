"""The journal of labels, replayed over an output space: which entry holds which window.

In: entries and an output space. Out: :class:`LabelState`. What was worked out before is used again as far as
it still holds, so a new label costs its own members and not those of all others.

The rule where labels overlap (:data:`RULE`): a window that was named by itself keeps that name; else the
region named last holds. A curve drawn in another fitted map, or a cluster of another fit, says nothing about
this one: such labels are kept, counted and not applied. A window named by itself is named in every map.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dawnchorus.explorer.conditions import Condition
from dawnchorus.explorer.entries import HeardEntry, LabelEntry, OneEntry, standing
from dawnchorus.explorer.members import Members
from dawnchorus.explorer.regions import AnyRegion, ClusterRegion, ClustersRegion, WindowsRegion
from dawnchorus.explorer.space import OutputSpace

RULE = "A window named by itself keeps that name. Else the region named last holds."
REMEMBERED_BYTES = 128 << 20
"""Of the members of regions, a bit per window: 120 regions of 8.7 million windows."""
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class LabelState:
    """What stands at one moment.

    Attributes
    ----------
    revision : int
        Entries replayed.
    standing : list of LabelEntry
        Of this map: regions in the order given, behind them windows named by themselves. The later in
        this list beats the earlier.
    members : list of int
        Windows in the region of each now, whoever holds them.
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
    inherited : bool array (n,)
        Windows that have a label and came after it was given.
    heard : bool array (n,)
        Windows that somebody has listened to.
    """

    revision: int
    standing: list[LabelEntry]
    members: list[int]
    undone: list[LabelEntry]
    elsewhere: int
    winner: NDArray[np.int32]
    names: list[str]
    codes: NDArray[np.uint16]
    inherited: NDArray[np.bool_]
    heard: NDArray[np.bool_]

    @property
    def labelled(self) -> int:
        """Number of windows that have a label."""
        return int(np.count_nonzero(self.codes))

    def called(self, where: Condition) -> NDArray[np.bool_]:
        """Return which windows a condition takes by what they are called now, shape (n,)."""
        return called(where, self.winner, [entry.label for entry in self.standing])

    @property
    def holds(self) -> NDArray[np.int64]:
        """Windows that each entry of ``standing`` holds."""
        return np.bincount(self.winner + 1, minlength=len(self.standing) + 1)[1:]


def is_single(entry: LabelEntry) -> bool:
    """Whether an entry names windows by themselves."""
    return isinstance(entry.region, WindowsRegion)


def called(
    where: Condition, winner: NDArray[np.int32], names: Sequence[str | None]
) -> NDArray[np.bool_]:
    """Return which windows a condition takes by what they are called.

    Parameters
    ----------
    where : Condition
    winner : int32 array (n,)
        Index into ``names`` of what each window is called; -1: no region names it.
    names : sequence of str or None
        None: the label was taken away.
    """
    kept = np.ones(len(winner), dtype=bool)
    if where.unlabelled:
        kept &= winner < 0
    if where.labels:
        wanted = set(where.labels)
        kept &= np.array([name in wanted for name in (*names, None)])[winner]
    return kept


def by_name(region: AnyRegion) -> Condition | None:
    """Return the condition of a region that asks what windows are called; None if it does not ask."""
    if isinstance(region, WindowsRegion) or region.where is None or not region.where.asks_names:
        return None
    return region.where


class Replay:
    """Replays one journal over one output space; for one thread at a time."""

    def __init__(self, space: OutputSpace) -> None:
        self.space = space
        self.members = Members(space)
        self._remembered: OrderedDict[int, tuple[LabelEntry, NDArray[np.uint8]]] = OrderedDict()
        self._forget()

    def _forget(self) -> None:
        """Begin from an empty journal."""
        nothing = np.full(len(self.space), -1, dtype=np.int32)
        self._last: OneEntry | None = None
        self._noted_to = 0
        self._heard: dict[str, NDArray[np.bool_]] = {}
        self._came: dict[str, int] = {}
        self._regions: tuple[list[LabelEntry], NDArray[np.int32], list[int]] = ([], nothing, [])
        self._state: LabelState | None = None

    def belongs(self, entry: LabelEntry) -> bool:
        """Whether an entry says something about this output space."""
        region = entry.region
        if isinstance(region, WindowsRegion):
            return True
        if entry.experiment != self.space.experiment:
            return False
        by_cluster = isinstance(region, ClusterRegion | ClustersRegion)
        if by_cluster or (region.where is not None and region.where.clusters):
            same = entry.clusters is not None and entry.clusters == self.space.clusters
            return same and (by_cluster or entry.map == self.space.map)
        return entry.map == self.space.map

    def heard_by(self, who: str) -> NDArray[np.bool_]:
        """Return the windows that somebody has heard, shape (n,)."""
        return self._heard.get(who, np.zeros(len(self.space), dtype=bool))

    @property
    def region_winner(self) -> NDArray[np.int32]:
        """As :attr:`LabelState.winner` of the last state, of regions only."""
        return self._regions[1]

    def new_recordings(self) -> tuple[str, ...]:
        """Return the recordings of the map that no entry names yet."""
        held = self.space.inventory["recording"].to_list()
        return tuple(name for name in held if name not in self._came)

    def state(self, entries: list[OneEntry]) -> LabelState:
        """Return what stands after ``entries``."""
        self.note(entries)
        everywhere, undone = standing(entries)
        here = self._ordered(everywhere)
        heard = np.zeros(len(self.space), dtype=bool)
        for rows in self._heard.values():
            heard |= rows
        before = self._state
        if before is not None and here == before.standing:
            winner, members = before.winner, before.members
        else:
            winner, members = self._won(here)
        self._state = self._complete(here, winner, members, before)
        self._state = replace(
            self._state,
            revision=len(entries),
            undone=[entry for entry in undone if self.belongs(entry)],
            elsewhere=len(everywhere) - len(here),
            heard=heard,
        )
        return self._state

    def state_of(self, who: str, entries: list[OneEntry]) -> LabelState:
        """Return what stands after ``entries`` if only one annotator is asked."""
        self.state(entries)
        everywhere, undone = standing(one for one in entries if one.who == who)
        here = self._ordered(everywhere)
        kept = self._regions
        winner, members = self._won(here)
        self._regions = kept
        return replace(
            self._complete(here, winner, members, None),
            revision=len(entries),
            undone=[entry for entry in undone if self.belongs(entry)],
            elsewhere=len(everywhere) - len(here),
            heard=self.heard_by(who),
        )

    def _ordered(self, entries: list[LabelEntry]) -> list[LabelEntry]:
        """Return the entries of this map, the stronger behind the weaker."""
        return sorted(filter(self.belongs, entries), key=lambda one: (is_single(one), one.id))

    def note(self, entries: Sequence[OneEntry]) -> None:
        """Take in what was heard and which recordings came, as far as it is new."""
        if self._noted_to > len(entries) or (
            self._noted_to and entries[self._noted_to - 1] is not self._last
        ):
            self._forget()  # somebody put another journal in its place
        for entry in entries[self._noted_to :]:
            if isinstance(entry, HeardEntry):
                heard = self._heard.setdefault(entry.who, np.zeros(len(self.space), dtype=bool))
                heard[self.members.find(entry.windows)] = True
            elif isinstance(entry, LabelEntry) and entry.experiment == self.space.experiment:
                for recording in entry.recordings:
                    self._came.setdefault(recording, entry.id)
        self._noted_to = len(entries)
        self._last = entries[-1] if entries else None

    def rows_of(self, entry: LabelEntry) -> NDArray[np.int64]:
        """Return the members of an entry's region, remembered as a bit per window."""
        known = self._remembered.get(entry.id)
        if known is not None and known[0] is entry:
            self._remembered.move_to_end(entry.id)
            return np.flatnonzero(np.unpackbits(known[1], count=len(self.space)))
        rows = self.members.rows(entry.region)
        bits = np.zeros(len(self.space), dtype=bool)
        bits[rows] = True
        self._remembered[entry.id] = (entry, np.packbits(bits))
        most = max(1, REMEMBERED_BYTES * 8 // max(1, len(self.space)))
        while len(self._remembered) > most:
            self._remembered.popitem(last=False)
        return rows

    def _won(self, entries: list[LabelEntry]) -> tuple[NDArray[np.int32], list[int]]:
        """Return which entry holds each window, and how many windows each covers."""
        regions = [one for one in entries if not is_single(one)]
        before, winner, covered = self._regions
        winner, covered, done = winner.copy(), list(covered), len(before)
        if regions[:done] != before:
            winner[:], covered, done = -1, [], 0
        for number, entry in enumerate(regions[done:], start=done):
            rows, where = self.rows_of(entry), by_name(entry.region)
            if where is not None:
                earlier = [one.label for one in regions[:number]]
                rows = rows[called(where, winner[rows], earlier)]
            winner[rows] = number
            covered.append(len(rows))
        self._regions = (regions, winner, covered)
        singles = entries[len(regions) :]
        if singles:
            winner, covered = winner.copy(), list(covered)
        for number, entry in enumerate(singles, start=len(regions)):
            rows = self.members.rows(entry.region)
            winner[rows] = number
            covered.append(len(rows))
        return winner, covered

    def _complete(
        self,
        here: list[LabelEntry],
        winner: NDArray[np.int32],
        members: list[int],
        before: LabelState | None,
    ) -> LabelState:
        """Return the state of these winners; revision, undone, elsewhere and heard are the caller's."""
        if before is not None and winner is before.winner:
            return before
        in_time = sorted(here, key=lambda one: one.id)
        names = list(dict.fromkeys(one.label for one in in_time if one.label is not None))
        code = {name: number for number, name in enumerate(names, start=1)}
        # The last element is what index -1 finds: no entry, no label.
        of_entry = [code[one.label] if one.label is not None else 0 for one in here] + [0]
        codes = np.array(of_entry, dtype=np.uint16)[winner]
        inherited = self._came_later(here, winner) & (codes > 0)
        return LabelState(0, here, members, [], 0, winner, names, codes, inherited, inherited)

    def _came_later(self, here: list[LabelEntry], winner: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which windows belong to recordings that came after the entry that holds them."""
        if not self._came or not here:
            return np.zeros(len(winner), dtype=bool)
        names = self.space.inventory["recording"].to_list()
        came = np.array([self._came.get(name, NEVER) for name in names], dtype=np.int64)
        # From before anything was noted nothing can be known; windows named by themselves were there.
        noted = min(self._came.values())
        given = [NEVER if is_single(one) or one.id < noted else one.id for one in here]
        return came[self.space.recording] > np.array([*given, NEVER], dtype=np.int64)[winner]
