"""What spectrograms say of a cluster: planted bands, pulses and rises come back in hertz and decibels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dawnchorus.clustering.looks import look
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms.store import SpectrogramStore
from embedding.season import NATIVE_RATE, WINDOW_SECONDS, Season

DAY = RecorderDay("REC01", "2021-06-01")
OTHER = RecorderDay("REC02", "2021-06-01")
KINDS = ("quiet", "rise", "band", "hum", "pulses", "slope", "drops", "notes")
EACH = 8
BANDS = np.arange(32)


def codes(kind: str, seed: int, gain: int = 0) -> np.ndarray:
    """Noise around -90 dB (0.5 dB per code) with a deviation of 1 dB, and what is planted."""
    random = np.random.default_rng(seed)
    picture = 60 + gain + random.normal(0, 2, (32, 64))
    if kind == "rise":
        picture += 40
    if kind == "band":
        picture[24:26] += 50
    if kind == "hum":
        picture[4] += 40
    if kind == "slope":
        picture += 80 * 0.6 ** BANDS[:, None]
    if kind == "pulses":
        picture[20:22, ::4] += 60
    if kind == "drops":  # eight bands, one frame
        picture[2:10, ::4] += 60
    if kind == "notes":  # the same sound, but lasting
        for start in range(0, 64, 32):
            picture[2:10, start : start + 16] += 60
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    for number, day in enumerate((DAY, OTHER)):
        pictures = [
            codes(kind, 100 * number + 10 * place + one, gain=30 * number)
            for place, kind in enumerate(KINDS)
            for one in range(EACH)
        ]
        season.add_spectrograms(day, np.stack(pictures))
    return season


def test_what_is_planted_comes_back(season: Season):
    parts = []
    for day in (DAY, OTHER):
        table = season.windows(day, EACH * len(KINDS))
        parts.append(
            pl.DataFrame(
                {
                    "cluster": np.repeat(np.arange(len(KINDS)), EACH),
                    "recorder": day.recorder,
                    "date": day.date,
                    "recording": table.names().tolist(),
                    "offset": table.offset,
                }
            )
        )
    gone = (
        parts[0]
        .head(1)
        .with_columns(
            offset=pl.lit(round(WINDOW_SECONDS * NATIVE_RATE) * 10_000), cluster=pl.lit(9)
        )
    )
    nowhere = parts[0].head(1).with_columns(recorder=pl.lit("REC09"), cluster=pl.lit(9))
    found = look(season.results, pl.concat([*parts, gone, nowhere], how="vertical_relaxed"))
    assert sorted(found) == list(range(len(KINDS)))
    by = dict(zip(KINDS, (found[number] for number in range(len(KINDS))), strict=True))
    store = SpectrogramStore.open(season.results.spectrograms(DAY))
    frequency = store.band_frequency
    assert all(one.windows == 2 * EACH for one in found.values())
    # The second recorder is 15 dB louder altogether: that is its gain and no sound.
    for name in ("quiet", "band", "hum", "pulses"):
        assert by[name].broad_db == pytest.approx(0, abs=1.0)
        assert by[name].low_db == pytest.approx(0, abs=1.0)
    assert by["rise"].broad_db == pytest.approx(20, abs=1.0)
    assert by["rise"].low_db == pytest.approx(20, abs=1.0)
    assert by["rise"].peak_db < 2
    assert by["band"].peak_db == pytest.approx(25, abs=1.5)
    assert by["band"].peak_hz == (pytest.approx(frequency[24]), pytest.approx(frequency[25]))
    assert by["hum"].hum_db == pytest.approx(20, abs=1.5)
    assert by["hum"].hum_hz == (pytest.approx(frequency[4]), pytest.approx(frequency[4]))
    # Loud at the bottom and falling is wind, not a hum.
    assert by["slope"].hum_db <= 0
    assert by["slope"].low_db > 6
    assert by["pulses"].event_hz == (pytest.approx(frequency[20]), pytest.approx(frequency[21]))
    assert by["pulses"].event_cover == 1.0
    assert by["quiet"].event_cover == 0.0
    assert by["pulses"].hum_db < 3
    # Drops are brief; notes are not, noise is not loud enough, and what is steady is none.
    assert by["drops"].brief_cover == 1.0
    for name in ("quiet", "rise", "band", "hum", "slope", "notes"):
        assert by[name].brief_cover == 0.0


def test_nothing_to_look_at(season: Season):
    none = pl.DataFrame(
        {"cluster": [1], "recorder": ["REC09"], "date": ["2021-06-01"], "recording": ["a"], "offset": [0]}
    )  # fmt: skip
    assert look(season.results, none) == {}
