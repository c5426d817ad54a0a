"""OpenAI's own client, made for many runs at once; the rest of the package only sees a client."""

from __future__ import annotations

import json
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any, cast
from urllib.request import getproxies

import openai


def _http_client() -> Any:
    """A client on aiohttp's transport, the quicker one, where openai can use it; else None, for openai's default.

    openai 3 brings what it needs, and aiohttp comes with Semantic Kernel; openai 2 wants the extra `fast`.
    """
    if any(proxy.startswith("socks") for proxy in getproxies().values()):
        return None  # aiohttp would speak HTTP to it
    try:
        client: Any = openai.DefaultAioHttpClient()
    except RuntimeError:
        return None
    for transport in filter(None, (client._transport, *client._mounts.values())):  # the latter for proxies
        weakref.finalize(client, _abandon, transport)
    return client


def _abandon(transport: Any) -> None:
    """Closes what nobody has closed, since aiohttp would complain of it on the terminal, and httpx would not."""
    session = transport.client  # opened with the first request
    if session is not None and not session.closed:
        with suppress(StopIteration):
            session.close().send(None)  # its first step lets go of the connections; its loop may be gone


class _Together:
    """Decodes a stream; the words that one read has brought become one event.

    Each event costs openai and Semantic Kernel up to 0.2 ms, whether it brings a word or a page. So a
    process that is busy with other runs does less for each of them, and nothing comes later than it would.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    async def aiter_bytes(self, parts: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """The events of the stream."""
        held = b""
        async for part in parts:
            whole, end, held = (held + part).replace(b"\r\n", b"\n").rpartition(b"\n\n")
            if end:
                for event in _merged([event async for event in self._decoder.aiter_bytes(_one(whole + end))]):
                    yield event
        async for event in self._decoder.aiter_bytes(_one(held)):
            yield event


class _Openai(openai.AsyncOpenAI):
    def _make_sse_decoder(self) -> Any:
        return _Together(super()._make_sse_decoder())


class _Azure(openai.AsyncAzureOpenAI):
    def _make_sse_decoder(self) -> Any:
        return _Together(super()._make_sse_decoder())


def openai_client(**arguments: Any) -> openai.AsyncOpenAI:
    """`openai.AsyncOpenAI`, quicker."""
    return _Openai(**arguments, http_client=_http_client())


def azure_client(**arguments: Any) -> openai.AsyncAzureOpenAI:
    """`openai.AsyncAzureOpenAI`, quicker."""
    return _Azure(**arguments, http_client=_http_client())


async def _one(part: bytes) -> AsyncIterator[bytes]:
    yield part


def _merged(events: Iterable[Any]) -> Iterator[Any]:
    read = [(event, *_text(event)) for event in events]
    for beside, alike in groupby(read, lambda one: one[1]):
        group = list(alike)
        first = group[0][0]
        if beside is None or len(group) == 1:
            yield from (event for event, *_ in group)
            continue
        chunk = json.loads(first.data)
        chunk["choices"][0]["delta"]["content"] = "".join(text for *_, text in group)
        yield type(first)(data=json.dumps(chunk))


def _text(event: Any) -> tuple[dict[str, Any] | None, str]:
    """What a piece of text says of itself, which pieces that are put together share, and the text; else None."""
    try:
        chunk: Any = json.loads(event.data)
    except ValueError:
        return None, ""
    match chunk:
        case {"choices": [{"delta": {"content": str(text), **more}, **beside}], **rest}:
            told = [rest.get("usage"), rest.get("error"), beside.get("finish_reason")]
            if not any((*told, *(value for key, value in more.items() if key != "role"))):
                return cast("dict[str, Any]", beside), text
    return None, ""
