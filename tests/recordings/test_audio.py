"""Samples as windows: values, counts, alignment, memory, and what is kept of a broken file."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import soxr
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus.recordings.audio import AudioFault, covered, inspect, windows, windows_in
from dawnchorus.recordings.reading import read_content

from .cards import RATE, noise, put, wav


def read(path, **options):
    options = {"sample_rate": RATE, "window_seconds": 0.5} | options
    blocks = list(windows(path, **options))
    if not blocks:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    return (
        np.concatenate([block.offsets for block in blocks]),
        np.concatenate([block.samples for block in blocks]),
    )


def read_until_fault(path, **options):
    options = {"sample_rate": RATE, "window_seconds": 0.5} | options
    got = []
    with pytest.raises(AudioFault) as caught:
        for block in windows(path, **options):
            got.extend(zip(block.offsets.tolist(), block.samples, strict=True))
    return got, caught.value.code


@pytest.mark.parametrize("block_windows", [1, 3, 5, 64])
@pytest.mark.parametrize(
    ("frames", "count"), [(3999, 0), (4000, 1), (20000, 5), (20001, 5), (23999, 5)]
)
def test_every_window_that_fits_and_no_other(tmp_path, frames, count, block_windows):
    sound = noise(frames / RATE)
    path = put(tmp_path / "a [1] b.wav", wav(sound))
    offsets, samples = read(path, block_windows=block_windows)
    assert offsets.tolist() == [4000 * number for number in range(count)]
    if count:
        assert samples.dtype == np.float32
        assert np.array_equal(
            samples, (sound[: count * 4000].astype(np.float32) / 32768).reshape(count, 4000)
        )


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        (".wav", "PCM_16", 0),
        (".wav", "PCM_24", 0),
        (".wav", "PCM_32", 0),
        (".wav", "FLOAT", 0),
        (".wav", "DOUBLE", 0),
        (".flac", "PCM_16", 0),
        (".flac", "PCM_24", 0),
        (".w64", "PCM_16", 0),
        (".wav", "ULAW", 0.02),
        (".ogg", "VORBIS", 0.2),
    ],
)
def test_formats_and_first_channel(tmp_path, suffix, subtype, tolerance):
    sound = np.round(np.sin(np.arange(20_000) / 15.0) * 9000) / 32768
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.column_stack([sound, -sound]), RATE, subtype=subtype)
    offsets, samples = read(path)
    assert offsets.tolist() == [0, 4000, 8000, 12000, 16000]
    assert np.abs(samples.reshape(-1) - sound).max() <= tolerance


def test_hash_covers_all_samples_whatever_the_blocks(tmp_path):
    sound = noise(2.3, channels=2)
    path = put(tmp_path / "a.wav", wav(sound))
    for block_windows in (1, 2, 64):
        hasher = xxhash.xxh3_128()
        read(path, block_windows=block_windows, hasher=hasher)
        assert hasher.digest() == xxhash.xxh3_128(sound.astype("<i2").tobytes()).digest()
    hasher = xxhash.xxh3_128()
    read(path, sample_rate=11025, hasher=hasher)
    assert hasher.digest() == xxhash.xxh3_128(sound.astype("<i2").tobytes()).digest()


@pytest.mark.parametrize("native", [8000, 16000, 22050, 32000, 48000, 96000])
def test_resampled_as_if_in_one_piece(tmp_path, native):
    target, seconds = 44_100, 0.5
    sound = noise(4.0, native)[: round(3.5 * native)]
    path = put(tmp_path / "a.wav", wav(sound, native))
    offsets, samples = read(path, sample_rate=target, window_seconds=seconds, block_windows=2)
    whole = soxr.resample(sound.astype(np.float32) / 32768, native, target, quality="HQ")
    length = round(seconds * target)
    assert offsets.tolist() == [number * round(seconds * native) for number in range(7)]
    assert samples.shape == (7, length)
    for offset, window in zip(offsets, samples, strict=True):
        start = int(offset) * target // native
        expected = whole[start : start + length]
        # The last samples may lie behind the end of what soxr hands out at once.
        assert np.abs(window[: len(expected)] - expected).max() < 2e-5
        assert length - len(expected) <= 1


@pytest.mark.parametrize("native", [22050, 48000, 96000])
def test_a_chirp_stays_at_its_time(tmp_path, native):
    """Against the continuous signal itself, not another resampler."""
    target = 44_100

    def chirp(time):
        return 0.5 * np.sin(2 * np.pi * (400 * time + 500 * time**2))

    sound = np.round(chirp(np.arange(4 * native) / native) * 32767).astype(np.int16)
    path = put(tmp_path / "a.wav", wav(sound, native))
    _, samples = read(path, sample_rate=target, window_seconds=1.0)
    assert samples.shape == (4, target)
    expected = chirp(np.arange(4 * target) / target).astype(np.float32)
    inner = slice(200, -200)  # the file begins and ends abruptly
    error = np.abs(samples.reshape(-1)[inner] - expected[inner]).max()
    late = np.abs(chirp((np.arange(4 * target) + 0.5) / target)[inner] - expected[inner]).max()
    assert error < 1e-3 < late / 20  # half a sample would show


@settings(max_examples=40, deadline=None)
@given(
    native=st.sampled_from([8000, 11025, 22000, 24000, 44100, 48000]),
    target=st.sampled_from([8000, 22050, 44100]),
    seconds=st.sampled_from([0.1, 0.0333, 0.25, 0.1234]),
    count=st.integers(1, 7),
    over=st.integers(-1, 1),
)
def test_last_exact_fit_counts_at_any_rate(tmp_path_factory, native, target, seconds, count, over):
    length = round(seconds * native)
    path = put(
        tmp_path_factory.mktemp("fit") / "a.wav", wav(np.full(count * length + over, 8192), native)
    )
    expected = count if over >= 0 else count - 1
    got = list(windows(path, sample_rate=target, window_seconds=seconds, block_windows=2))
    offsets = [int(offset) for block in got for offset in block.offsets]
    assert offsets == [number * length for number in range(expected)]
    assert all(block.samples.shape[1] == round(seconds * target) for block in got)
    for block in got:
        for offset, window in zip(block.offsets.tolist(), block.samples, strict=True):
            if 0 < offset < (expected - 1) * length:  # away from both ends
                assert np.abs(window - 0.25).max() < 0.02


def test_window_starts_at_the_nearest_output_sample(tmp_path):
    """Where windows are no whole number of output samples, they do not drift."""
    native, target, seconds = 48_000, 44_100, 0.0333  # 1598 samples in, 1468.53 out
    ramp = np.arange(48_000) % 30_000
    path = put(tmp_path / "a.wav", wav(ramp, native))
    offsets, samples = read(path, sample_rate=target, window_seconds=seconds)
    for offset, window in list(zip(offsets.tolist(), samples, strict=True))[1:18]:
        start = round(Fraction(offset * target, native)) / target * native
        middle = (start + 700 * native / target) / 32768
        if 1000 < start < 28_000:
            assert window[700] == pytest.approx(middle, abs=1e-4)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for seconds in (20, 200):
        path = put(tmp_path / "a.wav", wav(np.zeros(seconds * RATE, np.int16)))
        for rate in (RATE, 11025):
            tracemalloc.start()
            count = sum(
                len(block.offsets)
                for block in windows(path, sample_rate=rate, window_seconds=0.5, block_windows=8)
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert count == 2 * seconds
    assert peaks[2] < 1.2 * peaks[0]
    assert peaks[3] < 1.2 * peaks[1]


@pytest.mark.parametrize("frames", [3999, 4000, 5999, 6000, 9999, 14_000, 21_999, 22_000])
@pytest.mark.parametrize(("overlap_s", "least_s"), [(0.0, 0.25), (0.125, 0.25), (0.375, 0.375)])
@pytest.mark.parametrize("block_windows", [1, 3])
def test_a_last_window_that_is_not_whole_ends_in_silence(
    tmp_path, frames, overlap_s, least_s, block_windows
):
    """birdnetlib's own loop over the samples is the oracle."""
    sound = noise(frames / RATE).astype(np.float32) / 32768
    expected = []
    for start in range(0, frames, round((0.5 - overlap_s) * RATE)):
        part = sound[start : start + 4000]
        if len(part) < least_s * RATE:
            break
        expected.append((start, np.pad(part, (0, 4000 - len(part)))))
    path = put(tmp_path / "a.wav", wav(noise(frames / RATE)))
    options = {"overlap_seconds": overlap_s, "least_seconds": least_s}
    offsets, samples = read(path, block_windows=block_windows, **options)
    assert offsets.tolist() == [start for start, _ in expected]
    assert np.array_equal(samples, np.array([part for _, part in expected]))
    assert windows_in(frames, RATE, 0.5, **options) == len(expected)
    # Resampled it is the same windows; behind the recording's end the filter fades within a few samples.
    offsets, samples = read(path, sample_rate=11025, block_windows=block_windows, **options)
    assert offsets.tolist() == [start for start, _ in expected]
    silent = round((frames - offsets[-1]) / RATE * 11025) + 8
    assert not samples[-1, silent:].any() and samples[-1, : silent - 16].any()


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_truncated_file_keeps_its_good_samples(tmp_path, rate):
    sound = noise(3.0)
    whole = wav(sound)
    good = put(tmp_path / "good.wav", whole)
    cut = put(tmp_path / "cut.wav", whole[: 44 + 2 * 9000 + 1])  # 9,000 frames and a byte
    assert soundfile.info(cut).frames == 9000  # libsndfile says nothing
    found = inspect(cut)
    assert (found.frames, found.promised_frames, found.fault[0]) == (9000, 24000, "DC001")
    got, code = read_until_fault(cut, sample_rate=rate)
    offsets, samples = read(good, sample_rate=rate)
    assert code == "DC001"
    assert [offset for offset, _ in got] == offsets[:2].tolist() == [0, 4000]
    inner = slice(None, -100) if rate != RATE else slice(None)
    for (_, window), expected in zip(got, samples, strict=False):
        assert np.array_equal(window[inner], expected[inner])


