"""Where each step's output lies, and how it is published whole.

In: the results folder. Out: its paths (:class:`Results`), receipts, and the one way of writing
anything: to a temporary sibling that is renamed when complete, so that what exists is complete.

A *receipt* is the small JSON beside a result that the workflow tracks: verdict, counts, fingerprint
of inputs and parameters. It holds no clock, host or worker count, so the same result has the same
receipt and nothing downstream runs again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import xxhash
from filelock import FileLock, Timeout

from dawnchorus.errors import DawnChorusError

EXPERIMENT_FIGURES = (
    "map_cluster.png",
    "map_species.png",
    "map_recorder.png",
    "map_hour.png",
    "statistics.png",
    "cards.html",
    "ecology_hours.png",
    "ecology_species.png",
    "ecology_recorders.png",
    "ecology_habitats.png",
    "ecology_dawn.png",
    "attention.png",
    "training.png",
)
ECOLOGY_TABLES = tuple(
    f"ecology_{name}.{kind}"
    for name in ("hours", "species", "recorders", "habitats", "dawn")
    for kind in ("parquet", "tsv")
)
"""Beside the figures of the same name: what they show."""
COMPARISON_FIGURES = (
    *("agreement.png", "probes.png", "nuisance.png", "few_shot.png", "coverage.png"),
    *("confusion.png", "calibration.png", "cost.png", "learning.png", "tables.html"),
)

OK, PARTIAL, SET_ASIDE = "ok", "partial", "set aside"
"""Verdicts of a recorder-day: all of it, some of it, nothing of it was usable."""


def fingerprint(content: Any) -> str:
    """Return 32 hexadecimal digits (XXH3-128) of anything that JSON can say."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return xxhash.xxh3_128_hexdigest(text.encode())


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; rename it to ``path`` if the block succeeds.

    Works for a file and for a folder (a Zarr store). A leftover of a killed process is removed
    first; an existing ``path`` is replaced. One process writes a result at a time.

    Raises
    ------
    DawnChorusError
        If there is no room on the disk, whatever library found out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = _sibling(path), path.with_name(f".{path.name}.old")
    _remove(partial)
    if old.exists():
        # A process was killed between the two renames below: the old one comes back or is done with.
        if path.exists():
            _remove(old)
        else:
            old.rename(path)
    try:
        yield partial
        if not partial.exists():
            raise FileNotFoundError(f"nothing was written to {partial}")
        if partial.is_dir() and path.exists():
            # A folder cannot be replaced in one step; the old one steps aside first.
            path.rename(old)
            partial.rename(path)
            _remove(old)
        else:
            partial.replace(path)
    except BaseException as error:
        _remove(partial)
        told = _no_room(error)
        if told is not None:
            raise DawnChorusError(
                f"cannot be written: {told}", path, "make room and run the step again"
            ) from error
        raise


NO_ROOM = {code: os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT)}


def _no_room(error: BaseException) -> str | None:
    """Say that the disk is full, if that is what went wrong.

    Zarr's and polars' writers in Rust wrap the system's error into their own and keep only its text.
    """
    if isinstance(error, DawnChorusError):
        return None
    if isinstance(error, OSError):
        return NO_ROOM.get(error.errno or 0)
    return next((told for told in NO_ROOM.values() if told in str(error)), None)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def withdraw(path: Path) -> None:
    """Remove a result that no longer holds (a day without recordings, say)."""
    _remove(path)


def write_text(path: Path, text: str) -> None:
    """Publish a text file."""
    with publishing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def set_aside_because(path: Path) -> str | None:
    """Return why a step found nothing to do, as its receipt says; None if it did, or did not run."""
    if not path.exists():
        return None
    receipt = read_receipt(path)
    return str(receipt.get("reason")) if receipt.get("verdict") == SET_ASIDE else None


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> None:
    """Publish a receipt: JSON with sorted keys, the same bytes for the same content."""
    write_text(path, json.dumps(receipt, indent=1, sort_keys=True, default=str) + "\n")


