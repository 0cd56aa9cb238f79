"""How many windows each stratum gives to the training set, and which.

In: counts and weights of the strata (recorder, date, hour), random keys of their windows. Out:
whole numbers that are as equal as the strata allow, and the windows with the smallest keys. Pure
arithmetic over arrays; nothing is read or written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fill_evenly(
    available: NDArray[np.int64], share: NDArray[np.float64], total: int
) -> NDArray[np.float64]:
    """Pour ``total`` into strata in proportion to ``share``; what does not fit goes to the others.

    Water-filling: the result is ``min(available, level * share)`` with the level that makes the sum
    ``total``.

    Parameters
    ----------
    available : ndarray of int64, shape (strata,)
        Windows of each stratum.
    share : ndarray of float64, shape (strata,)
        Relative shares, all > 0; equal shares fill evenly.
    total : int
        Windows to allot; all, if there are fewer.

    Returns
    -------
    ndarray of float64, shape (strata,)
        Sums to ``min(total, available.sum())``; not yet whole.
    """
    if total >= available.sum():
        return available.astype(np.float64)
    # Strata fill up in the order of available / share: find how many are full at the right level.
    order = np.argsort(available / share, kind="stable")
    held, shares = available[order].astype(np.float64), share[order]
    full_below = np.concatenate([[0.0], np.cumsum(held)[:-1]])
    share_above = np.cumsum(shares[::-1])[::-1]
    levels = (total - full_below) / share_above
    first_not_full = int(np.argmax(levels <= held / shares))
    return np.minimum(available, levels[first_not_full] * share)


def round_systematically(allotted: NDArray[np.float64], start: float) -> NDArray[np.int64]:
    """Round to whole numbers with the same sum, each within one of its value.

    Systematic sampling: the running sum is cut at ``start + 0, 1, 2 ...``, so that the rounding is
    spread evenly along the order of the strata and the expectation over ``start`` is the value
    itself.

    Parameters
    ----------
    allotted : ndarray of float64
        Not negative, with a whole sum.
    start : float
        In [0, 1).
    """
    whole = np.floor(allotted + 1e-9)
    # Only the fractions are cut, so that a stratum that gives all it has is never asked for more.
    fraction = np.maximum(allotted - whole, 0.0)
    left = round(float(allotted.sum() - whole.sum()))
    if left == 0:
        return whole.astype(np.int64)
    running = np.cumsum(fraction)
    reached = np.floor(running * (left / running[-1]) + start)
    reached[running == running[-1]] = left
    return (whole + np.diff(reached, prepend=0.0)).astype(np.int64)


def selection_keys(
    weight: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a key per window; the n smallest of them are a weighted sample without replacement.

    Exponential clocks: key = E / weight with E standard exponential (Efraimidis and Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003, in its logarithmic form).
    """
    return generator.standard_exponential(weight.shape[0]) / weight


def smallest_per_stratum(
    stratum: NDArray[np.int64], keys: NDArray[np.float64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rows, rising, that have the ``wanted[s]`` smallest keys of each stratum ``s``."""
    order = np.lexsort((keys, stratum))
    in_order = stratum[order]
    rank = np.arange(order.shape[0]) - np.searchsorted(in_order, in_order)
    return np.sort(order[rank < wanted[in_order]])
