"""Who may talk to the explorer: this machine's user, with the token, from the explorer's own page.

In: every request. Out: the application's answer with headers that keep the page to itself, or 403.

- The name in ``Host`` must be this machine's own: a foreign name that a rebinding DNS server points at
  127.0.0.1 is refused.
- The token of the printed address must come with the query or with the cookie that the first page
  sets (one name per port, so that two explorers do not put each other out).
- A request with an ``Origin`` must come from the page itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src blob:; connect-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def same_token(given: str | None, token: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return given is not None and secrets.compare_digest(
        given.encode("utf-8", "surrogatepass"), token.encode()
    )


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse."""
        if scope["type"] != "http":
            return  # neither websockets nor lifespan events are served

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: MutableMapping[str, Any]) -> Response | None:
        request = HTTPConnection(scope)
        host = request.headers.get("host", "")
        if not OWN_HOST.fullmatch(host):
            return _forbidden("this explorer answers to 127.0.0.1 and localhost only")
        in_query = same_token(request.query_params.get("token"), self._token)
        if not in_query and not same_token(request.cookies.get(self._cookie), self._token):
            return _forbidden("open the address with the token that 'dawnchorus explore' printed")
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _forbidden("requests come from the explorer's own page only")
        if in_query and scope["path"] == "/" and scope["method"] == "GET":
            # The token leaves the address bar and the history.
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(
                self._cookie, self._token, httponly=True, samesite="strict", path="/"
            )
            return response
        return None


def _forbidden(why: str) -> Response:
    return JSONResponse({"error": why}, status_code=403)
