"""Our side: the step itself, from the WAV on disk to the committed store."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from sides import DAY

TOLD = {"ours": "dawnchorus.spectrograms.day.make_day(settings, results, day, workers=1)"}


def prepare(root: Path, path: Path) -> Callable[[], None]:
    """Make the inventory; return what makes the day of the recorder that ``path`` belongs to."""
    from dawnchorus.config import Settings
    from dawnchorus.recordings.inventory import scan
    from dawnchorus.results import RecorderDay, Results
    from dawnchorus.spectrograms.day import make_day

    recorder = path.parent.name
    settings = Settings.model_validate(
        {"results": str(root / f"results-{recorder}"), "audio": {"root": str(root / "cards")}}
    )
    results, day = Results(settings.results), RecorderDay(recorder, DAY)
    scan(settings, results)

    def run() -> None:
        shutil.rmtree(results.spectrograms(day).parent, ignore_errors=True)
        assert make_day(settings, results, day, workers=1)["verdict"] == "ok"

    return run


def store(root: Path, recorder: str) -> Path:
    """Where the store lies."""
    return root / f"results-{recorder}" / "spectrograms" / recorder / f"{DAY}.zarr"


def command(root: Path, recorder: str) -> list[str]:
    """The same as a command."""
    return [
        *(sys.executable, "-m", "dawnchorus", "spectrograms"),
        *("--recorder", recorder, "--date", DAY),
        *("--set", f"results={root / f'results-{recorder}'}"),
        *("--set", f"audio.root={root / 'cards'}"),
    ]


PREPARE = {"ours": prepare}
