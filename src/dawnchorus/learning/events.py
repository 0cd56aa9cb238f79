"""TensorBoard's event files, made from the entries of ``log.jsonl``.

In: the entries. Out: ``{experiment}/tensorboard/events.out.tfevents.*``, one scalar per number. The
log is the truth: when a training starts or goes on, the event files are written anew from what the
log holds, so each step stands once whatever was killed when. (A TensorBoard that is looking on takes
the new file's beginning as a restart at step 0 and forgets the old one.)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dawnchorus.learning.history import Entry

SECONDS_BETWEEN_WRITES = 10
GROUPS = {
    "knn": "probe",
    "rankme": "probe",
    "teacher": "teacher",
    "center": "teacher",
    "prototypes": "teacher",
    "embedding": "space",
    "output": "space",
    "learning": "schedules",
    "weight": "schedules",
    "windows": "pace",
    "views": "pace",
    "data": "pace",
    "monitor": "pace",
    "gpu": "pace",
    "memory": "pace",
}
"""Where a figure is shown, by the first word of its name; the others are under ``training``."""


def tag(key: str) -> str:
    """Name of a figure in TensorBoard: ``group/key``."""
    return f"{GROUPS.get(key.split('_', maxsplit=1)[0], 'training')}/{key}"


class Events:
    """Event files of one training.

    Parameters
    ----------
    folder : Path
        Event files in it are replaced.
    entries : iterable of dict
        What the log holds so far.
    """

    def __init__(self, folder: Path, entries: Iterable[Entry]) -> None:
        from tensorboardX import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(
            str(folder), purge_step=0, flush_secs=SECONDS_BETWEEN_WRITES, write_to_disk=True
        )
        for entry in entries:
            self.write(entry)

    def write(self, entry: Entry) -> None:
        """Add the numbers of one entry at its step; lines of text too."""
        for key, value in entry.items():
            if key in ("alarm", "warning"):
                self._writer.add_text(f"training/{key}", str(value), entry["step"])
            elif key != "step" and isinstance(value, int | float):
                self._writer.add_scalar(tag(key), float(value), entry["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
