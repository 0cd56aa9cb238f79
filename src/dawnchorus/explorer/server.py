"""The explorer's web application: the page, and the routes of all rooms behind one guard.

In: what is served (:class:`~dawnchorus.explorer.served.Explorer`) and a token. Out: a Starlette
application.

A client names windows by row number only, never by path, and regions by their corners: which windows
lie inside is decided here.

All operations stand in :mod:`dawnchorus.explorer.openapi`, which the application serves as
``/api/openapi.json``.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer import (
    routes_annotators,
    routes_classifier,
    routes_clips,
    routes_export,
    routes_labels,
    routes_points,
)
from dawnchorus.explorer.guard import Guard
from dawnchorus.explorer.openapi import document
from dawnchorus.explorer.served import Explorer

PAGE_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".txt": "text/plain",
}


def _page_files() -> dict[str, tuple[bytes, str]]:
    """Files of the page by name; nothing else can be asked for."""
    return {
        file.name: (file.read_bytes(), PAGE_TYPES[Path(file.name).suffix])
        for file in (resources.files("dawnchorus.explorer") / "page").iterdir()
        if Path(file.name).suffix in PAGE_TYPES
    }


def create_app(explorer: Explorer, token: str, cookie: str) -> Starlette:
    """Return the application.

    Parameters
    ----------
    explorer : Explorer
    token : str
        Without it every request is refused.
    cookie : str
        Name of the cookie that carries the token.
    """
    files = _page_files()

    async def page(request: Request) -> Response:
        content, kind = files[request.path_params.get("name", "explorer.html")]
        return Response(content, media_type=kind)

    async def static(request: Request) -> Response:
        if request.path_params["name"] not in files:
            raise HTTPException(404, "there is no such file")
        return await page(request)

    async def described(_request: Request) -> Response:
        return JSONResponse(document())

    async def refused(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        why = error.detail if isinstance(error, HTTPException) else str(error)
        return JSONResponse({"error": why}, status_code=status)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", static),
            *routes_points.routes(explorer),
            *routes_labels.routes(explorer),
            *routes_annotators.routes(explorer),
            *routes_clips.routes(explorer),
            *routes_classifier.routes(explorer),
            *routes_export.routes(explorer),
            Route("/api/openapi.json", described),
        ],
        middleware=[Middleware(Guard, token=token, cookie=cookie)],
        # What a window lacks (its recording, its store) is "not found", and says where it looked.
        exception_handlers={HTTPException: refused, DawnChorusError: refused},
    )
