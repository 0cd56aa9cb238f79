"""Cluster cards: what a cluster looks and sounds like, when and where it was recorded, what it may be called.

In: the table of :func:`dawnchorus.clustering.cards.cards`, the season's counts, map points with labels, spectrogram
stores, and the recorder cards for the clips. Out: one page that works offline: its pictures are inside it, its clips
in the folder ``clips`` beside it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from dawnchorus.clustering.cards import NO_CLUSTER
from dawnchorus.clustering.season_counts import (
    LOUDEST_SILENCE_DB,
    QUIET_DB,
    QUIETEST_SHARE,
    STILL_DB,
    SeasonCounts,
)
from dawnchorus.clustering.suggestions import KINDS
from dawnchorus.config import Settings
from dawnchorus.parquet import scan_parquet
from dawnchorus.report.clips import BIT_DB, cut_clips
from dawnchorus.report.points import NONE
from dawnchorus.report.style import SPECTROGRAM, data_address
from dawnchorus.report.windows import Pictures, contrast, read_pictures
from dawnchorus.results import Results, write_text

CENTRAL, BORDER = 4, 2
NAMES = 3
WEBP_QUALITY = 80
"""Half the bytes of a PNG with 64 colours; what it loses is noise."""
RASTER = "YlGnBu"
NOT_RECORDED = (239, 236, 229)
HOURS = 24
REASONS = 3
"""Most reasons told why clips could not be cut."""


def _picture(decibels: NDArray[np.float32]) -> str:
    """Return a spectrogram as a data address: low frequencies below, the window's own contrast."""
    low, high = contrast(decibels)
    shown = mpl.colormaps[SPECTROGRAM](np.clip((decibels[::-1] - low) / (high - low), 0, 1))
    image = Image.fromarray((shown[..., :3] * 255).astype(np.uint8))
    return data_address(image, "webp", quality=WEBP_QUALITY, method=4)


def _labelled(points: pl.DataFrame, cluster: int) -> list[dict[str, Any]]:
    """Return the most frequent labels of a cluster's drawn windows and their shares."""
    mine = points.filter(pl.col("cluster") == cluster)
    named = mine.filter(pl.col("species") != NONE)["species"].value_counts()
    named = named.sort(["count", "species"], descending=[True, False]).head(NAMES)
    return [
        {"name": name, "share": count / max(mine.height, 1)} for name, count in named.iter_rows()
    ]


class _Calendar:
    """The season's dates and hours, and what was recorded in each."""

    def __init__(self, counts: SeasonCounts) -> None:
        hours = counts.hours
        self.dates = _every_date(hours["date"].unique().to_list())
        self._place = {date: number for number, date in enumerate(self.dates)}
        self.recorded = self.raster(hours)

    def raster(self, hours: pl.DataFrame) -> NDArray[np.float64]:
        """Return counts (24, dates)."""
        counts = np.zeros((HOURS, len(self.dates)))
        table = hours.group_by("date", "hour").agg(pl.col("windows").sum())
        for date, hour, windows in table.iter_rows():
            counts[hour, self._place[date]] = windows
        return counts

    def picture(self, hours: pl.DataFrame) -> tuple[str, float]:
        """Return the raster as a data address (midnight below), and the share that its darkest stands for."""
        with np.errstate(invalid="ignore"):
            share = self.raster(hours) / self.recorded
        most = float(np.nanmax(share, initial=0.0))
        shades = mpl.colormaps[RASTER](np.nan_to_num(share / (most or 1.0)))[..., :3]
        pixels = (shades * 255).astype(np.uint8)
        pixels[self.recorded == 0] = NOT_RECORDED
        return data_address(Image.fromarray(pixels[::-1]), "png", optimize=True), most

    def ticks(self) -> list[dict[str, Any]]:
        """Return labels of the date axis: first of months, else the first and the last date."""
        found = [
            {"left": 100 * (number + 0.5) / len(self.dates), "label": f"{day:%-d %b}"}
            for number, day in enumerate(map(dt.date.fromisoformat, self.dates))
            if day.day == 1
        ]
        if len(found) >= 2:
            return found
        ends = sorted({0, len(self.dates) - 1}) if self.dates else []
        return [
            {
                "left": 100 * (number + 0.5) / len(self.dates),
                "label": f"{dt.date.fromisoformat(self.dates[number]):%-d %b}",
            }
            for number in ends
        ]

    def sun(self, suns: pl.DataFrame) -> dict[str, str]:
        """Return the lines of sunrise and sunset in a box of (dates x 24), medians over the recorders."""
        table = (
            suns.filter(pl.col("rise").is_not_null() & pl.col("date").is_in(self.dates))
            .group_by("date")
            .agg(pl.col("rise").median(), pl.col("set").median())
            .sort("date")
        )
        lines: dict[str, list[str]] = {"rise": [], "set": []}
        for date, rise, sets in table.iter_rows():
            at = self._place[date]
            for name, minute in (("rise", rise), ("set", sets)):
                height = HOURS - minute / 60
                # A step per date, so that one date alone is a line too.
                lines[name] += [f"{at},{height:.2f}", f"{at + 1},{height:.2f}"]
        return {name: " ".join(points) for name, points in lines.items() if points}


