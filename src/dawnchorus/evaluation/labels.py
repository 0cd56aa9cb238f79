"""What each window is labelled with.

In: the drawn windows, BirdNET's detections, a person's annotations. Out: per window the leading
label and all labels (:class:`Labels`), and whether anybody listened to it at all.

BirdNET's windows of 3 s and ours are joined by overlap in time: a BirdNET window speaks for ours if
they share at least half of the shorter of the two. If both are 3 s long that is the same window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from dawnchorus.birdnet.overlap import TOLERANCE, Listened
from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.windows import Windows
from dawnchorus.parquet import read_parquet
from dawnchorus.results import SET_ASIDE, Results, read_receipt

BIRDNET, ANNOTATIONS = "birdnet", "annotations"
"""Where labels come from."""
BOX_COLUMNS = ("recording", "start_s", "end_s", "species")


@dataclass(frozen=True)
class Labels:
    """Labels of windows from one source.

    Attributes
    ----------
    source : str
        ``birdnet`` or ``annotations``.
    confidence : float or None
        From which BirdNET's detections count.
    known : bool array (n,)
        BirdNET heard the window, or its recording is annotated.
    top : object array (n,)
        The leading label, or None.
    species : list of str
        Labels that occur, sorted.
    present : sparse matrix (n, species)
        1 where a window holds a label.
    """

    source: str
    confidence: float | None
    known: NDArray[np.bool_]
    top: NDArray[np.object_]
    species: list[str]
    present: sparse.csr_matrix

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Windows with a label."""
        return np.array([name is not None for name in self.top], dtype=bool)


def _labels(
    source: str,
    confidence: float | None,
    known: NDArray[np.bool_],
    ranked: pl.DataFrame,
) -> Labels:
    """Build labels from (window, species), the leading one of each window first."""
    top = np.full(len(known), None, dtype=object)
    pairs = ranked.select("window", "species").unique(maintain_order=True)
    first = pairs.unique("window", keep="first", maintain_order=True)
    top[first["window"].to_numpy()] = np.array(first["species"].to_list(), dtype=object)
    species = sorted(set(pairs["species"].to_list()))
    number = {name: column for column, name in enumerate(species)}
    columns = [number[name] for name in pairs["species"].to_list()]
    present = sparse.csr_matrix(
        (np.ones(len(columns)), (pairs["window"].to_numpy(), columns)),
        shape=(len(known), len(species)),
    )
    return Labels(source, confidence, known, top, species, present)


@dataclass(frozen=True)
class BirdNetLink:
    """Which BirdNET window speaks for which of ours.

    Attributes
    ----------
    pairs : DataFrame (window, recording, offset, shared_s)
        ``offset`` of the BirdNET window; ``shared_s`` the seconds in common.
    """

    pairs: pl.DataFrame


def link_birdnet(results: Results, windows: Windows) -> BirdNetLink:
    """Find the BirdNET windows that speak for the drawn windows, from BirdNET's receipts."""
    parts = []
    for day, positions in windows.by_day():
        path = results.detections_receipt(day)
        if not path.exists():
            continue
        receipt = read_receipt(path)
        if receipt["verdict"] == SET_ASIDE:
            continue
        pairs = Listened.of(receipt).pairs(
            windows.recording[positions], windows.start_s[positions], windows.end_s[positions]
        )
        ours = positions[pairs.window]
        parts.append(
            pl.DataFrame(
                {
                    "window": ours,
                    "recording": pl.Series(windows.recording[ours].tolist(), dtype=pl.String),
                    "offset": pairs.offset,
                    "shared_s": pairs.shared_s,
                }
            )
        )
    schema = {
        "window": pl.Int64,
        "recording": pl.String,
        "offset": pl.Int64,
        "shared_s": pl.Float64,
    }
    return BirdNetLink(pl.concat(parts) if parts else pl.DataFrame(schema=schema))


def birdnet_labels(
    results: Results, windows: Windows, link: BirdNetLink, confidences: tuple[float, ...]
) -> list[Labels]:
    """Label the windows by BirdNET, once per confidence.

    The leading label is the detection of the highest confidence; the first by name of equals.
    """
    known = np.zeros(len(windows), dtype=bool)
    known[link.pairs["window"].unique().to_numpy()] = True
    found = detections_of(results, windows, link)
    return [
        # As float32, as BirdNET gives them: 0.1 must count where the model says 0.1.
        _labels(
            BIRDNET,
            confidence,
            known,
            found.filter(pl.col("confidence") >= pl.lit(confidence, pl.Float32)),
        )
        for confidence in confidences
    ]


