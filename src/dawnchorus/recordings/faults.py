"""What can be wrong with a file on a card, and what is done about it: one table.

In: a code found by a module of this room. Out: its meaning and treatment, as written to ``faults.tsv``.

Codes of the public catalogue of known problems of field recorders (github.com/ecoacoustics/
known-problems) are kept: ``FL`` Frontier Labs, ``WA`` Wildlife Acoustics, ``OA`` Open Acoustics (its OAD004 is
``OA004`` here), ``OE`` any maker. ``DC`` are our own, where the catalogue has none. Of the catalogue, FL006
(schedule names) and FL007 (a card's serial number) concern log files, not recordings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from dawnchorus.results import write_text

Status = Literal["ok", "partial", "set aside", "left alone"]
"""What becomes of the file: all of it is used, its good samples are, it would be a recording but
nothing of it can be used, or it is no recording and nobody minds."""


@dataclass(frozen=True)
class Fault:
    """One entry of the table."""

    code: str
    meaning: str
    """What is wrong, in a few words; the reason in ``faults.tsv`` adds the particulars."""
    status: Status
    action: str
    """What is done with the file, as written to ``faults.tsv``."""


_USED = "used; nothing is lost"
_KEPT = "the good samples are used"
ASIDE = "set aside"
"""What is done with a file of which nothing can be used."""
_ALONE = "left alone"

_TABLE = (
    # --- Nothing, or nothing that is sound, in the file.
    Fault("OE004", "empty file (0 bytes)", "set aside", ASIDE),
    Fault("WA001", "empty file (0 bytes) of a Song Meter", "set aside", ASIDE),
    Fault("OE005", "nothing but zero bytes", "set aside", ASIDE),
    Fault("WA002", "nothing but zero bytes, of a Song Meter", "set aside", ASIDE),
    Fault("FL001", "a header without samples (stub)", "set aside", ASIDE),
    Fault("WA004", "random bytes without a header", "set aside", ASIDE),
    Fault("DC002", "a Git-LFS pointer text, not the recording", "set aside", ASIDE),
    Fault("DC004", "proprietary compression", "set aside", ASIDE),
    Fault("DC005", "not a sound file that can be decoded", "set aside", ASIDE),
    Fault("DC006", "cannot be opened", "set aside", ASIDE),
    Fault("DC014", "silent: every sample is the same", "set aside", ASIDE),
    Fault("DC015", "lacks the channel that audio.channel asks for", "set aside", ASIDE),
    Fault("DC016", "a copy of another recording of the day", "set aside", "the other one is used"),
    # --- Some of it is good.
    Fault("FL003", "space was reserved, but only a part was written", "partial", _KEPT),
    Fault("DC001", "truncated: the header promises more than the file holds", "partial", _KEPT),
    Fault("DC007", "breaks off while being decoded", "partial", _KEPT),
    # --- The header lies but every sample is there.
    Fault("FL005", "the header's sizes are 44 bytes too large", "ok", _USED),
    Fault("FL010", "the header says twice as many frames as there are", "ok", _USED),
    Fault("FL012", "the header says there are no samples, but there are", "ok", _USED),
    Fault("DC018", "the header says there are fewer samples than there are", "ok", _USED),
    # --- The clock.
    Fault("OE001", "no date in the name", "set aside", ASIDE),
    Fault("OE002", "ambiguous date in the name", "set aside", ASIDE),
    Fault("OE003", "no such date", "set aside", ASIDE),
    Fault("FL008", "a space for a zero in the date", "ok", _USED),
    Fault("FL004", "square brackets in the name", "ok", _USED),
    Fault("OA003", "names are hexadecimal", "ok", "used; read as seconds since 1970"),
    Fault(
        "OA004", "the header's clock differs from the name's", "ok", "used; the name is believed"
    ),
    Fault(
        "DC012", "the header's clock differs from the name's", "ok", "used; the name is believed"
    ),
    Fault(
        "DC013", "the clock's offset is not that of the zone", "ok", "used; the clock is believed"
    ),
    # --- Not below a recorder, or not a recording.
    Fault("DC003", "not a recording", "left alone", _ALONE),
    Fault("FL011", "partial file of a Frontier Labs recorder", "left alone", _ALONE),
    Fault("DC008", "lies beside the recorders' folders, not in one", "set aside", ASIDE),
    Fault("DC009", "still being copied", "set aside", "waits for a later scan"),
    Fault("DC010", "a name that is not printable UTF-8", "set aside", ASIDE),
    # --- The deployments, and the recordings before and after.
    Fault("DC011", "no deployment covers it", "ok", "used, without a place"),
    Fault("WA003", "runs on when the next one has begun", "ok", "used, both of them"),
    Fault("DC017", "same content as a recording of another time", "ok", "used, both of them"),
    Fault("DC019", "less than usual was recorded", "ok", "nothing can be done"),
    Fault("OA002", "short or empty: the battery was low", "ok", "what there is is used"),
    # --- How it sounds.
    Fault(
        "OA001", "clicks as regular as a clock (memory card)", "ok", "used; may cluster together"
    ),
    Fault("FL002", "hardly any signal in a part of it", "ok", _USED),
    Fault("DC020", "clipped", "ok", _USED),
    Fault("DC021", "constant offset", "ok", "used; spectrograms begin above it"),
)

FAULTS: dict[str, Fault] = {fault.code: fault for fault in _TABLE}
"""The table by code."""


@dataclass(frozen=True, order=True)
class FaultLine:
    """A line of ``faults.tsv``."""

    path: str
    """Relative to ``audio.root``; a recorder's folder where a fault concerns all of it."""
    recorder: str
    date: str
    """Local date, empty if unknown or if the line concerns no single day."""
    code: str
    action: str
    reason: str

    @classmethod
    def of(
        cls,
        path: str,
        recorder: str,
        date: str | None,
        code: str,
        reason: str,
        action: str | None = None,
    ) -> FaultLine:
        """Make a line; what is done comes from the table, unless another fault of the file decides."""
        done = FAULTS[code].action if action is None else action
        return cls(path, recorder, date or "", code, done, " ".join(reason.split()))


def write_faults(table: Path, lines: Iterable[FaultLine]) -> None:
    """Publish ``faults.tsv``: a header, then one line per fault, sorted by path, date and code."""
    names = [field.name for field in fields(FaultLine)]
    rows = ["\t".join(names), *("\t".join(astuple(line)) for line in sorted(lines))]
    write_text(table, "\n".join(rows) + "\n")


def as_markdown() -> str:
    """Return the table as it stands in ``docs/recordings.md``."""
    heads = {"ok": "all of it", "partial": "a part", "set aside": "nothing", "left alone": "–"}
    lines = ["| code | what | used | what is done |", "|---|---|---|---|"]
    for fault in sorted(_TABLE, key=lambda fault: fault.code):
        lines.append(f"| {fault.code} | {fault.meaning} | {heads[fault.status]} | {fault.action} |")
    return "\n".join(lines)