def _every_date(some: list[str]) -> list[str]:
    if not some:
        return []
    first, last = dt.date.fromisoformat(min(some)), dt.date.fromisoformat(max(some))
    return [(first + dt.timedelta(days=day)).isoformat() for day in range((last - first).days + 1)]


def _recorded(counts: SeasonCounts) -> dict[str, dict[Any, int]]:
    """Return the windows recorded per recorder, habitat and week."""
    hours = counts.hours.with_columns(
        pl.col("date").str.to_date().dt.truncate("1w").dt.strftime("%Y-%m-%d").alias("week")
    )
    return {
        key: dict(hours.group_by(key).agg(pl.col("windows").sum()).iter_rows())
        for key in ("recorder", "habitat", "week")
    }


def _bars(
    found: list[dict[str, Any]], key: str, recorded: dict[Any, int], every: bool = False
) -> list[dict[str, Any]]:
    """Return per recorder, habitat or week: windows, minutes per recorded hour, and the bar's length in percent."""
    counts = {one[key]: one["windows"] for one in found}
    names = sorted(recorded, key=lambda name: (name is None, name)) if every else list(counts)
    rates = {name: 60 * counts.get(name, 0) / recorded[name] for name in names}
    longest = max(rates.values(), default=0.0) or 1.0
    return [
        {
            "name": "not said" if name is None else name,
            "windows": counts.get(name, 0),
            "rate": rates[name],
            "length": 100 * rates[name] / longest,
        }
        for name in names
    ]


