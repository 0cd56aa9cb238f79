"""Excerpts are the recording's own samples, bit for bit: bytes against bytes, without libsndfile."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.recordings.excerpt import UnplayableError, excerpt, open_recording

RATE, FRAMES = 22_050, 10_007
"""A length that no block of any codec divides."""


def chunks(wav: bytes) -> dict[bytes, bytes]:
    """The chunks of a WAV file, read by its definition."""
    assert wav[:4] == b"RIFF" and wav[8:12] == b"WAVE"
    assert struct.unpack("<I", wav[4:8])[0] == len(wav) - 8
    found, at = {}, 12
    while at < len(wav):
        name, size = struct.unpack("<4sI", wav[at : at + 8])
        found[name] = wav[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


def noise(dtype: str, channels: int, frames: int = FRAMES) -> np.ndarray:
    """Samples of every bit pattern, floats with all that is odd about them."""
    rng = np.random.default_rng(7)
    if dtype == "int32":
        return rng.integers(-(2**31), 2**31, (frames, channels)).astype(np.int32)
    if dtype == "int16":
        return rng.integers(-(2**15), 2**15, (frames, channels)).astype(np.int16)
    samples = rng.normal(0, 1, (frames, channels)).astype(dtype)
    samples[::97] = [[np.nan]]
    samples[5::97] = [[-np.inf]]
    samples[7::97] = [[-0.0]]
    samples[9::97] = [[np.finfo(dtype).tiny / 8]]
    return samples


FORMATS = {
    "16": ("wav", "PCM_16", "int16", 2),
    "24": ("wav", "PCM_24", "int32", 3),
    "32": ("wav", "PCM_32", "int32", 4),
    "8": ("wav", "PCM_U8", "int16", 1),
    "float": ("wav", "FLOAT", "float32", 4),
    "double": ("wav", "DOUBLE", "float64", 8),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for channels in (1, 2):
        for name, (_, subtype, dtype, _) in FORMATS.items():
            samples = noise(dtype, channels)
            soundfile.write(folder / f"{name}x{channels}.wav", samples, RATE, subtype=subtype)
            if subtype in ("PCM_16", "PCM_24"):
                soundfile.write(folder / f"{name}x{channels}.flac", samples, RATE, subtype=subtype)
            if subtype != "PCM_U8":
                content = bytearray((folder / f"{name}x{channels}.wav").read_bytes())
                at = content.index(b"data") + 4
                content[at : at + 4] = bytes(4)  # FL012
                (folder / f"denied{name}x{channels}.wav").write_bytes(content)
    return folder


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMATS)),
    channels=st.sampled_from([1, 2]),
    kind=st.sampled_from(["", "denied", "flac"]),
    start=st.integers(0, FRAMES - 1),
    frames=st.integers(1, FRAMES),
)
def test_bytes_are_those_of_the_recording(
    recordings: Path, name: str, channels: int, kind: str, start: int, frames: int
) -> None:
    _, subtype, _, width = FORMATS[name]
    if (kind == "flac" and name not in ("16", "24")) or (kind == "denied" and name == "8"):
        kind = ""
    frames = min(frames, FRAMES - start)
    source = chunks((recordings / f"{name}x{channels}.wav").read_bytes())
    file = f"{name}x{channels}.flac" if kind == "flac" else f"{kind}{name}x{channels}.wav"
    path, sound = open_recording(recordings, file)
    assert sound.frames == FRAMES
    cut = chunks(excerpt(path, sound, start, frames).wav())
    step = width * channels
    assert cut[b"data"] == source[b"data"][start * step : (start + frames) * step]
    tag, found_channels, rate, _, align, bits = struct.unpack("<HHIIHH", cut[b"fmt "][:16])
    assert (tag, found_channels, rate) == (
        3 if width > 4 or "FLOAT" in subtype else 1,
        channels,
        RATE,
    )
    assert (align, bits) == (step, 8 * width)


def test_the_same_samples_give_the_same_bytes_and_no_clock(recordings: Path) -> None:
    path, sound = open_recording(recordings, "floatx2.wav")
    cut = excerpt(path, sound, 10, 100)
    assert cut.wav() == cut.wav()
    assert b"PEAK" not in cut.wav()


def test_one_channel(recordings: Path) -> None:
    path, sound = open_recording(recordings, "24x2.wav")
    both = excerpt(path, sound, 100, 50)
    right = both.channel(2)
    assert right.subtype == "PCM_24"
    np.testing.assert_array_equal(right.samples[:, 0], both.samples[:, 1])
    mono, _ = soundfile.read(io.BytesIO(right.wav()), dtype="int32", always_2d=True)
    np.testing.assert_array_equal(mono, right.samples)
    with pytest.raises(ValueError, match="has 2 channels, not a channel 3"):
        both.channel(3)


@pytest.mark.parametrize(
    ("file", "subtype", "dtype"),
    [("a.wav", "ULAW", "int16"), ("a.wav", "IMA_ADPCM", "int16"), ("a.ogg", "VORBIS", "float32")],
)
def test_lossy_sound_is_what_its_decoder_says_from_the_front(
    tmp_path: Path, file: str, subtype: str, dtype: str
) -> None:
    soundfile.write(tmp_path / file, noise("int16", 1) // 2, RATE, subtype=subtype)
    whole, _ = soundfile.read(tmp_path / file, dtype=dtype, always_2d=True)
    path, sound = open_recording(tmp_path, file)
    for start in (0, 3, 4_999):
        cut = excerpt(path, sound, start, 3_000)
        np.testing.assert_array_equal(cut.samples, whole[start : start + 3_000])
        back, _ = soundfile.read(io.BytesIO(cut.wav()), dtype=dtype, always_2d=True)
        np.testing.assert_array_equal(back, cut.samples)


def test_far_into_a_long_recording(tmp_path: Path) -> None:
    """Behind 2 GiB, where seconds in float32 are wrong by hundreds of samples. The file has holes."""
    frames = 1_200_000_000
    path = tmp_path / "long.wav"
    size = 2 * frames
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 48_000,
                       96_000, 2, 16, b"data", size)  # fmt: skip
    wanted = np.arange(1, 1001, dtype=np.int16)
    start = 1_155_555_557
    with path.open("wb") as handle:
        handle.write(head)
        handle.seek(len(head) + 2 * start)
        handle.write(wanted.tobytes())
        handle.truncate(len(head) + size)
    _, sound = open_recording(tmp_path, "long.wav")
    cut = excerpt(path, sound, start, 1000)
    np.testing.assert_array_equal(cut.samples[:, 0], wanted)
    np.testing.assert_array_equal(excerpt(path, sound, start - 1, 2).samples[:, 0], [0, 1])


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_recording_that_breaks_off(tmp_path: Path, suffix: str) -> None:
    samples = noise("int16", 1, 200_000)
    whole = tmp_path / f"whole.{suffix}"
    soundfile.write(whole, samples, RATE, subtype="PCM_16")
    content = whole.read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    path, sound = open_recording(tmp_path, f"cut.{suffix}")
    assert 50_000 < sound.frames < 150_000
    last = excerpt(path, sound, sound.frames - 1000, 1000)
    np.testing.assert_array_equal(
        last.samples[:, 0], samples[sound.frames - 1000 : sound.frames, 0]
    )
    with pytest.raises(UnplayableError, match="before the window does"):
        excerpt(path, sound, sound.frames - 999, 1000)
