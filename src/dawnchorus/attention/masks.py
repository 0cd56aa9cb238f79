"""Masks that keep a share of the attention, and the boxes around their parts.

In: attention over the patches of a window, patches as rows (from low to high frequency) and columns
(time). Out: boolean masks, boxes in patches, and boxes in hertz and seconds. Pure functions on
arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dawnchorus.config import Attention, Patch, sides

TOUCHING = np.ones((3, 3), dtype=np.int8)
"""Patches that meet at a corner belong together: a rising song leaves steps, not a line."""


def mass_mask(attention: NDArray[np.floating], mass: float) -> NDArray[np.bool_]:
    """Keep the fewest patches that together hold a share of the attention.

    Parameters
    ----------
    attention : array (..., rows, columns)
        Not negative. Every map is masked by itself.
    mass : float
        Share of a map's sum to reach, over 0 and at most 1. With 1, patches of no attention at all
        are still left out.

    Returns
    -------
    bool array (..., rows, columns)
        Of equally strong patches the first, row by row, is taken first. A map without any attention
        has an empty mask.
    """
    flat = np.asarray(attention, dtype=np.float64).reshape(*attention.shape[:-2], -1)
    order = np.argsort(-flat, axis=-1, kind="stable")
    held = np.cumsum(np.take_along_axis(flat, order, axis=-1), axis=-1)
    total = held[..., -1:]
    # A patch is needed as long as those before it fall short of the share.
    before = np.concatenate([np.zeros_like(total), held[..., :-1]], axis=-1)
    needed = before < mass * total
    mask = np.zeros(flat.shape, dtype=bool)
    np.put_along_axis(mask, order, needed, axis=-1)
    return mask.reshape(attention.shape)


@dataclass(frozen=True)
class PatchBox:
    """The box around one connected part of a mask, in patches, ends included.

    ``mass`` is the part's share of the map's attention (the part's own, not the whole box's).
    """

    first_row: int
    last_row: int
    first_column: int
    last_column: int
    mass: float


def patch_boxes(mask: NDArray[np.bool_], attention: NDArray[np.floating]) -> list[PatchBox]:
    """Return a box around each connected part of a mask, the strongest first.

    Parameters
    ----------
    mask : bool array (rows, columns)
    attention : array (rows, columns)
    """
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=TOUCHING)
    total = float(np.sum(attention, dtype=np.float64))
    boxes = []
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        if found is None:
            continue
        rows, columns = found
        part = float(np.sum(attention[labels == number], dtype=np.float64))
        boxes.append(
            PatchBox(rows.start, rows.stop - 1, columns.start, columns.stop - 1, part / total)
        )
    return sorted(boxes, key=_strongest_first)


def joined(boxes: Iterable[PatchBox], gap: float) -> list[PatchBox]:
    """Join boxes that follow each other in the same band: the syllables of one song.

    Parameters
    ----------
    boxes : iterable of PatchBox
    gap : float
        Most columns between two boxes that become one. They must share at least half of the rows of
        the one that has fewer.

    Returns
    -------
    list of PatchBox
        Every box once, alone or joined; masses add. None of them could be joined further. The strongest
        first.
    """
    kept = list(boxes)
    at = 0
    while at < len(kept):
        one = kept[at]
        partner = next(
            (place for place in range(at + 1, len(kept)) if _follow(one, kept[place], gap)), None
        )
        if partner is None:
            at += 1
            continue
        kept[at] = _around(one, kept.pop(partner))
        at = 0  # what is longer now may reach those before it
    return sorted(kept, key=_strongest_first)


def _follow(one: PatchBox, other: PatchBox, gap: float) -> bool:
    between = max(one.first_column, other.first_column) - min(one.last_column, other.last_column)
    shared = min(one.last_row, other.last_row) - max(one.first_row, other.first_row) + 1
    fewer = min(one.last_row - one.first_row, other.last_row - other.first_row) + 1
    return between - 1 <= gap and 2 * shared >= fewer


def _around(one: PatchBox, other: PatchBox) -> PatchBox:
    return PatchBox(
        min(one.first_row, other.first_row),
        max(one.last_row, other.last_row),
        min(one.first_column, other.first_column),
        max(one.last_column, other.last_column),
        one.mass + other.mass,
    )


def _strongest_first(box: PatchBox) -> tuple[float, int, int]:
    return (-box.mass, box.first_column, box.first_row)


@dataclass(frozen=True)
class WindowBox:
    """A box in a window: seconds from the window's start, hertz, share of the attention."""

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    mass: float


