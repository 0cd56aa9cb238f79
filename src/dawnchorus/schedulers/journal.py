"""What was submitted from a working folder: a record per job, and the last one per set of outputs.

In: a folder (``logs/<scheduler>``). Out: in it, ``<id>.json`` (the job's :class:`Record`),
``registry/<key>.json`` (the last job that makes these outputs), ``<id>.exit`` (written by the job itself),
``<id>.reason`` (why it failed), and stamps that let a status remember what it saw before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from dawnchorus.errors import DawnChorusError


@dataclass(frozen=True)
class Record:
    """One submitted job.

    Attributes
    ----------
    job : str
        Its id.
    token : str
        Unique in this folder; tells it from an older job with the same id.
    name : str
        As in the scheduler's list.
    makes : tuple of str
        Its outputs.
    key : str
        Digest of ``makes``.
    params : str or None
        Fingerprint of its parameters, where its script had them.
    queue : str
    minutes : int
        Run time it asked for.
    owner : str
        Whose Snakemake waits for it; see :func:`this_workflow`.
    """

    job: str
    token: str
    name: str
    makes: tuple[str, ...]
    key: str
    params: str | None
    queue: str
    minutes: int
    owner: str


@dataclass(frozen=True)
class ExitFile:
    """What a job said of its own end.

    Attributes
    ----------
    code : int
        Exit status; 128 + n: signal n.
    asked : str
        Name of the signal that asked it to stop before; ``-`` for none.
    """

    code: int
    asked: str


def this_workflow() -> str:
    """Return what all executables have in common that one Snakemake calls: machine and process group."""
    return f"{os.uname().nodename}:{os.getpgid(0)}"


def publish(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@dataclass(frozen=True)
class Journal:
    """The folder, and what is where in it."""

    logs: Path

    @classmethod
    def of(cls, scheduler: str, folder: Path | None = None) -> Journal:
        """Return the journal of a working folder; the current one by default."""
        return cls((folder or Path.cwd()) / "logs" / scheduler)

    def lock(self, key: str) -> FileLock:
        """Only one submission at a time for the same outputs; ends with its process."""
        folder = self.logs / "registry"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{key}.lock")

    def new_token(self, name: str, key: str) -> str:
        """Return a token that nobody has, and take it: ``<name>.<key>.<number>``."""
        scripts = self.logs / "scripts"
        scripts.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            number += 1
            token = f"{name}.{key[:8]}.{number}"
            try:
                self.script(token).touch(exist_ok=False)
            except FileExistsError:
                continue
            return token

    def script(self, token: str) -> Path:
        """What the scheduler starts."""
        return self.logs / "scripts" / f"{token}.sh"

    def payload(self, token: str) -> Path:
        """Snakemake's jobscript, kept."""
        return self.logs / "scripts" / f"{token}.payload.sh"

    def write(self, record: Record) -> None:
        """Record a submitted job; from then on it may run."""
        # Another scheduler, or the same one set up anew, may have given this id to an older job.
        for old in (self.stamp(record.job, "gone"), self.stamp(record.job, "held")):
            old.unlink(missing_ok=True)
        self.reason(record.job).unlink(missing_ok=True)
        text = json.dumps(asdict(record), indent=1) + "\n"
        publish(self.logs / "registry" / f"{record.key}.json", text)
        publish(self.logs / f"{record.job}.json", text)

    def by_id(self, job: str) -> Record | None:
        """Return what was recorded of a job."""
        return _read(self.logs / f"{job}.json")

    def by_key(self, key: str) -> Record | None:
        """Return the last job that makes these outputs."""
        return _read(self.logs / "registry" / f"{key}.json")

    def unfinished_of(self, owner: str) -> list[str]:
        """Return the ids of jobs that somebody waits for and that have not said that they have ended."""
        records = (_read(path) for path in sorted(self.logs.glob("*.json")))
        return [
            record.job
            for record in records
            if record
            and record.owner == owner
            and not self.reason(record.job).exists()
            and self.exit_file(record.job, record.token) is None
        ]

    def overlapping(self, key: str, makes: tuple[str, ...]) -> Iterator[Record]:
        """Yield jobs of other sets of outputs that share some with ``makes``."""
        wanted = set(makes)
        for path in sorted((self.logs / "registry").glob("*.json")):
            record = _read(path) if path.stem != key else None
            if record and wanted & set(record.makes):
                yield record

    def exit_file(self, job: str, token: str | None) -> ExitFile | None:
        """Read what a job said of its end; None if it has not, or another job of that id has."""
        try:
            words = (self.logs / f"{job}.exit").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        if len(words) != 3 or not words[0].lstrip("-").isdigit() or token not in (None, words[1]):
            return None
        return ExitFile(int(words[0]), words[2])

    def stamp(self, job: str, what: str) -> Path:
        """Path of a stamp; its modification time says since when."""
        return self.logs / f".{job}.{what}"

    def reason(self, job: str) -> Path:
        """Where people find why a job failed, in one line."""
        return self.logs / f"{job}.reason"


def _read(path: Path) -> Record | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**content, "makes": tuple(content["makes"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise DawnChorusError(
            "is not a record of a job", path, "delete it if no job of it is running"
        ) from None
