"""What became of each recording of a day: the account of its samples, for receipt and store.

In: the rows of the inventory and what the spectrograph told of their windows. Out: the attributes of the store
and the receipt beside it. Every sample on the card is accounted for: it lies in a window, or is counted as
unused (behind the last whole window, or in a recording that is set aside), or as missing (promised by a
header and not there, or not to be decoded).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.audio import covered
from dawnchorus.recordings.inventory import Recording
from dawnchorus.results import (
    OK,
    PARTIAL,
    SET_ASIDE,
    RecorderDay,
    fingerprint,
    read_receipt,
    write_receipt,
)
from dawnchorus.spectrograms.activity import MARGIN_DB
from dawnchorus.spectrograms.spectrograph import Spectra


def parameters_of(settings: Settings) -> dict[str, Any]:
    """Return all that decides what a store holds, as JSON values."""
    return {**settings.spectrogram.model_dump(mode="json"), "channel": settings.audio.channel}


OF_STORES = ("overlap_seconds", "chunk_windows", "shard_windows")
"""Parameters that decide which windows there are and how they lie on the disk, not what one looks like."""


def appearance_of(settings: Settings) -> str:
    """Fingerprint of all that decides what a window looks like: a network knows windows of its own alone."""
    parameters = parameters_of(settings)
    return fingerprint({name: parameters[name] for name in parameters if name not in OF_STORES})


def appearance_in(receipt: dict[str, Any]) -> str:
    """Return :func:`appearance_of` from a day's receipt; an older one has all parameters in its place."""
    return str(receipt.get("appearance", receipt["parameters"]))


class CountingHasher:
    """XXH3-128 of all samples of a recording, and how many frames they were."""

    def __init__(self) -> None:
        self._hasher = xxhash.xxh3_128()
        self.frames = 0

    def update(self, data: Any) -> None:
        """Take in more frames."""
        self._hasher.update(data)
        self.frames += len(data)

    def hexdigest(self) -> str:
        """Return the digest as 32 hexadecimal digits."""
        return self._hasher.hexdigest()


def facts_of(settings: Settings, rows: Sequence[Recording]) -> list[dict[str, Any]]:
    """Return what a result depends on, of the recordings it is made from, as JSON values."""
    by_time = settings.audio.fingerprint == "size+mtime"
    return [
        {
            "recording": row.recording,
            "start": row.start_utc,
            "offset": row.utc_offset_minutes,
            "frames": row.frames,
            "promised": row.promised_frames,
            "sample_rate": row.sample_rate,
            "status": row.status,
            "reason": row.reason,
            "size": row.size_bytes,
            "mtime": row.mtime_ns if by_time else None,
        }
        for row in rows
    ]


def remember(receipt: Path, note: Path, content: dict[str, Any], inputs: str) -> None:
    """Publish a receipt and, beside it, the note of what it was made from.

    The note spares work and may be deleted: it holds sizes and times, which a receipt must not.
    """
    write_receipt(receipt, content)
    write_receipt(note, {"inputs": inputs, "receipt": content["fingerprint"]})


def remembered(receipt: Path, note: Path, inputs: str) -> dict[str, Any] | None:
    """Return an earlier receipt, if its note says that it was made from these inputs.

    Raises
    ------
    DawnChorusError, KeyError
        If one of the two is damaged or foreign.
    """
    if not (receipt.is_file() and note.is_file()):
        return None
    earlier = read_receipt(receipt)
    same = read_receipt(note) == {"inputs": inputs, "receipt": earlier["fingerprint"]}
    return earlier if same else None


@dataclass
class Source:
    """A recording of the day and what became of it."""

    row: Recording
    hasher: CountingHasher = field(default_factory=CountingHasher)
    windows: int = 0
    fault: str | None = None
    peak: float = 0.0
    """Largest magnitude in its windows; full scale is 1."""
    _sum_of_means: float = 0.0
    _at_full_scale: int = 0
    _samples: int = 0

    def add(self, spectra: Spectra, window_samples: int) -> None:
        """Take in the spectra of its next windows."""
        self.windows += len(spectra)
        self.peak = max(self.peak, float(spectra.peak.max(initial=0.0)))
        for mean in spectra.mean.tolist():  # one by one: the same however windows come in blocks
            self._sum_of_means += mean
        self._at_full_scale += int(spectra.at_full_scale.sum())
        self._samples += len(spectra) * window_samples

    @property
    def constant_offset(self) -> float:
        """Mean of the samples of its windows, to six places; full scale is 1."""
        return round(self._sum_of_means / self.windows, 6) if self.windows else 0.0

    @property
    def clipped_share(self) -> float:
        """Share of the samples of its windows that stand at full scale, to nine places."""
        return round(self._at_full_scale / self._samples, 9) if self._samples else 0.0

    @property
    def verdict(self) -> str:
        """Whether all of it, some of it or nothing of it was used."""
        if self.fault is not None and not self.windows:
            return SET_ASIDE
        return PARTIAL if self.reason is not None else OK

    @property
    def reason(self) -> str | None:
        """Why it is not whole."""
        return self.fault or (self.row.reason if self.row.status == PARTIAL else None)

    def receipt(self, settings: Settings) -> dict[str, Any]:
        """Return its entry in the receipt of the day."""
        spectrogram = settings.spectrogram
        used = covered(
            self.windows,
            self.row.sample_rate,
            spectrogram.window_seconds,
            spectrogram.overlap_seconds,
        )
        # What was decoded, not what the inventory expected: of compressed sound only decoding tells.
        frames = self.hasher.frames
        return {
            "recording": self.row.recording,
            "frames": frames,
            "missing_frames": max(0, self.row.promised_frames - frames),
            "unused_frames": frames - used,
            "sample_rate": self.row.sample_rate,
            "windows": self.windows,
            "xxh3": self.hasher.hexdigest(),
            "verdict": self.verdict,
            "reason": self.reason,
        }


