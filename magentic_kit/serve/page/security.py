"""Who may use the page: whoever opened the address with the token, from a page of this server, with its forms."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM = "application/x-www-form-urlencoded"

_LARGEST_FORM = 2**21
"""Bytes of a form; a task or a plan is far shorter."""
_MOST_FIELDS = 1_000
_OPEN = "open the address that the server has printed: it has the token"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # not none: a form's request would have the origin `null`
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Keys:
    """The token that opens the page, the cookie that then stands for it, and what a form has to send along."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(24)
        secret = secrets.token_bytes(32)
        self.cookie = hmac.new(secret, b"cookie", hashlib.sha256).hexdigest()
        self.csrf = hmac.new(secret, b"form", hashlib.sha256).hexdigest()


class PageGuard:
    """ASGI middleware: lets requests with the cookie through to `app`; the token, once, is turned into the cookie.

    A request that changes something comes from a page of this server. Answers are kept nowhere and framed nowhere.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._answer(Request(scope))
        await (answer or self._app)(scope, receive, send_safely)

    def _answer(self, request: Request) -> Response | None:
        """Returns the answer to a request that the app does not get."""
        name = _cookie_name(request.scope)
        query = parse_qsl(request.url.query, keep_blank_values=True)
        token = dict(query).get("token")
        if token is not None and request.method == "GET":
            if not _same(token, self._keys.token):
                return PlainTextResponse(f"this is not the token; {_OPEN}", 401)
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            answer = RedirectResponse(_address(request.url.path, rest), 303)
            answer.set_cookie(name, self._keys.cookie, path="/", httponly=True, samesite="strict")
            return answer
        if not _same(request.cookies.get(name, ""), self._keys.cookie):
            return PlainTextResponse(_OPEN, 401)
        if request.method not in ("GET", "HEAD") and not _is_from_here(request.headers):
            return PlainTextResponse("only pages of this server may send this", 403)
        return None


async def read_form(request: Request, keys: Keys) -> Mapping[str, str]:
    """Returns the fields of a form of this server. Raises `HTTPException` for any other."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, f"a form has at most {_LARGEST_FORM:,} bytes")
    if not body:  # which Python before 3.11 takes for a broken form
        return check_secret({}, keys)
    try:
        fields = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, strict_parsing=True
        )
    except ValueError as error:
        raise HTTPException(400, "this is not a form") from error
    return check_secret({name: value.replace("\r\n", "\n") for name, value in fields}, keys)


def check_secret(form: dict[str, str], keys: Keys) -> Mapping[str, str]:
    """Returns the fields without what only forms of this server have. Raises `HTTPException` if that is not there."""
    if not _same(form.pop("csrf", ""), keys.csrf):
        raise HTTPException(403, "this form is not of this server, or older than its last start: load its page again")
    return form


def _is_from_here(headers: Headers) -> bool:
    """Says whether a browser tells that a page of this server sends this; the guard has compared the origin."""
    return "origin" in headers and headers.get("sec-fetch-site", "same-origin") == "same-origin"


def _address(path: str, query: str) -> str:
    """Returns an address of this server: a path that begins with two slashes would be another's."""
    address = "/" + path.lstrip("/\\")
    if query:
        address += f"?{query}"
    return address


def _cookie_name(scope: Scope) -> str:
    """Browsers keep cookies by host alone: servers at other ports have others."""
    server = scope.get("server") or ("", 0)
    return f"magentic_kit_{server[1]}"


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "replace"), other.encode())
