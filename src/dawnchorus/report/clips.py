"""The clips beside a page: what its windows sound like.

In: windows that a page shows, and the recorder cards, which are only read. Out: FLAC files in ``figures/clips/`` beside
the page, one per window, and how much louder each is than its recording. A window whose recording is not at hand (the
card is not mounted where the page is drawn) has no clip, and the page says so; that is no failure.

A clip is made louder by whole bits (6.02 dB each), so it holds the recording's own 16-bit samples: shifted back by
``gain_bits`` they are the same to the bit, and FLAC stores the empty bits for nothing. Its name is made of the window
and of its recording's size, so a clip that was cut once stays when the card is away, and no name ever means another
sound.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from numpy.typing import NDArray

from dawnchorus.config import Settings
from dawnchorus.explorer.clips import UnplayableError, cut
from dawnchorus.parquet import scan_parquet
from dawnchorus.results import Results, fingerprint, publishing

FOLDER = "clips"
WANTED_DB = -23.0
"""Root mean square that a clip is brought near, in dB re full scale (about as loud as broadcasts are)."""
BIT_DB = 20 * np.log10(2)
MOST_BITS = 12


@dataclass(frozen=True)
class Clips:
    """The clips of some windows, in the windows' order.

    Attributes
    ----------
    names : list of str or None
        Paths relative to the page; None where no clip could be cut.
    gains : list of int
        Whole bits by which each clip is louder than its recording.
    reasons : list of str
        Why clips could not be cut, each once; empty if all were.
    """

    names: list[str | None]
    gains: list[int]
    reasons: list[str]


def louder_by(samples: NDArray[np.int16]) -> int:
    """Return by how many bits a clip may be shifted: near :data:`WANTED_DB`, and nothing clips."""
    wide = samples.astype(np.float64)
    mean_square, peak = float(np.mean(wide * wide)), float(np.abs(wide).max(initial=0.0))
    if peak == 0:
        return 0
    below = WANTED_DB - 10 * np.log10(mean_square / 32_768.0**2)
    room = np.floor(np.log2(32_767 / peak))
    return int(np.clip(min(round(below / BIT_DB), room), 0, MOST_BITS))


def cut_clips(
    settings: Settings, results: Results, windows: Sequence[dict[str, Any]], folder: Path
) -> Clips:
    """Cut the windows' clips into ``folder / clips``; what lay there and is not wanted any more goes.

    Parameters
    ----------
    windows : sequence of dict
        With ``recording`` and ``offset``.
    folder : Path
        Where the page lies.
    """
    seconds = settings.spectrogram.window_seconds
    known = (
        scan_parquet(results.recordings)
        .filter(pl.col("recording").is_in({str(window["recording"]) for window in windows}))
        .select("recording", "size_bytes")
        .collect()
    )
    sizes = dict(known.iter_rows())
    names: list[str | None] = []
    gains: list[int] = []
    reasons: dict[str, int] = {}
    with publishing(folder / FOLDER) as partial:
        partial.mkdir()
        for window in windows:
            recording, offset = str(window["recording"]), int(window["offset"])
            name = f"{fingerprint([recording, sizes.get(recording), offset, seconds])[:16]}.flac"
            standing = folder / FOLDER / name
            try:
                if standing.exists() and not (partial / name).exists():
                    shutil.copyfile(standing, partial / name)
                if not (partial / name).exists():
                    clip = cut(settings.audio.root, recording, offset, seconds, context_s=0.0)
                    (partial / name).write_bytes(_louder(clip.wav))
            except UnplayableError as error:
                # The recording's own name would make every reason another one.
                where = str(error.where).replace(recording, "…")
                reasons.setdefault(f"{error.what} ({where})", len(reasons))
                names.append(None)
                gains.append(0)
                continue
            names.append(f"{FOLDER}/{name}")
            gains.append(_gain_of(partial / name))
    return Clips(names, gains, list(reasons))


def _louder(wav: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    bits = louder_by(samples)
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, format="FLAC", subtype="PCM_16") as file:
        # The gain travels with the clip.
        file.comment = f"gain_bits={bits}"
        file.write(np.left_shift(samples, bits))
    return buffer.getvalue()


def _gain_of(clip: Path) -> int:
    with soundfile.SoundFile(clip) as file:
        return int(file.comment.partition("gain_bits=")[2] or 0)
