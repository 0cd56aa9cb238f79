"""The explorer's web application.

In: the output space, the labels, the cards. Out: a Starlette application: the page, the points as one
block of columns, clips and spectrograms by the number of their window, and the label operations.

A client names windows by row number only, never by path, and regions by their corners: which windows
lie inside is decided here.

=======  ======================================  =================================================
method   path                                    answer
=======  ======================================  =================================================
GET      /, /static/{name}                       the page
GET      /api/space                              JSON: experiment, names of the codes, axes, columns
GET      /api/points                             bytes: the columns that /api/space lays out
GET      /api/labels, /api/labels/codes          JSON: what stands; bytes: uint16 code per window
POST     /api/labels                             {region, label or null, who?}: name a region
POST     /api/undo, /api/redo                    {of, who?}
POST     /api/members                            {region}: how many windows, and some of them
GET      /api/windows/{row}                      JSON: which window this is
GET      /api/windows/{row}/spectrogram.png      the stored decibels
GET      /api/windows/{row}/audio.wav            the recording's samples, with context
=======  ======================================  =================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.clips import Spectrograms, cut
from dawnchorus.explorer.guard import Guard
from dawnchorus.explorer.labels import ConflictError, LabelBook
from dawnchorus.explorer.regions import Region
from dawnchorus.explorer.space import NONE, OutputSpace
from dawnchorus.results import Results

MAX_BODY = 1 << 20
SHOWN_MEMBERS = 500
"""Members of a selection that the page steps through."""
CONTEXT_S = 1.0
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelRequest(_Request):
    """Body of ``POST /api/labels``."""

    region: Region
    label: Annotated[str, Field(max_length=1000)] | None
    who: Who | None = None


class MembersRequest(_Request):
    """Body of ``POST /api/members``."""

    region: Region


class OfRequest(_Request):
    """Body of ``POST /api/undo`` and ``POST /api/redo``."""

    of: Annotated[int, Field(ge=1)]
    who: Who | None = None


Body = TypeVar("Body", bound=_Request)


@dataclass(frozen=True)
class Explorer:
    """What the application serves.

    Attributes
    ----------
    cards : Path
        Root of the recorder cards, or of a copy.
    band_frequency, frame_time : list of float
        Axes of all spectrograms: centres of the bands in hertz, middles of the frames in seconds.
    annotator : str
        Who labels, where the page does not say.
    """

    results: Results
    cards: Path
    space: OutputSpace
    book: LabelBook
    spectrograms: Spectrograms
    band_frequency: list[float]
    frame_time: list[float]
    annotator: str

    @cached_property
    def _columns(self) -> tuple[bytes, list[dict[str, Any]]]:
        return self.space.columns()

    def points(self) -> bytes:
        """Columns of all windows."""
        return self._columns[0]

    def describe(self) -> dict[str, Any]:
        """What the page needs to read the columns and to draw axes."""
        space = self.space
        known = space.cluster[space.cluster != NONE]
        return {
            "experiment": space.experiment,
            "windows": len(space),
            "columns": self._columns[1],
            "none": NONE,
            "clusters": int(known.max()) + 1 if len(known) else 0,
            "recorders": space.recorders,
            "species": [
                {"species": name, "common": common} for name, common in space.species_names
            ],
            "window_seconds": space.window_seconds,
            "context_seconds": CONTEXT_S,
            "band_frequency": self.band_frequency,
            "frame_time": self.frame_time,
            "annotator": self.annotator,
        }

    def labels(self) -> dict[str, Any]:
        """What stands, for the page."""
        state = self.book.state()
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
            "complaints": self.book.journal.complaints,
        }

    def members(self, body: MembersRequest) -> dict[str, Any]:
        """How many windows lie in a region, and an even selection of them."""
        rows = self.space.membership.rows(body.region)
        shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), SHOWN_MEMBERS)).astype(np.int64)]
        return {"members": len(rows), "rows": shown.tolist()}

    def row(self, text: str) -> int:
        """Row number of a path; HTTPException 404 if there is no such window."""
        if re.fullmatch(r"[0-9]{1,10}", text) and int(text) < len(self.space):
            return int(text)
        raise HTTPException(404, "there is no such window")

    def window(self, row: int) -> dict[str, Any]:
        """Which window a row is, and what is said of it."""
        state, space = self.book.state(), self.space
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

    def spectrogram(self, row: int) -> Response:
        """PNG of a window."""
        window = self.space.window(row)
        day = self.space.days[int(self.space.day[row])]
        png, low, high = self.spectrograms.png(day, window["recording"], window["offset"])
        headers = {"X-Decibels": f"{low:.1f} {high:.1f}"}
        return Response(png, media_type="image/png", headers=headers)

    def audio(self, row: int, context_s: float) -> Response:
        """WAV of a window; only recordings of the inventory are opened."""
        window = self.space.window(row)
        if not window["known"]:
            raise DawnChorusError(
                "is not in the inventory", window["recording"], "run 'dawnchorus scan' again"
            )
        clip = cut(
            self.cards, window["recording"], window["offset"], self.space.window_seconds, context_s
        )
        headers = {"X-Lead-Seconds": f"{clip.lead_s:.6f}"}
        return Response(clip.wav, media_type="audio/wav", headers=headers)


async def _read(request: Request, model: type[Body]) -> Body:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"more than {MAX_BODY:,} bytes")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _context(request: Request) -> float:
    text = request.query_params.get("context", str(CONTEXT_S))
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text):
        raise HTTPException(422, "context: seconds, 0 to 99.999")
    return float(text)


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

    def answer(make: Callable[[], Any]) -> Callable[[Request], Any]:
        async def endpoint(_request: Request) -> Response:
            return JSONResponse(await run_in_threadpool(make))

        return endpoint

    async def points(_request: Request) -> Response:
        return Response(
            await run_in_threadpool(explorer.points), media_type="application/octet-stream"
        )

    async def codes(_request: Request) -> Response:
        state = await run_in_threadpool(explorer.book.state)
        content = state.codes.astype("<u2").tobytes()
        headers = {"X-Revision": str(state.revision)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def label(request: Request) -> Response:
        body = await _read(request, LabelRequest)
        try:
            entry = await run_in_threadpool(
                explorer.book.label, body.region, body.label, body.who or explorer.annotator
            )
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except DawnChorusError as error:
            raise HTTPException(507, str(error)) from None
        return JSONResponse({"id": entry.id, "members": entry.members, "label": entry.label}, 201)

    def change(operation: Callable[[int, str], None]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body = await _read(request, OfRequest)
            try:
                await run_in_threadpool(operation, body.of, body.who or explorer.annotator)
            except ConflictError as conflict:
                raise HTTPException(409, str(conflict)) from None
            except DawnChorusError as error:
                raise HTTPException(507, str(error)) from None
            return JSONResponse({"of": body.of})

        return endpoint

    async def members(request: Request) -> Response:
        body = await _read(request, MembersRequest)
        return JSONResponse(await run_in_threadpool(explorer.members, body))

    async def window(request: Request) -> Response:
        row = explorer.row(request.path_params["row"])
        return JSONResponse(await run_in_threadpool(explorer.window, row))

    async def spectrogram(request: Request) -> Response:
        row = explorer.row(request.path_params["row"])
        return await run_in_threadpool(explorer.spectrogram, row)

    async def audio(request: Request) -> Response:
        row, context_s = explorer.row(request.path_params["row"]), _context(request)
        return await run_in_threadpool(explorer.audio, row, context_s)

    async def refused(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        why = error.detail if isinstance(error, HTTPException) else str(error)
        return JSONResponse({"error": why}, status_code=status)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", static),
            Route("/api/space", answer(explorer.describe)),
            Route("/api/points", points),
            Route("/api/labels", answer(explorer.labels)),
            Route("/api/labels", label, methods=["POST"]),
            Route("/api/labels/codes", codes),
            Route("/api/members", members, methods=["POST"]),
            Route("/api/undo", change(explorer.book.undo), methods=["POST"]),
            Route("/api/redo", change(explorer.book.redo), methods=["POST"]),
            Route("/api/windows/{row}", window),
            Route("/api/windows/{row}/spectrogram.png", spectrogram),
            Route("/api/windows/{row}/audio.wav", audio),
        ],
        middleware=[Middleware(Guard, token=token, cookie=cookie)],
        # What a window lacks (its recording, its store) is "not found", and says where it looked.
        exception_handlers={HTTPException: refused, DawnChorusError: refused},
    )
