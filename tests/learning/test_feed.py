"""The feeds: the same batches from memory and from the stores, for any number of processes."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import feed, history, memory, training, training_set
from dawnchorus.learning.feed import MemoryFeed, StreamFeed
from dawnchorus.learning.partners import Neighbours
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.sampler import EpochSampler
from dawnchorus.learning.scale import counted, of_counts
from dawnchorus.results import RecorderDay, Results

from .stores import SHAPE, write_day
from .test_training import RECIPE, closest, outcome

DELIVER = str(Path(__file__).with_name("deliver.py"))
COUNTS = {"A": (104, 60), "B": (33, 120), "C": (83,)}
WINDOWS = 400
BATCH, SHUFFLE = 16, 192
"""Blocks of 192 windows in 48 lanes; a batch lies across their ends."""


def settings_of(**changes) -> config.Settings:
    shape = {"mels": SHAPE.mels, "frames": SHAPE.frames, "window_seconds": SHAPE.window_seconds}
    recipe = {**RECIPE, "batch_size": BATCH, "shuffle_windows": SHUFFLE, **changes}
    return config.validate({"spectrogram": shape, "experiments": {"toy": recipe}})


def numbered(count: int, first: int) -> np.ndarray:
    """Windows that carry their number in their first two codes, in noise."""
    codes = np.random.default_rng(first).integers(
        60, 100, (count, SHAPE.mels, SHAPE.frames), dtype=np.uint8
    )
    codes[:, 0, 0] = (np.arange(count) + first) // 200 + 1
    codes[:, 0, 1] = (np.arange(count) + first) % 200
    return codes


def number_of(codes: np.ndarray) -> np.ndarray:
    return (codes[..., 0, 0].astype(int) - 1) * 200 + codes[..., 0, 1]


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Results:
    """400 windows of five recorder-days; a window's number is its row in the training set."""
    results = Results(tmp_path_factory.mktemp("season"))
    first = 0
    for recorder, days in COUNTS.items():
        for number, count in enumerate(days):
            day = RecorderDay(recorder, f"2021-05-{24 + number}")
            hours = {4: count // 2, 5: count - count // 2}
            write_day(results, day, hours, codes=numbered(count, first))
            first += count
    assert first == WINDOWS
    training_set.sample(config.validate({"training_set": {"windows": 10_000}}), results)
    return results


@pytest.fixture(scope="module")
def frozen(season):
    return training_set.open_frozen(season)


def alone(rank: int = 0, world: int = 1) -> Ranks:
    """Who a process would be, without the others."""
    return Ranks(rank, world, rank, torch.device("cpu"), world)


def streamed(frozen, sampler, ranks, most: int = 10_000) -> StreamFeed:
    return StreamFeed(frozen, (SHAPE.mels, SHAPE.frames), sampler, ranks, most, readers=2)


# -- what is delivered ------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "shuffle"), [(16, 192), (16, 10_000), (24, 96), (400, 48)])
@pytest.mark.parametrize("most", [10_000, 2_200])
def test_every_window_of_an_epoch_exactly_once_and_the_right_one(frozen, batch, shuffle, most):
    sampler = EpochSampler(WINDOWS, batch, 1, shuffle)
    epochs = 2 * sampler.steps_per_epoch
    seen = []
    for step, given in enumerate(streamed(frozen, sampler, alone(), most).batches(0, epochs)):
        assert given.step == step and np.array_equal(given.rows, sampler.batch(step))
        assert np.array_equal(number_of(given.codes.numpy()), given.rows)
        assert np.array_equal(given.codes.numpy(), frozen.read(given.rows))
        assert given.companions is None
        seen.append(given.rows)
    for epoch in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
        once = np.bincount(np.concatenate(epoch), minlength=WINDOWS)
        assert once.max() == 1 and once.sum() == WINDOWS - WINDOWS % batch


@pytest.mark.parametrize("world", [2, 3, 4])
def test_all_processes_together_see_what_one_sees(frozen, world):
    sampler = EpochSampler(WINDOWS, 12, 3, 96)
    one = [given.codes.numpy() for given in streamed(frozen, sampler, alone()).batches(20, 50)]
    together = [np.empty_like(codes) for codes in one]
    for rank in range(world):
        # Going on at step 20 on another number of processes.
        mine = streamed(frozen, sampler, alone(rank, world), 120).batches(20, 50)
        for whole, given in zip(together, mine, strict=True):
            whole[rank::world] = given.codes.numpy()
    assert all(np.array_equal(*pair) for pair in zip(one, together, strict=True))


@pytest.mark.parametrize("most", [100, 150, 10_000])
def test_it_goes_on_at_any_step_as_if_uninterrupted(frozen, most):
    sampler = EpochSampler(WINDOWS, 16, 5, 192)
    expected = [sampler.batch(step) for step in range(75)]
    for first in (0, 1, 11, 12, 13, 24, 25, 26, 49, 74):
        given = streamed(frozen, sampler, alone(), most).batches(first, min(75, first + 14))
        for number, batch in enumerate(given):
            assert np.array_equal(number_of(batch.codes.numpy()), expected[first + number])


def test_memory_and_stream_give_the_same_batches_and_companions(frozen):
    sampler = EpochSampler(WINDOWS, 16, 2, 192)
    codes = np.empty((WINDOWS, SHAPE.mels, SHAPE.frames), np.uint8)
    frozen.fill(codes)
    assert np.array_equal(number_of(codes), np.arange(WINDOWS))
    partner = Neighbours(frozen.table, 10, 4)
    held = MemoryFeed(codes, sampler, alone()).batches(3, 40, partner)
    read = streamed(frozen, sampler, alone(), 200).batches(3, 40, partner)
    for one, other in zip(held, read, strict=True):
        assert np.array_equal(one.rows, other.rows)
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(one.companions, other.companions)
        assert np.array_equal(number_of(one.companions.numpy()), one.companion_rows)
        assert np.array_equal(one.companion_rows, other.companion_rows)
        assert (one.companion_rows != one.rows).mean() > 0.5


def test_a_batch_that_is_not_taken_to_the_end_leaves_no_thread(frozen):
    import threading

    before = threading.active_count()
    batches = streamed(frozen, EpochSampler(WINDOWS, 16, 0, 192), alone(), 100).batches(0, 75)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


# -- memory -----------------------------------------------------------------------------------


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Generated:
    """A season that is made when read: 24,000 windows, 786 MB."""

    windows, shape = 24_000, (128, 256)
    day = np.repeat(np.arange(60, dtype=np.int32), 400)

    def read(self, rows, out=None):
        codes = np.ones((len(rows), *self.shape), np.uint8)
        codes[:, 0, :4] = rows.astype("<i4")[:, None].view(np.uint8)
        return codes


def test_memory_stays_flat_however_large_the_set():
    sampler = EpochSampler(Generated.windows, 64, 0, 1_920)  # blocks of 63 MB
    stream = StreamFeed(Generated(), Generated.shape, sampler, alone(), 10_000, readers=2)
    before, during, times = resident(), [], np.zeros(Generated.windows, int)
    for given in stream.batches(0, sampler.steps_per_epoch):
        times[np.ascontiguousarray(given.codes[:, 0, :4].numpy()).view("<i4").ravel()] += 1
        during.append(resident() - before)
    assert (times == 1).all()
    third = len(during) // 3
    # A block and an eighth, runs being read, batches ahead, what the allocator keeps.
    assert max(during) < 63 * 1.125 + 90
    assert np.median(during[2 * third :]) - np.median(during[third : 2 * third]) < 15


def test_with_little_memory_it_looks_less_far_ahead_and_with_less_still_it_says_so(frozen):
    sampler = EpochSampler(WINDOWS, 16, 0, 192)
    assert streamed(frozen, sampler, alone(), 10_000).places() == (192, 234)
    assert streamed(frozen, sampler, alone(), 120).places() == (96, 120)
    assert streamed(frozen, sampler, alone(0, 2), 120).places() == (192, 117)
    assert streamed(frozen, sampler, alone(0, 2), 120).places(companions=True) == (96, 120)
    with pytest.raises(DawnChorusError, match=r"memory_gb: .* 80 windows .* some for 79"):
        streamed(frozen, sampler, alone(), 79).places()


def open_with(frozen, **changes):
    wanted = settings_of(**changes).experiments["toy"]
    sampler = EpochSampler(WINDOWS, BATCH, 0, SHUFFLE)
    return feed.open_feed(frozen, (SHAPE.mels, SHAPE.frames), sampler, alone(), wanted)


def test_auto_holds_what_fits_and_streams_the_rest(frozen, monkeypatch, capsys):
    size = WINDOWS * SHAPE.mels * SHAPE.frames
    monkeypatch.setattr(memory, "available", lambda: int(size / 0.75) + 1)
    assert isinstance(open_with(frozen), MemoryFeed)
    assert isinstance(open_with(frozen, feed="stream"), StreamFeed)
    monkeypatch.setattr(memory, "available", lambda: int(size / 0.75) - 1)
    stream = open_with(frozen)
    assert isinstance(stream, StreamFeed)
    assert stream.most == int(0.5 * (int(size / 0.75) - 1)) // (SHAPE.mels * SHAPE.frames)
    assert "400 windows (0.00 GB) are streamed" in capsys.readouterr().err
    assert isinstance(open_with(frozen, feed="memory"), MemoryFeed)
    assert isinstance(open_with(frozen, memory_gb=size / 1e9), MemoryFeed)
    assert isinstance(open_with(frozen, memory_gb=size / 1e9 - 1e-6), StreamFeed)
    with pytest.raises(DawnChorusError, match=r"^feed: 400 windows .* do not fit"):
        open_with(frozen, feed="memory", memory_gb=size / 1e9 - 1e-6)


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_windows_of_another_shape_are_refused(frozen, kind):
    wanted, sampler = settings_of(feed=kind).experiments["toy"], EpochSampler(WINDOWS, BATCH, 0)
    with pytest.raises(DawnChorusError, match=r"its windows are \(32, 64\), not \(16, 64\)"):
        feed.open_feed(frozen, (16, 64), sampler, alone(), wanted)


def test_the_scale_is_that_of_a_fixed_sample_for_either_feed(frozen, monkeypatch):
    from dawnchorus.learning import scale

    held, read = open_with(frozen, feed="memory"), open_with(frozen, feed="stream")
    for most in (20_000, 150):
        monkeypatch.setattr(scale, "SAMPLE_WINDOWS", most)
        rows = scale.sample_rows(WINDOWS)
        assert len(np.unique(rows)) == min(most, WINDOWS)
        for seen in ("level", "contrast", "level+contrast"):
            count = counted(frozen.read(rows), seen)
            expected = of_counts(count, frozen.db_min, frozen.db_step, seen)
            assert feed.measured(held, frozen, WINDOWS, seen, alone()) == expected
            assert feed.measured(read, frozen, WINDOWS, seen, alone()) == expected


# -- what goes wrong --------------------------------------------------------------------------


def spoiled(season, folder, spoil):
    """Stream from a copy of the season; after some batches something happens to a store."""
    results = Results(folder / "copy")
    shutil.copytree(season.root, results.root)
    frozen = training_set.open_frozen(results)
    sampler = EpochSampler(WINDOWS, 16, 0, 96)
    batches = streamed(frozen, sampler, alone()).batches(0, 250)
    for _ in range(3):
        next(batches)
    spoil(results.spectrograms(RecorderDay("B", "2021-05-25")))
    for given in batches:
        assert np.array_equal(number_of(given.codes.numpy()), given.rows)


def cut_short(store):
    for shard in (store / "spectrogram" / "c").rglob("0"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:-100])


