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
    "processes": "pace",
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
        from tensorboardX import FileWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = FileWriter(str(folder), flush_secs=SECONDS_BETWEEN_WRITES)
        begins = Event(step=0, session_log=SessionLog(status=SessionLog.START))
        self._writer.add_event(begins, step=0)
        for entry in entries:
            self.write(entry)

    def write(self, entry: Entry) -> None:
        """Add the numbers of one entry at its step, in one event; and its lines of text."""
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.summary import text

        numbers = {
            key: float(value)
            for key, value in entry.items()
            if key != "step" and isinstance(value, int | float)
        }
        values = [Summary.Value(tag=tag(key), simple_value=one) for key, one in numbers.items()]
        for key in ("alarm", "warning"):
            if key in entry:
                values.extend(text(f"training/{key}", str(entry[key])).value)
        self._writer.add_summary(Summary(value=values), entry["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
