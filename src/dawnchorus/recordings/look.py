"""A look at the samples of a recording, without reading all of them.

In: a file and what its header and size told. Out: a :class:`Look`: clipped share, constant offset, a fault
if it is silent, and a digest by which copies find each other.

Looked at are :data:`STRETCHES` stretches of :data:`STRETCH` frames, evenly spread from the first to the last
(a short recording wholly): 64 KiB of a 16-bit mono file, whatever its length. A share or a mean of these is
an estimate and said to be one. What decides over a recording is not estimated: only if all stretches are
one and the same value is the whole recording read, and only if all of it is, it is silent.

Clicks (:func:`clicks_per_second`) are looked for in :data:`CLICK_SECONDS` from the middle.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import xxhash
from numpy.typing import NDArray

from dawnchorus.recordings.samples import opened
from dawnchorus.recordings.sound import DECODED_AT_ONCE, AudioFault, Sound

STRETCHES = 8
STRETCH = 4096
"""Frames."""
FULL_SCALE = 32767 / 32768
"""At and beyond this a sample is clipped, whatever the encoding."""
QUIET = 4 / 32768
"""Largest deviation from the mean of a stretch without a signal: the recorder's own digital noise."""
LOUDER = 10.0
"""A stretch without a signal is this many times quieter than the middle one of the others."""

CLIPPED = 0.001
"""Share of clipped samples from which on a recording is named."""
OFFSET = 0.002
"""Constant offset from which on a recording is named; full scale is 1."""
STEADY = 0.4
"""Share of the offset that each stretch must have by itself: the mean of wind, thunder, loud noise or half a
period is never zero, but it is no two times the same."""

CLICK_SECONDS = 8.0
CLICK_BLOCK = 0.001
"""Seconds; a click's length."""
CLICK_FACTOR = 6.0
"""A click stands out of the blocks' median by this factor."""
FEWEST_CLICKS = 8
JITTER = 0.0015
"""Seconds that the clicks of a device stray from an even grid; insects and drops stray further."""
ON_GRID = 0.8
"""Share of the clicks that lie on the grid, and of the grid's places that have a click."""


@dataclass(frozen=True)
class Look:
    """What the stretches tell."""

    clipped_share: float
    constant_offset: float
    """Mean; 0 if the sound explains it. Full scale is 1."""
    quiet_share: float
    """Share of the stretches that have hardly any signal while others do."""
    digest: str
    """XXH3-128 of the stretches' samples, as 32 hexadecimal digits."""


def look(path: Path, sound: Sound) -> Look:
    """Look at a recording.

    Raises
    ------
    AudioFault
        ``DC014`` if all its samples are the same.
    """
    hasher = xxhash.xxh3_128(f"{sound.frames} {sound.channels} {sound.sample_rate}".encode())
    stretches = _stretches(path, sound)
    for stretch in stretches:
        hasher.update(np.ascontiguousarray(stretch))
    sizes = np.array([len(stretch) for stretch in stretches])
    if not sizes.sum():
        return Look(0.0, 0.0, 0.0, hasher.hexdigest())
    whole = np.concatenate(stretches)
    if (whole == whole[0]).all() and _is_one_value(path, sound, whole[0]):
        raise AudioFault("DC014", f"{sound.frames:,} times {float(whole.flat[0]):g}")
    if not np.isfinite(whole).all():
        whole = np.nan_to_num(whole, nan=0.0, posinf=0.0, neginf=0.0)
    lowest, highest = float(whole.min()), float(whole.max())
    is_loud = max(-lowest, highest) >= FULL_SCALE
    clipped = float((np.abs(whole) >= FULL_SCALE).mean()) if is_loud else 0.0
    return Look(clipped, _offset(whole), _quiet_share(stretches), hasher.hexdigest())


def _stretches(path: Path, sound: Sound) -> list[NDArray[np.float32]]:
    """Read them, float32 (frames, channels); fewer if the file breaks."""
    if sound.frames <= STRETCHES * STRETCH:
        starts, length = [0], sound.frames
    else:
        starts = np.linspace(0, sound.frames - STRETCH, STRETCHES).astype(int).tolist()
        length = STRETCH
    read: list[NDArray[np.float32]] = []
    # Where it breaks off, the look ends; whoever reads the file to its end says so (DC007).
    with (
        suppress(AudioFault, soundfile.LibsndfileError, RuntimeError, OSError),
        opened(path, sound, soundfile.SoundFile) as file,
    ):
        for start in starts:
            if start:
                file.seek(start)
            read.append(file.read(length, dtype="float32", always_2d=True))
    return read


