"""The map over HTTP: what there is, where the windows lie, and which to hear of a region.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.conditions import Condition
from dawnchorus.explorer.gallery import pick
from dawnchorus.explorer.levels import COLUMNS, GRID, Levels
from dawnchorus.explorer.members import met
from dawnchorus.explorer.regions import Region
from dawnchorus.explorer.requests import Body, read_body
from dawnchorus.explorer.routes_clips import CONTEXT_S
from dawnchorus.explorer.served import Explorer
from dawnchorus.explorer.space import NONE, news

SHOWN_MEMBERS = 500
"""Members of a selection that the page steps through."""


class MembersRequest(Body):
    """Body of ``POST /api/members``."""

    region: Region


class CountsRequest(Body):
    """Body of ``POST /api/counts``: windows that meet ``where``, counted by what ``by`` says."""

    by: Literal["cluster", "species", "recorder", "habitat", "hour", "date", "label"]
    where: Condition | None = None


class GalleryRequest(Body):
    """Body of ``POST /api/gallery``: ``each`` windows of every kind, another ``seed`` other random ones."""

    region: Region
    each: Annotated[int, Field(ge=1, le=60)] = 8
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the map."""
    space = explorer.space
    levels = Levels(space)

    def described() -> dict[str, Any]:
        """What the page needs to read the points and to draw axes."""
        known = space.cluster[space.cluster != NONE]
        return {
            "experiment": space.experiment,
            "windows": len(space),
            "columns": [{"name": name, "dtype": dtype} for name, dtype in COLUMNS],
            "bounds": levels.bounds,
            "grid": GRID,
            "levels": [levels.counts(level).tolist() for level in range(len(levels))],
            "none": NONE,
            "clusters": int(known.max()) + 1 if len(known) else 0,
            "activity_high": _high(space.activity),
            "recorders": space.recorders,
            "habitats": space.habitats,
            "dates": space.dates,
            "species": [
                {"species": name, "common": common} for name, common in space.species_names
            ],
            "window_seconds": space.window_seconds,
            "context_seconds": CONTEXT_S,
            "band_frequency": explorer.band_frequency,
            "frame_time": explorer.frame_time,
            "annotator": explorer.annotator,
        }

    def points_of(level: int, cells: list[int] | None) -> bytes:
        return levels.columns(levels.rows(level, cells))

    def members_of(body: MembersRequest) -> dict[str, Any]:
        """How many windows lie in a region, and an even selection of them."""
        rows = explorer.book.rows(body.region)
        shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), SHOWN_MEMBERS)).astype(np.int64)]
        return {"members": len(rows), "rows": shown.tolist()}

    def counts_of(body: CountsRequest) -> dict[str, Any]:
        """How many windows are shown, and how many of them have each code; the last are without one."""
        state = explorer.book.state()
        codes = state.codes if body.by == "label" else getattr(space, body.by)
        if body.where is not None:
            keep = met(body.where, space)
            keep &= state.called(body.where)
            codes = codes[keep]
        counts = np.bincount(codes, minlength=NONE + 1)
        last = int(np.flatnonzero(counts[:NONE]).max(initial=-1)) + 1
        return {"shown": len(codes), "counts": counts[:last].tolist(), "none": int(counts[NONE])}

    def gallery_of(body: GalleryRequest) -> dict[str, Any]:
        rows = explorer.book.rows(body.region)
        return {"members": len(rows), **pick(space, body.region, rows, body.each, body.seed)}

    async def describe(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(described))

    async def since(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(news, explorer.results, space))

    async def points(request: Request) -> Response:
        level, cells = _level(request, len(levels)), _cells(request)
        content = await run_in_threadpool(points_of, level, cells)
        return Response(content, media_type="application/octet-stream")

    async def members(request: Request) -> Response:
        body = await read_body(request, MembersRequest)
        return JSONResponse(await run_in_threadpool(members_of, body))

    async def counts(request: Request) -> Response:
        body = await read_body(request, CountsRequest)
        return JSONResponse(await run_in_threadpool(counts_of, body))

    async def gallery(request: Request) -> Response:
        body = await read_body(request, GalleryRequest)
        return JSONResponse(await run_in_threadpool(gallery_of, body))

    return [
        Route("/api/space", describe),
        Route("/api/news", since),
        Route("/api/points/{level}", points),
        Route("/api/members", members, methods=["POST"]),
        Route("/api/counts", counts, methods=["POST"]),
        Route("/api/gallery", gallery, methods=["POST"]),
    ]


def _high(activity: NDArray[np.float32]) -> float | None:
    """Activity that one window in fifty exceeds: the end of its colours."""
    known = activity[np.isfinite(activity)]
    return round(float(np.percentile(known, 98)), 2) if len(known) else None


def _level(request: Request, levels: int) -> int:
    text = request.path_params["level"]
    if re.fullmatch(r"[0-9]{1,2}", text) and int(text) < levels:
        return int(text)
    raise HTTPException(404, "there is no such level")


def _cells(request: Request) -> list[int] | None:
    """Cells asked for, each once; None: all."""
    text = request.query_params.get("cells")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text):
        raise HTTPException(422, "cells: numbers, separated by commas")
    cells = list(dict.fromkeys(map(int, text.split(","))))
    if max(cells) >= GRID * GRID:
        raise HTTPException(422, f"cells: numbers below {GRID * GRID}")
    return cells
