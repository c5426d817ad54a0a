"""The services that factories share: HTTP clients and limits belong to a service, not to a team or a run."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit.services.connectors import build_service, close_service
from magentic_kit.services.rate_limits import Pace, Throttle
from magentic_kit.team.services import Service


class Pool:
    """Makes each service once, and has one throttle for each; `pace` makes what a throttle goes by."""

    def __init__(self, pace: Callable[[str], Pace] = lambda key: Pace()) -> None:
        self._pace = pace
        self._limits: dict[str, int | None] = {"rpm": None, "tpm": None}
        self._made: dict[tuple[object, ...], ChatCompletionClientBase] = {}
        self._throttles: dict[str, Throttle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: list[ChatCompletionClientBase] = []
        weakref.finalize(self, _abandon, self._open)

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes all anew if the event loop is another: an HTTP client belongs to the loop it was used in."""
        if self._loop not in (None, loop):
            self._made, self._throttles = {}, {}
        self._loop = loop

    def service(self, name: str, config: Service, model: str | None, base_dir: Path) -> ChatCompletionClientBase:
        """The service of that name, asking another model if one is named. Raises `ConfigError`."""
        key = (name, repr(config), model, base_dir if config.provider == "python" else None)
        if key not in self._made:
            config = config.model_copy(update={"model": model}) if model else config
            self._made[key] = build_service(name, config, search_path=base_dir)
            self._open.append(self._made[key])
        return self._made[key]

    def throttle(self, key: str) -> Throttle:
        """The throttle of the service with that key: what its config says, or the name of one that was given."""
        if key not in self._throttles:
            self._throttles[key] = Throttle(self._pace(key))
            self._throttles[key].pace.limit(**self._limits)
        return self._throttles[key]

    def limit(self, *, rpm: int | None, tpm: int | None) -> None:
        """Gives each service at most so many requests and tokens a minute."""
        self._limits = {"rpm": rpm, "tpm": tpm}
        for throttle in self._throttles.values():
            throttle.pace.limit(rpm=rpm, tpm=tpm)

    async def close(self) -> None:
        """Closes the HTTP clients."""
        made, self._made = self._made, {}
        for service in made.values():
            await close_service(service)
        _abandon(self._open)  # those of an earlier event loop


def _abandon(services: list[ChatCompletionClientBase]) -> None:
    """Lets go of connections that nobody has closed: aiohttp would complain of them on the terminal."""
    for service in services:
        client: Any = getattr(service, "client", None)
        if hasattr(client, "max_retries") and inspect.iscoroutinefunction(client.close):  # OpenAI's
            closing = client.close()
            with suppress(Exception):
                closing.send(None)  # its first step lets go of the connections; its event loop may be gone
            closing.close()
    services.clear()
