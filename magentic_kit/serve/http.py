"""An ASGI app on sockets of this machine, until the process is asked to end."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from magentic_kit.errors import ConfigError
from magentic_kit.serve.guard import split_authority

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address that a name has and this machine has not, as ::1 of `localhost` without IPv6."""


def parse_address(text: str, option: str) -> tuple[str, int]:
    """Splits `HOST:PORT`, where an IPv6 address is in brackets. Raises `ConfigError` about the option."""
    try:
        host, port = split_authority(text)
    except ValueError:
        host, port = "", None
    if not host or port is None or port > 65535:
        message = f"'{text}' should be HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765"
        raise ConfigError.one(message, file=option)
    return host, port


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens a socket for each address of the host; port 0 is any free one, the same for all.

    Raises `ConfigError`.
    """
    listening: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                listening.append(socket.create_server((str(address[0]), port), family=family, backlog=2048))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
            else:
                port = listening[0].getsockname()[1]
        if not listening and missing is not None:
            raise missing
    except OSError as error:
        for open_socket in listening:
            open_socket.close()
        message = f"cannot listen here: {error.strerror or error}"
        raise ConfigError.one(message, file=f"{host}:{port}") from error
    return listening


def url_of(host: str, listening: socket.socket) -> str:
    """Returns the address of the server as a client writes it."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the command, for which uvicorn's own would end the process before runs have ended."""
        yield


async def serve_app(app: ASGIApp, listening: list[socket.socket], stop: asyncio.Event) -> None:
    """Serves until `stop` is set; then requests that are still answered get a second."""
    server = _Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.ensure_future(end())
    try:
        await server.serve(sockets=listening)
    finally:
        ending.cancel()


async def serve_while(
    app: ASGIApp, runs: AbstractAsyncContextManager[object], listening: list[socket.socket], stop: asyncio.Event
) -> None:
    """Serves until `stop` is set, with `runs` open; its end is that of all runs, and so of every open response."""
    runs_ended = asyncio.Event()
    serving = asyncio.ensure_future(serve_app(app, listening, runs_ended))
    stopped = asyncio.ensure_future(stop.wait())
    async with runs:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    runs_ended.set()
    await serving
