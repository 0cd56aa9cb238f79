"""A full disk, cards that nobody may write to, and kill -9 while a store is replaced.

Disks and cards are mounted for the test, in a namespace of its own.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import soundfile

from dawnchorus.results import read_receipt

from .conftest import Card, hashes, noise
from .test_day import SLOW_CHILD

SCAN = "python -m dawnchorus scan -c config.yaml"
MAKE = "python -m dawnchorus spectrograms --recorder REC01 --date 2021-05-24 -c config.yaml"


@cache
def may_mount() -> bool:
    """Tell whether this process may mount in a namespace of its own."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def mounts() -> None:
    if not may_mount():
        pytest.skip("mounting in a namespace of one's own (unshare -m) is not permitted here")


def in_namespace(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts that nobody else sees and that end with it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def configure(card: Card) -> None:
    """The card's settings as a file with paths relative to the test's folder."""
    (card.root / "config.yaml").write_text(
        "results: results\n"
        "audio: {root: cards, timezone: America/Chicago}\n"
        "spectrogram: {shard_windows: 16, chunk_windows: 4}\n"
    )


def only_line(text: str) -> str:
    """The one line of an error, without progress."""
    (line,) = [line for line in text.splitlines() if line.startswith("dawnchorus:")]
    assert "Traceback" not in text
    return line


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("mounts")
def test_a_full_disk_costs_the_day_and_nothing_else(card, workers):
    """Two days: one is there already and stays; the other does not fit, and does when there is room."""
    card.add(5, noise(60, seed=5))
    first = card.path(5)
    first.rename(first.with_name("REC01_20210523_050000.wav"))
    for hour in range(5, 15):
        card.add(hour, noise(60, seed=hour))
    card.scan()
    clean = card.elsewhere("clean")
    receipt = clean.make()
    configure(card)
    make = f"{MAKE} --workers {workers}"
    earlier = make.replace("05-24", "05-23")
    store = "results/spectrograms/REC01/2021-05-24"
    done = in_namespace(
        card.root,
        f"""
        set -e
        rm -rf results && mkdir results
        mount -t tmpfs -o size=3m tmpfs results
        {SCAN}
        {earlier}
        find results -name 2021-05-23.zarr -type d | grep -q zarr
        sha256sum $(find results/spectrograms/REC01/2021-05-23* -type f | sort) > before
        set +e
        {make} 2> full.txt; echo status $?
        set -e
        ls -A results/spectrograms/REC01
        sha256sum --quiet -c before && echo older intact
        mount -o remount,size=100m results
        {make}
        mkdir made
        cp -r {store}.zarr {store}.json made
        """,
    )
    told = (card.root / "full.txt").read_text()
    assert "status 1" in done.stdout, done.stderr
    line = only_line(told)
    assert "No space left" in line
    assert "2021-05-24" in line
    listed = done.stdout.partition("status 1\n")[2].splitlines()
    assert "older intact" in listed
    assert not [name for name in listed if "2021-05-24" in name], listed
    assert hashes(card.root / "made" / "2021-05-24.zarr") == hashes(clean.store)
    assert read_receipt(card.root / "made" / "2021-05-24.json") == receipt


@pytest.mark.usefixtures("mounts")
def test_a_full_disk_under_the_scan(card):
    for hour in range(5, 9):
        card.add(hour, noise(1, seed=hour))
    configure(card)
    done = in_namespace(
        card.root,
        f"""
        mkdir results
        mount -t tmpfs -o size=64k tmpfs results
        head -c 52k /dev/zero > results/other
        {SCAN} 2> full.txt; echo status $?
        find results -type f
        rm results/other
        {SCAN} && find results -type f | sort
        """,
    )
    before, _, after = done.stdout.partition("results/other\n")
    assert before == "status 1\n", done.stderr
    line = only_line((card.root / "full.txt").read_text())
    assert "No space left" in line
    assert "results/inventory" in line
    assert after.splitlines() == [
        "results/inventory/calendar.html",
        "results/inventory/faults.tsv",
        "results/inventory/recordings.parquet",
    ]


@pytest.mark.usefixtures("mounts")
def test_cards_that_cannot_be_written_to(card):
    """A card in a reader with its lock on: all steps work, and not a byte or a date of it changes."""
    for hour in range(5, 8):
        card.add(hour, noise(20, seed=hour))
    card.add(8, noise(20, seed=8), suffix="flac")
    card.path(9).write_bytes(card.path(5).read_bytes()[:100_000])
    configure(card)
    folder = card.root / "cards"
    for path in folder.rglob("*"):
        os.utime(path, ns=(1_600_000_000_000_000_000, 1_600_000_000_123_456_789))
    card.scan()
    card.make()
    expected = hashes(card.store)

    def state() -> list[tuple[str, int, int, str]]:
        return sorted(
            (
                path.relative_to(folder).as_posix(),
                path.stat().st_mtime_ns,
                path.stat().st_size,
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            )
            for path in folder.rglob("*")
        )

    before = state()
    card.results.root.rename(card.root / "writable")
    done = in_namespace(
        card.root,
        f"""
        set -e
        mount --bind cards cards
        mount -o remount,ro,bind cards
        if touch cards/REC01/x 2> /dev/null; then echo writable; fi
        {SCAN} && {MAKE} --workers 2 && echo done
        """,
    )
    assert done.stdout.endswith("done\n"), done.stderr
    assert "writable" not in done.stdout
    assert hashes(card.store) == expected
    assert state() == before
    assert soundfile.info(card.path(5)).frames == 20 * 44_100


def test_kill_9_while_a_store_is_replaced_keeps_the_older_one(card):
    for hour in range(5, 11):
        card.add(hour, noise(30, seed=hour))
    card.scan()
    card.make()
    before = hashes(card.store)
    told = card.results.spectrograms_receipt(card.day).read_bytes()
    card.add(12, noise(30, seed=12))
    card.scan()
    clean = card.elsewhere("clean")
    receipt = clean.make()

    partial = card.store.with_name(f".{card.store.name}.partial")
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW_CHILD, card.settings.model_dump_json(), "1"],
        stderr=subprocess.DEVNULL,
    )
    while not list(partial.glob("spectrogram/c/*/*/*")) and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "it was done before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()

    assert partial.is_dir()
    assert hashes(card.store) == before
    assert card.results.spectrograms_receipt(card.day).read_bytes() == told
    assert card.make() == receipt
    assert hashes(card.store) == hashes(clean.store)
    assert not partial.exists()
