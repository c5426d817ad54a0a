"""The parts of a page that grows, and its readers: each is sent what changed since it last read, as it is now.

A part is kept once, whoever reads it, and a reader has no queue: one that is slow misses states in between.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from sse_starlette.event import ServerSentEvent

_SHORTEST = 0.1
"""Seconds between two updates of one reader, at the least."""
_BATCH = 50_000
"""Characters of parts that are sent as one: what changed together is shown together, and a browser is not held up."""
_SHARE = 0.25
"""Of this process's time at most, that all feeds together take to render."""


class Feed:
    """Parts by name (the id of their element), each with the number of its last change."""

    watched = 0
    """Readers of all feeds together, who share the time for rendering."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self.readers: set[asyncio.Event] = set()
        self._parts: dict[str, tuple[int, str]] = {}
        self._next_refresh = 0.0
        self._refreshing = asyncio.Lock()
        self.stream: tuple[str, str, str] = ("", "", "")
        """Text that is being written: the name of what writes it, its title, and all of it so far."""

    @property
    def place(self) -> str:
        """Where a reader is who has all parts."""
        return f"{self.epoch}.{self.version}"

    def put(self, name: str, html: str) -> None:
        """Replaces a part; an empty one is taken away."""
        old = self._parts.get(name, (0, ""))[1]
        if html != old:
            self.version += 1
            self._parts.pop(name, None)
            self._parts[name] = (self.version, html)

    def names(self) -> list[str]:
        """Returns the names of the parts that are there."""
        return [name for name, (_, html) in self._parts.items() if html]

    @property
    def size(self) -> int:
        """Characters of all parts."""
        return sum(len(html) for _, html in self._parts.values())

    def parts(self, place: str = "") -> list[tuple[int, str, str]]:
        """Returns (number, name, HTML) of the parts that changed since `place`, in the order of their changes."""
        epoch, _, number = place.partition(".")
        after = 0
        if epoch == self.epoch and number.isdecimal():
            after = int(number)
        return [(version, name, html) for name, (version, html) in self._parts.items() if version > after]

    def changed(self, *, at_once: bool = False) -> None:
        """Wakes the readers; what is kept is too old for them if it is to be rendered `at_once`."""
        if at_once:
            self._next_refresh = 0.0
        for reader in self.readers:
            reader.set()

    def render(self) -> None:
        """Puts the parts as they are now; a kind of feed says which."""

    async def poll(self) -> None:
        """Looks for what has happened elsewhere; a kind of feed says where."""

    async def refresh(self) -> None:
        """Renders, unless that was done a moment ago."""
        async with self._refreshing:
            if time.monotonic() < self._next_refresh:
                return
            await self.poll()
            began = time.monotonic()
            self.render()
            took = time.monotonic() - began
            self._next_refresh = began + max(_SHORTEST / 2, took * max(Feed.watched, 1) / _SHARE)

    async def follow(self, place: str, *, tick: float = 1.0) -> AsyncIterator[ServerSentEvent]:
        """Yields every change since `place`, for as long as the reader is there; looks every `tick` seconds."""
        reader = asyncio.Event()
        self.readers.add(reader)
        Feed.watched += 1
        written = ("", 0)
        try:
            while True:
                reader.clear()
                await self.refresh()
                for batch in _batches(self.parts(place)):
                    place = f"{self.epoch}.{batch[-1][0]}"
                    yield ServerSentEvent(json.dumps([part[1:] for part in batch]), event="parts", id=place)
                key, title, text = self.stream
                begin = written[1] if written[0] == key else 0
                if len(text) > begin or written[0] != key:
                    yield ServerSentEvent(json.dumps([key, title, begin, text[begin:]]), event="text")
                written = (key, len(text))
                await asyncio.sleep(_SHORTEST)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.wait(), tick)
        finally:
            self.readers.discard(reader)
            Feed.watched -= 1


def _batches(parts: list[tuple[int, str, str]]) -> Iterator[list[tuple[int, str, str]]]:
    batch: list[tuple[int, str, str]] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += len(part[2])
        if size > _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
