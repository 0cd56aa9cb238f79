"""One recorder-day by several processes, and by one that is killed and started again: the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dawnchorus.embedding import parts as parts_of
from dawnchorus.embedding.day import embed_day
from dawnchorus.embedding.encoder import Network
from dawnchorus.embedding.parts import Parts, TakenAwayError
from dawnchorus.results import RecorderDay
from embedding.season import EXPERIMENT, Season, files, random_codes

DAY = RecorderDay("REC01", "2021-06-01")
WINDOWS = 3 * 1024 + 100

KILLED = """
import os, signal, sys
from dawnchorus.config import validate
from dawnchorus.embedding.day import embed_day
from dawnchorus.embedding.parts import Parts
from dawnchorus.results import RecorderDay, Results

write = Parts.write
written = []

def killed(self, claim, rows):
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, claim, rows)
    written.append(claim.part)

if __name__ == "__main__":
    Parts.write = killed
    settings = validate(__import__("json").loads(sys.argv[1]))
    day = RecorderDay("REC01", "2021-06-01")
    embed_day(settings, Results(settings.results), "toy", day, device="cpu")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Season, dict[str, bytes]]:
    """A season, and its embeddings by one process at one go."""
    season = Season(tmp_path_factory.mktemp("parts") / "results")
    season.changes["embedding"] = {"store": "float16"}
    season.add_spectrograms(DAY, random_codes(WINDOWS))
    season.add_model()
    embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu", workers=2)
    return season, files(season.paths.root / "embeddings")


def again(season: Season) -> None:
    """Nothing is embedded."""
    for path in sorted(season.paths.embeddings(DAY).parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_killed_and_resumed_by_two_processes(made, capfd: pytest.CaptureFixture[str]) -> None:
    season, whole = made
    again(season)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, season.settings.model_dump_json(), "-", "2"], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert not season.paths.embeddings(DAY).exists()
    assert not season.paths.embeddings_receipt(DAY).exists()
    (folder,) = season.paths.embeddings(DAY).parent.glob(".*.parts")
    done = {path: path.stat().st_mtime_ns for path in folder.glob("00000?")}
    assert [path.name for path in sorted(done)] == ["000000", "000001"]
    # What the disk has lost of a part is seen, and only that is done again.
    spoilt = folder / "000001"
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"\0")
    embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu", processes=2)
    assert "going on, 1 of 4 parts are done" in capfd.readouterr().err
    assert files(season.paths.root / "embeddings") == whole


def test_shared_by_independent_commands(made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at once, as on three nodes: the same receipt for each, and no window computed twice."""
    season, whole = made
    again(season)
    encode, seen = Network.encode, []
    lock = threading.Lock()

    def counted(self: Network, codes: np.ndarray) -> np.ndarray:
        with lock:
            seen.append(len(codes))
        return encode(self, codes)

    monkeypatch.setattr(Network, "encode", counted)
    monkeypatch.setattr(parts_of, "SECONDS_BETWEEN_LOOKS", 0.01)
    receipts: list[dict] = []

    def command() -> None:
        receipts.append(embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu"))

    threads = [threading.Thread(target=command) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 3 and receipts[0] == receipts[1] == receipts[2]
    assert sum(seen) == WINDOWS
    assert files(season.paths.root / "embeddings") == whole


def test_parts_of_other_inputs_are_not_taken(made) -> None:
    season, whole = made
    again(season)
    path = season.paths.embeddings(DAY)

    def parts(**made_from: object) -> Parts:
        return Parts(path, made_from, windows=10, part_windows=4, dimension=2, kept="float16")

    one, other = parts(model="a"), parts(model="b")
    assert (one.begin(), other.begin(), len(one)) == (0, 0, 3)
    rows = np.arange(20, dtype=np.float16).reshape(10, 2)
    for claim in one.claims():
        one.write(claim, rows[claim.start : claim.stop])
    assert [claim.part for claim, _ in zip(other.claims(), range(2), strict=False)] == [0, 1]
    np.testing.assert_array_equal(np.concatenate(list(one.blocks())), rows)
    # A store of the same name takes them all along.
    embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu")
    assert files(season.paths.root / "embeddings") == whole
    with pytest.raises(TakenAwayError):
        next(parts(model="b").claims())


def test_a_part_that_another_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_of, "SECONDS_BETWEEN_LOOKS", 0.01)
    options = {"windows": 3, "part_windows": 2, "dimension": 1, "kept": "float32"}
    here, there = (Parts(tmp_path / "x.zarr", {}, **options) for _ in range(2))
    here.begin()
    first = next(there.claims())
    claims = here.claims()
    second = next(claims)
    assert (first.part, second.part) == (0, 1)
    here.write(second, np.ones((1, 1), np.float32))
    # The other lets go without having done it, as one that is killed does.
    threading.Timer(0.1, first.lock.release).start()
    third = next(claims)
    assert third.part == 0
    here.write(third, np.zeros((2, 1), np.float32))
    assert list(claims) == []
    assert np.concatenate(list(there.blocks())).ravel().tolist() == [0, 0, 1]
