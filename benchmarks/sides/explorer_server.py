"""The explorer over generated points or over a simulated season's, as a process of its own.

In: how many windows, an empty folder for its labels, and perhaps a season's configuration and an experiment. Out: the
server, until its input is closed; one JSON line on its output when it answers: ``address``.

Run ``python -m sides.explorer_server WINDOWS FOLDER [CONFIG EXPERIMENT]`` in ``benchmarks``; 0 windows: the season's
own.
"""

from __future__ import annotations

import json
import os
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
from dawnchorus.explorer.space import OutputSpace
from dawnchorus.results import Results
from sides.explorer_season import season, settings_of
from sides.output_space import generated


def explorer(space: OutputSpace, folder: Path) -> Explorer:
    """Return what the server shows: the points, and labels in ``folder``."""
    results = Results(folder / "results")
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
def served(windows: int, folder: Path, *season: str) -> Iterator[tuple[str, int]]:
    """Let the server run in a process of its own; gives its address, with the token, and its process id."""
    command = [sys.executable, "-m", "sides.explorer_server", str(windows), str(folder), *season]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
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
    if sys.argv[3:]:
        config, experiment = sys.argv[3:]
        space = season(settings_of(Path(config)), experiment, windows or None)
    else:
        space = generated(windows).space
    service = Service.bind(explorer(space, folder))

    def tell() -> None:
        service.ready.wait()
        print(json.dumps({"address": service.address}), flush=True)
        sys.stdin.read()
        service.server.should_exit = True

    threading.Thread(target=tell, daemon=True).start()
    service.run()


if __name__ == "__main__":
    main()