def read_receipt(path: Path) -> dict[str, Any]:
    """Read a receipt.

    Raises
    ------
    DawnChorusError
        If it is missing or is not a receipt.
    """
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run the step that makes it first") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise DawnChorusError(
            "is not a receipt", path, "delete it and run the step again"
        ) from None
    if not isinstance(receipt, dict):
        raise DawnChorusError("is not a receipt", path, "delete it and run the step again")
    return receipt


UNDATED = "undated"
"""In place of a date, where it does not matter: clips of a labelled set."""


@dataclass(frozen=True, order=True)
class RecorderDay:
    """All recordings of one recorder whose local start date is ``date`` (YYYY-MM-DD)."""

    recorder: str
    date: str

    def __str__(self) -> str:
        return f"{self.recorder}/{self.date}"


@dataclass(frozen=True)
class Results:
    """Paths below the results folder; the public contract of ``docs/results.md``."""

    root: Path

    @property
    def recordings(self) -> Path:
        """Table of all recordings on the cards."""
        return self.root / "inventory" / "recordings.parquet"

    @property
    def faults(self) -> Path:
        """What is wrong with which file."""
        return self.root / "inventory" / "faults.tsv"

    @property
    def calendar(self) -> Path:
        """Page with the coverage per recorder and day."""
        return self.root / "inventory" / "calendar.html"

    def spectrograms(self, day: RecorderDay) -> Path:
        """Spectrogram store of a recorder-day."""
        return self.root / "spectrograms" / day.recorder / f"{day.date}.zarr"

    def spectrograms_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a spectrogram store."""
        return self.spectrograms(day).with_suffix(".json")

    def indices(self, day: RecorderDay) -> Path:
        """Acoustic indices of a recorder-day, a row per minute."""
        return self.root / "indices" / day.recorder / f"{day.date}.parquet"

    def indices_picture(self, day: RecorderDay) -> Path:
        """False-colour spectrogram of a recorder-day."""
        return self.indices(day).with_suffix(".png")

    def indices_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's indices."""
        return self.indices(day).with_suffix(".json")

    def detections(self, day: RecorderDay) -> Path:
        """BirdNET's detections of a recorder-day."""
        return self.root / "birdnet" / day.recorder / f"{day.date}.parquet"

    def birdnet_embeddings(self, day: RecorderDay) -> Path:
        """BirdNET's own embeddings of a recorder-day."""
        return self.root / "birdnet" / day.recorder / f"{day.date}.zarr"

    def detections_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's detections."""
        return self.detections(day).with_suffix(".json")

    @property
    def training_windows(self) -> Path:
        """The frozen training set."""
        return self.root / "training" / "windows.parquet"

    @property
    def training_receipt(self) -> Path:
        """Receipt of the training set; names the recorder-days it was drawn from."""
        return self.root / "training" / "windows.json"

    def experiment(self, name: str) -> ExperimentResults:
        """Paths of one experiment."""
        return ExperimentResults(self.root / name)

    @property
    def evaluation(self) -> Path:
        """Folder of tables and figures across experiments."""
        return self.root / "evaluation"

    def comparison(self, figure: str) -> Path:
        """Figure across experiments."""
        return self.evaluation / "figures" / figure

    @property
    def comparison_page(self) -> Path:
        """Page that compares all spaces."""
        return self.evaluation / "comparison.html"

    @property
    def comparison_table(self) -> Path:
        """The table behind the page: a row per space; a TSV lies beside it."""
        return self.evaluation / "comparison.parquet"

    @property
    def report(self) -> Path:
        """Snakemake's report."""
        return self.root / "report.html"

    def days_with_receipts(self) -> list[RecorderDay]:
        """Recorder-days that have a spectrogram receipt, sorted."""
        return sorted(
            RecorderDay(path.parent.name, path.stem)
            for path in (self.root / "spectrograms").glob("*/*.json")
            if not path.name.startswith(".")
        )

    def hold(self) -> FileLock:
        """Take the results for one workflow at a time; the lock ends with its process, however.

        Raises
        ------
        DawnChorusError
            If another workflow holds them.
        """
        path = self.root / ".workflow.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DawnChorusError(
                "another snakemake is at work here", self.root, "wait for it, or stop it"
            ) from None
        return lock

    @property
    def season(self) -> Path:
        """The recorder-days of the workflow at work, for its jobs."""
        return self.root / ".workflow.season.json"

    def receipts_without_data(
        self,
        days: Iterable[RecorderDay],
        experiments: Iterable[str],
        passes: Sequence[str] = (),
    ) -> list[Path]:
        """Return receipts whose store or table somebody has deleted; their step must run again."""
        steps: list[tuple[PathOfDay, PathOfDay]] = [
            (self.spectrograms_receipt, self.spectrograms),
            (self.detections_receipt, self.detections),
            (self.indices_receipt, self.indices),
        ]
        for name in experiments:
            space = self.experiment(name)
            steps.append((space.embeddings_receipt, space.embeddings))
            for clustering in (space.clustering(), *map(space.clustering, passes)):
                steps.append((clustering.assignment_receipt, clustering.assignment))
        recorders: dict[str, list[RecorderDay]] = {}
        for day in days:
            recorders.setdefault(day.recorder, []).append(day)
        return [
            receipt
            for receipt_of, data_of in steps
            for of_recorder in recorders.values()
            for receipt in _without_data(of_recorder, receipt_of, data_of)
            if read_receipt(receipt).get("verdict") != SET_ASIDE
        ]


