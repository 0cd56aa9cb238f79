"""Embed one recorder-day.

In: the recorder-day's spectrogram store and an experiment's model (and BirdNET's store, where the
vectors are BirdNET's). Out: one vector per window of the store, in its order, every window exactly once
(:mod:`dawnchorus.vectors`), and a receipt: verdict, windows, dimension, fingerprints of the model, of
the spectrograms and of the vectors, and what the vectors are kept as.

A recorder-day whose receipt names the same inputs is not computed again. One that was interrupted goes
on from its finished parts (:mod:`.parts`), and several processes share one; the store has the same bytes
however it came about.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.embedding.parts import (
    Claim,
    Parts,
    TakenAwayError,
    one_at_a_time,
    remove_leftovers,
)
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting, say
from dawnchorus.results import (
    OK,
    PARTIAL,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.account import appearance_in
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import WindowTable, as_kept, check_finite, write_vectors

if TYPE_CHECKING:
    from dawnchorus.embedding.encoders import Opened

HASH_BYTES = 1 << 22


def model_fingerprint(path: Path) -> str:
    """Return 32 hexadecimal digits (XXH3-128) of a model file's bytes.

    Raises
    ------
    DawnChorusError
        If there is no such file.
    """
    hasher = xxhash.xxh3_128()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(HASH_BYTES):
                hasher.update(chunk)
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "run `dawnchorus train` first") from None
    return hasher.hexdigest()


def encoder_mark(settings: Settings, results: Results, experiment: str) -> str:
    """Say which encoder an experiment's vectors are by: embeddings of one mark are of one space.

    Returns
    -------
    str
        The model's fingerprint and, where they are chosen, layer and pooling.
    """
    tokens = settings.experiment(experiment).embedding
    layer = "" if tokens.layer is None else f" layer {tokens.layer}"
    pooling = "" if tokens.pooling is None else f" {tokens.pooling}"
    return f"{model_fingerprint(results.experiment(experiment).model)}{layer}{pooling}"


def embed_day(
    settings: Settings,
    results: Results,
    experiment: str,
    day: RecorderDay,
    *,
    device: str = "auto",
    workers: int = 1,
    processes: int = 1,
) -> dict[str, Any]:
    """Embed every window of a recorder-day.

    Parameters
    ----------
    settings : Settings
        Uses ``embedding``, and the experiment's.
    results : Results
    experiment : str
        Name in the config.
    day : RecorderDay
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    workers : int
        Batches that a process computes at a time. The result does not depend on it.
    processes : int
        Processes that share the recorder-day, each on a GPU of its own where there are any; 0 is one
        per GPU. Whoever calls this for the same recorder-day at the same time, also on another node,
        shares it too. The result does not depend on it.

    Returns
    -------
    dict
        The receipt. Its verdict is ``set aside`` (0 windows, no store) if the recorder-day has no
        spectrograms (or no BirdNET, for an experiment made of it), else that of the spectrograms;
        ``partial`` if windows have no vector and hold zeros.

    Raises
    ------
    DawnChorusError
        If the model or the spectrograms are missing, or do not belong together.
    """
    work = _Work(settings, results, experiment, day)
    aside = work.set_aside()
    if aside is not None:
        return aside
    standing = work.standing(device)
    if standing is not None:
        say(f"{work.path}: embedded already, by the same model from the same spectrograms")
        return standing

    # Only now the heavy part: a recorder-day that is done answers at once.
    if device == "cuda" and processes != 1:
        from dawnchorus.embedding.encoder import device_named

        device_named(device)  # says if there is none
        device = "auto"  # each takes a GPU of its own
    work.open(device)
    while True:
        with one_at_a_time(work.path):
            standing = work.standing(device)
            if standing is not None:
                return standing
            work.begin()
        members = _members(work, device, workers, processes)
        try:
            work.compute(workers)
        except TakenAwayError:
            continue
        finally:
            # All parts are there, or something went wrong: nobody needs them any more.
            for member in members:
                member.terminate()
                member.join()
        with one_at_a_time(work.path):
            standing = work.standing(device)
            return work.publish() if standing is None else standing


class _Work:
    """A recorder-day to embed: its inputs, its encoder, its parts."""

    opened: Opened
    store: SpectrogramStore
    parts: Parts

    def __init__(
        self, settings: Settings, results: Results, experiment: str, day: RecorderDay
    ) -> None:
        self.settings, self.results = settings, results
        self.experiment, self.day = experiment, day
        self.wanted = settings.experiment(experiment)
        self.paths = results.experiment(experiment)
        self.path, self.receipt_path = (
            self.paths.embeddings(day),
            self.paths.embeddings_receipt(day),
        )
        self.spectrograms = read_receipt(results.spectrograms_receipt(day))
        self.inputs = {
            "model": encoder_mark(settings, results, experiment),
            "spectrograms": self.spectrograms["fingerprint"],
        }
        self.heard: dict[str, Any] | None = None
        if self.wanted.method == "birdnet":
            self.heard = read_receipt(results.detections_receipt(day))
            self.inputs["birdnet"] = self.heard.get("embeddings") or self.heard["fingerprint"]

    def set_aside(self) -> dict[str, Any] | None:
        """Write and return the receipt of a recorder-day that has nothing to embed."""
        reason = None
        if self.spectrograms["verdict"] == SET_ASIDE or not self.spectrograms["windows"]:
            reason = self.spectrograms.get("reason") or "the recorder-day has no whole window"
        elif self.heard is not None and self.heard["verdict"] == SET_ASIDE:
            reason = f"BirdNET heard nothing of it: {self.heard.get('reason')}"
        if reason is None:
            return None
        withdraw(self.path)
        remove_leftovers(self.path)
        receipt = {
            "verdict": SET_ASIDE,
            "reason": reason,
            "windows": 0,
            **self.inputs,
            "fingerprint": fingerprint(self.inputs),
        }
        write_receipt(self.receipt_path, receipt)
        return receipt

    def standing(self, device: str) -> dict[str, Any] | None:
        """Return the receipt of an earlier run if its store is what this run would make."""
        if not (self.receipt_path.exists() and self.path.exists()):
            return None
        standing = read_receipt(self.receipt_path)
        wanted = {**self.inputs, "store": self.settings.embedding.store}
        if any(standing.get(key) != value for key, value in wanted.items()):
            return None
        precision = self.settings.embedding.precision
        if precision != "fp32":
            from dawnchorus.embedding.encoder import device_named, precision_on
            from dawnchorus.embedding.encoders import computes_on_device

            on_device = computes_on_device(self.paths.model)
            precision = precision_on(device_named(device), precision) if on_device else "fp32"
        return standing if standing.get("precision") == precision else None

    def open(self, device: str) -> None:
        """Open spectrograms and encoder; see that they belong together."""
        from dawnchorus.embedding.encoder import block_windows
        from dawnchorus.embedding.encoders import opened

        self.store = SpectrogramStore.open(self.results.spectrograms(self.day))
        self.opened = opened(
            self.settings, self.results, self.experiment, self.day, self.store, device=device
        )
        made_for = self.opened.spectrograms
        # (Models of earlier versions name all parameters of the store.)
        these = (appearance_in(self.spectrograms), self.spectrograms["parameters"])
        if made_for and made_for not in these:
            raise DawnChorusError(
                "the model was trained on spectrograms of other parameters than this recorder-day's",
                self.paths.model,
                f"train {self.experiment} again, or make the spectrograms as those it learned from",
            )
        encoder = self.opened.encoder
        self.parts = Parts(
            self.path,
            # Batches of another size, or another kind of processor, round in the last digit.
            {
                **self.inputs,
                "precision": self.opened.precision,
                "batch_size": encoder.batch_size,
                "processor": getattr(encoder, "processor", "cpu"),
                "version": __version__,
            },
            windows=len(self.store),
            part_windows=block_windows(encoder),
            dimension=encoder.dimension,
            kept=self.settings.embedding.store,
        )

    def begin(self) -> None:
        """Find what is done, or begin."""
        done = self.parts.begin()
        if done:
            say(f"{self.path}: going on, {done} of {len(self.parts)} parts are done")

    @property
    def windows(self) -> WindowTable:
        """The table of the windows."""
        store = self.store
        return WindowTable(store.recordings, store.recording, store.offset, store.time)

    def compute(
        self, workers: int, *, shown: bool = True, go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Compute parts until all are there, by whomever.

        Raises
        ------
        TakenAwayError
            If another process has made the store meanwhile.
        """
        from dawnchorus.embedding.encoder import encoded_blocks

        parts, encoder = self.parts, self.opened.encoder

        def blocks() -> Iterator[tuple[Claim, NDArray[Any]]]:
            for claim in parts.claims():
                if not go_on():
                    return
                yield claim, self.opened.read(claim.start, claim.stop)

        rows = np.empty((0, 0), dtype=np.float32)
        at = 0
        title = f"embed {self.experiment} {self.day}"
        before = parts.done_windows()
        with counting(title, len(self.store), "windows", done=before, shown=shown) as advance:
            told = before
            for claim, some in encoded_blocks(encoder, blocks(), workers):
                if not at:
                    rows = np.empty((claim.stop - claim.start, parts.dimension), dtype=np.float32)
                rows[at : at + len(some)] = some
                at += len(some)
                advance(len(some))
                told += len(some)
                if at == len(rows):
                    check_finite(rows, claim.start, self.windows, self.path)
                    parts.write(claim, as_kept(rows, self.settings.embedding.store, self.path))
                    at = 0
                    advance(max(0, parts.done_windows() - told))
                    told = max(told, parts.done_windows())

    def publish(self) -> dict[str, Any]:
        """Make the store of the parts, and write the receipt."""
        self.receipt_path.unlink(missing_ok=True)
        opened, kept = self.opened, self.settings.embedding.store
        content = write_vectors(
            self.path,
            self.parts.blocks(),
            dimension=self.parts.dimension,
            windows=self.windows,
            kept=kept,
            attributes={
                "title": f"Embeddings of {self.day} by {self.experiment}",
                "recorder": self.day.recorder,
                "date": self.day.date,
                "experiment": self.experiment,
                **opened.attributes,
                "precision": opened.precision,
                **self.inputs,
                "dawnchorus_version": __version__,
            },
        )
        verdict = self.spectrograms["verdict"]
        reason = self.spectrograms.get("reason") if verdict != OK else None
        if opened.without:
            verdict = PARTIAL
            without = f"{opened.without} windows have no BirdNET embedding, theirs is zeros"
            reason = f"{reason}; {without}" if reason else without
        receipt = {
            "verdict": verdict,
            "reason": reason,
            "windows": len(self.store),
            "dimension": self.parts.dimension,
            "precision": opened.precision,
            "store": kept,
            **({"without": opened.without} if opened.without else {}),
            **self.inputs,
            "fingerprint": content,
        }
        write_receipt(self.receipt_path, receipt)
        self.parts.remove()
        return receipt