@dataclass(frozen=True)
class PatchGrid:
    """The cells of a window in hertz and seconds.

    Attributes
    ----------
    low_hz, high_hz : float64 arrays (rows,)
        Edges of each row of cells.
    start_s, end_s : float64 arrays (columns,)
        Edges of each column of cells, in seconds from the window's start.
    box_low_hz, box_high_hz, box_start_s, box_end_s : float64 arrays
        Edges of a box whose outermost cells lie in that row or column: the same, or drawn in.
    """

    low_hz: NDArray[np.float64]
    high_hz: NDArray[np.float64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    box_low_hz: NDArray[np.float64]
    box_high_hz: NDArray[np.float64]
    box_start_s: NDArray[np.float64]
    box_end_s: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        band_low: ArrayLike,
        band_high: ArrayLike,
        frame_time: ArrayLike,
        hop_seconds: float,
        patch: Patch,
        finer: int = 1,
    ) -> PatchGrid:
        """Lay patches, or the cells of a finer grid, over a window.

        Parameters
        ----------
        band_low, band_high : array_like (mels,)
            Edges of the mel bands in hertz, ascending; neighbours overlap, as triangles do.
        frame_time : array_like (frames,)
            Middle of each frame, in seconds from the window's start.
        hop_seconds : float
            Time between frames. A frame stands for the hop around its middle.
        patch : int or tuple of int
            Side of a cell, or its mel rows and frames.
        finer : int
            Cells along each side of a patch. The patch of a cell then reaches beyond it, by half of what it
            is larger, and the cell lights up when the song has only entered its patch. So boxes are drawn
            in by as much, though never to less than one band or frame, and never from the window's edges.
        """
        low, high = np.asarray(band_low, np.float64), np.asarray(band_high, np.float64)
        middle = np.asarray(frame_time, np.float64)
        rows, columns = sides(patch)
        if len(low) % rows or len(middle) % columns:
            raise ValueError(
                f"{len(low)} mel rows and {len(middle)} frames are no multiple of a patch of "
                f"{rows} x {columns}"
            )
        edges = (
            low[::rows],
            high[rows - 1 :: rows],
            middle[::columns] - hop_seconds / 2,
            middle[columns - 1 :: columns] + hop_seconds / 2,
        )
        box = [edge.copy() for edge in edges]
        if finer > 1:
            # A band's own part, where its triangle is the higher one, begins half a corner further in.
            in_bands = _drawn_in(rows, finer) + 0.5
            corner = np.concatenate([low, high[-2:]])
            at = np.arange(len(corner))
            first = np.arange(0, len(low), rows)
            box[0][1:] = np.interp(first + in_bands, at, corner)[1:]
            box[1][:-1] = np.interp(first + rows + 1 - in_bands, at, corner)[:-1]
            box[2][1:] += _drawn_in(columns, finer) * hop_seconds
            box[3][:-1] -= _drawn_in(columns, finer) * hop_seconds
        return cls(*edges, *box)

    @property
    def column_seconds(self) -> float:
        """From one column to the next."""
        return float(self.end_s[-1] - self.start_s[0]) / len(self.start_s)

    def whole_cells(self) -> PatchGrid:
        """Return the same grid for a map whose cells see no further than themselves."""
        edges = (self.low_hz, self.high_hz, self.start_s, self.end_s)
        return PatchGrid(*edges, *edges)

    def window_box(self, box: PatchBox) -> WindowBox:
        """Return a box of patches in seconds and hertz."""
        return WindowBox(
            start_s=float(self.box_start_s[box.first_column]),
            end_s=float(self.box_end_s[box.last_column]),
            low_hz=float(self.box_low_hz[box.first_row]),
            high_hz=float(self.box_high_hz[box.last_row]),
            mass=box.mass,
        )


def _drawn_in(cell: int, finer: int) -> float:
    """Bands or frames by which a box is drawn in on each side."""
    return min(cell * (finer - 1) / 2, (cell - 1) / 2)


def boxes_of(
    map_: NDArray[np.floating], grid: PatchGrid, wanted: Attention
) -> tuple[NDArray[np.bool_], list[WindowBox]]:
    """Mask a map, and put boxes around what is kept.

    Parameters
    ----------
    map_ : array (rows, columns)
        Not negative.
    grid : PatchGrid
        Its cells.
    wanted : Attention
        Share of the mass, gap to be joined, limits of the boxes.

    Returns
    -------
    mask : bool array (rows, columns)
    boxes : list of WindowBox
        The strongest first.
    """
    mask = mass_mask(map_, wanted.mass)
    # Half a thousandth of a cell: a gap of 0.2 s is two cells of 0.1 s, whatever the rounding.
    gap = wanted.join_seconds / grid.column_seconds + 5e-4
    parts = joined(patch_boxes(mask, map_), gap)
    return mask, list(of_right_size([grid.window_box(part) for part in parts], wanted))


def of_right_size(boxes: Iterable[WindowBox], wanted: Attention) -> Iterator[WindowBox]:
    """Yield the boxes that are neither too short or long nor too low or high."""
    longest = math.inf if wanted.max_seconds is None else wanted.max_seconds
    highest = math.inf if wanted.max_hertz is None else wanted.max_hertz
    for box in boxes:
        seconds, hertz = box.end_s - box.start_s, box.high_hz - box.low_hz
        if wanted.min_seconds <= seconds <= longest and wanted.min_hertz <= hertz <= highest:
            yield box