PathOfDay: TypeAlias = Callable[[RecorderDay], Path]


def _without_data(
    days: Sequence[RecorderDay], receipt_of: PathOfDay, data_of: PathOfDay
) -> list[Path]:
    """Return one recorder's receipts that have no data beside them.

    Both lie in one folder under the day's date, so a season is looked through in a listing per recorder and
    step, not in nine thousand questions to the file system.
    """
    data = data_of(days[0])
    try:
        with os.scandir(data.parent) as listing:
            names = {
                item.name for item in listing if not item.is_symlink() or Path(item.path).exists()
            }
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        receipt_of(day)
        for day in days
        if f"{day.date}.json" in names and f"{day.date}{data.suffix}" not in names
    ]


@dataclass(frozen=True)
class ExperimentResults:
    """Paths below ``results/{experiment}``."""

    root: Path

    @property
    def model(self) -> Path:
        """The trained backbone (the teacher's weights and how to use them)."""
        return self.root / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints; not tracked by the workflow, so that a rerun finds it."""
        return self.root / "checkpoints"

    @property
    def recipe(self) -> Path:
        """Every setting that the training has, and where each comes from."""
        return self.root / "recipe.json"

    @property
    def log(self) -> Path:
        """History of the training, one JSON object per line."""
        return self.root / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files, written from the same entries; not tracked."""
        return self.root / "tensorboard"

    def embeddings(self, day: RecorderDay) -> Path:
        """Embeddings of a recorder-day."""
        return self.root / "embeddings" / day.recorder / f"{day.date}.zarr"

    def embeddings_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's embeddings."""
        return self.embeddings(day).with_suffix(".json")

    def clustering(self, named: str | None = None) -> ClusterResults:
        """Paths of the clusters, or of a named pass."""
        return ClusterResults(self.root / ("clusters" if named is None else f"passes/{named}"))

    @property
    def centroids(self) -> Path:
        """Cluster centres, unit length."""
        return self.clustering().centroids

    @property
    def members(self) -> Path:
        """The windows that the clusters were fitted on, with their cluster and distance."""
        return self.clustering().members

    @property
    def clusters_receipt(self) -> Path:
        """Receipt of the fit; names the recorder-days it was drawn from."""
        return self.clustering().receipt

    @property
    def cards(self) -> Path:
        """What there is to say of each cluster."""
        return self.root / "clusters" / "cards.parquet"

    def assignment(self, day: RecorderDay) -> Path:
        """Cluster of every window of a recorder-day."""
        return self.clustering().assignment(day)

    def assignment_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's assignment."""
        return self.clustering().assignment_receipt(day)

    @property
    def sweep(self) -> Path:
        """How clusters depend on their number and the seed."""
        return self.root / "sweep" / "sweep.parquet"

    def moments(self, day: RecorderDay) -> Path:
        """Mean, scatter and lengths of a recorder-day's embeddings."""
        return self.root / "statistics" / day.recorder / f"{day.date}.safetensors"

    @property
    def statistics(self) -> Path:
        """One row per recorder-day: its lengths, its spread, how it fits into the clusters."""
        return self.root / "statistics" / "days.parquet"

    @property
    def drift(self) -> Path:
        """Recorder-days that fit badly."""
        return self.root / "statistics" / "drift.tsv"

    @property
    def statistics_receipt(self) -> Path:
        """Receipt of the statistics: the season's spectrum and lengths, and what drifts."""
        return self.root / "statistics" / "statistics.json"

    @property
    def projection(self) -> Path:
        """The fitted projection: sample, neighbours and their place in the map."""
        return self.root / "map" / "projection.safetensors"

    def points(self, day: RecorderDay) -> Path:
        """2-D coordinates of a recorder-day's windows."""
        return self.root / "map" / day.recorder / f"{day.date}.parquet"

    @property
    def map_receipt(self) -> Path:
        """Receipt of the map: which recorder-days are placed."""
        return self.root / "map" / "map.json"

    @property
    def outlier_reference(self) -> Path:
        """The windows that every window is compared with."""
        return self.root / "outliers" / "reference.safetensors"

    def outlier_scores(self, day: RecorderDay) -> Path:
        """How far a recorder-day's windows lie from everything else."""
        return self.root / "outliers" / day.recorder / f"{day.date}.parquet"

    def outlier_scores_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's scores; not tracked by the workflow."""
        return self.outlier_scores(day).with_suffix(".json")

    def outliers(self, table: str) -> Path:
        """Table of the season: ``windows`` or ``days``."""
        return self.root / "outliers" / f"{table}.parquet"

    @property
    def outliers_receipt(self) -> Path:
        """Receipt of the season's outliers."""
        return self.root / "outliers" / "outliers.json"

    def prepared(self, day: RecorderDay) -> Path:
        """A recorder-day's embeddings, made ready for searching."""
        return self.root / "search" / day.recorder / f"{day.date}.npy"

    def prepared_receipt(self, day: RecorderDay) -> Path:
        """What they were made from."""
        return self.prepared(day).with_suffix(".json")

    @property
    def attention(self) -> Path:
        """Folder of heads, masks and boxes."""
        return self.root / "attention"

    def figure(self, name: str) -> Path:
        """Figure of this experiment."""
        return self.root / "figures" / name

    @property
    def attention_receipt(self) -> Path:
        """Receipt of the attention step."""
        return self.attention / "attention.json"


@dataclass(frozen=True)
class ClusterResults:
    """Paths below ``results/{experiment}/clusters``, or ``passes/{name}``."""

    root: Path

    @property
    def centroids(self) -> Path:
        """Cluster centres, unit length."""
        return self.root / "centroids.safetensors"

    @property
    def members(self) -> Path:
        """The windows that the clusters were fitted on, with their cluster and distance."""
        return self.root / "members.parquet"

    @property
    def receipt(self) -> Path:
        """Receipt of the fit; names the recorder-days it was drawn from."""
        return self.root / "clusters.json"

    def assignment(self, day: RecorderDay) -> Path:
        """Cluster of every window of a recorder-day."""
        return self.root / day.recorder / f"{day.date}.parquet"

    def assignment_receipt(self, day: RecorderDay) -> Path:
        """Receipt of a recorder-day's assignment."""
        return self.assignment(day).with_suffix(".json")


def sync(path: Path) -> None:
    """Have the disk hold a file before anything is said about it."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
