"""OpenAI's own client, made for many runs at once; the rest of the package only sees a client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from pkgutil import resolve_name
from typing import Any, cast
from urllib.request import getproxies

import openai

_HTTP = next(c.__module__ for c in openai.DefaultAsyncHttpxClient.__mro__ if not c.__module__.startswith("openai"))
"""The HTTP library that this release of openai is built on: httpx, or httpx2 since openai 3."""

_AsyncByteStream: type[Any] = resolve_name(f"{_HTTP.partition('.')[0]}:AsyncByteStream")


def openai_client(**arguments: Any) -> openai.AsyncOpenAI:
    """`openai.AsyncOpenAI`, quicker."""
    return openai.AsyncOpenAI(**arguments, http_client=http_client())


def azure_client(**arguments: Any) -> openai.AsyncAzureOpenAI:
    """`openai.AsyncAzureOpenAI`, quicker."""
    return openai.AsyncAzureOpenAI(**arguments, http_client=http_client())


def http_client() -> Any:
    """openai's HTTP client, on aiohttp's transport, the quicker one, where openai can use it.

    openai 3 brings what it needs, and aiohttp comes with Semantic Kernel; openai 2 wants the extra `fast`.
    """
    hooks: dict[str, Any] = {"response": [_merge_stream]}
    if not any(proxy.startswith("socks") for proxy in getproxies().values()):  # aiohttp would speak HTTP to it
        try:
            return openai.DefaultAioHttpClient(event_hooks=hooks)
        except RuntimeError:
            pass
    return openai.DefaultAsyncHttpxClient(event_hooks=hooks)


async def _merge_stream(response: Any) -> None:
    """Puts `merged_events` under a response that is a stream of events."""
    headers = response.headers
    if headers.get("content-type", "").startswith("text/event-stream") and "content-encoding" not in headers:
        response.stream = _MergedStream(response.stream)


class _MergedStream(_AsyncByteStream):  # type: ignore[misc]  # a class of whichever library openai uses
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in merged_events(self._stream):
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def merged_events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream of events with the words that one read has brought in one event.

    Each event costs openai and Semantic Kernel up to 0.2 ms, whether it brings a word or a page. So a process that
    is busy with other runs does less for each of them, and nothing comes later than it would.
    """
    rest = b""
    async for part in parts:
        whole, end, rest = (rest + part).replace(b"\r\n", b"\n").rpartition(b"\n\n")
        if end:
            yield b"".join(_merged(whole.split(b"\n\n")))
    if rest:
        yield rest


def _merged(events: list[bytes]) -> Iterator[bytes]:
    read = [(event, *_text(event)) for event in events]
    for beside, alike in groupby(read, lambda one: one[1]):
        group = list(alike)
        if beside is None or len(group) == 1:
            yield from (event + b"\n\n" for event, *_ in group)
            continue
        chunk = json.loads(group[0][0].removeprefix(b"data:"))
        chunk["choices"][0]["delta"]["content"] = "".join(text for *_, text in group)
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _text(event: bytes) -> tuple[dict[str, Any] | None, str]:
    """What a piece of text says besides the text, which pieces to be merged have in common; else None."""
    if not event.startswith(b"data:") or b"\n" in event:
        return None, ""
    try:
        chunk: Any = json.loads(event.removeprefix(b"data:"))
    except ValueError:
        return None, ""
    match chunk:
        case {"choices": [{"delta": {"content": str(text), **more}, **beside}], **rest}:
            final = [rest.get("usage"), rest.get("error"), beside.get("finish_reason")]
            if not any((*final, *(value for key, value in more.items() if key != "role"))):
                return cast("dict[str, Any]", beside), text
    return None, ""
