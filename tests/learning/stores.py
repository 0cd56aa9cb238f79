"""Spectrogram stores with known windows, written with the store's own writer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dawnchorus.config import Spectrogram
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.spectrograms.spectrograph import Spectra
from dawnchorus.spectrograms.writer import SpectrogramWriter

SHAPE = Spectrogram(mels=32, frames=64, window_seconds=0.8)
STRIDE = SHAPE.window_samples


def write_day(
    results: Results,
    day: RecorderDay,
    hours: dict[int, int],
    *,
    activity: NDArray[np.float32] | None = None,
    codes: NDArray[np.uint8] | None = None,
    parameters: str = "same",
) -> None:
    """One recording per hour with so many windows; none: a day that is set aside."""
    windows = sum(hours.values())
    if windows == 0:
        receipt = {"verdict": "set aside", "reason": "nothing", "windows": 0}
        write_receipt(results.spectrograms_receipt(day), {**receipt, "parameters": parameters})
        return
    if codes is None:
        codes = np.empty((windows, SHAPE.mels, SHAPE.frames), np.uint8)
        codes[:] = np.arange(windows, dtype=np.uint8)[:, None, None]
    if activity is None:
        activity = np.linspace(0, 1, windows, dtype=np.float32)
    path = results.spectrograms(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    names, first = [], 0
    still = np.zeros(windows)
    with SpectrogramWriter(path, SHAPE, windows) as writer:
        for hour, count in sorted(hours.items()):
            rows = slice(first, first + count)
            start = np.datetime64(f"{day.date}T{hour:02d}:00:00", "us")
            writer.append(
                Spectra(
                    codes[rows], activity[rows] - 60, activity[rows], 0, 0, 0, *[still[rows]] * 3
                ),
                recording=len(names),
                offset=np.arange(count, dtype=np.int64) * STRIDE,
                time=start + np.arange(count) * np.timedelta64(800_000, "us"),
            )
            names.append(f"{day.recorder}/{day.date}_{hour:02d}.wav")
            first += count
        writer.finish({"recordings": names, "parameters_fingerprint": parameters})
    receipt = {"verdict": "ok", "reason": None, "windows": windows, "parameters": parameters}
    write_receipt(results.spectrograms_receipt(day), receipt)


def season(results: Results, recorders: Sequence[str], dates: Sequence[str], **day: object) -> None:
    """The same day for every recorder and date."""
    for recorder in recorders:
        for date in dates:
            write_day(results, RecorderDay(recorder, date), **day)  # type: ignore[arg-type]
