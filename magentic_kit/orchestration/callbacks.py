"""Functions of the caller's that are told of a run: sync or async, and harmless to it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec

_P = ParamSpec("_P")

logger = logging.getLogger(__name__)


def isolated(callback: Callable[_P, Awaitable[None] | None] | None) -> Callable[_P, Awaitable[None]] | None:
    """The callback, if any, as a coroutine function that logs what it raises (DESIGN.md, defect 9)."""
    if callback is None:
        return None

    async def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            waiting = callback(*args, **kwargs)
            if inspect.isawaitable(waiting):
                await waiting
        except Exception:
            logger.warning("%r raised; the run goes on", callback, exc_info=True)

    return call
