"""A team behind every protocol in this process: a real server on loopback before a real server of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from semantic_kernel.functions import kernel_function
from support.openai_server import Answer, OpenAIServer, Reply, TeamBrain, ToolCall
from support.waits import reached

from magentic_kit import TeamFactory
from magentic_kit.serve.app import THIS_MACHINE, create_app
from magentic_kit.serve.guard import Access
from magentic_kit.serve.http import listen, serve_while, url_of
from magentic_kit.serve.page.security import Keys
from magentic_kit.serve.teams import ServerOptions

WRITES = [Reply(tool_calls=[ToolCall("desk-write", {"text": "hello"})]), lambda request: request.last_tool_results[0]]
"""An agent that calls a function, and says what came of it."""
PLAN_REVIEW = {"plan": True}
TOOL_REVIEW = {"tools": ["desk.write"]}


@dataclass
class Desk:
    """A plugin that keeps what it is given."""

    notes: list[str] = field(default_factory=list)

    @kernel_function(description="Writes a note.")
    def write(self, text: str) -> str:
        self.notes.append(text)
        return f"written: {text}"


@dataclass(frozen=True)
class Served:
    """What a test looks at: the server's address, the models' server, the plugin, and the runs' logs."""

    url: str
    models: OpenAIServer
    desk: Desk
    out: Path

    @property
    def outcomes(self) -> list[str]:
        """How the runs ended; "" for one that has not."""
        logs = [path.read_text().splitlines() for path in sorted(self.out.glob("*/events.jsonl"))]
        return [json.loads(lines[-1]).get("outcome", "") for lines in logs]

    async def ended(self, outcome: str) -> None:
        """Waits until all runs have ended so."""
        await reached(lambda: set(self.outcomes) == {outcome})

    async def asks_no_more(self) -> None:
        """Waits until no answer of a model is waited for, and the models' server has no connection in use."""
        await self.models.reached(lambda models: not models.hanging)


def brain(*turns: Answer, **more: Any) -> TeamBrain:
    """A run of one round by the agent Solo."""
    return TeamBrain(rounds=[("Solo", "go on")], agents={"Solo": list(turns) or "done so far"}, **more)


@asynccontextmanager
async def served(
    folder: Path,
    models: TeamBrain | None = None,
    *,
    access: Access | None = THIS_MACHINE,
    page: Keys | None = None,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Served]:
    """Serves one team, called `desk team`; `changes` are those of its team file."""
    desk, out = Desk(), folder / "runs"
    with OpenAIServer(models or brain()) as server:
        team = {
            "name": "desk team",
            "description": "Keeps notes.",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "agents": [
                {"name": "Solo", "description": "Helps.", "instructions": "Do it.", "tools": [{"id": "desk.write"}]}
            ],
            "limits": {"retries": 0},
            **changes,
        }
        async with TeamFactory.from_dict(team, plugins={"desk": desk}) as factory:
            app = create_app([factory], ServerOptions(out=out, **(options or {})), access=access, page=page)
            listening, stop = listen("127.0.0.1", 0), asyncio.Event()
            serving = asyncio.ensure_future(serve_while(app, app.router.lifespan_context(app), listening, stop))
            try:
                yield Served(url_of("127.0.0.1", listening[0]), server, desk, out)
            finally:
                stop.set()
                await serving


async def sse(response: httpx.Response) -> AsyncIterator[Any]:
    """The data of a stream's events."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line[6:]
