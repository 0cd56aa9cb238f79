"""Sums of one recorder-day's embeddings, from which those of a season are put together.

In: a recorder-day's embeddings. Out: ``statistics/{recorder}/{date}.safetensors``: how many windows, their mean, their
scatter about it (upper triangle), and a histogram of their lengths. The file names the embeddings it was made from:
what is there already is not made again, so a new recorder-day costs itself alone. It takes 300 kB at 384 dimensions, a
thirtieth of the embeddings.

The vectors are taken as the network gave them, not scaled to unit length. Scatters are about the block's own mean, in
float32, and are put together in float64 by Chan et al. 1979 (doi:10.1007/978-3-642-51461-6_3): a mean far from zero
costs no digits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dawnchorus.clustering.fit_sample import Embedded, store_of
from dawnchorus.results import Results, publishing

METADATA_KEY = "dawnchorus"
PER_OCTAVE = 64
"""Bins of the lengths' histogram per doubling: a bin is 1.1 % wide."""
OCTAVES = (-24, 24)
"""Lengths from 2^-24 to 2^24; what lies beyond counts in the first or last bin."""
BINS = (OCTAVES[1] - OCTAVES[0]) * PER_OCTAVE


@dataclass(frozen=True)
class Moments:
    """Sums over some windows.

    Parameters
    ----------
    windows : int
    mean : float64 array (d,)
    scatter : float64 array (d, d)
        Sum of the outer products of the deviations from the mean.
    lengths : int64 array (BINS,)
        How many windows have which Euclidean length.
    """

    windows: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @classmethod
    def none(cls, dimension: int) -> Moments:
        """Of no windows."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)), np.zeros(BINS, int))

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Moments:
        """Of vectors (n, d), n at least 1."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        away = vectors - mean.astype(np.float32)
        # What rounding the mean to float32 left over.
        rest = away.mean(axis=0, dtype=np.float64)
        scatter = (away.T @ away).astype(np.float64) - len(vectors) * np.outer(rest, rest)
        length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        return cls(len(vectors), mean, scatter, np.bincount(bins_of(length), minlength=BINS))

    def __add__(self, other: Moments) -> Moments:
        windows = self.windows + other.windows
        if not windows:
            return self
        apart = other.mean - self.mean
        return Moments(
            windows,
            self.mean + apart * (other.windows / windows),
            self.scatter
            + other.scatter
            + np.outer(apart, apart) * (self.windows * other.windows / windows),
            self.lengths + other.lengths,
        )

    def spectrum(self) -> NDArray[np.float64]:
        """Return the eigenvalues of the covariance, the largest first."""
        covariance = self.scatter / max(1, self.windows - 1)
        return np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)

    def length_at(self, quantile: float) -> float:
        """Return the length below which a share of the windows lies, exact to the bin."""
        counted = np.cumsum(self.lengths)
        wanted = max(1, int(np.ceil(quantile * counted[-1])))
        number = int(np.searchsorted(counted, wanted))
        return float(2 ** (OCTAVES[0] + (number + 0.5) / PER_OCTAVE))


def bins_of(length: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each length."""
    with np.errstate(divide="ignore"):
        place = (np.log2(length) - OCTAVES[0]) * PER_OCTAVE
    return np.clip(np.nan_to_num(place, neginf=0.0), 0, BINS - 1).astype(np.int64)


def effective_rank(spectrum: NDArray[np.float64]) -> float:
    """Return the exponential of the entropy of a spectrum's shares (Roy & Vetterli 2007, EUSIPCO).

    1: all variance in one direction; the number of dimensions: evenly in all. 0 if there is none.
    """
    total = spectrum.sum()
    if not total > 0:
        return 0.0
    share = spectrum[spectrum > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def moments_of_day(one: Embedded, results: Results, experiment: str) -> Moments:
    """Read a recorder-day's moments, or make them from its embeddings."""
    path = results.experiment(experiment).moments(one.day)
    held = _read(path, one.fingerprint)
    if held is not None:
        return held
    total = Moments.none(one.dimension)
    for _, vectors in store_of(results, experiment, one).blocks():
        total = total + Moments.of(vectors)
    _write(path, total, one.fingerprint)
    # What is written, not what was computed: the season's bytes do not depend on which was there.
    written = _read(path, one.fingerprint)
    if written is None:
        raise RuntimeError(f"{path} cannot be read back")
    return written


def _write(path: Path, moments: Moments, source: str) -> None:
    upper = np.triu_indices(len(moments.mean))
    some = np.flatnonzero(moments.lengths)
    told = {"source": source, "windows": moments.windows}
    with publishing(path) as partial:
        save_file(
            {
                "mean": moments.mean,
                "scatter": moments.scatter[upper].astype(np.float32),
                "length_bin": some.astype(np.int32),
                "length_windows": moments.lengths[some].astype(np.int32),
            },
            partial,
            metadata={METADATA_KEY: json.dumps(told)},
        )


def _read(path: Path, source: str) -> Moments | None:
    """Read what was made from the embeddings ``source``; None if there is nothing whole of them."""
    try:
        with safe_open(path, framework="numpy") as handle:
            told = json.loads((handle.metadata() or {})[METADATA_KEY])
            if told["source"] != source:
                return None
            mean = np.asarray(handle.get_tensor("mean"))
            scatter = np.zeros((len(mean), len(mean)))
            upper = np.triu_indices(len(mean))
            scatter[upper] = handle.get_tensor("scatter")
            scatter.T[upper] = scatter[upper]
            lengths = np.zeros(BINS, dtype=np.int64)
            lengths[handle.get_tensor("length_bin")] = handle.get_tensor("length_windows")
            return Moments(int(told["windows"]), mean, scatter, lengths)
    except (FileNotFoundError, SafetensorError, KeyError, json.JSONDecodeError):
        return None
