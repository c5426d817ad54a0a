"""What the routes of a server share: bodies that are read within bounds, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from magentic_kit.serve.teams import ServedRun

_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=BaseModel)

MAX_BYTES = 2**24
"""Of a request's body."""


class BadRequest(Exception):
    """What is wrong with a request, as one sentence; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


async def read_body(request: Request, kind: type[_Body]) -> _Body:
    """Reads a JSON body. Raises `BadRequest`."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise BadRequest(f"the body has more than {MAX_BYTES} bytes", 413)
    try:
        return kind.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{place or 'the body'}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T | None:
    """Awaits `work`, which is cancelled when the client leaves; then returns None."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leave())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


class RunResponse(EventSourceResponse):
    """Server-sent events of a run that ends with the response, or when the client leaves."""

    def __init__(self, run: ServedRun, events: AsyncIterator[dict[str, Any]]) -> None:
        super().__init__(events, sep="\n")
        self._served = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events."""
        async with self._served:
            await super().__call__(scope, receive, send)