def draw_cards(
    settings: Settings,
    results: Results,
    cards: pl.DataFrame,
    counts: SeasonCounts,
    points: pl.DataFrame,
    path: Path,
) -> None:
    """Write the page of cluster cards, and its clips beside it.

    Parameters
    ----------
    cards : polars.DataFrame
        One row per cluster.
    counts : SeasonCounts
        What the cards were made from: gives what was recorded, hour by hour.
    points : polars.DataFrame
        As from :func:`dawnchorus.report.points.read_points`; gives the labels.
    """
    chosen: list[dict[str, Any]] = []
    for card in cards.iter_rows(named=True):
        central = (card["central"] or [])[:CENTRAL]
        # A small cluster's border windows may be its central ones.
        border = [window for window in (card["border"] or []) if window not in central][:BORDER]
        for kind, windows in (("central", central), ("border", border)):
            chosen += [{**window, "cluster": card["cluster"], "kind": kind} for window in windows]
    columns = ["recorder", "date", "recording", "offset"]
    named = pl.DataFrame(
        [{name: window[name] for name in columns} for window in chosen],
        schema={name: pl.Int64 if name == "offset" else pl.String for name in columns},
    )
    pictures = read_pictures(results, named) if chosen else None
    clips = cut_clips(settings, results, chosen, path.parent)
    offsets = _utc_offsets(results, named["recording"].to_list())
    montages: dict[int, list[dict[str, Any]]] = {}
    for number, window in enumerate(chosen):
        montages.setdefault(window["cluster"], []).append(
            {
                "picture": _picture(pictures.decibels[number]) if pictures is not None else "",
                "clip": clips.names[number],
                "gain": round(BIT_DB * clips.gains[number]),
                "where": f"{window['recording']} at sample {window['offset']}",
                "recorder": window["recorder"],
                "local": f"{window['time'] + offsets.get(window['recording'], dt.timedelta()):%Y-%m-%d %H:%M:%S}",
                "kind": window["kind"],
                "distance": window["distance"],
            }
        )
    calendar, recorded = _Calendar(counts), _recorded(counts)
    rasters = {
        int(cluster): calendar.picture(own)
        for (cluster,), own in counts.hours.group_by(["cluster"], maintain_order=True)
    }
    total = int(cards["size"].sum())
    shown = []
    for card in cards.iter_rows(named=True):
        raster, most = rasters.get(card["cluster"], ("", 0.0))
        shown.append(
            {
                **card,
                "title": "No cluster" if card["cluster"] == NO_CLUSTER else card["cluster"],
                "share": card["size"] / max(total, 1),
                "why": _sentence(card["evidence"]),
                "labels": _labelled(points, card["cluster"]),
                "windows": montages.get(card["cluster"], []),
                "raster": raster,
                "most": most,
                "at": {
                    key: _bars(card[f"{key}s"], key, recorded[key], every=True)
                    for key in ("recorder", "habitat", "week")
                },
            }
        )
    kinds = Counter(card["kind"] for card in shown)
    missing = sum(name is None for name in clips.names)
    pages = Environment(
        loader=PackageLoader("dawnchorus.report"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = pages.get_template("cards.html.j2").render(
        cards=shown,
        kinds=[(kind, kinds[kind]) for kind in KINDS if kinds[kind]],
        ticks=_ticks(pictures),
        seconds=pictures.seconds if pictures is not None else 0.0,
        window_seconds=settings.spectrogram.window_seconds,
        calendar={"ticks": calendar.ticks(), "sun": calendar.sun(counts.suns)},
        dates=max(len(calendar.dates), 1),
        labels="annotations" if settings.evaluation.annotations else "BirdNET",
        has_habitats=any(name is not None for name in recorded["habitat"]),
        total=total,
        place=str(path),
        missing=missing,
        wanted=len(chosen),
        reasons=clips.reasons[:REASONS],
        silence={
            "still": STILL_DB,
            "quiet": QUIET_DB,
            "quietest": 100 * QUIETEST_SHARE,
            "loudest": LOUDEST_SILENCE_DB,
        },
        sun_note=_sun_note(counts),
    )
    write_text(path, page)


def _sentence(parts: list[str]) -> str:
    told = "; ".join(parts)
    return told[:1].upper() + told[1:]


def _utc_offsets(results: Results, recordings: list[str]) -> dict[str, dt.timedelta]:
    """Return local time minus UTC of recordings; one that left the inventory since is told in UTC."""
    table = (
        scan_parquet(results.recordings)
        .filter(pl.col("recording").is_in(set(recordings)))
        .select("recording", pl.col("utc_offset_minutes").cast(pl.Int64))
        .collect()
    )
    return {name: dt.timedelta(minutes=offset or 0) for name, offset in table.iter_rows()}


def _ticks(pictures: Pictures | None) -> list[dict[str, Any]]:
    if pictures is None:
        return []
    rows, names = pictures.hertz_ticks()
    bands = len(pictures.band_frequency)
    return [
        {"label": name, "bottom": 100 * (row + 0.5) / bands}
        for row, name in zip(rows, names, strict=True)
    ]


def _sun_note(counts: SeasonCounts) -> str:
    """Say in one sentence where night and dawn come from."""
    without = counts.suns.filter(pl.col("without").is_not_null())["without"].unique().sort()
    placed = set(counts.suns["recorder"].unique())
    unplaced = sorted(set(counts.hours["recorder"].unique()) - placed)
    if not placed:
        return "No deployment has a position, so there is no sunrise: night means 21 to 5 h, and dawn is not told."
    told = "Night is the time between sunset and sunrise at the recorder's position; dawn is from one hour before sunrise to two after it."
    if without.len():
        told += f" On some dates there is {' and '.join(without)}, and no dawn."
    if unplaced:
        told += f" Without a position ({', '.join(unplaced)}), night is 21 to 5 h."
    return told
