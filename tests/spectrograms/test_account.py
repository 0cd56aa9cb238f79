"""Every sample on a messy card is in a window, or counted as unused or missing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dawnchorus.config import Settings
from dawnchorus.recordings.inventory import days_of, scan
from dawnchorus.recordings.table import Recording, read_recordings
from dawnchorus.results import Results
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.store import SpectrogramStore

RATE = 8000
DAMAGED = "A/S_20210524_100000.flac"
BROKEN = "A/S_20210524_110000.flac"


def sound(seconds: float, rate: int = RATE, seed: int = 0, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(seed).integers(-3000, 3000, shape).astype(np.int16)


def encoded(samples: np.ndarray, rate: int = RATE, suffix: str = "WAV", **options) -> bytearray:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=suffix, **({"subtype": "PCM_16"} | options))
    return bytearray(out.getvalue())


def claiming(content: bytearray, size: int) -> bytearray:
    content[40:44] = size.to_bytes(4, "little")
    return content


def messy(root: Path) -> dict[str, int]:
    """Write the card; return the frames that can be had of each recording, where there are any."""
    damaged = encoded(sound(6.0, seed=10), suffix="FLAC")
    damaged[len(damaged) // 2] ^= 0xFF
    double = encoded(sound(1.7, seed=11), suffix="FLAC")
    first = int.from_bytes(double[21:26], "big")
    double[21:26] = (first + round(1.7 * RATE)).to_bytes(5, "big")
    broken = encoded(sound(4.0, seed=12), suffix="FLAC")
    made: dict[str, tuple[bytearray | bytes, int]] = {
        "A/S_20210524_050000.wav": (encoded(sound(3.3)), 26_400),
        "A/S_20210524_053000.wav": (encoded(sound(0.49, seed=1)), 3920),  # shorter than a window
        "A/S_20210524_060000.wav": (encoded(sound(2.0, 22_050, 2), 22_050), 44_100),
        "A/S_20210524_063000.wav": (encoded(sound(2.0, 48_000, 3, 2), 48_000), 96_000),
        "A/S_20210524_070000.wav": (encoded(sound(2.5, seed=4))[: 44 + 2 * 13_333 + 1], 13_333),
        "A/S_20210524_073000.wav": (encoded(sound(2.5, seed=4)) + bytes(1000), 20_000),
        "A/S_20210524_080000.wav": (
            claiming(encoded(sound(1.0, seed=5)), 44) + bytes(9000),
            8000,
        ),
        "A/S_20210524_081000.wav": (claiming(encoded(sound(1.1, seed=6)), 0), 8800),
        "A/S_20210524_082000.wav": (claiming(encoded(sound(1.2, seed=7)), 1000), 9600),
        "A/S_20210524_083000.wav": (claiming(encoded(sound(1.3, seed=8)), 20_844), 10_400),
        "A/S_20210524_090000.flac": (double, 13_600),
        DAMAGED: (damaged, 48_000),  # its header is true; only decoding tells
        BROKEN: (broken[: len(broken) // 2], 0),  # as the scan says
        "A/S_20210524_113000.wav": (encoded(sound(4.0, seed=13), subtype="FLOAT"), 32_000),
        # Set aside: silent, a copy, nothing in it.
        "A/S_20210524_120000.wav": (encoded(sound(1.0) * 0), 8000),
        "A/again/S_20210524_050000.wav": (encoded(sound(3.3)), 26_400),
        "A/S_20210524_130000.wav": (b"", 0),
        "A/S_20210524_140000.wav": (np.random.default_rng(0).bytes(5000), 0),
        # No day.
        "A/song.wav": (encoded(sound(1.5, seed=14)), 12_000),
        "A/REC_20210524.wav": (encoded(sound(2.5, seed=15))[:10_044], 5000),
        # Other days: all of it short; nothing of it usable.
        "A/S_20210525_060000.wav": (encoded(sound(0.2, seed=16)), 1600),
        "B/S_20210524_050000.wav": (encoded(sound(2.0, seed=17)), 16_000),
        "B/S_20210526_050000.wav": (b"", 0),
    }
    for name, (content, _) in made.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return {name: frames for name, (_, frames) in made.items()}


def settings_of(tmp_path: Path, spectrogram: dict, audio: dict) -> Settings:
    small = {
        "sample_rate": RATE,
        "window_seconds": 0.5,
        "n_fft": 256,
        "hop_length": 128,
        "mels": 16,
        "frames": 30,
        "f_max": 4000.0,
        "shard_windows": 16,
    }
    return Settings.model_validate(
        {
            "results": str(tmp_path / "results"),
            "audio": {"root": str(tmp_path / "cards"), "timezone": "America/Chicago"} | audio,
            "spectrogram": small | spectrogram,
        }
    )


def in_windows(store: SpectrogramStore, rates: dict[str, int], seconds: float) -> dict[str, int]:
    """Samples of each recording that lie in at least one window, counted one by one."""
    found: dict[str, int] = dict.fromkeys(store.recordings, 0)
    for number, name in enumerate(store.recordings):
        length = round(seconds * rates[name])
        offsets = np.asarray(store.offset)[np.asarray(store.recording) == number]
        is_in = np.zeros(int(offsets.max(initial=0)) + length, bool)
        for offset in offsets:
            is_in[offset : offset + length] = True
        found[name] = int(is_in.sum())
    return found


@pytest.mark.parametrize(
    ("spectrogram", "audio"),
    [
        ({}, {}),
        ({"overlap_seconds": 0.2}, {}),
        ({"overlap_seconds": 0.45}, {"channel": "mix"}),
        ({"other_rates": "keep", "overlap_seconds": 0.1}, {"channel": 1}),
        ({"window_seconds": 0.7, "overlap_seconds": 0.0}, {"channel": 2}),
    ],
)
def test_the_samples_of_a_messy_card_add_up(tmp_path, spectrogram, audio):
    on_card = messy(tmp_path / "cards")
    settings = settings_of(tmp_path, spectrogram, audio)
    results = Results(settings.results)
    scan(settings, results)
    rows: dict[str, Recording] = {row.recording: row for row in read_recordings(results.recordings)}
    assert rows.keys() == on_card.keys()
    on_card[BROKEN] = rows[BROKEN].frames
    assert 0 < on_card[BROKEN] < 32_000
    assert {name: row.frames for name, row in rows.items()} == on_card

    used = unused = missing = 0
    seen: set[str] = set()
    for day in days_of(results.recordings):
        receipt = make_day(settings, results, day)
        entries = {entry["recording"]: entry for entry in receipt["recordings"]}
        assert not seen & entries.keys()
        seen |= entries.keys()
        assert receipt["windows"] == sum(entry["windows"] for entry in entries.values())
        rates = {name: entry["sample_rate"] for name, entry in entries.items()}
        there = dict.fromkeys(entries, 0)
        if receipt["windows"]:
            store = SpectrogramStore.open(results.spectrograms(day))
            assert len(store) == receipt["windows"]
            there |= in_windows(store, rates, settings.spectrogram.window_seconds)
            counts = np.bincount(store.recording, minlength=len(store.recordings)).tolist()
            assert counts == [entries[name]["windows"] for name in store.recordings]
            assert counts == store.attributes["recording_windows"]
        else:
            assert not results.spectrograms(day).exists()
        for name, entry in entries.items():
            row = rows[name]
            assert entry["frames"] == there[name] + entry["unused_frames"]
            assert entry["frames"] + entry["missing_frames"] == row.promised_frames
            if name != DAMAGED:
                assert entry["frames"] == row.frames
            if row.status == "set aside":
                assert (there[name], entry["windows"]) == (0, 0)
        used += sum(there.values())
        unused += sum(entry["unused_frames"] for entry in entries.values())
        missing += sum(entry["missing_frames"] for entry in entries.values())

    undated = {name: row.frames for name, row in rows.items() if row.date is None}
    assert undated == {"A/song.wav": 12_000, "A/REC_20210524.wav": 5000}
    assert seen == rows.keys() - undated.keys()
    # Of the damaged recording five blocks of 4,096 frames can be decoded.
    undecodable = 48_000 - 5 * 4096
    assert sum(on_card.values()) == used + unused + undecodable + sum(undated.values())
    promised_in_vain = sum(
        row.promised_frames - row.frames for row in rows.values() if row.date is not None
    )
    assert promised_in_vain == (20_000 - 13_333) + (32_000 - on_card[BROKEN])
    assert missing == promised_in_vain + undecodable
