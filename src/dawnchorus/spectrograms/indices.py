"""Acoustic indices of a minute, and the table of them.

In: the amplitudes of a minute's frames (from the spectrograph's own transforms, see
:func:`dawnchorus.spectrograms.index_kernels.fill_amplitudes`) and its samples. Out: a :class:`Minute`
with one number per index and, for the false-colour picture, four values per frequency; and a Parquet
table with one row per minute.

Let a[k, j] be the amplitude of bin k in frame j, P = a^2, n the frames. All indices but the level are
ratios, so that neither gain nor the reference of the decibels matters. Bins run from 0 to just below
half the sampling rate (the bin at the half itself is left out, as seewave, soundecology and
scikit-maad do), the mean of each frame is removed, logarithms are natural. An index of digital
silence, all samples zero, is NaN: there is nothing to compare. The sources:

ACI
    Acoustic complexity, Pieretti, Farina and Morri 2011 (doi 10.1016/j.ecolind.2010.11.005): sum over
    bins of sum_j |a[k, j+1] - a[k, j]| / sum_j a[k, j], over the minute as one stretch.
NDSI
    Normalised difference soundscape index, Kasten et al. 2012 (doi 10.1016/j.ecoinf.2012.08.001):
    (b - a) / (b + a) of the power in the bands of biophony and anthropophony, -1 to 1. The power of a
    band is that of its stretches of 1 kHz, each the mean over its bins times its width.
ADI, AEI
    Acoustic diversity and evenness, Villanueva-Rivera et al. 2011 (doi 10.1007/s10980-011-9636-9), as
    in soundecology: the share of cells in each band of 1 kHz that lie at most 50 dB below the loudest
    cell; ADI is Shannon's entropy of the shares (0 to ln(bands)), AEI their Gini coefficient.
BI
    Bioacoustic index, Boelman et al. 2007 (doi 10.1890/07-0004.1), as in soundecology: the mean
    amplitude spectrum in dB over its minimum between two frequencies, summed and divided by the width
    of a bin in hertz.
Hf, Ht, H
    Entropies, Sueur et al. 2008 (doi 10.1371/journal.pone.0004065): of the mean power spectrum, of the
    squared envelope (the largest magnitude of 512 samples each), and their product; each divided by
    the logarithm of how many values there are, so 0 to 1. Sueur takes the amplitude, not its square;
    the square is what Towsey 2017 and scikit-maad take, and what is computed here.

The four values per frequency follow Towsey et al. 2014 (doi 10.1016/j.procs.2014.05.063): ACI per bin,
temporal entropy of P over the frames, background (the most frequent level, in classes of 1 dB) and the
cover, the share of frames that exceed the background by 6 dB.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.config import Indices
from dawnchorus.results import publishing
from dawnchorus.spectrograms.index_kernels import count_from, describe_bins, fill_envelope
from dawnchorus.spectrograms.kernels import LOG2_COEFFICIENTS, mean_square
from dawnchorus.spectrograms.spectrograph import level_db

MOST_ROWS = 256
"""Rows of the picture at most."""
ENVELOPE_SAMPLES = 512
"""Samples per value of the envelope, as in Towsey 2017 and scikit-maad."""
STRETCH_HERTZ = 1000.0
"""Width of the stretches that the NDSI adds up."""
COVER_DB = 6.0
"""Decibels above the background from which a frame is an event; noise passes them in 2 % of frames."""
NAN = float("nan")


@dataclass(frozen=True)
class Minute:
    """Indices of a minute; all NaN but ``level`` if it is silent.

    Attributes
    ----------
    level : float
        Mean square of the samples in dB relative to a full-scale sine.
    aci : float
        Acoustic complexity index; 0 for a steady tone, some 0.58 per bin for steady noise.
    ndsi : float
        Normalised difference soundscape index, -1 (only anthropophony) to 1 (only biophony).
    adi : float
        Acoustic diversity index, 0 to ln(bands); NaN if no band reaches the threshold.
    aei : float
        Acoustic evenness index: 0 if all bands are used alike, (bands - 1) / bands if only one is;
        NaN if no band reaches the threshold.
    bi : float
        Bioacoustic index, dB per hertz.
    hf, ht, h : float
        Spectral and temporal entropy, and their product; 0 to 1.
    aci_rows : float32 (rows,)
        Acoustic complexity per bin, mean over the bins of the row; 0 where a bin is silent.
    entropy_rows : float32 (rows,)
        Temporal entropy, 0 (all in one frame) to 1 (the same in all); 1 where a bin is silent.
    cover_rows : float32 (rows,)
        Share of the frames that exceed the background, 0 to 1.
    background_rows : float32 (rows,)
        Most frequent level of a bin in dB relative to a full-scale sine, at least -160.
    """

    level: float
    aci: float
    ndsi: float
    adi: float
    aei: float
    bi: float
    hf: float
    ht: float
    h: float
    aci_rows: NDArray[np.float32]
    entropy_rows: NDArray[np.float32]
    cover_rows: NDArray[np.float32]
    background_rows: NDArray[np.float32]


@dataclass(frozen=True)
class MinuteRow:
    """A minute and where it belongs: a row of the table.

    Attributes
    ----------
    recording : str
        Path below ``audio.root``.
    offset : int
        First sample in the file, at the file's own rate.
    time : datetime
        UTC start, aware.
    utc_offset_minutes : int
        Local time minus UTC.
    seconds : float
        Sound that the indices were computed from; the last minute of a recording may be shorter.
    minute : Minute
    """

    recording: str
    offset: int
    time: datetime
    utc_offset_minutes: int
    seconds: float
    minute: Minute

    @property
    def local_time(self) -> datetime:
        """Local start, without a zone."""
        return self.time.replace(tzinfo=None) + timedelta(minutes=self.utc_offset_minutes)


def windows_per_minute(window_seconds: float) -> int:
    """Return how many windows make a minute: as many as fit, at least one."""
    return max(1, int(60.0 / window_seconds + 1e-9))


class MinuteIndices:
    """Computes the indices of minutes; may be used by several threads at once.

    Parameters
    ----------
    indices : Indices
    sample_rate : int
        Hertz.
    n_fft : int
        Samples per frame.
    """

    def __init__(self, indices: Indices, sample_rate: int, n_fft: int) -> None:
        self.settings = indices
        self._bins = n_fft // 2
        self._bin_hertz = sample_rate / n_fft
        frequency = np.arange(self._bins, dtype=np.float64) * self._bin_hertz

        def nearest(hertz: float) -> int:
            return int(np.abs(frequency - hertz).argmin())

        steps = int((indices.diversity_top + 1e-9) // indices.diversity_step)
        edges = [nearest(step * indices.diversity_step) for step in range(steps + 1)]
        # Neighbouring bands share a bin, as in soundecology.
        self._bands = [(edges[at], edges[at + 1] + 1) for at in range(steps)]
        self._bioacoustic = slice(
            nearest(indices.bioacoustic[0]), nearest(indices.bioacoustic[1]) + 1
        )
        self._anthropophony = _shares(frequency, indices.anthropophony)
        self._biophony = _shares(frequency, indices.biophony)
        self._bins_per_row = -(-self._bins // MOST_ROWS)
        self._starts = np.arange(0, self._bins, self._bins_per_row)
        self._per_row = np.diff(np.append(self._starts, self._bins))

    @property
    def row_hertz(self) -> float:
        """Height of a row of the picture in hertz; row r begins at r times that."""
        return self._bins_per_row * self._bin_hertz

    @property
    def rows(self) -> int:
        """Rows of the picture."""
        return len(self._starts)

    def __call__(
        self,
        amplitudes: NDArray[np.float32],
        frames_per_window: int,
        samples: NDArray[np.float32],
    ) -> Minute:
        """Compute the indices of a minute.

        Parameters
        ----------
        amplitudes : float32 (n_fft / 2 + 1, windows * frames_per_window)
            sqrt(P), the frames of the windows side by side; finite.
        frames_per_window : int
            The ACI takes no difference over the gap between windows.
        samples : float32 (windows, window_samples)
            The windows themselves, following on one another; finite.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        bins, frames = amplitudes.shape
        if bins != self._bins + 1 or not frames or frames % frames_per_window:
            raise ValueError(
                f"needs ({self._bins + 1}, windows * {frames_per_window}) amplitudes, "
                f"got {amplitudes.shape}"
            )
        sums = np.empty((4, self._bins))
        loudest, background, cover = (np.empty(self._bins, np.float32) for _ in range(3))
        describe_bins(
            amplitudes[: self._bins],
            frames_per_window,
            COVER_DB,
            LOG2_COEFFICIENTS,
            sums,
            loudest,
            background,
            cover,
        )
        of_amplitude, of_change, of_power, of_weighted = sums
        pairs = frames - frames // frames_per_window
        complexity = np.zeros(self._bins)
        if pairs:
            # Mean difference over mean amplitude, times (n - 1) / n: the usual sum of n - 1
            # differences over the sum of n amplitudes, without those that lie in the gaps.
            complexity = _ratio(of_change, of_amplitude) * ((frames - 1) / pairs)
        entropy = _temporal_entropy(of_power, of_weighted, frames)
        flat = samples.reshape(-1)
        rows = (complexity, entropy, cover.astype(np.float64), background.astype(np.float64))
        aci, adi, aei, bi, ndsi, hf, ht = (NAN,) * 7
        if loudest.any():
            aci = float(complexity.sum())
            adi, aei = self._diversity(amplitudes, float(loudest.max()))
            bi = self._bioacoustic_index(of_amplitude)
            ndsi = self._difference(of_power)
            hf, ht = _evenness(of_power), _envelope_entropy(flat)
        return Minute(
            level_db(mean_square(flat)), aci, ndsi, adi, aei, bi, hf, ht, hf * ht,
            *(self._reduced(values) for values in rows),
        )  # fmt: skip

    def _reduced(self, of_bins: NDArray[np.float64]) -> NDArray[np.float32]:
        """Mean over the bins of each row."""
        return (np.add.reduceat(of_bins, self._starts) / self._per_row).astype(np.float32)

    def _diversity(self, amplitudes: NDArray[np.float32], loudest: float) -> tuple[float, float]:
        """ADI and AEI."""
        counts = np.empty(max(stop for _, stop in self._bands), np.int64)
        count_from(amplitudes, loudest * 10.0 ** (self.settings.diversity_threshold / 20.0), counts)
        score = np.array([counts[start:stop].mean() for start, stop in self._bands])
        total = score.sum()
        if total == 0:
            return NAN, NAN
        share = score[score > 0] / total
        bands = len(score)
        gini = 2.0 * (np.sort(score) * np.arange(1, bands + 1)).sum() / total - (bands + 1)
        return abs(float((share * np.log(share)).sum())), float(gini / bands)

    def _bioacoustic_index(self, of_amplitude: NDArray[np.float64]) -> float:
        """BI; a silent bin has the least amplitude that there is, as in scikit-maad."""
        spectrum = np.maximum(of_amplitude[self._bioacoustic], np.finfo(np.float64).tiny)
        levels = 20.0 * np.log10(spectrum)
        return float((levels - levels.min()).sum() / self._bin_hertz)

    def _difference(self, of_power: NDArray[np.float64]) -> float:
        """NDSI; NaN if both bands are silent."""
        low = float(self._anthropophony @ of_power)
        high = float(self._biophony @ of_power)
        return (high - low) / (high + low) if high + low > 0 else NAN


