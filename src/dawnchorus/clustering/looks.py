"""What the most central windows of a cluster look like, in numbers.

In: the windows of each cluster that are looked at, and the spectrogram stores. Out: one :class:`Look` per cluster:
what sounds all the time, in which bands, and what comes and goes. Only the chosen windows are read; memory is that of
one recorder-day's chosen windows.

The steady part of a band is its median over the window (as for :mod:`dawnchorus.spectrograms.activity`). It is taken
re the recorder's own quiet spectrum, the level that a tenth of all windows looked at of this recorder stay under, band
by band, so that a microphone's response and a preamplifier's hiss do not count as sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.activity import MARGIN_DB
from dawnchorus.spectrograms.store import SpectrogramStore

LOW_HZ, MIDDLE_HZ = 500.0, (1000.0, 10_000.0)
HUM_HZ, INSECT_HZ = (150.0, 1500.0), (2000.0, 12_000.0)
QUIET_SHARE = 0.1
PEAK_FALL_DB = 6.0
"""A steady band ends where it is this far below its top."""
EVENT_SHARES = (0.1, 0.9)
"""The events' band holds what lies between these shares of all that stands out."""
BLOCK_SECONDS = 0.25
BRIEF_SECONDS = 0.05
"""A drop on a leaf or on the housing is over by then; a note of a song is not."""
DROP_SHARE = 0.01
"""Share of a quarter second's cells that drops fill at least; of noise alone, 0.4 % pass the margin (exponential bins)."""


@dataclass(frozen=True)
class Look:
    """Medians over the windows looked at; decibels re the recorder's quiet spectrum.

    Attributes
    ----------
    windows : int
        Looked at.
    low_db, broad_db : float
        Steady sound below 500 Hz, and at 1 to 10 kHz (medians over the bands).
    peak_db : float
        How far the strongest steady band at 2 to 12 kHz exceeds ``broad_db`` and what lies an octave around it, on the
        louder side; hiss that rises to the top of the spectrum is no band.
    peak_hz : (float, float)
        Its edges.
    hum_db : float
        How far the strongest steady band below 1.5 kHz exceeds what lies an octave around it, on the louder side; noise
        that falls with frequency has no such band.
    hum_hz : (float, float)
        Its edges.
    event_hz : (float, float) or None
        Band of what stands out of the noise; None if nothing does.
    event_cover : float
        Share of quarter seconds with something that stands out in that band.
    brief_cover : float
        Share of quarter seconds with something that stands out in any band for less than :data:`BRIEF_SECONDS`.
    """

    windows: int
    low_db: float
    broad_db: float
    peak_db: float
    peak_hz: tuple[float, float]
    hum_db: float
    hum_hz: tuple[float, float]
    event_hz: tuple[float, float] | None
    event_cover: float
    brief_cover: float


@dataclass(frozen=True)
class _Window:
    cluster: int
    recorder: str
    steady: NDArray[np.float32]
    excess: NDArray[np.float32]
    blocks: NDArray[np.bool_]
    brief: float


def look(results: Results, windows: pl.DataFrame) -> dict[int, Look]:
    """Look at windows, each store opened once.

    Parameters
    ----------
    windows : DataFrame
        cluster, recorder, date, recording, offset.

    Returns
    -------
    dict
        By cluster; one without any spectrogram is missing.
    """
    seen: list[_Window] = []
    frequency: NDArray[np.float64] | None = None
    for (recorder, date), group in windows.group_by(["recorder", "date"], maintain_order=True):
        path = results.spectrograms(RecorderDay(str(recorder), str(date)))
        if not path.exists():
            continue
        store = SpectrogramStore.open(path)
        rows = store.find(group["recording"].to_list(), group["offset"].to_numpy())
        there = rows >= 0
        frequency = store.band_frequency
        frame = float(store.frame_time[1] - store.frame_time[0])
        step, brief = max(1, round(BLOCK_SECONDS / frame)), max(1, round(BRIEF_SECONDS / frame))
        for cluster, codes in zip(
            group["cluster"].to_numpy()[there], store.take(rows[there]), strict=True
        ):
            seen.append(_reduced(int(cluster), str(recorder), store.db(codes), step, brief))
    if frequency is None:
        return {}
    return _looks(seen, frequency)