def detections_of(results: Results, windows: Windows, link: BirdNetLink) -> pl.DataFrame:
    """Return BirdNET's detections in the drawn windows.

    Returns
    -------
    DataFrame
        window (its position), species, confidence (float32, the highest of a species in a window);
        the surest of each window first, and of equals the first by name.
    """
    schema = {"recording": pl.String, "offset": pl.Int64, "species": pl.String}
    parts = [
        read_parquet(results.detections(day), columns=[*schema, "confidence"])
        for day, _ in windows.by_day()
        if results.detections(day).exists()
    ]
    table = pl.concat(parts) if parts else pl.DataFrame(schema={**schema, "confidence": pl.Float32})
    return (
        link.pairs.join(table, on=["recording", "offset"], how="inner")
        .sort(["window", "confidence", "species"], descending=[False, True, False])
        .unique(["window", "species"], keep="first", maintain_order=True)
        .select("window", "species", "confidence")
    )


def probed_confidence(confidences: Sequence[float]) -> float:
    """Return the confidence whose labels are probed: the middle one, the lower of two."""
    return sorted(confidences)[(len(confidences) - 1) // 2]


def read_boxes(path: Path) -> pl.DataFrame:
    """Read annotated boxes of song.

    Returns
    -------
    DataFrame
        recording, start_s, end_s, species, and low_hz, high_hz, snr_db (null where there are none), plus
        ``annotated``: False for rows of another ``kind`` than song, which only say that somebody
        listened.

    Raises
    ------
    DawnChorusError
        If the file is missing, is no Parquet or lacks a column.
    """
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise DawnChorusError("is not there", path, "check evaluation.annotations") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DawnChorusError(f"is no Parquet table ({error})", path) from None
    missing = [name for name in BOX_COLUMNS if name not in table.columns]
    if missing:
        raise DawnChorusError(
            f"lacks the columns {', '.join(missing)}", path, f"it needs {', '.join(BOX_COLUMNS)}"
        )
    nothing = pl.lit(None, pl.Float64)
    hertz = [
        pl.col(name).cast(pl.Float64) if name in table.columns else nothing.alias(name)
        for name in ("low_hz", "high_hz", "snr_db")
    ]
    song = pl.col("kind") == "song" if "kind" in table.columns else pl.lit(True)
    return table.select(
        pl.col("recording").cast(pl.String),
        pl.col("start_s").cast(pl.Float64),
        pl.col("end_s").cast(pl.Float64),
        pl.col("species").cast(pl.String),
        *hertz,
        song.alias("song"),
    )


def annotation_labels(settings: Settings, windows: Windows, boxes: pl.DataFrame) -> Labels:
    """Label the windows by a person's boxes.

    A box counts if it covers at least ``evaluation.min_overlap`` of the window, or the window holds
    that share of the box. The leading label is the species of the box with the largest overlap; of
    equals, the one that begins first. A recording without any row was not annotated: its windows
    are not known to be empty and are left out.
    """
    annotated = set(boxes["recording"].unique().to_list())
    known = np.array([name in annotated for name in windows.recording], dtype=bool)
    # A box meets few windows: it is joined with those alone, by their number in the recording.
    frame = windows.frame().with_columns(length=pl.col("end_s") - pl.col("start_s"))
    frame = frame.with_columns(number=(pl.col("start_s") / pl.col("length")).round().cast(pl.Int64))
    met = (
        boxes.filter(pl.col("song") & pl.col("species").is_not_null())
        .join(frame.select("recording", "length").unique("recording"), on="recording")
        .with_columns(
            first=(pl.col("start_s") / pl.col("length")).floor().cast(pl.Int64),
            last=(pl.col("end_s") / pl.col("length")).floor().cast(pl.Int64),
        )
        .with_columns(number=pl.int_ranges("first", pl.col("last") + 1))
        .explode("number")
    )
    found = (
        frame.join(met, on=["recording", "number"], how="inner", suffix="_box")
        .with_columns(
            shared=pl.min_horizontal("end_s", "end_s_box")
            - pl.max_horizontal("start_s", "start_s_box"),
            box_length=pl.col("end_s_box") - pl.col("start_s_box"),
        )
        .filter(pl.col("shared") > TOLERANCE)
        .filter(
            pl.col("shared") + TOLERANCE
            >= settings.evaluation.min_overlap * pl.min_horizontal("length", "box_length")
        )
        .sort(
            ["window", "shared", "start_s_box", "species"], descending=[False, True, False, False]
        )
    )
    return _labels(ANNOTATIONS, None, known, found)
