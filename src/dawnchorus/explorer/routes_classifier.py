"""The classifier over HTTP: train it, see what it is worth, what to hear next, apply it.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application. One training or
application runs at a time; a second is refused with 409.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.predictions import apply, described, next_windows, train
from dawnchorus.explorer.requests import Body, read_body
from dawnchorus.explorer.served import Explorer


class TrainRequest(Body):
    """Body of ``POST /api/classifier``."""

    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0


class ApplyRequest(Body):
    """Body of ``POST /api/classifier/apply``: nothing is asked."""


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the classifier."""
    results, book, name = explorer.results, explorer.book, explorer.space.experiment
    at_work = threading.Lock()

    def alone(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if not at_work.acquire(blocking=False):
            raise HTTPException(409, "the classifier is at work already; wait for it")
        try:
            return work()
        finally:
            at_work.release()

    def trained(seed: int) -> dict[str, Any]:
        train(results, book, seed=seed)
        return described(results, name)

    async def learn(request: Request) -> Response:
        body = await read_body(request, TrainRequest)
        return JSONResponse(await run_in_threadpool(alone, lambda: trained(body.seed)), 201)

    async def use(request: Request) -> Response:
        await read_body(request, ApplyRequest)
        return JSONResponse(await run_in_threadpool(alone, lambda: apply(results, book)), 201)

    async def describe(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(described, results, name))

    async def following(request: Request) -> Response:
        label = request.query_params.get("label")
        table = await run_in_threadpool(next_windows, results, book, label)
        return JSONResponse(table.select("row", "label", "probability", "margin").to_dicts())

    return [
        Route("/api/classifier", describe),
        Route("/api/classifier", learn, methods=["POST"]),
        Route("/api/classifier/apply", use, methods=["POST"]),
        Route("/api/classifier/next", following),
    ]