def _shares(frequency: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Return how each bin's power counts in a band, shape of ``frequency``.

    The band is cut into stretches of 1 kHz from its lower limit; each counts as the mean power of its
    bins times its width. So one with 24 bins counts no more than one with 23.
    """
    weights = np.zeros(len(frequency))
    low, high = limits
    while low < high:
        top = min(low + STRETCH_HERTZ, high)
        inside = (frequency >= low) & (frequency < top)
        if inside.any():
            weights[inside] = (top - low) / STRETCH_HERTZ / inside.sum()
        low = top
    return weights


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quotient, 0 where the denominator is 0."""
    quotient = np.zeros(len(numerator))
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


def _evenness(values: NDArray[np.float64]) -> float:
    """Return Shannon's entropy of the shares, divided by the logarithm of how many there are."""
    share = values[values > 0] / values.sum()
    if len(values) < 2:
        return 0.0
    return abs(float((share * np.log(share)).sum())) / float(np.log(len(values)))


def _temporal_entropy(
    of_power: NDArray[np.float64], of_weighted: NDArray[np.float64], frames: int
) -> NDArray[np.float64]:
    """Return each bin's entropy over the frames: with p = P / S, it is log S - sum P log P / S."""
    entropy = np.ones(len(of_power))
    heard = of_power > 0
    if frames > 1:
        total = of_power[heard]
        bits = np.log2(total) - of_weighted[heard] / total
        entropy[heard] = np.clip(bits / np.log2(frames), 0.0, 1.0)
    return entropy


def _envelope_entropy(samples: NDArray[np.float32]) -> float:
    """Return Ht; NaN without a whole stretch or in silence."""
    envelope = np.empty(samples.size // ENVELOPE_SAMPLES, np.float32)
    fill_envelope(samples, ENVELOPE_SAMPLES, envelope)
    energy = envelope.astype(np.float64) ** 2
    return _evenness(energy) if energy.any() else NAN


SCALARS = ("level", "aci", "ndsi", "adi", "aei", "bi", "hf", "ht", "h")
SCHEMA: dict[str, Any] = {
    "recording": pl.String,
    "offset": pl.Int64,
    "time": pl.Datetime("us", "UTC"),
    "local_time": pl.Datetime("us"),
    "seconds": pl.Float64,
    **dict.fromkeys(SCALARS, pl.Float64),
}
"""Columns and types of the table; see :class:`MinuteRow` and :class:`Minute` for what they hold."""


def write_indices(path: Path, rows: Iterable[MinuteRow]) -> None:
    """Publish the table of a recorder-day's minutes; the same rows give the same bytes.

    Columns: ``recording`` (path below ``audio.root``), ``offset`` (first sample, at the file's own
    rate), ``time`` (UTC), ``local_time``, ``seconds`` (of sound), ``level`` (dB relative to a
    full-scale sine), then the indices without a unit but ``bi`` (dB/Hz). What is NaN is empty.

    Parameters
    ----------
    path : Path
        Where to.
    rows : iterable of MinuteRow
        In the order in which they shall stand.
    """
    placed = attrgetter("recording", "offset", "time", "local_time", "seconds")
    indices = attrgetter(*SCALARS)
    values = [(*placed(row), *indices(row.minute)) for row in rows]
    frame = pl.DataFrame(values, schema=SCHEMA, orient="row")
    frame = frame.with_columns(pl.col(SCALARS).fill_nan(None))
    with publishing(path) as partial:
        frame.write_parquet(partial, compression="zstd", statistics=True)