def _members(
    work: _Work, device: str, workers: int, processes: int
) -> list[multiprocessing.process.BaseProcess]:
    """Start the other processes that share a recorder-day; this one is the first."""
    if not processes:
        from dawnchorus.learning.ranks import gpus

        processes = gpus(device)
    number = min(processes, len(work.parts)) - 1
    # Spawned, not forked: Zarr's threads do not survive a fork.
    spawning = multiprocessing.get_context("spawn")
    arguments = (work.settings, work.results, work.experiment, work.day, device, workers)
    members = [spawning.Process(target=_member, args=arguments) for _ in range(number)]
    for member in members:
        member.start()
    return list(members)


def _member(
    settings: Settings,
    results: Results,
    experiment: str,
    day: RecorderDay,
    device: str,
    workers: int,
) -> None:
    """Compute parts of a recorder-day until none is left; the process that started this makes the store."""
    parent = multiprocessing.parent_process()
    work = _Work(settings, results, experiment, day)
    try:
        work.open(device)
        work.compute(workers, shown=False, go_on=lambda: parent is None or parent.is_alive())
    except TakenAwayError:
        pass
    except DawnChorusError as error:
        # The first process computes what is left, and says so itself if it meets the same.
        print(f"dawnchorus: {error}", file=sys.stderr)
        sys.exit(1)
