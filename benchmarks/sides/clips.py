"""A folder of sound files as cards of recorders, and the labels that it has for some.

In: a folder of any sound files and its ``labels_clips.csv`` (columns ``path``, ``dataset``, ``label``,
``group``, ``fold``). Out: one recorder per top folder, its files as 16-bit mono WAV at 44.1 kHz under
dated names, as far apart in time that none overlaps another; and who lies where.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from dawnchorus.recordings.audio import AudioFault, inspect, windows
from dawnchorus.recordings.cards import SUFFIXES
from sides import RATE

FIRST = datetime(2021, 5, 1)
APART = timedelta(minutes=10)
WINDOW_S = 3.0


@dataclass(frozen=True)
class Label:
    """What ``labels_clips.csv`` says of a file."""

    dataset: str
    label: str
    group: str
    fold: str


@dataclass(frozen=True)
class Clip:
    """A file of the folder, and the card's recording made of it."""

    path: str
    recording: str
    seconds: float
    label: Label | None
    repeated: bool


@dataclass(frozen=True)
class Laid:
    """What became of a folder."""

    clips: list[Clip]
    unreadable: int

    def said(self) -> str:
        short = sum(clip.seconds < WINDOW_S and not clip.repeated for clip in self.clips)
        repeated = sum(clip.repeated for clip in self.clips)
        return (
            f"{len(self.clips)} files read ({sum(c.seconds for c in self.clips) / 60:.1f} min), "
            f"{self.unreadable} not; {short} shorter than {WINDOW_S:g} s give no window, {repeated} "
            "such with a label to judge repeated until they do"
        )


def labels(folder: Path) -> dict[str, Label]:
    """Read the labels of files by their paths."""
    with (folder / "labels_clips.csv").open(encoding="utf-8", newline="") as file:
        return {
            line["path"]: Label(line["dataset"], line["label"], line["group"], line["fold"])
            for line in csv.DictReader(file)
        }


def heard(path: Path) -> NDArray[np.float32] | None:
    """Decode a whole file with the package's own reader; None if nothing can be had."""
    pieces = []
    try:
        sound = inspect(path)
        whole = sound.frames / sound.sample_rate
        for block in windows(path, sample_rate=RATE, window_seconds=whole):
            pieces.append(block.samples[0])
    except AudioFault:
        pass  # the good samples before a fault stand
    return pieces[0] if pieces else None


def lay(folder: Path, cards: Path, judge: set[str], few: int | None = None) -> Laid:
    """Write all files of a folder as cards.

    Parameters
    ----------
    folder, cards : Path
    judge : set of str
        Datasets that are judged: their files shorter than a window are repeated until they fill one, so
        that none is lost.
    few : int, optional
        Only so many files of each label that is judged, and none else.
    """
    known = labels(folder)
    clips: list[Clip] = []
    used: dict[str, int] = {}
    counts: dict[Label | None, int] = {}
    unreadable = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        label = known.get(name)
        judged = label is not None and label.dataset in judge
        if few is not None:
            kind = Label(label.dataset, label.label, "", "") if judged and label else None
            counts[kind] = counts.get(kind, 0) + 1
            if kind is None or counts[kind] > few:
                continue
        samples = heard(path)
        if samples is None:
            unreadable += 1
            continue
        seconds = len(samples) / RATE
        repeated = judged and seconds < WINDOW_S
        if repeated:
            samples = np.resize(samples, round(WINDOW_S * RATE))  # numpy repeats
        top = name.split("/")[0] if "/" in name else "folder"
        recorder = "".join(sign for sign in top if sign.isascii() and sign.isalnum()) or "folder"
        begins = FIRST + used.get(recorder, 0) * APART
        used[recorder] = used.get(recorder, 0) + 1
        recording = f"{recorder}/{recorder}_{begins:%Y%m%d_%H%M%S}.wav"
        target = cards / recording
        target.parent.mkdir(parents=True, exist_ok=True)
        codes = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        soundfile.write(target, codes, RATE, subtype="PCM_16")
        clips.append(Clip(name, recording, seconds, label, repeated))
    return Laid(clips, unreadable)