def _is_one_value(path: Path, sound: Sound, value: NDArray[np.float32]) -> bool:
    """Tell whether all frames of a recording are the same; reads on as long as they are."""
    step = max(1, DECODED_AT_ONCE // sound.channels)
    with opened(path, sound) as file:
        try:
            while len(piece := file.read(step, dtype="float32", always_2d=True)):
                if not (piece == value).all():
                    return False
        except (soundfile.LibsndfileError, RuntimeError):
            return False
    return True


def _offset(whole: NDArray[np.float32]) -> float:
    """Mean of what was looked at, if its stretches agree on it."""
    if len(whole) < STRETCHES:
        return 0.0
    mean = float(whole.mean(dtype=np.float64))
    if abs(mean) < OFFSET:  # as of most recordings
        return mean
    parts = [float(part.mean(dtype=np.float64)) for part in np.array_split(whole, STRETCHES)]
    is_steady = all(part * mean > 0 and abs(part) >= STEADY * abs(mean) for part in parts)
    return mean if is_steady else 0.0


def _quiet_share(stretches: list[NDArray[np.float32]]) -> float:
    if len(stretches) < STRETCHES:
        return 0.0
    with np.errstate(invalid="ignore"):
        deviations = np.array([float(stretch.std(dtype=np.float64)) for stretch in stretches])
    quiet = deviations <= QUIET
    if quiet.all() or not quiet.any():
        return 0.0
    heard = float(np.median(deviations[~quiet]))
    return float(quiet.mean()) if heard >= LOUDER * deviations[quiet].max() else 0.0


def clicks_per_second(path: Path, sound: Sound) -> float:
    """Return how often a memory card clicks (OA001); 0 if nothing is as regular as that.

    A card takes data at even intervals, so its clicks lie on an even grid over many seconds, to a
    millisecond; what insects and rain drops do does not.
    """
    rate = sound.sample_rate
    length = round(CLICK_SECONDS * rate)
    if sound.frames < length:
        return 0.0
    try:
        with opened(path, sound, soundfile.SoundFile) as file:
            file.seek((sound.frames - length) // 2)
            samples = file.read(length, dtype="float32", always_2d=True)[:, 0]
    except (AudioFault, soundfile.LibsndfileError, RuntimeError, OSError):
        return 0.0
    return click_rate(samples, rate)


def click_rate(samples: NDArray[np.float32], rate: int) -> float:
    """Return the rate of clicks on an even grid in hertz; 0 if there are none.

    Parameters
    ----------
    samples : float32 (n,)
    rate : int
        Hertz.
    """
    block = max(2, round(CLICK_BLOCK * rate))
    steps = np.abs(np.diff(samples, n=2))
    count = len(steps) // block
    loudest = steps[: count * block].reshape(count, block).max(axis=1)
    middle = float(np.median(loudest))
    if not np.isfinite(middle) or middle <= 0.0:
        return 0.0
    is_peak = loudest > CLICK_FACTOR * middle
    is_peak[1:] &= ~is_peak[:-1] | (loudest[1:] > loudest[:-1])
    at = np.flatnonzero(is_peak) * block / rate
    at = at[np.concatenate([[True], np.diff(at) > 5 * CLICK_BLOCK])] if len(at) else at
    if len(at) < FEWEST_CLICKS:
        return 0.0
    # The interval from the median, then refined over ever longer spans.
    interval = float(np.median(np.diff(at)))
    for _ in range(3):
        numbers = np.rint((at - at[0]) / interval)
        if numbers[-1] < 1:
            return 0.0
        interval, first = np.polyfit(numbers, at, 1)
    numbers = np.rint((at - first) / interval)
    is_even = np.abs(at - first - numbers * interval) <= JITTER
    places = numbers.max() - numbers.min() + 1
    filled = len(np.unique(numbers[is_even]))
    if is_even.mean() < ON_GRID or filled < ON_GRID * places or filled < FEWEST_CLICKS:
        return 0.0
    return 1.0 / float(interval)
