"""How far the training set lags behind the season.

In: the recorder-days there are and the receipt of the training set. Out: one line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dawnchorus.overview.steps import counted
from dawnchorus.results import RecorderDay, Results, read_receipt

NOT_DRAWN = "the training set is not drawn yet"


def standing(results: Results) -> dict[str, Any] | None:
    """Return the receipt of the training set there is; None before it is drawn.

    Raises
    ------
    DawnChorusError
        If it is not a receipt.
    """
    path = results.training_receipt
    return read_receipt(path) if path.exists() else None


def outside(days: Collection[RecorderDay], receipt: Mapping[str, Any]) -> set[RecorderDay]:
    """Return the recorder-days that the training set was not drawn from."""
    return set(days) - {RecorderDay(*day) for day in receipt["pool"]}


def staleness(days: Collection[RecorderDay], receipt: Mapping[str, Any] | None) -> str:
    """Say how many recorder-days the training set does not know.

    Examples
    --------
    ``37 of 946 recorder-days are not in the training set (3.9 %)``
    """
    if receipt is None:
        return NOT_DRAWN
    late, all_days = len(outside(days, receipt)), set(days)
    if not late:
        many = counted(len(all_days), "recorder-day")
        return f"the training set (edition {receipt['edition']}) was drawn from all {many}"
    verb = "is" if late == 1 else "are"
    share = 100 * late / len(all_days)
    many = counted(len(all_days), "recorder-day")
    return f"{late:,} of {many} {verb} not in the training set ({share:.1f} %)"