def flip(store):
    for shard in (store / "spectrogram" / "c").rglob("0"):
        if shard.is_file():
            damaged = bytearray(shard.read_bytes())
            damaged[len(damaged) // 3] ^= 0x55
            shard.write_bytes(damaged)


def make_anew(store):
    shutil.copytree(store, store.with_suffix(".new"))
    store.rename(store.with_suffix(".old"))
    store.with_suffix(".new").rename(store)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "cannot be read"),
        (lambda store: shutil.rmtree(store / "spectrogram" / "c"), "a shard is missing"),
        (cut_short, "cannot be read"),
        (flip, "cannot be read"),
        (make_anew, "was made anew while it was being learned from; start again"),
    ],
    ids=["gone", "shard gone", "truncated", "flipped bit", "made anew"],
)
def test_a_store_that_cannot_be_read_any_more_is_one_line_and_no_hang(
    season, tmp_path, spoil, said
):
    with pytest.raises(DawnChorusError, match=rf"B/2021-05-25.zarr: .*{said}") as told:
        spoiled(season, tmp_path, spoil)
    assert "\n" not in str(told.value)


def test_silence_takes_no_shard_and_is_no_damage(tmp_path):
    results = Results(tmp_path)
    day = RecorderDay("A", "2021-05-24")
    silent = np.zeros((12, SHAPE.mels, SHAPE.frames), np.uint8)
    write_day(results, day, {4: 12}, codes=silent, activity=np.full(12, -140, np.float32))
    assert not (results.spectrograms(day) / "spectrogram" / "c").exists()
    training_set.sample(config.validate({}), results)
    assert (training_set.open_frozen(results).read(np.arange(12)) == 0).all()


