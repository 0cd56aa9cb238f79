"""Damages recordings in every way and reads them; run in a process of its own, so that memory tells.

``python -m recordings.fuzzing FOLDER COUNT SEED`` prints what it found as JSON.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from dawnchorus.recordings.audio import AudioFault, inspect, windows, windows_in
from dawnchorus.recordings.faults import FAULTS
from dawnchorus.recordings.reading import read_content

from .cards import RATE, chunk, info, noise, wav

SOUND = noise(0.6)
STEREO = noise(0.4, seed=1, channels=2)
COMMENT = info(
    "Recorded at 01:30:00 15/05/2021 (UTC+2) by AudioMoth 24F3190361CC4A5B at medium gain."
)
GUANO = chunk(b"guan", b"GUANO|Version: 1.0\nTimestamp: 2021-05-15T01:30:00+02:00\nSerial: 7\n")
WAMD = chunk(
    b"wamd",
    b"".join(
        struct.pack("<HI", number, len(text)) + text
        for number, text in (
            (0, b"\1\0"),
            (1, b"SM4"),
            (2, b"S4A03895"),
            (5, b"2021-05-15 01:30:00"),
        )
    ),
)
STRANGE = (0, 1, 2, 7, 8, 44, 100, 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000)
HUGE = (*STRANGE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
HEADS = (b"fmt ", b"data", b"LIST", b"guan", b"wamd", b"ds64", b"fact", b"RIFF", b"RF64", b"junk")
HANGS = 60.0
"""Seconds after which a file is said to hang, however busy the machine."""


def encoded(samples: np.ndarray, suffix: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples.astype(np.float64) / 32768, RATE, format=suffix, subtype=subtype)
    return out.getvalue()


def seeds() -> list[bytes]:
    """Sound recordings of all encodings, some with metadata before and after the samples."""
    wholes = [encoded(SOUND, "WAV", kind) for kind in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT")]
    wholes += [encoded(STEREO, "WAVEX", kind) for kind in ("PCM_16", "FLOAT", "DOUBLE")]
    wholes += [encoded(STEREO, "RF64", "PCM_16"), encoded(SOUND, "WAV", "IMA_ADPCM")]
    wholes += [wav(SOUND), wav(STEREO), wav(SOUND[:4001], before=COMMENT, after=GUANO)]
    wholes += [wav(SOUND, before=WAMD, after=COMMENT), wav(STEREO, after=WAMD + GUANO)]
    flacs = [encoded(SOUND, "FLAC", "PCM_16"), encoded(STEREO, "FLAC", "PCM_24")]
    return wholes + flacs


def parts(content: bytes) -> list[bytes]:
    """Split a WAVE file into its chunks."""
    found, at = [], 12
    while at + 8 <= len(content):
        size = struct.unpack("<I", content[at + 4 : at + 8])[0]
        end = min(len(content), at + 8 + size + size % 2)
        found.append(content[at:end])
        at = end
    return found


def damaged(content: bytes, dice: random.Random) -> bytes:  # noqa: PLR0912 - a branch per damage
    """Return a recording with one to four things wrong."""
    made = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        head = min(len(made), 120)
        near = (
            dice.randrange(head) if dice.random() < 0.7 and head else dice.randrange(len(made) + 1)
        )
        match dice.randrange(8):
            case 0:  # a few bits
                for _ in range(dice.randint(1, 6)):
                    at = near if dice.random() < 0.5 else dice.randrange(len(made) or 1)
                    if at < len(made):
                        made[at] ^= 1 << dice.randrange(8)
            case 1:  # cut off
                del made[dice.randrange(len(made) + 1) if dice.random() < 0.7 else near :]
            case 2:  # a size or any other number of the header lies
                name = dice.choice(HEADS)
                at = made.find(name)
                if at >= 0:
                    at += 4 if dice.random() < 0.6 else 8 + 2 * dice.randrange(12)
                    made[at : at + 4] = struct.pack("<I", dice.choice(HUGE))
            case 3:  # a field of the format
                at = made.find(b"fmt ")
                if at >= 0:
                    at += 8 + 2 * dice.randrange(8)
                    made[at : at + 2] = struct.pack("<H", dice.choice(STRANGE) & 0xFFFF)
            case 4:  # chunks in another order, twice or not at all
                if bytes(made[8:12]) == b"WAVE":
                    pieces = parts(bytes(made))
                    dice.shuffle(pieces)
                    if pieces and dice.random() < 0.5:
                        pieces[dice.randrange(len(pieces))] = dice.choice(pieces)
                    made = made[:12] + b"".join(pieces)
            case 5:  # bytes too many
                made[near:near] = dice.randbytes(dice.randint(1, 9))
            case 6:  # bytes too few
                del made[near : near + dice.randint(1, 9)]
            case 7:  # zeros, as where a card was pulled out
                end = near + dice.choice((4, 44, 4096))
                made[near:end] = bytes(len(made[near:end]))
    return bytes(made)


class Counting:
    """Counts the bytes that go through a hasher."""

    def __init__(self) -> None:
        self.bytes = 0

    def update(self, data: np.ndarray) -> None:
        self.bytes += data.nbytes


def check(path: Path, content: bytes, dice: random.Random) -> str:
    """Read a file in all ways; return its verdict. Whatever is wrong with the reading raises."""
    told = read_content(path)
    try:
        sound = inspect(path)
    except AudioFault as fault:
        assert told.fault == (fault.code, fault.reason)
        assert told.frames == 0
        assert FAULTS[fault.code].status in ("set aside", "partial")
        return fault.code
    assert (told.frames, told.channels, told.sample_rate) == (
        sound.frames,
        sound.channels,
        sound.sample_rate,
    )
    assert 0 < sound.frames <= max(sound.promised_frames, sound.frames)
    seconds, overlap = dice.choice(((0.1, 0.0), (0.05, 0.02), (0.25, 0.0), (1e-2, 0.0)))
    rate = dice.choice((None, RATE, 4000))
    channel = dice.choice((0, 0, 1, "mix"))
    wanted = round(seconds * sound.sample_rate)
    step = wanted - round(overlap * sound.sample_rate)
    shape = wanted if rate is None else round(seconds * rate)
    if wanted < 1 or step < 1:
        return "too slow for windows"
    counting, offsets, native = Counting(), [], []
    verdict = "ok" if sound.fault is None else sound.fault[0]
    try:
        for block in windows(
            path,
            sample_rate=rate,
            window_seconds=seconds,
            overlap_seconds=overlap,
            channel=channel,
            block_windows=4,
            hasher=counting,
        ):
            assert block.samples.shape == (len(block.offsets), shape)
            assert block.samples.dtype == np.float32
            assert 1 <= len(block.offsets) <= 4
            offsets += block.offsets.tolist()
            if rate in (None, sound.sample_rate) and len(native) < 16:
                native += list(block.samples)
    except AudioFault as fault:
        verdict = fault.code
        assert FAULTS[verdict].status in ("set aside", "partial")
        whole = False
    else:
        whole = True
    width = 2 if sound.subtype == "PCM_16" else 4
    frames = counting.bytes // (width * sound.channels)
    assert frames <= sound.frames
    assert offsets == [step * number for number in range(len(offsets))]
    fits = windows_in(frames, sound.sample_rate, seconds, overlap)
    assert len(offsets) == fits
    if whole:
        assert frames == sound.frames
        assert FAULTS[verdict].status == "ok" if sound.fault else verdict == "ok"
    riff = sound.riff
    if riff is not None and riff.is_linear and riff.data_offset is not None:
        assert frames * riff.frame_bytes <= len(content) - riff.data_offset
        # (Of two data chunks, which nobody writes, libsndfile reads the last.)
        if sound.subtype == "PCM_16" and native and riff.chunks.count("data") == 1:
            end = riff.data_offset + frames * riff.frame_bytes
            raw = np.frombuffer(content[riff.data_offset : end], "<i2").reshape(frames, -1)
            raw = raw.astype(np.float64) / 32768
            one = (
                raw.mean(axis=1) if channel == "mix" else raw[:, channel if raw.shape[1] > 1 else 0]
            )
            for number, window in enumerate(native):
                assert np.array_equal(
                    window, one[number * step : number * step + wanted].astype(np.float32)
                )
    return verdict


def peak_bytes() -> int:
    """Most memory that this program held (getrusage also counts what its parent held when it forked)."""
    status = Path("/proc/self/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(found.split()[1]) * 1024


def main(folder: str, count: int, seed: int) -> None:
    path = Path(folder) / "a.wav"
    wholes, verdicts, slowest = seeds(), Counter(), 0.0
    wrong = []
    for number in range(count):
        dice = random.Random(seed * 1_000_003 + number)
        content = damaged(wholes[number % len(wholes)], dice)
        path.write_bytes(content)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        began = time.process_time()
        try:
            verdicts[check(path, content, dice)] += 1
        except Exception as error:
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else 0
            wrong.append(f"file {number}: {type(error).__name__} {error} at line {line}"[:300])
        slowest = max(slowest, time.process_time() - began)
    faulthandler.cancel_dump_traceback_later()
    peak = peak_bytes()
    print(json.dumps({"verdicts": verdicts, "wrong": wrong, "slowest": slowest, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
