"""Vectors on the unit sphere: direction is what counts, length is not.

In: vectors as rows. Out: unit vectors, cosine distances, the nearest of some centres. Pure
functions on arrays, in float32, the same bytes whatever the number of cores (:func:`one_core`).

The cosine distance of unit vectors is computed as ``|u - c|^2 / 2``: equal to ``1 - u . c``, but
exact to the last digits also where the two nearly coincide.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

ROWS = 512
"""Rows worked on at a time: 384 dimensions of them stay in a core's cache from one step to the next, which halves
the time of all that is not the matrix product; and every product has the same shape."""

SAFE_SQUARE = 1e-30
"""Squared lengths from here to the inverse are exact enough in float32."""

HALF_BITS = np.int32(-0x70002000)
"""Sign, five bits of exponent and ten of mantissa of a float16, where a float32 has them (0x8FFFE000)."""
HALF_SCALE = np.float32(2.0**112)


@contextmanager
def one_core() -> Iterator[None]:
    """Have BLAS and OpenMP use one core.

    Their sums over several cores have an order of their own in every run; with one core the result
    has the same bytes everywhere.
    """
    with threadpool_limits(limits=1):
        yield


def unit(
    vectors: NDArray[np.floating], *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return rows of length 1; a row of zeros stays zeros.

    Parameters
    ----------
    vectors : array (n, d)
    out : float32 array (n, d), optional
        Where they shall be written.

    Returns
    -------
    float32 array (n, d)
    """
    if out is not None and vectors.dtype == np.float16:
        rows = widened(vectors, out)
    else:
        rows = np.asarray(vectors, dtype=np.float32)
    square = np.vecdot(rows, rows)
    extreme = ~((square > SAFE_SQUARE) & (square < 1 / SAFE_SQUARE))
    length = np.sqrt(square)
    if extreme.any():
        # Squares of these leave float32's range; zeros are among them.
        exact = np.linalg.norm(rows[extreme].astype(np.float64), axis=1)
        exact[exact == 0] = 1.0
        wide = length.astype(np.float64)
        wide[extreme] = exact
        found = (rows / wide[:, None]).astype(np.float32)
        if out is None:
            return found
        out[:] = found
        return out
    return np.divide(rows, length[:, None], out=out)


def widened(half: NDArray[np.float16], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return finite float16 as float32, exactly, in ``out``; numpy converts one number at a time.

    Sign, exponent and mantissa are shifted to their places; what the exponents' offsets differ by, 112, is
    multiplied. Infinities and NaN, which no store of vectors holds, would become large numbers.
    """
    bits = out.view(np.int32)
    np.copyto(bits, half.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, HALF_BITS, out=bits)
    return np.multiply(out, HALF_SCALE, out=out)


def cosine_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``1 - cosine`` of unit vectors, over the last axis, between 0 and 2."""
    difference = first - second
    return (np.einsum("...d,...d->...", difference, difference) / 2).astype(np.float32)


def nearest(
    vectors: NDArray[np.floating], centres: NDArray[np.float32], *, are_unit: bool = True
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the nearest centre of each vector by cosine, and the distance to it.

    Parameters
    ----------
    vectors : array (n, d)
        Unit float32 vectors; of any length and float16 too, if ``are_unit`` is False.
    centres : float32 array (k, d)
        Unit vectors.

    Returns
    -------
    index : int32 array (n,)
        The first of equally near ones.
    distance : float32 array (n,)
        ``1 - cosine``.
    """
    number, (k, dimension) = len(vectors), centres.shape
    index = np.empty(number, dtype=np.int32)
    distance = np.empty(number, dtype=np.float32)
    turned = np.ascontiguousarray(centres.T)
    # Buffers that are used again: fresh memory for each step would take as long as the steps.
    most = min(ROWS, number)
    cosines = np.empty((most, k), dtype=np.float32)
    away = np.empty((2, most, dimension), dtype=np.float32)
    for start in range(0, number, ROWS):
        rows = vectors[start : start + ROWS]
        if not are_unit:
            rows = unit(rows, out=away[0, : len(rows)])
        part, there = slice(start, start + len(rows)), len(rows)
        np.matmul(rows, turned, out=cosines[:there])
        chosen = cosines[:there].argmax(axis=1)
        np.take(centres, chosen, axis=0, out=away[1, :there], mode="clip")
        difference = np.subtract(rows, away[1, :there], out=away[1, :there])
        index[part] = chosen
        # By row: the bytes do not depend on how many rows there are.
        distance[part] = np.vecdot(difference, difference)
    distance /= 2
    return index, distance


def cluster_sums(
    vectors: NDArray[np.float32], cluster: NDArray[np.int32], k: int
) -> NDArray[np.float64]:
    """Return the sum (k, d) of the vectors of each cluster."""
    from scipy.sparse import csr_array

    member = csr_array(
        (np.ones(len(vectors)), (cluster, np.arange(len(vectors)))), shape=(k, len(vectors))
    )
    return np.asarray(member @ vectors.astype(np.float64))


def directions(sums: NDArray[np.float64], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the directions of the sums; where nothing was summed up, the centroid there was."""
    means = unit(sums)
    empty = ~sums.any(axis=1)
    means[empty] = centroids[empty]
    return means
