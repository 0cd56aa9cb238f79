"""How figures look: one place for colours, fonts and the way a picture is saved.

In: a matplotlib figure. Out: a PNG, published whole; the same data give the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from dawnchorus.results import publishing

INK = "#22303a"
FAINT = "#c3cbd1"
PAPER = "#fcfbf8"
SOFT = "#5c6a73"
ACCENT = "#c8553d"
ACCENT_TEXT = "#a8402b"
"""Dark enough to read (contrast of 5.9 on :data:`PAPER`)."""
SPECTROGRAM = "magma"

# Okabe and Ito's colours, which people with any colour vision can tell apart, then lighter kin.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900", "#7a5195",
    "#4c6b22", "#a33b3b", "#2f4b7c", "#ef8f8f", "#8fbfa8", "#8c6d31", "#9aa5e0", "#5f5f5f",
)  # fmt: skip

DPI = 110
"""Of pictures with many small panels."""

RC: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9,
    "legend.frameon": False,
    "figure.dpi": 100,
}


@contextmanager
def drawing(
    path: Path, width: float, height: float, dpi: float = 130, settled: bool = False
) -> Iterator[Figure]:
    """Yield a figure of ``width`` x ``height`` inches and publish it as PNG at ``path``.

    The axes find their room by themselves, or are ``settled`` (:func:`settle`), which is much faster where there is
    much to write.
    """
    with plt.rc_context(RC):
        figure = plt.figure(figsize=(width, height), layout=None if settled else "constrained")
        try:
            yield figure
            with publishing(path) as partial:
                # No date and no software name in the file: the same figure is the same bytes.
                figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})
        finally:
            plt.close(figure)


@dataclass(frozen=True)
class Margins:
    """Room around each panel, in inches."""

    left: float = 0.7
    right: float = 0.2
    bottom: float = 0.6
    top: float = 0.4


def settle(figure: Figure, lines: int, columns: int, margins: Margins, below: float = 0.0) -> None:
    """Give the figure's panels (lines x columns) their margins, and the figure ``below`` inches under them all."""
    width, height = figure.get_size_inches()
    panel = width / columns - margins.left - margins.right
    tall = (height - below) / lines - margins.bottom - margins.top
    figure.subplots_adjust(
        left=margins.left / width,
        right=1 - margins.right / width,
        bottom=(margins.bottom + below) / height,
        top=1 - margins.top / height,
        wspace=(margins.left + margins.right) / panel,
        hspace=(margins.bottom + margins.top) / tall,
    )


def data_address(image: Image.Image, kind: str, **options: Any) -> str:
    """Return a picture as an address that holds it: a page that has it needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def say_only(path: Path, sentence: str) -> str:
    """Publish a figure that only says why there is nothing to draw; return what it says."""
    with drawing(path, 7, 1.2, DPI) as figure:
        figure.text(0.5, 0.5, sentence, ha="center", va="center", wrap=True)
    return sentence
