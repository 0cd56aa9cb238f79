"""The map over HTTP: what there is, where every window lies, which windows lie in a region.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.regions import Region
from dawnchorus.explorer.requests import Body, read_body
from dawnchorus.explorer.routes_clips import CONTEXT_S
from dawnchorus.explorer.served import Explorer
from dawnchorus.explorer.space import NONE

SHOWN_MEMBERS = 500
"""Members of a selection that the page steps through."""


class MembersRequest(Body):
    """Body of ``POST /api/members``."""

    region: Region


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the map."""
    space = explorer.space

    @cache
    def columns() -> tuple[bytes, list[dict[str, Any]]]:
        return space.columns()

    def described() -> dict[str, Any]:
        """What the page needs to read the columns and to draw axes."""
        known = space.cluster[space.cluster != NONE]
        return {
            "experiment": space.experiment,
            "windows": len(space),
            "columns": columns()[1],
            "none": NONE,
            "clusters": int(known.max()) + 1 if len(known) else 0,
            "recorders": space.recorders,
            "species": [
                {"species": name, "common": common} for name, common in space.species_names
            ],
            "window_seconds": space.window_seconds,
            "context_seconds": CONTEXT_S,
            "band_frequency": explorer.band_frequency,
            "frame_time": explorer.frame_time,
            "annotator": explorer.annotator,
        }

    def members_of(body: MembersRequest) -> dict[str, Any]:
        """How many windows lie in a region, and an even selection of them."""
        rows = explorer.book.rows(body.region)
        shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), SHOWN_MEMBERS)).astype(np.int64)]
        return {"members": len(rows), "rows": shown.tolist()}

    async def describe(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(described))

    async def points(_request: Request) -> Response:
        content, _ = await run_in_threadpool(columns)
        return Response(content, media_type="application/octet-stream")

    async def members(request: Request) -> Response:
        body = await read_body(request, MembersRequest)
        return JSONResponse(await run_in_threadpool(members_of, body))

    return [
        Route("/api/space", describe),
        Route("/api/points", points),
        Route("/api/members", members, methods=["POST"]),
    ]
