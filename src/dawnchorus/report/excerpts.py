"""Pages of single windows to look at and listen to.

In: windows with what there is to say of each, their spectrograms, the cards. Out: pictures and clips for a page, and the
page. Clips are FLAC: the samples as they are, in half the bytes, and every browser plays it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import soundfile
from jinja2 import Environment, PackageLoader, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.explorer.clips import UnplayableError, cut
from dawnchorus.report.style import SPECTROGRAM
from dawnchorus.report.windows import contrast, read_pictures
from dawnchorus.results import Results, write_text

CONTEXT_S = 0.5
"""Seconds of a clip before and after its window."""
COLOURS = 64


@dataclass(frozen=True)
class Excerpt:
    """A window on a page.

    Attributes
    ----------
    title : str
    lines : list of str
        What there is to say of it.
    hint : str
        A guess at what it is.
    picture : str
        Address of the picture.
    sound : str
        Address of the clip; empty if there is none.
    silent : str
        Why there is none.
    """

    title: str
    lines: list[str]
    picture: str
    sound: str = ""
    silent: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Section:
    """Some excerpts under a heading."""

    title: str
    excerpts: list[Excerpt]


@dataclass(frozen=True)
class Axes:
    """What the pictures' axes mean: marks in hertz (label, per cent from below), and seconds."""

    ticks: list[tuple[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def picture(decibels: NDArray[np.floating]) -> str:
    """Return a spectrogram (mels, frames) as a data address: low frequencies below, its own contrast."""
    low, high = contrast(decibels)
    shown = mpl.colormaps[SPECTROGRAM](np.clip((decibels[::-1] - low) / (high - low), 0, 1))
    image = Image.fromarray((shown[..., :3] * 255).astype(np.uint8)).convert(
        "P", palette=Image.Palette.ADAPTIVE, colors=COLOURS
    )
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return data_address("image/png", buffer.getvalue())


def data_address(kind: str, content: bytes) -> str:
    """Return content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def pictures(results: Results, windows: pl.DataFrame) -> tuple[list[str], Axes]:
    """Return the pictures of windows (recorder, date, recording, offset), and what their axes mean."""
    read = read_pictures(results, windows)
    rows, names = read.hertz_ticks()
    bands = len(read.band_frequency)
    ticks = [(name, 100 * row / bands) for row, name in zip(rows, names, strict=True)]
    return [picture(decibels) for decibels in read.decibels], Axes(ticks, read.seconds)


def clip(cards: Path, recording: str, offset: int, window_seconds: float) -> bytes:
    """Return a window and a little around it as FLAC.

    Raises
    ------
    UnplayableError
        If the recording cannot be had.
    """
    wav = cut(cards, recording, offset, window_seconds, CONTEXT_S).wav
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def sounds(
    cards: Path, windows: pl.DataFrame, window_seconds: float, folder: Path | None = None
) -> list[tuple[str, str]]:
    """Return address of the clip, or why there is none, of windows (recording, offset).

    Parameters
    ----------
    folder : Path, optional
        Where clips are written, below ``clips``; without it they are inside the addresses.
    """
    found = []
    named = windows.select("recording", "offset").iter_rows()
    for number, (recording, offset) in enumerate(named, start=1):
        try:
            content = clip(cards, recording, offset, window_seconds)
        except UnplayableError as error:
            found.append(("", error.what))
            continue
        if folder is None:
            found.append((data_address("audio/flac", content), ""))
            continue
        name = Path("clips") / f"{number:04d}.flac"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        found.append((name.as_posix(), ""))
    return found


def write_page(
    path: Path,
    title: str,
    note: str,
    sections: Sequence[Section],
    axes: Axes,
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None,
) -> None:
    """Write a page of excerpts; it works offline.

    Parameters
    ----------
    table : (heads, rows), optional
        Shown above the excerpts.
    """
    pages = Environment(
        loader=PackageLoader("dawnchorus.report"), autoescape=select_autoescape(), trim_blocks=True
    )
    page = pages.get_template("excerpts.html.j2")
    write_text(path, page.render(title=title, note=note, sections=sections, axes=axes, table=table))
