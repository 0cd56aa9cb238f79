"""Writes the spectrogram store of a recorder-day.

In: spectra in the order of the windows, block by block, with their recording, offset and time. Out: a
Zarr v3 group that opens with ``xarray.open_zarr`` and explains itself::

    {date}.zarr/
        zarr.json         all parameters, the recordings and how to read the rest; consolidated
        spectrogram/      uint8 (window, mel, frame), zstd, single shards of whole chunks
        time/             int64 (window), microseconds since 1970-01-01: UTC start of the window
        recording/        int32 (window), index into the attribute ``recordings``
        offset/           int64 (window), first sample in the file, at the file's own rate
        activity/ level/  float32 (window), dB
        mel_frequency/ mel_low/ mel_high/   float64 (mel), hertz
        frame_time/       float64 (frame), seconds

On the linear scale the bands' dimension is ``frequency``, and its coordinates are ``frequency``,
``frequency_low`` and ``frequency_high``.

Memory: one shard (two with ``background``), never the day. One thread compresses: with several, zarrs
lays the chunks of a shard in the order in which they happen to be ready, so the bytes would differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xxhash
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from dawnchorus.codec_pipeline import codec_pipeline
from dawnchorus.config import Spectrogram
from dawnchorus.results import fingerprint
from dawnchorus.spectrograms import mel
from dawnchorus.spectrograms.activity import MARGIN_DB
from dawnchorus.spectrograms.spectrograph import LEVEL_FLOOR_DB, Spectra

ZSTD_LEVEL = 1
"""Higher levels take longer and save under 1 %: what the noise leaves is the same."""

COORDINATES = "time recording offset activity level"


class SpectrogramWriter:
    """Fills a new store; use it as a context manager and :meth:`finish` it.

    Parameters
    ----------
    path : Path
        Where the store shall lie; nothing may be there.
    spectrogram : Spectrogram
    expected_windows : int
        As many as the headers promise; may turn out fewer or more.
    background : bool
        Write a shard while the next one is filled.
    """

    def __init__(
        self,
        path: Path,
        spectrogram: Spectrogram,
        expected_windows: int,
        *,
        background: bool = False,
    ) -> None:
        self._path, self._settings = path, spectrogram
        chunk, expected = spectrogram.chunk_windows, max(1, expected_windows)
        # Equal shards, none larger than asked for: the padding of a last, half-empty one costs time.
        shards = -(-expected // spectrogram.shard_windows)
        self._shard_windows = -(-expected // (shards * chunk)) * chunk
        self._group = zarr.open_group(path, mode="w-", zarr_format=3)
        self._codes = self._create_codes(expected)
        picture = (spectrogram.mels, spectrogram.frames)
        self._shard = np.empty((self._shard_windows, *picture), np.uint8)
        self._spare = np.empty_like(self._shard) if background else self._shard
        self._executor = ThreadPoolExecutor(1, "shard-writer") if background else None
        self._writing: Future[None] | None = None
        self._held = self._written = 0
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("time", "recording", "offset", "activity", "level")
        }
        self._clipped_low = self._clipped_high = self._broken = 0
        self._content = xxhash.xxh3_128()

    def __enter__(self) -> SpectrogramWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    @property
    def windows(self) -> int:
        """Windows appended so far."""
        return self._written + self._held

    def append(
        self,
        spectra: Spectra,
        *,
        recording: int,
        offset: NDArray[np.int64],
        time: NDArray[np.datetime64],
    ) -> None:
        """Add windows of one recording behind those already there.

        Parameters
        ----------
        spectra : Spectra
            n windows.
        recording : int
            Index into the recordings named at :meth:`finish`.
        offset : int64 (n,)
            First samples, at the file's own rate.
        time : datetime64[us] (n,)
            UTC starts.
        """
        taken = 0
        while taken < len(spectra):
            amount = min(len(spectra) - taken, self._shard_windows - self._held)
            self._shard[self._held : self._held + amount] = spectra.codes[taken : taken + amount]
            self._held += amount
            taken += amount
            if self._held == self._shard_windows:
                self._write_shard()
        self._columns["time"].append(time.astype("datetime64[us]").astype(np.int64))
        self._columns["recording"].append(np.full(len(spectra), recording, np.int32))
        self._columns["offset"].append(offset.astype(np.int64))
        self._columns["activity"].append(spectra.activity)
        self._columns["level"].append(spectra.level)
        self._clipped_low += spectra.clipped_low
        self._clipped_high += spectra.clipped_high
        self._broken += spectra.broken

    def finish(self, attributes: Mapping[str, Any]) -> str:
        """Write what is left, the coordinates and the attributes.

        Parameters
        ----------
        attributes : mapping
            JSON values for the group: the day, ``recordings``, ``parameters_fingerprint`` ...

        Returns
        -------
        str
            Fingerprint of codes, coordinates, recordings and parameters; also an attribute.
        """
        if self._held:
            self._write_shard()
        self._wait()
        total = self._written
        if self._codes.shape[0] != total:
            self._codes.resize((total, *self._codes.shape[1:]))
        self._write_coordinates()
        cells = max(1, total * self._settings.mels * self._settings.frames)
        self._codes = self._codes.update_attributes(
            {
                "clipped_low_share": self._clipped_low / cells,
                "clipped_high_share": self._clipped_high / cells,
            }
        )
        mark = fingerprint(
            {
                "content": self._content.hexdigest(),
                "recordings": attributes["recordings"],
                "parameters": attributes["parameters_fingerprint"],
            }
        )
        self._group.update_attributes(
            {**attributes, "fingerprint": mark, "windows_with_broken_samples": self._broken}
        )
        with warnings.catch_warnings():
            # Consolidated metadata spares a reader eleven small files; that its place in the
            # specification of Zarr v3 is not settled is what the warning says.
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
            zarr.consolidate_metadata(self._path)
        return mark

    def _write_shard(self) -> None:
        start, stop = self._written, self._written + self._held
        shard = self._shard[: self._held]
        self._wait()
        if stop > self._codes.shape[0]:
            self._codes.resize((stop, *self._codes.shape[1:]))
        if self._executor is None:
            self._store(start, shard)
        else:
            self._writing = self._executor.submit(self._store, start, shard)
            self._shard, self._spare = self._spare, self._shard
        self._written, self._held = stop, 0

    def _store(self, start: int, shard: NDArray[np.uint8]) -> None:
        self._content.update(shard)
        self._codes[start : start + len(shard)] = shard

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _create_codes(self, windows: int) -> zarr.Array:
        settings, coding = self._settings, mel.Codes.of(self._settings)
        picture = (settings.mels, settings.frames)
        dimension, *of_bands = mel.band_names(settings.scale)
        with codec_pipeline("zarrs", threads=1):
            return self._group.create_array(
                "spectrogram",
                shape=(windows, *picture),
                dtype="uint8",
                chunks=(settings.chunk_windows, *picture),
                shards=(self._shard_windows, *picture),
                compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
                fill_value=0,
                dimension_names=("window", dimension, "frame"),
                attributes={
                    "long_name": f"{settings.scale} power spectrogram",
                    "units": "dB",
                    "scale_factor": coding.step,
                    "add_offset": coding.minimum,
                    "reference": "0 dB: the mean square of a full-scale sine (1/2)",
                    "clipping": (
                        f"below {coding.minimum:g} dB and above {coding.maximum:g} dB; "
                        "clipped_low_share and clipped_high_share of the cells lay there"
                    ),
                    "coordinates": " ".join([COORDINATES, *of_bands, "frame_time"]),
                },
            )

    def _write_coordinates(self) -> None:
        settings = self._settings
        corner = mel.corners(settings)
        windows = {
            name: np.concatenate(parts) if parts else np.empty(0)
            for name, parts in self._columns.items()
        }
        self._coordinate(
            "time",
            windows["time"],
            "window",
            standard_name="time",
            long_name="UTC start of the window",
            units="microseconds since 1970-01-01",
            calendar="proleptic_gregorian",
        )
        self._coordinate(
            "recording",
            windows["recording"],
            "window",
            long_name="index into the attribute recordings",
        )
        self._coordinate(
            "offset",
            windows["offset"],
            "window",
            long_name="first sample of the window in the file, at the file's own rate",
        )
        self._coordinate(
            "activity",
            windows["activity"],
            "window",
            long_name="mean excess over the medians of bands and frames",
            units="dB",
            margin_db=MARGIN_DB,
        )
        self._coordinate(
            "level",
            windows["level"],
            "window",
            long_name="mean square of the window's samples",
            units="dB",
            reference="0 dB: the mean square of a full-scale sine (1/2)",
            floor=LEVEL_FLOOR_DB,
        )
        dimension, *of_bands = mel.band_names(settings.scale)
        hertz = {
            "centre of the band": corner[1:-1],
            "lower end of the band": corner[:-2],
            "upper end of the band": corner[2:],
        }
        for name, (meaning, values) in zip(of_bands, hertz.items(), strict=True):
            self._coordinate(name, values, dimension, long_name=meaning, units="Hz")
        self._coordinate(
            "frame_time",
            mel.frame_times(settings),
            "frame",
            long_name="middle of the frame, from the window's start",
            units="s",
        )

    def _coordinate(
        self, name: str, values: NDArray[Any], dimension: str, **attributes: Any
    ) -> None:
        """Write a coordinate as one chunk."""
        self._content.update(np.ascontiguousarray(values))
        with codec_pipeline("zarr"):
            array = self._group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=(max(1, len(values)),),
                compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
                dimension_names=(dimension,),
                attributes=attributes,
            )
        array[:] = values
