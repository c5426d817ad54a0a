"""Ports of loopback."""

from __future__ import annotations

import socket


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as it:
        return it.connect_ex(("127.0.0.1", port)) == 0
