"""Acoustic indices of a recorder-day: the step ``indices``.

In: ``recordings.parquet`` and the recordings it names, or, where the spectrograms are made at the same time, the
minutes of their pass. Out: ``indices/{recorder}/{date}.parquet``, one row per minute, the false-colour picture
``{date}.png`` of the day, and a receipt; neither table nor picture if there is no minute.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from dawnchorus import __version__
from dawnchorus.config import Settings, validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting
from dawnchorus.recordings.inventory import Recording, recordings_of_day
from dawnchorus.results import (
    OK,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    withdraw,
)
from dawnchorus.spectrograms.account import (
    Source,
    facts_of,
    naive_start,
    parameters_of,
    remember,
    remembered,
    require,
)
from dawnchorus.spectrograms.false_colour import draw_day
from dawnchorus.spectrograms.indices import Minute, MinuteIndices, MinuteRow, write_indices
from dawnchorus.spectrograms.stream import Task, computed


def minute_row(row: Recording, task: Task, minute: Minute) -> MinuteRow:
    """Say where a minute belongs."""
    offset = int(task.block.offsets[0])
    since = timedelta(microseconds=round(offset / row.sample_rate * 1e6))
    return MinuteRow(
        recording=row.recording,
        offset=offset,
        time=naive_start(row).replace(tzinfo=UTC) + since,
        utc_offset_minutes=row.utc_offset_minutes or 0,
        seconds=len(task.block.offsets) * task.spectrograph.settings.window_seconds,
        minute=minute,
    )


def make_indices(
    settings: Settings, results: Results, day: RecorderDay, workers: int = 1
) -> dict[str, Any]:
    """Compute the indices of a recorder-day, unless the pass for its spectrograms has done so already.

    Parameters
    ----------
    settings : Settings
        ``indices.enabled`` does not matter here: they are asked for.
    results : Results
        Read: ``recordings``. Written: ``indices(day)``, ``indices_picture(day)`` and the receipt.
    day : RecorderDay
    workers : int
        Threads that compute; the result is the same whatever their number.

    Returns
    -------
    dict
        The receipt: verdict, reason, minutes, parameters, fingerprint, version.

    Raises
    ------
    DawnChorusError
        If there is no inventory, a recording that it names is gone, or the spectrograms' settings are such
        that there can be no indices.
    """
    values = settings.model_dump(mode="json")
    settings = validate({**values, "indices": {**values["indices"], "enabled": True}})
    inputs = _inputs(settings, results, day)
    known = _known(results, day, inputs)
    if known is not None:
        return known
    rows = recordings_of_day(results.recordings, day)
    require(settings.audio.root, rows)
    sources = [Source(row) for row in rows]
    minutes = []
    expected = round(sum(row.duration_s for row in rows) / settings.spectrogram.window_seconds)
    with counting(f"indices {day}", expected, "windows") as advance:
        for task, spectra, minute in computed(settings, sources, workers):
            advance(len(spectra))
            if minute is not None:
                minutes.append(minute_row(rows[task.source], task, minute))
    return _publish(settings, results, day, inputs, minutes)


def publish_minutes(
    settings: Settings, results: Results, day: RecorderDay, minutes: list[MinuteRow]
) -> dict[str, Any]:
    """Publish what the pass for the spectrograms has brought along; return the receipt."""
    return _publish(settings, results, day, _inputs(settings, results, day), minutes)


def _inputs(settings: Settings, results: Results, day: RecorderDay) -> str:
    """Fingerprint of all that the table and the picture are made from."""
    rows = recordings_of_day(results.recordings, day)
    return fingerprint([__version__, _parameters(settings), facts_of(settings, rows)])


def _parameters(settings: Settings) -> dict[str, Any]:
    return {
        **parameters_of(settings),
        "indices": settings.indices.model_dump(mode="json", exclude={"enabled"}),
    }


def _known(results: Results, day: RecorderDay, inputs: str) -> dict[str, Any] | None:
    """Return the receipt of an earlier run if it was made from the same inputs and still holds."""
    try:
        earlier = remembered(results.indices_receipt(day), _note(results, day), inputs)
        if earlier is None:
            return None
        made = results.indices(day).is_file() and results.indices_picture(day).is_file()
        return earlier if made or earlier["verdict"] == SET_ASIDE else None
    except (DawnChorusError, KeyError):
        # Damaged or foreign: it is made anew.
        return None


def _note(results: Results, day: RecorderDay) -> Path:
    """Hidden beside the receipt; see :func:`~dawnchorus.spectrograms.account.remember`."""
    return results.indices(day).with_name(f".{day.date}.inputs.json")


def _publish(
    settings: Settings,
    results: Results,
    day: RecorderDay,
    inputs: str,
    minutes: list[MinuteRow],
) -> dict[str, Any]:
    spectrogram = settings.spectrogram
    table, picture = results.indices(day), results.indices_picture(day)
    if minutes:
        indices = MinuteIndices(settings.indices, spectrogram.sample_rate, spectrogram.n_fft)
        write_indices(table, minutes)
        draw_day(picture, minutes, day, indices.row_hertz)
    else:
        withdraw(table)
        withdraw(picture)
    parameters = _parameters(settings)
    told = [
        [row.recording, row.offset, str(row.time), row.seconds, row.minute.level, row.minute.aci]
        for row in minutes
    ]
    receipt = {
        "verdict": OK if minutes else SET_ASIDE,
        "reason": None if minutes else "no minute could be had from the day's recordings",
        "minutes": len(minutes),
        "parameters": fingerprint(parameters),
        "fingerprint": fingerprint([parameters, told]),
        "version": __version__,
    }
    remember(results.indices_receipt(day), _note(results, day), receipt, inputs)
    return receipt
