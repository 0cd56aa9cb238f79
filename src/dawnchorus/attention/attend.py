"""Look where the heads look, in the most central windows of every cluster.

In: an experiment's model, the members of its clusters, the spectrogram stores. Out, below
``attention/``:

- ``heads.zarr``: attention of the class token to the patches and the masks, per window and head,
  and the mask of the mean over heads; opens with ``xarray.open_zarr``;
- ``windows.parquet``: which windows, in the same order (recorder, date, recording, offset, time,
  cluster, rank within the cluster, distance);
- ``boxes.parquet``: the boxes around the masks' parts in hertz and in seconds from the recording's
  start, per head and merged (head -1);
- ``raven/``: the merged boxes as one Raven selection table per recording;
- the receipt ``attention.json``.

Attention is computed for the windows asked for and nowhere else: a season's maps are never stored.

A network without attention (a convolutional one) is no failure: the receipt says so, with the verdict
``set aside`` and no windows, and the rest is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
import xxhash
from numpy.typing import NDArray

from dawnchorus.attention import output
from dawnchorus.attention.heads import class_attention
from dawnchorus.attention.masks import PatchGrid, large_enough, mass_mask, patch_boxes
from dawnchorus.config import Attention, Patch, Settings
from dawnchorus.embedding.day import model_fingerprint
from dawnchorus.embedding.encoder import device_named, one_thread_each
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import ModelMetadata, load_model, model_input, read_metadata
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.training_set import find, load_codes
from dawnchorus.progress import counting, say
from dawnchorus.results import (
    SET_ASIDE,
    ExperimentResults,
    RecorderDay,
    Results,
    fingerprint,
    read_receipt,
    withdraw,
    write_receipt,
)
from dawnchorus.spectrograms.store import SpectrogramStore

READ_WINDOWS = 1024
"""Windows read at a time: 32 MB of codes."""
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
    model = model_fingerprint(paths.model)
    if clusters.get("model") != model:
        raise DawnChorusError(
            "the clusters were fitted on another model's embeddings",
            paths.clusters_receipt,
            f"run embed and `dawnchorus cluster --experiment {experiment}` again",
        )
    metadata = read_metadata(paths.model)
    inputs = {
        "parameters": wanted.model_dump(),
        "model": model,
        "clusters": clusters["fingerprint"],
    }
    if not metadata.heads:
        return _without_attention(paths, metadata, inputs)
    chosen = central_windows(pl.read_parquet(paths.members), wanted.windows_per_cluster)
    there = find(results, chosen) >= 0
    lost = int((~there).sum())
    if lost:
        say(f"{lost} of {len(there)} central windows have lost their recording and are left out")
    chosen = chosen.filter(pl.Series(there))
    if not chosen.height:
        raise DawnChorusError("none of the members is in a spectrogram store", paths.members)

    module, _ = load_model(paths.model)
    heads = _heads(module, metadata, results, chosen, settings.embedding.batch_size, device)
    masks = Masks.of(heads, wanted.mass)
    grid, boxes = _boxes(results, chosen, masks, metadata.patch, wanted)

    paths.attention_receipt.unlink(missing_ok=True)
    output.write_heads(
        paths.attention / "heads.zarr",
        heads,
        masks.per_head,
        masks.merged,
        grid,
        cluster=chosen["cluster"].to_numpy(),
        rank=chosen["rank"].to_numpy(),
        mass=wanted.mass,
    )
    output.write_table(paths.attention / "windows.parquet", chosen)
    output.write_table(paths.attention / "boxes.parquet", boxes)
    output.write_raven(paths.attention / "raven", boxes)
    content = xxhash.xxh3_128(np.ascontiguousarray(heads, "<f4"))
    receipt = {
        "verdict": "ok",
        "windows": chosen.height,
        "lost": lost,
        "heads": heads.shape[1],
        "boxes": boxes.height,
        **inputs,
        "fingerprint": fingerprint([inputs, content.hexdigest(), chosen.rows()]),
    }
    write_receipt(paths.attention_receipt, receipt)
    return receipt


def _without_attention(
    paths: ExperimentResults, metadata: ModelMetadata, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Say that there is nothing to see, and leave nothing behind from a network before."""
    reason = f"{metadata.backbone} has no attention of a class token: nothing to show"
    say(f"{paths.attention}: {reason}")
    paths.attention_receipt.unlink(missing_ok=True)
    for name in OUTPUTS:
        withdraw(paths.attention / name)
    nothing = {"verdict": SET_ASIDE, "reason": reason, "windows": 0, "heads": 0, "boxes": 0}
    receipt = {**nothing, **inputs, "fingerprint": fingerprint([reason, inputs])}
    write_receipt(paths.attention_receipt, receipt)
    return receipt


