"""The explorer over generated points, as a process of its own.

In: how many windows, and an empty folder for its labels. Out: the server, until its input is closed; one JSON
line on its output when it answers: ``address``.

Run ``python -m sides.explorer_server WINDOWS FOLDER`` in ``benchmarks``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dawnchorus.explorer.clips import Spectrograms
from dawnchorus.explorer.explore import Service, journal_path
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.served import Explorer
from dawnchorus.results import Results
from sides.output_space import generated


def explorer(windows: int, folder: Path) -> Explorer:
    """Return what the server shows: generated points, and labels in ``folder``."""
    results = Results(folder / "results")
    space = generated(windows).space
    return Explorer(
        results=results,
        cards=folder / "cards",
        space=space,
        book=LabelBook(Journal(journal_path(results)), space),
        spectrograms=Spectrograms(results),
        band_frequency=[100.0 * k for k in range(1, 129)],
        frame_time=[0.0116 * k for k in range(256)],
        annotator="benchmark",
    )


@contextmanager
def served(windows: int, folder: Path) -> Iterator[tuple[str, int]]:
    """Let the server run in a process of its own; gives its address, with the token, and its process id."""
    command = [sys.executable, "-m", "sides.explorer_server", str(windows), str(folder)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told: IO[str] = process.stdout  # type: ignore[assignment]
        line = told.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield json.loads(line)["address"], process.pid
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(30)


def main() -> None:
    windows, folder = int(sys.argv[1]), Path(sys.argv[2])
    service = Service.bind(explorer(windows, folder))

    def tell() -> None:
        service.ready.wait()
        print(json.dumps({"address": service.address}), flush=True)
        sys.stdin.read()
        service.server.should_exit = True

    threading.Thread(target=tell, daemon=True).start()
    service.run()


if __name__ == "__main__":
    main()