def _reduced(
    cluster: int, recorder: str, decibels: NDArray[np.float32], step: int, brief: int
) -> _Window:
    """Keep of a window (mels, frames) what is steady, what stands out, and when it does."""
    from scipy.ndimage import binary_opening

    steady = np.median(decibels, axis=1)
    rest = np.maximum(decibels - steady[:, None], 0.0)
    over = np.maximum(rest - np.median(rest, axis=0)[None, :] - MARGIN_DB, 0.0)
    whole = over.shape[1] // step * step
    there = over[:, :whole] > 0
    blocks = there.reshape(len(over), -1, step).any(axis=2)
    # What comes through all bands at once is no event, but drops do: they are sought in what stands out of a band.
    loud = rest[:, :whole] > MARGIN_DB
    lasting = binary_opening(loud, np.ones((1, brief + 1), bool))
    short = (loud & ~lasting).reshape(len(over), -1, step).sum(axis=2)
    return _Window(
        cluster,
        recorder,
        steady,
        over.mean(axis=1),
        blocks,
        float((short.sum(axis=0) >= DROP_SHARE * step * len(over)).mean()),
    )


def _looks(seen: list[_Window], frequency: NDArray[np.float64]) -> dict[int, Look]:
    quiet = {
        recorder: np.quantile(
            [one.steady for one in seen if one.recorder == recorder], QUIET_SHARE, axis=0
        )
        for recorder in {one.recorder for one in seen}
    }
    by_cluster: dict[int, list[_Window]] = {}
    for one in seen:
        by_cluster.setdefault(one.cluster, []).append(one)
    return {
        cluster: _look(own, np.stack([one.steady - quiet[one.recorder] for one in own]), frequency)
        for cluster, own in sorted(by_cluster.items())
    }


def _look(own: list[_Window], rises: NDArray[np.floating], frequency: NDArray[np.float64]) -> Look:
    rise = np.median(rises, axis=0)

    def level(low: float, high: float) -> float:
        inside = (frequency >= low) & (frequency < high)
        return float(np.median(rise[inside])) if inside.any() else 0.0

    broad = level(*MIDDLE_HZ)
    peak, peak_hz = _peak(rise, frequency, INSECT_HZ)
    hum, hum_hz = _peak(rise, frequency, HUM_HZ)
    hum -= _beside(rise, frequency, hum_hz)
    excess = np.mean([one.excess for one in own], axis=0)
    event_hz, cover = None, 0.0
    if excess.sum() > 0:
        share = np.cumsum(excess) / excess.sum()
        first, last = (int(np.searchsorted(share, part)) for part in EVENT_SHARES)
        event_hz = (float(frequency[first]), float(frequency[last]))
        covers = [one.blocks[first : last + 1].any(axis=0).mean() for one in own]
        cover = float(np.median(covers))
    return Look(
        windows=len(own),
        low_db=round(level(0.0, LOW_HZ), 2),
        broad_db=round(broad, 2),
        peak_db=round(peak - max(broad, _beside(rise, frequency, peak_hz)), 2),
        peak_hz=peak_hz,
        hum_db=round(hum, 2),
        hum_hz=hum_hz,
        event_hz=event_hz,
        event_cover=round(cover, 4),
        brief_cover=round(float(np.median([one.brief for one in own])), 4),
    )


def _peak(
    rise: NDArray[np.floating], frequency: NDArray[np.float64], band: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    """Return the strongest band's decibels, and the frequencies between which it has not fallen far."""
    inside = np.flatnonzero((frequency >= band[0]) & (frequency < band[1]))
    if not len(inside):
        return 0.0, (0.0, 0.0)
    top = int(inside[np.argmax(rise[inside])])
    low = high = top
    while low > 0 and rise[low - 1] >= rise[top] - PEAK_FALL_DB:
        low -= 1
    while high < len(rise) - 1 and rise[high + 1] >= rise[top] - PEAK_FALL_DB:
        high += 1
    return float(rise[top]), (float(frequency[low]), float(frequency[high]))


def _beside(
    rise: NDArray[np.floating], frequency: NDArray[np.float64], band: tuple[float, float]
) -> float:
    """Return the louder of the medians over the octaves below and above a band.

    Infinite if there is nothing on one side: what goes on to the edge may be a slope.
    """
    below = (frequency < band[0]) & (frequency >= band[0] / 2)
    above = (frequency > band[1]) & (frequency <= band[1] * 2)
    if not below.any() or not above.any():
        return float("inf")
    return float(max(np.median(rise[below]), np.median(rise[above])))
