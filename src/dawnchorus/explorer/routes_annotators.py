"""The annotators' work over HTTP: what was heard, names to choose, overlaps, meter, agreement.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.concordance import concordance
from dawnchorus.explorer.meter import meters
from dawnchorus.explorer.names import Names
from dawnchorus.explorer.requests import Body, Rows, Who, changed, read_body
from dawnchorus.explorer.served import Explorer

SHOWN_PAIRS = 100


class HeardRequest(Body):
    """Body of ``POST /api/heard``."""

    rows: Annotated[Rows, Field(min_length=1)]
    who: Who | None = None


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the annotators' work."""
    book = explorer.book
    names = Names(explorer.space.species_names)

    async def heard(request: Request) -> Response:
        body = await read_body(request, HeardRequest)
        who = body.who or explorer.annotator
        await changed(lambda: book.hear(book.checked(body.rows), who))
        return JSONResponse({"heard": len(set(body.rows))}, 201)

    def overlapping() -> list[dict[str, Any]]:
        return [
            {"holds": one.id, "gives_way": other.id, "windows": count}
            for one, other, count in book.overlaps()
        ]

    def metered() -> list[dict[str, Any]]:
        return [asdict(meter) for meter in meters(book)]

    def answer(make: Callable[[], Any]) -> Callable[[Request], Any]:
        async def endpoint(_request: Request) -> Response:
            return JSONResponse(await run_in_threadpool(make))

        return endpoint

    async def complete(request: Request) -> Response:
        typed = request.query_params.get("typed", "")[:200]
        used = (await run_in_threadpool(book.state)).names
        found = await run_in_threadpool(names.complete, typed, used)
        return JSONResponse([name._asdict() for name in found])

    async def agreement(request: Request) -> Response:
        first, second = (request.query_params.get(key, "") for key in ("first", "second"))
        found = await run_in_threadpool(concordance, book, first, second)
        pairs = found.pairs.head(SHOWN_PAIRS).to_dicts()
        return JSONResponse({**vars(found), "pairs": pairs})

    return [
        Route("/api/heard", heard, methods=["POST"]),
        Route("/api/names", complete),
        Route("/api/labels/overlaps", answer(overlapping)),
        Route("/api/meter", answer(metered)),
        Route("/api/agreement", agreement),
    ]