def naive_start(row: Recording) -> datetime:
    """UTC start without a zone."""
    if row.start_utc is None:
        raise DawnChorusError("a usable recording has no start", row.recording, "scan again")
    return row.start_utc.replace(tzinfo=None)


def started(row: Recording) -> np.datetime64:
    """UTC start as NumPy takes it; no time (NaT) of a clip without a date."""
    return np.datetime64("NaT" if row.start_utc is None else naive_start(row), "us")


def _told_start(row: Recording) -> str | None:
    return None if row.start_utc is None else f"{naive_start(row).isoformat()}Z"


def require(root: Path, rows: list[Recording]) -> None:
    """Raise if a recording is gone: no fault of the recording, and better no result than a thinned one.

    Raises
    ------
    DawnChorusError
        Naming it.
    """
    for row in rows:
        if not (root / row.recording).is_file():
            raise DawnChorusError(
                "is in the inventory but not on the card",
                root / row.recording,
                "mount the card, or run 'dawnchorus scan' again",
            )


def attributes_of(settings: Settings, day: RecorderDay, sources: list[Source]) -> dict[str, Any]:
    """Return what the store says of itself."""
    spectrogram = settings.spectrogram
    parameters = parameters_of(settings)
    scale = "HTK mel" if spectrogram.scale == "mel" else "linear frequency"
    unit = "mel" if spectrogram.scale == "mel" else "hertz"
    channel = settings.audio.channel
    return {
        "Conventions": "CF-1.11",
        "title": f"{spectrogram.scale.capitalize()} spectrograms of {day.recorder}, {day.date}",
        "source": f"dawnchorus {__version__}",
        "version": __version__,
        "recorder": day.recorder,
        "date": day.date,
        "date_definition": "local start date of the recordings",
        "parameters": parameters,
        "parameters_fingerprint": fingerprint(parameters),
        "recordings": [source.row.recording for source in sources],
        "recording_start": [_told_start(source.row) for source in sources],
        "recording_sample_rate": [source.row.sample_rate for source in sources],
        "recording_channels": [source.row.channels for source in sources],
        "recording_frames": [source.hasher.frames for source in sources],
        "recording_windows": [source.windows for source in sources],
        "recording_xxh3": [source.hasher.hexdigest() for source in sources],
        "recording_peak": [round(source.peak, 6) for source in sources],
        "recording_clipped_share": [source.clipped_share for source in sources],
        "recording_constant_offset": [source.constant_offset for source in sources],
        "channel": ("the mean of all" if channel == "mix" else f"number {channel}, counted from 0")
        + "; of mono recordings the only one",
        "resampling": _resampling(settings, sources),
        "window_function": "periodic Hann; frames neither centred nor padded",
        "power": (
            "one-sided, 2 |X|^2 / (n_fft sum(w^2)): sums over bins to the mean square of the frame"
        ),
        "filterbank": f"{scale}, triangles of peak 1, centres equally spaced in {unit}",
        "reference": "0 dB: the mean square of a full-scale sine (1/2)",
        "constant_offset": (
            "not removed; in the spectrogram it ends below two bins, in level it is contained"
        ),
        "activity_definition": (
            "dB over the band's median over the window, less the frame's median over the bands of "
            f"that (if positive), less {MARGIN_DB:g} dB; positive part, mean over mel and frame"
        ),
    }


def _resampling(settings: Settings, sources: list[Source]) -> str:
    rate = settings.spectrogram.sample_rate
    others = sorted({source.row.sample_rate for source in sources} - {rate})
    if not others:
        return f"none: all recordings have {rate} Hz"
    told = ", ".join(map(str, others))
    if settings.spectrogram.other_rates == "keep":
        return f"none: {told} Hz kept; frames and hops last as long as at {rate} Hz"
    return f"{told} Hz to {rate} Hz: soxr HQ, linear phase, delay compensated"


def receipt_of(
    settings: Settings,
    day: RecorderDay,
    sources: list[Source],
    useless: list[dict[str, Any]],
    content: str | None,
) -> dict[str, Any]:
    """Return the receipt of the day.

    Parameters
    ----------
    settings : Settings
    day : RecorderDay
    sources : list of Source
        The recordings that were read.
    useless : list of dict
        Entries of those that the inventory sets aside.
    content : str or None
        Fingerprint of the store; None if there is none.
    """
    recordings = [*(source.receipt(settings) for source in sources), *useless]
    total = sum(source.windows for source in sources)
    bad = [entry for entry in recordings if entry["verdict"] != OK]
    if not total:
        verdict, reason = SET_ASIDE, _why_nothing(settings, recordings)
    elif bad:
        verdict, reason = PARTIAL, f"{len(bad)} of {len(recordings)} recordings are not whole"
    else:
        verdict, reason = OK, None
    parameters = fingerprint(parameters_of(settings))
    return {
        "verdict": verdict,
        "reason": reason,
        "windows": total,
        "recordings": recordings,
        "parameters": parameters,
        "appearance": appearance_of(settings),
        "fingerprint": content or fingerprint([str(day), parameters, recordings]),
        "version": __version__,
    }


def _why_nothing(settings: Settings, recordings: list[dict[str, Any]]) -> str:
    if not recordings:
        return "no recordings"
    if all(entry["verdict"] == OK for entry in recordings):
        return f"no recording is as long as a window ({settings.spectrogram.window_seconds:g} s)"
    return "no usable recording"
