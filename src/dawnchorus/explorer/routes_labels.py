"""The labels over HTTP: what stands, naming, undo and redo.

In: :class:`~dawnchorus.explorer.served.Explorer`. Out: routes of the application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.entries import LabelEntry
from dawnchorus.explorer.labels import RULE
from dawnchorus.explorer.names import Names
from dawnchorus.explorer.regions import Region, WindowsRegion
from dawnchorus.explorer.requests import Body, Rows, Who, changed, read_body
from dawnchorus.explorer.served import Explorer

INHERITED, HEARD, SINGLE = 1, 2, 4
"""Bits of a window's mark."""


class LabelRequest(Body):
    """Body of ``POST /api/labels``: a region or single rows, less some rows.

    ``revision`` is that of the labels the page shows: who named some of the windows since is not overwritten
    unseen.
    """

    region: Region | None = None
    rows: Rows = ()
    without: Rows = ()
    label: Annotated[str, Field(max_length=1000)] | None
    who: Who | None = None
    revision: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.region is None) == (not self.rows):
            raise ValueError("give a region or rows")
        return self


class OfRequest(Body):
    """Body of ``POST /api/undo`` and ``POST /api/redo``."""

    of: Annotated[int, Field(ge=1)]
    who: Who | None = None


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the labels."""
    book, space = explorer.book, explorer.space
    names = Names(space.species_names)

    def standing() -> dict[str, Any]:
        """What stands, for the page."""
        state = book.state()
        kept = {"id", "label", "who", "when", "region", "heard", "imported"}
        return {
            "revision": state.revision,
            "names": state.names,
            "labelled": state.labelled,
            "inherited": int(np.count_nonzero(state.inherited)),
            "heard": int(np.count_nonzero(state.heard & (state.codes > 0))),
            "rule": RULE,
            "standing": sorted(
                (
                    {
                        **entry.model_dump(mode="json", include=kept),
                        "holds": int(count),
                        "members": members,
                    }
                    for entry, count, members in zip(
                        state.standing, state.holds, state.members, strict=True
                    )
                ),
                key=lambda said: said["id"],
            ),
            "redo": state.undone[-1].id if state.undone else None,
            "elsewhere": state.elsewhere,
            "complaints": book.journal.complaints,
        }

    async def labels(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(standing))

    def column(of: Callable[[], tuple[int, bytes]]) -> Callable[[Request], Any]:
        async def endpoint(_request: Request) -> Response:
            revision, content = await run_in_threadpool(of)
            headers = {"X-Revision": str(revision)}
            return Response(content, media_type="application/octet-stream", headers=headers)

        return endpoint

    def codes() -> tuple[int, bytes]:
        state = book.state()
        return state.revision, state.codes.astype("<u2").tobytes()

    def marks() -> tuple[int, bytes]:
        """A byte per window: the sum of INHERITED, HEARD and SINGLE."""
        state = book.state()
        bits = state.inherited * np.uint8(INHERITED) + state.heard * np.uint8(HEARD)
        alone = [isinstance(entry.region, WindowsRegion) for entry in state.standing]
        bits += np.array([*alone, False], dtype=np.uint8)[state.winner] * np.uint8(SINGLE)
        return state.revision, bits.tobytes()

    def named(body: LabelRequest) -> LabelEntry:
        region = body.region
        without = book.members.windows(book.checked(body.without))
        if region is None:
            rows = book.checked(body.rows)
            region = WindowsRegion(kind="windows", windows=book.members.windows(rows))
        if without:
            region = region.model_copy(update={"without": {**region.without, **without}})
        label = body.label
        if label is not None:
            label = names.spelled(" ".join(label.split()), book.state().names)
        return book.label(region, label, body.who or explorer.annotator, seen=body.revision)

    async def label(request: Request) -> Response:
        body = await read_body(request, LabelRequest)
        entry = await changed(lambda: named(body))
        said = {"id": entry.id, "members": entry.members, "label": entry.label}
        return JSONResponse({**said, "heard": entry.heard}, 201)

    def change(operation: Callable[[int, str], None]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await read_body(request, OfRequest)
            await changed(lambda: operation(body.of, body.who or explorer.annotator))
            return JSONResponse({"of": body.of})

        return endpoint

    return [
        Route("/api/labels", labels),
        Route("/api/labels", label, methods=["POST"]),
        Route("/api/labels/codes", column(codes)),
        Route("/api/labels/marks", column(marks)),
        Route("/api/undo", change(book.undo), methods=["POST"]),
        Route("/api/redo", change(book.redo), methods=["POST"]),
    ]
