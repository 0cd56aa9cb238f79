"""A day of sound in one picture: the false-colour spectrogram of a recorder-day.

In: the minutes of a recorder-day (:class:`~dawnchorus.spectrograms.indices.MinuteRow`). Out: a PNG of
1440 columns, one per minute of the local day, with frequency upwards from 0 to half the sampling rate.

Three of the values that each minute has per frequency are red, green and blue, after Towsey et al. 2014
(doi 10.1016/j.procs.2014.05.063): acoustic complexity, concentration in time (one less the temporal
entropy) and the cover of events. Each is scaled between limits that never change, so that days and
recorders compare: a colour means the same everywhere. The lower limits are about what steady noise
gives, so wind and hiss are nearly black; the square root of what lies above is shown, so that a bird
that sings once in the minute is seen beside a chorus. What is grey was not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dawnchorus.results import RecorderDay, publishing
from dawnchorus.spectrograms.indices import MinuteRow

MINUTES = 24 * 60
"""Columns of the picture."""
GREY = (176, 180, 183)
"""Colour (sRGB) of minutes that were not recorded."""


@dataclass(frozen=True)
class Channel:
    """What one of the three colours shows.

    Parameters
    ----------
    colour : str
        Its full strength, ``#rrggbb``.
    name, meaning : str
        For the legend.
    low, high : float
        Values that are black and full.
    """

    colour: str
    name: str
    meaning: str
    low: float
    high: float


CHANNELS = (
    Channel("#ff0000", "complexity", "ACI per bin", 0.58, 0.9),
    Channel("#00ff00", "concentration", "1 − temporal entropy", 0.06, 0.95),
    Channel("#0000ff", "cover", "frames 6 dB over background", 0.025, 0.3),
)
"""Red, green, blue. Steady noise has 0.57 to 0.59, 0.05 and 0.02 to 0.03."""

INK, FAINT, PAPER = "#22303a", "#c3cbd1", "#fcfbf8"
STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
DPI = 100
HEIGHT = 512
"""Of the picture itself in pixels; it is as wide as there are minutes, so none is blurred."""
LEFT, RIGHT, TOP, BOTTOM = 72, 28, 58, 96
"""Margins in pixels."""


def columns(rows: Sequence[MinuteRow], date: str) -> NDArray[np.int64]:
    """Return the column of each minute: that of the local day in which its middle lies.

    Parameters
    ----------
    rows : sequence of MinuteRow
    date : str
        Local date of the day, ``YYYY-MM-DD``. A minute of a recording that runs on past midnight has
        a column beyond the last.

    Returns
    -------
    int64 (n,)
    """
    midnight = datetime.fromisoformat(date)
    since = [(row.local_time - midnight).total_seconds() + row.seconds / 2 for row in rows]
    return np.floor(np.asarray(since, np.float64) / 60.0).astype(np.int64)


def colours(rows: Sequence[MinuteRow], date: str) -> NDArray[np.uint8]:
    """Return the colours of a day; minutes that share a column are averaged by their length.

    Parameters
    ----------
    rows : sequence of MinuteRow
        All with the same number of frequency rows, at least one.
    date : str
        Local date of the day, ``YYYY-MM-DD``.

    Returns
    -------
    uint8 (frequency rows, 1440, 3)
        Lowest frequency first; :data:`GREY` where nothing was recorded.
    """
    heights = {len(row.minute.aci_rows) for row in rows}
    if len(heights) != 1:
        raise ValueError(f"needs minutes with the same frequency rows, got {sorted(heights)}")
    total = np.zeros((heights.pop(), MINUTES, 3))
    seconds = np.zeros(MINUTES)
    for row, column in zip(rows, columns(rows, date), strict=True):
        if not 0 <= column < MINUTES:
            continue
        minute = row.minute
        shown = (minute.aci_rows, 1.0 - minute.entropy_rows, minute.cover_rows)
        for number, (values, channel) in enumerate(zip(shown, CHANNELS, strict=True)):
            scaled = (values - channel.low) / (channel.high - channel.low)
            total[:, column, number] += row.seconds * np.sqrt(np.clip(scaled, 0.0, 1.0))
        seconds[column] += row.seconds
    heard = seconds > 0
    picture = np.empty(total.shape, np.uint8)
    picture[:, ~heard] = GREY
    shares = total[:, heard] / seconds[heard, None]
    picture[:, heard] = np.floor(shares * 255.0 + 0.5).astype(np.uint8)
    return picture


def draw_day(path: Path, rows: Sequence[MinuteRow], day: RecorderDay, row_hertz: float) -> None:
    """Publish the picture of a recorder-day as PNG; the same minutes give the same bytes.

    Parameters
    ----------
    path : Path
        Where to.
    rows : sequence of MinuteRow
        The day's minutes, at least one.
    day : RecorderDay
    row_hertz : float
        Height of a frequency row, :attr:`dawnchorus.spectrograms.indices.MinuteIndices.row_hertz`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = colours(rows, day.date)
    lengths = np.array([row.seconds for row in rows])
    beyond = float(lengths[columns(rows, day.date) >= MINUTES].sum())
    top = picture.shape[0] * row_hertz / 1000.0
    width, height = LEFT + MINUTES + RIGHT, TOP + HEIGHT + BOTTOM
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(figure)
        axes = figure.add_axes(
            (LEFT / width, BOTTOM / height, MINUTES / width, HEIGHT / height), frameon=False
        )
        axes.imshow(
            picture,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=(0.0, 24.0, 0.0, top),
        )
        axes.set_xticks(range(0, 25, 2), [f"{hour:02d}:00" for hour in range(0, 25, 2)])
        axes.set_xticks(range(25), minor=True)
        step = next(step for step in (0.5, 1, 2, 4, 5, 10, 20, 50) if top / step <= 12)
        axes.set_yticks(np.arange(0.0, top + 1e-6, step))
        axes.tick_params(which="major", length=6, color=INK)
        axes.tick_params(which="minor", length=3, color=INK)
        axes.set_ylabel("frequency (kHz)")
        title = f"{day.recorder}, {day.date}"
        figure.text(LEFT / width, 1 - 24 / height, title, size=14, weight="bold", va="center")
        said = "false-colour spectrogram, a column per minute of local time; "
        said += f"{lengths.sum() / 3600.0:.1f} h of sound"
        if beyond:
            said += f", of which {beyond / 60:.0f} min after midnight are not shown"
        figure.text(LEFT / width, 1 - 45 / height, said, size=10, va="center")
        _draw_legend(figure, width, height)
        with publishing(path) as partial:
            # No software name in the file, and no date: the same minutes are the same bytes.
            figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})


def _draw_legend(figure: Any, width: int, height: int) -> None:
    """Say below the picture what each colour is."""
    from matplotlib.patches import Rectangle

    entries = [
        (channel.colour, channel.name, f"{channel.meaning}, {channel.low:g} to {channel.high:g}")
        for channel in CHANNELS
    ]
    grey = "#" + "".join(f"{part:02x}" for part in GREY)
    entries.append((grey, "not recorded", "nearly black: steady sound, or silence"))
    for number, (colour, name, meaning) in enumerate(entries):
        left = LEFT + number * MINUTES / len(entries)
        figure.add_artist(
            Rectangle(
                (left / width, 20 / height),
                18 / width,
                28 / height,
                facecolor=colour,
                edgecolor="none",
                transform=figure.transFigure,
            )
        )
        figure.text((left + 26) / width, 41 / height, name, weight="bold", va="center")
        figure.text((left + 26) / width, 25 / height, meaning, size=9, va="center")
