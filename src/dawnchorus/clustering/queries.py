"""What to look for: a window of the season, or a sound from anywhere.

In: a recording and an offset, or an audio file of any rate and length. Out: query vectors in an experiment's space. A
file goes the way of a recording: cut into windows, resampled as the configuration says, made into spectrograms with the
season's parameters, and embedded by the experiment's network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dawnchorus.clustering.fit_sample import Embedded, store_of
from dawnchorus.clustering.similar import Exclusion
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.parquet import scan_parquet
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.store import SpectrogramStore


@dataclass(frozen=True)
class Queries:
    """Vectors to look for.

    Attributes
    ----------
    vectors : float32 array (q, d)
    second : list of float
        Where each begins in its file.
    codes : uint8 array (q, mels, frames), optional
        Their spectrograms.
    day : RecorderDay, optional
        Of a window of the season.
    """

    vectors: NDArray[np.float32]
    second: list[float]
    codes: NDArray[np.uint8] | None = None
    day: RecorderDay | None = None


def of_window(
    results: Results, experiment: str, days: Sequence[Embedded], recording: str, offset: int
) -> Queries:
    """Return the vector of a window of the season.

    Parameters
    ----------
    results : Results
    experiment : str
    days : sequence of Embedded
        All recorder-days of the season.
    recording : str
        As the inventory names it.
    offset : int
        First sample of the window, at the recording's own rate.

    Raises
    ------
    DawnChorusError
        If the season holds no such window.
    """
    known = (
        scan_parquet(results.recordings)
        .filter(pl.col("recording") == recording)
        .select("recorder", "date", "sample_rate")
        .collect()
    )
    if not known.height:
        raise DawnChorusError(
            "the inventory names no such recording",
            recording,
            "give it as in recordings.parquet: its path below audio.root",
        )
    recorder, date, rate = known.row(0)
    day = RecorderDay(recorder, str(date))
    embedded = next((one for one in days if one.day == day), None)
    if embedded is None:
        raise DawnChorusError("has no embeddings", str(day), "look at inventory/faults.tsv")
    store = store_of(results, experiment, embedded)
    row = int(store.find([recording], [offset])[0])
    if row < 0:
        mine = [number for number, name in enumerate(store.recordings) if name == recording]
        starts = store.offset[np.isin(store.recording, mine)]
        if not len(starts):
            raise DawnChorusError("none of its windows was embedded", recording)
        near = int(starts[np.argmin(np.abs(starts - offset))])
        raise DawnChorusError(
            f"no window begins at sample {offset}", recording, f"the nearest begins at {near}"
        )
    seen = _spectrogram(results, day, recording, offset)
    return Queries(store.read(row, row + 1), [offset / rate], codes=seen, day=day)


def _spectrogram(
    results: Results, day: RecorderDay, recording: str, offset: int
) -> NDArray[np.uint8] | None:
    """Return the codes (1, mels, frames) of a window; None if its store is gone."""
    path = results.spectrograms(day)
    if not path.exists():
        return None
    store = SpectrogramStore.open(path)
    row = int(store.find([recording], [offset])[0])
    return store.codes(row, row + 1) if row >= 0 else None


def hidden(queries: Queries, recording: str, offset: int, *, elsewhere: bool) -> list[Exclusion]:
    """Return what a window is not to find: itself, or its whole recording."""
    if queries.day is None:
        return []
    return [Exclusion(queries.day, recording, None if elsewhere else offset)]


def of_clip(
    settings: Settings, results: Results, experiment: str, clip: Path, *, device: str = "auto"
) -> Queries:
    """Return the vectors of a file's windows, one after the other.

    Parameters
    ----------
    settings : Settings
        Uses ``spectrogram``, ``audio.channel`` and ``embedding``: those of the season.
    results : Results
    experiment : str
    clip : Path
        Anything that libsndfile reads, of any rate.
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    DawnChorusError
        If it cannot be read, is shorter than a window, or the network learned from other spectrograms.
        A shorter clip is not filled up: silence behind a sound would be looked for as well.
    """
    # Only here: a search for a window answers without compiled loops and decoders.
    from dawnchorus.recordings.audio import AudioFault, inspect, windows
    from dawnchorus.spectrograms.account import appearance_of
    from dawnchorus.spectrograms.spectrograph import Spectrograph

    spectrogram = settings.spectrogram
    if not clip.is_file():
        raise DawnChorusError("is not there", clip, "name an audio file")
    codes: list[NDArray[np.uint8]] = []
    second: list[float] = []
    try:
        sound = inspect(clip)
        keeps = spectrogram.other_rates == "keep"
        rate = sound.sample_rate if keeps else spectrogram.sample_rate
        spectrograph = Spectrograph(spectrogram, rate)
        for block in windows(
            clip,
            sample_rate=None if keeps else rate,
            window_seconds=spectrogram.window_seconds,
            overlap_seconds=spectrogram.overlap_seconds,
            channel=settings.audio.channel,
        ):
            codes.append(spectrograph(block.samples).codes)
            second += (block.offsets / sound.sample_rate).tolist()
    except AudioFault as fault:
        # The windows before the fault serve; without any there is nothing to look for.
        if not codes:
            raise DawnChorusError(f"{fault.code}: {fault.reason}", clip) from None
    if not codes:
        raise DawnChorusError(
            f"lasts {sound.frames / sound.sample_rate:.2f} s, a window {spectrogram.window_seconds:g} s",
            clip,
            "give a clip at least as long as a window",
        )

    # Only now the heavy part.
    from dawnchorus.embedding.encoder import encoded
    from dawnchorus.embedding.encoders import of_codes
    from dawnchorus.learning.backbone import read_metadata

    model = results.experiment(experiment).model
    encoder, _ = of_codes(settings, results, experiment, device=device)
    learned = read_metadata(model).spectrograms
    if learned and learned != appearance_of(settings):
        raise DawnChorusError(
            "learned from spectrograms of other parameters than the configuration's",
            model,
            "give the season's own configuration with --config",
        )
    whole = np.concatenate(codes)
    found = encoded(encoder, lambda start, stop: whole[start:stop], len(whole))
    return Queries(np.concatenate(list(found)), second, codes=whole)
