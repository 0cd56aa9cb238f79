"""What clients send, and how it is read.

In: HTTP requests. Out: checked bodies, or an HTTPException whose detail says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.labels import ConflictError

MAX_BODY = 1 << 20
MOST_ROWS = 20_000

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Body(BaseModel):
    """Base of all bodies: what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Rows = Annotated[tuple[Annotated[int, Field(ge=0, lt=1 << 32)], ...], Field(max_length=MOST_ROWS)]

SomeBody = TypeVar("SomeBody", bound=Body)
Answer = TypeVar("Answer")


async def read_body(request: Request, model: type[SomeBody]) -> SomeBody:
    """Return the JSON body of a request.

    Raises
    ------
    HTTPException
        415 if it is not said to be JSON, 413 if it is too long, 422 if it is not what ``model`` says.
    """
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


def row_of(request: Request, windows: int) -> int:
    """Row number of a path; HTTPException 404 if there is no such window."""
    text = request.path_params["row"]
    if re.fullmatch(r"[0-9]{1,10}", text) and int(text) < windows:
        return int(text)
    raise HTTPException(404, "there is no such window")


def seconds_of(request: Request, name: str, default: float) -> float:
    """Seconds from the query, 0 to 99.999; HTTPException 422 if they are none."""
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text):
        raise HTTPException(422, f"{name}: seconds, 0 to 99.999")
    return float(text)


async def changed(operation: Callable[[], Answer]) -> Answer:
    """Run what writes into the journal; its errors become answers."""
    try:
        return await run_in_threadpool(operation)
    except ConflictError as conflict:
        raise HTTPException(409, str(conflict)) from None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    except DawnChorusError as error:
        raise HTTPException(507, str(error)) from None
