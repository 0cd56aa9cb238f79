"""Look where the heads look, in the most central windows of every cluster.

In: an experiment's model, the members of its clusters, the spectrogram stores. Out, below
``attention/``:

- ``heads.zarr``: attention of the class token to the patches and its mask, per window and head; a map
  per source (:mod:`.sources`) and the mask of the one that is configured; opens with
  ``xarray.open_zarr``;
- ``windows.parquet``: which windows, in the same order (recorder, date, recording, offset, time,
  cluster, rank within the cluster, distance);
- ``boxes.parquet``: the boxes around the masks' parts in hertz and in seconds from the recording's
  start, per head and merged (head -1);
- ``raven/``: the merged boxes as one Raven selection table per recording;
- the receipt ``attention.json``, with each head's agreement with the energy above the noise floor.

Attention is computed for the windows asked for and nowhere else: a season's maps are never stored.

A network without attention (a convolutional one) is no failure: the receipt says so, with the verdict
``set aside`` and no windows, and the rest is not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from dawnchorus.attention import output
from dawnchorus.attention.looking import Looker, agreement_sample, lacks_attention
from dawnchorus.attention.masks import boxes_of, mass_mask
from dawnchorus.attention.places import box_rows, days_of, grid_of, native_rates
from dawnchorus.attention.sources import HEADS, SOURCES
from dawnchorus.config import Settings
from dawnchorus.embedding.day import encoder_mark
from dawnchorus.embedding.encoder import one_thread_each
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import read_metadata
from dawnchorus.learning.training_set import find, load_codes
from dawnchorus.parquet import read_parquet
from dawnchorus.progress import counting, say
from dawnchorus.results import (
    SET_ASIDE,
    ExperimentResults,
    Results,
    fingerprint,
    publishing,
    read_receipt,
    withdraw,
    write_receipt,
)

MERGED = -1
"""Number of the head that stands for the merged map."""
OUTPUTS = ("heads.zarr", "windows.parquet", "boxes.parquet", "raven")
"""What lies beside the receipt."""


def central_windows(members: pl.DataFrame, per_cluster: int) -> pl.DataFrame:
    """Return the windows nearest to each centroid; noise (-1) has none.

    Parameters
    ----------
    members : DataFrame
        ``members.parquet``.
    per_cluster : int
        How many of each cluster; all, if it has fewer.

    Returns
    -------
    DataFrame
        The members' columns and ``rank`` (0: the most central), sorted by cluster and rank.
    """
    order = ["cluster", "distance", "recorder", "date", "recording", "offset"]
    ranked = (
        members.filter(pl.col("cluster") >= 0)
        .sort(order)
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("cluster").alias("rank"))
    )
    return ranked.filter(pl.col("rank") < per_cluster)


def attend(
    settings: Settings, results: Results, experiment: str, device: str = "auto"
) -> dict[str, Any]:
    """Compute attention, masks and boxes of each cluster's most central windows.

    Parameters
    ----------
    settings : Settings
        Uses ``attention`` and ``embedding.batch_size``.
    results : Results
    experiment : str
        Name in the config.
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        The receipt: windows looked at, windows whose recording is gone, boxes. Its verdict is
        ``set aside`` if the network has no attention.

    Raises
    ------
    DawnChorusError
        If model, clusters or spectrograms are missing, or the clusters stem from another model.
    """
    settings.experiment(experiment)
    wanted, paths = settings.attention, results.experiment(experiment)
    clusters = read_receipt(paths.clusters_receipt)
    model = encoder_mark(settings, results, experiment)
    if clusters.get("model") != model:
        raise DawnChorusError(
            "the clusters were fitted on another model's embeddings",
            paths.clusters_receipt,
            f"run embed and `dawnchorus cluster --experiment {experiment}` again",
        )
    inputs = {
        "parameters": wanted.model_dump(),
        "model": model,
        "clusters": clusters["fingerprint"],
    }
    if lacking := lacks_attention(read_metadata(paths.model)):
        return _without_attention(paths, lacking, inputs)
    members = read_parquet(paths.members)
    chosen = central_windows(members, wanted.windows_per_cluster)
    there = find(results, chosen) >= 0
    lost = int((~there).sum())
    if lost:
        say(f"{lost} of {len(there)} central windows have lost their recording and are left out")
    chosen = chosen.filter(pl.Series(there))
    if not chosen.height:
        raise DawnChorusError("none of the members is in a spectrogram store", paths.members)

    of_members = members.filter(pl.Series(find(results, members) >= 0))
    return _attended(settings, results, experiment, chosen, of_members, inputs, device, lost)


def attend_windows(
    settings: Settings,
    results: Results,
    experiment: str,
    windows: pl.DataFrame,
    device: str = "auto",
) -> dict[str, Any]:
    """Compute attention, masks and boxes of given windows, whatever cluster they are in.

    Windows that were looked at before by the same model are not looked at again.

    Parameters
    ----------
    settings : Settings
        Uses ``attention`` and ``embedding.batch_size``.
    results : Results
    experiment : str
        Name in the config.
    windows : DataFrame
        recorder, date, recording, offset, time, cluster, rank, and whatever ``windows.parquet`` shall hold
        besides; all in their stores.
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        The receipt, as :func:`attend`'s.

    Raises
    ------
    DawnChorusError
        If the model is missing.
    """
    paths = results.experiment(experiment)
    inputs = {
        "parameters": settings.attention.model_dump(),
        "model": encoder_mark(settings, results, experiment),
        "chosen": fingerprint([windows.columns, windows.rows(), _spectrograms(results, windows)]),
    }
    if paths.attention_receipt.exists():
        standing = read_receipt(paths.attention_receipt)
        if all(standing.get(key) == value for key, value in inputs.items()):
            return standing
    if lacking := lacks_attention(read_metadata(paths.model)):
        return _without_attention(paths, lacking, inputs)
    return _attended(settings, results, experiment, windows, windows, inputs, device)


def _spectrograms(results: Results, windows: pl.DataFrame) -> list[str]:
    return [
        str(read_receipt(results.spectrograms_receipt(day))["fingerprint"])
        for day in days_of(windows)
    ]


def _attended(
    settings: Settings,
    results: Results,
    experiment: str,
    windows: pl.DataFrame,
    compared: pl.DataFrame,
    inputs: dict[str, Any],
    device: str,
    lost: int = 0,
) -> dict[str, Any]:
    """Look at windows, the heads weighted by their agreement with the energy on some of ``compared``."""
    paths = results.experiment(experiment)
    looker = Looker.load(
        paths.model,
        settings.attention,
        batch_size=settings.embedding.batch_size,
        device=device,
        pooling=settings.experiment(experiment).embedding.pooling,
    )
    agreement = looker.agree_on(load_codes(results, agreement_sample(compared)))
    paths.attention_receipt.unlink(missing_ok=True)
    boxes, content = look_at(results, looker, windows, paths.attention)
    receipt = {
        "verdict": "ok",
        "windows": windows.height,
        "lost": lost,
        "heads": looker.metadata.heads,
        "boxes": boxes.height,
        "agreement": [round(float(value), 4) for value in agreement],
        **inputs,
        "fingerprint": fingerprint([inputs, content, windows.rows()]),
    }
    write_receipt(paths.attention_receipt, receipt)
    return receipt


def look_at(
    results: Results, looker: Looker, windows: pl.DataFrame, folder: Path
) -> tuple[pl.DataFrame, str]:
    """Look at windows and write what is seen, a block of windows after the other.

    Parameters
    ----------
    results : Results
        With the windows' spectrograms.
    looker : Looker
    windows : DataFrame
        recorder, date, recording, offset, time, cluster, rank; all in their stores.
    folder : Path
        Gets ``heads.zarr``, ``windows.parquet``, ``boxes.parquet`` and ``raven``.

    Returns
    -------
    boxes : DataFrame
        What ``boxes.parquet`` holds.
    content : str
        Fingerprint of the maps.
    """
    wanted = looker.wanted
    grid = grid_of(results, windows, looker.cell, wanted.finer)
    rates = native_rates(results, windows)
    rows: list[dict[str, Any]] = []
    content = xxhash.xxh3_128()
    with (
        publishing(folder / "heads.zarr") as partial,
        one_thread_each(),
        counting("attention", windows.height, "windows") as advance,
    ):
        writer = output.HeadsWriter(
            partial, windows.height, looker.metadata.heads, grid, wanted, SOURCES
        )
        for first in range(0, windows.height, output.BLOCK_WINDOWS):
            block = windows.slice(first, output.BLOCK_WINDOWS)
            seen = looker.look(load_codes(results, block))
            merged_map = seen.maps[wanted.source]
            merged_mask = np.empty(merged_map.shape, dtype=bool)
            for place, window in enumerate(block.iter_rows(named=True)):
                rate = rates[window["recording"]]
                merged_mask[place], found = boxes_of(merged_map[place], grid, wanted)
                rows += box_rows(window, rate, MERGED, wanted.source, found)
                for head, map_ in enumerate(seen.heads[place]):
                    _, found = boxes_of(map_, grid, wanted)
                    rows += box_rows(window, rate, head, HEADS, found)
            writer.append(
                attention=seen.heads,
                mask=mass_mask(seen.heads, wanted.mass),
                merged_mask=merged_mask,
                cluster=block["cluster"].to_numpy(),
                rank=block["rank"].to_numpy(),
                **{f"map_{name}": map_ for name, map_ in seen.maps.items()},
            )
            for values in (seen.heads, merged_map):
                content.update(np.ascontiguousarray(values, "<f4"))
            advance(block.height)
        writer.finish()
    boxes = pl.DataFrame(rows, schema=output.BOXES)
    output.write_table(folder / "windows.parquet", windows)
    output.write_table(folder / "boxes.parquet", boxes)
    output.write_raven(folder / "raven", boxes)
    return boxes, content.hexdigest()


def _without_attention(
    paths: ExperimentResults, reason: str, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Say that there is nothing to see, and leave nothing behind from a network before."""
    say(f"{paths.attention}: {reason}")
    paths.attention_receipt.unlink(missing_ok=True)
    for name in OUTPUTS:
        withdraw(paths.attention / name)
    nothing = {"verdict": SET_ASIDE, "reason": reason, "windows": 0, "heads": 0, "boxes": 0}
    receipt = {**nothing, **inputs, "fingerprint": fingerprint([reason, inputs])}
    write_receipt(paths.attention_receipt, receipt)
    return receipt
