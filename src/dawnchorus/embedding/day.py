"""Embed one recorder-day.

In: the recorder-day's spectrogram store and an experiment's model. Out: one vector per window of
the store, in its order, every window exactly once (:mod:`dawnchorus.vectors`), and a receipt:
verdict, windows, dimension, fingerprints of the model, of the spectrograms and of the vectors.

A recorder-day whose receipt names the same model and the same spectrograms is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from dawnchorus import __version__
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.progress import counting, say
from dawnchorus.results import (
    OK,
    SET_ASIDE,
    RecorderDay,
    Results,
    fingerprint,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import WindowTable, write_vectors

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


def embed_day(
    settings: Settings,
    results: Results,
    experiment: str,
    day: RecorderDay,
    *,
    device: str = "auto",
    workers: int = 1,
) -> dict[str, Any]:
    """Embed every window of a recorder-day.

    Parameters
    ----------
    settings : Settings
        Uses ``embedding``.
    results : Results
    experiment : str
        Name in the config.
    day : RecorderDay
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    workers : int
        Batches computed at a time. The result does not depend on it.

    Returns
    -------
    dict
        The receipt. Its verdict is ``set aside`` (0 windows, no store) if the recorder-day has no
        spectrograms, else that of the spectrograms.

    Raises
    ------
    DawnChorusError
        If the model or the spectrograms are missing, or do not belong together.
    """
    paths = results.experiment(experiment)
    settings.experiment(experiment)
    spectrograms = read_receipt(results.spectrograms_receipt(day))
    store_path, receipt_path = paths.embeddings(day), paths.embeddings_receipt(day)
    inputs = {
        "model": model_fingerprint(paths.model),
        "spectrograms": spectrograms["fingerprint"],
    }
    if spectrograms["verdict"] == SET_ASIDE or not spectrograms["windows"]:
        withdraw(store_path)
        receipt = {
            "verdict": SET_ASIDE,
            "reason": spectrograms.get("reason") or "the recorder-day has no whole window",
            "windows": 0,
            **inputs,
            "fingerprint": fingerprint(inputs),
        }
        write_receipt(receipt_path, receipt)
        return receipt

    standing = _standing(settings, receipt_path, store_path, inputs, device)
    if standing is not None:
        say(f"{store_path}: embedded already, by the same model from the same spectrograms")
        return standing

    # Only now the heavy part: a recorder-day that is done answers at once.
    from dawnchorus.embedding.encoder import Network, attributes_of, encoded

    store = SpectrogramStore.open(results.spectrograms(day))
    network = Network.load(
        paths.model,
        batch_size=settings.embedding.batch_size,
        device=device,
        precision=settings.embedding.precision,
    )
    metadata = network.metadata
    if metadata.spectrograms and metadata.spectrograms != spectrograms["parameters"]:
        raise DawnChorusError(
            "the model was trained on spectrograms of other parameters than this recorder-day's",
            paths.model,
            f"train {experiment} again, or make the spectrograms as those it learned from",
        )
    receipt_path.unlink(missing_ok=True)
    windows = WindowTable(store.recordings, store.recording, store.offset, store.time)
    with counting(f"embed {experiment} {day}", len(store), "windows") as advance:
        content = write_vectors(
            store_path,
            _counted(encoded(network, store.codes, len(store), workers), advance),
            dimension=network.dimension,
            windows=windows,
            attributes={
                "title": f"Embeddings of {day} by {experiment}",
                "recorder": day.recorder,
                "date": day.date,
                "experiment": experiment,
                **attributes_of(network),
                **inputs,
                "dawnchorus_version": __version__,
            },
        )
    receipt = {
        "verdict": spectrograms["verdict"],
        "reason": spectrograms.get("reason") if spectrograms["verdict"] != OK else None,
        "windows": len(windows),
        "dimension": network.dimension,
        "precision": network.precision,
        **inputs,
        "fingerprint": content,
    }
    write_receipt(receipt_path, receipt)
    return receipt


def _counted(
    blocks: Iterator[NDArray[np.float32]], advance: Callable[[float], None]
) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        yield block
        advance(len(block))


def _standing(
    settings: Settings, receipt_path: Path, store_path: Path, inputs: dict[str, str], device: str
) -> dict[str, Any] | None:
    """Return the receipt of an earlier run if its store is what this run would make."""
    if not (receipt_path.exists() and store_path.exists()):
        return None
    standing = read_receipt(receipt_path)
    if any(standing.get(key) != value for key, value in inputs.items()):
        return None
    precision = settings.embedding.precision
    if precision != "fp32":
        from dawnchorus.embedding.encoder import device_named, precision_on

        precision = precision_on(device_named(device), precision)
    return standing if standing.get("precision") == precision else None
