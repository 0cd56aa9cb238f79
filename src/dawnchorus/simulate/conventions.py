"""How each make of recorder names, places and heads its files.

In: a recorder and a start time. Out: the recording's path below the card and the bytes before its
first sample.

* AudioMoth: ``YYYYMMDD_HHMMSS.WAV``, UTC, a ``LIST`` chunk with ``ICMT`` (384 bytes) and ``IART``
  (32 bytes), zero-filled, as firmware 1.5 and later writes it.
* Song Meter: ``Data/PREFIX_YYYYMMDD_HHMMSS.wav``, local time, ``PREFIX_Summary.txt`` at the root.
* Frontier Labs: ``YYYYMMDD_REC/YYYYMMDDTHHMMSS+ZZZZ_REC.wav``, local time with its offset.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from pathlib import PurePosixPath

from dawnchorus.simulate.plan import SAMPLE_RATE, Convention

ICMT_BYTES, IART_BYTES = 384, 32


def recording_name(convention: Convention, prefix: str, start: dt.datetime) -> PurePosixPath:
    """Return a recording's path below its card.

    Parameters
    ----------
    convention : {"audiomoth", "songmeter", "frontierlabs"}
        Whose names.
    prefix : str
        The Song Meter's prefix; the others have none.
    start : datetime.datetime
        Aware local start.
    """
    if convention == "audiomoth":
        return PurePosixPath(f"{start.astimezone(dt.UTC):%Y%m%d_%H%M%S}.WAV")
    if convention == "songmeter":
        return PurePosixPath("Data", f"{prefix}_{start:%Y%m%d_%H%M%S}.wav")
    return PurePosixPath(f"{start:%Y%m%d}_REC", f"{start:%Y%m%dT%H%M%S%z}_REC.wav")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def audiomoth_comment(
    serial: str, start: dt.datetime, gain: str, battery_volts: float, celsius: float
) -> str:
    """Return AudioMoth's comment of a recording, as firmware 1.5 words it."""
    return (
        f"Recorded at {start.astimezone(dt.UTC):%H:%M:%S %d/%m/%Y} (UTC) by AudioMoth {serial} "
        f"at {gain} gain while battery was {battery_volts:.1f}V and temperature was {celsius:.1f}C."
    )


def header(frames: int, comment: str | None = None, artist: str | None = None) -> bytes:
    """Return the bytes before the first sample of a 16-bit mono WAV file at 44.1 kHz.

    Parameters
    ----------
    frames : int
        Samples that follow.
    comment, artist : str, optional
        Content of an AudioMoth's ``LIST`` chunk; without them there is none.
    """
    rate = SAMPLE_RATE
    fmt = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16))
    listed = b""
    if comment is not None and artist is not None:
        fields = _chunk(b"ICMT", comment.encode("ascii").ljust(ICMT_BYTES, b"\0"))
        fields += _chunk(b"IART", artist.encode("ascii").ljust(IART_BYTES, b"\0"))
        listed = _chunk(b"LIST", b"INFO" + fields)
    size = 4 + len(fmt) + len(listed) + 8 + 2 * frames
    return (
        b"RIFF"
        + struct.pack("<I", size)
        + b"WAVE"
        + fmt
        + listed
        + b"data"
        + struct.pack("<I", 2 * frames)
    )


def header_bytes(convention: Convention) -> int:
    """Return how long a header is under a convention."""
    if convention == "audiomoth":
        return len(header(0, "", ""))
    return len(header(0))


def songmeter_summary(
    starts: Sequence[dt.datetime],
    latitude: float,
    longitude: float,
    volts: Sequence[float],
    celsius: Sequence[float],
) -> str:
    """Return the text of ``PREFIX_Summary.txt`` as a Song Meter SM4 writes it, a line a recording."""
    lines = ["DATE,TIME,LAT,,LON,,POWER(V),TEMP(C),#FILES,MIC0 TYPE,MIC1 TYPE"]
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    for start, battery, temperature in zip(starts, volts, celsius, strict=True):
        lines.append(
            f"{start:%Y-%b-%d,%H:%M:%S},{abs(latitude):.5f},{north},{abs(longitude):.5f},{east},"
            f"{battery:.1f},{temperature:.2f},1,U1,U1"
        )
    return "\r\n".join(lines) + "\r\n"