def test_truncated_flac_keeps_its_good_samples(tmp_path):
    sound = noise(6.0)
    path = tmp_path / "a.flac"
    soundfile.write(path, sound, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = inspect(path)
    assert (found.promised_frames, found.fault[0]) == (48000, "DC001")
    assert 16_000 <= found.frames < 24_000
    assert found.frames % 4096 == 0  # libFLAC's blocks
    got, code = read_until_fault(path)
    assert code == "DC001"
    assert [offset for offset, _ in got] == [4000 * n for n in range(found.frames // 4000)]
    for offset, window in got:
        assert np.array_equal(window, sound[offset : offset + 4000].astype(np.float32) / 32768)


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_damaged_flac_keeps_all_that_comes_before(tmp_path, rate):
    sound = noise(6.0)
    path = tmp_path / "a.flac"
    soundfile.write(path, sound, RATE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert inspect(path).fault is None  # its header is true; only decoding shows
    got, code = read_until_fault(path, sample_rate=rate, block_windows=3)
    assert code == "DC007"
    assert [offset for offset, _ in got] == [0, 4000, 8000, 12000, 16000]  # 20,480 good frames
    if rate == RATE:
        whole = np.concatenate([window for _, window in got])
        assert np.array_equal(whole, sound[:20_000].astype(np.float32) / 32768)


def test_metadata_behind_the_samples_is_no_sound(tmp_path):
    from .cards import chunk, info

    sound = noise(1.0)
    path = put(
        tmp_path / "a.wav", wav(sound, after=info("x" * 500) + chunk(b"guan", b"a:b\n" * 99))
    )
    _, samples = read(path)
    assert np.array_equal(samples.reshape(-1), sound.astype(np.float32) / 32768)


def test_headers_beyond_reason_cost_no_memory(tmp_path):
    sound = noise(0.5)
    for rate in (1, 4_000_000_000):
        with pytest.raises(AudioFault) as caught:
            list(
                windows(
                    put(tmp_path / "a.wav", wav(sound, rate)), sample_rate=RATE, window_seconds=3
                )
            )
        assert caught.value.code == "DC005"
    wide = put(tmp_path / "b.wav", wav(sound[:1000].reshape(1, 1000)))
    tracemalloc.start()
    assert list(windows(wide, sample_rate=RATE, window_seconds=3)) == []
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_mutated_files_never_give_a_wrong_shape(tmp_path, suffix):
    """Bytes changed, cut out and put in: faults are faults, and windows are windows."""
    random = np.random.default_rng(7)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(1.2, channels=2), RATE)
    whole = path.read_bytes()
    verdicts = set()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(random.integers(1, 5)):
            at = int(random.integers(0, 64 if random.random() < 0.7 else len(content)))
            cut = int(random.integers(0, 4))
            content[at : at + cut] = random.bytes(int(random.integers(0, 5)))
        path.write_bytes(
            content[: None if random.random() < 0.7 else int(random.integers(len(content)))]
        )
        try:
            found = inspect(path)
            shape = 0.1 * found.sample_rate
            for block in windows(path, sample_rate=RATE, window_seconds=0.1, block_windows=4):
                assert block.samples.shape == (len(block.offsets), 800)
                assert np.all(np.diff(block.offsets) == round(shape))
                assert block.offsets[-1] + round(shape) <= found.frames
            verdicts.add("ok")
        except AudioFault as fault:
            verdicts.add(fault.code)
    assert {"ok", "DC001", "DC005" if suffix == ".wav" else "WA004"} <= verdicts


def test_a_thousand_channels_in_a_header_cost_no_memory(tmp_path):
    """One frame of 1,024 channels: what reads ahead does so by samples, not by frames."""
    path = put(tmp_path / "a.wav", wav(np.full((1, 1024), 7)))
    tracemalloc.start()
    told = read_content(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (told.frames, told.channels, told.fault[0]) == (1, 1024, "DC014")
    assert peak < 5e6


@pytest.mark.parametrize("channels", [1025, 32_767])
def test_more_channels_than_can_be_read_are_refused_whatever_the_size_says(tmp_path, channels):
    for claimed in (None, 0, 44, 2 * channels):
        content = wav(np.full((3, channels), 7), data_size=claimed)
        with pytest.raises(AudioFault) as caught:
            inspect(put(tmp_path / "a.wav", content))
        assert caught.value.code in ("DC005", "FL001")


def test_a_part_of_a_frame_is_no_sound(tmp_path):
    content = wav(np.full((1, 500), 7), data_size=44)
    with pytest.raises(AudioFault) as caught:
        inspect(put(tmp_path / "a.wav", content[:900]))
    assert caught.value.code == "FL001"


def test_an_overlap_may_round_to_the_whole_window(tmp_path):
    """At 100 Hz, windows 4 ms apart would begin at the same sample."""
    path = put(tmp_path / "a.wav", wav(noise(4.0, rate=100), 100))
    options = {"window_seconds": 1.0, "overlap_seconds": 0.996, "sample_rate": None}
    offsets, samples = read(path, **options)
    assert offsets.tolist() == list(range(301))
    assert samples.shape == (301, 100)
    assert windows_in(400, 100, 1.0, 0.996) == 301
    assert covered(301, 100, 1.0, 0.996) == 400
