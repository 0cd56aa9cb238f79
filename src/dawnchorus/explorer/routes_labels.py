"""The labels over HTTP: what stands, naming a region, undo and redo.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.labels import ConflictError
from dawnchorus.explorer.regions import Region
from dawnchorus.explorer.requests import Body, Who, read_body
from dawnchorus.explorer.served import Explorer


class LabelRequest(Body):
    """Body of ``POST /api/labels``."""

    region: Region
    label: Annotated[str, Field(max_length=1000)] | None
    who: Who | None = None


class OfRequest(Body):
    """Body of ``POST /api/undo`` and ``POST /api/redo``."""

    of: Annotated[int, Field(ge=1)]
    who: Who | None = None


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the labels."""
    book = explorer.book

    def standing() -> dict[str, Any]:
        """What stands, for the page."""
        state = book.state()
        holds = np.bincount(state.winner + 1, minlength=len(state.standing) + 1)[1:]
        return {
            "revision": state.revision,
            "names": state.names,
            "labelled": state.labelled,
            "standing": [
                {
                    **entry.model_dump(
                        mode="json", include={"id", "label", "who", "when", "region"}
                    ),
                    "holds": int(count),
                }
                for entry, count in zip(state.standing, holds, strict=True)
            ],
            "redo": state.undone[-1].id if state.undone else None,
            "elsewhere": state.elsewhere,
            "complaints": book.journal.complaints,
        }

    async def labels(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(standing))

    async def codes(_request: Request) -> Response:
        state = await run_in_threadpool(book.state)
        content = state.codes.astype("<u2").tobytes()
        headers = {"X-Revision": str(state.revision)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def label(request: Request) -> Response:
        body = await read_body(request, LabelRequest)
        try:
            entry = await run_in_threadpool(
                book.label, body.region, body.label, body.who or explorer.annotator
            )
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except DawnChorusError as error:
            raise HTTPException(507, str(error)) from None
        return JSONResponse({"id": entry.id, "members": entry.members, "label": entry.label}, 201)

    def change(operation: Callable[[int, str], None]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await read_body(request, OfRequest)
            try:
                await run_in_threadpool(operation, body.of, body.who or explorer.annotator)
            except ConflictError as conflict:
                raise HTTPException(409, str(conflict)) from None
            except DawnChorusError as error:
                raise HTTPException(507, str(error)) from None
            return JSONResponse({"of": body.of})

        return endpoint

    return [
        Route("/api/labels", labels),
        Route("/api/labels", label, methods=["POST"]),
        Route("/api/labels/codes", codes),
        Route("/api/undo", change(book.undo), methods=["POST"]),
        Route("/api/redo", change(book.redo), methods=["POST"]),
    ]
