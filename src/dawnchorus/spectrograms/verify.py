"""Does a spectrogram store hold what its recordings say? The step ``verify``.

In: a store and the recordings it names. Out: a list of everything that is not so, one line each; nothing is
written. The store's own attributes say how it was made, so neither the inventory nor the configuration's
parameters are needed, and an old store is verified by its own rules.

Verified are the checksums of every chunk, the digest of every recording, and every window: place, time, level,
activity and codes are computed again and must be equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import ValidationError

from dawnchorus.config import Settings, Spectrogram
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting
from dawnchorus.recordings.inventory import Recording
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.account import Source
from dawnchorus.spectrograms.spectrograph import Spectra
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.spectrograms.stream import Task, computed


@dataclass
class Verification:
    """What was found.

    Attributes
    ----------
    windows : int
        Compared.
    complaints : list of str
        Empty if the store is right.
    """

    windows: int = 0
    complaints: list[str] = field(default_factory=list)


def verify_day(
    settings: Settings, results: Results, day: RecorderDay, workers: int = 1
) -> Verification:
    """Verify the store of a recorder-day.

    Parameters
    ----------
    settings : Settings
        ``audio.root`` is used.
    results : Results
    day : RecorderDay
    workers : int
        Threads that compute.

    Raises
    ------
    DawnChorusError
        If there is no such store, or it does not say how it was made.
    """
    store = SpectrogramStore.open(results.spectrograms(day))
    settings = _as_made(settings, store)
    found = Verification()
    sources = [Source(row) for row in _recordings(store)]
    for source in sources:
        if not (settings.audio.root / source.row.recording).is_file():
            found.complaints.append(f"{source.row.recording}: is not on the card")
    with counting(f"verifying {day}", len(store), "windows") as advance:
        for task, spectra, _ in computed(settings, sources, workers):
            try:
                _compare(store, found, task, spectra)
            except DawnChorusError:
                raise
            except (OSError, RuntimeError, ValueError) as error:
                # A chunk whose checksum does not fit cannot be read.
                said = str(error).splitlines()[0]
                found.complaints.append(f"windows from {found.windows} cannot be read: {said}")
                return found
            found.windows += len(spectra)
            advance(len(spectra))
    if found.windows != len(store):
        found.complaints.append(
            f"holds {len(store):,} windows, the recordings have {found.windows:,}"
        )
    digests = store.attributes["recording_xxh3"]
    for source, digest in zip(sources, digests, strict=True):
        if source.hasher.hexdigest() != digest:
            found.complaints.append(f"{source.row.recording}: its samples are not what they were")
    return found


def _as_made(settings: Settings, store: SpectrogramStore) -> Settings:
    """Settings with the parameters that the store was made with."""
    try:
        parameters = dict(store.attributes["parameters"])
        channel = parameters.pop("channel", 0)
        spectrogram = Spectrogram.model_validate(parameters)
    except (KeyError, TypeError, ValueError, ValidationError):
        raise DawnChorusError(
            "does not say how it was made", store.path, "delete it and run the step again"
        ) from None
    return settings.model_copy(
        update={
            "spectrogram": spectrogram,
            "audio": settings.audio.model_copy(update={"channel": channel}),
            "indices": settings.indices.model_copy(update={"enabled": False}),
        }
    )


def _recordings(store: SpectrogramStore) -> list[Recording]:
    """The recordings as the store remembers them."""
    attributes: dict[str, Any] = store.attributes
    return [
        Recording(
            recording=name,
            recorder=attributes["recorder"],
            date=attributes["date"],
            start_utc=None
            if start is None
            else datetime.fromisoformat(start.removesuffix("Z")).replace(tzinfo=UTC),
            utc_offset_minutes=0,
            duration_s=frames / rate,
            frames=frames,
            promised_frames=frames,
            sample_rate=rate,
            channels=channels,
            format="",
            convention=None,
            size_bytes=0,
            mtime_ns=0,
        )
        for name, start, rate, channels, frames in zip(
            attributes["recordings"],
            attributes["recording_start"],
            attributes["recording_sample_rate"],
            attributes["recording_channels"],
            attributes["recording_frames"],
            strict=True,
        )
    ]


def _compare(store: SpectrogramStore, found: Verification, task: Task, spectra: Spectra) -> None:
    """Compare a block with the rows that should hold it."""
    first, last = found.windows, found.windows + len(spectra)
    if last > len(store):
        return  # said once, at the end
    rows = slice(first, last)
    name = store.recordings[task.source]
    differs = np.zeros(len(spectra), bool)
    for stored, made in (
        (store.recording[rows], np.full(len(spectra), task.source)),
        (store.offset[rows], task.block.offsets),
        (store.time[rows], task.time),
        (store.level[rows], spectra.level),
        (store.activity[rows], spectra.activity),
    ):
        differs |= np.asarray(stored) != np.asarray(made).astype(stored.dtype)
    codes = store.codes(first, last)
    differs |= (codes != spectra.codes).reshape(len(spectra), -1).any(axis=1)
    if differs.any():
        at = first + int(np.flatnonzero(differs)[0])
        found.complaints.append(
            f"{name}: {int(differs.sum())} of the windows {first} to {last - 1} differ, first {at}"
        )
