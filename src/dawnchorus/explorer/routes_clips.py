"""One window over HTTP: which it is, how it looks and sounds, what BirdNET and the network say.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.birdnet.model import WINDOW_SECONDS
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.clips import cut
from dawnchorus.explorer.requests import row_of, seconds_of
from dawnchorus.explorer.served import Explorer
from dawnchorus.explorer.space import NONE
from dawnchorus.parquet import scan_parquet

CONTEXT_S = 1.0


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of single windows."""
    space = explorer.space

    def said_of(row: int) -> dict[str, Any]:
        """Which window a row is, and what is said of it."""
        state = explorer.book.state()
        code = int(state.codes[row])
        species = int(space.species[row])
        cluster = int(space.cluster[row])
        habitat, hour = int(space.habitat[row]), int(space.hour[row])
        return {
            **space.window(row),
            "cluster": None if cluster == NONE else cluster,
            "species": None if species == NONE else space.species_names[species][1],
            "confidence": round(float(space.confidence[row]), 4),
            "hour": None if hour == NONE else hour,
            "x": _finite(space.x[row]),
            "y": _finite(space.y[row]),
            "habitat": None if habitat == NONE else space.habitats[habitat],
            "activity": _finite(space.activity[row]),
            "detections": detections_of(row),
            "label": state.names[code - 1] if code else None,
        }

    def detections_of(row: int) -> list[dict[str, Any]]:
        """What BirdNET heard in the window, the surest first; times from the window's start."""
        window, day = space.window(row), space.days[int(space.day[row])]
        path = explorer.results.detections(day)
        rate = space.rate(row)
        if rate is None or not path.is_file():
            return []
        begin, length = window["offset"], round(space.window_seconds * rate)
        heard = pl.col("offset")
        found = (
            scan_parquet(path)
            .filter(
                (pl.col("recording") == window["recording"])
                & (heard < begin + length)
                & (heard + WINDOW_SECONDS * rate > begin)
            )
            .sort("confidence", "species", descending=[True, False])
            .select(
                "species",
                common="common_name",
                confidence=pl.col("confidence").cast(pl.Float64).round(4),
                begin_s=(heard - begin) / rate,
                end_s=(heard - begin) / rate + WINDOW_SECONDS,
            )
            .collect()
        )
        return found.to_dicts()

    def picture(row: int, context_s: float) -> Response:
        window, rate = space.window(row), space.rate(row)
        drawn = explorer.spectrograms.png(
            space.days[int(space.day[row])],
            window["recording"],
            window["offset"],
            context_s=context_s,
            window_samples=None if rate is None else round(space.window_seconds * rate),
        )
        headers = {
            "X-Decibels": f"{drawn.low_db:.1f} {drawn.high_db:.1f}",
            "X-Span": f"{drawn.begin_s:.6f} {drawn.end_s:.6f}",
        }
        return Response(drawn.png, media_type="image/png", headers=headers)

    def looked_at(row: int) -> dict[str, Any]:
        if explorer.gaze is None:
            raise DawnChorusError(
                "no config says how to look", space.experiment, "start with --config"
            )
        window, day = space.window(row), space.days[int(space.day[row])]
        return explorer.gaze.at(day, window["recording"], window["offset"])

    def sound(row: int, context_s: float) -> Response:
        """WAV of a window; only recordings of the inventory are opened."""
        window = space.window(row)
        if not window["known"]:
            raise DawnChorusError(
                "is not in the inventory", window["recording"], "run 'dawnchorus scan' again"
            )
        clip = cut(
            explorer.cards, window["recording"], window["offset"], space.window_seconds, context_s
        )
        headers = {"X-Lead-Seconds": f"{clip.lead_s:.6f}"}
        return Response(clip.wav, media_type="audio/wav", headers=headers)

    async def window(request: Request) -> Response:
        row = row_of(request, len(space))
        return JSONResponse(await run_in_threadpool(said_of, row))

    async def spectrogram(request: Request) -> Response:
        row, context_s = row_of(request, len(space)), seconds_of(request, "context", 0.0)
        return await run_in_threadpool(picture, row, context_s)

    async def attention(request: Request) -> Response:
        row = row_of(request, len(space))
        return JSONResponse(await run_in_threadpool(looked_at, row))

    async def audio(request: Request) -> Response:
        row, context_s = row_of(request, len(space)), seconds_of(request, "context", CONTEXT_S)
        return await run_in_threadpool(sound, row, context_s)

    return [
        Route("/api/windows/{row}", window),
        Route("/api/windows/{row}/spectrogram.png", spectrogram),
        Route("/api/windows/{row}/audio.wav", audio),
        Route("/api/windows/{row}/attention", attention),
    ]


def _finite(value: np.floating) -> float | None:
    """A number for JSON; None if it is none."""
    return round(float(value), 4) if np.isfinite(value) else None
