"""The windows of an output space that lie in a region.

In: an output space and a region: a curve, clusters or single windows, narrowed by a condition, without
exclusions. Out: row numbers, ascending. A window is found by its recording and offset in steps that grow with
the logarithm of the recording's windows; no table of all windows is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dawnchorus.explorer.conditions import Condition
from dawnchorus.explorer.regions import (
    AnyRegion,
    ClusterRegion,
    ClustersRegion,
    PolygonRegion,
    Windows,
    WindowsRegion,
)
from dawnchorus.explorer.space import OutputSpace


class Members:
    """Finds windows of one output space."""

    def __init__(self, space: OutputSpace) -> None:
        self.space = space

    def rows(self, region: AnyRegion) -> NDArray[np.int64]:
        """Return the rows in ``region``, ascending; what windows are called is not asked here."""
        if isinstance(region, WindowsRegion):
            rows = self.find(region.windows)
        else:
            rows = self._of(region)
            if region.where is not None:
                rows = rows[met(region.where, self.space)[rows]]
        if region.without:
            rows = np.setdiff1d(rows, self.find(region.without), assume_unique=True)
        return rows

    def _of(self, region: PolygonRegion | ClusterRegion | ClustersRegion) -> NDArray[np.int64]:
        membership = self.space.membership
        if isinstance(region, PolygonRegion):
            return membership.inside(region.points)
        if isinstance(region, ClusterRegion):
            return membership.of_clusters(region.cluster)
        return membership.of_clusters(*region.clusters)

    def find(self, windows: Mapping[str, Sequence[int]]) -> NDArray[np.int64]:
        """Return the rows of windows, ascending; those that the map does not hold are left out."""
        found = [np.empty(0, dtype=np.int64)]
        for recording, offsets in windows.items():
            number = self._numbers.get(recording)
            if number is None:
                continue
            rows = self._of_recording(number)
            held = self.space.offset[rows]
            at = np.searchsorted(held, offsets)
            there = at < len(held)
            at, wanted = at[there], np.asarray(offsets, dtype=np.int64)[there]
            found.append(rows[at[held[at] == wanted]])
        return np.unique(np.concatenate(found))

    def windows(self, rows: NDArray[np.integer]) -> Windows:
        """Say which windows rows are; the reverse of :meth:`find`."""
        named: dict[str, list[int]] = {}
        numbers, offsets = self.space.recording[rows].tolist(), self.space.offset[rows].tolist()
        for number, offset in zip(numbers, offsets, strict=True):
            named.setdefault(self._names[number], []).append(offset)
        return {name: tuple(offsets) for name, offsets in named.items()}

    @cached_property
    def _names(self) -> list[str]:
        return self.space.inventory["recording"].to_list()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._names)}

    @cached_property
    def _order(self) -> NDArray[np.uint32] | None:
        """Rows by recording and offset; None if they lie so already, as a season's do."""
        recording, offset = self.space.recording, self.space.offset
        step = np.diff(recording)
        if bool(((step > 0) | ((step == 0) & (np.diff(offset) > 0))).all()):
            return None
        return np.lexsort((offset, recording)).astype(np.uint32)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each recording's rows begin, and behind the last one's the end."""
        counts = np.bincount(self.space.recording, minlength=len(self._names))
        return np.concatenate([[0], np.cumsum(counts)])

    def _of_recording(self, number: int) -> NDArray[np.int64]:
        first, last = self._starts[number : number + 2]
        if self._order is None:
            return np.arange(first, last)
        return self._order[first:last].astype(np.int64)


def met(condition: Condition, space: OutputSpace) -> NDArray[np.bool_]:
    """Return which windows meet a condition, but for what they are called; shape (n,)."""
    answer = np.ones(len(space), dtype=bool)
    if condition.recorders:
        answer &= _named(space.recorder, space.recorders, condition.recorders)
    if condition.species:
        known = [scientific for scientific, _ in space.species_names]
        answer &= _named(space.species, known, condition.species)
    if condition.habitats:
        answer &= _named(space.habitat, space.habitats, condition.habitats)
    if condition.clusters:
        answer &= np.isin(space.cluster, condition.clusters)
    if condition.hours is not None:
        first, last = condition.hours
        after, before = space.hour >= first, space.hour <= last
        # Hours that are not known have a code beyond all hours.
        answer &= (after & before) if first <= last else ((after & (space.hour < 24)) | before)
    if condition.dates is not None:
        first_date, last_date = map(str, condition.dates)
        of_day = np.array([first_date <= day.date <= last_date for day in space.days], bool)
        answer &= of_day[space.day]
    if condition.confidence is not None:
        least, most = condition.confidence
        answer &= (space.confidence >= np.float32(least)) & (space.confidence <= np.float32(most))
    if condition.activity is not None:
        least, most = condition.activity
        answer &= (space.activity >= np.float32(least)) & (space.activity <= np.float32(most))
    return answer


def _named(
    codes: NDArray[np.uint16], names: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which codes stand for one of the wanted names."""
    chosen = set(wanted)
    return np.isin(codes, [code for code, name in enumerate(names) if name in chosen])