def _heads(
    module: Backbone,
    metadata: ModelMetadata,
    results: Results,
    chosen: pl.DataFrame,
    batch: int,
    device_name: str,
) -> NDArray[np.float32]:
    """Return the attention of each head to each patch, float32 (n, heads, rows, columns)."""
    device = device_named(device_name)
    module = module.to(device)
    grid = (metadata.outline.rows, metadata.outline.columns)
    heads = np.empty((chosen.height, metadata.heads, *grid), dtype=np.float32)
    with one_thread_each(), counting("attention", chosen.height, "windows") as advance:
        for first in range(0, chosen.height, READ_WINDOWS):
            codes = load_codes(results, chosen.slice(first, READ_WINDOWS))
            for start in range(0, len(codes), batch):
                part = torch.from_numpy(codes[start : start + batch]).to(device)
                weights = class_attention(module, model_input(part, metadata))
                heads[first + start : first + start + len(part)] = weights.cpu().numpy()
                advance(len(part))
    return heads


@dataclass(frozen=True)
class Masks:
    """Attention and masks per head and merged.

    Attributes
    ----------
    heads : float32 array (n, heads, rows, columns)
    mean : float32 array (n, rows, columns)
        Mean over the heads.
    per_head : bool array (n, heads, rows, columns)
    merged : bool array (n, rows, columns)
        Mask of the mean.
    """

    heads: NDArray[np.float32]
    mean: NDArray[np.float32]
    per_head: NDArray[np.bool_]
    merged: NDArray[np.bool_]

    @classmethod
    def of(cls, heads: NDArray[np.float32], mass: float) -> Masks:
        """Mask attention (n, heads, rows, columns) so that ``mass`` of each map is kept."""
        mean = heads.mean(axis=1, dtype=np.float64).astype(np.float32)
        return cls(heads, mean, mass_mask(heads, mass), mass_mask(mean, mass))

    def of_head(self, window: int, head: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return mask and attention (rows, columns) of a head; head -1 is the merged one."""
        if head < 0:
            return self.merged[window], self.mean[window]
        return self.per_head[window, head], self.heads[window, head]


def _native_rates(results: Results, day: RecorderDay) -> dict[str, int]:
    """Sample rate of each recording of a day, in which offsets count."""
    path = results.spectrograms_receipt(day)
    return {one["recording"]: int(one["sample_rate"]) for one in read_receipt(path)["recordings"]}


def _grid(results: Results, day: RecorderDay, patch: Patch) -> PatchGrid:
    store = SpectrogramStore.open(results.spectrograms(day))
    hop = float(store.frame_time[1] - store.frame_time[0])
    return PatchGrid.of(store.band_low, store.band_high, store.frame_time, hop, patch)


def _boxes(
    results: Results, chosen: pl.DataFrame, masks: Masks, patch: Patch, wanted: Attention
) -> tuple[PatchGrid, pl.DataFrame]:
    """Return the patches of a window and the boxes of all windows, seconds in the recording."""
    days = {(row["recorder"], row["date"]) for row in chosen.select("recorder", "date").to_dicts()}
    rates: dict[str, int] = {}
    for day in sorted(days):
        rates.update(_native_rates(results, RecorderDay(*day)))
    # One training, one set of parameters: the patches lie alike in all windows.
    grid = _grid(results, RecorderDay(*min(days)), patch)
    rows: list[dict[str, Any]] = []
    for window, where in enumerate(chosen.iter_rows(named=True)):
        begin = where["offset"] / rates[where["recording"]]
        for head in range(-1, masks.heads.shape[1]):
            mask, attention = masks.of_head(window, head)
            found = [grid.window_box(box) for box in patch_boxes(mask, attention)]
            for box in large_enough(
                found, min_seconds=wanted.min_seconds, min_hertz=wanted.min_hertz
            ):
                rows.append(
                    {
                        **{name: where[name] for name in output.WINDOW_NAMES},
                        "head": head,
                        "start_s": begin + box.start_s,
                        "end_s": begin + box.end_s,
                        "time": where["time"] + output.seconds(box.start_s),
                        "low_hz": box.low_hz,
                        "high_hz": box.high_hz,
                        "mass": box.mass,
                    }
                )
    return grid, pl.DataFrame(rows, schema=output.BOXES)
