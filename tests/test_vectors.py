"""The store of vectors: what goes in comes out, in any block size, and other readers agree."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from dawnchorus import vectors
from dawnchorus.errors import DawnChorusError
from dawnchorus.vectors import VectorStore, WindowTable, write_vectors

STEP = 132_300


def table(windows: int, recordings: int = 3) -> WindowTable:
    index = np.sort(np.arange(windows) % recordings).astype(np.int32)
    within = np.arange(windows) - np.searchsorted(index, index)
    return WindowTable(
        [f"REC01/file{number}.wav" for number in range(recordings)],
        index,
        (within * STEP).astype(np.int64),
        np.datetime64("2021-06-01T04:00:00", "us") + np.arange(windows) * np.timedelta64(3, "s"),
    )


def rows(windows: int, dimension: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(windows, dimension)).astype(np.float32)


def blocks(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("windows", [0, 1, 7, 255, 256, 257, 1000])
def test_round_trip(tmp_path: Path, windows: int) -> None:
    values, where = rows(windows), table(windows)
    path = tmp_path / "a" / "2021-06-01.zarr"
    write_vectors(path, blocks(values, 64), dimension=5, windows=where, attributes={"model": "x"})
    store = VectorStore.open(path)
    assert len(store) == windows
    assert store.dimension == 5
    np.testing.assert_array_equal(store.read(), values)
    np.testing.assert_array_equal(store.read(3, 9), values[3:9])
    assert store.recordings == where.recordings
    np.testing.assert_array_equal(store.recording, where.recording)
    np.testing.assert_array_equal(store.offset, where.offset)
    np.testing.assert_array_equal(store.time, where.time)
    assert store.attributes == {"model": "x", "recordings": where.recordings}
    together = [part for _, part in store.blocks(100)]
    np.testing.assert_array_equal(np.concatenate([*together, np.empty((0, 5))]), values)


def test_bytes_do_not_depend_on_the_blocks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(vectors, "SHARD_WINDOWS", 512)
    values, where = rows(1300), table(1300)
    digests = [
        write_vectors(
            tmp_path / f"{size}.zarr",
            blocks(values, size),
            dimension=5,
            windows=where,
            attributes={},
        )
        for size in (1, 97, 512, 2000)
    ]
    assert len(set(digests)) == 1
    first = files(tmp_path / "1.zarr")
    assert sum(name.startswith("embedding/c/") for name in first) == 3
    for size in (97, 512, 2000):
        assert files(tmp_path / f"{size}.zarr") == first
    np.testing.assert_array_equal(VectorStore.open(tmp_path / "97.zarr").read(), values)


def test_half_precision(tmp_path: Path) -> None:
    """Half the bytes, rounded once to the nearest, read as float32; another digest."""
    values, where = rows(700), table(700)
    paths = {kept: tmp_path / f"{kept}.zarr" for kept in ("float32", "float16")}
    digests = [
        write_vectors(
            path, blocks(values, 64), dimension=5, windows=where, attributes={}, kept=kept
        )
        for kept, path in paths.items()
    ]
    assert digests[0] != digests[1]
    store = VectorStore.open(paths["float16"])
    assert store.kept == "float16"
    assert store.read().dtype == store.take([1]).dtype == np.float32
    np.testing.assert_array_equal(store.read(), values.astype(np.float16))
    np.testing.assert_array_equal(store.take([650, 3]), values.astype(np.float16)[[650, 3]])
    assert np.abs(store.read() / values - 1).max() < 2**-11
    size = [len(files(path)["embedding/c/0/0"]) for path in paths.values()]
    assert size[1] < 0.51 * size[0]
    with xarray.open_zarr(paths["float16"]) as data:
        assert data["embedding"].dtype == np.float16
    values[600, 2] = -7e4
    with pytest.raises(DawnChorusError, match=r"7e\+04.*65,504.*embedding.store to float32"):
        write_vectors(
            paths["float16"], [values], dimension=5, windows=where, attributes={}, kept="float16"
        )
    np.testing.assert_array_equal(VectorStore.open(paths["float16"]).offset, where.offset)


def test_digest_follows_vectors_windows_and_order(tmp_path: Path) -> None:
    values, where = rows(20), table(20)

    def digest(values: np.ndarray, where: WindowTable) -> str:
        path = tmp_path / "x.zarr"
        return write_vectors(path, [values], dimension=5, windows=where, attributes={})

    other = values.copy()
    other[7, 3] = np.nextafter(other[7, 3], 9)
    moved = WindowTable(where.recordings, where.recording, where.offset + 1, where.time)
    later = WindowTable(
        where.recordings, where.recording, where.offset, where.time + np.timedelta64(1, "us")
    )
    renamed = WindowTable(["a", "b", "c"], where.recording, where.offset, where.time)
    made = [
        digest(values, where),
        digest(other, where),
        digest(values[::-1].copy(), where),
        digest(values, moved),
        digest(values, later),
        digest(values, renamed),
    ]
    assert len(set(made)) == len(made)


def test_opens_with_xarray(tmp_path: Path) -> None:
    values, where = rows(300), table(300)
    path = tmp_path / "x.zarr"
    write_vectors(path, [values], dimension=5, windows=where, attributes={"license": "CC0"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(path) as data:
            assert dict(data.sizes) == {"window": 300, "feature": 5}
            assert set(data.coords) == {"time", "recording", "offset"}
            np.testing.assert_array_equal(data["embedding"].values, values)
            assert data["time"].values[1] == np.datetime64("2021-06-01T04:00:03")
            np.testing.assert_array_equal(data["offset"].values, where.offset)
            assert data.attrs["license"] == "CC0"
            assert data.attrs["recordings"] == where.recordings


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1299), max_size=80))
def test_take_is_fancy_indexing(wide: VectorStore, indices: list[int]) -> None:
    np.testing.assert_array_equal(wide.take(indices), rows(1300)[np.array(indices, dtype=int)])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> VectorStore:
    path = tmp_path_factory.mktemp("wide") / "x.zarr"
    write_vectors(path, [rows(1300)], dimension=5, windows=table(1300), attributes={})
    return VectorStore.open(path)


def test_take_outside_is_an_error(wide: VectorStore) -> None:
    for index in (-1, 1300):
        with pytest.raises(IndexError, match="outside"):
            wide.take([0, index])


def test_find(wide: VectorStore) -> None:
    where = table(1300)
    order = np.random.default_rng(0).permutation(1300)
    found = wide.find(list(where.names()[order]), where.offset[order])
    np.testing.assert_array_equal(found, order)
    missing = wide.find(
        ["REC01/file0.wav", "REC01/file0.wav", "nowhere.wav", "REC01/file0.wav", "REC01/file1.wav"],
        [1, -STEP, 0, 10**9, STEP],
    )
    np.testing.assert_array_equal(missing[:4], -1)
    assert missing[4] == np.searchsorted(where.recording, 1) + 1


def test_rows_and_windows_must_match(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    where = table(10)
    for values in (rows(9), rows(11), rows(10, 4)):
        with pytest.raises(ValueError, match=r"vectors|shape"):
            write_vectors(path, [values], dimension=5, windows=where, attributes={})
    assert not list(tmp_path.iterdir())


def test_not_finite_is_named(tmp_path: Path) -> None:
    values = rows(10)
    values[8, 2] = np.nan
    with pytest.raises(DawnChorusError, match=f"file2.wav at sample {STEP} is not finite"):
        write_vectors(
            tmp_path / "x.zarr",
            [values[:4], values[4:]],
            dimension=5,
            windows=table(10),
            attributes={},
        )
    assert not list(tmp_path.iterdir())


def test_missing_or_foreign(tmp_path: Path) -> None:
    with pytest.raises(DawnChorusError, match="is not there"):
        VectorStore.open(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DawnChorusError, match="no store of vectors"):
        VectorStore.open(tmp_path / "empty.zarr")


def test_table_checks_itself() -> None:
    where = table(4)
    with pytest.raises(ValueError, match="differ in length"):
        WindowTable(where.recordings, where.recording, where.offset[:3], where.time)
    with pytest.raises(ValueError, match="outside recordings"):
        WindowTable(where.recordings[:1], where.recording, where.offset, where.time)
