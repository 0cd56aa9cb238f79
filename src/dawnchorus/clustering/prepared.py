"""A season's embeddings made ready for searching: unit vectors in 16-bit fixed point, mapped into memory.

In: the embeddings of recorder-days. Out: ``search/{recorder}/{date}.npy``, one record per window in the store's order
(``code`` int16 (d,), ``scale`` float32), and beside it what it was made from. A recorder-day that is there already
is not made again, so a season grows by its new days; a file that no longer fits its embeddings is not used.

A unit vector's largest component is 32,767 steps, so a component is off by half a step at most: four times finer than
half precision, in as many bytes, and read back into float32 ten times faster than numpy converts that. The exact
similarity lies within :meth:`PreparedDay.bound` of the one computed from the codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dawnchorus.clustering.fit_sample import Embedded, store_of
from dawnchorus.clustering.sphere import unit
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import tracked
from dawnchorus.results import Results, publishing, read_receipt, write_receipt

STEPS = 32_767
EDITION = 1


class PreparedDay:
    """A recorder-day's codes, mapped into memory.

    Parameters
    ----------
    records : array (n,) of (code int16 (d,), scale float32)
    """

    def __init__(self, records: NDArray[Any]) -> None:
        self._code, self._scale = records["code"], records["scale"]

    def __len__(self) -> int:
        return len(self._scale)

    def blocks(self, windows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, codes as float32 (n, d)) in one reused buffer."""
        buffer = np.empty((min(windows, len(self)), self._code.shape[1]), np.float32)
        for start in range(0, len(self), windows):
            codes = self._code[start : start + windows]
            buffer[: len(codes)] = codes
            yield start, buffer[: len(codes)]

    def scale(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return what codes are multiplied with to be unit vectors, (n,)."""
        return np.asarray(self._scale[start:stop])

    def bound(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return how far similarities of the codes may lie from the exact ones, (n,).

        Half a step in each component: by Cauchy and Schwarz at most ``sqrt(d) * scale / 2`` for a
        unit query.
        """
        return self.scale(start, stop) * np.float32(np.sqrt(self._code.shape[1]) / 2)


def encode(vectors: NDArray[np.floating]) -> NDArray[Any]:
    """Return the records of vectors (n, d)."""
    rows = unit(vectors)
    scale = np.abs(rows).max(axis=1, initial=0.0) / STEPS
    records = np.empty(len(rows), [("code", "<i2", (rows.shape[1],)), ("scale", "<f4")])
    records["code"] = np.rint(rows / np.where(scale > 0, scale, 1)[:, None])
    records["scale"] = scale
    return records


def prepare(results: Results, experiment: str, days: Sequence[Embedded]) -> dict[str, int]:
    """Make what is not there yet; return how many ``recorder_days`` were ``made`` and their ``windows``."""
    made = 0
    paths = results.experiment(experiment)
    for one in tracked(days, f"preparing {experiment}", len(days), "days"):
        if _stands(results, experiment, one):
            continue
        receipt = paths.prepared_receipt(one.day)
        receipt.unlink(missing_ok=True)
        store = store_of(results, experiment, one)
        dtype = encode(np.zeros((0, store.dimension), np.float32)).dtype
        with publishing(paths.prepared(one.day)) as partial, partial.open("wb") as handle:
            held = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
            np.lib.format.write_array_header_2_0(handle, {**held, "shape": (len(store),)})
            for _, vectors in store.blocks():
                handle.write(encode(vectors).tobytes())
        write_receipt(receipt, {"edition": EDITION, "embeddings": one.fingerprint})
        made += 1
    windows = sum(one.windows for one in days)
    return {"recorder_days": len(days), "windows": windows, "made": made}


def _stands(results: Results, experiment: str, one: Embedded) -> bool:
    paths = results.experiment(experiment)
    receipt = paths.prepared_receipt(one.day)
    if not (receipt.exists() and paths.prepared(one.day).exists()):
        return False
    held = read_receipt(receipt)
    return held.get("embeddings") == one.fingerprint and held.get("edition") == EDITION


def open_prepared(results: Results, experiment: str, one: Embedded) -> PreparedDay | None:
    """Map a recorder-day's codes into memory; None if there are none of these embeddings.

    Raises
    ------
    DawnChorusError
        If the file is something else.
    """
    if not _stands(results, experiment, one):
        return None
    path = results.experiment(experiment).prepared(one.day)
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(records) != one.windows:
            raise ValueError(f"{len(records)} windows")
        return PreparedDay(records)
    except (ValueError, IndexError, OSError) as error:
        raise DawnChorusError(
            f"does not hold what it should ({error})", path, "delete it; it is made again"
        ) from None