# -- a training -------------------------------------------------------------------------------


def train(season, folder, **changes):
    results = Results(folder)
    if not results.root.exists():
        results.root.mkdir()
        (results.root / "spectrograms").symlink_to(season.root / "spectrograms")
        (results.root / "training").symlink_to(season.root / "training")
    recipe = {"epochs": 2, "checkpoint_minutes": 1e-6, **changes}
    training.train(settings_of(**recipe), results, "toy", device="cpu")
    return outcome(folder)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_streamed_training_is_that_from_memory_to_the_bit_also_resumed(
    season, tmp_path, monkeypatch
):
    held, log = train(season, tmp_path / "held", feed="memory")
    assert len(log) == 50
    read, _ = train(season, tmp_path / "read", feed="stream")
    assert closest(held, read) == 0.0
    models = [tmp_path / name / "toy/model.safetensors" for name in ("held", "read")]
    assert models[0].read_bytes() == models[1].read_bytes()

    class StoppedError(Exception):
        pass

    batches = StreamFeed.batches

    def stopped(self, first, end, partner=None):
        yield from itertools.islice(batches(self, first, end, partner), 19)
        raise StoppedError

    with monkeypatch.context() as interrupted:
        interrupted.setattr(StreamFeed, "batches", stopped)
        for _ in range(2):
            with pytest.raises(StoppedError):
                train(season, tmp_path / "stopped", feed="stream")
    assert history.read(tmp_path / "stopped/toy/log.jsonl")[-1]["step"] == 38
    # It goes on with the other feed: which one is no setting that decides the course.
    model, resumed = train(season, tmp_path / "stopped", feed="memory", memory_gb=1.0)
    assert closest(model, held) == 0.0
    assert [entry["batch"] for entry in resumed] == [entry["batch"] for entry in log]


