"""One window over HTTP: which it is, how it looks, how it sounds.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.clips import cut
from dawnchorus.explorer.requests import row_of, seconds_of
from dawnchorus.explorer.served import Explorer
from dawnchorus.explorer.space import NONE

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
        return {
            **space.window(row),
            "cluster": None if cluster == NONE else cluster,
            "species": None if species == NONE else space.species_names[species][1],
            "confidence": round(float(space.confidence[row]), 4),
            "label": state.names[code - 1] if code else None,
        }

    def picture(row: int) -> Response:
        window = space.window(row)
        day = space.days[int(space.day[row])]
        png, low, high = explorer.spectrograms.png(day, window["recording"], window["offset"])
        headers = {"X-Decibels": f"{low:.1f} {high:.1f}"}
        return Response(png, media_type="image/png", headers=headers)

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
        return await run_in_threadpool(picture, row_of(request, len(space)))

    async def audio(request: Request) -> Response:
        row, context_s = row_of(request, len(space)), seconds_of(request, "context", CONTEXT_S)
        return await run_in_threadpool(sound, row, context_s)

    return [
        Route("/api/windows/{row}", window),
        Route("/api/windows/{row}/spectrogram.png", spectrogram),
        Route("/api/windows/{row}/audio.wav", audio),
    ]
