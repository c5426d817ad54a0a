"""What a server asks of every HTTP request before anything else: its host, its origin, its token, its media type.

A page in somebody's browser reaches servers on loopback too. It cannot choose the headers that are checked here.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from magentic_kit.errors import ConfigError

MIN_TOKEN = 16
"""Characters of a token: nothing but its length keeps others from trying them all."""

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>.*)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITH_BODY = ("POST", "PUT", "PATCH")


def split_authority(text: str) -> tuple[str, int | None]:
    """Splits `host:port`, `host` or `[address]:port`. The host is in lower case and without brackets or a last dot.

    Raises `ValueError`.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a host with or without a port")
    host = match["host"].strip("[]").lower().removesuffix(".")
    with suppress(ValueError):
        host = str(ipaddress.ip_address(host))  # an address has many spellings
    return host, int(match["port"]) if match["port"] else None


def is_loopback(host: str) -> bool:
    """Says whether only this machine reaches that host: `localhost`, all of 127.0.0.0/8 and ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """The hosts that a server answers to, and the bearer token that it asks for, if any.

    Loopback is always answered to. `any_address` adds every host that is a number: only a name can be made to lead
    to somebody else's server (DNS rebinding).
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None
    any_address: bool = False

    @classmethod
    def of(cls, bound: str, *, allow_hosts: Iterable[str] = (), token: str | None = None) -> Access:
        """Returns the access to a server that listens at the host `bound`, and is called `allow_hosts` by others too.

        Raises `ConfigError` if that is more than loopback and there is no token.
        """
        hosts = {_plain_host(bound, "host")}
        hosts.update(_plain_host(host, "--allow-host") for host in allow_hosts)
        beyond = sorted(host for host in hosts if not is_loopback(host))
        if beyond and token is None:
            message = f"'{beyond[0]}' is reached from beyond this machine: a token is needed, in the variable NAME"
            raise ConfigError.one(message, file="--token-env NAME")
        if token is not None and (len(token) < MIN_TOKEN or not re.fullmatch(r"[!-~]+", token)):
            message = f"the token should have {MIN_TOKEN} or more characters, of ASCII and without blanks"
            raise ConfigError.one(message, file="--token-env")
        return cls(frozenset(hosts), token, any_address=bool(hosts & {"0.0.0.0", "::"}))

    def answers_to(self, host: str) -> bool:
        """Says whether the server goes by that host, as `split_authority` returns it."""
        if is_loopback(host) or host in self.hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return self.any_address


class RequestGuard:
    """ASGI middleware: answers what `access` does not allow, and lets the rest through to `app`.

    A request names one host that the server answers to, with any port, as tunnels change it. It comes from no page,
    or from one of this very host and port. It has the token, if one is asked for. Its body has a media type of
    `bodies`: a page of somebody else may send a form or plain text without asking, but not JSON.
    """

    def __init__(self, app: ASGIApp, access: Access, *, bodies: Collection[str] = ("application/json",)) -> None:
        self._app = app
        self._access = access
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        app = self._app
        if scope["type"] in ("http", "websocket"):
            app = self._refusal(Headers(scope=scope), scope.get("method", "GET")) or app
        await app(scope, receive, send)

    def _refusal(self, headers: Headers, method: str) -> PlainTextResponse | None:
        """Returns the answer to a request that is not let through."""
        try:
            (authority,) = headers.getlist("host")
            host, port = split_authority(authority)
        except ValueError:
            return PlainTextResponse("the request should name one host", 400)
        if not self._access.answers_to(host):
            return PlainTextResponse(f"this server does not answer to the host '{host}'", 421)
        if not all(_is_origin_of(origin, host, port) for origin in headers.getlist("origin")):
            return PlainTextResponse("pages of other origins may not use this server", 403)
        if not self._has_token(headers):
            challenge = {"WWW-Authenticate": "Bearer"}
            return PlainTextResponse("this server asks for its bearer token", 401, challenge)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method in _WITH_BODY and media_type not in self._bodies:
            return PlainTextResponse(f"the body should be {' or '.join(self._bodies)}, by its Content-Type", 415)
        return None

    def _has_token(self, headers: Headers) -> bool:
        if self._access.token is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(token.encode(), self._access.token.encode())


def _plain_host(text: str, option: str) -> str:
    """Returns a host without a port as it is compared. Raises `ConfigError`."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(text))  # IPv6 needs no brackets where no port follows
    try:
        host, port = split_authority(text)
    except ValueError:
        host, port = "", None
    if not host or port is not None:
        raise ConfigError.one(f"'{text}' should be a host's name or address, without a port", file=option)
    return host


def _is_origin_of(origin: str, host: str, port: int | None) -> bool:
    """Says whether a page of that origin came from this host and port; `null` comes from nowhere."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    try:
        of_page, port_of_page = split_authority(match["authority"])
    except ValueError:
        return False
    default = _DEFAULT_PORTS[match["scheme"].lower()]
    return (of_page, port_of_page or default) == (host, port or default)