def deliver(season, folder, first, end, processes, **changes):
    folder.mkdir()
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [
        *(sys.executable, *(torchrun if processes > 1 else ()), DELIVER),
        *(settings_of(**changes).model_dump_json(), str(season.root)),
        *(str(first), str(end), str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = [np.load(folder / f"{rank}.npz") for rank in range(processes)]
    rows = np.stack([part["rows"] for part in parts], axis=2).reshape(end - first, -1)
    codes = np.stack([part["codes"] for part in parts], axis=2)
    codes = codes.reshape(*rows.shape, SHAPE.mels, SHAPE.frames)
    assert len({part["scale"].tobytes() for part in parts}) == 1
    return {str(part["kind"]) for part in parts}, rows, codes, parts[0]["scale"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_two_real_processes_and_one_that_goes_on_from_them(season, frozen, tmp_path, kind):
    sampler = EpochSampler(WINDOWS, BATCH, RECIPE.get("seed", 0), SHUFFLE)
    kinds, rows, codes, scale = deliver(season, tmp_path / "two", 0, 30, 2, feed=kind)
    assert kinds == {"MemoryFeed" if kind == "memory" else "StreamFeed"}
    assert np.array_equal(rows, np.stack([sampler.batch(step) for step in range(30)]))
    assert np.array_equal(number_of(codes), rows)
    _, onward, later, again = deliver(season, tmp_path / "one", 30, 60, 1, feed=kind)
    assert np.array_equal(onward, np.stack([sampler.batch(step) for step in range(30, 60)]))
    assert np.array_equal(number_of(later), onward)
    assert np.array_equal(scale, again)
    left = [path.name for path in (tmp_path / "two").iterdir() if path.suffix == ".codes"]
    assert left == []
