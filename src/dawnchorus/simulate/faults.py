"""What goes wrong on real cards: files that are no recordings.

In: a folder of cards. Out: some more files in it, named in a list, to see what a scan makes of them.
The recordings themselves are left alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing
from dawnchorus.simulate import conventions
from dawnchorus.simulate.plan import FAULTS, SAMPLE_RATE, SeasonPlan

Fault = Literal["corrupt", "empty", "foreign"]

_CLOCK = re.compile(r"(?<=\d{8}[T_])\d{6}")
_HEADER_BYTES = 44


def _is_recording(path: Path) -> bool:
    if path.stat().st_size <= _HEADER_BYTES:
        return False
    with path.open("rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"


def _unused_neighbour(path: Path, taken: set[Path]) -> Path:
    """Return a name some seconds after ``path``'s in which no recording lies."""
    clock = _CLOCK.search(path.name)
    if clock is None:
        raise DawnChorusError("has no date and time in its name", path)
    minute = clock.group()[:4]
    for second in range(1, 60):
        neighbour = path.with_name(_CLOCK.sub(f"{minute}{second:02d}", path.name, count=1))
        if neighbour not in taken:
            return neighbour
    raise DawnChorusError("has a recording in every second of its minute", path)


def add_faults(cards: Path, seed: int = 0) -> list[tuple[Path, Fault]]:
    """Add corrupt, empty and foreign files to cards.

    Two corrupt ones (bytes of no meaning; a header that breaks off), an empty one, and two foreign
    ones (a text and the beginning of a picture). The first three are named as the card's recorder
    would name a recording. A second call with the same seed changes nothing.

    Parameters
    ----------
    cards : Path
        Folder with one card per recorder and at least one recording.
    seed : int
        Which cards get them, and the meaningless bytes.

    Returns
    -------
    list of (Path, str)
        Each added file and its kind: ``corrupt``, ``empty`` or ``foreign``.

    Raises
    ------
    DawnChorusError
        If there is no recording.
    """
    found = sorted(path for path in cards.rglob("*") if path.suffix.lower() == ".wav")
    recordings = [path for path in found if _is_recording(path)]
    if not recordings:
        raise DawnChorusError("holds no recording", cards, "simulate a season first")
    random = SeasonPlan(seed=seed).random(FAULTS)
    taken = set(recordings)

    def near_any() -> Path:
        near = recordings[int(random.integers(len(recordings)))]
        free = _unused_neighbour(near, taken)
        taken.add(free)
        return free

    broken_header = conventions.header(10 * SAMPLE_RATE)[:30]
    picture = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01" + random.bytes(2000)
    recorder = cards / recordings[int(random.integers(len(recordings)))].relative_to(cards).parts[0]
    added: list[tuple[Path, Fault, bytes]] = [
        (near_any(), "corrupt", random.bytes(5000)),
        (near_any(), "corrupt", broken_header),
        (near_any(), "empty", b""),
        (recorder / "field notes.txt", "foreign", b"Batteries changed. Ticks.\n"),
        (recorder / "IMG_0042.jpg", "foreign", picture),
    ]
    for path, _, content in added:
        if not path.exists() or path.read_bytes() != content:
            with publishing(path) as partial:
                partial.write_bytes(content)
    return [(path, kind) for path, kind, _ in added]
